"""Thresholds: where F1 and balanced accuracy are best, and that chance moves none."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.decision_threshold import at_best_threshold, at_threshold, best_decided, best_threshold, choose_threshold
from training.evaluation.losses import METRICS, Floats, Labels
from training.schema.prediction import Prediction
from training.schema.rows import object_column

CLASSES = ("no", "yes")


def answers(positive: Floats) -> Prediction:
    return Prediction(np.full(len(positive), "no", object), np.stack([1 - positive, positive], axis=1), CLASSES).decided(0.5)


def rare(n: int, seed: int = 0, share: float = 0.1) -> tuple[Labels, Prediction]:
    """Labels of which about a tenth are positive, with calibrated probabilities."""
    random = np.random.default_rng(seed)
    positive = random.beta(0.6, 0.6 * (1 - share) / share, n)
    return object_column(np.where(random.random(n) < positive, "yes", "no").tolist()), answers(positive)


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy"])
def test_the_best_threshold_is_that_of_a_search_over_all_of_them(metric: str) -> None:
    y, prediction = rare(250)
    score = METRICS[metric].function

    best = best_threshold(y, prediction, metric, prior_rows=0.0)

    assert best is not None
    every = [score(y, prediction.decided(threshold)) for threshold in np.unique(prediction.score)]
    assert score(y, prediction.decided(best)) >= max(every)


@pytest.mark.parametrize(("metric", "near"), [("f1", "half of the best F1"), ("balanced_accuracy", "the share")])
def test_of_calibrated_probabilities_it_is_what_theory_says(metric: str, near: str) -> None:
    y, prediction = rare(60_000)

    best = best_threshold(y, prediction, metric)

    wanted = {
        "half of the best F1": METRICS["f1"].function(y, prediction.decided(best or 0.5)) / 2,
        "the share": float((y == "yes").mean()),
    }
    assert best == pytest.approx(wanted[near], abs=0.02)


def test_rows_that_stand_for_several_count_as_often() -> None:
    y, prediction = rare(300)
    twice = np.repeat(np.arange(300), np.where(y == "yes", 3, 1))

    weighted = best_threshold(y, prediction, "f1", weights=np.where(y == "yes", 3.0, 1.0), prior_rows=0.0)

    assert weighted == best_threshold(y[twice], prediction.take(twice), "f1", prior_rows=0.0)


def test_few_labels_say_less_than_calibrated_probabilities_do() -> None:
    y, prediction = rare(40, seed=3)
    pulled, free = best_threshold(y, prediction, "f1"), best_threshold(y, prediction, "f1", prior_rows=0.0)
    by_theory = best_threshold(y, prediction, "f1", prior_rows=1e9)

    assert by_theory is not None
    assert abs((pulled or 0) - by_theory) < abs((free or 0) - by_theory)


def test_a_threshold_moves_where_another_is_proven_better_and_says_by_how_much() -> None:
    y, prediction = rare(2000)

    choice = choose_threshold(y, prediction, METRICS["f1"], None)

    assert choice.has_moved
    assert choice.threshold == choice.evidence["after"] == choice.evidence["best"]
    assert 0.1 < (choice.threshold or 0) < 0.4
    assert choice.evidence["gain"] > choice.evidence["gain_low"] > 0.0
    again = choose_threshold(y, prediction, METRICS["f1"], choice.threshold)
    assert (again.has_moved, again.threshold) == (False, choice.threshold)


def test_chance_moves_a_threshold_as_seldom_as_its_level_says() -> None:
    """Balanced classes: a half is best already."""
    moved = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        positive = random.beta(2, 2, 400)
        y = object_column(np.where(random.random(400) < positive, "yes", "no").tolist())
        moved += choose_threshold(y, answers(positive), METRICS["balanced_accuracy"], None).has_moved

    assert moved <= 5  # of 30 at a level of 0.05: more are there once in 300


@pytest.mark.parametrize(
    ("n", "share", "words"), [(199, 0.3, "200 rows"), (300, 0.01, "20 of each class"), (300, 0.0, "one class")], ids=["rows", "few", "none"]
)
def test_too_few_rows_keep_what_there_is(n: int, share: float, words: str) -> None:
    y, prediction = rare(n, share=0.3)
    y[np.flatnonzero(y == "yes")[round(share * n) :]] = "no"

    choice = choose_threshold(y, prediction, METRICS["f1"], 0.3)

    assert (choice.threshold, choice.has_moved) == (0.3, False)
    assert words in choice.why or "0 of a class" in choice.why


def test_labels_of_one_half_only_keep_what_there_is() -> None:
    y, prediction = rare(400)
    y[200:] = "no"
    y[:50] = "yes"

    assert choose_threshold(y, prediction, METRICS["f1"], None).threshold is None


def test_a_constant_guess_decides_the_positive_class_everywhere_where_that_is_better() -> None:
    y, _ = rare(400)
    guess = answers(np.full(400, 0.1))

    assert set(best_decided(y, guess, "f1").label) == {"yes"}
    assert at_best_threshold(METRICS["f1"]).function(y, guess) == pytest.approx(2 * (y == "yes").mean() / (1 + (y == "yes").mean()))
    assert at_best_threshold(METRICS["balanced_accuracy"]).function(y, guess) == 0.5


def test_a_metric_may_be_of_one_threshold() -> None:
    y, prediction = rare(400)

    assert at_threshold(METRICS["f1"], 0.2).function(y, prediction) == METRICS["f1"].function(y, prediction.decided(0.2))


def test_three_classes_and_numbers_have_none() -> None:
    three = Prediction(np.full(4, "a", object), np.full((4, 3), 1 / 3), ("a", "b", "c"))

    assert best_threshold(np.array(["a", "b", "c", "a"], object), three, "f1") is None
    assert best_threshold(np.arange(4.0), Prediction(np.arange(4.0)), "f1") is None
    assert three.decided(0.2) is three
    assert choose_threshold(np.array(["a"] * 300, object), three.take(np.zeros(300, int)), METRICS["f1"], None).threshold is None
