"""Metrics of rows that stand for more rows than one, or for fewer: self-normalised inverse-probability weighting (pure).

References
----------
Hájek: Comment on an essay of D. Basu, in Godambe and Sprott: Foundations of statistical inference, 1971.
"""

from __future__ import annotations

import math

import numpy as np

from training.evaluation.losses import (
    CALIBRATION_BINS,
    Floats,
    Labels,
    Metric,
    auc_questions,
    class_index,
    confusion_scores,
    outcomes,
    squared_errors,
)
from training.schema.prediction import Prediction

_OF_CONFUSION = frozenset({"balanced_accuracy", "precision", "recall", "f1"})


def weighted(metric: Metric, y: Labels, prediction: Prediction, weights: Floats) -> float:
    """Return a metric of rows with weights; with equal ones what it is without.

    Parameters
    ----------
    weights
        How many rows each stands for, shape (n,), not negative.

    Returns
    -------
    NaN where the rows do not define it.

    Raises
    ------
    ValueError
        The metric is no mean over rows and none of ours.

    Examples
    --------
    >>> from training.evaluation.losses import METRICS
    >>> y, answered = np.array([1.0, 2.0]), Prediction(np.array([1.0, 5.0]))
    >>> weighted(METRICS["mae"], y, answered, np.array([2.0, 1.0]))
    1.0
    """
    total = float(weights.sum())
    if not len(y) or total <= 0.0:
        return math.nan
    if metric.per_row_loss is not None:
        mean = float(metric.per_row_loss(y, prediction) @ weights) / total
        return 1.0 - mean if metric.name == "accuracy" else mean
    if metric.name in _OF_CONFUSION:
        return _of_confusion(metric.name, y, prediction, weights)
    match metric.name:
        case "rmse":
            return math.sqrt(float(squared_errors(y, prediction) @ weights) / total)
        case "r2":
            return _r2(y, prediction, weights)
        case "roc_auc":
            return _roc_auc(y, prediction, weights)
        case "calibration_error":
            return _calibration_error(y, prediction, weights)
    raise ValueError(f"{metric.name} is no mean over rows, and not known with weights")


def effective(weights: Floats) -> float:
    """Return how many rows of equal weight would tell as much (Kish).

    Examples
    --------
    >>> effective(np.ones(7)), round(effective(np.array([1.0, 1.0, 10.0])), 2)
    (7.0, 1.41)
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _of_confusion(name: str, y: Labels, prediction: Prediction, weights: Floats) -> float:
    known = prediction.classes or ()
    names = (*known, *sorted((set(y.tolist()) | set(prediction.label.tolist())) - set(known)))
    k = len(names)
    cells = class_index(y, names) * k + class_index(prediction.label, names)
    table = np.bincount(cells, weights, minlength=k * k).reshape(k, k)
    return float(confusion_scores(table, binary=len(known) == 2)[name])


def _r2(y: Labels, prediction: Prediction, weights: Floats) -> float:
    values = np.asarray(y, np.float64)[weights > 0]
    if values.min() == values.max():
        return math.nan
    share = weights[weights > 0] / weights.sum()
    spread = float((values - values @ share) ** 2 @ share)
    return 1.0 - float(squared_errors(y, prediction) @ weights) / float(weights.sum()) / spread


def _roc_auc(y: Labels, prediction: Prediction, weights: Floats) -> float:
    """Return the share of pairs, weighted by the product of their weights, whose positive has the higher score; ties count half."""
    areas = []
    for is_class, score in auc_questions(y, prediction):
        _, place = np.unique(score, return_inverse=True)
        up, down = (np.bincount(place, np.where(side, weights, 0.0)) for side in (is_class, ~is_class))
        pairs = float(up.sum() * down.sum())
        if pairs > 0.0:
            areas.append(float(up @ (np.cumsum(down) - down / 2)) / pairs)
    return float(np.mean(areas)) if areas else math.nan


def _calibration_error(y: Labels, prediction: Prediction, weights: Floats) -> float:
    outcome = outcomes(y, prediction)
    place = np.minimum((prediction.score * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    gaps = np.bincount(place, weights * (prediction.score - outcome), CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / weights.sum())
