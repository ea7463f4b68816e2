"""One service a home: two would drain one spool and count one set of rate limits without knowing of each other."""

from __future__ import annotations

import fcntl
import os
import time

from service.errors import SettingsError
from training.settings import Home

LOCK = "service.lock"
WAIT_SECONDS = 15.0
LOOK_SECONDS = 0.05


def claim(home: Home, *, wait_seconds: float = WAIT_SECONDS) -> int:
    """Take a home for this process, what it becomes by `exec`, and all that it forks: until the last of them has ended.

    Waits for a service that is about to end: the workers of one whose master was killed answer what they had begun.

    Returns
    -------
    The open file that holds the lock.

    Raises
    ------
    SettingsError
        Another service serves from this home, or the lock cannot be written.
    """
    path, deadline = home.path / LOCK, time.monotonic() + wait_seconds
    try:
        home.ensure()
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise SettingsError(f"cannot use the home {home.path}: {error.strerror}") from error
    while not _lock(lock):
        if time.monotonic() >= deadline:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise SettingsError(
                f"another service (process {holder}) serves from {home.path} and did not end in {wait_seconds:g} s:"
                " stop it, or set EVERGREEN_HOME to a home of its own"
            )
        time.sleep(LOOK_SECONDS)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    os.set_inheritable(lock, True)
    return lock


def _lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
