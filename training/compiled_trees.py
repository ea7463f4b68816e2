"""Forests and boosting as one joint tree; sums are taken in scikit-learn's order, so answers are equal to the bit."""

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

from training.compiled_joining import Nodes, join_trees
from training.compiled_linear import softmax
from training.compiled_preparation import Categories, Floats, Numbers, Preparation
from training.compiled_reading import UnknownStepError
from training.compiled_walkers import BoostingWalker, ForestWalker
from training.rows import Columns

FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
CROSSOVER = 48
_LINKS = {"IdentityLink": "identity", "LogLink": "exp", "LogitLink": "expit", "MultinomialLogit": "softmax"}


@dataclass(frozen=True)
class TreeEngine:
    """All trees of a model in one tree.

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
    walker: ForestWalker | BoostingWalker
    start: Floats
    answers: Floats | None
    link: str
    crossover: int = CROSSOVER

    def answer(self, columns: Columns, count: int) -> Floats:
        """Return probabilities, shape (n, k), or values, shape (n,)."""
        matrix = self._matrix(columns, count)
        total = self._in_one_call(matrix) if count <= self.crossover else self._tree_by_tree(matrix)
        if self.link == "mean":
            total /= self.trees
            return total if self.answers is not None else total[:, 0]
        if self.link == "expit":
            positive = expit(total)
            return np.concatenate([1.0 - positive, positive], axis=1)
        if self.link == "softmax":
            return softmax(total)
        return np.exp(total[:, 0]) if self.link == "exp" else total[:, 0]

    def _matrix(self, columns: Columns, count: int) -> npt.NDArray[Any]:
        """Return what the trees see, shape (n, width + 1), the last column free for the number of the tree."""
        out: npt.NDArray[Any] = np.empty((count, self.width + 1), self.walker.dtype)
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
        if self.walker.dtype is np.float32 and np.isinf(out[:, at : self.width]).any():
            raise ValueError("a value is too large for float32")
        return out

    def _in_one_call(self, matrix: npt.NDArray[Any]) -> Floats:
        """Walk all trees with all rows at once; the sums are taken tree after tree."""
        count, outputs = len(matrix), len(self.start)
        every = np.empty((self.trees, count, self.width + 1), matrix.dtype)
        every[:] = matrix
        every[:, :, self.width] = np.arange(self.trees)[:, None]
        said = self.walker.walk(every.reshape(-1, self.width + 1))
        if self.answers is not None:
            votes = self.answers[said.astype(np.intp)].reshape(self.trees, -1)
            return np.asarray(np.add.accumulate(votes, axis=0)[-1].reshape(count, -1))
        terms = np.concatenate([np.repeat(self.start, count), said]).reshape(-1, outputs * count)
        return np.asarray(np.add.accumulate(terms, axis=0)[-1].reshape(outputs, count).T)

    def _tree_by_tree(self, matrix: npt.NDArray[Any]) -> Floats:
        """Walk one tree with all rows, then the next: a tree stays in the cache."""
        outputs = len(self.start)
        total = np.zeros((len(matrix), outputs)) + self.start if self.answers is None else np.zeros((len(matrix), self.answers.shape[1]))
        for tree in range(self.trees):
            said = self.walker.walk_one(matrix, tree)
            if self.answers is None:
                total[:, tree % outputs] += said
            else:
                total += self.answers[said.astype(np.intp)]
        return total


def compile_forest(estimator: Any, preparation: Preparation) -> tuple[TreeEngine, dict[int, Floats]]:
    """Return a fitted random forest or extra trees over a preparation, and the thresholds of each column.

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
    roots, offset = _starts([t.node_count for t in trees])
    left, right = (np.concatenate([getattr(t, side) for t in trees]) for side in ("children_left", "children_right"))
    joint = join_trees(
        Nodes(
            np.where(left < 0, -1, left + offset),
            np.where(right < 0, -1, right + offset),
            ours[np.maximum(np.concatenate([t.feature for t in trees]), 0)],
            np.concatenate([t.threshold for t in trees]),
            np.concatenate([t.missing_go_to_left for t in trees]).astype(np.uint8),
            np.concatenate([t.weighted_n_node_samples for t in trees]),
            leaf,
            np.full(len(left), -1),
        ),
        roots,
        preparation.width,
    )
    walker = ForestWalker.of(joint, preparation.width + 1)
    engine = TreeEngine(*_categories(preparation), preparation.width, len(trees), walker, np.zeros(1), answers, "mean")
    return engine, joint.thresholds(preparation.width)


def compile_boosting(estimator: Any, preparation: Preparation) -> tuple[TreeEngine, dict[int, Floats]]:
    """Return a fitted histogram gradient boosting model over a preparation, and the thresholds of each column.

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
    roots, offset = _starts([len(t.nodes) for t in trees])
    nodes = np.concatenate([t.nodes for t in trees])
    rows = np.repeat(_starts([len(t.raw_left_cat_bitsets) for t in trees])[0], [len(t.nodes) for t in trees])
    is_leaf = nodes["is_leaf"] == 1
    splits = Nodes(
        np.where(is_leaf, -1, nodes["left"] + offset),
        np.where(is_leaf, -1, nodes["right"] + offset),
        ours[nodes["feature_idx"]],
        nodes["num_threshold"],
        nodes["missing_go_to_left"],
        nodes["count"].astype(np.float64),
        nodes["value"],
        np.where(nodes["is_categorical"] == 1, nodes["bitset_idx"] + rows, -1),
    )
    joint = join_trees(splits, roots, preparation.width)
    known, of_feature = estimator._bin_mapper.make_known_categories_bitsets()
    bitset_of = np.zeros(preparation.width, np.uint32)
    bitset_of[ours] = of_feature
    bitsets = np.concatenate([t.raw_left_cat_bitsets for t in trees]).reshape(-1, 8)
    walker = BoostingWalker.of(joint, splits, roots, bitsets, known.reshape(-1, 8), bitset_of)
    start = np.asarray(estimator._baseline_prediction, np.float64).reshape(-1)
    engine = TreeEngine(*_categories(preparation), preparation.width, len(trees), walker, start, None, link)
    return engine, joint.thresholds(preparation.width)


def _starts(sizes: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where each part begins when all stand one after the other; and, for each element, where its part begins."""
    starts = np.cumsum([0, *sizes[:-1]]).astype(np.int64)
    return starts, np.repeat(starts, sizes)


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
