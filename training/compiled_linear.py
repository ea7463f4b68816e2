"""Linear and constant models as a few numpy operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge

from training.compiled_preparation import Categories, Floats, Numbers, Preparation
from training.compiled_reading import UnknownStepError
from training.rows import Columns

LINEAR = (LogisticRegression, LinearRegression, Ridge, Lasso, ElasticNet)


@dataclass(frozen=True)
class LinearEngine:
    """Weights for numbers, one weight a category and output; one-hot columns are never built.

    Parameters
    ----------
    weights
        Shape (m,), or (k, m) for k classes.
    table
        Shape (n_levels, k), the weights of all categories, where there are k > 2 classes; the look-ups then answer its
        rows. None otherwise: the look-ups answer the weight itself.
    is_classifier
        Whether probabilities are asked for.
    """

    categories: Categories
    numbers: Numbers
    weights: Floats
    intercept: Floats
    table: Floats | None
    is_classifier: bool

    def answer(self, columns: Columns, count: int) -> Floats:
        """Return probabilities, shape (n, k), or values, shape (n,)."""
        numbers = self.numbers.matrix(columns, count)
        decision = self.weights @ numbers
        if self.categories.names and self.table is None:
            decision += self.categories.numbers(columns, count, np.float64).sum(axis=0)
        elif self.table is not None:
            decision += self.table[self.categories.numbers(columns, count, np.intp)].sum(axis=0).T
        decision += self.intercept
        if not np.isfinite(decision).all() and not np.isfinite(numbers).all():
            raise ValueError("a prepared value is infinite or too large for float64")
        if not self.is_classifier:
            return decision
        return _two(decision) if decision.ndim == 1 else softmax(decision.T)


@dataclass(frozen=True)
class ConstantEngine:
    """The same answer to every row."""

    constant: Floats

    def answer(self, columns: Columns, count: int) -> Floats:
        """Return the constant `count` times."""
        return np.repeat(self.constant, count, axis=0)


def _two(decision: Floats) -> Floats:
    out = np.empty((len(decision), 2))
    expit(decision, out=out[:, 1])
    np.subtract(1.0, out[:, 1], out=out[:, 0])
    return out


def softmax(decision: Floats) -> Floats:
    """Return the softmax over the columns, as scikit-learn computes it.

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    out: Floats = np.exp(decision - decision.max(axis=1, keepdims=True))
    out /= out.sum(axis=1, keepdims=True)
    return out


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
