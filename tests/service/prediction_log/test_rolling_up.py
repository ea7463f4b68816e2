"""Old counts become those of hours and days, and every sum between bounds stays what it was, as of every one of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from service.count_ledger.counted_measures import CountedMeasures, put_measures
from service.count_ledger.counts import CountedRows
from service.count_ledger.tables import bucket_counts
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.rolling_up import RollUp, roll_up
from service.prediction_log.writing import DrainedBatch
from training.profiles.bins import Bins, ColumnBins
from training.profiles.measures import Measures
from training.storage.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)),))
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
WIDTH = 10 * MINUTE
WATERMARK = 20 * DAY + 5 * HOUR + WIDTH
Sums = dict[tuple[int, str, int], tuple[list[int], float]]


def add(log: PredictionLog, seed: int, n: int, *, width_us: int = WIDTH) -> None:
    """Count some rows of the last twenty days; every fourth came late, by minutes or days."""
    rng, counted = random.Random(seed), []
    for _ in range(n):
        bucket_us = rng.randrange(0, WATERMARK) // WIDTH * WIDTH
        known_us = min(WATERMARK, bucket_us + rng.choice([0, 0, 0, rng.choice([WIDTH, 2 * HOUR, 3 * DAY])])) // WIDTH * WIDTH
        profile, segment = BINS.count({"x": np.array([rng.uniform(-1, 11)])}), rng.choice(["", "", "place=hill"])
        counted.append(CountedRows("bikes", rng.choice(["v1", "v2"]), bucket_us, 1, profile, width_us, known_us, segment))
    start = log.offset("0000000000").offset
    log.commit_drained(DrainedBatch("0000000000", start, start + 1, 0, [], counts=counted), machine_now=NOW)


@pytest.fixture
def log(database: Database) -> PredictionLog:
    """A log whose model time is at the twenty-first day, with ten-minute buckets."""
    made = PredictionLog(database)
    add(made, 0, 900)
    made.set_watermark("bikes", WATERMARK)
    return made


def sums(log: PredictionLog, bound_us: int) -> Sums:
    """Add up counts by bound, segment and the bound as of which they are there."""
    added: Sums = {}
    for as_of in range(0, WATERMARK + 2 * bound_us, bound_us):
        for row in log.ledger("bikes", BINS.id, as_of, as_of + bound_us):
            key = (row.bucket_us // bound_us * bound_us, row.segment, as_of)
            counts, least = added.get(key, ([0] * 5, np.inf))
            new = [a + b for a, b in zip(counts, row.profile.counts["x"].tolist(), strict=True)]
            added[key] = (new, min(least, row.profile.minimum["x"]))
    return added


def n_stored(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(bucket_counts)) or 0


@pytest.mark.parametrize("bound_us", [DAY, 7 * DAY, 6 * HOUR, 30 * MINUTE], ids=["day", "week", "6 h", "30 min"])
def test_sums_between_bounds_stay_as_they_were_as_of_each_of_them(log: PredictionLog, database: Database, bound_us: int) -> None:
    before, rows = sums(log, bound_us), n_stored(database)

    gone = log.roll_up("bikes", bound_us=bound_us)

    assert sums(log, bound_us) == before
    assert (n_stored(database), gone > 30) == (rows - gone, True)
    assert log.roll_up("bikes", bound_us=bound_us) == 0


def test_days_are_made_of_what_is_two_weeks_old_hours_of_what_is_two_days_old_and_the_rest_stays(
    log: PredictionLog, database: Database
) -> None:
    log.roll_up("bikes", bound_us=7 * DAY)
    add(log, 1, 300)  # what comes in later is added to it the next time
    log.roll_up("bikes", bound_us=7 * DAY)

    rows = log.ledger("bikes", BINS.id, None, WATERMARK)
    widths = {age: {row.width_us for row in rows if row.bucket_us // DAY == age} for age in (3, 12, 19)}
    assert widths[3] >= {DAY}
    assert widths[12] >= {HOUR}
    assert widths[19] == {WIDTH}
    assert all(row.bucket_us % row.width_us == 0 for row in rows)
    assert sum(row.profile.rows for row in rows) > 1150  # the others are known later


def test_ages_are_as_of_how_far_buckets_were_read(log: PredictionLog) -> None:
    log.roll_up("bikes", bound_us=DAY, until_us=10 * DAY)

    widths = {age: {r.width_us for r in log.ledger("bikes", BINS.id, None, WATERMARK) if r.bucket_us // DAY == age} for age in (3, 7, 9)}
    assert (widths[9], HOUR in widths[7], DAY in widths[3]) == ({WIDTH}, True, False)


def test_what_is_added_up_while_more_comes_in_is_counted_once(log: PredictionLog, database: Database) -> None:
    seeds = iter(range(1, 1000))
    added: list[int] = []

    def more(_seconds: float) -> None:
        add(log, next(seeds), 30)
        added.append(30)

    slices = sum(1 for _ in roll_up(database, "bikes", RollUp(DAY, WIDTH), pause=more))
    log.roll_up("bikes", bound_us=DAY)

    with database.read() as connection:
        counted = connection.scalar(sa.select(sa.func.sum(bucket_counts.c.rows)))
    assert slices == len(added) + 1 > 1
    assert counted == 900 + sum(added)


@pytest.mark.parametrize(
    ("apart", "expected"),
    [((3 * DAY, 4 * DAY), True), ((3 * DAY + HOUR, 3 * DAY + 2 * HOUR), False), ((2 * DAY, 5 * DAY), True), ((4 * DAY, 5 * DAY), True)],
    ids=["a day", "an hour of it", "days around it", "the day after"],
)
def test_a_bucket_that_is_set_aside_in_part_is_left_as_it_is(log: PredictionLog, apart: tuple[int, int], expected: bool) -> None:
    log.roll_up("bikes", bound_us=DAY, apart=[apart])

    widths = {row.width_us for row in log.ledger("bikes", BINS.id, None, WATERMARK) if row.bucket_us // DAY == 3}
    assert (DAY in widths) == expected


def test_counts_without_a_width_have_that_of_the_model_and_those_being_recounted_are_left_alone(database: Database) -> None:
    log, measures = PredictionLog(database), Measures(BINS)
    add(log, 0, 500, width_us=0)
    log.set_watermark("bikes", WATERMARK)

    def put(state: str, width_us: int) -> None:
        with database.write() as connection:
            put_measures(connection, "bikes", CountedMeasures(measures.id, state, width_us, 0, measures))  # type: ignore[arg-type]

    put("counting", WIDTH)
    left = log.roll_up("bikes", bound_us=DAY)
    put("active", 2 * DAY)
    too_wide = log.roll_up("bikes", bound_us=DAY)
    put("active", WIDTH)
    gone = log.roll_up("bikes", bound_us=DAY)

    assert (left, too_wide, gone > 100) == (0, 0, True)


def test_nothing_is_added_up_before_there_is_a_model_time(database: Database) -> None:
    assert PredictionLog(database).roll_up("bikes", bound_us=DAY) == 0
