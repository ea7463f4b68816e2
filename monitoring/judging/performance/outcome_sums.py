"""What is kept of labelled rows: sums that add up over buckets, versions and the slots at which labels came (pure).

Of each row its place in the confusion table, the bins of its scores, its losses and their squares, and how sure the model was: every metric
follows from sums of them (`monitoring.judging.performance.live_metrics`), whatever the order in which labels come.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
from scipy import special

from training.evaluation.losses import CALIBRATION_BINS, brier_losses, class_index, log_losses
from training.schema.prediction import Prediction

SCORE_BINS = 200
MOST_RANKED = 32
FARTHEST = 1e60  # numbers beyond it are counted as if they were there: fourth powers of errors are added up
"""Of more classes no scores are kept, so ROC AUC is not known live."""
_FARTHEST = 10.0  # log odds of the last inner edges: beyond lie one in 22,000
_FORMAT = 2
Places = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Key = TypeVar("Key")


class Moments(NamedTuple):
    """Of the values of a target: mean, summed squares of the distances from it, least and largest."""

    mean: float
    squares: float
    least: float
    most: float


class Confidence(NamedTuple):
    """Of the rows in one of ten equal bins of the confidence: how many, their summed confidence, how many were as predicted."""

    n: int
    sure: float
    hits: int


@dataclass(frozen=True, slots=True)
class OutcomeSums:
    """Sums over some labelled rows.

    Attributes
    ----------
    n
        Rows.
    classes
        The classes that the versions which answered know; empty for a regression.
    confusion
        Rows by true and predicted class.
    scores
        Rows by bin of the score: for a class those of others, and those of it. Of a binary model for the positive class only.
    losses
        By name the sum of the rows' losses and the sum of their squares. `brier` is summed over the classes.
    confidence
        By bin of the confidence: of the positive class for a binary task, else of the likeliest.
    target
        Of the true values of a regression.
    parts
        The sums of each stratum of the score (`strata`), without scores; of what was not counted by strata there are none.
    limits
        By name of a loss what the rows could have lost at least and at most, whichever class was true of each.
    """

    n: int = 0
    classes: tuple[str, ...] = ()
    confusion: dict[tuple[str, str], int] = field(default_factory=dict)
    scores: dict[str, tuple[dict[int, int], dict[int, int]]] = field(default_factory=dict)
    losses: dict[str, tuple[float, float]] = field(default_factory=dict)
    confidence: dict[int, Confidence] = field(default_factory=dict)
    target: Moments | None = None
    parts: dict[int, OutcomeSums] = field(default_factory=dict)
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)

    def plus(self, other: OutcomeSums) -> OutcomeSums:
        """Return the sums over the rows of both."""
        return add_up((self, other))

    def minus(self, part: OutcomeSums) -> OutcomeSums:
        """Return the sums over the rows that are not among those of a part; of the target, and of strata, it knows nothing.

        Examples
        --------
        >>> one = OutcomeSums(3, confusion={("a", "a"): 1, ("a", "b"): 2})
        >>> one.minus(OutcomeSums(1, confusion={("a", "a"): 1})).confusion
        {('a', 'b'): 2}
        """
        scores = dict(self.scores)
        for name, (of_others, own) in part.scores.items():
            scores[name] = (_less(scores[name][0], of_others), _less(scores[name][1], own))
        losses = dict(self.losses)
        for name, (total, squares) in part.losses.items():
            losses[name] = (losses[name][0] - total, losses[name][1] - squares)
        confidence = dict(self.confidence)
        for place, (rows, sure, hits) in part.confidence.items():
            had = confidence.pop(place)
            if had.n > rows:
                confidence[place] = Confidence(had.n - rows, had.sure - sure, had.hits - hits)
        return OutcomeSums(self.n - part.n, self.classes, _less(self.confusion, part.confusion), scores, losses, confidence)

    def times(self, factor: int) -> OutcomeSums:
        """Return the sums where each row is there so many times; of scores, and of strata, it knows nothing.

        Examples
        --------
        >>> OutcomeSums(2, confusion={("a", "b"): 2}, losses={"brier": (1.5, 2.0)}).times(3).losses
        {'brier': (4.5, 6.0)}
        """
        target = self.target
        return OutcomeSums(
            n=self.n * factor,
            classes=self.classes,
            confusion={pair: n * factor for pair, n in self.confusion.items()},
            losses={name: (total * factor, squares * factor) for name, (total, squares) in self.losses.items()},
            confidence={place: Confidence(one.n * factor, one.sure * factor, one.hits * factor) for place, one in self.confidence.items()},
            target=None if target is None else target._replace(squares=target.squares * factor),
        )

    def to_bytes(self) -> bytes:
        """Return it as it is stored: compressed JSON, without what there is none of."""
        return zlib.compress(orjson.dumps(self._stored()), 6)

    def _stored(self) -> dict[str, Any]:
        names = sorted({name for pair in self.confusion for name in pair} - set(self.classes))
        place = {name: number for number, name in enumerate((*self.classes, *names))}
        stored: dict[str, Any] = {
            "v": _FORMAT,
            "n": self.n,
            "classes": list(self.classes),
            "others": names,
            "confusion": [[place[true], place[predicted], n] for (true, predicted), n in sorted(self.confusion.items())],
            "scores": {name: [part for cells in pair for part in _packed(cells)] for name, pair in self.scores.items()},
            "losses": {name: list(sums) for name, sums in self.losses.items()},
            "confidence": [[place, *one] for place, one in sorted(self.confidence.items())],
            "target": None if self.target is None else list(self.target),
            "parts": [[place, part._stored()] for place, part in sorted(self.parts.items())],
            "limits": sorted(self.limits.items()),
        }
        return {key: value for key, value in stored.items() if value}

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ValueError
            It is in a format that only a newer Evergreen knows.
        """
        return cls._read(orjson.loads(zlib.decompress(content)))

    @classmethod
    def _read(cls, stored: dict[str, Any]) -> Self:
        if stored["v"] != _FORMAT:
            raise ValueError(f"sums of outcomes are in format {stored['v']}, wanted {_FORMAT}: a newer Evergreen wrote them")
        classes = tuple(stored.get("classes", ()))
        names = (*classes, *stored.get("others", ()))
        return cls(
            n=stored.get("n", 0),
            classes=classes,
            confusion={(names[true], names[predicted]): n for true, predicted, n in stored.get("confusion", ())},
            scores={name: (_unpacked(*parts[:2]), _unpacked(*parts[2:])) for name, parts in stored.get("scores", {}).items()},
            losses={name: (total, squares) for name, (total, squares) in stored.get("losses", {}).items()},
            confidence={place: Confidence(*one) for place, *one in stored.get("confidence", ())},
            target=Moments(*stored["target"]) if "target" in stored else None,
            parts={place: cls._read(part) for place, part in stored.get("parts", ())},
            limits={name: (least, most) for name, (least, most) in stored.get("limits", ())},
        )


