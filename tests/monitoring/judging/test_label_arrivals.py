"""What became of labels, in words, and what would end it where most came to nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitoring.judging.labels.arrivals import Arrivals, Received
from training.policies import LabelPolicy, RetentionPolicy

DAY = 86_400_000_000
LABELS, KEPT = LabelPolicy(too_late=timedelta(days=90)), RetentionPolicy(timedelta(days=400))


@pytest.mark.parametrize(
    ("counts", "is_lost"),
    [
        ({"matched": 100, "unknown": 101}, True),
        ({"matched": 100, "unknown": 100}, False),
        ({"unknown": 19}, False),
        ({"unknown": 10, "invalid": 10}, True),
        ({"matched": 1, "duplicate": 500, "unknown": 400}, False),
        ({"conflict": 500}, False),
    ],
)
def test_labels_are_mostly_lost_where_more_than_half_of_some_name_no_row_that_could_take_them(
    counts: dict[str, int], is_lost: bool
) -> None:
    came = Arrivals(0, counts)

    assert came.is_mostly_lost is is_lost
    assert (Received.of(came, came, LABELS, KEPT).remedy is not None) is is_lost


def test_of_labels_too_late_it_is_said_how_far_the_bound_must_go() -> None:
    came = Arrivals.of(10 * DAY, [(0, "matched", 0, 40), (0, "too_late", 100 * DAY, 95), (0, "too_late", 300 * DAY, 4)])

    assert came.remedy(LABELS, KEPT) == (
        "99 of the 139 labels that came since 1970-01-11 00:00 are of rows older than labels.too_late (90d), up to 100 days: "
        "set labels.too_late to 105d"
    )


def test_a_bound_beyond_what_the_log_keeps_wants_both_to_be_raised() -> None:
    came = Arrivals.of(None, [(0, "too_late", 500 * DAY, 30)])

    assert came.remedy(LABELS, KEPT).endswith("set labels.too_late to 525d and retention.log (400d) to at least as much")


@pytest.mark.parametrize(
    ("result", "advice"),
    [
        ("unknown", "name no row of this model's log: send the ids that its predictions were answered with"),
        ("ambiguous", "have an own id of several rows that differ: send the ids of predictions, or set labels.own_id to all"),
        ("invalid", "are no value of the target: the answers to them say why"),
    ],
)
def test_what_most_of_the_lost_labels_came_to_nothing_by_is_what_is_said(result: str, advice: str) -> None:
    came = Arrivals(None, {"matched": 3, result: 90, "too_late": 10}, {DAY: 10})

    assert came.remedy(LABELS, KEPT).startswith(f"90 of the 103 labels that came {advice}")
