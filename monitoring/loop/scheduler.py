"""Jobs and intervals; the only module that knows APScheduler, and it knows it as a ticker only.

APScheduler dates its jobs by the machine's clock. When that is set, a job may be dated hours ahead, or millions of intervals
ago: so each look dates anew whatever is not within one interval of the time it now is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

SLACK = timedelta(milliseconds=1)  # a date that went through a float of seconds is not exact


class Pulse:
    """When a loop last got on, by a clock that nobody sets; its lease and its `/livez` go by it.

    Parameters
    ----------
    idle_seconds, busy_seconds
        How long nothing may be heard between two calls, and within one.
    monotonic
        Seconds since some moment.
    """

    def __init__(self, *, idle_seconds: float, busy_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = idle_seconds, busy_seconds
        self._monotonic = monotonic
        self._last = monotonic(), False

    def beat(self, *, is_busy: bool) -> None:
        """Note that the loop got on: it is within a call, or at the end of one."""
        self._last = self._monotonic(), is_busy

    def is_there(self) -> bool:
        """Return whether the loop turns."""
        at, is_busy = self._last
        return self._monotonic() - at < self._limits[is_busy]


class Ticker:
    """Call functions again and again in one thread, one at a time; what was missed is made up for once.

    A step of the machine's clock, however far and in whichever direction, delays no call by more than its interval.

    Parameters
    ----------
    jobs
        By name, what to call and the machine time between two calls; errors are theirs to handle.
    """

    def __init__(self, jobs: Mapping[str, tuple[Callable[[], None], timedelta]]) -> None:
        self._scheduler = _SleepingNoLonger(
            min(every for _, every in jobs.values()),
            jobstores={"default": _DatedAnew()},
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
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


class _DatedAnew(MemoryJobStore):
    """Jobs whose next call is never further away than one interval, nor longer ago, by the clock as it now stands."""

    def get_due_jobs(self, now: datetime) -> list[Any]:
        for job in self.get_all_jobs():
            if abs(job.next_run_time - now) > job.trigger.interval + SLACK:
                job.next_run_time = now
                self.update_job(job)
        return list(super().get_due_jobs(now))


class _SleepingNoLonger(BackgroundScheduler):
    """A scheduler that looks again after the shortest interval: the clock may be set between its look and its sleep."""

    def __init__(self, longest: timedelta, **options: Any) -> None:
        self._longest_seconds = longest.total_seconds()
        super().__init__(**options)

    def _process_jobs(self) -> float:
        wait_seconds = super()._process_jobs()
        return self._longest_seconds if wait_seconds is None else min(wait_seconds, self._longest_seconds)