def _less(counts: dict[Key, int], some: dict[Key, int]) -> dict[Key, int]:
    left = dict(counts)
    for key, number in some.items():
        left[key] -= number
        if not left[key]:
            del left[key]
    return left


def add_up(parts: Iterable[OutcomeSums]) -> OutcomeSums:
    """Return the sums over the rows of all parts.

    References
    ----------
    Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983): how moments are joined without cancellation.

    Examples
    --------
    >>> one = OutcomeSums(2, confusion={("a", "b"): 2})
    >>> add_up([one, one, OutcomeSums()]).confusion
    {('a', 'b'): 4}
    """
    n, target = 0, None
    classes: dict[str, None] = {}
    confusion: Counter[tuple[str, str]] = Counter()
    scores: dict[str, tuple[Counter[int], Counter[int]]] = {}
    losses: dict[str, tuple[float, float]] = {}
    confidence: dict[int, Confidence] = {}
    strata: dict[int, list[OutcomeSums]] = {}
    limits: dict[str, tuple[float, float]] = {}
    for part in parts:
        target = joined_moments(n, target, part.n, part.target)
        n += part.n
        classes.update(dict.fromkeys(part.classes))
        confusion.update(part.confusion)
        for name, pair in part.scores.items():
            for known, more in zip(scores.setdefault(name, (Counter(), Counter())), pair, strict=True):
                known.update(more)
        for name, (total, squares) in part.losses.items():
            before = losses.get(name, (0.0, 0.0))
            losses[name] = (before[0] + total, before[1] + squares)
        for place, (rows, sure, hits) in part.confidence.items():
            had = confidence.get(place, Confidence(0, 0.0, 0))
            confidence[place] = Confidence(had.n + rows, had.sure + sure, had.hits + hits)
        for place, own_part in part.parts.items():
            strata.setdefault(place, []).append(own_part)
        for name, (least, most) in part.limits.items():
            known_limits = limits.get(name, (0.0, 0.0))
            limits[name] = known_limits[0] + least, known_limits[1] + most
    by_class = {name: (dict(of_others), dict(own)) for name, (of_others, own) in scores.items()}
    whole = {place: some[0] if len(some) == 1 else add_up(some) for place, some in strata.items()}
    return OutcomeSums(n, tuple(classes), dict(confusion), by_class, losses, confidence, target, whole, limits)


