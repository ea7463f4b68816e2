"""From which probability on the positive of two classes is decided, for metrics that count labels (pure).

A calibrated probability of a half is where most labels are right. That is what accuracy asks for; F1 and balanced accuracy ask for
something else, which moves with the share of the positive class.

References
----------
Lipton, Elkan and Naryanaswamy: Optimal thresholding of classifiers to maximize F1 measure, ECML PKDD 2014. Menon, Narasimhan, Agarwal
and Chawla: On the statistical consistency of algorithms for binary classification under class imbalance, ICML 2013.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from training.evaluation.losses import METRICS, Floats, Labels, Metric
from training.evaluation.weighted import effective
from training.schema.prediction import Prediction

COUNTING = ("f1", "balanced_accuracy")
"""The metrics a threshold is chosen for. Accuracy has its best at a half; precision alone asks for 1, recall alone for 0."""
USUAL = 0.5
LEAST_ROWS, LEAST_OF_CLASS = 200, 20
"""Rows, and labels of each class, that one is chosen from at least: half of them choose for the other half, in 25 blocks of eight."""
PRIOR_ROWS = 300.0
"""Rows by which what is counted is pulled to what calibrated probabilities say. Chosen from 300 rows of elec2 and used for the next 300, F1
is 0.706 so and 0.696 without (oracle 0.786), of employment_ma 0.831 and 0.828; of bank_marketing 0.200 and 0.204. From 3,000 rows it is
the same with and without."""
LEVEL = 0.05
_DISTINCT = 1e-5  # scores nearer to each other have no threshold between them


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """Which threshold is decided by from now on.

    Attributes
    ----------
    threshold
        None decides the most probable class.
    evidence
        As plain JSON values: rows, gain, and what it would have to be.
    why
        In words.
    """

    threshold: float | None
    has_moved: bool
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def best_threshold(
    y: Labels, prediction: Prediction, metric: str, *, weights: Floats | None = None, prior_rows: float = PRIOR_ROWS
) -> float | None:
    """Return the threshold that is best on some rows.

    Parameters
    ----------
    y
        Labels, shape (n,).
    prediction
        Of two classes, the positive one last; its probabilities count only.
    metric
        One of `COUNTING`.
    weights
        How many rows each stands for, shape (n,).
    prior_rows
        As if by so many rows, a label is taken as its probability.

    Returns
    -------
    It lies in the middle between two scores that occur; None where there is no row of one of the classes.

    Examples
    --------
    >>> positive = np.array([0.1, 0.2, 0.3, 0.4])
    >>> answers = Prediction(np.full(4, "no", object), np.stack([1 - positive, positive], axis=1), ("no", "yes"))
    >>> best_threshold(np.array(["no", "no", "yes", "yes"], object), answers, "f1", prior_rows=0.0)
    0.25
    """
    if prediction.probability is None or prediction.classes is None or len(prediction.classes) != 2:
        return None
    counts = np.ones(len(y)) if weights is None else weights
    true, score = np.asarray(y == prediction.classes[1], np.float64), prediction.probability[:, 1]
    if not 0.0 < float(counts @ true) < float(counts.sum()):
        return None
    share = effective(counts) / (effective(counts) + prior_rows)
    order = np.argsort(-score, kind="stable")
    score, counts, true = score[order], counts[order], (share * true + (1.0 - share) * score)[order]
    hits, rows = np.cumsum(counts * true), np.cumsum(counts)
    if metric == "f1":
        value = 2.0 * hits / (rows + hits[-1])
    else:
        value = hits / hits[-1] - (rows - hits) / (rows[-1] - hits[-1])
    below = np.append(score[1:], 0.0)
    ends = score - below > _DISTINCT
    ends[-1] = True
    place = int(np.where(ends, value, -np.inf).argmax())
    return round(float(score[place] + below[place]) / 2.0, 6)


def choose_threshold(
    y: Labels, prediction: Prediction, metric: Metric, present: float | None, *, weights: Floats | None = None, level: float = LEVEL
) -> ThresholdChoice:
    """Choose the threshold anew from rows the model was not fitted on; it stays where another one is not proven better.

    What is judged is the choice itself: the first half of the rows is decided by the threshold that is best on the second, and the second
    by that of the first, against the present one on the same rows (jackknife over blocks of time). So one that is best by chance, on the
    rows it was chosen from, moves nothing.

    Parameters
    ----------
    y
        Labels in the order of time, shape (n,).
    metric
        One of `COUNTING`.
    present
        None decides the most probable class.
    weights
        How many rows each stands for, where labels were drawn.
    level
        One-sided: with this probability a threshold moves to one that is no better.
    """
    counts = np.ones(len(y)) if weights is None else weights
    names = prediction.classes or ()
    of_class = [effective(counts[y == name]) for name in names]
    evidence: dict[str, Any] = {
        "metric": metric.name,
        "rows": len(y),
        "of_class": {name: round(count) for name, count in zip(names, of_class, strict=True)},
        "wanted_rows": LEAST_ROWS,
        "wanted_of_class": LEAST_OF_CLASS,
        "level": level,
        "before": present,
    }
    if len(names) != 2 or effective(counts) < LEAST_ROWS or min(of_class) < LEAST_OF_CLASS:
        rarer = f"{round(min(of_class))} of a class" if len(of_class) == 2 else "one class"
        wanted = f"{LEAST_ROWS} rows and {LEAST_OF_CLASS} of each class are the least"
        return _kept(present, f"{len(y)} rows with {rarer}, {wanted}", evidence)
    half = len(y) // 2
    parts = slice(0, half), slice(half, len(y))
    first, second = (best_threshold(y[part], prediction.take(part), metric.name, weights=counts[part]) for part in parts)
    best = best_threshold(y, prediction, metric.name, weights=weights)
    if first is None or second is None or best is None:
        return _kept(present, "one half of the rows is of one class", evidence)
    crossed = Prediction.concat([prediction.take(parts[0]).decided(second), prediction.take(parts[1]).decided(first)])
    now = prediction.decided(USUAL if present is None else present)
    from training.evaluation.gate import jackknife_difference  # it needs scipy, and the service, which reads model files, does not

    difference = jackknife_difference(metric, y, now, crossed, level=level, weights=weights)
    numbers = {"gain": difference.estimate, "gain_low": difference.low}
    evidence |= {"best": best, **{name: value if math.isfinite(value) else None for name, value in numbers.items()}, "least_gain": 0.0}
    words = f"gain in {metric.name} {difference.estimate:.4g}, at least {difference.low:.4g} at level {level:g}, of {len(y)} rows"
    if not (difference.is_defined and difference.low > 0.0):
        return _kept(present, words, evidence)
    return ThresholdChoice(best, True, words, {**evidence, "after": best})


def _kept(present: float | None, why: str, evidence: Mapping[str, Any]) -> ThresholdChoice:
    return ThresholdChoice(present, False, why, {**evidence, "after": present})


def at_best_threshold(metric: Metric) -> Metric:
    """Return a metric of `COUNTING` as what answers reach with the threshold that is best for them: what candidates are compared by.

    Each has its own on the same rows, the constant guess too: it then decides the positive class everywhere, where that is better.
    """
    return replace(metric, function=partial(_at_best, metric.name))


def at_threshold(metric: Metric, threshold: float) -> Metric:
    """Return a metric of answers that are decided by a threshold."""
    return replace(metric, function=partial(_at, metric, threshold))


def best_decided(y: Labels, prediction: Prediction, metric: str) -> Prediction:
    """Return answers decided by the threshold that is best on these rows; as they are where there is none."""
    best = best_threshold(y, prediction, metric, prior_rows=0.0)
    return prediction if best is None else prediction.decided(best)


def _at_best(name: str, y: Labels, prediction: Prediction) -> float:
    return METRICS[name].function(y, best_decided(y, prediction, name))


def _at(metric: Metric, threshold: float, y: Labels, prediction: Prediction) -> float:
    return metric.function(y, prediction.decided(threshold))
