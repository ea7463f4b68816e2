"""What was decided at the slots of a model, and at looks by hand; functions of an open transaction."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from monitoring.journal.tables import TICK, Look, VerdictRecord, runs
from monitoring.journal.tables import verdicts as table


def find(connection: sa.Connection, model: str, limit: int | None, slots: Collection[int] | None) -> list[VerdictRecord]:
    """Return verdicts, the latest first, of some slots only or of all."""
    statement = sa.select(table).where(table.c.model == model).order_by(table.c.slot_us.desc()).limit(limit)
    statement = statement if slots is None else statement.where(table.c.slot_us.in_(slots))
    return [VerdictRecord.of(row) for row in connection.execute(statement)]


def last_judged(connection: sa.Connection, model: str) -> VerdictRecord | None:
    """Return the verdict of the last slot; looks by hand are no slots."""
    judged = table.join(runs, sa.and_(runs.c.model == table.c.model, runs.c.slot_us == table.c.slot_us, runs.c.job == TICK))
    last = sa.select(table).select_from(judged).where(table.c.model == model).order_by(table.c.slot_us.desc()).limit(1)
    row = connection.execute(last).one_or_none()
    return None if row is None else VerdictRecord.of(row)


def looks(connection: sa.Connection, model: str, since_us: int) -> list[Look]:
    """Return the slots from a model time on, the earliest first: without their evidence, which may be large."""
    statement = sa.select(table.c.slot_us, table.c.verdict, table.c.created_us).where(table.c.model == model, table.c.slot_us >= since_us)
    return [Look(*row) for row in connection.execute(statement.order_by(table.c.slot_us))]
