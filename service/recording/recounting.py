"""New measures for a model that is in use: its rows so far are counted again, while drains go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import sqlalchemy as sa

from service.count_ledger.counted_measures import CountedMeasures, make_active, put_measures, read_states
from service.count_ledger.counts import KEY, Counts, add_up, put_counts, read_counts, remove_counts
from service.prediction_log.tables import hold_tables, layouts, lock_clock, predictions, prepare
from service.recording.counting import NEVER, AnsweredRows, count_answered, prediction_of
from training.artifacts.manifest import generation_of
from training.clock import to_us
from training.profiles.bins import Profile
from training.profiles.measures import Measures
from training.schema.prediction import Prediction
from training.storage.database import Database

_ROWS_AT_ONCE = 2000
_BEFORE_ALL_US = -(1 << 62)
_SEGMENT = KEY.index("segment")


class _Span(NamedTuple):
    """A range of model time, as of one moment: the counts of its rows, and what of them was in the ledger."""

    start_us: int
    end_us: int
    counts: Counts
    before: Counts

    @property
    def rows(self) -> int:
        return sum(profile.rows for key, profile in self.counts.items() if not key[_SEGMENT])


def recount(database: Database, model: str, measures: Measures, *, from_us: int, width_us: int, machine_now: datetime) -> Iterator[int]:
    """Count the rows of a model since a model time under new measures, and make these the model's.

    From the first moment drains count under both. Then one bucket after the other is counted from its rows, and what drains have counted in
    it since these were read is added. It may be killed and begun again at any moment. When it is through, the counts since `from_us` are
    those that drains would have made if they had counted under these measures from the beginning; of older buckets there are none, but of
    rows that come from now on. Nothing is done where the measures are the model's already.

    Parameters
    ----------
    width_us
        The width of a bucket.

    Yields
    ------
    After each bucket, how many rows it has.

    Raises
    ------
    DatabaseUnavailableError
        The database is gone or too busy; begin again.
    """
    prepare(database)
    cursor = from_us // width_us * width_us
    last_us = _begin(database, model, CountedMeasures(measures.id, "counting", width_us, to_us(machine_now), measures), cursor)
    if last_us is None:
        return
    while cursor <= last_us:
        span = _count_next(database, model, measures, width_us, (cursor, last_us))
        if _replace(database, model, measures.id, span):
            cursor = span.end_us
            yield span.rows
    _finish(database, model, measures.id)


def _begin(database: Database, model: str, counted: CountedMeasures, from_us: int) -> int | None:
    """Have drains count under new measures too, and forget older counts under them.

    Returns
    -------
    The latest event time of what they had not counted so; None where there is nothing to do.
    """
    latest = sa.select(predictions.c.event_us).where(predictions.c.model == model).order_by(predictions.c.event_us.desc()).limit(1)
    with database.write() as connection:
        hold_tables(connection)
        lock_clock(connection, model)
        if (counted.bins_id, "active") in _states(connection, model):
            make_active(connection, model, counted.bins_id)  # others that were begun are no longer wanted
            return None
        put_measures(connection, model, counted)
        remove_counts(connection, model, counted.bins_id, _BEFORE_ALL_US, from_us)
        last_us = connection.scalar(latest)
    return _BEFORE_ALL_US if last_us is None else int(last_us)


def _count_next(database: Database, model: str, measures: Measures, width_us: int, left: tuple[int, int]) -> _Span:
    """Count the next bucket that has rows, with what lies before it; to the end of what is left where there is none."""
    table, (start_us, last_us) = predictions.c, left
    of_model = sa.and_(table.model == model, table.event_us >= start_us, table.event_us <= last_us)
    with database.read() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # rows and counts as of one moment
        first_us = connection.scalar(sa.select(table.event_us).where(of_model).order_by(table.event_us).limit(1))
        bucket_us = (last_us if first_us is None else int(first_us)) // width_us * width_us
        before = read_counts(connection, model, measures.id, start_us, bucket_us + width_us)
        counts = _count_rows(connection, model, measures, width_us, bucket_us)
    return _Span(start_us, bucket_us + width_us, counts, before)


def _count_rows(connection: sa.Connection, model: str, measures: Measures, width_us: int, bucket_us: int) -> Counts:
    table, known, counts = predictions.c, _read_layouts(connection), Counts()
    chosen = sa.select(
        table.version, table.layout, table.event_us, table.late_us, table.features, table.label, table.value, table.probabilities
    ).where(table.model == model, table.event_us >= bucket_us, table.event_us < bucket_us + width_us)
    logged = connection.execute(chosen, execution_options={"yield_per": _ROWS_AT_ONCE})
    for part in logged.partitions():
        for (version, layout), rows in groupby(sorted(part, key=lambda row: row[:2]), key=lambda row: row[:2]):
            answered = _answered(generation_of(version), known[layout], list(rows))
            add_up(counts, count_answered(model, answered, measures, width_us))
    return counts


def _read_layouts(connection: sa.Connection) -> dict[str, Any]:
    return {name: orjson.loads(content) for name, content in connection.execute(sa.select(layouts.c.layout, layouts.c.content))}


def _answered(generation: str, layout: dict[str, Any], rows: Sequence[Any]) -> AnsweredRows:
    _, _, event_us, late_us, features, labels, values, probabilities = zip(*rows, strict=True)
    columns = zip(*_decoded(features), strict=True)
    own_us = np.array(event_us, dtype=np.int64)
    met = np.array([NEVER if at is None else at for at in late_us], dtype=np.int64)
    known_us: npt.NDArray[np.int64] = np.maximum(own_us, met)
    return AnsweredRows(
        generation,
        {name: [column] for name, column in zip(layout["names"], columns, strict=True)},
        own_us,
        known_us,
        _prediction(layout["classes"], labels, values, probabilities),
    )


def _prediction(classes: list[str] | None, labels: Sequence[Any], values: Sequence[Any], probabilities: Sequence[Any]) -> Prediction:
    if classes is None:
        return prediction_of([values], [], None)
    return prediction_of([labels], [_decoded(probabilities)], tuple(classes))


def _decoded(texts: Sequence[str]) -> list[Any]:
    decoded: list[Any] = orjson.loads("[" + ",".join(texts) + "]")
    return decoded


def _replace(database: Database, model: str, bins_id: str, span: _Span) -> bool:
    """Store the counts of a range, with what drains have added since they were made; return False where counts left meanwhile."""
    with database.write() as connection:
        hold_tables(connection)
        lock_clock(connection, model)
        now = read_counts(connection, model, bins_id, span.start_us, span.end_us)
        if not all(key in now and now[key].rows >= profile.rows for key, profile in span.before.items()):
            return False
        for key, profile in now.items():
            added = _less(profile, span.before.get(key))
            if added.rows:
                span.counts[key] = span.counts[key].merge(added) if key in span.counts else added
        remove_counts(connection, model, bins_id, span.start_us, span.end_us)
        put_counts(connection, span.counts.items())
    return True


def _less(profile: Profile, before: Profile | None) -> Profile:
    """Return what was added to counts; its extremes are those of all rows."""
    if before is None:
        return profile
    counts = {name: after - before.counts[name] if name in before.counts else after for name, after in profile.counts.items()}
    return Profile(profile.bins_id, profile.rows - before.rows, counts, profile.minimum, profile.maximum)


def _finish(database: Database, model: str, bins_id: str) -> None:
    """Make the measures the model's, unless another has made other ones that meanwhile."""
    with database.write() as connection:
        hold_tables(connection)
        lock_clock(connection, model)
        if (bins_id, "counting") in _states(connection, model):
            make_active(connection, model, bins_id)


def _states(connection: sa.Connection, model: str) -> set[tuple[str, str]]:
    return {(one.bins_id, one.state) for one in read_states(connection, model)}
