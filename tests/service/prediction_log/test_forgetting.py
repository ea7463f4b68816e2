"""Retention takes the write lock for a slice at a time, whatever there is to delete."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
import sqlalchemy as sa

from service.count_ledger.counted_measures import CountedMeasures, put_measures, read_states
from service.count_ledger.counts import CountedRows
from service.count_ledger.tables import bucket_counts
from service.prediction_log.forgetting import LARGEST_SLICE, forget, forget_model, in_slices
from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import MOST_CONFLICTS, LabelItem, LabelRules
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import Record
from service.prediction_log.tables import label_arrivals, label_conflicts, predictions, rejects
from service.prediction_log.writing import DrainedBatch
from training.profiles.bins import Bins, ColumnBins
from training.profiles.measures import Measures
from training.storage.database import Database, open_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MINTER = IdMinter(b"k")
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)),))
ROWS, CONFLICTS, BUCKETS = 2400, 1500, 1100


def filled(database: Database, rows: int = ROWS, conflicts: int = CONFLICTS, buckets: int = BUCKETS) -> PredictionLog:
    """Return a log with many rows of two requests, many old conflicts against two of them, counts and refused values."""
    log = PredictionLog(database)
    profile = BINS.count({"x": np.array([1.0])})
    for seq in range(2):
        prefix = MINTER.mint(1, spool=f"00000000{seq:02}", seq=0, n_rows=rows)
        outputs = ["no"] * rows
        made = Record(
            prefix, "bikes", "v1", BINS.id, 1, list(range(rows)), None, {"x": [1.0] * rows}, outputs, [[1.0, 0.0]] * rows, ("no", "yes")
        )
        counted = [CountedRows("bikes", "v1", bucket, 1, profile) for bucket in range(buckets)] if seq == 0 else []
        log.commit_drained(DrainedBatch(f"00000000{seq:02}", 0, 10, 0, [made], counts=counted), machine_now=NOW)
        with database.write() as connection:
            common = {"id_prefix": prefix, "row": 3, "model": "bikes", "received_us": 1}
            connection.execute(sa.insert(label_conflicts), [{**common, "label": str(number)} for number in range(conflicts)])
            refused = [{"model": "bikes", "bucket_us": bucket, "field": "x", "code": f"c{seq}", "rows": 1} for bucket in range(buckets)]
            connection.execute(sa.insert(rejects), refused)
    return log


def sizes(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in (predictions, label_conflicts, bucket_counts, rejects, label_arrivals)
        }


def test_no_transaction_deletes_more_than_a_slice(database: Database) -> None:
    log = filled(database)
    seen = [sizes(database)]

    gone = [rows for rows in forget(database, "bikes", ROWS // 2, NOW, pause=lambda _: None) if seen.append(sizes(database)) is None]

    steps = [{name: before[name] - after[name] for name in before} for before, after in pairwise(seen)]
    assert max(max(step.values()) for step in steps) <= LARGEST_SLICE + 2
    assert sum(gone) == ROWS
    assert seen[-1] == {"predictions": ROWS, "label_conflicts": 0, "bucket_counts": 0, "rejects": 0, "label_arrivals": 0}
    assert (log.count("bikes"), log.first_event("bikes")) == (ROWS, ROWS // 2)


def test_a_slice_looks_through_no_table_of_rows_or_conflicts(sqlite_url: str) -> None:
    database, statements = open_database(sqlite_url), list[tuple[str, object]]()
    filled(database)

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    for _ in forget(database, "bikes", 10, NOW, pause=lambda _: None):
        pass
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
    database.close()

    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        one = [
            (text, given[0] if isinstance(given, list) else given)
            for text, given in statements
            if "predictions" in text or "_conflicts" in text
        ]
        plans = [line[3] for text, given in one for line in connection.execute(f"explain query plan {text}", given)]
    assert any("predictions" in plan for plan in plans)
    assert [plan for plan in plans if plan.startswith(("SCAN predictions", "SCAN label_conflicts"))] == []


class SlowDatabase:
    """A database whose clock goes on by so many seconds for each row, and for each commit."""

    def __init__(self, row: float, commit: float, every: int) -> None:
        self.now, self.left = 0.0, 100_000
        self.held: list[float] = []
        self._row, self._commit, self._every = row, commit, every

    @contextmanager
    def write(self) -> Iterator[None]:
        began = self.now
        yield
        self.now += 0.001 if len(self.held) % self._every else self._commit
        self.held.append(self.now - began)

    def delete(self, _: object, most: int) -> tuple[int, bool]:
        gone = min(most, self.left)
        self.now += 0.0005 + self._row * gone
        self.left -= gone
        return gone, self.left > 0


@pytest.mark.parametrize(
    ("row", "commit", "every"),
    [(0.00004, 0.001, 1), (0.00004, 0.03, 33), (0.0004, 0.03, 33), (0.000002, 0.001, 1), (0.00004, 0.03, 1), (0.002, 0.01, 1)],
    ids=["quiet", "a costly commit in 33", "a busy processor too", "fast", "each commit is costly", "each row is costly"],
)
def test_a_slice_ends_by_its_own_time_so_that_it_holds_the_lock_for_less_than_fifty_milliseconds(
    row: float, commit: float, every: int
) -> None:
    slow = SlowDatabase(row, commit, every)

    gone = sum(in_slices(slow, slow.delete, lambda _: None, lambda: slow.now))  # type: ignore[arg-type]

    assert gone == 100_000
    assert max(slow.held[1:]) < 0.05  # of the first one nobody knows yet what its rows and its commit cost
    assert sum(slow.held) < 100_000 * (2 * row + 0.0001) + len(slow.held) * 2 * commit


def test_others_may_write_after_each_slice(database: Database) -> None:
    log = filled(database)
    written: list[int] = []

    def write(seconds: float) -> None:
        assert seconds > 0.005  # how long who waits for the lock sleeps
        log.add_rejects("bikes", ROWS, {("x", "type"): 1})
        written.append(1)

    slices = sum(1 for _ in forget(database, "bikes", ROWS, NOW, pause=write))

    assert len(written) >= 2 * ROWS // LARGEST_SLICE
    assert slices - len(written) == 6  # the last one of each kind is followed by no pause
    assert log.rejected("bikes", ROWS, ROWS + 1) == {("x", "type"): len(written)}


def test_what_was_left_when_it_ended_early_goes_the_next_time(database: Database) -> None:
    log = filled(database, 500, 60, 60)
    slices = forget(database, "bikes", 500, NOW, pause=lambda _: None)
    while not next(slices):
        pass
    slices.close()

    between, gone = log.count("bikes"), log.retain("bikes", 500, machine_now=NOW)

    assert 0 < between < 2 * 500
    assert (gone, log.count("bikes"), sizes(database)) == (between, 0, dict.fromkeys(sizes(database), 0))


def test_retired_measures_go_with_their_last_counts_and_all_with_the_model(database: Database) -> None:
    log = filled(database, 10, 1, 20)
    with database.write() as connection:
        for model, edge, state in (
            ("bikes", 5.0, "retired"),
            ("bikes", 6.0, "retired"),
            ("bikes", 7.0, "active"),
            ("fares", 5.0, "retired"),
        ):
            bins = Bins((ColumnBins("x", "numeric", edges=(0.0, edge, 10.0)),))
            put_measures(connection, model, CountedMeasures(bins.id, state, 1, 0, Measures(bins)))  # type: ignore[arg-type]

    def left(model: str) -> list[str]:
        with database.read() as connection:
            return [counted.state for counted in read_states(connection, model)]

    log.retain("bikes", 10, machine_now=NOW)
    some = left("bikes")
    log.retain("bikes", 20, machine_now=NOW)
    none = left("bikes")
    forget_model(database, "bikes", NOW)

    assert (some, none, left("bikes"), left("fares")) == (["active", "retired"], ["active"], [], ["retired"])
    assert sizes(database) == dict.fromkeys(sizes(database), 0)


@pytest.mark.parametrize("requests", [1, 5], ids=["one request", "several"])
def test_the_conflicts_kept_of_one_prediction_are_bounded(database: Database, requests: int) -> None:
    log = PredictionLog(database)
    prefix = MINTER.mint(1, spool="0000000000", seq=0, n_rows=2)
    made = Record(prefix, "fares", "v1", BINS.id, 1, [1, 2], None, {"x": [1.0, 2.0]}, [1.0, 2.0], None, None)
    log.commit_drained(DrainedBatch("0000000000", 0, 10, 0, [made]), machine_now=NOW)
    first, second = (MINTER.parse(f"{prefix}-{row}") for row in range(2))
    rules = LabelRules("regression")
    log.label("fares", [LabelItem(0.5, id=first), LabelItem(0.5, id=second)], NOW, rules=rules)

    items = [LabelItem(float(number), id=first) for number in range(1000)]
    share = len(items) // requests
    answers = [log.label("fares", items[at : at + share], NOW, rules=rules) for at in range(0, len(items), share)]
    other = log.label("fares", [LabelItem(1.5, id=second)], NOW, rules=rules)

    assert {result.status for answer in [*answers, other] for result in answer} == {"conflict"}
    assert log.size("fares").conflicts == MOST_CONFLICTS + 1
