"""What the drain writes in one transaction: rows, counts, model time and the new offset of the spool file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import repeat
from typing import Any

import orjson
import sqlalchemy as sa

from service.count_ledger.counted_measures import CountedMeasures, Known, active, put_measures, read_measures
from service.count_ledger.counts import CountedRows, add_counts
from service.prediction_log.own_ids import StoredRow, keep_own_ids
from service.prediction_log.records import Record
from service.prediction_log.tables import (
    KEY_LETTERS,
    REQUEST_ID_LETTERS,
    TRACE_ID_LETTERS,
    Clock,
    clocks,
    hold_tables,
    layout_content,
    layouts,
    lock_clock,
    predictions,
    spool_offsets,
)
from service.prediction_log.watermark import ClockRule, Walk, late_for, walk
from training.clock import duration_us, to_us
from training.profiles.measures import Measures
from training.storage.database import upsert

_DEFAULT_RULE = ClockRule(bound_us=duration_us(timedelta(days=30)))
_NARROWEST_US = duration_us(timedelta(minutes=1))  # bucket of a model that has no measures yet
_PART_ROWS = 500  # of a packed record, made Python values of at a time

_COLUMNS = (
    *("id_prefix", "model", "version", "bins_id", "layout", "arrived_us"),
    *("row", "event_us", "late_us", "own_id", "features", "label", "value", "probabilities"),
    *("request_id", "trace_id", "key_name"),
)

_OFFSET = sa.select(spool_offsets.c.offset, spool_offsets.c.records, spool_offsets.c.closed).where(
    spool_offsets.c.spool == sa.bindparam("of_spool")
)
_MOVED = (
    sa.update(clocks)
    .where(clocks.c.model == sa.bindparam("of_model"))
    .values({name: sa.bindparam(f"new_{name}") for name in ("watermark_us", "ahead_rows", "rows")})
)

Met = Sequence[int | None]
"""For each record of a batch the model time it met, where a row of it is late for its bucket; else None."""
InForce = Mapping[str, Sequence[CountedMeasures]]
"""What the rows of each model are counted under."""


@dataclass(frozen=True, slots=True)
class DrainedBatch:
    """What the drain took out of one spool file between two offsets.

    Attributes
    ----------
    counts
        Counts that are made already.
    count
        Counts the records; asked again, within the transaction, when another drain or a new set of measures came in between.
    first
        The measures and the width of a bucket of a version that answered, for a model that has no measures yet.
    """

    spool: str
    start: int
    end: int
    records_before: int
    records: Sequence[Record]
    closed: bool = False
    counts: Sequence[CountedRows] = ()
    count: Callable[[Met, InForce], Sequence[CountedRows]] | None = None
    rules: Mapping[str, ClockRule] = field(default_factory=dict)
    first: Mapping[str, tuple[Measures, int]] = field(default_factory=dict)
    skipped: int = 0

    @property
    def models(self) -> list[str]:
        """The models of the records, in order: their clocks are locked in this one."""
        return sorted({record.model for record in self.records})


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a spool file is committed."""

    offset: int
    records: int
    closed: bool


