"""Strata of the score: what is kept of all rows, labelled or not, and of the labelled ones in each (pure).

A stratum is what lies between two neighbouring edges of the score: about a tenth of the reference each. Its labelled rows stand for all of
it where labels are missing by score (post-stratification), and what is left without one bounds what any metric may be.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from monitoring.judging.performance.outcome_sums import OutcomeSums, Places, confidence_of, count_outcomes, score_edges
from training.evaluation.losses import CALIBRATION_BINS, CLIP
from training.schema.prediction import Prediction

_FORMAT = 1
_EVERY = 20  # of the 199 even edges: where there is no reference its tenths are not known
Floats = npt.NDArray[np.float64]
Limits = dict[str, tuple[float, float]]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Due:
    """Some rows, labelled or not.

    Attributes
    ----------
    n
        By stratum.
    decided
        By the class that was decided; none of a regression.
    limits
        By name of a loss the sum of the least, and of the most, that each row could lose, whichever class is true of it.
    confidence
        By bin of the confidence how many, and their summed confidence.
    """

    n: dict[int, int] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)
    confidence: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(self.n.values())

    def plus(self, other: Due) -> Due:
        """Return the rows of both."""
        return add_up_due((self, other))

    def less(self, labelled: Due) -> Due:
        """Return the rows that are not among some of them.

        Examples
        --------
        >>> Due({0: 3, 1: 2}, {"no": 5}).less(Due({0: 3}, {"no": 3}))
        Due(n={1: 2}, decided={'no': 2}, limits={}, confidence={})
        """
        confidence = {}
        for place, (n, sure) in self.confidence.items():
            less, less_sure = labelled.confidence.get(place, (0, 0.0))
            if n > less:
                confidence[place] = n - less, sure - less_sure
        limits = {}
        for name, (least, most) in self.limits.items():
            less_least, less_most = labelled.limits.get(name, (0.0, 0.0))
            limits[name] = least - less_least, most - less_most
        return Due(_less(self.n, labelled.n), _less(self.decided, labelled.decided), limits, confidence)

    @classmethod
    def of_labelled(cls, sums: OutcomeSums) -> Self:
        """Return labelled rows as rows."""
        decided: dict[str, int] = {}
        for (_, name), n in sums.confusion.items():
            decided[name] = decided.get(name, 0) + n
        confidence = {place: (one.n, one.sure) for place, one in sums.confidence.items()}
        return cls({place: part.n for place, part in sums.parts.items()}, decided, dict(sums.limits), confidence)

    def to_bytes(self) -> bytes:
        """Return it as it is stored: compressed JSON."""
        stored = {
            "v": _FORMAT,
            "n": sorted(self.n.items()),
            "decided": sorted(self.decided.items()),
            "limits": sorted(self.limits.items()),
            "confidence": sorted(self.confidence.items()),
        }
        return zlib.compress(orjson.dumps(stored), 6)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ValueError
            It is in a format that only a newer Evergreen knows.

        Examples
        --------
        >>> due = Due({0: 3}, {"no": 3}, {"log_loss": (0.5, 4.0)}, {2: (3, 0.7)})
        >>> Due.from_bytes(due.to_bytes()) == due
        True
        """
        stored: dict[str, Any] = orjson.loads(zlib.decompress(content))
        if stored["v"] != _FORMAT:
            raise ValueError(f"counts of rows by score are in format {stored['v']}, wanted {_FORMAT}: a newer Evergreen wrote them")
        pairs = {name: {key: tuple(value) for key, value in stored[name]} for name in ("limits", "confidence")}
        return cls(dict(stored["n"]), dict(stored["decided"]), pairs["limits"], pairs["confidence"])


def _less(counts: dict[Key, int], some: dict[Key, int]) -> dict[Key, int]:
    return {key: left for key, n in counts.items() if (left := n - some.get(key, 0)) > 0}


def add_up_due(parts: Iterable[Due]) -> Due:
    """Return the rows of all parts."""
    n: dict[int, int] = {}
    decided: dict[str, int] = {}
    limits: Limits = {}
    confidence: dict[int, tuple[int, float]] = {}
    for part in parts:
        for place, rows in part.n.items():
            n[place] = n.get(place, 0) + rows
        for name, rows in part.decided.items():
            decided[name] = decided.get(name, 0) + rows
        for name, (least, most) in part.limits.items():
            before = limits.get(name, (0.0, 0.0))
            limits[name] = before[0] + least, before[1] + most
        for place, (rows, sure) in part.confidence.items():
            had = confidence.get(place, (0, 0.0))
            confidence[place] = had[0] + rows, had[1] + sure
    return Due(n, decided, limits, confidence)


