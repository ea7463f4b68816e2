"""Read fitted linear and constant models into their engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge

from training.compiled.linear import ConstantEngine, LinearEngine
from training.compiled.preparation import Categories, Preparation
from training.compiling.read_preparation import UnknownStepError

LINEAR = (LogisticRegression, LinearRegression, Ridge, Lasso, ElasticNet)


def compile_linear(estimator: Any, preparation: Preparation) -> LinearEngine:
    """Return a fitted linear model over a preparation; raises UnknownStepError for one with several targets."""
    is_classifier = type(estimator) is LogisticRegression
    coefficients = np.asarray(estimator.coef_, dtype=np.float64)
    if coefficients.shape[-1] != preparation.width or (coefficients.ndim == 2 and not is_classifier):
        raise UnknownStepError(f"{type(estimator).__name__} with coefficients of shape {coefficients.shape} is not known")
    flat = coefficients.ndim == 1 or len(coefficients) == 1
    intercept = np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64))
    by_class = np.atleast_2d(coefficients)
    tables = [column.table @ by_class[:, column.places].T for column in preparation.categories]
    starts = np.cumsum([0, *(len(t) for t in tables)])
    rows: list[list[Any]] = [t[:, 0].tolist() if flat else list(range(s, s + len(t))) for t, s in zip(tables, starts, strict=False)]
    lookups = tuple(c.lookup(r) for c, r in zip(preparation.categories, rows, strict=True))
    weights = np.ascontiguousarray(by_class[:, preparation.numbers.places])
    return LinearEngine(
        Categories(tuple(c.name for c in preparation.categories), lookups),
        preparation.numbers,
        weights[0] if flat else weights,
        intercept if flat else intercept[:, None],
        None if flat or not tables else np.concatenate(tables),
        is_classifier,
    )


def compile_constant(estimator: DummyClassifier | DummyRegressor) -> ConstantEngine:
    """Return the constant guess of a fitted baseline; raises UnknownStepError for one that is not constant."""
    if isinstance(estimator, DummyRegressor):
        constant: npt.NDArray[Any] = np.asarray(estimator.constant_, dtype=np.float64).ravel()
        if len(constant) == 1:
            return ConstantEngine(constant)
    elif estimator.strategy == "prior" and estimator.n_outputs_ == 1:
        return ConstantEngine(np.asarray(estimator.class_prior_, dtype=np.float64)[None, :])
    raise UnknownStepError(f"{type(estimator).__name__} with strategy {estimator.strategy!r} is not known")
