"""Who may act: a lease row with a fencing token, within a transaction that somebody else opened.

A lease alone is not safe: its holder may be stopped, miss the end, and wake up acting. The token is what makes it safe: it
grows at each change of holder, and every write checks, in its own transaction, that its token is still the one in the row.
"""

from typing import Any

import sqlalchemy as sa

from monitoring.errors import LeaseLostError
from monitoring.journal_tables import Lease
from monitoring.journal_tables import leases as table
from training.database import upsert
from training.registry_tables import Guard


def acquire(connection: sa.Connection, name: str, holder: str, now_us: int, ttl_us: int) -> int | None:
    """Take, keep or take over a lease; return its token, or None while another holder has it.

    The same holder keeps its token, also after the end of its lease when nobody took over meanwhile.
    """
    upsert(connection, table, {"name": name, "holder": holder, "token": 1, "expires_us": now_us + ttl_us}, ["name"], None)
    found = connection.execute(_row(name).with_for_update()).one()
    if found.holder != holder and found.expires_us > now_us:
        return None
    token: int = int(found.token) + int(found.holder != holder)
    values = {"holder": holder, "token": token, "expires_us": now_us + ttl_us}
    connection.execute(table.update().where(table.c.name == name).values(values))
    return token


def release(connection: sa.Connection, name: str, token: int) -> None:
    """End a lease at once, unless somebody else has it by now."""
    connection.execute(table.update().where(table.c.name == name, table.c.token == token).values(expires_us=0, holder=""))


def find(connection: sa.Connection, name: str) -> Lease | None:
    """Return a lease, or None when it was never taken."""
    row = connection.execute(_row(name)).one_or_none()
    return None if row is None else Lease(row.name, row.holder, int(row.token), int(row.expires_us))


def make_guard(name: str, token: int) -> Guard:
    """Return a check for the start of a transaction: raises `LeaseLostError` when somebody else took the lease.

    On PostgreSQL it also keeps anybody from taking the lease before the transaction ends; on SQLite the one writer does.
    """

    def check(connection: sa.Connection) -> None:
        row = connection.execute(_row(name).with_for_update(read=True)).one_or_none()
        if row is None or row.token != token:
            raise LeaseLostError(
                f"the lease {name} with token {token} was taken over by {row.holder if row else 'nobody'}: nothing was done"
            )

    return check


def _row(name: str) -> sa.Select[Any]:
    return sa.select(table).where(table.c.name == name)
