"""The walk of scikit-learn's compiled code over a joint tree, of a forest or of boosting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from training.borrowed import boosting_walk
from training.compiled_joining import Floats, Nodes, Whole

_RECORD = np.dtype(
    [
        ("value", np.float64),
        ("count", np.uint32),
        ("feature_idx", np.intp),
        ("num_threshold", np.float64),
        ("missing_go_to_left", np.uint8),
        ("left", np.uint32),
        ("right", np.uint32),
        ("gain", np.float64),
        ("depth", np.uint32),
        ("is_leaf", np.uint8),
        ("bin_threshold", np.uint8),
        ("is_categorical", np.uint8),
        ("bitset_idx", np.uint32),
    ]
)
"""A node of histogram boosting, as scikit-learn lays it out; a test holds it against `PREDICTOR_RECORD_DTYPE`."""
_NO_BITSETS = np.zeros((0, 8), np.uint32)


@dataclass(frozen=True)
class ForestWalker:
    """Compare values that fit float32 with float64 thresholds, as scikit-learn's forests do.

    Parameters
    ----------
    nodes
        Those of the joint tree, as boosting stores them: its walk makes the same comparisons on them, and unlike the trees of
        forests, which copy what they are given, it reads them where they lie. So all processes share one mapped file.
    """

    nodes: npt.NDArray[Any]
    is_rounded: ClassVar[bool] = True

    @classmethod
    def of(cls, nodes: Nodes) -> ForestWalker:
        """Return the walker of nodes without categorical splits."""
        return cls(_records(nodes, 0))

    def walk(self, matrix: Floats) -> Floats:
        """Return what the leaf of each row says, shape (n,)."""
        return _walk(self.nodes, matrix, _NO_BITSETS, _NO_BITSETS, np.zeros(matrix.shape[1], np.uint32))

    def walk_one(self, matrix: Floats, number: int) -> Floats:
        """Return what the leaf of each row in tree `number` says; the last column of the matrix is written to."""
        matrix[:, -1] = number
        return self.walk(matrix)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take what was stored; until 0.1 that was a tree of scikit-learn's forests."""
        nodes = state["nodes"] if "nodes" in state else _records_of_tree(state["tree"])
        object.__setattr__(self, "nodes", nodes)


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
    is_rounded: ClassVar[bool] = False

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
        return _walk(nodes, matrix, self.left_bitsets, self.known_bitsets, self.bitset_of)


def _walk(
    nodes: npt.NDArray[Any],
    matrix: Floats,
    left_bitsets: npt.NDArray[np.uint32],
    known_bitsets: npt.NDArray[np.uint32],
    bitset_of: npt.NDArray[np.uint32],
) -> Floats:
    out = np.empty(len(matrix))
    boosting_walk()(nodes, matrix, left_bitsets, known_bitsets, bitset_of, 1, out)
    return out


def _records(nodes: Nodes, begin: Whole | int) -> npt.NDArray[Any]:
    """Return nodes as boosting stores them, children counted from `begin`."""
    stored = np.zeros(len(nodes.left), _RECORD)
    is_leaf = nodes.is_leaf
    stored["left"], stored["right"] = (np.where(is_leaf, 0, side - begin) for side in (nodes.left, nodes.right))
    stored["feature_idx"], stored["num_threshold"] = nodes.feature, nodes.threshold
    stored["missing_go_to_left"], stored["value"], stored["is_leaf"] = nodes.missing_left, nodes.leaf, is_leaf
    stored["is_categorical"], stored["bitset_idx"] = nodes.bitset >= 0, np.maximum(nodes.bitset, 0)
    return stored


def _records_of_tree(tree: Any) -> npt.NDArray[Any]:
    """Return the nodes of a joint tree that was stored as one tree of a forest."""
    state = tree.__getstate__()
    nodes, is_leaf = state["nodes"], state["nodes"]["left_child"] < 0
    stored = np.zeros(len(nodes), _RECORD)
    stored["left"], stored["right"] = (np.where(is_leaf, 0, nodes[side]) for side in ("left_child", "right_child"))
    stored["feature_idx"] = np.maximum(nodes["feature"], 0)
    stored["num_threshold"], stored["missing_go_to_left"] = nodes["threshold"], nodes["missing_go_to_left"]
    stored["value"], stored["is_leaf"] = state["values"].reshape(-1), is_leaf
    return stored
