"""What the rows of a model are counted under: one set of measures, whichever version answers, and a new one that is taken over."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import sqlalchemy as sa

from service.count_ledger.tables import profile_bins
from training.errors import SchemaVersionError
from training.profiles.measures import Measures
from training.storage.database import upsert

State = Literal["counting", "active", "retired"]
Known = MutableMapping[tuple[str, str], Measures]
"""Measures by model and id, read before: what an id stands for never changes."""

_STATES = (
    sa.select(profile_bins.c.bins_id, profile_bins.c.state, profile_bins.c.width_us, profile_bins.c.created_us)
    .where(profile_bins.c.model == sa.bindparam("of_model"))
    .order_by(profile_bins.c.state, profile_bins.c.bins_id)
)


class MeasuresState(NamedTuple):
    """How a model stands to a set of measures; see `CountedMeasures`."""

    bins_id: str
    state: State
    width_us: int
    created_us: int


@dataclass(frozen=True, slots=True)
class CountedMeasures:
    """A set of measures that the rows of a model are, or were, counted under.

    Attributes
    ----------
    bins_id
        ``measures.id``.
    state
        ``active``: the model's own; ``counting``: to be the model's when its rows so far are counted; ``retired``: no longer.
    width_us
        The width of the buckets that rows are counted in now.
    created_us
        Machine time.
    """

    bins_id: str
    state: State
    width_us: int
    created_us: int
    measures: Measures = field(compare=False)


def read_states(connection: sa.Connection, model: str) -> list[MeasuresState]:
    """Read how a model stands to all its measures, the active and the counting ones first."""
    return [MeasuresState(*row) for row in connection.execute(_STATES, {"of_model": model})]


def read_measures(connection: sa.Connection, model: str, known: Known) -> tuple[CountedMeasures, ...]:
    """Read the measures in force of a model, the active ones first.

    Parameters
    ----------
    known
        What was read before; what was not is added.

    Raises
    ------
    SchemaVersionError
        They cannot be read here.
    """
    in_force = [one for one in read_states(connection, model) if one.state != "retired"]
    for one in in_force:
        if (model, one.bins_id) not in known:
            known[model, one.bins_id] = _read_content(connection, model, one.bins_id)
    return tuple(CountedMeasures(*one, known[model, one.bins_id]) for one in in_force)


def _read_content(connection: sa.Connection, model: str, bins_id: str) -> Measures:
    chosen = sa.select(profile_bins.c.content).where(profile_bins.c.model == model, profile_bins.c.bins_id == bins_id)
    content = connection.execute(chosen).scalar_one()
    try:
        return Measures.from_json(content)
    except (ValueError, LookupError, TypeError) as error:  # whoever drains must neither count otherwise nor think that its rows are broken
        raise SchemaVersionError(
            f"the measures {bins_id} of {model} cannot be read: {error!r}; did a newer Evergreen write them?"
        ) from error


def put_measures(connection: sa.Connection, model: str, counted: CountedMeasures) -> None:
    """Store measures, or the new state and width of those that are there; under the lock of the model's clock."""
    state = {"state": counted.state, "width_us": counted.width_us}
    content = {"content": counted.measures.to_json().decode(), "created_us": counted.created_us}
    upsert(connection, profile_bins, {"model": model, "bins_id": counted.bins_id, **state, **content}, ["model", "bins_id"], state)


def make_active(connection: sa.Connection, model: str, bins_id: str) -> None:
    """Count under measures that are stored, and no more under others."""
    table = profile_bins.c
    for own, state in ((table.bins_id == bins_id, "active"), (table.bins_id != bins_id, "retired")):
        connection.execute(sa.update(profile_bins).where(table.model == model, own).values(state=state))


def active(measures: Sequence[CountedMeasures]) -> CountedMeasures | None:
    """Return the model's own among its measures."""
    return next((counted for counted in measures if counted.state == "active"), None)
