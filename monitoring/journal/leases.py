"""Who may act: a lease row with a fencing token, within a transaction that somebody else opened.

A lease alone is not safe: its holder may be stopped, miss the end, and wake up acting. The token is what makes it safe: it
grows at each change of holder, and every write checks, in its own transaction, that its token is still the one in the row.

Machines whose clocks differ share a database server, so its clock dates a lease; where there is none, all are on one machine.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from monitoring.errors import LeaseLostError
from monitoring.journal.tables import Lease
from monitoring.journal.tables import leases as table
from training.clock import to_us
from training.registry.tables import Guard
from training.storage.database import server_clock, upsert

MONITOR = "monitor"  # whoever has this one acts


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of the process that may act: when it is, and by which right.

    Attributes
    ----------
    now
        Machine time.
    guard
        What is called first in each transaction of the step; None for what a person does by hand.
    token
        The fencing token of the lease, by which the runs of the step are known.
    """

    now: datetime
    guard: Guard | None = None
    token: int = 0

    @property
    def now_us(self) -> int:
        """Machine time in microseconds."""
        return to_us(self.now)


def acquire(connection: sa.Connection, name: str, holder: str, machine_us: int, ttl_us: int) -> int | None:
    """Take, keep or take over a lease; return its token, or None while another holder has it.

    The same holder keeps its token, also after the end of its lease when nobody took over meanwhile. An end further ahead than a
    lease lasts was written before the clock was set back: it is brought near, lest everybody waits for a time long gone.
    """
    upsert(connection, table, {"name": name, "holder": "", "token": 0, "expires_us": 0}, ["name"], None)
    lease = connection.execute(_row(name).with_for_update()).one()
    now_us = _now_us(connection, machine_us)  # after the wait for the row
    latest_us = now_us + ttl_us
    is_ours, is_open = lease.holder == holder, lease.expires_us <= now_us
    if not is_ours and not is_open:
        if lease.expires_us > latest_us:
            connection.execute(table.update().where(table.c.name == name).values(expires_us=latest_us))
        return None
    token: int = int(lease.token) + int(not is_ours)
    values = {"holder": holder, "token": token, "expires_us": latest_us}
    connection.execute(table.update().where(table.c.name == name).values(values))
    return token


def release(connection: sa.Connection, name: str, token: int) -> None:
    """End a lease at once, unless somebody else has it by now."""
    connection.execute(table.update().where(table.c.name == name, table.c.token == token).values(expires_us=0, holder=""))


def find(connection: sa.Connection, name: str) -> Lease | None:
    """Return a lease, or None when it was never taken."""
    row = connection.execute(_row(name)).one_or_none()
    return None if row is None else Lease(row.name, row.holder, int(row.token), int(row.expires_us))


def is_held(connection: sa.Connection, name: str, machine_us: int) -> bool:
    """Return whether anybody has a lease now."""
    lease = find(connection, name)
    return lease is not None and lease.expires_us > _now_us(connection, machine_us)


def make_guard(name: str, token: int) -> Guard:
    """Return a check for the start of a transaction.

    On PostgreSQL it also keeps anybody from taking the lease before the transaction ends; on SQLite the one writer does.

    Raises
    ------
    LeaseLostError
        By the check: somebody else took the lease.
    """

    def check(connection: sa.Connection) -> None:
        row = connection.execute(_row(name).with_for_update(read=True)).one_or_none()
        if row is None or row.token != token:
            raise LeaseLostError(
                f"the lease {name} with token {token} was taken over by {row.holder if row else 'nobody'}: nothing was done"
            )

    return check


def _now_us(connection: sa.Connection, machine_us: int) -> int:
    clock = server_clock(connection)
    return machine_us if clock is None else to_us(clock)


def _row(name: str) -> sa.Select[Any]:
    return sa.select(table).where(table.c.name == name)
