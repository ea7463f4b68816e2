import json

import numpy as np
import pytest

from training.profiles.moving_columns import CalendarColumn, learn_moving
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
START_US = 1_735_689_600_000_000  # 2025-01-01, a Wednesday
RNG = np.random.default_rng(0)
TWO_YEARS = START_US + np.arange(2 * 365 * 24) * HOUR_US
MONTHS = np.array(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], object)


def parts(time_us: np.ndarray) -> dict[str, np.ndarray]:
    moments = time_us.astype("M8[us]")
    months = moments.astype("M8[M]").astype(np.int64)
    days = time_us // DAY_US
    return {
        "hour": time_us // HOUR_US % 24,
        "weekday": (days + 3) % 7,
        "month": months % 12,
        "quarter": months % 12 // 3,
        "year": moments.astype("M8[Y]").astype(np.int64) + 1970,
        "day": days - moments.astype("M8[M]").astype("M8[D]").astype(np.int64) + 1,
        "dayofyear": days - moments.astype("M8[Y]").astype("M8[D]").astype(np.int64) + 1,
    }


def learned(values: np.ndarray, time_us: np.ndarray = TWO_YEARS, zone: str | None = None) -> str | None:
    """What a column is: a part of the time, ``running``, or None."""
    kind = "categorical" if values.dtype == object else "numeric"
    schema = Schema((Feature("x", kind, nullable=True),), "y", "regression", time=TimeColumn("t", zone=zone))
    calendar, running = learn_moving({"x": values}, time_us, schema)
    if calendar:
        assert running == ()
        assert CalendarColumn.from_dict(json.loads(json.dumps(calendar[0].to_dict()))) == calendar[0]
        assert np.nanmean(calendar[0].differs(values, time_us)) < 0.01
        return calendar[0].part
    return "running" if running else None


