"""When labels come: what is written and what a column says, every mistake with its row."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from monitoring.backtest.delays import A_DAY_US, Delay, column_delays
from monitoring.errors import InputError
from training.schema.rows import Rows
from training.schema.time_column import TimeColumn

STAMPED = TimeColumn("at")
COUNTED = TimeColumn("at", "ordinal", origin=datetime(1970, 1, 1, tzinfo=UTC))
ROWS = Rows({"x": np.zeros(3)}, np.array([1.0, 2.0, np.nan]), np.array([0, 1, 2]) * A_DAY_US)


@pytest.mark.parametrize(
    ("text", "least", "median", "most"),
    [("7d", 7, 7, 7), ("1d..10d", 1, 5.5, 10), ("lognormal 3d 20d", 0, 3, 4000), ("exponential 3d", 0, 2.08, 100)],
)
def test_delays_are_drawn_as_they_are_written(text: str, least: float, median: float, most: float) -> None:
    days = Delay.parse(text).drawn(20_000) / A_DAY_US

    assert days.min() >= least
    assert np.median(days) == pytest.approx(median, rel=0.05)
    assert days.max() <= most


def test_nineteen_of_twenty_are_below_the_second_part_of_a_lognormal() -> None:
    days = Delay.parse("lognormal 3d 20d").drawn(20_000) / A_DAY_US

    assert np.mean(days < 20) == pytest.approx(0.95, abs=0.01)


def test_drawn_delays_are_the_same_each_time() -> None:
    delay = Delay.parse("1d..10d")

    np.testing.assert_array_equal(delay.drawn(50), delay.drawn(50))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", "'soon' cannot be read"),
        ("10d..1d", "'10d..1d' ends before it begins"),
        ("lognormal 3d", "has too few parts"),
        ("exponential 3d 4d", "has too many parts"),
        ("-3d", "'-3d' cannot be read"),
        ("3d..x", "'3d..x' cannot be read"),
    ],
)
def test_what_is_no_delay_is_refused_with_what_is_wanted(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Delay.parse(text)


@pytest.mark.parametrize(
    ("values", "time"),
    [
        (["2", "0.5", None], STAMPED),
        (["2d", "12h", None], STAMPED),
        (["1970-01-03", "1970-01-02T12:00", None], STAMPED),
        (["48", "36", None], COUNTED),
    ],
)
def test_a_column_says_it_in_days_in_durations_or_in_times(values: list[str | None], time: TimeColumn) -> None:
    late_us = column_delays(values, ROWS, "known", time)

    assert late_us.tolist() == [2 * A_DAY_US, A_DAY_US // 2, 0]


@pytest.mark.parametrize(
    ("values", "time", "message"),
    [
        (["1", None, None], STAMPED, "column 'known', row 1 in the order of time (1970-01-02T00:00:00.000000): got nothing"),
        (["-1", "1", None], STAMPED, "row 0 in the order of time (1970-01-01T00:00:00.000000): got '-1', 1 day, 0:00:00 before the row"),
        (["1970-01-03", "1970-01-01", None], STAMPED, "got '1970-01-01', 1 day, 0:00:00 before the row"),
        (["2d", "twelve", None], STAMPED, "row 1 in the order of time (1970-01-02T00:00:00.000000): got 'twelve', wanted a duration"),
        (["48", "x", None], COUNTED, "got 'x', wanted when the label was known, as at is written"),
        ([None, None, "1"], STAMPED, "got nothing, wanted when its label was known, or how late (and 1 rows more)"),
    ],
)
def test_a_column_with_holes_or_what_is_no_delay_is_refused_by_row(values: list[str | None], time: TimeColumn, message: str) -> None:
    with pytest.raises(InputError) as refused:
        column_delays(values, ROWS, "known", time)

    assert message in str(refused.value)
