"""Model time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.watermark import ClockRule, advance

times = st.lists(st.integers(0, 1000), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=np.int64))


@given(st.integers(0, 1000), times, st.integers(1, 200))
def test_it_only_moves_forward_and_only_to_a_row(before: int, event_us: np.ndarray, bound: int) -> None:
    reached, ahead = advance(before, event_us, ClockRule(bound))

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
