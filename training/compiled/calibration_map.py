"""The map from a model's answers to calibrated ones; `training.fitting.calibration` learns that of its probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

EDGE = 1e-6
"""No probability is taken as smaller before its logarithm is."""
Floats = npt.NDArray[np.float64]
Intercept = float | tuple[float, ...]
Map = tuple[float, Intercept]


def composed(first: Map, second: Map) -> Map:
    """Return the one map that does what two do after each other; the second one has no intercepts by class.

    Examples
    --------
    >>> composed((1.0, (0.5, -0.5, 0.0)), (2.0, 0.0)), composed((1.0, 0.5), (2.0, 0.25))
    ((2.0, (1.0, -1.0, 0.0)), (2.0, 1.25))
    """
    (slope, intercept), (factor, more) = first, second
    if isinstance(intercept, tuple):
        return factor * slope, tuple(factor * each for each in intercept)
    if isinstance(more, tuple):
        raise ValueError("the second map has intercepts by class")
    return factor * slope, factor * intercept + more


def remap(probability: Floats, slope: float, intercept: Intercept) -> Floats:
    """Map probabilities, shape (n, k).

    Parameters
    ----------
    intercept
        One a class; or a single one, which moves the last column of two and is unused otherwise.
    """
    logit = slope * np.log(np.clip(probability, EDGE, 1.0))
    if isinstance(intercept, tuple):
        logit += np.array(intercept)
    elif probability.shape[1] == 2:
        logit[:, 1] += intercept
    exp = np.exp(logit - logit.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def mapped_values(values: Floats, slope: float, intercept: Intercept) -> Floats:
    """Map the values of a regression, shape (n,).

    Examples
    --------
    >>> mapped_values(np.array([1.0, 2.0]), 1.5, 1.0).tolist()
    [2.5, 4.0]
    """
    return np.asarray(intercept + slope * values, dtype=np.float64)


def refuse_intercept(intercept: float, k: int) -> None:
    """Refuse the intercept of a map of the probabilities of k classes where there are more than two.

    Raises
    ------
    ValueError
        There is one.

    Examples
    --------
    >>> refuse_intercept(0.5, 3)
    Traceback (most recent call last):
    ValueError: a map of 3 classes has no intercept, this one has 0.5
    """
    if k != 2 and intercept != 0.0:
        raise ValueError(f"a map of {k} classes has no intercept, this one has {intercept}")
