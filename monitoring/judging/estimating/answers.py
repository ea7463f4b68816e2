"""What is kept of answers, labelled or not: rows by bin of the score and class decided, which add up over buckets (pure)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import orjson

from monitoring.judging.performance.outcome_sums import MOST_RANKED
from training.evaluation.losses import CLIP, class_index
from training.schema.prediction import Prediction

_FORMAT = 1
_DECIMALS = 4  # that are kept of log odds
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


class Cells(NamedTuple):
    """The rows by cell, for one class against the rest; shape (cells,) each, in the order of `at`.

    Attributes
    ----------
    at
        The bin of the probability of the class, times the number of classes, plus the place of the class that was decided.
    rows
        How many.
    odds
        The summed log odds of their probabilities: the mean stands for all rows of a cell, which lie close together in them.
    """

    at: npt.NDArray[np.int64]
    rows: Floats
    odds: Floats


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered for some rows.

    Attributes
    ----------
    n
        Rows.
    classes
        The classes of the model, in its order; of two the last is the positive one.
    cells
        By class; of a binary model of the positive one only, of more than 32 classes of none.
    """

    n: int = 0
    classes: tuple[str, ...] = ()
    cells: dict[str, Cells] = field(default_factory=dict)

    def plus(self, other: Answers) -> Answers:
        """Return what was answered for the rows of both."""
        return add_up_answers((self, other))

    def to_bytes(self) -> bytes:
        """Return it as it is stored: compressed JSON."""
        cells = {
            name: [
                np.diff(one.at, prepend=0).tolist(),
                np.round(one.rows).astype(np.int64).tolist(),
                np.round(one.odds / one.rows, _DECIMALS).tolist(),
            ]
            for name, one in self.cells.items()
        }
        return zlib.compress(orjson.dumps({"v": _FORMAT, "n": self.n, "classes": list(self.classes), "cells": cells}), 6)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ValueError
            It is in a format that only a newer Evergreen knows.
        """
        stored: dict[str, Any] = orjson.loads(zlib.decompress(content))
        if stored["v"] != _FORMAT:
            raise ValueError(f"counts of answers are in format {stored['v']}, wanted {_FORMAT}: a newer Evergreen wrote them")
        cells = {}
        for name, (steps, rows, odds) in stored["cells"].items():
            each = np.array(rows, dtype=np.float64)
            cells[name] = Cells(np.cumsum(np.array(steps, dtype=np.int64)), each, np.array(odds, dtype=np.float64) * each)
        return cls(stored["n"], tuple(stored["classes"]), cells)


def count_answers(group: Places, prediction: Prediction, edges: Sequence[float], *, is_binary: bool) -> list[Answers]:
    """Return what was answered for the rows of each group.

    Parameters
    ----------
    group
        The number of each row's group, shape (n,): 0 to the number of groups - 1, each with a row.
    edges
        The inner edges of the bins of scores (`monitoring.judging.performance.outcome_sums.score_edges`).

    Examples
    --------
    >>> two = Prediction(np.array(["no", "yes"], object), np.array([[0.75, 0.25], [0.2, 0.8]]), ("no", "yes"))
    >>> (one,) = count_answers(np.zeros(2, np.intp), two, (0.3, 0.6), is_binary=True)
    >>> one.n, one.cells["yes"].at.tolist(), one.cells["yes"].rows.tolist()
    (2, [0, 5], [1.0, 1.0])
    """
    groups = int(group.max()) + 1 if len(group) else 0
    rows = np.bincount(group, minlength=groups).tolist()
    classes, probability = prediction.classes, prediction.probability
    if classes is None or probability is None:
        return [Answers(n) for n in rows]
    by_class: dict[str, list[Cells]] = {}
    if len(classes) <= MOST_RANKED:
        decided = prediction.codes if prediction.codes is not None else class_index(prediction.label, classes)
        for column in [len(classes) - 1] if is_binary else range(len(classes)):
            by_class[classes[column]] = _cells(group, decided, probability[:, column], edges, groups, len(classes))
    return [Answers(n, classes, {name: cells[number] for name, cells in by_class.items()}) for number, n in enumerate(rows)]


def _cells(group: Places, decided: Places, score: Floats, edges: Sequence[float], groups: int, n_classes: int) -> list[Cells]:
    width = (len(edges) + 1) * n_classes
    code = group * width + np.searchsorted(edges, score, side="right") * n_classes + decided
    clipped = np.clip(score, CLIP, 1 - CLIP)
    keys, place = np.unique(code, return_inverse=True)
    rows, odds = (np.asarray(np.bincount(place, one, len(keys)), np.float64) for one in (None, np.log(clipped / (1 - clipped))))
    bounds = np.searchsorted(keys, np.arange(groups + 1) * width).tolist()
    return [Cells((keys[a:b] % width).astype(np.int64), rows[a:b], odds[a:b]) for a, b in pairwise(bounds)]


def add_up_answers(parts: Iterable[Answers]) -> Answers:
    """Return what was answered for the rows of all parts.

    Examples
    --------
    >>> one = Answers(2, ("no", "yes"), {"yes": Cells(np.array([3]), np.array([2.0]), np.array([-1.0]))})
    >>> both = add_up_answers([one, Answers(), one])
    >>> both.n, both.cells["yes"].rows.tolist()
    (4, [4.0])
    """
    some = [part for part in parts if part.n]
    classes = tuple(dict.fromkeys(name for part in some for name in part.classes))
    by_class: dict[str, list[Cells]] = {}
    for part in some:
        for name, cells in part.cells.items():
            by_class.setdefault(name, []).append(_under(cells, part.classes, classes))
    return Answers(sum(part.n for part in some), classes, {name: _joined(cells) for name, cells in by_class.items()})


def _under(cells: Cells, old: tuple[str, ...], new: tuple[str, ...]) -> Cells:
    """Return the same cells with decisions as places among other classes."""
    if old == new:
        return cells
    place = np.array([new.index(name) for name in old], dtype=np.int64)
    return Cells(cells.at // len(old) * len(new) + place[cells.at % len(old)], cells.rows, cells.odds)


def _joined(parts: Sequence[Cells]) -> Cells:
    if len(parts) == 1:
        return parts[0]
    keys, place = np.unique(np.concatenate([one.at for one in parts]), return_inverse=True)
    rows, odds = (np.asarray(np.bincount(place, np.concatenate([one[side] for one in parts]), len(keys)), np.float64) for side in (1, 2))
    return Cells(keys, rows, odds)
