"""The gunicorn worker: one of them drains the spool of all, the others serve.

gunicorn remains the master, the parser and the configuration. Whoever of the workers takes the lock first drains: so the
master looks after that process as after the others, and its successor takes the lock over.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn.workers import base

from service.app import draining
from service.board import Board
from service.memory import keep_freed
from service.serving import TICK_SECONDS, Serving

DRAIN_NICENESS = 5
GARBAGE_THRESHOLD = 50_000


def settle_garbage() -> None:
    """Take what is loaded out of the garbage collector's sight, and let it look less often: requests leave no cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


class Worker(base.Worker):
    """Serves, or drains: it finds out when it starts."""

    drain_lock_path: Path
    """Set after the fork."""
    board: Board | None = None
    is_drain = False

    def __init__(self, *arguments: Any) -> None:
        if Worker.board is None:  # in the master, before the fork
            Worker.board = Board()
        super().__init__(*arguments)

    def init_process(self) -> None:
        """Find out what this process is for; gunicorn goes on to load the application and to call `run`."""
        lock = os.open(self.drain_lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_drain = True
        if not self.is_drain:
            os.close(lock)
        super().init_process()

    def load_wsgi(self) -> None:
        """Make the application, unless this process drains."""
        if not self.is_drain:
            super().load_wsgi()

    def run(self) -> None:
        """Serve, or drain."""
        settle_garbage()
        if self.is_drain:
            self._drain()
        elif self.board is not None:
            keep_freed()
            Serving(self, self.wsgi, self.board).run()

    def _drain(self) -> None:
        """Bring what the others record into the log, and yield to them where the processor is short."""
        os.nice(DRAIN_NICENESS)
        for listener in self.sockets:
            listener.close()
        with draining():
            while self.alive and self.ppid == os.getppid():
                self.notify()
                select.select([self.PIPE[0]], [], [], TICK_SECONDS)
