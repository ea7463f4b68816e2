"""A member's map: its answers corrected by what came true on rows it was not trained on (pure).

Classes: ``softmax(slope * log(p) + intercept)``, of which the intercept moves the last of two classes and is 0 beyond two. Numbers:
``intercept + slope * y``. A map is pulled toward none at all, the identity, as if by `PRIOR_ROWS` rows, so few rows move it little.

References
----------
Platt: Probabilistic outputs for support vector machines, 1999. Gupta and Ramdas: Online Platt scaling with calibeating, ICML 2023.
Guo, Pleiss, Sun and Weinberger: On calibration of modern neural networks, ICML 2017 (one slope, where there are several classes).
Huber: Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35, 1964 (numbers, absolute errors).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from training.compiled.calibration_map import EDGE, remap
from training.evaluation.losses import class_index
from training.evaluation.weighted import effective
from training.mixing.labelled_rows import Floats, Labels
from training.schema.costs import decide
from training.schema.prediction import Prediction
from training.schema.rows import object_column

Map = tuple[float, float]
"""Slope and intercept."""

LEAST_ROWS = 100
"""Rows a map is learned from at least: with fewer the pull toward the identity has half of the say."""
LEAST_OF_CLASS = 10
"""Labels of a second class that are needed as well: by those of one class the surest of it is the best, whatever else it takes for it."""
PRIOR_ROWS = 50.0
LEAST_SLOPE = 0.01
"""A member that is right where it is sure to be wrong is made to say nothing; it is not turned round."""
_STEPS, _CLOSE, _SETTLED, _CONSTANT, _ROUNDING = 50, 1e-10, 1e-3, 1e-9, 1e-15
_NEAR = 0.01
"""Errors below this share of the mean error count as squared, so that those that are 0 have no infinite weight."""


def fit_map(answers: Prediction, y: Labels, *, weights: Floats | None = None, is_squared: bool = False) -> Map | None:
    """Learn a member's map from rows it was not trained on; the same whatever the order of the rows.

    Two classes minimise ``sum log-loss + 50 ((slope - 1)^2 + intercept^2 / 8)``: with an intercept for each class of half a share it
    is the same pull on all three. Several classes do without the intercept. Numbers minimise the sum of absolute (or squared) errors
    and those of 50 rows more, for which no map is right: half of them one standard deviation above the mean answer, half below.

    Parameters
    ----------
    answers
        What the member answers without a map, n rows.
    y
        The labels, shape (n,). Those of a class that the member does not know are left out: no map makes it answer them.
    weights
        How many rows each stands for, shape (n,), where labels were drawn; together they count as their effective number.
    is_squared
        Numbers: that it is squared errors that count, and not absolute ones.

    Returns
    -------
    Slope, at least `LEAST_SLOPE`, and intercept; None where there are fewer than `LEAST_ROWS` rows, or fewer than `LEAST_OF_CLASS` of a
    second class.

    Raises
    ------
    ValueError
        Lengths differ, or what is no number: in answers, labels or weights.

    Examples
    --------
    >>> shouted = np.tile([[0.01, 0.99], [0.99, 0.01]], (200, 1))  # sure of each answer, and one in five is wrong
    >>> true = np.array(["yes", "no", "yes", "no", "yes", "no", "yes", "no", "no", "yes"] * 40, dtype=object)
    >>> slope, intercept = fit_map(Prediction(true, shouted, ("no", "yes")), true)
    >>> round(slope, 2), round(abs(intercept), 2)
    (0.35, 0.0)
    >>> y = np.arange(500.0)
    >>> slope, intercept = fit_map(Prediction(y), 2.0 * y + 10.0)
    >>> round(slope, 1), round(intercept, 0)
    (2.0, 10.0)
    """
    n = len(y)
    if len(answers) != n or (weights is not None and len(weights) != n):
        raise ValueError(f"{n} labels, but {len(answers)} answers{'' if weights is None else f' and {len(weights)} weights'}")
    if n and (fault := answers.fault(n)):
        raise ValueError(f"a member {fault}")
    shares = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if len(bad := np.flatnonzero(~(np.isfinite(shares) & (shares >= 0)))):
        raise ValueError(f"row {bad[0]} has the weight {shares[bad[0]]}, wanted a number that is not negative")
    if answers.probability is None:
        return _of_numbers(np.asarray(answers.label, np.float64), np.asarray(y, np.float64), shares, is_squared)
    place = class_index(y, answers.classes)
    known = place >= 0
    if not has_two_classes(place[known]):
        return None
    return _of_classes(answers.probability[known], place[known], shares[known])


def has_two_classes(y: Labels) -> bool:
    """Return whether labels of classes tell enough to learn from: `LEAST_OF_CLASS` or more are of a second class.

    Examples
    --------
    >>> has_two_classes(np.array(["a"] * 90 + ["b"] * 9)), has_two_classes(np.array(["a"] * 90 + ["b"] * 10))
    (False, True)
    """
    counts = np.sort(np.unique(y, return_counts=True)[1])
    return len(counts) > 1 and int(counts[-2]) >= LEAST_OF_CLASS


def mapped(answers: Prediction, by: Map | None) -> Prediction:
    """Return what a member answers with a map; of classes the most probable one is decided.

    Examples
    --------
    >>> mapped(Prediction(np.array([1.0, 2.0])), (2.0, 0.5)).label.tolist()
    [2.5, 4.5]
    """
    if by is None:
        return answers
    slope, intercept = by
    if answers.probability is None or answers.classes is None:
        return Prediction(intercept + slope * np.asarray(answers.label, np.float64))
    probability = remap(answers.probability, slope, intercept)
    codes = decide(probability)
    return Prediction(object_column(answers.classes)[codes], probability, answers.classes, codes)


def _of_classes(probability: Floats, place: npt.NDArray[np.intp], counts: Floats) -> Map | None:
    order = np.lexsort((counts, place, *probability.T))
    place, weights = place[order], _scaled(counts[order])
    if weights is None:
        return None
    logs = np.log(np.clip(probability[order], EDGE, 1.0))
    if logs.shape[1] == 2:
        odds, hit = logs[:, 1] - logs[:, 0], place.astype(np.float64)
        slope, intercept = _descend(lambda point: _two_classes(point, odds, hit, weights), np.array([1.0, 0.0]))
        if slope < LEAST_SLOPE:
            fixed = LEAST_SLOPE * odds
            (intercept,) = _descend(lambda point: _offset(point, fixed, hit, weights), np.array([intercept]))
        return max(float(slope), LEAST_SLOPE), float(intercept)
    right = logs[np.arange(len(place)), place]
    by_class = np.ascontiguousarray(logs.T)
    (slope,) = _descend(lambda point: _several_classes(point, by_class, right, weights), np.array([1.0]))
    return max(float(slope), LEAST_SLOPE), 0.0


def _scaled(counts: Floats) -> Floats | None:
    """Return the weights scaled so that they sum to the rows that would tell as much; None where those are too few."""
    rows = effective(counts)
    return counts * (rows / float(counts.sum())) if rows >= LEAST_ROWS else None


Bend = tuple[float, Floats, Floats]
"""A function's value, gradient and second derivatives."""


