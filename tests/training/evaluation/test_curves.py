"""Curves against scikit-learn's, and what they are for few, many, one-sided and odd rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, confusion_matrix, roc_auc_score

from training.evaluation.curves import BINS, MOST_POINTS, curves_of, roc_curve
from training.schema.prediction import Prediction


def binary(seed: int, n: int) -> tuple[np.ndarray, Prediction]:
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    y = np.where(rng.random(n) < score, "yes", "no").astype(object)
    probability = np.stack([1 - score, score], axis=1)
    return y, Prediction(np.where(score > 0.5, "yes", "no").astype(object), probability, ("no", "yes"))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), max_size=60))
@settings(max_examples=60)
def test_the_area_under_all_corners_is_the_auc(rows: list[tuple[bool, float]]) -> None:
    is_class = np.array([side for side, _ in rows], dtype=bool)
    score = np.array([value for _, value in rows])

    corners = roc_curve(is_class, score)

    both = 0 < is_class.sum() < len(is_class)
    assert bool(corners) == both
    assert not both or auc(*zip(*corners, strict=True)) == pytest.approx(roc_auc_score(is_class, score), abs=1e-12)
    assert list(corners) == sorted(corners)


def test_of_many_corners_200_are_kept_and_the_area_stays() -> None:
    y, prediction = binary(1, 20_000)

    (corners,) = (curves_of(y, prediction).roc or {}).values()

    assert len(corners) <= MOST_POINTS
    assert (corners[0], corners[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert auc(*zip(*corners, strict=True)) == pytest.approx(roc_auc_score(y == "yes", prediction.score), abs=0.002)


def test_two_classes_are_counted_by_confidence_score_and_class() -> None:
    y, prediction = binary(2, 500)

    curves = curves_of(y, prediction)

    assert curves.n == 500
    assert curves.right == int((y == prediction.label).sum())
    in_first = prediction.score < 0.1
    mean, rows, hits = curves.calibration[0]
    assert (mean, rows, hits) == (pytest.approx(prediction.score[in_first].mean()), in_first.sum(), (y[in_first] == "yes").sum())
    assert sum(rows for _, rows, _ in curves.calibration) == 500
    assert np.array(curves.scores).sum(axis=0).tolist() == pytest.approx([1.0, 1.0])
    assert len(curves.scores) == BINS
    table = [list(row.values()) for row in (curves.confusion or {}).values()]
    assert table == confusion_matrix(y.astype(str), prediction.label.astype(str)).tolist()


def test_of_many_classes_the_commonest_stand_apart_and_all_rows_are_counted() -> None:
    rng = np.random.default_rng(3)
    names = tuple(f"c{number:02}" for number in range(40))
    weights = np.arange(40, 0, -1) / np.arange(40, 0, -1).sum()
    y = rng.choice(np.array(names, object), 2_000, p=weights)
    probability = rng.dirichlet(np.ones(40), 2_000)

    curves = curves_of(y, Prediction(np.array(names, object)[probability.argmax(axis=1)], probability, names))

    assert len(curves.roc or {}) == 6
    assert "c00" in (curves.roc or {})
    assert len(curves.confusion or {}) == 21
    assert sum(sum(row.values()) for row in (curves.confusion or {}).values()) == 2_000


def test_numbers_have_bands_and_residuals() -> None:
    rng = np.random.default_rng(4)
    predicted = rng.normal(10, 3, 1_000)
    y = predicted + rng.normal(0, 1, 1_000)

    curves = curves_of(y, Prediction(predicted))

    assert [len(curves.bands), len(curves.residuals[1])] == [10, BINS]
    assert curves.bands[0].predicted == pytest.approx(np.sort(predicted)[:100].mean())
    assert all(band.low <= band.true <= band.high for band in curves.bands)
    assert sum(curves.residuals[1]) == pytest.approx(1.0)
    assert curves.off == pytest.approx(np.quantile(np.abs(y - predicted), [0.5, 0.9]))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows_have_the_curves_that_they_define(n: int) -> None:
    y, prediction = binary(5, n)
    numbers = np.arange(float(n))

    assert curves_of(y, prediction).n == n
    assert curves_of(numbers, Prediction(numbers)).n == n
    assert curves_of(numbers, Prediction(numbers)).to_dict()["n"] == n
