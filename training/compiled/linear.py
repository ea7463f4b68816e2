"""Linear and constant models as a few numpy operations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.compiled.preparation import Categories, Floats, Numbers, all_finite
from training.compiled.sklearn_kernels import expit
from training.schema.rows import Columns


@dataclass(frozen=True)
class LinearEngine:
    """Weights for numbers, one weight a category and output; one-hot columns are never built.

    Attributes
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
        if not all_finite(decision) and not all_finite(numbers):
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
    expit()(decision, out=out[:, 1])
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
