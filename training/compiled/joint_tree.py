"""Many trees laid out as one.

The first levels of the joint tree ask for the number of the tree, so that n rows, repeated once a tree, reach all leaves
of all trees in one call; called once a tree instead, the same nodes serve many rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_SHARE_BELOW = 0.25


@dataclass(slots=True)
class Nodes:
    """The nodes of one tree, or of several one after the other.

    Attributes
    ----------
    left, right
        Positions of the children; -1 at a leaf.
    weight
        The training rows that came by each node.
    leaf
        What a leaf answers (or the number of its row in a table of answers).
    bitset
        The row of the bitsets of a categorical split, -1 otherwise.
    """

    left: Whole
    right: Whole
    feature: Whole
    threshold: Floats
    missing_left: npt.NDArray[np.uint8]
    weight: Floats
    leaf: Floats
    bitset: Whole

    @property
    def is_leaf(self) -> npt.NDArray[np.bool_]:
        """Which of them are leaves."""
        return np.asarray(self.left < 0)

    def thresholds(self, width: int) -> dict[int, Floats]:
        """Return the thresholds of each of the first `width` features, increasing."""
        at = ~self.is_leaf & (self.bitset < 0) & (self.feature < width)
        feature, threshold = self.feature[at], self.threshold[at]
        return {int(f): np.unique(threshold[feature == f]) for f in np.unique(feature)}


def join_trees(trees: Nodes, roots: Whole, tree_feature: int) -> Nodes:
    """Return one tree whose first levels choose the tree by the value of `tree_feature`.

    The child more rows went to follows its parent at once, and equal leaves are one leaf where many are equal: fewer
    cache misses a walk.

    Examples
    --------
    >>> def two(*values): return np.array(values)
    >>> trees = Nodes(two(-1, -1), two(-1, -1), two(0, 0), two(0.0, 0.0), two(0, 0), two(9.0, 9.0), two(1.0, 2.0), two(-1, -1))
    >>> joint = join_trees(trees, roots=two(0, 1), tree_feature=5)
    >>> [float(v) for v in (joint.feature[0], joint.threshold[0], joint.leaf[joint.left[0]], joint.leaf[joint.right[0]])]
    [5.0, 0.5, 1.0, 2.0]
    """
    is_leaf = trees.is_leaf
    answers, place = np.unique(trees.leaf[is_leaf], return_inverse=True)
    shared = len(answers) <= _SHARE_BELOW * is_leaf.sum()
    levels = _levels(trees, roots)
    size = np.where(is_leaf & shared, 0, 1).astype(np.int64)
    for level in reversed(levels):
        inner = level[~is_leaf[level]]
        size[inner] += size[trees.left[inner]] + size[trees.right[inner]]
    routers = len(roots) - 1
    position = np.zeros(len(size), dtype=np.int64)
    position[roots] = routers + np.concatenate([[0], np.cumsum(size[roots])[:-1]])
    for level in levels:
        inner = level[~is_leaf[level]]
        left, right = trees.left[inner], trees.right[inner]
        left_first = trees.weight[left] >= trees.weight[right]
        near, far = np.where(left_first, left, right), np.where(left_first, right, left)
        position[near] = position[inner] + 1
        position[far] = position[inner] + 1 + size[near]
    total = routers + int(size[roots].sum())
    if shared:
        position[is_leaf] = total + place
        total += len(answers)
    joint = _move(trees, position, total)
    _route(joint, position[roots], tree_feature)
    return joint


def _levels(trees: Nodes, roots: Whole) -> list[Whole]:
    levels = [roots]
    while len(levels[-1]):
        inner = levels[-1][trees.left[levels[-1]] >= 0]
        levels.append(np.concatenate([trees.left[inner], trees.right[inner]]))
    return levels[:-1]


def _move(trees: Nodes, position: Whole, total: int) -> Nodes:
    """Return `total` nodes, each of the old ones at its position; the others are leaves for now."""
    moved = Nodes(
        np.full(total, -1),
        np.full(total, -1),
        np.zeros(total, np.int64),
        np.zeros(total),
        np.zeros(total, np.uint8),
        np.zeros(total),
        np.zeros(total),
        np.full(total, -1),
    )
    inner = ~trees.is_leaf
    at = position[inner]
    moved.left[at], moved.right[at] = position[trees.left[inner]], position[trees.right[inner]]
    for name in ("feature", "threshold", "missing_left", "bitset"):
        getattr(moved, name)[at] = getattr(trees, name)[inner]
    moved.weight[position], moved.leaf[position] = trees.weight, trees.leaf
    return moved


def _route(joint: Nodes, roots: Whole, tree_feature: int) -> None:
    """Fill the first ``len(roots) - 1`` nodes: a balanced tree over the numbers of the trees."""
    spans, used = [(0, len(roots), 0)] if len(roots) > 1 else [], 1
    while spans:
        low, high, at = spans.pop()
        middle = (low + high) // 2
        joint.feature[at], joint.threshold[at] = tree_feature, middle - 0.5
        for side, start, stop in ((joint.left, low, middle), (joint.right, middle, high)):
            if stop - start == 1:
                side[at] = roots[start]
            else:
                side[at] = used
                spans.append((start, stop, used))
                used += 1
