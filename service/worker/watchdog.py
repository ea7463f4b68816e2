"""Watches how long requests take, from a thread of its own, so that a hung one is seen whatever hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from service.worker.connection import WholeRequest


class Watchdog:
    """Calls `on_deadline` with a request that has been answered for longer than `seconds`.

    The thread looks a few times within the deadline; beginning and ending a request costs a dictionary entry.
    """

    def __init__(self, seconds: float, on_deadline: Callable[[WholeRequest], None]) -> None:
        self.seconds = seconds
        self._on_deadline = on_deadline
        self._running: dict[int, WholeRequest] = {}
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopping.set()

    def begin(self, request: WholeRequest) -> None:
        """Note that a request begins to be answered; what it waited for a thread does not count."""
        request.started = time.monotonic()
        self._running[id(request)] = request

    def end(self, request: WholeRequest) -> None:
        """Note that it is answered."""
        self._running.pop(id(request), None)

    def _watch(self) -> None:
        while not self._stopping.wait(min(1.0, self.seconds / 4)):
            oldest = time.monotonic() - self.seconds
            for request in list(self._running.values()):
                if request.started < oldest:
                    self._on_deadline(request)
                    return
