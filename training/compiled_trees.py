"""Forests and boosting as one joint tree, walked by the compiled code of scikit-learn's histogram boosting.

It compares in float64, and a forest compares float32 values with float64 thresholds: with the values rounded to float32
first, both choose the same side of every split. Sums are taken in scikit-learn's order, so answers are equal to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.ensemble._hist_gradient_boosting._predictor import _predict_from_raw_data as walk

from training.compiled_forest import Splits, lay_out
from training.compiled_linear import softmax
from training.compiled_preparation import Categories, Floats, Numbers, Preparation
from training.compiled_reading import UnknownStepError
from training.rows import Columns

FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
CROSSOVER = 48
_BLOCK = 2048
_LINKS = {"IdentityLink": "identity", "LogLink": "exp", "LogitLink": "expit", "MultinomialLogit": "softmax"}


@dataclass(frozen=True)
class TreeEngine:
    """All trees of a model in one array of nodes.

    Parameters
    ----------
    tables
        For each categorical column its prepared columns a level, shape (n_levels, width); None when each is one column
        and the look-ups answer its value.
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
    nodes: npt.NDArray[Any]
    left_bitsets: npt.NDArray[np.uint32]
    known_bitsets: npt.NDArray[np.uint32]
    bitset_of: npt.NDArray[np.uint32]
    start: Floats
    answers: Floats | None
    link: str
    crossover: int = CROSSOVER

    def answer(self, columns: Columns, count: int) -> Floats:
        """Return probabilities, shape (n, k), or values, shape (n,)."""
        matrix = self._matrix(columns, count)
        if count <= self.crossover:
            total = self._in_one_call(matrix)
        else:
            total = np.concatenate([self._tree_by_tree(matrix[at:at + _BLOCK]) for at in range(0, count, _BLOCK)])
        if self.link == "mean":
            total /= self.trees
            return total if self.answers is not None else total[:, 0]
        if self.link == "expit":
            positive = expit(total)
            return np.concatenate([1.0 - positive, positive], axis=1)
        if self.link == "softmax":
            return softmax(total)
        return np.exp(total[:, 0]) if self.link == "exp" else total[:, 0]

    def _matrix(self, columns: Columns, count: int) -> Floats:
        """Return what the trees see, shape (n, width + 1), the last column free for the number of the tree."""
        out = np.empty((count, self.width + 1))
        at = 0
        if self.tables is not None:
            rows = self.categories.numbers(columns, count, np.intp)
            for table, row in zip(self.tables, rows, strict=True):
                out[:, at:at + table.shape[1]] = table[row]
                at += table.shape[1]
        elif self.categories.names:
            at = len(self.categories.names)
            out[:, :at] = self.categories.numbers(columns, count, np.float64).T
        numbers = self.numbers.matrix(columns, count)
        if self.link == "mean":
            numbers = numbers.astype(np.float32)
            if np.isinf(numbers).any():
                raise ValueError("a value is too large for float32")
        out[:, at:self.width] = numbers.T
        return out

    def _walk(self, matrix: Floats, out: Floats) -> None:
        walk(self.nodes, matrix, self.left_bitsets, self.known_bitsets, self.bitset_of, 1, out)

    def _in_one_call(self, matrix: Floats) -> Floats:
        """Walk all trees with all rows at once; the sums are taken tree after tree."""
        count, outputs = len(matrix), len(self.start)
        every = np.empty((self.trees, count, self.width + 1))
        every[:] = matrix
        every[:, :, self.width] = np.arange(self.trees)[:, None]
        said = np.empty((self.trees + outputs) * count)
        said[:outputs * count] = np.repeat(self.start, count)
        found = said[outputs * count:]
        self._walk(every.reshape(-1, self.width + 1), found)
        if self.answers is None:
            total: Floats = np.add.accumulate(said.reshape(-1, outputs * count), axis=0)[-1]
            return total.reshape(outputs, count).T
        votes = self.answers[found.astype(np.intp)].reshape(self.trees, -1)
        total = np.add.accumulate(votes, axis=0)[-1]
        return total.reshape(count, -1)

    def _tree_by_tree(self, matrix: Floats) -> Floats:
        """Walk one tree with all rows, then the next: a tree stays in the cache."""
        outputs = len(self.start)
        width = outputs if self.answers is None else self.answers.shape[1]
        total = np.zeros((len(matrix), width)) + (self.start if self.answers is None else 0.0)
        found = np.empty(len(matrix))
        for tree in range(self.trees):
            matrix[:, self.width] = tree
            self._walk(matrix, found)
            if self.answers is None:
                total[:, tree % outputs] += found
            else:
                total += self.answers[found.astype(np.intp)]
        return total

    @property
    def thresholds(self) -> dict[int, Floats]:
        """The thresholds of each column of the matrix, increasing."""
        inner = self.nodes[(self.nodes["is_leaf"] == 0) & (self.nodes["is_categorical"] == 0)]
        inner = inner[inner["feature_idx"] < self.width]
        return {int(f): np.unique(inner["num_threshold"][inner["feature_idx"] == f]) for f in np.unique(inner["feature_idx"])}


