import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.gate import Decision, decide, jackknife_difference, probation, probation_look
from training.metrics import METRICS
from training.policies import GatePolicy, ProbationPolicy
from training.prediction import Prediction

CLASSES = ("no", "yes")
BINARY = ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error"]
NUMBERS = ["mae", "rmse", "r2"]


def said(probability: np.ndarray) -> Prediction:
    both = np.column_stack([1 - probability, probability])
    return Prediction(np.where(probability > 0.5, "yes", "no").astype(object), both, CLASSES)


def binary_rows(seed: int, noise: float, n: int = 1000) -> tuple[np.ndarray, Prediction]:
    """The truth, and a prediction of it that is the worse the more noise there is."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 2, n)
    y = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)
    return y, said(1 / (1 + np.exp(-(logit + np.random.default_rng(seed + 1).normal(0, noise, n) if noise else -logit))))


def number_rows(seed: int, noise: float, n: int = 1000) -> tuple[np.ndarray, Prediction]:
    y = np.random.default_rng(seed).normal(0, 5, n)
    return y, Prediction(y + np.random.default_rng(seed + 1).normal(0, 1 + noise, n))


def drifting_noise(random: np.random.Generator, n: int, memory: float) -> np.ndarray:
    """Noise whose neighbours are alike: an AR(1) process of standard deviation 1."""
    steps = random.normal(0, math.sqrt(1 - memory**2), n)
    level = random.normal()
    out = np.empty(n)
    for i, step in enumerate(steps):
        level = memory * level + step
        out[i] = level
    return out


@pytest.mark.parametrize("metric", BINARY)
def test_the_champion_against_itself_is_refused(metric: str) -> None:
    y, prediction = binary_rows(0, noise=1.0)

    decision = decide(prediction, prediction, y, metric, GatePolicy(rows=200))

    assert not decision.accepted
    assert "answers every judged row as the champion does" in decision.reason


def test_equal_fitted_bytes_are_refused_before_anything_is_compared() -> None:
    y, prediction = binary_rows(0, noise=1.0)
    _, other = binary_rows(0, noise=0.1)

    decision = decide(prediction, other, y, "log_loss", GatePolicy(rows=200), champion_sha256="a", challenger_sha256="a")

    assert (decision.accepted, decision.difference) == (False, None)
    assert "fitted bytes are equal" in decision.reason


def test_equal_outputs_in_another_order_of_classes_are_refused() -> None:
    y, prediction = binary_rows(0, noise=1.0)
    turned = Prediction(prediction.label, prediction.probability[:, ::-1], CLASSES[::-1])

    decision = decide(prediction, turned, y, "accuracy", GatePolicy(rows=200))

    assert "answers every judged row" in decision.reason


def test_too_few_rows_are_refused() -> None:
    y, prediction = binary_rows(0, noise=1.0, n=199)
    _, other = binary_rows(0, noise=0.1, n=199)

    decision = decide(prediction, other, y, "log_loss", GatePolicy(rows=200))

    assert (decision.accepted, decision.reason) == (False, "too few rows to judge: 199 of 200")


@pytest.mark.parametrize(
    ("metric", "rows"),
    [*((name, binary_rows) for name in ("roc_auc", "log_loss", "brier", "accuracy")), *((name, number_rows) for name in NUMBERS)],
)
def test_a_clearly_better_challenger_is_accepted_and_a_worse_one_refused(
    metric: str, rows: Callable[..., tuple[np.ndarray, Prediction]]
) -> None:
    y, bad = rows(0, noise=4.0)
    _, good = rows(0, noise=0.1)

    better = decide(bad, good, y, metric, GatePolicy(rows=200))
    worse = decide(good, bad, y, metric, GatePolicy(rows=200))

    assert (better.accepted, worse.accepted) == (True, False)
    assert better.reason.startswith("better: gain in")
    assert worse.reason.startswith("worse: gain in")


def test_a_gain_below_the_minimum_is_refused() -> None:
    y, bad = number_rows(0, noise=0.5)
    _, good = number_rows(0, noise=0.0)

    free, strict = decide(bad, good, y, "mae", GatePolicy(rows=200)), decide(bad, good, y, "mae", GatePolicy(rows=200, minimum_gain=1.0))

    assert (free.accepted, strict.accepted) == (True, False)
    assert strict.reason.startswith("a tie keeps the champion")


def test_rows_of_one_class_are_refused_when_they_do_not_define_the_metric() -> None:
    _, bad = binary_rows(0, noise=4.0)
    _, good = binary_rows(0, noise=0.1)

    decision = decide(bad, good, np.full(1000, "yes", dtype=object), "roc_auc", GatePolicy(rows=200))

    assert not decision.accepted
    assert decision.reason == "roc_auc is not defined on these 1000 rows"


def test_the_evidence_says_what_was_compared() -> None:
    y, bad = number_rows(0, noise=1.0)
    _, good = number_rows(0, noise=0.0)

    decision = decide(bad, good, y, "mae", GatePolicy(rows=200), champion_sha256="a", challenger_sha256="b")

    difference = decision.difference
    assert difference is not None
    assert decision.evidence == {
        "accepted": True,
        "reason": decision.reason,
        "n": 1000,
        "metric": "mae",
        "champion_model": "a",
        "challenger_model": "b",
        "champion_score": decision.champion_score,
        "challenger_score": decision.challenger_score,
        "gain": difference.estimate,
        "gain_low": difference.low,
        "gain_high": difference.high,
        "minimum_gain": 0.0,
        "level": 0.05,
        "blocks": 25,
    }


@settings(max_examples=30, deadline=None)
@given(metric=st.sampled_from(BINARY), seed=st.integers(0, 1000), n=st.integers(60, 400))
def test_swapping_the_predictions_flips_the_sign(metric: str, seed: int, n: int) -> None:
    y, one = binary_rows(seed, noise=1.0, n=n)
    _, other = binary_rows(seed, noise=2.0, n=n)

    forth = jackknife_difference(METRICS[metric], y, one, other)
    back = jackknife_difference(METRICS[metric], y, other, one)

    assert np.allclose([forth.estimate, forth.low, forth.high], [-back.estimate, -back.high, -back.low], equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(metric=st.sampled_from(BINARY), seed=st.integers(0, 1000))
def test_the_estimate_is_the_difference_of_the_scores(metric: str, seed: int) -> None:
    y, one = binary_rows(seed, noise=1.0)
    _, other = binary_rows(seed, noise=2.0)

    decision = decide(one, other, y, metric, GatePolicy(rows=200))

    assert decision.difference is not None
    gain = METRICS[metric].gain(decision.challenger_score, decision.champion_score)
    assert decision.difference.estimate == pytest.approx(gain)


@pytest.mark.parametrize("metric", ["mae", "log_loss", "brier", "accuracy"])
def test_sums_over_blocks_give_what_leaving_rows_out_gives(metric: str) -> None:
    y, one = number_rows(3, noise=1.0) if metric == "mae" else binary_rows(3, noise=1.0)
    _, other = number_rows(3, noise=0.5) if metric == "mae" else binary_rows(3, noise=0.5)
    known = METRICS[metric]
    slow = type(known)(known.name, known.higher_is_better, known.tasks, known.function, None)

    fast_difference = jackknife_difference(known, y, one, other)
    slow_difference = jackknife_difference(slow, y, one, other)

    assert np.allclose(
        [fast_difference.estimate, fast_difference.low, fast_difference.high],
        [slow_difference.estimate, slow_difference.low, slow_difference.high],
    )


def test_few_rows_leave_the_difference_undefined() -> None:
    y, one = number_rows(0, noise=1.0, n=39)
    _, other = number_rows(0, noise=0.5, n=39)

    assert not jackknife_difference(METRICS["mae"], y, one, other).is_defined


def test_predictions_of_other_lengths_are_an_error() -> None:
    y, one = number_rows(0, noise=1.0)

    with pytest.raises(ValueError, match="1000 labels, but 1000 and 999 predictions"):
        jackknife_difference(METRICS["mae"], y, one, one.take(slice(0, 999)))


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8], ids=["independent rows", "alike", "very alike"])
@pytest.mark.parametrize("metric", NUMBERS)
def test_an_equally_good_challenger_passes_about_as_often_as_the_level_says(metric: str, memory: float) -> None:
    random = np.random.default_rng(2026)
    trials = 600

    accepted = sum(one_null_trial(random, memory, metric).accepted for _ in range(trials))

    assert 0.02 <= accepted / trials <= 0.085


def one_null_trial(random: np.random.Generator, memory: float, metric: str) -> Decision:
    y = random.normal(0, 3, 1000)
    errors = drifting_noise(random, 1000, memory), drifting_noise(random, 1000, memory)
    return decide(Prediction(y + errors[0]), Prediction(y + errors[1]), y, metric, GatePolicy(rows=1000))


def test_an_equally_good_classifier_passes_about_as_often_as_the_level_says() -> None:
    random = np.random.default_rng(7)

    accepted = sum(one_null_classification(random).accepted for _ in range(300))

    assert 0.02 <= accepted / 300 <= 0.09


def one_null_classification(random: np.random.Generator) -> Decision:
    logit = random.normal(0, 2, 1000)
    y = np.where(random.random(1000) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)
    one, other = (said(1 / (1 + np.exp(-logit - drifting_noise(random, 1000, 0.7)))) for _ in range(2))
    return decide(one, other, y, "roc_auc", GatePolicy(rows=1000))


def test_the_previous_champion_comes_back_when_it_is_better() -> None:
    y, bad = binary_rows(0, noise=4.0)
    _, good = binary_rows(0, noise=0.1)

    back = probation(bad, good, y, "log_loss", ProbationPolicy(rows=100), look=1)
    stay = probation(good, bad, y, "log_loss", ProbationPolicy(rows=100), look=1)

    assert (back.accepted, stay.accepted) == (True, False)
    assert (back.evidence["look"], back.evidence["level"]) == (1, 0.05 / 3)


def test_a_look_before_its_planned_size_is_not_taken() -> None:
    y, bad = binary_rows(0, noise=4.0, n=199)
    _, good = binary_rows(0, noise=0.1, n=199)

    decision = probation(bad, good, y, "log_loss", ProbationPolicy(rows=100), look=2)

    assert (decision.accepted, decision.reason) == (False, "too few rows for look 2: 199 of 200")


@pytest.mark.parametrize("look", [0, 4])
def test_there_are_no_more_looks_than_planned(look: int) -> None:
    with pytest.raises(ValueError, match="not one of the 3 planned ones"):
        probation_look(look, 3, 0.05)
