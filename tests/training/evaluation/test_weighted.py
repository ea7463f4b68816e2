"""Metrics with weights: a row that stands for three is as good as three rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sklearn

from training.evaluation.gate import jackknife_difference
from training.evaluation.losses import METRICS, Metric
from training.evaluation.weighted import effective, weighted
from training.schema.prediction import Prediction

RNG = np.random.default_rng(5)
N = 300
WEIGHTS = RNG.integers(0, 4, N).astype(float)


def predicted(task: str) -> tuple[np.ndarray, Prediction]:
    """Return labels and what was answered, coarse enough for ties."""
    if task == "regression":
        y = RNG.normal(0, 2, N)
        return y, Prediction(np.round(y + RNG.normal(0, 1, N), 1))
    classes = ("no", "yes") if task == "binary" else ("a", "b", "c")
    chances = np.round(RNG.dirichlet(np.ones(len(classes)), N), 1) + 0.05
    chances /= chances.sum(axis=1, keepdims=True)
    names = np.array(classes, dtype=object)
    return names[(chances.cumsum(axis=1) < RNG.random((N, 1))).sum(axis=1).clip(max=len(classes) - 1)], Prediction(
        names[chances.argmax(axis=1)], chances, classes
    )


@pytest.mark.parametrize(("name", "task"), [(m.name, task) for m in METRICS.values() for task in m.tasks], ids=lambda value: str(value))
def test_a_weight_of_three_is_three_rows(name: str, task: str) -> None:
    y, answered = predicted(task)
    again = np.repeat(np.arange(N), WEIGHTS.astype(int))

    assert weighted(METRICS[name], y, answered, WEIGHTS) == pytest.approx(METRICS[name].function(y[again], answered.take(again)), abs=1e-12)
    assert weighted(METRICS[name], y, answered, np.full(N, 0.7)) == pytest.approx(METRICS[name].function(y, answered), abs=1e-12)


def test_the_area_and_the_others_are_those_of_scikit_learn() -> None:
    y, answered = predicted("binary")
    assert answered.probability is not None
    is_yes, said_yes = y == "yes", answered.label == "yes"

    expected = {
        "roc_auc": sklearn.roc_auc_score(is_yes, answered.probability[:, 1], sample_weight=WEIGHTS),
        "f1": sklearn.f1_score(is_yes, said_yes, sample_weight=WEIGHTS),
        "balanced_accuracy": sklearn.balanced_accuracy_score(is_yes, said_yes, sample_weight=WEIGHTS),
        "log_loss": sklearn.log_loss(is_yes, answered.probability[:, 1], sample_weight=WEIGHTS),
    }

    assert {name: weighted(METRICS[name], y, answered, WEIGHTS) for name in expected} == pytest.approx(expected)


def test_what_the_rows_do_not_define_is_not_a_number() -> None:
    y, answered = predicted("binary")
    only_no = np.where(y == "no", 1.0, 0.0)

    assert np.isnan(weighted(METRICS["roc_auc"], y, answered, only_no))
    assert np.isnan(weighted(METRICS["log_loss"], y, answered, np.zeros(N)))
    with pytest.raises(ValueError, match="other is no mean over rows"):
        weighted(Metric("other", True, ("binary",), METRICS["f1"].function), y, answered, WEIGHTS)


@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_the_jackknife_of_weighted_differences_is_that_of_equal_weights_where_they_are_equal(name: str) -> None:
    y, worse = predicted("regression")
    better = Prediction(y + (worse.label - y) / 2)
    plain = jackknife_difference(METRICS[name], y, worse, better)

    same = jackknife_difference(METRICS[name], y, worse, better, weights=np.full(N, 2.5))
    other = jackknife_difference(METRICS[name], y, worse, better, weights=WEIGHTS)

    assert (same.estimate, same.low, same.high) == pytest.approx((plain.estimate, plain.low, plain.high))
    assert other.high - other.low > plain.high - plain.low
    assert replace(same, estimate=0.0, low=0.0, high=0.0) == replace(plain, estimate=0.0, low=0.0, high=0.0)


def test_weights_tell_as_much_as_fewer_equal_ones() -> None:
    assert effective(np.zeros(3)) == 0.0
    assert effective(np.array([1.0, 3.0])) == pytest.approx(1.6)
