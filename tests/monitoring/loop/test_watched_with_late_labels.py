"""The example with late labels: never worse than never retrained; and what the benchmark itself knows of feeds and blindness."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from benchmarks.monitoring.late_labels.definition import blind_by_definition
from benchmarks.monitoring.late_labels.feeds import Feed, labels_of, maturity_us
from benchmarks.monitoring.late_labels.table import KEPT, WORST, run
from tests.monitoring.world import DAY_US, MODEL_FILE
from training.model_file.model_spec import parse_spec

DAY = timedelta(days=1)
TIMES = np.arange(200 * 40) * (DAY_US // 40)
RANK = np.random.default_rng(1).random(len(TIMES))
IS_SLOW = np.random.default_rng(2).random(len(TIMES)) < 0.3


@pytest.mark.parametrize(("text", "days"), [("in-time", 1), ("class factor=10", 12), ("class factor=5", 6), ("early factor=20", 23)])
def test_the_maturity_of_a_feed_is_that_of_its_slowest_class(text: str, days: int) -> None:
    labels = labels_of(Feed.parse(text), DAY, 90 * DAY, TIMES, IS_SLOW, RANK)

    assert maturity_us(labels, DAY, IS_SLOW) == days * DAY_US


def test_an_eighth_is_early_and_of_the_one_class_eight_times_as_often() -> None:
    labels = labels_of(Feed.parse("early early=0.12 factor=20"), DAY, 90 * DAY, TIMES, IS_SLOW, RANK)
    is_early = labels.delay_us < DAY_US

    assert is_early.mean() == pytest.approx(0.12, abs=0.01)
    assert is_early[IS_SLOW].mean() / is_early[~IS_SLOW].mean() == pytest.approx(8, rel=0.2)


def test_a_feed_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="feed 'clas factor=2': want one of in-time, class"):
        Feed.parse("clas factor=2")


@pytest.mark.parametrize(
    ("text", "came", "first"), [("in-time", 1, None), ("stops at=0.5", 1, 112), ("stops at=0.0", 50, 56), ("stops at=0.0", 999, None)]
)
def test_slots_are_blind_once_labels_stopped_for_two_maturities(text: str, came: int, first: int | None) -> None:
    labels = labels_of(Feed.parse(text), DAY, 90 * DAY, TIMES, IS_SLOW, RANK)
    slots = range(7, 200, 7)
    matured_us = maturity_us(labels, DAY, IS_SLOW)

    blind = blind_by_definition(
        parse_spec(MODEL_FILE), [slot * DAY_US for slot in slots], TIMES, labels.delay_us, RANK, matured_us, came * DAY_US
    )

    assert next((slot for slot, is_blind in zip(slots, blind, strict=True) if is_blind), None) == first


@pytest.mark.slow
def test_a_year_of_which_an_eighth_of_the_labels_is_early_is_worth_its_labels() -> None:
    year = run("example", "early factor=10", None, is_short=False)

    assert year is not None
    assert year.gain_low > WORST
    assert year.kept is not None
    assert year.kept >= KEPT
    assert (year.in_blind, year.late) == (0, 0)
