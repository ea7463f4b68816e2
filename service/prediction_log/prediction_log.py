"""The prediction log: every acknowledged prediction, exactly once, with its label when it arrives.

Written by the drain and by the label endpoint, read by the monitor. `labels` and `reading` hold the two larger verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from service.count_ledger.counted_measures import CountedMeasures, Known, active, put_measures, read_measures, read_states
from service.count_ledger.counts import LedgerRow, Wanted, read_buckets, read_ledger, read_rows_by_bucket, read_segments
from service.prediction_log.forgetting import forget
from service.prediction_log.labels import LabelItem, LabelResult, LabelRules, write_labels
from service.prediction_log.own_ids import ids_of
from service.prediction_log.reading import Arrived, LoggedPrediction, LoggedRows, read_arrivals, read_conflicts, read_prediction, read_rows
from service.prediction_log.rolling_up import RollUp, roll_up
from service.prediction_log.tables import (
    Clock,
    clocks,
    label_conflicts,
    lock_clock,
    predictions,
    prepare,
    rejects,
)
from service.prediction_log.writing import DrainedBatch, ModelState, Offset, prepare_batch, read_offset, write_batch
from training.profiles.bins import Profile
from training.schema.schema import Schema
from training.storage.database import Database, upsert


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
        self._known: Known = {}
        self._states: dict[str, ModelState] = {}

    def prepare(self) -> None:
        """Make or migrate the tables; cheap when done before, so every method calls it."""
        prepare(self._database)

    # ---- the drain ---------------------------------------------------------------------------------------------

    def offset(self, spool: str) -> Offset:
        """Return how far a spool file is committed."""
        self.prepare()
        with self._database.read() as connection:
            return read_offset(connection, spool)

    def commit_drained(self, batch: DrainedBatch, *, machine_now: datetime, note_lost: Callable[[str, int], None] | None = None) -> bool:
        """Commit rows, counts, watermarks and the new offset in one transaction.

        Parameters
        ----------
        note_lost
            Called after the commit with each model of which rows lost their own id to another key, and how many.

        Returns
        -------
        False when the file is not at `batch.start` any more (an earlier commit went through although its
        answer was lost): nothing was written, read on from `offset`.
        """
        self.prepare()
        prepared = prepare_batch(batch, {model: self._states.get(model, ModelState()) for model in batch.models})
        with self._database.write() as connection:
            written = write_batch(connection, batch, prepared, self._known, machine_now)
        if written is None:
            return False
        lost, states = written
        self._states |= states
        for model, n_rows in lost.items():
            if note_lost is not None:
                note_lost(model, n_rows)
        return True

    def add_rejects(self, model: str, bucket_us: int, counts: Mapping[tuple[str, str], int]) -> None:
        """Add to the numbers of refused rows, by (field, code)."""
        self.prepare()
        with self._database.write() as connection:
            for (name, code), rows in counts.items():
                values = {"model": model, "bucket_us": bucket_us, "field": name[:128], "code": code[:64], "rows": rows}
                key = ["model", "bucket_us", "field", "code"]
                upsert(connection, rejects, values, key, {"rows": rejects.c.rows + rows})

    # ---- labels ------------------------------------------------------------------------------------------------

    def label(
        self,
        model: str,
        items: Sequence[LabelItem],
        machine_now: datetime,
        *,
        rules: LabelRules | None = None,
        is_drained: bool = True,
    ) -> list[LabelResult]:
        """Join labels to their predictions; committed when this returns. See `write_labels`."""
        self.prepare()
        with self._database.write() as connection:
            return write_labels(connection, model, items, machine_now, rules or LabelRules(), is_drained=is_drained)

    def arrivals(self, model: str, start_us: int | None, end_us: int) -> list[Arrived]:
        """Return how many labels came, by bucket of model time and by what became of them. See `read_arrivals`."""
        self.prepare()
        with self._database.read() as connection:
            return read_arrivals(connection, model, start_us, end_us)

    def conflicts(self, model: str, start_us: int, known_before_us: int) -> dict[int, int]:
        """Count rows of which the labels that came differ, by event time. See `read_conflicts`."""
        self.prepare()
        with self._database.read() as connection:
            return read_conflicts(connection, model, start_us, known_before_us)

    # ---- reading -----------------------------------------------------------------------------------------------

    def rows(
        self,
        model: str,
        start_us: int,
        end_us: int,
        schema: Schema,
        *,
        labelled_only: bool = False,
        known_by: int | None = None,
    ) -> LoggedRows:
        """Read rows with ``start_us <= event time < end_us``. See `read_rows`."""
        self.prepare()
        with self._database.read() as connection:
            return read_rows(connection, model, start_us, end_us, schema, labelled_only=labelled_only, known_by=known_by)

    def prediction(self, identity: str) -> LoggedPrediction | None:
        """Read the row of a prediction id: its features and prediction, within which request and trace; None without one."""
        self.prepare()
        with self._database.read() as connection:
            return read_prediction(connection, identity)

    def ids_of(self, model: str, own_id: str, most: int = 10) -> list[str]:
        """Return the prediction ids of the rows that a caller named so, the first predicted first."""
        self.prepare()
        with self._database.read() as connection:
            return ids_of(connection, model, own_id, most)

    def watermark(self, model: str) -> int | None:
        """Return the model time, microseconds since 1970; None before the first row."""
        return self._clock(model).watermark_us

    def ahead_rows(self, model: str) -> int:
        """Count the rows that were further ahead of the watermark than the bound."""
        return self._clock(model).ahead_rows

    def count(self, model: str) -> int:
        """Count the rows of a model, cheaply."""
        return self._clock(model).rows

    def first_event(self, model: str, *, arrived_since_us: int = 0, after_us: int | None = None, in_time_only: bool = False) -> int | None:
        """Return the earliest event time in the log.

        Parameters
        ----------
        arrived_since_us
            Of rows that arrived at or after this machine time.
        after_us
            Of rows newer than this model time.
        in_time_only
            Of rows that did not come late.
        """
        table = predictions.c
        newer = sa.true() if after_us is None else table.event_us > after_us
        in_time = table.late_us.is_(None) if in_time_only else sa.true()
        return self._one_event(model, table.event_us, sa.and_(newer, in_time, table.arrived_us >= arrived_since_us))

    def last_event(self, model: str, *, until_us: int | None = None) -> int | None:
        """Return the latest event time in the log, however far ahead of the watermark; of those up to a time, if one is given."""
        return self._one_event(model, predictions.c.event_us.desc(), sa.true() if until_us is None else predictions.c.event_us <= until_us)

    def last_labelled(self, model: str) -> int | None:
        """Return the model time at which the newest label came, of the rows that are still there; None before the first."""
        self.prepare()
        chosen = sa.select(sa.func.max(predictions.c.labelled_us)).where(predictions.c.model == model)
        with self._database.read() as connection:
            labelled_us = connection.scalar(chosen)
        return None if labelled_us is None else int(labelled_us)

    def _one_event(self, model: str, order: sa.ColumnElement[int], condition: sa.ColumnElement[bool]) -> int | None:
        self.prepare()
        chosen = sa.select(predictions.c.event_us).where(predictions.c.model == model, condition).order_by(order).limit(1)
        with self._database.read() as connection:
            event_us = connection.scalar(chosen)
        return None if event_us is None else int(event_us)

    def coverage(self, model: str, start_us: int, end_us: int) -> tuple[int, int]:
        """Count the rows in a range of event time, and how many of them have a label."""
        self.prepare()
        chosen = sa.select(sa.func.count(), sa.func.count(predictions.c.label_true)).where(
            predictions.c.model == model, predictions.c.event_us >= start_us, predictions.c.event_us < end_us
        )
        with self._database.read() as connection:
            rows, labelled = connection.execute(chosen).one()
        return int(rows), int(labelled)

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
        """Return how much the log holds of a model."""
        clock = self._clock(model)
        with self._database.read() as connection:
            labelled = sa.select(sa.func.count(predictions.c.label_true)).where(predictions.c.model == model)
            conflicts = sa.select(sa.func.count()).where(label_conflicts.c.model == model)
            return LogSize(clock.rows, int(connection.scalar(labelled) or 0), int(connection.scalar(conflicts) or 0), clock.ahead_rows)

    def total_rows(self) -> int:
        """Count the rows of all models, cheaply."""
        self.prepare()
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.sum(clocks.c.rows))) or 0)

    # ---- counts ------------------------------------------------------------------------------------------------

    def measures(self, model: str) -> CountedMeasures | None:
        """Return what the rows of a model are counted under, whichever version answers; None before its first row."""
        self.prepare()
        with self._database.read() as connection:
            return active(read_measures(connection, model, self._known))

    def set_bucket_width(self, model: str, width_us: int) -> None:
        """Count a model's rows in buckets of this width from now on; what is counted keeps its own. Nothing is written when it is so."""
        counted = self.measures(model)
        if counted is None or counted.width_us == width_us:
            return
        with self._database.write() as connection:
            lock_clock(connection, model)
            now = active(read_measures(connection, model, self._known))
            if now is not None:
                put_measures(connection, model, replace(now, width_us=width_us))

    def profile(
        self,
        model: str,
        bins_id: str,
        start_us: int,
        end_us: int,
        *,
        known_before_us: int | None = None,
        segment: str = "",
    ) -> Profile | None:
        """Add up the `buckets` of a range; None without any."""
        merged: Profile | None = None
        for _, part in self.buckets(model, bins_id, start_us, end_us, known_before_us=known_before_us, segment=segment):
            merged = part if merged is None else merged.merge(part)
        return merged

    def buckets(
        self,
        model: str,
        bins_id: str,
        start_us: int,
        end_us: int,
        *,
        known_before_us: int | None = None,
        segment: str = "",
        version: str | None = None,
    ) -> list[tuple[int, Profile]]:
        """Return the counts of the buckets that begin in a range, one profile a bucket, in time order. See `read_buckets`."""
        self.prepare()
        wanted = Wanted(model, bins_id, segment, version)
        with self._database.read() as connection:
            return read_buckets(connection, wanted, start_us, end_us, known_before_us)

    def rows_by_bucket(self, model: str, start_us: int, end_us: int) -> list[tuple[str, int, int]]:
        """Return bins, buckets that begin in a range, and the rows of each. See `read_rows_by_bucket`."""
        self.prepare()
        with self._database.read() as connection:
            return read_rows_by_bucket(connection, model, start_us, end_us)

    def segments(self, model: str, bins_id: str, start_us: int, end_us: int) -> list[str]:
        """Return the segments that have counts in buckets that begin in a range, in order; the empty one is all rows."""
        self.prepare()
        with self._database.read() as connection:
            return read_segments(connection, model, bins_id, start_us, end_us)

    def ledger(self, model: str, bins_id: str, known_from_us: int | None, known_before_us: int) -> list[LedgerRow]:
        """Return the counts that became known in a range of model time, versions added, in the order of buckets. See `read_ledger`.

        Those made before widths were noted have that of the model's measures.
        """
        self.prepare()
        with self._database.read() as connection:
            rows = read_ledger(connection, model, bins_id, known_from_us, known_before_us)
            widths = {counted.bins_id: counted.width_us for counted in read_states(connection, model)}
        return [row._replace(width_us=row.width_us or widths.get(bins_id, 0)) for row in rows]

    # ---- retention ---------------------------------------------------------------------------------------------

    def retain(self, model: str, before_us: int, *, machine_now: datetime) -> int:
        """Delete rows older than an event time, and what belongs to them; return how many went.

        It takes the write lock for one slice after the other, see `forget`.
        """
        self.prepare()
        return sum(forget(self._database, model, before_us, machine_now))

    def roll_up(self, model: str, *, bound_us: int, apart: Sequence[tuple[int, int]] = (), until_us: int | None = None) -> int:
        """Add up counts older than two days of model time to hours, older than fourteen to UTC days; return how many rows of counts went.

        Parameters
        ----------
        bound_us
            Multiples of this are bounds of slots and windows: no bucket becomes wider or lies across one; as of each, sums stay the same.
        apart
            Ranges of model time that are set aside: a bucket that such a range cuts is left as it is.
        until_us
            How far buckets have been read: ages are as of then, or of model time where it is not given or behind it.
        """
        self.prepare()
        counted = self.measures(model)
        width_us = bound_us if counted is None else counted.width_us
        return sum(roll_up(self._database, model, RollUp(bound_us, width_us, apart, until_us)))

    def set_watermark(self, model: str, watermark_us: int) -> None:
        """Move model time by hand: the way out after a pause that is longer than the clock bound."""
        self.prepare()
        with self._database.write() as connection:
            lock_clock(connection, model)
            connection.execute(sa.update(clocks).where(clocks.c.model == model).values(watermark_us=watermark_us, ahead_rows=0))

    def _clock(self, model: str) -> Clock:
        self.prepare()
        chosen = sa.select(clocks.c.watermark_us, clocks.c.ahead_rows, clocks.c.rows).where(clocks.c.model == model)
        with self._database.read() as connection:
            row = connection.execute(chosen).one_or_none()
        return Clock(None, 0, 0) if row is None else Clock(*row)