def _descend(at: Callable[[Floats], Bend], point: Floats) -> Floats:
    """Return where a strictly convex function is least: Newton's steps, halved until they bring half of what they promise."""
    value, gradient, curvature = at(point)
    for _ in range(_STEPS):
        step = np.linalg.solve(curvature, gradient)
        promise = float(gradient @ step)
        if promise <= _CLOSE:
            break
        length = 1.0
        while True:
            closer = at(point - length * step)
            if closer[0] <= value - 0.25 * length * promise or length < 1e-6:
                break
            length /= 2
        point = point - length * step
        value, gradient, curvature = closer
    return point


def _two_classes(point: Floats, odds: Floats, hit: Floats, weights: Floats) -> Bend:
    slope, intercept = point
    logit = slope * odds + intercept
    away, bend = _logistic(logit, hit, weights)
    value = float(weights @ (np.logaddexp(0.0, logit) - hit * logit)) + PRIOR_ROWS * ((slope - 1) ** 2 + intercept**2 / 8)
    gradient = np.array([away @ odds + 2 * PRIOR_ROWS * (slope - 1), away.sum() + PRIOR_ROWS / 4 * intercept])
    cross = bend @ odds
    return value, gradient, np.array([[bend @ odds**2 + 2 * PRIOR_ROWS, cross], [cross, bend.sum() + PRIOR_ROWS / 4]])


