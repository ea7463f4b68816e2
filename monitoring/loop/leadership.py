"""Being the one monitor that acts: the lease with its fencing token, kept alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from monitoring.journal.journal import Journal
from monitoring.journal.leases import MONITOR, Turn


class Leadership:
    """Hold the lease of one process; its methods may be called by any thread.

    Parameters
    ----------
    holder
        Unique to the process.
    ttl
        Machine time after which another monitor may take over; renewed after a third of it.
    won
        What is called with the first turn under a new token, before any other; when it raises, nothing is won.
    lost
        What is called when the lease is gone or given up, and before it is taken.
    monotonic
        Seconds since some moment: a clock that is set back, or runs slow, must not keep a lease from being renewed.
    """

    def __init__(
        self,
        journal: Journal,
        holder: str,
        ttl: timedelta,
        won: Callable[[Turn], None],
        lost: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._holder = holder
        self._ttl = ttl
        self._won = won
        self._lost = lost
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._renewed: tuple[datetime, float] | None = None
        self._token: int | None = None

    @property
    def leads(self) -> bool:
        """Whether this process had the lease when it last looked."""
        return self._token is not None

    def lead(self, now: datetime) -> Turn | None:
        """Take or keep the lease; return the turn of everything done under it, or None while another acts."""
        with self._lock:
            if not self._is_fresh(now):
                self._take(now)
            return None if self._token is None else self._turn(self._token, now)

    def held(self, now: datetime) -> Turn | None:
        """Return the turn of what is done beside the loop under a lease we have; never takes one."""
        with self._lock:
            return None if self._token is None else self._turn(self._token, now)

    def renew(self, now: datetime) -> None:
        """Keep a lease we hold alive during a long tick; never takes one."""
        with self._lock:
            if self._token is not None and not self._is_fresh(now):
                self._take(now)

    def lose(self) -> None:
        """Stop acting: somebody else has the lease."""
        with self._lock:
            self._step_down()

    def step_down(self) -> None:
        """Let go of the lease at the end of the process."""
        with self._lock:
            token = self._token
            self._step_down()
            if token is not None:
                self._journal.release(MONITOR, token)

    def _is_fresh(self, now: datetime) -> bool:
        if self._token is None or self._renewed is None:
            return False
        at, at_seconds = self._renewed
        return timedelta() <= now - at < self._ttl / 3 and self._monotonic() - at_seconds < self._ttl.total_seconds() / 3

    def _take(self, now: datetime) -> None:
        began = now, self._monotonic()
        token = self._journal.acquire(MONITOR, self._holder, self._ttl, now)
        if token is None or token != self._token:
            self._step_down()
        if token is not None and token != self._token:
            self._won(self._turn(token, now))
        self._token = token
        self._renewed = None if token is None else began

    def _turn(self, token: int, now: datetime) -> Turn:
        return Turn(now, self._journal.guard(MONITOR, token), token)

    def _step_down(self) -> None:
        self._lost()
        self._token = None
        self._renewed = None