def compile_forest(estimator: Any, preparation: Preparation) -> TreeEngine:
    """Return a fitted random forest or extra trees over a preparation.

    Raises
    ------
    UnknownStepError
        When it has several targets or another width.
    """
    _check(estimator, preparation, estimator.n_outputs_)
    trees = [e.tree_ for e in estimator.estimators_]
    ours = np.argsort(preparation.places)
    values = np.concatenate([t.value[:, 0, :] for t in trees])
    answers, leaf = None, values[:, 0]
    if hasattr(estimator, "classes_"):
        answers, place = np.unique(values, axis=0, return_inverse=True)
        leaf = place.reshape(-1).astype(np.float64)
    sizes = [t.node_count for t in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    offset = np.repeat(roots, sizes)
    left, right = (np.concatenate([getattr(t, side) for t in trees]) for side in ("children_left", "children_right"))
    feature = np.concatenate([t.feature for t in trees])
    splits = Splits(
        roots, np.where(left < 0, -1, left + offset), np.where(right < 0, -1, right + offset),
        ours[np.maximum(feature, 0)], np.concatenate([t.threshold for t in trees]),
        np.concatenate([t.missing_go_to_left for t in trees]).astype(np.uint8),
        np.concatenate([t.weighted_n_node_samples for t in trees]), leaf, np.full(len(left), -1))
    nothing = np.zeros((0, 8), np.uint32)
    return TreeEngine(
        *_categories(preparation), preparation.width, len(trees), lay_out(splits, preparation.width),
        nothing, nothing, np.zeros(0, np.uint32), np.zeros(1), answers, "mean")


def compile_boosting(estimator: Any, preparation: Preparation) -> TreeEngine:
    """Return a fitted histogram gradient boosting model over a preparation.

    Raises
    ------
    UnknownStepError
        When it takes a number as a category, has an unknown link or another width.
    """
    _check(estimator, preparation, 1)
    link = _LINKS.get(type(estimator._loss.link).__name__)
    if link is None:
        raise UnknownStepError(f"the link {type(estimator._loss.link).__name__} of boosting is not known")
    coded, preparation = _encode(estimator, preparation)
    trees = [tree for turn in estimator._predictors for tree in turn]
    theirs = np.concatenate([np.flatnonzero(coded), np.flatnonzero(~coded)])  # its own order: categories first
    ours = np.argsort(preparation.places)[theirs]
    sizes = [len(t.nodes) for t in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    offset, nodes = np.repeat(roots, sizes), np.concatenate([t.nodes for t in trees])
    rows = np.repeat(np.cumsum([0, *(len(t.raw_left_cat_bitsets) for t in trees[:-1])]), sizes)
    is_leaf = nodes["is_leaf"] == 1
    splits = Splits(
        roots, np.where(is_leaf, -1, nodes["left"] + offset), np.where(is_leaf, -1, nodes["right"] + offset),
        ours[nodes["feature_idx"]], nodes["num_threshold"], nodes["missing_go_to_left"], nodes["count"].astype(np.float64),
        nodes["value"], np.where(nodes["is_categorical"] == 1, nodes["bitset_idx"] + rows, -1))
    known, of_feature = estimator._bin_mapper.make_known_categories_bitsets()
    bitset_of = np.zeros(preparation.width, np.uint32)
    bitset_of[ours] = of_feature
    return TreeEngine(
        *_categories(preparation), preparation.width, len(trees), lay_out(splits, preparation.width),
        np.concatenate([t.raw_left_cat_bitsets for t in trees]).reshape(-1, 8), known.reshape(-1, 8), bitset_of,
        np.asarray(estimator._baseline_prediction, np.float64).reshape(-1), None, link)


def _check(estimator: Any, preparation: Preparation, outputs: int) -> None:
    if outputs != 1 or estimator.n_features_in_ != preparation.width or len(preparation.places) != preparation.width:
        raise UnknownStepError(f"{type(estimator).__name__} with {outputs} targets over {estimator.n_features_in_} columns is not known")


def _categories(preparation: Preparation) -> tuple[Categories, Numbers, tuple[Floats, ...] | None]:
    columns = preparation.categories
    single = all(c.table.shape[1] == 1 for c in columns)
    lookups = tuple(c.lookup(c.table[:, 0].tolist() if single else list(range(len(c.table)))) for c in columns)
    return Categories(tuple(c.name for c in columns), lookups), preparation.numbers, None if single else tuple(c.table for c in columns)


def _encode(estimator: Any, preparation: Preparation) -> tuple[npt.NDArray[np.bool_], Preparation]:
    """Put boosting's own encoding of categories into the tables; also return which columns it takes as categories."""
    coded = np.zeros(preparation.width, dtype=bool)
    if estimator._preprocessor is None:
        return coded, preparation
    coded = np.asarray(estimator.is_categorical_, dtype=bool)
    if coded[preparation.numbers.places].any():
        raise UnknownStepError("boosting takes a number as a category")
    known = dict(zip(np.flatnonzero(coded).tolist(), estimator._preprocessor.named_transformers_["encoder"].categories_, strict=True))
    columns = []
    for column in preparation.categories:
        table = column.table.copy()
        for place, at in enumerate(column.places.tolist()):
            if coded[at]:
                code = {value: float(i) for i, value in enumerate(known[at].tolist())}
                table[:, place] = [code.get(value, np.nan) for value in column.table[:, place].tolist()]
        columns.append(replace(column, table=table))
    return coded, Preparation(tuple(columns), preparation.numbers, preparation.width)
