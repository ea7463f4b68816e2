"""What wrong decisions cost, and the decision that is expected to cost least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Table = tuple[tuple[float, ...], ...]
TIE = 1e-9
"""Expected costs that differ by no more than this, as a share of the highest cost, are equal, as a probability and a threshold
are: rounding decides nothing."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What it costs to decide one class (column) where another is true (row).

    Examples
    --------
    >>> costs = Costs(("well", "ill"), ((0.0, 1.0), (20.0, 0.0)))
    >>> costs.ordered(("ill", "well"))
    ((0.0, 20.0), (1.0, 0.0))
    >>> costs.of_rows(np.array(["ill", "well", "ill"], object), np.array(["well", "ill", "ill"], object)).tolist()
    [20.0, 1.0, 0.0]
    """

    classes: tuple[str, ...]
    table: Table

    def ordered(self, classes: Sequence[str]) -> Table:
        """Return the costs among some of the classes, in their order; raises ValueError for a class that has none."""
        places = [self.classes.index(name) for name in classes]
        return tuple(tuple(self.table[row][column] for column in places) for row in places)

    def of_rows(self, y: npt.NDArray[Any], decided: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return what each decision cost, shape (n,); a label that is none of the classes costs as much as the worst mistake."""
        places = {name: at for at, name in enumerate(self.classes)}
        worst = max(max(row) for row in self.table)
        pairs = [(places.get(true), places.get(label)) for true, label in zip(y.tolist(), decided.tolist(), strict=True)]
        return np.array([worst if row is None or column is None else self.table[row][column] for row, column in pairs], np.float64)


def decide(probability: npt.NDArray[np.float64], costs: Table | None = None, threshold: float | None = None) -> npt.NDArray[np.intp]:
    """Return the place of the class to decide for each row: the most probable, or the one whose expected cost is lowest.

    Parameters
    ----------
    probability
        Shape (n, k).
    costs
        In the order of the columns; None where all mistakes cost the same.
    threshold
        Of two classes the last is decided where its probability reaches it, whatever mistakes cost; None where it does not matter.

    References
    ----------
    Elkan: The foundations of cost-sensitive learning, IJCAI 2001.

    Examples
    --------
    >>> decide(np.array([[0.9, 0.1], [0.97, 0.03]]), ((0.0, 1.0), (20.0, 0.0))).tolist()
    [1, 0]
    >>> decide(np.array([[0.9, 0.1], [0.7, 0.3]]), threshold=0.3).tolist()
    [0, 1]
    """
    if threshold is not None and probability.shape[1] == 2:
        return (probability[:, 1] >= threshold - TIE).astype(np.intp)
    if costs is None:
        return np.asarray(probability.argmax(axis=1), dtype=np.intp)
    table = np.array(costs)
    expected = np.zeros_like(probability)
    for row, column in zip(table, probability.T, strict=True):  # by columns, so that a row is decided alike in calls of every size
        expected += column[:, None] * row
    slack = TIE * float(np.abs(table).max())
    nearly = expected <= expected.min(axis=1, keepdims=True) + slack
    return np.asarray(nearly.argmax(axis=1), dtype=np.intp)
