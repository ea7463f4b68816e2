"""Bounds of metrics where labels are missing, held against every label that the missing ones could be, and against all labels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.judging.performance.live_metrics import Reading, fairness_names
from monitoring.judging.performance.outcome_sums import OutcomeSums, score_edges
from monitoring.judging.unlabelled.strata import Due, count_by_stratum, count_due, strata_edges, stratum_of_bins
from monitoring.judging.unlabelled.worst_case import worst_case
from training.evaluation.losses import METRICS
from training.profiles.bin_edges import numeric_edges
from training.schema.costs import Costs
from training.schema.prediction import Prediction

BINARY, MULTI = ("no", "yes"), ("a", "b", "c")
COSTS = {2: Costs(BINARY, ((0.0, 1.0), (7.0, 0.0))), 3: Costs(MULTI, ((-1.0, 1.0, 2.0), (7.0, 0.0, 3.0), (1.0, 1.0, 0.5)))}
MEANS = {"accuracy", "brier", "calibration_error", "cost", "log_loss"}
OF_CLASSES = sorted({name for name, metric in METRICS.items() if "binary" in metric.tasks} | {"cost"})


def answers(seed: int, n: int, classes: tuple[str, ...]) -> tuple[np.ndarray, Prediction]:
    """Labels and what was answered for them, by a model that is right at times."""
    rng = np.random.default_rng([seed, n])
    place = rng.integers(len(classes), size=n)
    odds = np.exp(rng.normal(0, 1.5, (n, len(classes))) + 1.5 * (place[:, None] == np.arange(len(classes))))
    probability = odds / odds.sum(axis=1, keepdims=True)
    names = np.array(classes, dtype=object)
    return names[place], Prediction(names[probability.argmax(axis=1)], probability, classes)


def counted(y: np.ndarray, prediction: Prediction, is_labelled: np.ndarray) -> tuple[OutcomeSums, Due, tuple[int, ...]]:
    """Return the sums of labelled rows, the rows without a label, and the stratum of each bin of the score."""
    is_binary = len(prediction.classes or ()) == 2
    reference = numeric_edges(prediction.score)
    bins, strata = score_edges(reference if is_binary else ()), strata_edges("binary", reference)
    labelled = prediction.take(is_labelled)
    group = np.zeros(len(labelled), np.intp)
    (sums,) = count_by_stratum(group, y[is_labelled], labelled, (bins, strata), is_binary=is_binary)
    (due,) = count_due(np.zeros(len(y), np.intp), prediction, strata, is_binary=is_binary)
    return sums, due.less(Due.of_labelled(sums)), stratum_of_bins(bins, strata) if is_binary else ()


def of_all(name: str, y: np.ndarray, prediction: Prediction) -> float:
    """Return a metric of all rows, as sums of all of them have it."""
    sums, _, _ = counted(y, prediction, np.ones(len(y), bool))
    return Reading(name, prediction.classes or (), COSTS[len(prediction.classes or ())]).value(sums)


def bounds(name: str, y: np.ndarray, prediction: Prediction, is_labelled: np.ndarray) -> tuple[float, float]:
    sums, unlabelled, place = counted(y, prediction, is_labelled)
    ends_of_it = worst_case(Reading(name, prediction.classes or (), COSTS[len(prediction.classes or ())]), sums, unlabelled, place)
    assert ends_of_it is not None
    return ends_of_it


def ends(name: str, y: np.ndarray, prediction: Prediction, is_labelled: np.ndarray) -> tuple[float, float]:
    """Try every label that the missing ones could be."""
    classes = prediction.classes or ()
    tried = []
    for missing in product(classes, repeat=int((~is_labelled).sum())):
        each = y.copy()
        each[~is_labelled] = missing
        tried.append(of_all(name, each, prediction))
    return float(np.nanmin(tried)), float(np.nanmax(tried))


SAMPLES = [answers(seed, 50, BINARY) for seed in range(2)]
MISSING = np.arange(50) < 46


@pytest.mark.parametrize("name", [*OF_CLASSES, *fairness_names("binary", "accuracy")[1:]])
def test_of_two_classes_the_bounds_are_what_every_labelling_comes_to(name: str) -> None:
    bounds_of = [bounds(name, *sample, MISSING) for sample in SAMPLES]

    exact = [ends(name, *sample, MISSING) for sample in SAMPLES]
    assert np.array(bounds_of) == pytest.approx(np.array(exact), abs=0.02 if name == "roc_auc" else 1e-9)
    assert all(low <= first + 1e-9 and last - 1e-9 <= high for (low, high), (first, last) in zip(bounds_of, exact, strict=True))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_of_three_classes_the_bounds_hold_what_every_labelling_comes_to(name: str) -> None:
    sample = answers(1, 40, MULTI)

    low, high = bounds(name, *sample, np.arange(40) < 36)

    first, last = ends(name, *sample, np.arange(40) < 36)
    assert low <= first + 1e-9
    assert last - 1e-9 <= high
    assert high - low <= (last - first) * (1.0 if name in MEANS else 3.0) + 1e-9


HOW = ("class", "score", "hits", "even")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.95), how=st.sampled_from(HOW), k=st.integers(2, 3))
def test_whatever_labels_are_missing_the_bounds_hold_what_it_is(seed: int, share: float, how: str, k: int) -> None:
    y, prediction = answers(seed, 120, (BINARY, MULTI)[k - 2])
    order = {
        "class": (y == y[0]) * 2.0, "score": prediction.score, "hits": (prediction.label == y) * 2.0, "even": np.zeros(120),
    }[how] + np.random.default_rng(seed).uniform(0, 1, 120)  # fmt: skip
    is_labelled = np.argsort(np.argsort(order)) < max(1, round(120 * share))

    bounds_of = {name: bounds(name, y, prediction, is_labelled) for name in OF_CLASSES}

    true = {name: of_all(name, y, prediction) for name in OF_CLASSES}
    outside = {
        name: (bounds_of[name], value)
        for name, value in true.items()
        if not bounds_of[name][0] - 1e-9 <= value <= bounds_of[name][1] + 1e-9
    }
    assert {name: one for name, one in outside.items() if not np.isnan(one[1])} == {}


def test_errors_of_a_regression_have_no_worst_case() -> None:
    sums = OutcomeSums(5, losses={"absolute_error": (3.0, 2.0)})

    assert worst_case(Reading("mae"), sums, Due({0: 2})) is None


def test_of_many_unlabelled_rows_the_area_is_as_bad_as_of_few_in_proportion() -> None:
    y, prediction = answers(3, 400, BINARY)
    is_labelled = np.arange(400) % 3 > 0

    few = bounds("roc_auc", y, prediction, is_labelled)

    many = Prediction(np.tile(prediction.label, 40), np.tile(prediction.probability, (40, 1)), BINARY)
    assert bounds("roc_auc", np.tile(y, 40), many, np.tile(is_labelled, 40)) == pytest.approx(few, abs=1e-4)
