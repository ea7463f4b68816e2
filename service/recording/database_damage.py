"""A damaged database is told from one that is away: said once, noted where every process of the home sees it, looked for."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path

from service.telemetry.metrics import ServiceMetrics
from training.errors import DatabaseUnavailableError
from training.storage.database import Database

logger = logging.getLogger(__name__)

FLAG = "database-is-damaged"
RUNNING = "drain-is-running"
AGAIN_SECONDS = 60.0
ADVICE = "trying again does not help: see 'A damaged database' in docs/deployment.md"


class DamageNote:
    """Note in a file of the spool folder that the database is damaged.

    Parameters
    ----------
    folder
        The spool folder: it is there when the database is not.
    """

    def __init__(self, folder: Path) -> None:
        self._flag = folder / FLAG
        self._reason: str | None = None
        self._is_written = False

    def note(self, reason: str) -> None:
        """Say it in the log, once, and to the other processes."""
        if self._reason is not None and (self._flag.exists() or not self._is_written):
            return
        self._reason, self._is_written = reason, False
        logger.error("%s; %s", reason, ADVICE)
        with suppress(OSError):
            self._flag.touch(mode=0o600)
            self._flag.write_text(reason, encoding="utf-8")
            self._is_written = True

    def forget(self) -> None:
        """Note that it is in order."""
        was_noted = self._reason is not None or self._flag.exists()
        self._reason = None
        with suppress(OSError):
            self._flag.unlink(missing_ok=True)
        if was_noted:
            logger.warning("the database is in order again")

    def reason(self) -> str | None:
        """Return what is damaged, whichever process found it; None as far as is known."""
        try:
            return self._flag.read_text(encoding="utf-8", errors="replace") or "the database is damaged"
        except OSError:
            return None if self._is_written else self._reason  # written and gone: another process looked, and it is in order


class DamageCheck:
    """Look through the database beside the drain: once after a stop that was not clean, and again while it is known to be damaged.

    Parameters
    ----------
    folder
        The spool folder; a file there says that a drain runs, or that one did not end by itself.
    """

    def __init__(self, folder: Path, database: Database, note: DamageNote, metrics: ServiceMetrics) -> None:
        self._running = folder / RUNNING
        self._database = database
        self._note = note
        self._metrics = metrics
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        was_clean = not self._running.exists()
        with suppress(OSError):
            self._running.touch(mode=0o600)
        self._thread = threading.Thread(target=self._run, args=(was_clean,), name="database check", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, in the middle of its look if need be, and note that this was a clean stop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError):
            self._running.unlink(missing_ok=True)

    def look(self) -> bool:
        """Look through the whole database once; return whether it is in order as far as it was seen."""
        try:
            damage = self._database.find_damage(is_stopping=self._stopping.is_set)
        except DatabaseUnavailableError:
            return True  # away or busy; damage has been noted where the error was made
        if damage is not None:
            self._note.note(f"the database is damaged: {damage}")
        elif not self._stopping.is_set():
            self._note.forget()
        return damage is None

    def _run(self, was_clean: bool) -> None:
        is_due = not was_clean
        while True:
            if is_due or self._note.reason() is not None:
                self.look()
            is_due = False
            self._metrics.database_damaged.set(self._note.reason() is not None)
            if self._stopping.wait(AGAIN_SECONDS if self._note.reason() is not None else 1.0):
                return
