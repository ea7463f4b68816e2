"""When a version on which workers died is tried again: in a process of its own, by one worker at a time, ever more rarely."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

FIRST_WAIT_SECONDS, EACH_LONGER, MOST_WAITS = 15.0, 4, 8


@dataclass(frozen=True, slots=True)
class _Trials:
    """How often a version was tried for a move of its alias, when last (monotonic seconds), and what came of it."""

    version: str
    move: int | None
    count: int = 0
    at: float = 0.0
    reason: str | None = None


class Retrials:
    """The trials of each model, in a folder that all processes of a home share.

    Who ends workers from outside makes a good version look like their murderer; a trial clears it, and a bad one takes no worker along.

    Parameters
    ----------
    clock
        Returns monotonic seconds, the same in all processes; of another start of the machine, a wait is over.

    Examples
    --------
    >>> import tempfile
    >>> now = [100.0]
    >>> trials = Retrials(Path(tempfile.mkdtemp()), clock=lambda: now[0])
    >>> is_cleared = lambda reason: trials.clears("bikes", "v1", 1, lambda: reason)
    >>> is_cleared(None)
    (False, None)
    >>> now[0] += FIRST_WAIT_SECONDS
    >>> is_cleared("it died of SIGSEGV"), is_cleared(None)
    ((False, 'it died of SIGSEGV'), (False, 'it died of SIGSEGV'))
    >>> now[0] += FIRST_WAIT_SECONDS * EACH_LONGER
    >>> is_cleared(None)
    (True, None)
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock

    def clears(self, model: str, version: str, move: int | None, try_apart: Callable[[], str | None]) -> tuple[bool, str | None]:
        """Try a version if it is time to; return whether it may be loaded, and what the last trial found wrong.

        Where nothing can be written it stays refused.

        Parameters
        ----------
        try_apart
            Loads it in a process of its own; returns why that failed, or None.
        """
        try:
            descriptor = os.open(self._path(model), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._ask(file, _read(file, version, move), try_apart)
        except OSError:  # another worker tries it just now, or the disk refuses
            return False, None

    def forget(self, model: str) -> None:
        """Let the waits of a model begin anew: it was loaded well."""
        try:
            self._path(model).unlink(missing_ok=True)
        except OSError:
            return

    def _path(self, model: str) -> Path:
        return self._folder / f"{model}.trials"

    def _ask(self, file: TextIO, before: _Trials, try_apart: Callable[[], str | None]) -> tuple[bool, str | None]:
        if before.at == 0.0:
            _write(file, _Trials(before.version, before.move, 0, self._clock()))
            return False, None
        if 0 <= self._clock() - before.at < FIRST_WAIT_SECONDS * EACH_LONGER ** min(before.count, MOST_WAITS):
            return False, before.reason
        tried = before.count + 1
        _write(file, _Trials(before.version, before.move, tried, self._clock(), before.reason))
        reason = try_apart()
        _write(file, _Trials(before.version, before.move, tried, self._clock(), reason))
        return reason is None, reason


def _read(file: TextIO, version: str, move: int | None) -> _Trials:
    """Return the trials of a version; none where the file tells of another one, or of another move of its alias."""
    try:
        trials = _Trials(**json.load(file))
        if (trials.version, trials.move) == (version, move):
            return trials
    except (ValueError, TypeError):  # it is new, or damaged
        pass
    return _Trials(version, move)


def _write(file: TextIO, trials: _Trials) -> None:
    file.seek(0)
    file.truncate()
    json.dump(asdict(trials), file)
    file.flush()
