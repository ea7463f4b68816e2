"""The prediction log: every acknowledged prediction, exactly once, with its label when it arrives.

Written by the drain and by the label endpoint, read by the monitor. `label_log` and `log_reading` hold the two larger verbs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from service import label_log, log_reading
from service.label_log import OFFSETS_KEPT_US, LabelItem, LabelResult, LabelRules
from service.log_reading import LoggedPrediction, LoggedRows
from service.log_tables import clocks, label_conflicts, lock_clock, predictions, prepare, profile_counts, rejects, spool_offsets
from service.log_writing import DrainedBatch, Offset, read_offset, stored_rows, write_batch
from training.bins import Bins
from training.clock import to_us
from training.database import Database, upsert
from training.profile import Profile
from training.schema import Schema


@dataclass(frozen=True, slots=True)
class LogSize:
    """What the log holds."""

    rows: int
    labelled: int
    conflicts: int
    ahead_rows: int


class PredictionLog:
    """Read and write the prediction log.

    Parameters
    ----------
    database
        Opened in this process; nothing is read or written before the first call.

    Notes
    -----
    Every method raises `training.errors.DatabaseUnavailableError` when the database is gone or too busy.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self) -> None:
        """Make or migrate the tables; cheap when done before, so every method calls it."""
        prepare(self._database)

    # ---- the drain ---------------------------------------------------------------------------------------------

    def offset(self, spool: str) -> Offset:
        """Say how far a spool file is committed."""
        self.prepare()
        with self._database.read() as connection:
            return read_offset(connection, spool)

    def commit_drained(self, batch: DrainedBatch, *, machine_now: datetime) -> bool:
        """Commit rows, counts, watermarks and the new offset in one transaction.

        Returns
        -------
        bool
            False when the file is not at `batch.start` any more (an earlier commit went through although its
            answer was lost): nothing was written, read on from `offset`.
        """
        self.prepare()
        rows = stored_rows(batch.records)
        with self._database.write() as connection:
            return write_batch(connection, batch, rows, machine_now)

    def add_rejects(self, model: str, bucket_us: int, counts: Mapping[tuple[str, str], int]) -> None:
        """Add to the numbers of refused rows, by (field, code)."""
        self.prepare()
        with self._database.write() as connection:
            for (name, code), rows in counts.items():
                values = {"model": model, "bucket_us": bucket_us, "field": name[:128], "code": code[:64], "rows": rows}
                key = ["model", "bucket_us", "field", "code"]
                upsert(connection, rejects, values, key, {"rows": rejects.c.rows + rows})

    # ---- labels ------------------------------------------------------------------------------------------------

    def label(self, model: str, items: Sequence[LabelItem], machine_now: datetime, *, rules: LabelRules | None = None) -> list[LabelResult]:
        """Join labels to their predictions; committed when this returns. See `label_log.write_labels`."""
        self.prepare()
        with self._database.write() as connection:
            return label_log.write_labels(connection, model, items, machine_now, rules or LabelRules())

    # ---- reading -----------------------------------------------------------------------------------------------

    def rows(
        self,
        model: str,
        start_us: int,
        end_us: int,
        schema: Schema,
        *,
        labelled_only: bool = False,
        labels_known_by: int | None = None,
    ) -> LoggedRows:
        """Read rows with ``start_us <= event time < end_us``. See `log_reading.read_rows`."""
        self.prepare()
        with self._database.read() as connection:
            return log_reading.read_rows(
                connection, model, start_us, end_us, schema, labelled_only=labelled_only, labels_known_by=labels_known_by
            )

    def prediction(self, identity: str) -> LoggedPrediction | None:
        """Read the row of a prediction id: what was asked and said, within which request and trace; None without one."""
        self.prepare()
        with self._database.read() as connection:
            return log_reading.read_prediction(connection, identity)

    def watermark(self, model: str) -> int | None:
        """Give the model time, microseconds since 1970; None before the first row."""
        return self._clock(model)[0]

    def ahead_rows(self, model: str) -> int:
        """Count the rows that were further ahead of the watermark than the bound."""
        return self._clock(model)[1]

    def count(self, model: str) -> int:
        """Count the rows of a model, cheaply."""
        return self._clock(model)[2]

    def first_event(self, model: str, *, arrived_since_us: int = 0, after_us: int | None = None) -> int | None:
        """Give the earliest event time in the log: of rows that arrived at or after a machine time, newer than a model time."""
        newer = sa.true() if after_us is None else predictions.c.event_us > after_us
        return self._one_event(model, predictions.c.event_us, sa.and_(newer, predictions.c.arrived_us >= arrived_since_us))

    def last_event(self, model: str) -> int | None:
        """Give the latest event time in the log, however far ahead of the watermark."""
        return self._one_event(model, predictions.c.event_us.desc(), sa.true())

    def _one_event(self, model: str, order: sa.ColumnElement[int], condition: sa.ColumnElement[bool]) -> int | None:
        self.prepare()
        chosen = sa.select(predictions.c.event_us).where(predictions.c.model == model, condition).order_by(order).limit(1)
        with self._database.read() as connection:
            found = connection.scalar(chosen)
        return None if found is None else int(found)

    def coverage(self, model: str, start_us: int, end_us: int) -> tuple[int, int]:
        """Count the rows in a range of event time, and how many of them have a label."""
        self.prepare()
        chosen = sa.select(sa.func.count(), sa.func.count(predictions.c.label_true)).where(
            predictions.c.model == model, predictions.c.event_us >= start_us, predictions.c.event_us < end_us
        )
        with self._database.read() as connection:
            rows, labelled = connection.execute(chosen).one()
        return int(rows), int(labelled)

    def profile(self, model: str, bins: Bins, start_us: int, end_us: int) -> Profile | None:
        """Add up the counts made under these bins in the buckets that start in the range; None without any."""
        merged: Profile | None = None
        for _, part in self.buckets(model, bins, start_us, end_us):
            merged = part if merged is None else merged.merge(part)
        return merged

    def buckets(self, model: str, bins: Bins, start_us: int, end_us: int) -> list[tuple[int, Profile]]:
        """Give the counts made under these bins, one profile a bucket (versions added), in time order."""
        self.prepare()
        table = profile_counts.c
        chosen = (
            sa.select(table.bucket_us, table.profile)
            .where(table.model == model, table.bins_id == bins.id, table.bucket_us >= start_us, table.bucket_us < end_us)
            .order_by(table.bucket_us, table.version)
        )
        merged: dict[int, Profile] = {}
        with self._database.read() as connection:
            for bucket_us, stored in connection.execute(chosen):
                part = Profile.from_json(stored)
                merged[bucket_us] = merged[bucket_us].merge(part) if bucket_us in merged else part
        return list(merged.items())

    def counted_rows(self, model: str) -> int:
        """Add up the rows in all profile counts; equals `count` when nothing was lost or doubled."""
        self.prepare()
        with self._database.read() as connection:
            total = sa.select(sa.func.sum(profile_counts.c.rows)).where(profile_counts.c.model == model)
            return int(connection.scalar(total) or 0)

    def rejected(self, model: str, start_us: int, end_us: int) -> dict[tuple[str, str], int]:
        """Count refused rows by (field, code) in the buckets that start in the range."""
        self.prepare()
        chosen = (
            sa.select(rejects.c.field, rejects.c.code, sa.func.sum(rejects.c.rows))
            .where(rejects.c.model == model, rejects.c.bucket_us >= start_us, rejects.c.bucket_us < end_us)
            .group_by(rejects.c.field, rejects.c.code)
        )
        with self._database.read() as connection:
            return {(name, code): int(rows) for name, code, rows in connection.execute(chosen)}

    def size(self, model: str) -> LogSize:
        """Say how much the log holds of a model."""
        _, ahead, rows = self._clock(model)
        with self._database.read() as connection:
            labelled = sa.select(sa.func.count(predictions.c.label_true)).where(predictions.c.model == model)
            conflicts = sa.select(sa.func.count()).where(label_conflicts.c.model == model)
            return LogSize(rows, int(connection.scalar(labelled) or 0), int(connection.scalar(conflicts) or 0), ahead)

    def total_rows(self) -> int:
        """Count the rows of all models, cheaply."""
        self.prepare()
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.sum(clocks.c.rows))) or 0)

    # ---- retention ---------------------------------------------------------------------------------------------

    def retain(self, model: str, before_us: int, *, machine_now: datetime) -> int:
        """Delete rows older than an event time, and what belongs to them; give how many went."""
        self.prepare()
        old = sa.and_(predictions.c.model == model, predictions.c.event_us < before_us)
        conflicting = sa.select(predictions.c.id_prefix).where(old)
        with self._database.write() as connection:
            clock = lock_clock(connection, model)
            connection.execute(sa.delete(label_conflicts).where(label_conflicts.c.id_prefix.in_(conflicting)))
            gone = connection.execute(sa.delete(predictions).where(old)).rowcount
            for table in (profile_counts, rejects):
                connection.execute(sa.delete(table).where(table.c.model == model, table.c.bucket_us < before_us))
            connection.execute(sa.update(clocks).where(clocks.c.model == model).values(rows=clock.rows - gone))
            stale = to_us(machine_now) - OFFSETS_KEPT_US
            connection.execute(sa.delete(spool_offsets).where(spool_offsets.c.closed, spool_offsets.c.updated_us < stale))
        return gone

    def set_watermark(self, model: str, watermark_us: int) -> None:
        """Move model time by hand: the way out after a pause that is longer than the clock bound."""
        self.prepare()
        with self._database.write() as connection:
            lock_clock(connection, model)
            connection.execute(sa.update(clocks).where(clocks.c.model == model).values(watermark_us=watermark_us, ahead_rows=0))

    def _clock(self, model: str) -> tuple[int | None, int, int]:
        self.prepare()
        chosen = sa.select(clocks.c.watermark_us, clocks.c.ahead_rows, clocks.c.rows).where(clocks.c.model == model)
        with self._database.read() as connection:
            found = connection.execute(chosen).one_or_none()
        return (None, 0, 0) if found is None else (found[0], found[1], found[2])