P = parts(TWO_YEARS)
N = len(TWO_YEARS)
NOISE = RNG.random(N)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        pytest.param(P["hour"].astype(float), "hour", id="hour"),
        pytest.param((P["hour"] + 5) % 24 * 1.0, "hour", id="hour of another clock"),
        pytest.param(np.where(NOISE < 0.005, 3.0, P["hour"]), "hour", id="hour with mistakes"),
        pytest.param(np.where(NOISE < 0.3, np.nan, P["hour"]), "hour", id="hour, often missing"),
        pytest.param(np.array(["night", "day"], object)[(P["hour"] > 6) * 1], "hour", id="day and night"),
        pytest.param(np.array(["no", "yes"], object)[(P["weekday"] > 4) * 1], "weekday", id="weekend"),
        pytest.param((P["weekday"] + 1) % 7 * 1.0, "weekday", id="week from Sunday"),
        pytest.param(P["month"] + 1.0, "month", id="month"),
        pytest.param(MONTHS[P["month"]], "month", id="month by name"),
        pytest.param(P["quarter"] + 1.0, "quarter", id="quarter"),
        pytest.param(P["day"] * 1.0, "day", id="day of the month"),
        pytest.param(P["dayofyear"] * 1.0, "dayofyear", id="day of the year"),
        pytest.param(((P["dayofyear"] > 79) & (P["dayofyear"] < 266)) * 1.0, "dayofyear", id="season"),
        pytest.param(P["year"] * 1.0, "year", id="year"),
        pytest.param(P["year"] - 2025.0, "year", id="year from the first"),
        pytest.param(np.arange(N) * 1.0, "running", id="number of the row"),
        pytest.param(1e6 - np.arange(N) // 10, "running", id="countdown"),
        pytest.param(np.cumsum(RNG.exponential(size=N)), "running", id="counter"),
        pytest.param(np.arange(N) * 6 // N * 1.0, "running", id="six steps"),
        pytest.param(np.arange(N) * 5 // N * 1.0, None, id="five steps"),
        pytest.param(np.arange(N) * 12 % N * 12.0 // N, None, id="steps that come round"),
        pytest.param(P["hour"] * 60.0 + RNG.integers(0, 60, N), None, id="minute of the day"),
        pytest.param(np.arange(N) + 1000 * RNG.normal(size=N), None, id="trend with noise"),
        pytest.param(np.cumsum(RNG.normal(size=N)), None, id="random walk"),
        pytest.param((np.arange(N) > N / 3) * 1.0, None, id="step"),
        pytest.param(np.ones(N), None, id="constant"),
        pytest.param((NOISE < 0.004) * 1.0, None, id="rare"),
        pytest.param(np.where(NOISE < 0.05, 3.0, P["hour"]), None, id="hour with many mistakes"),
        pytest.param(np.sin(P["hour"] / 24 * 6.28) + 0.1 * RNG.normal(size=N), None, id="daily cycle"),
        pytest.param(RNG.integers(0, 12, N) * 1.0, None, id="any whole number"),
        pytest.param(np.repeat(RNG.integers(0, 2, 2 * 365), 24) * 1.0, None, id="by the day"),
        pytest.param(np.full(N, None, object), None, id="no value"),
        pytest.param(RNG.choice(np.array(["a", "b", None], object), N), None, id="any text"),
    ],
)
def test_a_column_that_moves_by_itself_is_known_by_its_rows(values: np.ndarray, part: str | None) -> None:
    assert learned(values) == part


@pytest.mark.parametrize(
    ("days", "values", "part"),
    [
        pytest.param(365, lambda p: MONTHS[p["month"]], None, id="months by name have not come round in a year"),
        pytest.param(365, lambda p: p["month"] + 1.0, "month", id="their numbers need not"),
        pytest.param(365, lambda p: RNG.integers(0, 2, 400)[p["dayofyear"]] * 1.0, None, id="each day of one year is itself"),
        pytest.param(60, lambda p: p["month"] + 1.0, "month", id="two months in a row"),
        pytest.param(60, lambda p: p["month"] + 7.0, None, id="two values that change with the month"),
        pytest.param(20, lambda p: p["month"] + 1.0, None, id="one month"),
        pytest.param(60, lambda p: p["year"] * 1.0, "year", id="the year itself"),
        pytest.param(60, lambda p: p["year"] - 2020.0, None, id="one year less a constant"),
        pytest.param(1, lambda p: np.array(["night", "day"], object)[(p["hour"] > 6) * 1], None, id="one day has not come round"),
        pytest.param(3, lambda p: np.array(["night", "day"], object)[(p["hour"] > 6) * 1], "hour", id="three have"),
    ],
)
def test_what_has_not_come_round_is_no_function_of_the_calendar(days: int, values, part: str | None) -> None:
    time_us = TWO_YEARS[: days * 24]

    assert learned(values(parts(time_us)), time_us) == part


def test_parts_are_read_from_the_clock_of_the_time_column() -> None:
    summer = (TWO_YEARS >= 1_743_296_400_000_000) & (TWO_YEARS < 1_761_440_400_000_000)  # 2025-03-30 and 2025-10-26, 01:00 UTC
    here = TWO_YEARS[:8760]
    hour = (here // HOUR_US + 1 + summer[:8760]) % 24 * 1.0

    assert (learned(hour, here), learned(hour, here, "Europe/Berlin")) == (None, "hour")


def test_without_times_there_is_no_calendar_but_the_number_of_the_row_still_runs() -> None:
    schema = Schema((Feature("x", "numeric"), Feature("n", "numeric")), "y", "regression")

    assert learn_moving({"x": np.arange(2000) % 24 * 1.0, "n": np.arange(2000.0)}, np.arange(2000), schema) == ((), ("n",))


def test_a_part_the_reference_never_had_says_nothing() -> None:
    column = CalendarColumn("m", "month", values=((1, "Jan"), (2, "Feb")))
    times = np.array(["2026-01-05", "2026-02-05", "2026-03-05", "2026-01-06"], "M8[us]").astype(np.int64)

    assert column.differs(np.array(["Jan", "Jan", "Mar", None], object), times).tolist()[:3] == [0.0, 1.0, 0.0]
    assert np.isnan(column.differs(np.array(["Jan", "Jan", "Mar", None], object), times)[3])
    assert column.sentence == "m follows from the month of a row's time: watched by the rows that differ from it"


@pytest.mark.parametrize(
    "column", [CalendarColumn("x", "hour", 0.0), CalendarColumn("x", "hour", values=((0, 3.0), (23, 3.0)))], ids=["offset", "table"]
)
def test_a_time_too_far_away_for_a_calendar_says_nothing(column: CalendarColumn) -> None:
    assert column.differs(np.array([5.0, np.nan]), np.array([250_000_000_000_000_000] * 2)).tolist()[:1] == [0.0]


def test_times_too_far_away_teach_no_calendar() -> None:
    schema = Schema((Feature("x", "numeric"),), "y", "regression", time=TimeColumn("t", "ordinal"))

    assert learn_moving({"x": P["hour"] * 1.0}, TWO_YEARS + 250_000_000_000_000_000, schema) == ((), ())


def test_a_time_among_the_features_is_counted_by_its_hour() -> None:
    schema = Schema((Feature("t", "datetime"),), "y", "regression", time=TimeColumn("t"))

    assert learn_moving({"t": TWO_YEARS / 1e6}, TWO_YEARS, schema) == ((), ())
