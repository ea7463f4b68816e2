"""One writer at a time on this machine: a lock over a file for processes, and over a mutex for the threads of one process."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHORTEST_WAIT_SECONDS = 0.0005
_LONGEST_WAIT_SECONDS = 0.005


class WriteLock:
    """Hold an exclusive `flock` on a small file next to the database.

    The kernel frees the lock when its holder dies, however it dies. The file is opened afresh each time, so that the lock
    survives a fork and a file that somebody deleted.

    Parameters
    ----------
    path
        The lock file; made with mode 0600 when it is missing.
    timeout_seconds
        How long `hold` waits before it raises `TimeoutError`.

    Examples
    --------
    >>> import tempfile
    >>> lock = WriteLock(Path(tempfile.mkdtemp()) / "evergreen.db.lock", timeout_seconds=1.0)
    >>> with lock.hold():
    ...     lock.is_held_by_this_thread
    True
    """

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._threads = threading.Lock()
        self._owner: int | None = None

    @property
    def is_held_by_this_thread(self) -> bool:
        """Return whether the calling thread is inside `hold`."""
        return self._owner == threading.get_ident()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock for the body of the `with`.

        Raises
        ------
        TimeoutError
            Somebody else held the lock for the whole timeout.
        OSError
            The lock file cannot be made.
        RuntimeError
            This thread holds the lock already: a write inside a write would wait for itself.
        """
        if self.is_held_by_this_thread:
            raise RuntimeError("a write transaction was begun inside another one of the same thread")
        deadline = time.monotonic() + self._timeout_seconds
        if not self._threads.acquire(timeout=self._timeout_seconds):
            raise TimeoutError(f"another thread held {self._path} for {self._timeout_seconds:g} s")
        try:
            descriptor = self._lock_file(deadline)
            try:
                self._owner = threading.get_ident()
                yield
            finally:
                self._owner = None
                os.close(descriptor)
        finally:
            self._threads.release()

    def _lock_file(self, deadline: float) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait_for(descriptor, deadline)
                if self._is_still_the_file(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _wait_for(self, descriptor: int, deadline: float) -> None:
        wait_seconds = _SHORTEST_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"another process held {self._path} for {self._timeout_seconds:g} s") from None
            time.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)

    def _is_still_the_file(self, descriptor: int) -> bool:
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        held = os.fstat(descriptor)
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)
