"""The map from a pipeline's probabilities to calibrated ones; `training.fitting.calibration` learns it."""

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
