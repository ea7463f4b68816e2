"""Calibrated probabilities: a fitted pipeline with its scores mapped by what came true on later rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin

from training.metrics import class_index, log_losses
from training.prediction import Prediction
from training.remapping import remap

MIN_ROWS, MIN_PER_CLASS = 100, 10

Floats = npt.NDArray[np.float64]


class CalibratedPipeline(ClassifierMixin, BaseEstimator):
    """A fitted pipeline whose probabilities are mapped: ``softmax(slope * log(p) + intercept)``.

    Two classes have a slope and an intercept (Platt's sigmoid on the log-odds), more a slope only (temperature).

    References
    ----------
    Platt: Probabilistic outputs for support vector machines, 1999. Guo, Pleiss, Sun, Weinberger: On calibration of
    modern neural networks, ICML 2017.
    """

    def __init__(self, pipeline: Any, slope: float, intercept: float) -> None:
        self.pipeline = pipeline
        self.slope = slope
        self.intercept = intercept

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes of the pipeline, in its order."""
        return np.asarray(self.pipeline.classes_)

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the pipeline again; the map stays."""
        self.pipeline.fit(X, y)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Return calibrated probabilities, shape (n_rows, n_classes)."""
        return remap(np.asarray(self.pipeline.predict_proba(X), np.float64), self.slope, self.intercept)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def learn_map(y: npt.NDArray[Any], prediction: Prediction) -> tuple[tuple[float, float] | None, str]:
    """Learn slope and intercept on rows the model was not fitted on.

    Returns
    -------
    tuple
        The map, or None when there is none worth having, and in words what was done or why not.
    """
    if prediction.probability is None or prediction.classes is None:
        return None, "none: a regression has no probabilities"
    place = class_index(y, prediction.classes)
    counts = np.bincount(place[place >= 0], minlength=len(prediction.classes))
    if len(y) < MIN_ROWS or (counts >= MIN_PER_CLASS).sum() < 2:
        return None, f"none: needs {MIN_ROWS} later rows with {MIN_PER_CLASS} of two classes, there were {len(y)}"
    binary = len(prediction.classes) == 2

    def loss(point: Floats) -> float:
        mapped = remap(prediction.probability, float(point[0]), float(point[1]) if binary else 0.0)  # type: ignore[arg-type]
        shrink = 1e-3 * ((point[0] - 1.0) ** 2 + point[1] ** 2)
        return float(log_losses(y, Prediction(prediction.label, mapped, prediction.classes)).mean() + shrink)

    found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-7, "maxiter": 200})
    slope, intercept = float(found.x[0]), float(found.x[1]) if binary else 0.0
    if slope <= 0.05 or found.fun >= loss(np.array([1.0, 0.0])):
        return None, "none: the probabilities were as good without"
    return (slope, intercept), f"{'sigmoid' if binary else 'temperature'} on {len(y)} later rows"
