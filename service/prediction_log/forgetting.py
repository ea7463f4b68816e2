"""Old rows leave the log in slices: whoever else writes waits for one of them, never for all.

A slice is one transaction: it deletes a few rows at a time while there is time for some more, which is less where commits take long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from service.count_ledger.counted_measures import read_states
from service.count_ledger.tables import bucket_counts, profile_bins
from service.prediction_log.labels import OFFSETS_KEPT_US
from service.prediction_log.tables import (
    clocks,
    label_arrivals,
    label_conflicts,
    label_request_rows,
    label_requests,
    lock_clock,
    predictions,
    rejects,
    spool_offsets,
)
from training.clock import to_us
from training.storage.database import Database

LEAST_AT_ONCE, FIRST_AT_ONCE, MOST_AT_ONCE, LARGEST_SLICE = 10, 50, 200, 1000
_AFTER_ALL_US = 1 << 62
HELD_SECONDS = 0.03  # what a slice aims at, its commit included, so that it stays below 0.05
LEAST_SECONDS, AT_ONCE_SECONDS = 0.008, 0.008
SHORTEST_PAUSE_SECONDS = 0.01  # longer than others sleep while they wait for the write lock

Step = Callable[[sa.Connection, int], tuple[int, bool]]


def forget(
    database: Database,
    model: str,
    before_us: int,
    machine_now: datetime,
    *,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[int]:
    """Delete the rows of a model older than an event time, and what belongs to them; yields after each slice how many rows went.

    What is left when this ends early goes the next time: counts, also of labels and of rows that were refused, go before the rows, by
    which it is seen that there is something to delete.

    Parameters
    ----------
    pause
        Waits some seconds, in which others may write.
    clock
        Returns seconds.
    """

    bins_ids: list[str] | None = None

    def counts(connection: sa.Connection, most: int) -> tuple[int, bool]:
        nonlocal bins_ids
        bins_ids = _counted_under(connection, model) if bins_ids is None else bins_ids
        if bins_ids and not _forget_counts(connection, model, bins_ids[-1], before_us, most):
            bins_ids.pop()
        return 0, bool(bins_ids)

    def refused(connection: sa.Connection, most: int) -> tuple[int, bool]:
        return 0, _forget_buckets(connection, rejects, sa.true(), model, before_us, most)

    def arrivals(connection: sa.Connection, most: int) -> tuple[int, bool]:
        return 0, _forget_buckets(connection, label_arrivals, sa.true(), model, before_us, most)

    def rows(connection: sa.Connection, most: int) -> tuple[int, bool]:
        return _forget_rows(connection, model, before_us, most)

    def requests(connection: sa.Connection, most: int) -> tuple[int, bool]:
        return 0, _forget_requests(connection, model, before_us, most)

    def offsets(connection: sa.Connection, most: int) -> tuple[int, bool]:
        return 0, _forget_offsets(connection, to_us(machine_now) - OFFSETS_KEPT_US, most)

    for step in (counts, refused, arrivals, rows, requests, offsets):
        yield from in_slices(database, step, pause, clock)


def forget_model(database: Database, model: str, machine_now: datetime) -> int:
    """Delete all that the log holds of a model, its labels and its clock too; return how many rows went."""
    gone = sum(forget(database, model, _AFTER_ALL_US, machine_now))
    with database.write() as connection:
        connection.execute(sa.delete(label_conflicts).where(label_conflicts.c.model == model))
        connection.execute(sa.delete(profile_bins).where(profile_bins.c.model == model))
        connection.execute(sa.delete(clocks).where(clocks.c.model == model))
    return gone


def in_slices(database: Database, step: Step, pause: Callable[[float], object], clock: Callable[[], float]) -> Iterator[int]:
    """Do a step again and again, in transactions of less than fifty milliseconds; yields after each how much went.

    Parameters
    ----------
    step
        Within a transaction does so much at most, and returns how much went and whether there may be more.
    """
    pace, is_more, commit = _Pace(clock), True, 0.0
    while is_more:
        with database.write() as connection:
            began = clock()
            gone, is_more = _one_slice(connection, step, began + max(LEAST_SECONDS, HELD_SECONDS - commit), pace)
            deleted = clock()
        ended = clock()
        # One commit in some thirty brings what was written into the database file, and takes longer: it is remembered until the next.
        commit = min(HELD_SECONDS, max(ended - deleted, 0.97 * commit))
        yield gone
        if is_more:
            pause(max(ended - began, SHORTEST_PAUSE_SECONDS))


class _Pace:
    """How many rows to delete at once, so that it takes a few milliseconds, and how long that will take by the last time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.at_once = FIRST_AT_ONCE
        self.seconds = 0.0

    def note(self, n_rows: int, seconds: float) -> None:
        """Learn from how long some rows took."""
        wanted = int(n_rows * AT_ONCE_SECONDS / max(seconds, 1e-6))
        self.at_once = max(LEAST_AT_ONCE, min(MOST_AT_ONCE, 2 * n_rows, wanted))
        self.seconds = seconds * self.at_once / n_rows


