"""The two walks of scikit-learn's compiled code over a joint tree: that of its forests and that of its boosting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.ensemble._hist_gradient_boosting._predictor import _predict_from_raw_data
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.tree._tree import NODE_DTYPE, Tree

from training.compiled_joining import Floats, Nodes, Whole


@dataclass(frozen=True)
class ForestWalker:
    """Compare float32 values with float64 thresholds, as scikit-learn's forests do."""

    tree: Any
    dtype: ClassVar[type] = np.float32

    @classmethod
    def of(cls, nodes: Nodes, width: int) -> ForestWalker:
        """Return the walker of nodes without categorical splits, over `width` columns."""
        count = len(nodes.left)
        stored = np.zeros(count, NODE_DTYPE)
        stored["left_child"], stored["right_child"] = nodes.left, nodes.right
        stored["feature"], stored["threshold"] = nodes.feature, nodes.threshold
        stored["missing_go_to_left"] = nodes.missing_left
        tree = Tree(width, np.array([1], dtype=np.intp), 1)
        tree.__setstate__({"max_depth": 1, "node_count": count, "nodes": stored, "values": nodes.leaf.reshape(count, 1, 1)})
        return cls(tree)

    def walk(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """Return what the leaf of each row says, shape (n,)."""
        return np.asarray(self.tree.predict(matrix)).reshape(-1)

    def walk_one(self, matrix: npt.NDArray[np.float32], number: int) -> Floats:
        """Return what the leaf of each row in tree `number` says; the last column of the matrix is written to."""
        matrix[:, -1] = number
        return self.walk(matrix)


@dataclass(frozen=True)
class BoostingWalker:
    """Compare float64 values and look categories up in bitsets, as scikit-learn's histogram boosting does.

    Parameters
    ----------
    nodes
        Those of the joint tree.
    apart, roots
        The nodes of each tree on its own, one tree after the other, and where each begins: boosted trees are small, and
        without the levels that choose a tree many rows are walked a third faster.
    left_bitsets
        Shape (n_categorical_splits, 8): the categories that go left.
    known_bitsets, bitset_of
        The categories known of each categorical column, and the row of each column in them.
    """

    nodes: npt.NDArray[Any]
    apart: npt.NDArray[Any]
    roots: tuple[int, ...]
    left_bitsets: npt.NDArray[np.uint32]
    known_bitsets: npt.NDArray[np.uint32]
    bitset_of: npt.NDArray[np.uint32]
    dtype: ClassVar[type] = np.float64

    @classmethod
    def of(
        cls,
        joint: Nodes,
        trees: Nodes,
        roots: Whole,
        left_bitsets: npt.NDArray[np.uint32],
        known_bitsets: npt.NDArray[np.uint32],
        bitset_of: npt.NDArray[np.uint32],
    ) -> BoostingWalker:
        """Return the walker of a joint tree and the trees it was made of."""
        begin = np.repeat(roots, np.diff([*roots.tolist(), len(trees.left)]))
        return cls(_records(joint, 0), _records(trees, begin), tuple(roots.tolist()), left_bitsets, known_bitsets, bitset_of)

    def walk(self, matrix: Floats) -> Floats:
        """Return what the leaf of each row says, shape (n,)."""
        return self._walk(self.nodes, matrix)

    def walk_one(self, matrix: Floats, number: int) -> Floats:
        """Return what the leaf of each row in tree `number` says."""
        return self._walk(self.apart[self.roots[number] :], matrix)

    def _walk(self, nodes: npt.NDArray[Any], matrix: Floats) -> Floats:
        out = np.empty(len(matrix))
        _predict_from_raw_data(nodes, matrix, self.left_bitsets, self.known_bitsets, self.bitset_of, 1, out)
        return out


def _records(nodes: Nodes, begin: Whole | int) -> npt.NDArray[Any]:
    """Return nodes as boosting stores them, children counted from `begin`."""
    stored = np.zeros(len(nodes.left), PREDICTOR_RECORD_DTYPE)
    is_leaf = nodes.is_leaf
    stored["left"], stored["right"] = (np.where(is_leaf, 0, side - begin) for side in (nodes.left, nodes.right))
    stored["feature_idx"], stored["num_threshold"] = nodes.feature, nodes.threshold
    stored["missing_go_to_left"], stored["value"], stored["is_leaf"] = nodes.missing_left, nodes.leaf, is_leaf
    stored["is_categorical"], stored["bitset_idx"] = nodes.bitset >= 0, np.maximum(nodes.bitset, 0)
    return stored
