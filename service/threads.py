"""Threads for requests that must not hold up the others: made when needed, daemons all, so that a hung one keeps nobody alive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Threads:
    """Runs jobs in at most `most` threads.

    Examples
    --------
    >>> done = queue.SimpleQueue()
    >>> threads = Threads(2)
    >>> threads.run(lambda: done.put("well"))
    >>> done.get()
    'well'
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._made = 0

    def run(self, job: Callable[[], None]) -> None:
        """Have a job done; it must not raise."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._made < self._most:
                self._made += 1
                threading.Thread(target=self._work, name=f"request-{self._made}", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1