def score_edges(reference: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the inner edges of at most 200 bins of a probability.

    Half of them part the tenths of the reference's scores evenly, so that they are fine where scores are; the others, even in log odds,
    are there for scores to come. ROC AUC is within .002 of that of the rows where a bin holds few rows of both sides; where all scores
    come to lie five times as close together (in log odds) as the reference's, it may be off by .02.

    Parameters
    ----------
    reference
        The edges of the reference's bins of the score; none for the probabilities of several classes.

    Examples
    --------
    >>> len(score_edges()), len(score_edges((0.2, 0.3, 0.5)))
    (199, 197)
    """
    inside = [edge for edge in reference if 0 < edge < 1]
    if len(inside) < 2:
        return tuple(special.expit(np.linspace(-_FARTHEST, _FARTHEST, SCORE_BINS - 1)).tolist())
    half = SCORE_BINS // 2
    each = max(1, (half - 1) // (len(inside) - 1))
    own = [edge for low, high in pairwise(inside) for edge in np.linspace(low, high, each + 1).tolist()]
    return tuple(sorted({*own, *special.expit(np.linspace(-_FARTHEST, _FARTHEST, half - 1)).tolist()}))


def count_outcomes(
    group: Places, y: npt.NDArray[Any], prediction: Prediction, edges: Sequence[float], *, is_binary: bool
) -> list[OutcomeSums]:
    """Return the sums over the rows of each group.

    Parameters
    ----------
    group
        The number of each row's group, shape (n,): 0 to the number of groups - 1, each with a row.
    y
        The labels.
    edges
        The inner edges of the bins of scores.
    """
    groups = int(group.max()) + 1 if len(group) else 0
    rows = np.bincount(group, minlength=groups).tolist()
    if prediction.classes is None:
        return _of_values(group, np.asarray(y, np.float64), prediction, rows)
    classes = prediction.classes
    names = (*classes, *sorted((set(y.tolist()) | set(prediction.label.tolist())) - set(classes)))
    true, predicted = class_index(y, names), class_index(prediction.label, names)
    confusion = _cells(group * len(names) ** 2 + true * len(names) + predicted, len(names) ** 2, groups)
    scores = _scores(group, true, prediction, edges, groups, is_binary=is_binary)
    brier = brier_losses(y, prediction) * (2 if len(classes) == 2 else 1)
    losses = _losses(group, groups, {"log_loss": log_losses(y, prediction), "brier": brier})
    confidence = _confidence(group, true, prediction, groups, is_binary=is_binary)
    return [
        OutcomeSums(
            n=rows[number],
            classes=classes,
            confusion={(names[cell // len(names)], names[cell % len(names)]): n for cell, n in confusion[number].items()},
            scores={name: (of_others[number], own[number]) for name, (of_others, own) in scores.items()},
            losses=losses[number],
            confidence=confidence[number],
        )
        for number in range(groups)
    ]


def _of_values(group: Places, y: Floats, prediction: Prediction, rows: list[int]) -> list[OutcomeSums]:
    y = np.clip(y, -FARTHEST, FARTHEST)
    groups, signed = len(rows), np.clip(np.asarray(prediction.label, np.float64), -FARTHEST, FARTHEST) - y
    errors = np.abs(signed)
    losses = _losses(group, groups, {"absolute_error": errors, "squared_error": errors**2, "error": signed})
    means = np.bincount(group, y, groups) / np.bincount(group, minlength=groups)
    squares = np.bincount(group, (y - means[group]) ** 2, groups)
    least, most = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(least, group, y)
    np.maximum.at(most, group, y)
    targets = zip(means.tolist(), squares.tolist(), least.tolist(), most.tolist(), strict=True)
    return [OutcomeSums(n, losses=own, target=Moments(*target)) for n, own, target in zip(rows, losses, targets, strict=True)]


def _losses(group: Places, groups: int, losses: dict[str, Floats]) -> list[dict[str, tuple[float, float]]]:
    sums = {name: (np.bincount(group, one, groups).tolist(), np.bincount(group, one**2, groups).tolist()) for name, one in losses.items()}
    return [{name: (total[number], squares[number]) for name, (total, squares) in sums.items()} for number in range(groups)]


def _scores(
    group: Places, true: Places, prediction: Prediction, edges: Sequence[float], groups: int, *, is_binary: bool
) -> dict[str, tuple[list[dict[int, int]], list[dict[int, int]]]]:
    """Return for each class asked about the bins of the rows of others, and of its own, by group."""
    classes, probability = prediction.classes or (), prediction.probability
    if probability is None or len(classes) > MOST_RANKED:
        return {}
    width = len(edges) + 1
    ranked = {}
    for column in [len(classes) - 1] if is_binary else range(len(classes)):
        cell = group * width + np.searchsorted(edges, probability[:, column], side="right")
        is_own = true == column
        ranked[classes[column]] = (_cells(cell[~is_own], width, groups), _cells(cell[is_own], width, groups))
    return ranked


def _confidence(group: Places, true: Places, prediction: Prediction, groups: int, *, is_binary: bool) -> list[dict[int, Confidence]]:
    """Return how sure the model was, and how right, by group; as `training.evaluation.losses.calibration_table`."""
    probability = prediction.probability
    if probability is None:
        return [{} for _ in range(groups)]
    surest = np.full(len(group), probability.shape[1] - 1) if is_binary else probability.argmax(axis=1)
    sure, place = confidence_of(prediction, is_binary=is_binary)
    cell, size = group * CALIBRATION_BINS + place, groups * CALIBRATION_BINS
    n, hits = np.bincount(cell, minlength=size), np.bincount(cell[true == surest], minlength=size)
    total = np.bincount(cell, sure, size)
    by_group: list[dict[int, Confidence]] = [{} for _ in range(groups)]
    for at in np.flatnonzero(n).tolist():
        by_group[at // CALIBRATION_BINS][at % CALIBRATION_BINS] = Confidence(int(n[at]), float(total[at]), int(hits[at]))
    return by_group


def confidence_of(prediction: Prediction, *, is_binary: bool) -> tuple[Floats, Places]:
    """Return how sure the model was of each row, and in which of ten equal bins that is."""
    probability = prediction.probability
    if probability is None:
        raise ValueError("this prediction has no probabilities")
    sure = probability[:, -1] if is_binary else probability.max(axis=1)
    return sure, np.minimum((sure * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)


def _cells(code: Places, width: int, groups: int) -> list[dict[int, int]]:
    """Count cells by group: `code` is the group times `width`, plus the cell."""
    keys, counts = np.unique(code, return_counts=True)
    bounds = np.searchsorted(keys, np.arange(groups + 1) * width).tolist()
    cells, numbers = (keys % max(width, 1)).tolist(), counts.tolist()
    return [dict(zip(cells[start:stop], numbers[start:stop], strict=True)) for start, stop in pairwise(bounds)]


def joined_moments(n: int, one: Moments | None, m: int, other: Moments | None) -> Moments | None:
    """Return the moments of both, of `n` and of `m` rows."""
    if one is None or other is None:
        return one or other
    away = other.mean - one.mean
    mean = one.mean + away * m / (n + m)
    squares = math.fsum((one.squares, other.squares, away**2 * n * m / (n + m)))
    return Moments(mean, squares, min(one.least, other.least), max(one.most, other.most))


def _packed(cells: dict[int, int]) -> list[list[int]]:
    """Return the distances from cell to cell, and their counts: small numbers, which compress well."""
    places = sorted(cells)
    return [[place - before for before, place in pairwise([0, *places])], [cells[place] for place in places]]


def _unpacked(steps: list[int], counts: list[int]) -> dict[int, int]:
    places = np.cumsum(steps, dtype=np.int64).tolist()
    return dict(zip(places, counts, strict=True))
