"""What the drain writes in one transaction: rows, counts, model time and the new offset of the spool file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa

from service.log_tables import clocks, layout_content, layouts, lock_clock, predictions, profile_counts, spool_offsets
from service.records import Record
from service.watermark import ClockRule, advance
from training.clock import duration_us, to_us
from training.database import upsert
from training.profile import Profile

_DEFAULT_RULE = ClockRule(bound_us=duration_us(timedelta(days=30)))


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


def write_batch(connection: sa.Connection, batch: DrainedBatch, rows: Sequence[dict[str, Any]], machine_now: datetime) -> bool:
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
        connection.execute(sa.insert(predictions), rows)
    for model in models:
        _move_clock(connection, model, batch)
    for counted in batch.counts:
        _add_counts(connection, counted)
    _store_offset(connection, batch, machine_now)
    return True


def stored_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Spread records into rows of the table `predictions`."""
    return [row for record in records for row in _rows_of(record)]


def _rows_of(record: Record) -> list[dict[str, Any]]:
    layout, _ = _layout_of(record)
    common = {
        "id_prefix": record.prefix,
        "model": record.model,
        "version": record.version,
        "bins_id": record.bins_id,
        "layout": layout,
        "arrived_us": record.arrived_us,
    }
    n_rows = len(record)
    own_ids = record.own_ids or [None] * n_rows
    features = zip(*record.features.values(), strict=True)
    probabilities = record.probabilities
    return [
        {
            **common,
            "row": row,
            "event_us": event_us,
            "own_id": own_id,
            "features": orjson.dumps(values).decode(),
            "label": None if probabilities is None else output,
            "value": output if probabilities is None else None,
            "probabilities": None if probabilities is None else orjson.dumps(probabilities[row]).decode(),
        }
        for row, (event_us, own_id, values, output) in enumerate(zip(record.event_us, own_ids, features, record.outputs, strict=True))
    ]


def _layout_of(record: Record) -> tuple[str, str]:
    return layout_content(tuple(record.features), record.classes)


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
