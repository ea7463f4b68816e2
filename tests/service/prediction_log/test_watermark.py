"""Model time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.prediction_log import watermark
from service.prediction_log.watermark import ClockRule, Walk, late_for, walk

DAY = 86_400_000_000
ARRIVED = 10**16  # long after all rows, as in a replay

times = st.lists(st.integers(0, 1000), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=np.int64))


def advance(before: int | None, event_us: np.ndarray, rule: ClockRule, arrived_us: int = ARRIVED) -> tuple[int | None, int]:
    as_array = watermark.advance(before, event_us, rule, arrived_us)

    assert as_array == watermark.advance(before, event_us.tolist(), rule, arrived_us)
    return as_array


@given(st.integers(0, 1000), times, st.integers(1, 200))
def test_it_only_moves_forward_and_only_to_a_row(before: int, event_us: np.ndarray, bound: int) -> None:
    reached, ahead = advance(before, event_us, ClockRule(bound))

    assert reached is not None
    assert reached >= before
    assert reached == before or reached in event_us.tolist()
    assert ahead == int((event_us > reached).sum())


def test_a_row_from_the_far_future_moves_nothing() -> None:
    assert advance(100, np.array([10**15]), ClockRule(50)) == (100, 1)


def test_what_stands_behind_a_gap_does_not_move_it_either() -> None:
    assert advance(100, np.array([120, 140, 300, 310, 320]), ClockRule(50)) == (140, 3)


@pytest.mark.parametrize(
    ("start_us", "expected"),
    [pytest.param(None, 1000, id="no champion"), pytest.param(950, 1000, id="near it"), pytest.param(10, 1000, id="long after it")],
)
def test_the_first_rows_set_it(start_us: int | None, expected: int) -> None:
    reached, _ = advance(None, np.array([960, 1000]), ClockRule(50, start_us))

    assert reached == expected


def test_the_first_row_may_not_be_a_lone_one_from_the_future_when_the_champion_tells_the_time() -> None:
    assert advance(None, np.array([100, 10**15]), ClockRule(50, 90)) == (100, 1)


@pytest.mark.parametrize(("step", "expected"), [pytest.param(50, (150, 0), id="at the bound"), pytest.param(51, (100, 1), id="past it")])
def test_a_row_may_be_ahead_by_the_bound_and_no_more(step: int, expected: tuple[int, int]) -> None:
    assert advance(100, np.array([100 + step]), ClockRule(50)) == expected


@pytest.mark.parametrize(("older", "expected"), [pytest.param(50, (950, 1), id="at the bound"), pytest.param(51, (1001, 0), id="past it")])
def test_the_champion_tells_the_time_when_a_row_is_within_the_bound_of_it(older: int, expected: tuple[int, int]) -> None:
    assert advance(None, np.array([950 - older, 1001]), ClockRule(50, 950)) == expected


WALK = np.arange(1, 120) * 29 * DAY  # each step within the bound of thirty days, all in one request


@pytest.mark.parametrize(
    ("rule", "days"),
    [pytest.param(ClockRule(30 * DAY), 29, id="timestamp"), pytest.param(ClockRule(30 * DAY, is_ordinal=True), 29, id="ordinal")],
)
@pytest.mark.parametrize("before", [0, None], ids=["stored", "first"])
def test_one_request_does_not_walk_away_with_model_time(rule: ClockRule, days: int, before: int | None) -> None:
    times = np.concatenate([[0], WALK])

    assert advance(before, times, rule, arrived_us=2 * DAY) == (days * DAY, 118)


@pytest.mark.parametrize("n_requests", [119, 7, 1])
def test_many_requests_do_not_walk_past_their_arrival_and_the_bound_either(n_requests: int) -> None:
    requests = [(part, 2 * DAY) for part in np.array_split(WALK, n_requests)]

    moved = walk(0, requests, ClockRule(30 * DAY))

    assert (moved.watermark_us, moved.ahead) == (29 * DAY, 118)


def test_rows_older_than_now_move_model_time_as_fast_as_they_are_sent() -> None:
    assert advance(0, WALK, ClockRule(30 * DAY)) == (119 * 29 * DAY, 0)


def test_the_first_request_may_not_be_from_the_future_either() -> None:
    rule = ClockRule(30 * DAY, start_us=0)

    assert advance(None, np.array([500 * DAY]), rule, arrived_us=300 * DAY) == (None, 1)
    assert advance(None, np.array([310 * DAY, 500 * DAY]), rule, arrived_us=300 * DAY) == (310 * DAY, 1)


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.integers(0, 900)), max_size=12),
    st.integers(0, 12),
    st.booleans(),
)
def test_a_log_read_again_in_other_batches_gives_the_same(requests: list[tuple[list[int], int]], cut: int, is_ordinal: bool) -> None:
    rule = ClockRule(60, 100, is_ordinal)

    first = walk(None, requests[:cut], rule)
    second = walk(first.watermark_us, requests[cut:], rule)

    assert walk(None, requests, rule) == Walk(second.watermark_us, first.ahead + second.ahead, [*first.met, *second.met])


@given(times, st.integers(0, 1000) | st.none(), st.integers(1, 200))
def test_a_row_is_late_for_its_bucket_when_model_time_stood_in_a_later_one(event_us: np.ndarray, met_us: int | None, width_us: int) -> None:
    buckets = [time_us // width_us for time_us in event_us.tolist()]

    expected = met_us is not None and min(buckets) < met_us // width_us
    assert late_for(event_us, met_us, width_us) is late_for(event_us.tolist(), met_us, width_us) is expected
