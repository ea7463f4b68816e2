"""How long predictions have waited in the spool: whoever drains leaves a mark, whoever serves reads it.

The mark is the time of a file: it needs no database, no room on the disk, and outlives both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from service.recording.spool import folder_ends, spool_files

MARK = "drained-until"
COARSE_SECONDS = 0.02  # the kernel dates files by a clock that lags by up to one of its ticks


class DrainMark:
    """Write down until when everything is in the prediction log; used by the drain, once a pass.

    Parameters
    ----------
    folder
        Of the spool files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = 0.0
        self._ends: dict[str, int] = {}
        self._drained: dict[str, int] = {}

    def begin(self) -> None:
        """Note what a pass finds at its start."""
        self._began = time.time() - COARSE_SECONDS
        self._ends = folder_ends(self._folder)

    def succeed(self) -> None:
        """Note that all of it is in the log."""
        self._drained = self._ends
        self._write()

    def fail(self) -> None:
        """Note that the log took nothing; when nothing has come since it last took all, nothing waits."""
        if all(end <= self._drained.get(spool, 0) for spool, end in self._ends.items()):
            self._write()

    def _write(self) -> None:
        with suppress(OSError):  # a mark that stays behind says that records wait: true soon enough where nothing can be written
            path = self._folder / MARK
            path.touch(mode=0o600)
            os.utime(path, (self._began, self._began))


class SpoolAge:
    """Read how long the oldest record has waited.

    Parameters
    ----------
    bound_seconds
        Beyond it something is wrong.
    clock
        Returns machine time, in seconds since 1970, as files are dated by.
    """

    def __init__(self, folder: Path, bound_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._bound_seconds = bound_seconds
        self._clock = clock

    def seconds(self) -> float:
        """Return for how long the oldest record has waited for the prediction log, at most; 0 when none does.

        Nothing that came before the mark waits, and a file does not say when the first of its records came.
        """
        drained_until = max((changed for changed, _ in _times(self._folder.glob(MARK))), default=0.0)
        waiting = [changed for changed, size in _times(spool_files(self._folder)) if size and changed > drained_until]
        return max(0.0, self._clock() - (drained_until or min(waiting))) if waiting else 0.0

    def why_behind(self) -> str | None:
        """Return a sentence when that is beyond the bound, else None."""
        seconds = self.seconds()
        if seconds <= self._bound_seconds:
            return None
        return f"predictions have waited in the spool for {seconds:.0f} s: the prediction log does not take them"


def _times(paths: Iterable[Path]) -> Iterator[tuple[float, int]]:
    for path in paths:
        with suppress(FileNotFoundError):
            stats = path.stat()
            yield stats.st_mtime, stats.st_size
