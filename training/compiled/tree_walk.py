"""The walk of scikit-learn's compiled code over a joint tree, of a forest or of boosting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from training.compiled.joint_tree import Floats, Nodes, Whole
from training.compiled.sklearn_kernels import boosting_walk

RECORD = np.dtype(
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
Bits = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Bitsets:
    """Sets of whole numbers below 256, as histogram boosting stores them.

    Attributes
    ----------
    left
        Shape (n_sets, 8): what goes left at a categorical split.
    known, of_column
        What is known of each categorical column, shape (n_columns, 8), and the row of each column of the matrix in it; what is
        neither in `left` nor known goes where missing values go.
    """

    left: Bits
    known: Bits
    of_column: Bits

    @classmethod
    def none(cls, width: int) -> Bitsets:
        """Return what trees without categorical splits need, over `width` columns."""
        return cls(np.zeros((0, 8), np.uint32), np.zeros((1, 8), np.uint32), np.zeros(width, np.uint32))


@dataclass(frozen=True)
class ForestWalker:
    """Compare values that fit float32 with float64 thresholds, as scikit-learn's forests do.

    Attributes
    ----------
    nodes
        Those of the joint tree, as boosting stores them: its walk makes the same comparisons on them, and unlike the trees of
        forests, which copy what they are given, it reads them where they lie. So all processes share one mapped file.
    """

    nodes: npt.NDArray[Any]
    bitsets: Bitsets
    is_rounded: ClassVar[bool] = True

    @classmethod
    def of(cls, joint: Nodes, bitsets: Bitsets) -> ForestWalker:
        """Return the walker of a joint tree."""
        return cls(_records(joint, 0), bitsets)

    def walk(self, matrix: Floats) -> Floats:
        """Return what the leaf of each row says, shape (n,)."""
        return _walk(self.nodes, matrix, self.bitsets)

    def walk_one(self, matrix: Floats, number: int) -> Floats:
        """Return what the leaf of each row in tree `number` says; the last column of the matrix is written to."""
        matrix[:, -1] = number
        return self.walk(matrix)


@dataclass(frozen=True)
class BoostingWalker:
    """Compare float64 values and look categories up in bitsets, as scikit-learn's histogram boosting does.

    Attributes
    ----------
    nodes
        Those of the joint tree.
    apart, roots
        The nodes of each tree on its own, one tree after the other, and where each begins: boosted trees are small, and
        without the levels that choose a tree many rows are walked a third faster.
    """

    nodes: npt.NDArray[Any]
    apart: npt.NDArray[Any]
    roots: tuple[int, ...]
    bitsets: Bitsets
    is_rounded: ClassVar[bool] = False

    @classmethod
    def of(cls, joint: Nodes, trees: Nodes, roots: Whole, bitsets: Bitsets) -> BoostingWalker:
        """Return the walker of a joint tree and the trees it was made of."""
        begin = np.repeat(roots, np.diff([*roots.tolist(), len(trees.left)]))
        return cls(_records(joint, 0), _records(trees, begin), tuple(roots.tolist()), bitsets)

    def walk(self, matrix: Floats) -> Floats:
        """Return what the leaf of each row says, shape (n,)."""
        return _walk(self.nodes, matrix, self.bitsets)

    def walk_into(self, matrix: Floats, out: Floats) -> None:
        """Write what the leaf of each row says into an array of shape (n,)."""
        _walk_into(self.nodes, matrix, self.bitsets, out)

    def walk_one(self, matrix: Floats, number: int) -> Floats:
        """Return what the leaf of each row in tree `number` says."""
        return _walk(self.apart[self.roots[number] :], matrix, self.bitsets)


def _walk(nodes: npt.NDArray[Any], matrix: Floats, bitsets: Bitsets) -> Floats:
    out = np.empty(len(matrix))
    _walk_into(nodes, matrix, bitsets, out)
    return out


def _walk_into(nodes: npt.NDArray[Any], matrix: Floats, bitsets: Bitsets, out: Floats) -> None:
    boosting_walk()(nodes, matrix, bitsets.left, bitsets.known, bitsets.of_column, 1, out)


def _records(nodes: Nodes, begin: Whole | int) -> npt.NDArray[Any]:
    """Return nodes as boosting stores them, children counted from `begin`."""
    stored = np.zeros(len(nodes.left), RECORD)
    is_leaf = nodes.is_leaf
    stored["left"], stored["right"] = (np.where(is_leaf, 0, side - begin) for side in (nodes.left, nodes.right))
    stored["feature_idx"], stored["num_threshold"] = nodes.feature, nodes.threshold
    stored["missing_go_to_left"], stored["value"], stored["is_leaf"] = nodes.missing_left, nodes.leaf, is_leaf
    stored["is_categorical"], stored["bitset_idx"] = nodes.bitset >= 0, np.maximum(nodes.bitset, 0)
    return stored
