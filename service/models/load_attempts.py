"""Which version a process is loading, written down before it does: so a version that takes its worker along is known by it.

A worker leaves the note of what it was loading when it dies; the master, which outlives it, makes a death of it.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from service.models.retrials import Retrials
from training.errors import ArtifactError

MOST_DEATHS = 2
_NOTE, _DEATH = ".loading", ".died"


class LoadAttempts:
    """The notes and deaths in a folder, which all processes of a home share.

    A disk that refuses costs only the note.

    Examples
    --------
    >>> import tempfile
    >>> attempts = LoadAttempts(Path(tempfile.mkdtemp()))
    >>> with attempts.noted("bikes", "v1", move=0, try_apart=lambda: None):
    ...     attempts.note_death(os.getpid())  # as the master does for a worker that is gone
    ...     attempts.deaths("bikes", "v1")
    1
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trials = Retrials(folder)

    @contextmanager
    def noted(self, model: str, version: str, move: int | None, try_apart: Callable[[], str | None]) -> Iterator[None]:
        """Keep a note while a version is loaded; when it was loaded well, the deaths on it are forgotten.

        Parameters
        ----------
        move
            The last move of the model's alias: deaths before it are forgotten. None where it is not known.
        try_apart
            Loads the version in a process of its own, and returns why that failed, or None. Asked now and then once as many
            workers died on it as may: when it goes well, these deaths are forgotten.

        Raises
        ------
        ArtifactError
            As many workers died while they loaded it as may; nothing is loaded.
        """
        if move is not None:
            self._forget(model, lambda content: content.get("move") != move)
        if self.deaths(model, version) >= MOST_DEATHS:
            self._clear(model, version, move, try_apart)
        note = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}{_NOTE}"
        self._write(note, {"model": model, "version": version, "move": move})
        try:
            yield
        finally:
            with suppress(OSError):
                note.unlink(missing_ok=True)
        self._forget(model, lambda content: content.get("version") == version)
        self._trials.forget(model)

    def deaths(self, model: str, version: str) -> int:
        """Return how many workers died on a version since its alias moved, or since it was loaded well."""
        return sum(content.get("model") == model and content.get("version") == version for _, content in self._all_deaths())

    def note_death(self, process: int, model: str | None = None) -> None:
        """Note that a process is gone, or that one model hangs in it; where it was loading nothing, nothing is noted."""
        for path, content in self._read(f"{process}-*{_NOTE}"):
            if model is None or content.get("model") == model:
                with suppress(OSError):
                    path.rename(path.with_suffix(_DEATH))

    def forget_process(self, process: int) -> None:
        """Remove the notes of a process: it leaves in peace, or has the number of one that left long ago."""
        for path in self._folder.glob(f"{process}-*{_NOTE}"):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _clear(self, model: str, version: str, move: int | None, try_apart: Callable[[], str | None]) -> None:
        """Forget the deaths on a version that a process of its own loads well; ArtifactError where it does not, or may not try yet."""
        is_cleared, reason = self._trials.clears(model, version, move, try_apart)
        if not is_cleared:
            died = f"{MOST_DEATHS} workers died while they loaded it or asked it for its golden rows"
            last = f"; the last time: {reason}" if reason else ""
            raise ArtifactError(f"{died}; it is tried again in a process of its own, ever more rarely{last}")
        self._forget(model, lambda content: content.get("version") == version)

    def _write(self, note: Path, content: dict[str, Any]) -> None:
        draft = note.with_name(f".{note.name}")
        with suppress(OSError):
            draft.write_text(json.dumps(content))
            draft.replace(note)

    def _all_deaths(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        return self._read(f"*{_DEATH}")

    def _read(self, pattern: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in sorted(self._folder.glob(pattern)):
            with suppress(OSError, ValueError):
                content = json.loads(path.read_text())
                if isinstance(content, dict):
                    yield path, content

    def _forget(self, model: str, is_over: Callable[[dict[str, Any]], bool]) -> None:
        for path, content in self._all_deaths():
            if content.get("model") == model and is_over(content):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