def strata_edges(task: str, reference: Sequence[float]) -> tuple[float, ...]:
    """Return the inner edges of the strata of a score.

    Those of the reference's bins of it: of a binary model they are edges of its bins of the score too (`outcome_sums.score_edges`).

    Parameters
    ----------
    reference
        The edges of the reference's bins of the score; none where it has none: then a probability has twenty strata, even in log odds
        where it is that of one class, and a value one.

    References
    ----------
    Cochran, "The effectiveness of adjustment by subclassification in removing bias in observational studies" (1968): five strata remove
    90 % of the bias of what depends on the score smoothly, ten 97 %.

    Examples
    --------
    >>> strata_edges("binary", (0.1, 0.3, 0.6)), len(strata_edges("binary", ())), strata_edges("regression", ())
    ((0.1, 0.3, 0.6), 10, ())
    """
    inside = tuple(edge for edge in reference if task == "regression" or 0 < edge < 1)
    if len(inside) >= 2:
        return inside
    return () if task == "regression" else score_edges(())[_EVERY // 2 :: _EVERY]


def stratum_of_bins(edges: Sequence[float], strata: Sequence[float]) -> tuple[int, ...]:
    """Return the stratum of each bin of the score of a binary model.

    Examples
    --------
    >>> stratum_of_bins((0.1, 0.2, 0.5), (0.2,))
    (0, 0, 1, 1)
    """
    return (0, *np.searchsorted(np.array(strata), np.array(edges), side="right").tolist())


def strata_of(score: Floats, strata: Sequence[float]) -> Places:
    """Return the stratum of each row, shape (n,)."""
    return np.searchsorted(np.array(strata), score, side="right")


def count_by_stratum(
    group: Places, y: npt.NDArray[Any], prediction: Prediction, edges: tuple[Sequence[float], Sequence[float]], *, is_binary: bool
) -> list[OutcomeSums]:
    """Return what `count_outcomes` does, with the parts and the limits of each group.

    Parameters
    ----------
    edges
        The inner edges of the bins of scores, and of the strata.
    """
    bins, strata = edges
    whole = count_outcomes(group, y, prediction, bins, is_binary=is_binary)
    width = len(strata) + 1
    keys, place = np.unique(group * width + strata_of(prediction.score, strata), return_inverse=True)
    parts: list[dict[int, OutcomeSums]] = [{} for _ in whole]
    for key, part in zip(keys.tolist(), count_outcomes(place, y, prediction, (), is_binary=is_binary), strict=True):
        parts[key // width][key % width] = replace(part, scores={})
    limits = _limits(group, prediction, len(whole))
    return [replace(one, parts=own, limits=most) for one, own, most in zip(whole, parts, limits, strict=True)]


def count_due(group: Places, prediction: Prediction, strata: Sequence[float], *, is_binary: bool) -> list[Due]:
    """Return the rows of each group.

    Parameters
    ----------
    group
        The number of each row's group, shape (n,): 0 to the number of groups - 1, each with a row.

    Examples
    --------
    >>> two = Prediction(np.array(["no", "yes"], object), np.array([[0.75, 0.25], [0.2, 0.8]]), ("no", "yes"))
    >>> (one,) = count_due(np.zeros(2, np.intp), two, (0.5,), is_binary=True)
    >>> one.n, one.decided, {name: round(most, 3) for name, (_, most) in one.limits.items()}
    ({0: 1, 1: 1}, {'no': 1, 'yes': 1}, {'log_loss': 2.996, 'brier': 2.405})
    """
    groups = int(group.max()) + 1 if len(group) else 0
    by_stratum = _counted(group, strata_of(prediction.score, strata), len(strata) + 1, groups)
    decided: list[dict[str, int]] = [{} for _ in range(groups)]
    if prediction.classes is not None:
        names, code = np.unique(prediction.label.astype(str), return_inverse=True)
        decided = [{str(names[at]): n for at, n in one.items()} for one in _counted(group, code, len(names), groups)]
    limits = _limits(group, prediction, groups)
    confidence: list[dict[int, tuple[int, float]]] = [{} for _ in range(groups)]
    if prediction.probability is not None:
        sure, place = confidence_of(prediction, is_binary=is_binary)
        total = np.bincount(group * CALIBRATION_BINS + place, sure, groups * CALIBRATION_BINS)
        for number, own in enumerate(_counted(group, place, CALIBRATION_BINS, groups)):
            confidence[number] = {at: (n, float(total[number * CALIBRATION_BINS + at])) for at, n in own.items()}
    return [Due(*own) for own in zip(by_stratum, decided, limits, confidence, strict=True)]


def _counted(group: Places, place: Places, width: int, groups: int) -> list[dict[int, int]]:
    table = np.bincount(group * width + place, minlength=groups * width).reshape(groups, width)
    return [{at: int(one[at]) for at in np.flatnonzero(one).tolist()} for one in table]


def _limits(group: Places, prediction: Prediction, groups: int) -> list[Limits]:
    """Return by group the least and the most that rows could lose: what is not known of them is which of the classes is true."""
    chance = prediction.probability
    if chance is None:
        return [{} for _ in range(groups)]
    low, high, squares = chance.min(axis=1), chance.max(axis=1), (chance**2).sum(axis=1)
    ends = {
        "log_loss": (-np.log(np.clip(high, CLIP, 1.0)), -np.log(np.clip(low, CLIP, 1.0))),
        "brier": (squares + 1 - 2 * high, squares + 1 - 2 * low),
    }
    summed = {name: [np.bincount(group, end, groups).tolist() for end in both] for name, both in ends.items()}
    return [{name: (least[number], most[number]) for name, (least, most) in summed.items()} for number in range(groups)]
