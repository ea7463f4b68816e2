"""What one slot hands to the next, within a transaction that somebody else opened.

A slot writes it with its verdict. It holds from the moment the slot's run is done, and never when the run ends otherwise: so
labelled rows are spent by the same transaction that finishes the slot, and a slot that is judged again spends nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from monitoring.journal.tables import TICK, runs
from monitoring.journal.tables import carries as table
from monitoring.judging.performance import Score
from training.json_text import from_text, to_text
from training.storage.database import upsert
from training.storage.migrations import add_columns

MOST_OTHERS = 8  # former champions that are remembered: one that comes back later begins anew


class Spent(NamedTuple):
    """How far the rows of one version are spent, and the score of its first live ones."""

    tested_us: int = 0
    first: Score | None = None


@dataclass(frozen=True, slots=True)
class Carry:
    """How far labelled rows are spent, and the champion's first live score.

    Attributes
    ----------
    champion
        Whose these are.
    tested_us
        Rows before it were tested; each is tested once.
    first
        Score of the champion's first live rows.
    taught_us
        Labels of rows before it were given to a retraining.
    move
        The last ledger line about the champion that was seen to.
    others
        What holds for the last former champions, the one that left last behind the others: should they come back, no row is tested twice
        for a version.
    counted_us
        The slot as of which labelled rows are counted (`outcomes`).
    """

    champion: str = ""
    tested_us: int = 0
    first: Score | None = None
    taught_us: int = 0
    move: int = 0
    others: Mapping[str, Spent] = field(default_factory=dict)
    counted_us: int = 0

    def of(self, champion: str) -> Self:
        """Return what holds for `champion`."""
        if self.champion == champion:
            return self
        others = {**self.others, **({self.champion: Spent(self.tested_us, self.first)} if self.champion else {})}
        own = others.pop(champion, Spent())
        return replace(self, champion=champion, tested_us=own.tested_us, first=own.first, others=dict(list(others.items())[-MOST_OTHERS:]))


def write(connection: sa.Connection, model: str, slot_us: int, carry: Carry) -> None:
    """Write what a slot hands on; a slot that is judged again replaces it."""
    values = {
        "champion": carry.champion,
        "tested_us": carry.tested_us,
        "first": _text(carry.first),
        "taught_us": carry.taught_us,
        "move": carry.move,
        "others": to_text([[version, spent.tested_us, _text(spent.first)] for version, spent in carry.others.items()]),
        "counted_us": carry.counted_us,
    }
    upsert(connection, table, {"model": model, "slot_us": slot_us, **values}, ["model", "slot_us"], values)


def last(connection: sa.Connection, model: str) -> Carry:
    """Return what the last slot whose run is done handed on; a new one before the first."""
    is_done = (runs.c.model == table.c.model) & (runs.c.job == TICK) & (runs.c.slot_us == table.c.slot_us) & (runs.c.state == "done")
    statement = sa.select(table).join(runs, is_done).where(table.c.model == model).order_by(table.c.slot_us.desc()).limit(1)
    row = connection.execute(statement).one_or_none()
    return Carry() if row is None else _read(row._asdict())


def take_out_of_runs(connection: sa.Connection) -> None:
    """Bring tables of version 1 to version 2: there a run handed on by its result, and by its payload before it was done."""
    table.create(connection)
    for row in connection.execute(sa.select(runs).where(runs.c.job == TICK)).all():
        payload, result = from_text(row.payload), from_text(row.result)
        pending = payload.pop("carry", None)
        stored = result.pop("carry", pending)
        if stored is None:
            continue
        first = stored.get("first")
        write(connection, row.model, row.slot_us, _read({**stored, "first": None if first is None else to_text(first)}))
        changes = {"payload": to_text(payload), "result": to_text(result)}
        connection.execute(runs.update().where(runs.c.run_id == row.run_id).values(changes))


def add_others(connection: sa.Connection) -> None:
    """Bring tables of version 3 to version 4: what holds for former champions is kept too."""
    add_columns(connection, table.c.others)


def add_counted(connection: sa.Connection) -> None:
    """Bring tables of version 4 to version 5: as of which slot labelled rows are counted; of those before none are."""
    add_columns(connection, table.c.counted_us)


def _text(first: Score | None) -> str | None:
    return None if first is None else to_text(first.to_dict())


def _score(text: str | None) -> Score | None:
    return None if text is None else Score(**from_text(text))


def _read(stored: Mapping[str, Any]) -> Carry:
    others = from_text(stored.get("others") or "[]")
    return Carry(
        str(stored.get("champion", "")),
        int(stored.get("tested_us", 0)),
        _score(stored.get("first")),
        int(stored.get("taught_us", 0)),
        int(stored.get("move", 0)),
        {version: Spent(int(tested_us), _score(first)) for version, tested_us, first in others},
        int(stored.get("counted_us") or 0),
    )
