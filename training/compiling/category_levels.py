"""Ask for the level of a category where trees ask for one of its prepared columns.

A tree over dummy columns sees a wide matrix of zeros and ones; what it does at a split depends only on the category's level. So
each such split becomes the set of levels that go left, and each category one column: the number of its level. The matrix becomes
as narrow as the rows are, and the answers stay what they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from training.compiled.joint_tree import Nodes
from training.compiled.preparation import CategoryColumn
from training.compiled.tree_walk import Bits, Bitsets

MOST_LEVELS = 256


def ask_for_levels(nodes: Nodes, bitsets: Bitsets, columns: Sequence[CategoryColumn], *, is_rounded: bool) -> tuple[Nodes, Bitsets] | None:
    """Return the nodes over a matrix of one column a category, its level's number, followed by the numeric columns.

    Parameters
    ----------
    nodes, bitsets
        Over the columns of all tables, one after the other, followed by the numeric columns.
    is_rounded
        Whether the trees see float32.

    Returns
    -------
    None when a category has more levels than a set can hold.

    Examples
    --------
    >>> two = lambda *values: np.array(values)
    >>> dummies = CategoryColumn("c", ("a", "b", None, "?"), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), two(0, 1))
    >>> of, none = two(1, 0, 0), two(-1, -1, -1)
    >>> is_b = Nodes(two(1, -1, -1), two(2, -1, -1), of, two(0.5, 0, 0), two(0, 0, 0), np.ones(3), two(0.0, 1.0, 2.0), none)
    >>> narrowed, bitsets = ask_for_levels(is_b, Bitsets.none(2), [dummies], is_rounded=False)
    >>> int(narrowed.feature[0]), f"{bitsets.left[narrowed.bitset[0], 0]:04b}"
    (0, '1101')
    """
    if not columns or any(len(column.table) > MOST_LEVELS for column in columns):
        return None
    widths = [column.table.shape[1] for column in columns]
    of_category, begins = np.repeat(np.arange(len(columns)), widths), np.cumsum([0, *widths])
    wide = int(begins[-1])
    feature, bitset, missing = nodes.feature.copy(), nodes.bitset.copy(), nodes.missing_left.copy()
    inner = ~nodes.is_leaf
    sets = [np.zeros((0, 8), np.uint32)]
    held = 0
    for at in np.unique(nodes.feature[inner & (nodes.feature < wide)]):
        category = of_category[at]
        values = columns[category].table[:, at - begins[category]]
        mine = np.flatnonzero(inner & (nodes.feature == at))
        sets_left, place = np.unique(
            _left_levels(nodes, bitsets, mine, values.astype(np.float32) if is_rounded else values), axis=0, return_inverse=True
        )
        feature[mine], bitset[mine], missing[mine] = category, held + place.reshape(-1), 0
        sets.append(sets_left)
        held += len(sets_left)
    numeric = inner & (nodes.feature >= wide)
    feature[numeric] += len(columns) - wide
    level_sets = Bitsets(np.concatenate(sets), np.zeros((1, 8), np.uint32), np.zeros(len(columns), np.uint32))
    return replace(nodes, feature=feature, bitset=bitset, missing_left=missing), level_sets


def _left_levels(nodes: Nodes, bitsets: Bitsets, splits: npt.NDArray[np.intp], values: npt.NDArray[np.floating]) -> Bits:
    """Return the levels that go left at some splits on one column, whose value at each level is given; shape (n_splits, 8)."""
    is_missing, missing_left = np.isnan(values), nodes.missing_left[splits, None] == 1
    goes = np.where(is_missing, missing_left, values.astype(np.float64) <= nodes.threshold[splits, None])
    asks = nodes.bitset[splits] >= 0
    if asks.any():
        code = np.where(is_missing, 0.0, values).astype(np.uint8)
        column = int(nodes.feature[splits[0]])
        known = _has(bitsets.known[bitsets.of_column[column]], code)
        left = _has(bitsets.left[nodes.bitset[splits[asks]]], code)
        goes[asks] = np.where(is_missing | ~(left | known), missing_left[asks], left)
    padded = np.zeros((len(splits), MOST_LEVELS), bool)
    padded[:, : goes.shape[1]] = goes
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").astype(np.uint32)


def _has(sets: Bits, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return which codes each of some sets has, shape (..., n_codes)."""
    return np.asarray((sets[..., codes // 32] >> (codes % 32).astype(np.uint32)) & 1, bool)