def _one_slice(connection: sa.Connection, step: Step, until: float, pace: _Pace) -> tuple[int, bool]:
    """Delete a few rows at a time until no more of them are done by a moment; return how many, and whether there may be more."""
    gone, is_more, left = 0, True, LARGEST_SLICE
    while is_more and left:
        began, most = pace.clock(), min(pace.at_once, left)
        more, is_more = step(connection, most)
        gone, left = gone + more, left - most
        pace.note(most, (ended := pace.clock()) - began)
        if ended + pace.seconds > until:
            break
    return gone, is_more


def _forget_rows(connection: sa.Connection, model: str, before_us: int, most: int) -> tuple[int, bool]:
    """Delete some of the oldest rows; where they have many conflicts only of those, and the rows another time."""
    clock = lock_clock(connection, model)
    table = predictions.c
    oldest = sa.select(table.id_prefix, table.row).where(table.model == model, table.event_us < before_us)
    keys = [(prefix, row) for prefix, row in connection.execute(oldest.order_by(table.event_us).limit(most))]
    if not keys:
        return 0, False
    numbers = connection.scalars(_conflicts_against(keys).limit(most)).all()
    if numbers:
        connection.execute(sa.delete(label_conflicts).where(label_conflicts.c.number.in_(numbers)))
    if len(numbers) == most:
        return 0, True
    one = sa.and_(table.id_prefix == sa.bindparam("of_prefix"), table.row == sa.bindparam("of_row"))
    going = [{"of_prefix": prefix, "of_row": row} for prefix, row in keys]
    connection.execute(sa.delete(predictions).where(one), going)
    drawn = label_request_rows.c
    connection.execute(
        sa.delete(label_request_rows).where(drawn.id_prefix == sa.bindparam("of_prefix"), drawn.row == sa.bindparam("of_row")), going
    )
    connection.execute(sa.update(clocks).where(clocks.c.model == model).values(rows=clock.rows - len(keys)))
    return len(keys), len(keys) == most


def _conflicts_against(keys: Sequence[tuple[str, int]]) -> sa.Select[int]:
    """Select the conflicts against some rows, by their index: for pairs in a list SQLite would look through the whole table."""
    pairs = sa.values(sa.column("id_prefix", sa.String), sa.column("row", sa.Integer), name="going").data(keys).cte("going")
    conflicts = label_conflicts.c
    matching = sa.and_(conflicts.id_prefix == pairs.c.id_prefix, conflicts.row == pairs.c.row)
    return sa.select(conflicts.number).join_from(pairs, label_conflicts, matching)


def _forget_requests(connection: sa.Connection, model: str, before_us: int, most: int) -> bool:
    """Delete some label requests of which all rows are gone."""
    table = label_requests.c
    drawn = sa.select(label_request_rows.c.row).where(label_request_rows.c.request == table.number)
    old = sa.select(table.number).where(table.model == model, table.end_us <= before_us, ~sa.exists(drawn)).limit(most)
    numbers = connection.scalars(old).all()
    if numbers:
        connection.execute(sa.delete(label_requests).where(table.number.in_(numbers)))
    return len(numbers) == most


def _counted_under(connection: sa.Connection, model: str) -> list[str]:
    """Return the ids of all measures under which a model has counts, or had."""
    table, bins_ids = bucket_counts.c, list[str]()
    last: str | None = ""
    while last is not None:
        bins_ids.append(last)
        last = connection.scalar(sa.select(sa.func.min(table.bins_id)).where(table.model == model, table.bins_id > last))
    return sorted({*bins_ids[1:], *(counted.bins_id for counted in read_states(connection, model))})


def _forget_counts(connection: sa.Connection, model: str, bins_id: str, before_us: int, most: int) -> bool:
    """Delete counts under some measures as `_forget_buckets` does, and the measures when they are retired and no counts are left."""
    if _forget_buckets(connection, bucket_counts, bucket_counts.c.bins_id == bins_id, model, before_us, most):
        return True
    left = sa.select(bucket_counts.c.rows).where(bucket_counts.c.model == model, bucket_counts.c.bins_id == bins_id)
    table = profile_bins.c
    gone = sa.and_(table.model == model, table.bins_id == bins_id, table.state == "retired", ~sa.exists(left))
    connection.execute(sa.delete(profile_bins).where(gone))
    return False


def _forget_buckets(
    connection: sa.Connection, table: sa.Table, among: sa.ColumnElement[bool], model: str, before_us: int, most: int
) -> bool:
    """Delete about `most` rows of the oldest buckets, whole buckets; return whether there may be more."""
    old = sa.and_(table.c.model == model, among, table.c.bucket_us < before_us)
    buckets = connection.scalars(sa.select(table.c.bucket_us).where(old).order_by(table.c.bucket_us).limit(most)).all()
    if buckets:
        connection.execute(sa.delete(table).where(old, table.c.bucket_us <= buckets[-1]))
    return len(buckets) == most


def _forget_offsets(connection: sa.Connection, before_us: int, most: int) -> bool:
    table = spool_offsets.c
    stale = sa.select(table.spool).where(table.closed, table.updated_us < before_us).limit(most)
    spools = connection.scalars(stale).all()
    if spools:
        connection.execute(sa.delete(spool_offsets).where(table.spool.in_(spools)))
    return len(spools) == most
