"""Drawn labels on a stream whose early labels lie: the weighted score is right where that of the early ones is far off."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from monitoring.judging.cohorts import Cohorts, measured_maturity
from monitoring.judging.data_faults import Span
from monitoring.judging.label_delays import ClassDelay
from monitoring.judging.labels.counts import LabelCounts
from monitoring.judging.labels.coverage import CoverageRule
from monitoring.judging.labels.requested import NO_REQUESTS, Requested
from monitoring.judging.performance.scores import Score, score
from service.label_requests.weights import Draw, Labelled, weigh
from training.policies import LabelPolicy
from training.schema.prediction import Prediction

DAY = 86_400_000_000
WEEK_ROWS, DRAWN = 2000, 300
RULE = CoverageRule(0.9, 100, DAY, DAY)
IN_TIME = ClassDelay("all", 900, 0, True)


def week(seed: int) -> tuple[float, Score, Score]:
    """Return the log loss of a week's rows, and what the eighth that is labelled early and the drawn labels say of it.

    Early is a third of the class that is rarer, and of the other one row in a hundred.
    """
    rng = np.random.default_rng([7, seed])
    wet = np.clip(rng.beta(1.2, 2.4, WEEK_ROWS), 0.01, 0.99)
    labels = np.where(rng.random(WEEK_ROWS) < wet, "yes", "no").astype(object)
    answered = np.clip(wet + 0.3, 0.02, 0.98)
    prediction = Prediction(np.where(answered > 0.5, "yes", "no").astype(object), np.stack([1 - answered, answered], axis=1), ("no", "yes"))
    is_early = rng.random(WEEK_ROWS) < np.where(labels == "yes", 0.35, 0.01)
    chosen = rng.choice(np.flatnonzero(~is_early), DRAWN, replace=False)
    request = np.zeros(WEEK_ROWS, dtype=np.int64)
    request[chosen] = 1
    known = np.flatnonzero(is_early | (request == 1))
    draw = Draw(1, 0, WEEK_ROWS, 10, int((~is_early).sum()), chosen, np.ones(DRAWN, dtype=bool))
    received = np.where(request[known] == 1, 20, 5)
    rows = Labelled([str(row) for row in known], known, np.zeros(len(known), dtype=np.int64), received, request[known])
    weights = weigh(rows, [draw]).rows
    drawn = score(labels[known], prediction.take(known), "log_loss", weights=weights)
    naive = score(labels[is_early], prediction.take(is_early), "log_loss")
    of_all = score(labels, prediction, "log_loss")
    assert drawn is not None
    assert naive is not None
    assert of_all is not None
    return of_all.value, drawn, naive


def test_drawn_labels_hold_what_is_true_of_all_rows_and_early_ones_do_not() -> None:
    weeks = [week(seed) for seed in range(200)]

    held, naive = ([one[place].low <= one[0] <= one[place].high for one in weeks] for place in (1, 2))
    bias, far = (np.mean([one[place].value - one[0] for one in weeks]) for place in (1, 2))
    assert np.mean(held) >= 0.9
    assert np.mean(naive) <= 0.1
    assert abs(bias) < 0.01 < 0.1 < abs(far)


def judged(requested: Requested = NO_REQUESTS, labelled: int = 12, delay: int = 3) -> Cohorts:
    """Return thirty days of a hundred rows, of which few have their label."""
    counts = {day * DAY: LabelCounts(np.array([0, 0, 0, 100]), np.array([0, 0, 0, labelled])) for day in range(30)}
    return Cohorts.of(counts, measured_maturity(30 * DAY, (IN_TIME,), LabelPolicy(timedelta(days=delay))), RULE, requested=requested)


def days(spans: tuple[Span, ...]) -> list[tuple[int, int]]:
    return [(span.start_us // DAY, span.end_us // DAY) for span in spans]


def test_buckets_of_which_labels_were_drawn_are_covered_and_end_blindness() -> None:
    requested = Requested.of([(14 * DAY, 28 * DAY)], [np.arange(14 * DAY, 28 * DAY, DAY // 20)])

    blind, sees = judged(), judged(requested)

    assert blind.blind is not None
    assert sees.blind is None
    assert (blind.end_us, sees.end_us) == (27 * DAY, 28 * DAY)
    assert (days(sees.by_requests), days(sees.uncovered)) == ([(14, 28)], [(0, 14)])
    assert sees.to_dict()["by_requests"] == [[14 * DAY, 28 * DAY]]


def test_few_drawn_labels_leave_a_slot_blind() -> None:
    requested = Requested.of([(14 * DAY, 28 * DAY)], [np.arange(14 * DAY, 28 * DAY, DAY // 2)])

    assert judged(requested).blind is not None


def test_where_labels_come_by_themselves_nothing_changes() -> None:
    requested = Requested.of([(5 * DAY, 9 * DAY)], [np.arange(5 * DAY, 9 * DAY, DAY // 20)])

    assert judged(requested, labelled=95).to_dict() == judged(labelled=95).to_dict()
    assert replace(judged(requested, labelled=95), requested=NO_REQUESTS).cohorts != ()


def test_rows_behind_the_mature_ones_that_nobody_drew_are_not_due_yet() -> None:
    requested = Requested.of([(25 * DAY, 28 * DAY)], [np.arange(25 * DAY, 28 * DAY, DAY // 20)])

    sees = judged(requested, labelled=95, delay=9)

    assert days(sees.uncovered) == [(21, 25)]
    assert sees.to_dict()["due"] == (21 + 3) * 100
    assert sees.share(0) == 0.95


def test_a_bucket_that_a_window_parts_is_not_drawn_from() -> None:
    parted = Requested.of([(14 * DAY + 1, 28 * DAY - 1)], [np.arange(15 * DAY, 27 * DAY, DAY // 20)])
    joined = Requested.of([(14 * DAY, 20 * DAY + 5), (20 * DAY, 28 * DAY)], [np.arange(15 * DAY, 27 * DAY, DAY // 20)])

    assert days(judged(parted).by_requests) == [(15, 27)]
    assert days(judged(joined).by_requests) == [(14, 28)]
