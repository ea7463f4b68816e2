"""Forests and boosting as one joint tree; sums are taken in scikit-learn's order, so answers are equal to the bit."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.compiled.linear import softmax
from training.compiled.preparation import Categories, Floats, Numbers
from training.compiled.sklearn_kernels import expit
from training.compiled.tree_walk import BoostingWalker, ForestWalker
from training.schema.rows import Columns

CROSSOVER = 48
ROWS_A_THREAD = 2500
MOST_THREADS = 4
"""Many rows of one request are shared out between cores: on two, a forest's 5,000 rows take two thirds of the time, 10,000 half."""


@dataclass(frozen=True)
class TreeEngine:
    """All trees of a model in one tree.

    Attributes
    ----------
    tables
        For each categorical column its prepared columns a level, shape (n_levels, width); None where the trees ask for the level
        itself, as they do unless a column has too many.
    width
        The columns of the matrix the trees see; the number of the tree comes after them.
    start
        Shape (n_outputs,): what the sum begins with. Trees come in turns of one an output.
    answers
        Shape (n_answers, k), what leaves of a forest of classes say; None where leaves hold their value.
    link
        ``mean``, or how boosting's sums become the answer: ``identity``, ``exp``, ``expit`` or ``softmax``.
    crossover
        Up to so many rows all trees are walked in one call.
    """

    categories: Categories
    numbers: Numbers
    tables: tuple[Floats, ...] | None
    width: int
    trees: int
    walker: ForestWalker | BoostingWalker
    start: Floats
    answers: Floats | None
    link: str
    crossover: int = CROSSOVER

    def answer(self, columns: Columns, count: int) -> Floats:
        """Return probabilities, shape (n, k), or values, shape (n,)."""
        matrix = self._matrix(columns, count)
        total = self._in_one_call(matrix) if count <= self.crossover else self._in_threads(matrix)
        if self.link == "mean":
            total /= self.trees
            return total if self.answers is not None else total[:, 0]
        return self.linked(total)

    @property
    def is_value(self) -> bool:
        """Whether it answers values."""
        return self.link in ("identity", "exp")

    def linked(self, total: Floats) -> Floats:
        """Return what boosting's sums, shape (n, n_outputs), answer: probabilities, shape (n, k), or values, shape (n,)."""
        if self.link == "expit":
            positive = expit()(total)
            return np.concatenate([1.0 - positive, positive], axis=1)
        if self.link == "softmax":
            return softmax(total)
        return np.exp(total[:, 0]) if self.link == "exp" else total[:, 0]

    def _matrix(self, columns: Columns, count: int) -> Floats:
        """Return what the trees see, shape (n, width + 1), the last column free for the number of the tree."""
        out: npt.NDArray[Any] = np.empty((count, self.width + 1), np.float32 if self.walker.is_rounded else np.float64)
        at = 0
        if self.tables is not None:
            rows = self.categories.numbers(columns, count, np.intp)
            for table, row in zip(self.tables, rows, strict=True):
                out[:, at : at + table.shape[1]] = table[row]
                at += table.shape[1]
        elif self.categories.names:
            at = len(self.categories.names)
            out[:, :at] = self.categories.numbers(columns, count, np.float64).T
        out[:, at : self.width] = self.numbers.matrix(columns, count).T
        if not self.walker.is_rounded:
            return out
        if np.isinf(out[:, at : self.width]).any():
            raise ValueError("a value is too large for float32")
        out[:, self.width] = 0.0
        return out.astype(np.float64)

    def _in_one_call(self, matrix: Floats) -> Floats:
        """Walk all trees with all rows at once; the sums are taken tree after tree."""
        count, outputs = len(matrix), len(self.start)
        every = np.empty((self.trees, count, self.width + 1))
        every[:] = matrix
        every[:, :, self.width] = np.arange(self.trees)[:, None]
        leaves = self.walker.walk(every.reshape(-1, self.width + 1))
        if self.answers is not None:
            votes = self.answers[leaves.astype(np.intp)].reshape(self.trees, -1)
            return np.asarray(np.add.accumulate(votes, axis=0)[-1].reshape(count, -1))
        terms = np.concatenate([np.repeat(self.start, count), leaves]).reshape(-1, outputs * count)
        return np.asarray(np.add.accumulate(terms, axis=0)[-1].reshape(outputs, count).T)

    def _in_threads(self, matrix: Floats) -> Floats:
        """Share many rows out between threads: the walk is most of the work and lets go of the interpreter."""
        threads = min(len(matrix) // ROWS_A_THREAD, MOST_THREADS, os.cpu_count() or 1)
        if threads < 2:
            return self._tree_by_tree(matrix)
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(self._tree_by_tree, np.array_split(matrix, threads))))

    def _tree_by_tree(self, matrix: Floats) -> Floats:
        """Walk one tree with all rows, then the next: a tree stays in the cache."""
        outputs = len(self.start)
        total = np.zeros((len(matrix), outputs)) + self.start if self.answers is None else np.zeros((len(matrix), self.answers.shape[1]))
        for tree in range(self.trees):
            leaves = self.walker.walk_one(matrix, tree)
            if self.answers is None:
                total[:, tree % outputs] += leaves
            else:
                total += self.answers[leaves.astype(np.intp)]
        return total
