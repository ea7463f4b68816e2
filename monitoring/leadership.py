"""Being the one monitor that acts: the lease, kept alive, and what is cleaned up when it is won or lost."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from monitoring.child import Children
from monitoring.journal import Journal
from monitoring.metrics import MonitorMetrics
from training.registry_tables import Guard

LEASE = "monitor"


class Leadership:
    """Hold the lease of one process.

    Parameters
    ----------
    holder
        Unique to the process.
    ttl
        Machine time after which another monitor may take over; renewed after a third of it.
    """

    def __init__(self, journal: Journal, children: Children, metrics: MonitorMetrics, holder: str, ttl: timedelta) -> None:
        self._journal = journal
        self._children = children
        self._metrics = metrics
        self._holder = holder
        self._ttl = ttl
        self._lock = threading.Lock()
        self._renewed: datetime | None = None
        self.token: int | None = None

    def lead(self, machine_now: datetime) -> Guard | None:
        """Take or keep the lease; return the guard of everything done under it, or None while another acts.

        Who takes over abandons the runs of those before: their processes may be dead.
        """
        with self._lock:
            if not self._is_fresh(machine_now):
                self._take(machine_now)
            return None if self.token is None else self._journal.guard(LEASE, self.token)

    def renew(self, machine_now: datetime) -> None:
        """Keep a lease we hold alive during a long tick; never takes one."""
        with self._lock:
            if self.token is not None and not self._is_fresh(machine_now):
                self._take(machine_now)

    def lost(self) -> None:
        """Note that somebody else acts: our children may not go on."""
        with self._lock:
            self._step_down()
            self._metrics.lease_lost_total.inc()

    def step_down(self) -> None:
        """Give the lease up at the end of the process."""
        with self._lock:
            token = self.token
            self._step_down()
            if token is not None:
                self._journal.release(LEASE, token)

    def _is_fresh(self, machine_now: datetime) -> bool:
        return self.token is not None and self._renewed is not None and timedelta() <= machine_now - self._renewed < self._ttl / 3

    def _take(self, machine_now: datetime) -> None:
        token = self._journal.acquire(LEASE, self._holder, self._ttl, machine_now)
        if token is None or token != self.token:
            self._step_down()
        if token is not None and token != self.token:
            self._journal.abandon_runs(token, machine_now=machine_now, guard=self._journal.guard(LEASE, token))
        self.token = token
        self._renewed = None if token is None else machine_now
        self._metrics.is_leader.set(token is not None)

    def _step_down(self) -> None:
        self._children.end_all()
        self.token = None
        self._renewed = None
        self._metrics.is_leader.set(0)
