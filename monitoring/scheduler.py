"""Jobs and intervals; the only module that knows APScheduler, and it knows it as a ticker only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

MISFIRE_GRACE_SECONDS = 3600


class Ticker:
    """Call a function again and again in a thread, never twice at once; what was missed is made up for once.

    Parameters
    ----------
    tick
        What to call; its errors are its own to handle.
    every
        Machine time between two calls.
    """

    def __init__(self, tick: Callable[[], None], every: timedelta) -> None:
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": MISFIRE_GRACE_SECONDS},
            timezone=UTC,
        )
        self._scheduler.add_job(tick, "interval", seconds=every.total_seconds(), next_run_time=datetime.now(UTC), id="tick")

    def start(self) -> None:
        """Start ticking."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop; a tick that runs is waited for."""
        self._scheduler.shutdown(wait=True)
