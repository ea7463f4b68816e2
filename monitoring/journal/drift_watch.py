"""What the watch of one model remembers from slot to slot, within a transaction that somebody else opened.

As with what a slot hands on (`carries`): it is written with the verdict and holds from the moment the slot's run is done, so that a slot
that is judged again begins where the first attempt began. References and episodes are numbered by the state; those that an attempt left
behind which did not end are written over, or go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import sqlalchemy as sa

from monitoring.drift.episodes import Acknowledgement, Episode
from monitoring.journal.tables import TICK, runs
from monitoring.journal.tables import episodes as episode_table
from monitoring.journal.tables import references as reference_table
from monitoring.journal.tables import watch_states as state_table
from training.json_text import from_text, to_text
from training.storage.database import upsert


@dataclass(frozen=True, slots=True)
class WatchState:
    """What one slot hands to the watch of the next.

    Attributes
    ----------
    slot_us
        The slot.
    reference
        The number of the reference in force.
    detector
        The detector's own state; empty where slots since were judged by another rule: it knows nothing of their rows.
    episodes
        The open ones, and those that ended at this slot.
    next_episode
        The number that the next one gets.
    champion
        Who answered: another one answers otherwise, which is no drift.
    outputs_since_us
        Since when the champion's outputs are gathered to be their own reference; None once they are.
    resting
        From when on columns are watched (model time), by column: the end of the last episode they were in.
    aside
        The ranges of model time that are left out of the detector's counts.
    """

    slot_us: int
    reference: int
    detector: bytes
    episodes: tuple[Episode, ...] = ()
    next_episode: int = 1
    champion: str = ""
    outputs_since_us: int | None = None
    resting: Mapping[str, int] = field(default_factory=dict)
    aside: tuple[tuple[int, int], ...] = ()

    @property
    def open(self) -> tuple[Episode, ...]:
        """The episodes that are open."""
        return tuple(e for e in self.episodes if e.ended_us is None)


@dataclass(frozen=True, slots=True)
class StoredReference:
    """A reference and since when, and why, it is in force."""

    number: int
    from_us: int
    why: str
    content: str


@dataclass(frozen=True, slots=True)
class WatchUpdate:
    """What a slot writes: its state, and the reference that it took, if it took one."""

    state: WatchState
    reference: StoredReference | None = None


def write(connection: sa.Connection, model: str, update: WatchUpdate) -> None:
    """Write what a slot hands on; a slot that is judged again replaces it. States before the last that holds go."""
    state, held = update.state, last(connection, model)
    if held is not None:
        connection.execute(state_table.delete().where(state_table.c.model == model, state_table.c.slot_us < held.slot_us))
    values = {
        "reference": state.reference,
        "detector": state.detector,
        "episodes": to_text([e.to_dict() for e in state.episodes]),
        "next_episode": state.next_episode,
        "champion": state.champion,
        "outputs_since_us": state.outputs_since_us,
        "resting": to_text(dict(state.resting)),
        "aside": to_text([list(span) for span in state.aside]),
    }
    upsert(connection, state_table, {"model": model, "slot_us": state.slot_us, **values}, ["model", "slot_us"], values)
    _write_reference(connection, model, update)
    _write_episodes(connection, model, state)


def last(connection: sa.Connection, model: str) -> WatchState | None:
    """Return what the last slot whose run is done handed on; None before the first. Its sums go where slots since handed nothing on."""
    table = state_table
    is_done = (runs.c.model == table.c.model) & (runs.c.job == TICK) & (runs.c.slot_us == table.c.slot_us) & (runs.c.state == "done")
    statement = sa.select(table).join(runs, is_done).where(table.c.model == model).order_by(table.c.slot_us.desc()).limit(1)
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    ended = sa.select(runs.c.slot_us).where(runs.c.model == model, runs.c.job == TICK, runs.c.state == "done")
    newest = connection.scalar(ended.order_by(runs.c.slot_us.desc()).limit(1))
    return WatchState(
        slot_us=row.slot_us,
        reference=row.reference,
        detector=row.detector if newest == row.slot_us else b"",
        episodes=tuple(Episode.from_dict(one) for one in from_text(row.episodes)),
        next_episode=row.next_episode,
        champion=row.champion,
        outputs_since_us=row.outputs_since_us,
        resting=from_text(row.resting),
        aside=tuple((start_us, end_us) for start_us, end_us in from_text(row.aside)),
    )


def reference(connection: sa.Connection, model: str, number: int) -> StoredReference:
    """Return a reference by its number."""
    table = reference_table.c
    row = connection.execute(sa.select(reference_table).where(table.model == model, table.number == number)).one()
    return StoredReference(row.number, row.from_us, row.why, row.content)


def episodes(connection: sa.Connection, model: str, limit: int | None) -> list[tuple[Episode, Acknowledgement | None]]:
    """Return the episodes of a model and what was said of each, the newest first."""
    table = episode_table
    statement = sa.select(table).where(table.c.model == model).order_by(table.c.number.desc()).limit(limit)
    return [(Episode.from_dict(from_text(row.content)), _acknowledgement(row.acknowledged)) for row in connection.execute(statement)]


def acknowledgements(connection: sa.Connection, model: str, numbers: Sequence[int]) -> dict[int, Acknowledgement]:
    """Return what was said of some episodes, by number."""
    table = episode_table.c
    wanted = sa.select(table.number, table.acknowledged).where(table.model == model, table.number.in_(numbers))
    read = {row.number: _acknowledgement(row.acknowledged) for row in connection.execute(wanted)}
    return {number: one for number, one in read.items() if one is not None}


def acknowledge(connection: sa.Connection, model: str, number: int, acknowledgement: Acknowledgement) -> bool:
    """Write down what a person said of an open episode; return whether there is such a one."""
    table = episode_table
    is_open = table.c.model == model, table.c.number == number, table.c.ended_us.is_(None)
    text = to_text(asdict(acknowledgement))
    return connection.execute(table.update().where(*is_open).values(acknowledged=text)).rowcount == 1


def beginning(connection: sa.Connection, model: str) -> tuple[StoredReference | None, int]:
    """Return the reference taken last, if there is one, and the number of the next episode, for a watch that has no state."""
    table = reference_table
    row = connection.execute(sa.select(table).where(table.c.model == model).order_by(table.c.number.desc()).limit(1)).one_or_none()
    newest = connection.scalar(sa.select(sa.func.max(episode_table.c.number)).where(episode_table.c.model == model))
    return None if row is None else StoredReference(row.number, row.from_us, row.why, row.content), int(newest or 0) + 1


def take_back(connection: sa.Connection, model: str, after_us: int) -> None:
    """Forget the states if one of a slot behind a model time is among them, and what came of those slots: the sums begin anew.

    Evidence is added up over slots, and only the last states are kept. Episodes that are open end.
    """
    table = episode_table
    is_behind = state_table.c.model == model, state_table.c.slot_us > after_us
    if not connection.scalar(sa.select(sa.func.count()).select_from(state_table).where(*is_behind)):
        return
    connection.execute(state_table.delete().where(state_table.c.model == model))
    connection.execute(reference_table.delete().where(reference_table.c.model == model, reference_table.c.from_us > after_us))
    connection.execute(table.delete().where(table.c.model == model, table.c.opened_us > after_us))
    for row in connection.execute(
        sa.select(table).where(table.c.model == model, sa.func.coalesce(table.c.ended_us, after_us + 1) > after_us)
    ).all():
        ended = Episode.from_dict(from_text(row.content)).end(after_us, "model time was set back")
        is_it = table.c.model == model, table.c.number == row.number
        connection.execute(table.update().where(*is_it).values(ended_us=after_us, content=to_text(ended.to_dict())))


def _acknowledgement(text: str | None) -> Acknowledgement | None:
    return None if text is None else Acknowledgement(**from_text(text))


def _write_reference(connection: sa.Connection, model: str, update: WatchUpdate) -> None:
    table, taken = reference_table, update.reference
    is_late = table.c.model == model, table.c.number > update.state.reference
    connection.execute(table.delete().where(*is_late))
    if taken is not None:
        values = {"from_us": taken.from_us, "why": taken.why, "content": taken.content}
        upsert(connection, table, {"model": model, "number": taken.number, **values}, ["model", "number"], values)


def _write_episodes(connection: sa.Connection, model: str, state: WatchState) -> None:
    table = episode_table
    connection.execute(table.delete().where(table.c.model == model, table.c.number >= state.next_episode))
    for one in state.episodes:
        values = {"opened_us": one.opened_us, "ended_us": one.ended_us, "content": to_text(one.to_dict())}
        upsert(connection, table, {"model": model, "number": one.number, **values}, ["model", "number"], values)
