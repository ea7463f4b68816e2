"""What one slot hands to the next, within a transaction that somebody else opened.

A slot writes it with its verdict. It holds from the moment the slot's run is done, and never when the run ends otherwise: so
labelled rows are spent by the same transaction that finishes the slot, and a slot that is judged again spends nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import sqlalchemy as sa

from monitoring.journal.tables import TICK, runs
from monitoring.journal.tables import carries as table
from monitoring.judging.performance.harm import HarmState, best_of
from monitoring.judging.performance.watch import Episode, PerformanceWatch
from training.json_text import from_text, to_text
from training.storage.database import upsert
from training.storage.migrations import add_columns


@dataclass(frozen=True, slots=True)
class WeighingState:
    """What the weighing of a champion's members hands on.

    Attributes
    ----------
    through_us
        The newest row they were weighed by; None before the first weighing.
    trials
        How a member's maps have done on what was answered with them, by its version.
    probations
        The evidence against members that came since, by their versions.
    expelled
        The versions of members that were proven to harm.
    cadence
        How many slots lie between two new members, and whose coming was rated last.
    """

    through_us: int | None = None
    trials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    probations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    expelled: tuple[str, ...] = ()
    cadence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        states = {"trials": self.trials, "probations": self.probations}
        by_member = {key: {name: dict(one) for name, one in each.items()} for key, each in states.items()}
        return {"through_us": self.through_us, "expelled": list(self.expelled), "cadence": dict(self.cadence), **by_member}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | None) -> Self:
        """Read what `to_dict` wrote; of an earlier release nothing is known."""
        if stored is None:
            return cls()
        expelled, cadence = tuple(stored["expelled"]), stored.get("cadence", {})
        return cls(stored["through_us"], stored["trials"], stored["probations"], expelled, cadence)


@dataclass(frozen=True, slots=True)
class Carry:
    """What one slot hands to the next.

    Attributes
    ----------
    performance
        How far labelled rows are spent, the baseline, and the evidence that the model got worse.
    taught_us
        Labels of rows before it were given to a retraining.
    move
        The last ledger line about the champion that was seen to.
    counted_us
        The slot as of which labelled rows are counted (`outcomes`).
    weighing
        As of the last weighing of the champion's members.
    """

    performance: PerformanceWatch = field(default_factory=PerformanceWatch)
    taught_us: int = 0
    move: int = 0
    counted_us: int = 0
    weighing: WeighingState = field(default_factory=WeighingState)


def write(connection: sa.Connection, model: str, slot_us: int, carry: Carry) -> None:
    """Write what a slot hands on; a slot that is judged again replaces it."""
    values = {
        "champion": carry.performance.champion,
        "tested_us": carry.performance.tested_us,
        "taught_us": carry.taught_us,
        "move": carry.move,
        "counted_us": carry.counted_us,
        "performance": to_text(carry.performance.to_dict()),
        "weighing": to_text(carry.weighing.to_dict()),
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
        write(connection, row.model, row.slot_us, _read(stored))
        changes = {"payload": to_text(payload), "result": to_text(result)}
        connection.execute(runs.update().where(runs.c.run_id == row.run_id).values(changes))


def add_later_columns(connection: sa.Connection) -> None:
    """Bring tables of versions 3 to 5 to the next: as of which slot labelled rows are counted, and the baseline, which are not known yet.

    What versions of their own had handed on (`first`, `others`) is left where it is; nobody reads it.
    """
    add_columns(connection, table.c.counted_us, table.c.performance)


def add_weighing(connection: sa.Connection) -> None:
    """Bring tables of version 10 to version 11: no members were weighed yet."""
    add_columns(connection, table.c.weighing)


def go_on_with_episodes(connection: sa.Connection) -> None:
    """Bring tables of version 8 to version 9: of an open episode it is not known yet whether losses are back."""
    chosen = sa.select(table.c.model, table.c.slot_us, table.c.performance).where(table.c.performance.is_not(None))
    for row in connection.execute(chosen).all():
        stored = from_text(row.performance)
        for harm in (stored["harm"], *(one["harm"] for one in stored["segments"].values())):
            if harm is not None:
                harm["state"]["square"] = 0.0
                state, peak = HarmState.from_dict(harm["state"]), harm.pop("log_peak")
                episode = Episode(best_of(state).since_us or state.through_us, HarmState(state.through_us))
                harm["episode"] = None if peak is None else episode.to_dict()
        is_it = (table.c.model == row.model) & (table.c.slot_us == row.slot_us)
        connection.execute(table.update().where(is_it).values(performance=to_text(stored)))


def _read(stored: Mapping[str, Any]) -> Carry:
    text = stored.get("performance")
    watch = PerformanceWatch.from_dict(str(stored.get("champion", "")), int(stored.get("tested_us", 0)), text and from_text(text))
    weighing, counted_us = stored.get("weighing"), int(stored.get("counted_us") or 0)
    state = WeighingState.from_dict(None if weighing is None else from_text(weighing))
    return Carry(watch, int(stored.get("taught_us", 0)), int(stored.get("move", 0)), counted_us, state)
