"""The drain as a thread of a worker that serves: for a worker of gunicorn's own, of which none is set apart to drain."""

from __future__ import annotations

import threading
from pathlib import Path

from service.worker.drain_lock import DrainLock
from service.worker.protocol import Draining

LOOK_SECONDS = 0.5


class DrainThread:
    """Takes the lock whenever it is free, and drains for all workers until it is stopped.

    Parameters
    ----------
    lock_path
        The lock's file, see `DrainLock`.
    draining
        The context in which the spool is drained.
    """

    def __init__(self, lock_path: Path, draining: Draining) -> None:
        self._drain_lock = DrainLock(lock_path)
        self._draining = draining
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain-lock", daemon=True)

    def start(self) -> None:
        """Start to look for the lock."""
        self._thread.start()

    def stop(self) -> None:
        """Release the lock, after what is in the spool was brought into the log."""
        self._stopped.set()
        self._thread.join()
        self._drain_lock.leave()

    def _run(self) -> None:
        while not self._drain_lock.take():
            if self._stopped.wait(LOOK_SECONDS):
                return
        with self._draining():
            self._stopped.wait()
