"""Many trees laid out as one: a walk in a single call of scikit-learn's own compiled code.

The first levels of the joint tree ask for the number of the tree, so that n rows, repeated once a tree, reach all leaves
of all trees in one call; called once a tree instead, the same nodes serve many rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE as NODE

Whole = npt.NDArray[np.int64]
_SHARE_BELOW = 0.25


@dataclass(slots=True)
class Splits:
    """The nodes of all trees, one after the other; `left` and `right` are absolute and -1 at a leaf.

    Parameters
    ----------
    roots
        Where each tree begins.
    weight
        The training rows that came by each node.
    leaf
        What a leaf answers (or the number of its row in a table of answers).
    bitset
        The row of the bitsets of a categorical split, -1 otherwise.
    """

    roots: Whole
    left: Whole
    right: Whole
    feature: Whole
    threshold: npt.NDArray[np.float64]
    missing_left: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.float64]
    leaf: npt.NDArray[np.float64]
    bitset: Whole


def lay_out(splits: Splits, tree_feature: int) -> npt.NDArray[Any]:
    """Return one array of nodes whose first levels choose the tree by the value of `tree_feature`.

    The child more rows went to follows its parent at once, and equal leaves are one leaf where many are equal: fewer
    cache misses a walk.
    """
    is_leaf = splits.left < 0
    answers, place = np.unique(splits.leaf[is_leaf], return_inverse=True)
    shared = len(answers) <= _SHARE_BELOW * is_leaf.sum()
    levels = _levels(splits)
    size = np.where(is_leaf, 0 if shared else 1, 1).astype(np.int64)
    for level in reversed(levels):
        inner = level[~is_leaf[level]]
        size[inner] += size[splits.left[inner]] + size[splits.right[inner]]
    routers = len(splits.roots) - 1
    position = np.zeros(len(size), dtype=np.int64)
    position[splits.roots] = routers + np.concatenate([[0], np.cumsum(size[splits.roots])[:-1]])
    for level in levels:
        inner = level[~is_leaf[level]]
        left, right = splits.left[inner], splits.right[inner]
        left_first = splits.weight[left] >= splits.weight[right]
        near, far = np.where(left_first, left, right), np.where(left_first, right, left)
        position[near] = position[inner] + 1
        position[far] = position[inner] + 1 + size[near]
    total = routers + int(size[splits.roots].sum())
    if shared:
        position[is_leaf] = total + place
        total += len(answers)
    nodes = np.zeros(total, dtype=NODE)
    _fill(nodes, splits, position)
    _route(nodes, position[splits.roots], tree_feature)
    return nodes


def _levels(splits: Splits) -> list[Whole]:
    levels = [splits.roots]
    while len(levels[-1]):
        inner = levels[-1][splits.left[levels[-1]] >= 0]
        levels.append(np.concatenate([splits.left[inner], splits.right[inner]]))
    return levels[:-1]


def _fill(nodes: npt.NDArray[Any], splits: Splits, position: Whole) -> None:
    inner = splits.left >= 0
    at = position[inner]
    nodes["left"][at], nodes["right"][at] = position[splits.left[inner]], position[splits.right[inner]]
    nodes["feature_idx"][at], nodes["num_threshold"][at] = splits.feature[inner], splits.threshold[inner]
    nodes["missing_go_to_left"][at] = splits.missing_left[inner]
    nodes["is_categorical"][at] = splits.bitset[inner] >= 0
    nodes["bitset_idx"][at] = np.maximum(splits.bitset[inner], 0)
    leaves = position[~inner]
    nodes["is_leaf"][leaves], nodes["value"][leaves] = 1, splits.leaf[~inner]


def _route(nodes: npt.NDArray[Any], roots: Whole, tree_feature: int) -> None:
    """Fill the first ``len(roots) - 1`` nodes: a balanced tree over the numbers of the trees."""
    spans, used = [(0, len(roots), 0)] if len(roots) > 1 else [], 1
    while spans:
        low, high, at = spans.pop()
        middle = (low + high) // 2
        nodes[at]["feature_idx"], nodes[at]["num_threshold"] = tree_feature, middle - 0.5
        for side, start, stop in (("left", low, middle), ("right", middle, high)):
            if stop - start == 1:
                nodes[at][side] = roots[start]
            else:
                nodes[at][side] = used
                spans.append((start, stop, used))
                used += 1
