"""The lock of the one that drains among the workers: it is looked at again and again, not at the start only."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

LOOKS = 6  # that find it free, before it is concluded that nobody drains
PATIENCE_SECONDS = 30.0  # for the successor of one that made room, before another does
START_TRIES = 5  # a look of another holds the lock for a moment


class DrainLock:
    """The lock, as one worker sees it; made after the fork.

    Parameters
    ----------
    path
        The lock's file, beside the spool.
    monotonic
        The clock that all processes of a machine share and nobody sets, in seconds.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._monotonic = monotonic
        self._looks = 0

    def take(self) -> bool:
        """Take the lock if it is free, for as long as this process lives; return whether we have it."""
        for _ in range(START_TRIES):
            if self._is_free():
                return True
            time.sleep(0.005)
        return False

    def is_ours_to_fill(self) -> bool:
        """Look whether somebody holds it; return whether nobody has for so long that this worker should make room for a successor.

        After a reload, or beside the last workers of a master that was killed, all may have found the lock taken at their start.
        Whoever makes room leaves the time in the file: one goes at a time, and none after it while a master that is stopped
        makes no successor.
        """
        if not self._is_free():
            self._looks = 0
            return False
        self._looks += 1
        now, left = self._monotonic(), os.pread(self._lock, 32, 0)
        is_ours = self._looks >= LOOKS and not 0 <= now - float(left or "-inf") < PATIENCE_SECONDS
        if is_ours:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, str(now).encode(), 0)
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        return is_ours

    def leave(self) -> None:
        """Close the file, which gives up the lock."""
        os.close(self._lock)

    def _is_free(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
