"""Losses of rows and the metrics made of them: what a model can be chosen and judged by (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from training.schema.costs import Costs, decide
from training.schema.prediction import Prediction
from training.schema.rows import object_column

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]
CLIP = 1e-7
"""No probability is taken as smaller in the log-loss: one certain mistake costs at most 16.1."""
CALIBRATION_BINS = 10
COST = "cost"
"""The metric of a model file with `training.costs`: what the decisions cost in the mean."""
_CLASSES = ("binary", "multiclass")
ANY = (-math.inf, math.inf)
_SHARE = (0.0, 1.0)
_LOSS = (0.0, math.inf)


@dataclass(frozen=True, slots=True)
class Metric:
    """One score.

    Attributes
    ----------
    function
        ``function(y, prediction) -> float``; NaN where the rows do not define it (one class only, no row).
    per_row_loss
        ``per_row_loss(y, prediction)``, shape (n,), whose mean is the metric (for accuracy: what it lacks to 1);
        None when the metric is no mean over rows.
    range
        The least and the most that it can be.
    """

    name: str
    higher_is_better: bool
    tasks: tuple[str, ...]
    function: Callable[[Labels, Prediction], float]
    per_row_loss: Callable[[Labels, Prediction], Floats] | None = None
    range: tuple[float, float] = ANY

    def gain(self, new: float, old: float) -> float:
        """Return by how much `new` is better than `old`; positive is better, whatever the direction."""
        return new - old if self.higher_is_better else old - new

    def interval(self, value: float, half: float) -> tuple[float, float]:
        """Return the interval of half that width around a value, cut to what the metric can be; it holds the value."""
        least, most = self.range
        return min(max(value - half, least), value), max(min(value + half, most), value)


def class_index(y: Labels, classes: tuple[str, ...] | None) -> npt.NDArray[np.intp]:
    """Return the place of each label among `classes`, -1 for others; shape (n,)."""
    places = {name: i for i, name in enumerate(classes or ())}
    return np.array([places.get(v, -1) for v in y.tolist()], dtype=np.intp)


def miss(y: Labels, prediction: Prediction) -> Floats:
    """Return 1 for a wrong label and 0 for a right one."""
    return np.asarray(prediction.label != y, dtype=np.float64)


def log_losses(y: Labels, prediction: Prediction) -> Floats:
    """Return the negative log of the probability given to the true class; at most -log(1e-7)."""
    return -np.log(np.clip(true_probability(y, prediction), CLIP, 1.0))


def true_probability(y: Labels, prediction: Prediction) -> Floats:
    """Return the probability given to the true class of each row; 0 for a class the model does not know."""
    if prediction.probability is None:
        raise ValueError("this prediction has no probabilities")
    place = class_index(y, prediction.classes)
    out = prediction.probability[np.arange(len(y)), np.maximum(place, 0)]
    return np.where(place >= 0, out, 0.0)


def brier_losses(y: Labels, prediction: Prediction) -> Floats:
    """Return the squared error of the probabilities (binary: of the positive class; else summed over the classes)."""
    if prediction.probability is None:
        raise ValueError("this prediction has no probabilities")
    place = class_index(y, prediction.classes)
    hit = place[:, None] == np.arange(prediction.probability.shape[1])
    squares = (prediction.probability - hit) ** 2
    total: Floats = squares.sum(axis=1) + (place < 0)
    return total / 2 if prediction.probability.shape[1] == 2 else total


def absolute_errors(y: Labels, prediction: Prediction) -> Floats:
    """Return the absolute errors."""
    return np.abs(np.asarray(y, np.float64) - np.asarray(prediction.label, np.float64))


def squared_errors(y: Labels, prediction: Prediction) -> Floats:
    """Return the squared errors."""
    return absolute_errors(y, prediction) ** 2


def confusion(y: Labels, prediction: Prediction) -> npt.NDArray[np.int64]:
    """Count true class (row) against predicted class (column), over all classes that occur; binary order is kept."""
    known = prediction.classes or ()
    names = (*known, *sorted((set(y.tolist()) | set(prediction.label.tolist())) - set(known)))
    true, predicted = class_index(y, names), class_index(prediction.label, names)
    k = len(names)
    return np.bincount(true * k + predicted, minlength=k * k).reshape(k, k).astype(np.int64)


def confusion_scores(table: npt.NDArray[Any], *, binary: bool) -> dict[str, Floats]:
    """Return accuracy, balanced accuracy, precision, recall and F1 of confusion tables, shape (..., k, k).

    Binary ones score the last (positive) class, others are the mean over the classes that occur in the labels.
    """
    with np.errstate(invalid="ignore"):
        diagonal = np.diagonal(table, axis1=-2, axis2=-1)
        actual, predicted = table.sum(axis=-1), table.sum(axis=-2)
        recall = np.where(actual > 0, diagonal / actual, np.nan)
        precision = np.where(predicted > 0, diagonal / predicted, np.where(actual > 0, 0.0, np.nan))
        f1 = np.where(actual > 0, 2 * diagonal / (actual + predicted), np.nan)
        occurs = actual > 0
        mean = {n: _mean_where(v, occurs) for n, v in {"recall": recall, "precision": precision, "f1": f1}.items()}
        if binary:
            mean_recall = mean["recall"]
            mean = {"recall": recall[..., -1], "precision": precision[..., -1], "f1": f1[..., -1]}
            return {"accuracy": diagonal.sum(-1) / table.sum((-2, -1)), "balanced_accuracy": mean_recall, **mean}
        return {"accuracy": diagonal.sum(-1) / table.sum((-2, -1)), "balanced_accuracy": mean["recall"], **mean}


def _mean_where(values: Floats, keep: npt.NDArray[np.bool_]) -> Floats:
    return np.asarray(np.where(keep, values, 0.0).sum(-1) / keep.sum(-1))


def _confusion_score(name: str, y: Labels, prediction: Prediction) -> float:
    if not len(y):
        return math.nan
    binary = prediction.classes is not None and len(prediction.classes) == 2
    return float(confusion_scores(confusion(y, prediction), binary=binary)[name])


def auc_parts(y: Labels, prediction: Prediction) -> list[tuple[Floats, Floats]]:
    """Return the placements (of the positives, of the negatives) of each one-against-rest question with both present.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson: Comparing the areas under two or more correlated ROC curves, Biometrics 1988.
    """
    parts = []
    for is_class, score in auc_questions(y, prediction):
        m, n = int(is_class.sum()), int((~is_class).sum())
        if m and n:
            ranks = midranks(score)
            up = (ranks[is_class] - midranks(score[is_class])) / n
            down = 1.0 - (ranks[~is_class] - midranks(score[~is_class])) / m
            parts.append((up, down))
    return parts


def auc_questions(y: Labels, prediction: Prediction) -> list[tuple[npt.NDArray[np.bool_], Floats]]:
    """Return which rows are of the class, and their score, for each class against the rest; of two classes for the positive one only."""
    if prediction.probability is None or prediction.classes is None:
        raise ValueError("this prediction has no probabilities")
    place, k = class_index(y, prediction.classes), len(prediction.classes)
    return [(place == column, prediction.probability[:, column]) for column in ([1] if k == 2 else range(k))]


def roc_auc(y: Labels, prediction: Prediction) -> float:
    """Return the area under the ROC curve; of several classes the mean of one against the rest."""
    parts = auc_parts(y, prediction)
    return float(np.mean([up.mean() for up, _ in parts])) if parts else math.nan


def calibration_table(y: Labels, prediction: Prediction) -> Floats:
    """Return count, summed confidence and summed outcome in ten equal bins of the confidence, shape (10, 3).

    The confidence is the probability of the positive class, or of the predicted one when there are several.
    """
    outcome = outcomes(y, prediction)
    place = np.minimum((prediction.score * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    columns = [None, prediction.score, outcome]
    return np.stack([np.bincount(place, w, CALIBRATION_BINS) for w in columns], axis=1)


def outcomes(y: Labels, prediction: Prediction) -> npt.NDArray[np.bool_]:
    """Return whether each row is of the class that its confidence is about: the positive one, or of several the one decided."""
    if prediction.probability is None or prediction.classes is None:
        raise ValueError("this prediction has no probabilities")
    binary = len(prediction.classes) == 2
    sure_of = prediction.classes[-1] if binary else object_column(prediction.classes)[decide(prediction.probability)]
    return np.asarray(y == sure_of, dtype=bool)


def calibration_error(y: Labels, prediction: Prediction) -> float:
    """Return the expected calibration error: mean gap between confidence and outcome, by ten equal bins.

    References
    ----------
    Naeini, Cooper, Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
    """
    table = calibration_table(y, prediction)
    return float(np.abs(table[:, 1] - table[:, 2]).sum() / len(y)) if len(y) else math.nan


def r2(y: Labels, prediction: Prediction) -> float:
    """Return the share of the variance explained; NaN when the labels do not vary."""
    values = np.asarray(y, np.float64)
    if not len(values) or values.min() == values.max():
        return math.nan
    return 1.0 - float(squared_errors(y, prediction).mean() / values.var())


def mean_loss(loss: Callable[[Labels, Prediction], Floats], y: Labels, prediction: Prediction) -> float:
    """Return the mean of the losses of rows; NaN without any row."""
    return float(loss(y, prediction).mean()) if len(y) else math.nan


def _rmse(y: Labels, prediction: Prediction) -> float:
    return float(np.sqrt(squared_errors(y, prediction).mean())) if len(y) else math.nan


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("accuracy", True, _CLASSES, partial(_confusion_score, "accuracy"), miss, _SHARE),
        Metric("balanced_accuracy", True, _CLASSES, partial(_confusion_score, "balanced_accuracy"), range=_SHARE),
        Metric("precision", True, _CLASSES, partial(_confusion_score, "precision"), range=_SHARE),
        Metric("recall", True, _CLASSES, partial(_confusion_score, "recall"), range=_SHARE),
        Metric("f1", True, _CLASSES, partial(_confusion_score, "f1"), range=_SHARE),
        Metric("roc_auc", True, _CLASSES, roc_auc, range=_SHARE),
        Metric("log_loss", False, _CLASSES, partial(mean_loss, log_losses), log_losses, (0.0, -math.log(CLIP))),
        Metric("brier", False, _CLASSES, partial(mean_loss, brier_losses), brier_losses, (0.0, 2.0)),
        Metric("calibration_error", False, _CLASSES, calibration_error, range=_SHARE),
        Metric("mae", False, ("regression",), partial(mean_loss, absolute_errors), absolute_errors, _LOSS),
        Metric("rmse", False, ("regression",), _rmse, range=_LOSS),
        Metric("r2", True, ("regression",), r2, range=(-math.inf, 1.0)),
    )
}
"""Every metric by its name."""


def cost_metric(costs: Costs) -> Metric:
    """Return the mean cost of decisions as a metric."""
    values = [cost for row in costs.table for cost in row]
    loss = partial(_costs_of_rows, costs)
    return Metric(COST, False, _CLASSES, partial(mean_loss, loss), loss, (min(values), max(values)))


def _costs_of_rows(costs: Costs, y: Labels, prediction: Prediction) -> Floats:
    return costs.of_rows(y, prediction.label)


def range_of(name: str) -> tuple[float, float]:
    """Return the least and the most that a metric can be, as far as its name tells: a user's own and costs can be anything.

    Examples
    --------
    >>> range_of("mae"), range_of("accuracy"), range_of("own:metric")
    ((0.0, inf), (0.0, 1.0), (-inf, inf))
    """
    return METRICS[name].range if name in METRICS else ANY


def is_higher_better(name: str) -> bool:
    """Return whether more of a metric is better; what is none of `METRICS` is a loss."""
    return name in METRICS and METRICS[name].higher_is_better


def gain(name: str, new: float, old: float) -> float:
    """Return by how much a value of a metric is better than another; positive is better."""
    return new - old if is_higher_better(name) else old - new


DEFAULT_METRIC = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mae"}


def midranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rank of each value, from 1; equal values share the mean of theirs.

    Examples
    --------
    >>> midranks(np.array([2.0, 1.0, 2.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])
