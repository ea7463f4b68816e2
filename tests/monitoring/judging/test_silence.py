from dataclasses import replace

import pytest

from monitoring.judging.silence import Silence, has_arrival_clock, silence
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

HOUR = 3_600_000_000
SCHEMA = Schema((Feature("x", "numeric"),), "y", "regression")


@pytest.mark.parametrize(
    ("starts", "usual"),
    [([], HOUR), ([7 * HOUR], HOUR), ([HOUR, 2 * HOUR, 14 * HOUR, 15 * HOUR], 12 * HOUR)],
    ids=["none", "one", "a night"],
)
def test_the_longest_gap_of_the_window_is_usual(starts: list[int], usual: int) -> None:
    assert silence(20 * HOUR, 50 * HOUR, starts, HOUR) == Silence(30 * HOUR, usual)


def test_it_is_told_once_it_is_twice_as_long_as_usual() -> None:
    assert Silence(2 * HOUR, HOUR).sentence() is None
    assert Silence(2 * HOUR + 60_000_000, HOUR).sentence() == "no rows for 2h1m, at most 1h are usual"


def test_a_clock_that_was_set_back_is_no_silence() -> None:
    assert silence(50 * HOUR, 20 * HOUR, [], HOUR).silent_us == 0


def test_machine_time_says_nothing_of_rows_that_bring_their_own() -> None:
    event = replace(SCHEMA, time=TimeColumn("at", "timestamp"))
    arrival = replace(SCHEMA, time=TimeColumn("at", "timestamp", clock="arrival"))

    assert [has_arrival_clock(one) for one in (SCHEMA, event, arrival)] == [True, False, True]
