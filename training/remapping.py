"""The map from a pipeline's probabilities to calibrated ones; `training.calibration` learns it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_EDGE = 1e-6
Floats = npt.NDArray[np.float64]


def remap(probability: Floats, slope: float, intercept: float) -> Floats:
    """Map probabilities, shape (n, k); `intercept` moves the last column of two and is unused otherwise."""
    logit = slope * np.log(np.clip(probability, _EDGE, 1.0))
    if probability.shape[1] == 2:
        logit[:, 1] += intercept
    exp = np.exp(logit - logit.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))
