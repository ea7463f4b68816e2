"""How far what was answered agrees with what came true: sums that add up over buckets, and the correlation they give (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.schema.prediction import Prediction

NUMBERS = ""  # what the sums of a regression are called
MOST_CLASSES = 32  # of more nothing is added up: sums are kept of each, in each bucket
Floats = npt.NDArray[np.float64]
Thirds = tuple[float, float] | None


class Sums(NamedTuple):
    """Of one class, or of numbers: what was answered, what came true, their squares and their product, each summed over rows."""

    answered: float = 0.0
    came: float = 0.0
    answered_squares: float = 0.0
    came_squares: float = 0.0
    products: float = 0.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """Sums over labelled rows, by class; of numbers `NUMBERS`.

    Examples
    --------
    >>> answers = Prediction(np.array(["a", "b"], object), np.array([[0.9, 0.1], [0.2, 0.8]]), ("a", "b"))
    >>> right = agreement_of(answers, np.array(["a", "b"], object), np.array([0, 0]), 1, None)[0]
    >>> right.correlation, agreement_of(answers, np.array(["b", "a"], object), np.array([0, 0]), 1, None)[0].correlation
    (1.0, -1.0)
    >>> right.plus(right).n
    4
    """

    n: int = 0
    sums: Mapping[str, Sums] = field(default_factory=dict)

    def plus(self, other: Agreement) -> Agreement:
        """Return the sums over the rows of both; a class that one of them does not know was neither answered nor came true there."""
        names = self.sums.keys() | other.sums.keys()
        pairs = {name: (self.sums.get(name, Sums()), other.sums.get(name, Sums())) for name in names}
        return Agreement(self.n + other.n, {name: Sums(*(a + b for a, b in zip(*pair, strict=True))) for name, pair in pairs.items()})

    @property
    def correlation(self) -> float | None:
        """The correlation of answers and labels, of classes over all their indicators; None where one of them does not vary.

        It hangs on neither the level nor the scale of the answers: what a map mends leaves it as it is.
        """
        together = answered = came = 0.0
        for one in self.sums.values():
            together += one.products - one.answered * one.came / self.n
            answered += one.answered_squares - one.answered**2 / self.n
            came += one.came_squares - one.came**2 / self.n
        least = 1e-12 * max(1, self.n)
        if answered <= least or came <= least:
            return None
        return round(max(-1.0, min(1.0, together / math.sqrt(answered * came))), 12)


NO_LABELS = Agreement()


def agreement_of(
    answers: Prediction, labels: npt.NDArray[np.generic], group: npt.NDArray[np.intp], groups: int, thirds: Thirds
) -> list[Agreement]:
    """Add up rows by group.

    Parameters
    ----------
    labels
        All of them known, shape (n,).
    group
        The place of each row's group, shape (n,), of so many.
    thirds
        The two scores that part what is answered in thirds: by them numbers are laid on a scale on which the far ones count for little.
        None: numbers are not added up.
    """
    numbers = np.bincount(group, minlength=groups).tolist()
    columns: dict[str, tuple[Floats, Floats]] = {}
    if answers.probability is not None and answers.classes is not None:
        names = dict.fromkeys((*answers.classes, *np.unique(labels.astype(str)).tolist()))
        names = names if len(names) <= MOST_CLASSES else {}
        nothing = np.zeros(len(labels))
        place = {name: column for column, name in enumerate(answers.classes)}
        for name in names:
            given = answers.probability[:, place[name]] if name in place else nothing
            columns[name] = given, (labels == name).astype(np.float64)
    elif thirds is not None:
        columns[NUMBERS] = laid(np.asarray(answers.label, np.float64), thirds), laid(np.asarray(labels, np.float64), thirds)
    by_name = {name: _sums(*pair, group, groups) for name, pair in columns.items()}
    return [
        Agreement(n, {name: sums[place] for name, sums in by_name.items()}) if by_name else Agreement() for place, n in enumerate(numbers)
    ]


def laid(values: Floats, thirds: tuple[float, float]) -> Floats:
    """Return numbers on a scale that is even among the middle third and grows by logarithms far from it.

    Examples
    --------
    >>> laid(np.array([10.0, 15.0, 20.0, 1e6]), (10.0, 20.0)).round(1).tolist()
    [-0.9, 0.0, 0.9, 12.9]
    """
    low, high = thirds
    return np.asarray(np.arcsinh((values - (low + high) / 2) / ((high - low) / 2)), dtype=np.float64)


def _sums(given: Floats, came: Floats, group: npt.NDArray[np.intp], groups: int) -> list[Sums]:
    parts = (given, came, given * given, came * came, given * came)
    added = [np.bincount(group, weights=part, minlength=groups).tolist() for part in parts]
    return [Sums(*each) for each in zip(*added, strict=True)]
