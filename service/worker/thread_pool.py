"""Threads for requests that must not hold up the others: made when needed, daemons all, so that a hung one keeps nobody alive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class ThreadPool:
    """Runs jobs in at most `max_threads` threads.

    Examples
    --------
    >>> results = queue.SimpleQueue()
    >>> pool = ThreadPool(2)
    >>> pool.run(lambda: results.put("well"))
    >>> results.get()
    'well'
    """

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._n_idle = 0
        self._n_threads = 0

    def run(self, job: Callable[[], None]) -> None:
        """Have a job done; it must not raise."""
        with self._lock:
            if self._n_idle > 0:
                self._n_idle -= 1
            elif self._n_threads < self._max_threads:
                self._n_threads += 1
                threading.Thread(target=self._work, name=f"request-{self._n_threads}", daemon=True).start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._n_idle += 1
