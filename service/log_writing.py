"""What the drain writes in one transaction: rows, counts, model time and the new offset of the spool file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa

from service.log_tables import (
    REQUEST_ID_LETTERS,
    TRACE_ID_LETTERS,
    clocks,
    layout_content,
    layouts,
    lock_clock,
    predictions,
    profile_counts,
    spool_offsets,
)
from service.records import Record
from service.watermark import ClockRule, advance
from training.clock import duration_us, to_us
from training.database import upsert
from training.profile import Profile

_DEFAULT_RULE = ClockRule(bound_us=duration_us(timedelta(days=30)))
_PART_ROWS = 500  # of a packed record, made Python values of at a time

StoredRow = tuple[Any, ...]
_COLUMNS = (
    *("id_prefix", "model", "version", "bins_id", "layout", "arrived_us"),
    *("row", "event_us", "own_id", "features", "label", "value", "probabilities"),
    *("request_id", "trace_id"),
)


@dataclass(frozen=True, slots=True)
class CountedRows:
    """The profile of some rows of one version in one bucket of model time."""

    model: str
    version: str
    bucket_us: int
    rows: int
    profile: Profile


@dataclass(frozen=True, slots=True)
class DrainedBatch:
    """What the drain took out of one spool file between two offsets, with the counts of it."""

    spool: str
    start: int
    end: int
    records_before: int
    records: Sequence[Record]
    closed: bool = False
    counts: Sequence[CountedRows] = ()
    rules: Mapping[str, ClockRule] = field(default_factory=dict)
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a spool file is committed."""

    offset: int
    records: int
    closed: bool


def write_batch(connection: sa.Connection, batch: DrainedBatch, rows: Sequence[StoredRow], machine_now: datetime) -> bool:
    """Write a batch within a transaction; False, with nothing written, when its file is not at `batch.start` any more.

    Parameters
    ----------
    rows
        `stored_rows` of the batch, made before the transaction so that the lock is held shortly.
    """
    models = sorted({record.model for record in batch.records})
    for model in models:
        lock_clock(connection, model)
    if read_offset(connection, batch.spool, lock=True).offset != batch.start:
        return False
    if rows:
        _insert_layouts(connection, batch.records)
        connection.exec_driver_sql(_insertion(connection), list(rows))
    for model in models:
        _move_clock(connection, model, batch)
    for counted in batch.counts:
        _add_counts(connection, counted)
    _store_offset(connection, batch, machine_now)
    return True


def _insertion(connection: sa.Connection) -> str:
    """Give the statement that takes `stored_rows` as they are: SQLAlchemy's own would arrange the values of each row anew."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    return f"INSERT INTO {predictions.name} ({', '.join(_COLUMNS)}) VALUES ({', '.join([mark] * len(_COLUMNS))})"


def stored_rows(records: Sequence[Record]) -> list[StoredRow]:
    """Spread records into rows of the table `predictions`, values in the order of `_COLUMNS`."""
    return [row for record in records for row in _rows_of(record)]


def _rows_of(record: Record) -> Iterator[StoredRow]:
    layout, _ = _layout_of(record)
    first = (record.prefix, record.model, record.version, record.bins_id, layout, record.arrived_us)
    last = (
        record.request_id and record.request_id[:REQUEST_ID_LETTERS],
        record.trace_id and record.trace_id[:TRACE_ID_LETTERS],
    )
    for start, part in _parts(record):
        numbers = range(start, start + len(part.outputs))
        own_ids = part.own_ids or [None] * len(numbers)
        features = zip(*part.features.values(), strict=True)
        if part.probabilities is None:
            for row, event_us, own_id, values, output in zip(numbers, part.event_us, own_ids, features, part.outputs, strict=True):
                yield (*first, row, event_us, own_id, _text(orjson.dumps(values)), None, output, None, *last)
            continue
        said = zip(part.outputs, part.probabilities, strict=True)
        for row, event_us, own_id, values, (output, chances) in zip(numbers, part.event_us, own_ids, features, said, strict=True):
            text = _text(orjson.dumps(chances))
            yield (*first, row, event_us, own_id, _text(orjson.dumps(values)), output, None, text, *last)


def _parts(record: Record) -> Iterable[tuple[int, Record]]:
    """Give a record with its values in lists, and at which row it starts: a packed one bit by bit, for the sake of the cache."""
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
    found: list[Any] = values[rows].tolist()
    return found


def _layout_of(record: Record) -> tuple[str, str]:
    return layout_content(tuple(record.features), None if record.classes is None else tuple(record.classes))


def read_offset(connection: sa.Connection, spool: str, *, lock: bool = False) -> Offset:
    """Say how far a spool file is committed, on request with its row locked."""
    chosen = sa.select(spool_offsets.c.offset, spool_offsets.c.records, spool_offsets.c.closed).where(spool_offsets.c.spool == spool)
    found = connection.execute(chosen.with_for_update() if lock else chosen).one_or_none()
    return Offset(0, 0, False) if found is None else Offset(found[0], found[1], found[2])


def _store_offset(connection: sa.Connection, batch: DrainedBatch, machine_now: datetime) -> None:
    values = {
        "offset": batch.end,
        "records": batch.records_before + len(batch.records) + batch.skipped,
        "closed": batch.closed,
        "updated_us": to_us(machine_now),
    }
    upsert(connection, spool_offsets, {"spool": batch.spool, **values}, ["spool"], values)


def _move_clock(connection: sa.Connection, model: str, batch: DrainedBatch) -> None:
    clock = lock_clock(connection, model)
    mine = [record for record in batch.records if record.model == model]
    event_us = np.concatenate([np.asarray(record.event_us, dtype=np.int64) for record in mine])
    rule = batch.rules.get(model, ClockRule(bound_us=duration_us(timedelta(days=30))))
    watermark, ahead = advance(clock.watermark_us, event_us, rule)
    values = {"watermark_us": watermark, "ahead_rows": clock.ahead_rows + ahead, "rows": clock.rows + len(event_us)}
    connection.execute(sa.update(clocks).where(clocks.c.model == model).values(values))


def _insert_layouts(connection: sa.Connection, records: Sequence[Record]) -> None:
    found = dict(_layout_of(record) for record in records)
    upsert(connection, layouts, [{"layout": name, "content": content} for name, content in found.items()], ["layout"], None)


def _add_counts(connection: sa.Connection, counted: CountedRows) -> None:
    table = profile_counts.c
    key = {
        "model": counted.model,
        "bins_id": counted.profile.bins_id,
        "bucket_us": counted.bucket_us,
        "version": counted.version,
    }
    match = sa.and_(*(table[name] == value for name, value in key.items()))
    stored = connection.execute(sa.select(table.rows, table.profile).where(match)).one_or_none()
    if stored is None:
        content = {"rows": counted.rows, "profile": _text(counted.profile.to_json())}
        connection.execute(sa.insert(profile_counts).values(key | content))
        return
    merged = Profile.from_json(stored.profile).merge(counted.profile)
    content = {"rows": stored.rows + counted.rows, "profile": _text(merged.to_json())}
    connection.execute(sa.update(profile_counts).where(match).values(content))


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()
