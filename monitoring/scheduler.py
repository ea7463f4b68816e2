"""Jobs and intervals; the only module that knows APScheduler, and it knows it as a ticker only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

MISFIRE_GRACE_SECONDS = 3600


class Ticker:
    """Call functions again and again in one thread, one at a time; what was missed is made up for once.

    Parameters
    ----------
    jobs
        By name, what to call and the machine time between two calls; errors are theirs to handle.
    """

    def __init__(self, jobs: Mapping[str, tuple[Callable[[], None], timedelta]]) -> None:
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": MISFIRE_GRACE_SECONDS},
            timezone=UTC,
        )
        now = datetime.now(UTC)
        for name, (job, every) in jobs.items():
            self._scheduler.add_job(job, "interval", seconds=every.total_seconds(), next_run_time=now, id=name)

    def start(self) -> None:
        """Start calling."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop; a call that runs is waited for."""
        self._scheduler.shutdown(wait=True)