def _offset(point: Floats, fixed: Floats, hit: Floats, weights: Floats) -> Bend:
    logit = fixed + point[0]
    away, bend = _logistic(logit, hit, weights)
    value = float(weights @ (np.logaddexp(0.0, logit) - hit * logit)) + PRIOR_ROWS / 8 * point[0] ** 2
    return value, np.array([away.sum() + PRIOR_ROWS / 4 * point[0]]), np.array([[bend.sum() + PRIOR_ROWS / 4]])


def _logistic(logit: Floats, hit: Floats, weights: Floats) -> tuple[Floats, Floats]:
    share = np.exp(-np.logaddexp(0.0, -logit))
    return weights * (share - hit), weights * share * (1 - share)


def _several_classes(point: Floats, logs: Floats, right: Floats, weights: Floats) -> Bend:
    """Return it for `logs` of shape (k, n), of which `right` are those of the labels."""
    logit = point[0] * logs
    top = logit.max(axis=0)
    exp = np.exp(logit - top)
    total = exp.sum(axis=0)
    mean = (exp * logs).sum(axis=0) / total
    spread = (exp * (logs - mean) ** 2).sum(axis=0) / total
    away = PRIOR_ROWS * (point[0] - 1)
    value = float(weights @ (top + np.log(total) - point[0] * right)) + away * (point[0] - 1)
    return value, np.array([weights @ (mean - right) + 2 * away]), np.array([[weights @ spread + 2 * PRIOR_ROWS]])


def _of_numbers(answers: Floats, y: Floats, counts: Floats, is_squared: bool) -> Map | None:
    if len(bad := np.flatnonzero(~np.isfinite(y))):
        raise ValueError(f"row {bad[0]} has the label {y[bad[0]]}, wanted a number")
    order = np.lexsort((counts, y, answers))
    answers, y, weights = answers[order], y[order], _scaled(counts[order])
    if weights is None:
        return None
    unit = float(max(np.abs(answers).max(), np.abs(y).max())) or 1.0
    x, error = answers / unit, y / unit - answers / unit
    mean = float(weights @ x / weights.sum())
    spread = math.sqrt(float(weights @ (x - mean) ** 2 / weights.sum()))
    regress = _least_squares if is_squared else _least_absolute
    if spread <= _CONSTANT * abs(mean):
        return 1.0, unit * float(regress(error, np.zeros_like(x), weights)[0])
    shift, tilt = regress(error, (x - mean) / spread, weights)
    slope = 1.0 + float(tilt) / spread
    if slope < LEAST_SLOPE:
        slope = LEAST_SLOPE
        shift, _ = regress(error + (1 - slope) * (x - mean), np.zeros_like(x), weights)
    return slope, unit * (float(shift) + (1.0 - slope) * mean)


def _least_squares(error: Floats, tilted: Floats, weights: Floats) -> Floats:
    """Return shift, and tilt along standardised answers (0 where they do not vary), that leave the least squares."""
    columns = np.stack([np.ones_like(tilted), tilted])
    return np.asarray(np.linalg.solve((columns * weights) @ columns.T + PRIOR_ROWS * np.eye(2), columns @ (weights * error)))


def _least_absolute(error: Floats, tilted: Floats, weights: Floats) -> Floats:
    """Return the same that leave the least absolute errors: least squares again and again, where a row counts by 1 / its error.

    The prior is that of half of its rows one spread above the mean, half below, whose errors vary around no map as the others around
    this one: with a Laplace distribution of the same mean b, of which E|e - d| = |d| + b exp(-|d| / b).
    """
    columns = np.stack([np.ones_like(tilted), tilted])
    ends = np.array([[1.0, 1.0], [-1.0, 1.0]])
    point = np.zeros(2)
    for _ in range(_STEPS):
        left = np.abs(error - point @ columns)
        mean = float(weights @ left / weights.sum())
        if mean <= _ROUNDING:
            break
        counted = weights / np.maximum(left, _NEAR * mean)
        away = np.maximum(np.abs(ends @ point), 1e-6 * mean)
        pull = PRIOR_ROWS / 2 * -np.expm1(-away / mean) / away
        before = point
        point = np.linalg.solve((columns * counted) @ columns.T + (ends.T * pull) @ ends, columns @ (counted * error))
        if np.abs(point - before).max() <= _SETTLED * mean:
            break
    return point
