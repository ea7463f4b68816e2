"""Read fitted forests and boosting into the engine of trees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from training.compiled.joint_tree import Nodes, join_trees
from training.compiled.preparation import Categories, Floats, Preparation
from training.compiled.tree_walk import Bitsets, BoostingWalker, ForestWalker
from training.compiled.trees import TreeEngine
from training.compiling.category_levels import ask_for_levels
from training.compiling.read_preparation import UnknownStepError

FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
BOOSTING = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_LINKS = {"IdentityLink": "identity", "LogLink": "exp", "LogitLink": "expit", "MultinomialLogit": "softmax"}


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
    splits = Nodes(
        np.where(left < 0, -1, left + offset),
        np.where(right < 0, -1, right + offset),
        ours[np.maximum(np.concatenate([t.feature for t in trees]), 0)],
        np.concatenate([t.threshold for t in trees]),
        np.concatenate([t.missing_go_to_left for t in trees]).astype(np.uint8),
        np.concatenate([t.weighted_n_node_samples for t in trees]),
        leaf,
        np.full(len(left), -1),
    )
    thresholds = splits.thresholds(preparation.width)
    view = _narrowed(splits, Bitsets.none(preparation.width), preparation, is_rounded=True)
    joint = join_trees(view.splits, roots, view.width)
    walker = ForestWalker.of(joint, view.bitsets)
    return TreeEngine(
        view.categories, preparation.numbers, view.tables, view.width, len(trees), walker, np.zeros(1), answers, "mean"
    ), thresholds


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
    known, of_feature = estimator._bin_mapper.make_known_categories_bitsets()
    bitset_of = np.zeros(preparation.width, np.uint32)
    bitset_of[ours] = of_feature
    bitsets = Bitsets(np.concatenate([t.raw_left_cat_bitsets for t in trees]).reshape(-1, 8), known.reshape(-1, 8), bitset_of)
    thresholds = splits.thresholds(preparation.width)
    view = _narrowed(splits, bitsets, preparation, is_rounded=False)
    joint = join_trees(view.splits, roots, view.width)
    walker = BoostingWalker.of(joint, view.splits, roots, view.bitsets)
    start = np.asarray(estimator._baseline_prediction, np.float64).reshape(-1)
    return TreeEngine(view.categories, preparation.numbers, view.tables, view.width, len(trees), walker, start, None, link), thresholds


@dataclass(frozen=True, slots=True)
class _TreeView:
    """What the trees of an engine see, and how they ask for it."""

    splits: Nodes
    bitsets: Bitsets
    categories: Categories
    tables: tuple[Floats, ...] | None
    width: int


def _narrowed(splits: Nodes, bitsets: Bitsets, preparation: Preparation, *, is_rounded: bool) -> _TreeView:
    """Return trees that ask for the levels of categories, or, where one has too many, those that we have."""
    columns = preparation.categories
    lookups = tuple(c.lookup(list(range(len(c.table)))) for c in columns)
    categories = Categories(tuple(c.name for c in columns), lookups)
    narrow = ask_for_levels(splits, bitsets, columns, is_rounded=is_rounded)
    if narrow is None:
        return _TreeView(splits, bitsets, categories, tuple(c.table for c in columns), preparation.width)
    return _TreeView(*narrow, categories, None, len(columns) + preparation.width - sum(c.table.shape[1] for c in columns))


def _starts(sizes: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where each part begins when all stand one after the other; and, for each element, where its part begins."""
    starts = np.cumsum([0, *sizes[:-1]]).astype(np.int64)
    return starts, np.repeat(starts, sizes)


def _check(estimator: Any, preparation: Preparation, outputs: int) -> None:
    if outputs != 1 or estimator.n_features_in_ != preparation.width or len(preparation.places) != preparation.width:
        raise UnknownStepError(f"{type(estimator).__name__} with {outputs} targets over {estimator.n_features_in_} columns is not known")


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
