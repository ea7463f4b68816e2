"""Which ranges of model time are set aside, and which of them a person let go again; functions of an open transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from monitoring.journal.tables import Quarantine, quarantines
from monitoring.judging.data_faults import joined_reasons
from training.storage.migrations import add_columns

_LATER = (quarantines.c.released_us, quarantines.c.released_by, quarantines.c.released_why)


def add_release_columns(connection: sa.Connection) -> None:
    """Bring tables of version 2 to version 3: who let a quarantine go."""
    add_columns(connection, *_LATER)


def add(connection: sa.Connection, wanted: Quarantine) -> None:
    """Set a range aside: with those in force that it touches, of rows or of labels as it is, it becomes one, since the first of them."""
    in_force = find(connection, wanted.model, released=False)
    touching = [one for one in in_force if one.is_of_labels == wanted.is_of_labels and _touch(one, wanted)]
    whole = [*touching, wanted]
    start_us, end_us = min(one.start_us for one in whole), max(one.end_us for one in whole)
    facts = {
        "reason": joined_reasons(one.reason for one in whole),
        "slot_us": min(one.slot_us for one in whole),
        "created_us": min(one.created_us for one in whole),
    }
    for one in touching:
        connection.execute(quarantines.delete().where(*_key(one.model, one.start_us, one.end_us)))
    connection.execute(quarantines.delete().where(*_key(wanted.model, start_us, end_us)))  # let go for another reason, to the microsecond
    connection.execute(quarantines.insert().values(model=wanted.model, start_us=start_us, end_us=end_us, **facts))


def find(connection: sa.Connection, model: str, *, released: bool | None) -> list[Quarantine]:
    """Return the quarantines of a model, the earliest first: those in force, those let go, or both."""
    wanted = [quarantines.c.model == model]
    wanted += [] if released is None else [quarantines.c.released_us.is_not(None) if released else quarantines.c.released_us.is_(None)]
    rows = connection.execute(sa.select(quarantines).where(*wanted).order_by(quarantines.c.start_us, quarantines.c.end_us))
    return [Quarantine(*row) for row in rows]


def release(connection: sa.Connection, one: Quarantine, release: Mapping[str, Any]) -> bool:
    """Let a quarantine go; return whether it was in force."""
    in_force = (*_key(one.model, one.start_us, one.end_us), quarantines.c.released_us.is_(None))
    return connection.execute(quarantines.update().where(*in_force).values(**release)).rowcount > 0


def go_on(connection: sa.Connection, model: str, start_us: int, end_us: int) -> None:
    """Note that what was let go, begun at `start_us`, went on until `end_us`; where several were, they end as one, for all their reasons.

    One that is in force from the same beginning to the same end stays as it is, and what was let go with it.
    """
    from_there = [one for one in find(connection, model, released=None) if one.start_us == start_us and one.end_us <= end_us]
    behind = [one for one in from_there if one.released_us is not None]
    if not any(one.end_us < end_us for one in behind) or any(one.end_us == end_us for one in from_there if one.released_us is None):
        return
    for one in behind[:-1]:
        connection.execute(quarantines.delete().where(*_key(model, start_us, one.end_us)))
    reason = joined_reasons(one.reason for one in behind)
    connection.execute(quarantines.update().where(*_key(model, start_us, behind[-1].end_us)).values(end_us=end_us, reason=reason))


def _touch(one: Quarantine, other: Quarantine) -> bool:
    return one.start_us <= other.end_us and other.start_us <= one.end_us


def _key(model: str, start_us: int, end_us: int) -> tuple[sa.ColumnElement[bool], ...]:
    return quarantines.c.model == model, quarantines.c.start_us == start_us, quarantines.c.end_us == end_us
