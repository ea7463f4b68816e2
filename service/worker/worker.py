"""The gunicorn worker: one of them drains the spool of all, the others serve.

gunicorn remains the master, the parser and the configuration. Whoever of the workers takes the lock first drains: so the
master looks after that process as after the others, and its successor takes the lock. While nobody holds it, one of those that
serve makes room for a successor, which does.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.workers import base

from service.errors import ServiceError
from service.worker.accepting import ConnectionCounts
from service.worker.booting import Boots
from service.worker.drain_lock import DrainLock
from service.worker.event_loop import TICK_SECONDS, EventLoop
from service.worker.protocol import Draining
from training.errors import EvergreenError

logger = logging.getLogger(__name__)

DRAIN_NICENESS = 5
GARBAGE_THRESHOLD = 50_000
NOT_UP = 1


def freeze_loaded() -> None:
    """Take what is loaded out of what the garbage collector looks at, and let it look less often: requests leave no cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


class Worker(base.Worker):
    """Serves, or drains: it finds out when it starts.

    Attributes
    ----------
    drain_lock_path, draining
        Who has the lock drains, by this context; set after the fork.
    boots
        How the workers of this master come up; set before the fork.
    is_drain
        Known from `load_wsgi` on.
    """

    drain_lock_path: Path
    draining: Draining
    boots: Boots
    alive: bool
    is_drain = False
    _is_up = False
    _drain_lock: DrainLock | None = None
    _connection_counts: ConnectionCounts | None = None

    def __init__(self, *arguments: Any) -> None:
        if Worker._connection_counts is None:  # in the master, before the fork
            Worker._connection_counts = ConnectionCounts()
        super().__init__(*arguments)

    def init_process(self) -> None:
        """Start; if that fails, wait and leave, so that another process tries anew while the others serve."""
        try:
            super().init_process()
        except Exception as error:
            if self._is_up:
                raise
            self._make_way(error)

    def load_wsgi(self) -> None:
        """Find out what this process is for, and make the application unless it drains."""
        self._drain_lock = DrainLock(self.drain_lock_path)
        self.is_drain = self._drain_lock.take()
        if not self.is_drain:
            super().load_wsgi()
            self.boots.note_success()

    def run(self) -> None:
        """Serve, or drain."""
        freeze_loaded()
        if self.is_drain:
            self._drain()
        elif self._connection_counts is not None:
            self._is_up = True
            EventLoop(self, self.wsgi, self._connection_counts).run()

    def notify(self) -> None:
        """Show the master that this process lives, and look whether anybody drains."""
        super().notify()
        if self.alive and not self.is_drain and self._drain_lock is not None and self._drain_lock.is_ours_to_fill():
            logger.warning("nobody drains the spool: this worker makes room for one that does")
            self.alive = False

    def _drain(self) -> None:
        """Bring what the others record into the log, and yield to them where the processor is short."""
        os.nice(DRAIN_NICENESS)
        for listener in self.sockets:
            listener.close()
        with self.draining():
            self._is_up = True
            while self._is_wanted():
                self._pause(TICK_SECONDS)

    def _make_way(self, error: Exception) -> NoReturn:
        seconds = self.boots.note_failure()
        is_expected = isinstance(error, EvergreenError | ServiceError | OSError)
        logger.error("this worker cannot start, another tries in %g s: %s", seconds, error, exc_info=None if is_expected else error)
        ends = time.monotonic() + seconds
        while self._is_wanted() and time.monotonic() < ends:
            self._pause(min(TICK_SECONDS, seconds))
        sys.exit(NOT_UP)

    def _pause(self, seconds: float) -> None:
        """Show the master that this process lives, and wait for a while or a signal."""
        self.tmp.notify()
        if select.select([self.PIPE[0]], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self.PIPE[0], 4096)  # else the next wait ends at once

    def _is_wanted(self) -> bool:
        return self.alive and bool(self.ppid == os.getppid())
