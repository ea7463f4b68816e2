"""Calibrated probabilities: a fitted pipeline with its scores mapped by what came true on later rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin

from training.compiled.calibration_map import Intercept, Map, composed, remap
from training.evaluation.losses import class_index, log_losses
from training.fitting.fitted_model import FittedModel
from training.schema.prediction import Prediction
from training.schema.schema import normalise_label

MIN_ROWS, MIN_PER_CLASS = 100, 10

Floats = npt.NDArray[np.float64]


class CalibratedPipeline(ClassifierMixin, BaseEstimator):
    """A fitted pipeline whose probabilities are mapped: ``softmax(slope * log(p) + intercept)``.

    Two classes have a slope and an intercept (Platt's sigmoid on the log-odds), more a slope only (temperature), but where classes
    were weighed: that is undone by an intercept for each.

    References
    ----------
    Platt: Probabilistic outputs for support vector machines, 1999. Guo, Pleiss, Sun, Weinberger: On calibration of
    modern neural networks, ICML 2017.
    """

    def __init__(self, pipeline: Any, slope: float, intercept: Intercept) -> None:
        self.pipeline = pipeline
        self.slope = slope
        self.intercept = intercept

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes of the pipeline, in its order."""
        return np.asarray(self.pipeline.classes_)

    @property
    def map(self) -> Map:
        """Slope and intercept, as plain numbers."""
        by_class = isinstance(self.intercept, (tuple, list))
        return float(self.slope), tuple(map(float, self.intercept)) if by_class else float(self.intercept)  # type: ignore[arg-type]

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the pipeline again; the map stays."""
        self.pipeline.fit(X, y)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Return calibrated probabilities, shape (n_rows, n_classes)."""
        return remap(np.asarray(self.pipeline.predict_proba(X), np.float64), *self.map)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])


def learn_map(y: npt.NDArray[Any], prediction: Prediction) -> tuple[tuple[float, float] | None, str]:
    """Learn slope and intercept on rows the model was not fitted on.

    Returns
    -------
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

    fitted = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-7, "maxiter": 200})
    slope, intercept = float(fitted.x[0]), float(fitted.x[1]) if binary else 0.0
    if slope <= 0.05 or fitted.fun >= loss(np.array([1.0, 0.0])):
        return None, "none: the probabilities were as good without"
    return (slope, intercept), f"{'sigmoid' if binary else 'temperature'} on {len(y)} later rows"


def mapped(model: FittedModel, point: tuple[float, float] | None) -> FittedModel:
    """Return a model with its probabilities mapped by what `learn_map` learned from its answers; as it is for None."""
    if point is None:
        return model
    slope, intercept = point
    positive_is_last = model.classes == tuple(normalise_label(c) for c in model.pipeline.classes_)
    return _with_map(model, (slope, intercept if positive_is_last else -intercept))


def without_class_weights(model: FittedModel, factors: Mapping[str, float]) -> FittedModel:
    """Return a model that says what it would had its classes not been weighed.

    Parameters
    ----------
    factors
        How many times as much each class counted; empty where they were not weighed.

    References
    ----------
    Saerens, Latinne, Decaestecker: Adjusting the outputs of a classifier to new a priori probabilities, Neural Computation 2002.
    """
    if not factors:
        return model
    own = [-math.log(factors[normalise_label(c)]) for c in model.pipeline.classes_]
    return _with_map(model, (1.0, own[1] - own[0] if len(own) == 2 else tuple(own)))


def _with_map(model: FittedModel, more: Map) -> FittedModel:
    pipeline = model.pipeline
    inner, before = (pipeline.pipeline, pipeline.map) if type(pipeline) is CalibratedPipeline else (pipeline, (1.0, 0.0))
    first: Map = before
    slope, intercept = composed(first, more) if first != (1.0, 0.0) else more
    return replace(model, pipeline=CalibratedPipeline(inner, slope, intercept))
