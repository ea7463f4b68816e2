"""The time after a promotion in which it can be taken back; functions of an open transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from monitoring.journal.tables import ProbationRecord, probations
from training.json_text import to_text

End = Literal["passed", "rolled_back", "unjudged"]


@dataclass(frozen=True, slots=True)
class ProbationStep:
    """What one slot does to the open probation: written by the transaction that ends the slot's run, so once.

    Attributes
    ----------
    look
        The result of a look; None where none was due.
    end
        How the probation ends after that; None where it goes on.
    """

    look: Mapping[str, Any] | None = None
    end: End | None = None


def find_open(connection: sa.Connection, model: str) -> ProbationRecord | None:
    """Return the open probation of a model, or None."""
    row = connection.execute(sa.select(probations).where(*_open(model))).one_or_none()
    return None if row is None else ProbationRecord.of(row)


def last(connection: sa.Connection, model: str) -> ProbationRecord | None:
    """Return the probation that began last, however it stands, or None."""
    statement = sa.select(probations).where(probations.c.model == model).order_by(probations.c.id.desc()).limit(1)
    row = connection.execute(statement).one_or_none()
    return None if row is None else ProbationRecord.of(row)


def start(connection: sa.Connection, model: str, **row: Any) -> ProbationRecord:
    """Begin a probation; one that is open for the model ends as superseded."""
    connection.execute(probations.update().where(*_open(model)).values(state="superseded"))
    connection.execute(probations.insert().values(model=model, **row, looks_done=0, state="open", evidence="[]"))
    return ProbationRecord.of(connection.execute(sa.select(probations).where(*_open(model))).one())


def take(connection: sa.Connection, model: str, step: ProbationStep, slot_us: int) -> None:
    """Take a slot's step of the open probation; nothing happens when none is open."""
    record = find_open(connection, model)
    if record is None:
        return
    values: dict[str, Any] = {} if step.end is None else {"state": step.end}
    if step.look is not None:
        values |= {"looks_done": record.looks_done + 1, "evidence": to_text([*record.evidence, {**step.look, "slot_us": slot_us}])}
    if values:
        connection.execute(probations.update().where(probations.c.id == record.id).values(values))


def close(connection: sa.Connection, model: str, end: End) -> None:
    """End the open probation; nothing happens when none is open."""
    connection.execute(probations.update().where(*_open(model)).values(state=end))


def take_back(connection: sa.Connection, model: str, after_us: int) -> None:
    """Forget the looks of slots behind a model time, and that the last probation passed by one of them."""
    record = last(connection, model)
    if record is None or record.state not in ("open", "passed"):
        return
    kept = [look for look in record.evidence if look.get("slot_us", after_us) <= after_us]
    if len(kept) < len(record.evidence):
        values = {"looks_done": len(kept), "evidence": to_text(kept), "state": "open"}
        connection.execute(probations.update().where(probations.c.id == record.id).values(values))


def _open(model: str) -> tuple[sa.ColumnElement[bool], ...]:
    return probations.c.model == model, probations.c.state == "open"
