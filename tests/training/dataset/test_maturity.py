"""Maturity: what is learned from a table whose labels come late."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from training.clock import to_us
from training.dataset.maturity import LabelledShare, covered_rows, fall_of, labelled_shares, mature_rows
from training.policies import LabelPolicy
from training.schema.rows import Rows, object_column

HOUR = 3_600_000_000
START = to_us(datetime(2026, 1, 1, tzinfo=UTC))


def hourly(target: object) -> Rows:
    values = np.asarray(target, np.float64) if not isinstance(target, list) else object_column(target)
    return Rows({"x": np.zeros(len(values))}, values, START + np.arange(len(values), dtype=np.int64) * HOUR)


def with_missing(n: int, *missing: int) -> Rows:
    values = np.ones(n)
    values[list(missing)] = np.nan
    return hourly(values)


@pytest.mark.parametrize(
    ("delay", "kept"), [(timedelta(hours=1), 9), (timedelta(hours=3), 7), (timedelta(minutes=90), 8), (timedelta(days=9), 0)]
)
def test_rows_newer_than_the_delay_are_left_out_whether_labelled_or_not(delay: timedelta, kept: int) -> None:
    assert len(mature_rows(with_missing(10, 4), LabelPolicy(delay), has_time=True)) == kept


def test_where_every_row_is_labelled_all_are_mature() -> None:
    assert len(mature_rows(with_missing(10), LabelPolicy(timedelta(days=9)), has_time=True)) == 10
    assert len(mature_rows(hourly(["a", "b"]), LabelPolicy(timedelta(days=9)), has_time=True)) == 2


def test_a_class_may_be_missing_too() -> None:
    assert len(mature_rows(hourly(["a", None, "b"]), LabelPolicy(timedelta(hours=1)), has_time=True)) == 2


@pytest.mark.parametrize(("rows", "kept"), [(0, 10), (1, 9), (10, 0), (11, 0)])
def test_a_delay_in_rows_counts_rows(rows: int, kept: int) -> None:
    assert len(mature_rows(with_missing(10, 9), LabelPolicy(None, delay_rows=rows), has_time=False)) == kept


def test_the_order_of_a_file_is_no_time() -> None:
    assert len(mature_rows(with_missing(10, 9), LabelPolicy(timedelta(days=1)), has_time=False)) == 10


def test_labels_are_counted_by_day_in_a_short_table_and_by_month_in_a_long_one() -> None:
    assert labelled_shares(with_missing(30, 25))[:2] == (LabelledShare("2026-01-01", 24, 24), LabelledShare("2026-01-02", 6, 5))
    assert labelled_shares(with_missing(24 * 90, 0))[0] == LabelledShare("2026-01", 24 * 31, 24 * 31 - 1)
    assert labelled_shares(with_missing(0)) == ()


@pytest.mark.parametrize(
    ("before", "last", "is_fall"),
    [
        ((1000, 1000), (1000, 900), True),
        ((1000, 1000), (1000, 960), False),  # less than five points
        ((1000, 500), (60, 20), False),  # chance
        ((1000, 500), (600, 200), True),
        ((49, 49), (1000, 0), False),  # too few to say
        ((1000, 900), (1000, 1000), False),
    ],
)
def test_a_fall_is_told_beyond_chance(before: tuple[int, int], last: tuple[int, int], is_fall: bool) -> None:
    shares = (LabelledShare("2026-01", *before), LabelledShare("2026-02", *last))

    assert (fall_of(shares) is not None) == is_fall


def test_small_periods_are_taken_together() -> None:
    days = tuple(LabelledShare(f"2026-01-{day:02}", 20, 20 if day < 28 else 10) for day in range(1, 31))

    assert "only 50% of the rows of 2026-01-28 to 2026-01-30 have a label, 100% before" in (fall_of(days) or "")


@pytest.mark.parametrize(
    ("before", "newest", "kept"),
    [
        pytest.param(1.0, 0.12, 1440, id="the newest are early ones"),
        pytest.param(0.95, 0.3, 1440, id="a fall"),
        pytest.param(1.0, 0.95, 1920, id="no fall"),
        pytest.param(0.6, 0.6, 1920, id="missing everywhere"),
        pytest.param(0.6, 0.1, 1920, id="missing everywhere, at the end more"),
        pytest.param(0.0, 0.0, 1920, id="none at all"),
    ],
)
def test_the_newest_rows_are_left_out_where_only_their_early_labels_are_there(before: float, newest: float, kept: int) -> None:
    draw = np.random.default_rng(5).permutation(1920) / 1920
    share = np.where(np.arange(1920) < 1440, before, newest)

    rows = hourly(np.where(draw < share, 1.0, np.nan))

    assert len(covered_rows(rows, LabelPolicy(), timedelta(days=1))) == kept
    assert len(covered_rows(rows, LabelPolicy(coverage=0.05), timedelta(days=1))) == 1920


def test_of_no_rows_none_are_left_out() -> None:
    assert len(covered_rows(with_missing(0), LabelPolicy(), timedelta(days=1))) == 0
    assert len(covered_rows(with_missing(20, *range(10, 20)), LabelPolicy(), timedelta(days=1))) == 20