@dataclass(frozen=True, slots=True)
class ModelState:
    """What the rows to come of a model depend on: where model time stands, and what is counted."""

    watermark_us: int | None = None
    measures: tuple[CountedMeasures, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """What of a batch is to be stored, if each model is in the state that was assumed."""

    states: Mapping[str, ModelState]
    walks: Mapping[str, Walk]
    met: Met
    rows: Sequence[StoredRow]
    counts: Sequence[CountedRows]


def prepare_batch(batch: DrainedBatch, states: Mapping[str, ModelState], before: PreparedBatch | None = None) -> PreparedBatch:
    """Spread and count a batch for models in these states.

    Parameters
    ----------
    before
        What was prepared for other states: what the difference does not touch is taken over.
    """
    walks = {}
    for model in batch.models:
        requests = ((record.event_us, record.arrived_us) for record in batch.records if record.model == model)
        walks[model] = walk(states[model].watermark_us, requests, batch.rules.get(model, _DEFAULT_RULE))
    met = _met(batch.records, walks, {model: _narrowest(states[model]) for model in walks})
    are_rows_the_same = before is not None and before.met == met
    rows = before.rows if before is not None and are_rows_the_same else stored_rows(batch.records, met)
    in_force = {model: states[model].measures for model in walks}
    if batch.count is None:
        counts = batch.counts
    elif before is not None and are_rows_the_same and all(before.states[model].measures == in_force[model] for model in in_force):
        counts = before.counts
    else:
        counts = batch.count(met, in_force)
    return PreparedBatch(states, walks, met, rows, counts)


def _met(records: Sequence[Record], walks: Mapping[str, Walk], widths: Mapping[str, int]) -> Met:
    each = {model: iter(walked.met) for model, walked in walks.items()}
    met = [next(each[record.model]) for record in records]
    return [at if late_for(record.event_us, at, widths[record.model]) else None for record, at in zip(records, met, strict=True)]


def _narrowest(state: ModelState) -> int:
    return min((counted.width_us for counted in state.measures), default=_NARROWEST_US)


def write_batch(
    connection: sa.Connection, batch: DrainedBatch, prepared: PreparedBatch, known: Known, machine_now: datetime
) -> tuple[Counter[str], Mapping[str, ModelState]] | None:
    """Write a batch within a transaction; return None, with nothing written, when its file is not at `batch.start` any more.

    Parameters
    ----------
    prepared
        Made before the transaction, so that the lock is held shortly; made anew where it was made for other states than are found.
    known
        Measures that were read before.

    Returns
    -------
    How many rows of each model lost their own id, since it is another key's; and the state of each model afterwards.

    Raises
    ------
    SchemaVersionError
        A newer Evergreen has migrated the tables.
    """
    hold_tables(connection)
    clock_of = {model: lock_clock(connection, model) for model in batch.models}
    if read_offset(connection, batch.spool, lock=True).offset != batch.start:
        return None
    states = {
        model: ModelState(clock.watermark_us, _in_force(connection, model, batch, known, machine_now)) for model, clock in clock_of.items()
    }
    if states != prepared.states:
        prepared = prepare_batch(batch, states, prepared)
    lost = _insert_rows(connection, batch.records, prepared.rows)
    for model, clock in clock_of.items():
        _move_clock(connection, model, clock, prepared.walks[model], batch.records)
    add_counts(connection, prepared.counts)
    _store_offset(connection, batch, machine_now)
    return lost, {model: replace(state, watermark_us=prepared.walks[model].watermark_us) for model, state in states.items()}


def _in_force(
    connection: sa.Connection, model: str, batch: DrainedBatch, known: Known, machine_now: datetime
) -> tuple[CountedMeasures, ...]:
    """Return what rows of a model are counted under; the first rows that it gets bring the measures of the version that answered them."""
    in_force = read_measures(connection, model, known)
    if active(in_force) is None and model in batch.first:
        measures, width_us = batch.first[model]
        put_measures(connection, model, CountedMeasures(measures.id, "active", width_us, to_us(machine_now), measures))
        return read_measures(connection, model, known)
    return in_force


def _insert_rows(connection: sa.Connection, records: Sequence[Record], rows: Sequence[StoredRow]) -> Counter[str]:
    lost: Counter[str] = Counter()
    if rows:
        if any(record.key and record.own_ids for record in records):
            rows, lost = keep_own_ids(connection, rows, _COLUMNS)
        _insert_layouts(connection, records)
        connection.exec_driver_sql(_insertion(connection), list(rows))
    return lost


def _insertion(connection: sa.Connection) -> str:
    """Return the statement that takes `stored_rows` as they are: SQLAlchemy's own would arrange the values of each row anew."""
    placeholder = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    return f"INSERT INTO {predictions.name} ({', '.join(_COLUMNS)}) VALUES ({', '.join([placeholder] * len(_COLUMNS))})"


def stored_rows(records: Sequence[Record], met: Met = ()) -> list[StoredRow]:
    """Spread records into rows of the table `predictions`, values in the order of `_COLUMNS`."""
    return [row for record, at in zip(records, met or [None] * len(records), strict=True) for row in _rows_of(record, at)]


def _rows_of(record: Record, met_us: int | None) -> Iterator[StoredRow]:
    layout, _ = _layout_of(record)
    first = (record.prefix, record.model, record.version, record.bins_id, layout, record.arrived_us)
    last = (
        record.request_id and record.request_id[:REQUEST_ID_LETTERS],
        record.trace_id and record.trace_id[:TRACE_ID_LETTERS],
        record.key and record.key[:KEY_LETTERS],
    )
    for start, part in _parts(record):
        numbers = range(start, start + len(part.outputs))
        own_ids = part.own_ids or repeat(None)
        late = repeat(None) if met_us is None else [met_us if event_us < met_us else None for event_us in part.event_us]
        features = zip(*part.features.values(), strict=True)
        times = zip(part.event_us, late, own_ids)  # noqa: B905 - what is the same in each row has no end
        if part.probabilities is None:
            for row, time, values, output in zip(numbers, times, features, part.outputs, strict=True):
                yield (*first, row, *time, _text(orjson.dumps(values)), None, output, None, *last)
            continue
        predicted = zip(part.outputs, part.probabilities, strict=True)
        for row, time, values, (output, chances) in zip(numbers, times, features, predicted, strict=True):
            text = _text(orjson.dumps(chances))
            yield (*first, row, *time, _text(orjson.dumps(values)), output, None, text, *last)


def _parts(record: Record) -> Iterable[tuple[int, Record]]:
    """Return a record with its values in lists, and at which row it starts: a packed one in parts, to stay in the processor's cache."""
    return _unpacked_parts(record) if record.is_packed else ((0, record),)


def _unpacked_parts(record: Record) -> Iterator[tuple[int, Record]]:
    for start in range(0, len(record), _PART_ROWS):
        rows = slice(start, start + _PART_ROWS)
        part = replace(
            record,
            event_us=_listed(record.event_us, rows),
            own_ids=record.own_ids and record.own_ids[rows],
            features={name: _listed(values, rows) for name, values in record.features.items()},
            outputs=[None if output != output else output for output in _listed(record.outputs, rows)],  # NaN is no value
            probabilities=None if record.probabilities is None else _listed(record.probabilities, rows),
        )
        yield start, part


def _listed(values: Any, rows: slice) -> list[Any]:
    part: list[Any] = values[rows].tolist()
    return part


def _layout_of(record: Record) -> tuple[str, str]:
    return layout_content(tuple(record.features), None if record.classes is None else tuple(record.classes))


def read_offset(connection: sa.Connection, spool: str, *, lock: bool = False) -> Offset:
    """Return how far a spool file is committed, on request with its row locked."""
    row = connection.execute(_OFFSET.with_for_update() if lock else _OFFSET, {"of_spool": spool}).one_or_none()
    return Offset(0, 0, False) if row is None else Offset(*row)


def _store_offset(connection: sa.Connection, batch: DrainedBatch, machine_now: datetime) -> None:
    values = {
        "offset": batch.end,
        "records": batch.records_before + len(batch.records) + batch.skipped,
        "closed": batch.closed,
        "updated_us": to_us(machine_now),
    }
    upsert(connection, spool_offsets, {"spool": batch.spool, **values}, ["spool"], values)


def _move_clock(connection: sa.Connection, model: str, clock: Clock, walked: Walk, records: Sequence[Record]) -> None:
    rows = sum(len(record) for record in records if record.model == model)
    values = {"new_watermark_us": walked.watermark_us, "new_ahead_rows": clock.ahead_rows + walked.ahead, "new_rows": clock.rows + rows}
    connection.execute(_MOVED, {"of_model": model, **values})


def _insert_layouts(connection: sa.Connection, records: Sequence[Record]) -> None:
    contents = dict(map(_layout_of, records))
    upsert(connection, layouts, [{"layout": name, "content": content} for name, content in contents.items()], ["layout"], None)


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()
