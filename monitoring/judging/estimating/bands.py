"""An estimate with its band: what chance brings, what the reference is too small to know, and how restless its own buckets were (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from monitoring.judging.performance.scores import BLOCKS
from training.evaluation.losses import Metric

Floats = npt.NDArray[np.float64]
Method = Literal["CBPE", "DLE", "PPI++"]
CBPE: Method = "CBPE"
DLE: Method = "DLE"
LEAST_REFERENCE = 500
"""Labelled rows below which nothing is estimated: a share of .2 is known to .035 from them."""
FEWEST_BLOCKS = 5  # of the reference: of fewer, left out one at a time, no error is known
LEAST_OF_BUCKET = 20  # labelled rows of a bucket that shows how restless buckets are
MOST_STRETCHES = 50  # of the reference that show it: of more, so many spread over it
LONGER = 2.0  # buckets: blocks that are no longer show nothing else
_UNCHANGED = "assumes that the relation of features to target is unchanged"
ASSUMPTIONS = {"CBPE": _UNCHANGED, "DLE": _UNCHANGED, "PPI++": "assumes that the labelled rows are a fair draw of all"}
"""What must be true for an estimate to be right, by its method; nothing in it can show whether that is so."""


class Expected(NamedTuple):
    """A metric as it is expected.

    Attributes
    ----------
    value
        By what all rows of the reference say; NaN where it is not defined.
    left_out
        The same without each block of the reference, shape (blocks,).
    variance
        Of the metric of so many rows around it, were the reference exact.
    """

    value: float
    left_out: Floats
    variance: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric of rows whose labels are not known, or only some.

    Attributes
    ----------
    method
        How it came about; `ASSUMPTIONS` has what that takes for granted.
    value, low, high
        With the band that holds the metric of these rows in 95 of 100 cases, where the assumption holds.
    n
        Rows it is of.
    learned_from
        Labelled rows of the reference.
    outside
        The share of the rows that lie beyond all that the reference has: there the estimate goes on as at its edge.
    labels
        Labelled rows among the `n` that it rests on besides.
    is_held_out
        Whether the reference are rows that the training held out, and not yet labelled rows of the log.
    """

    metric: str
    method: Method
    value: float
    low: float
    high: float
    n: int
    learned_from: int
    outside: float = 0.0
    labels: int = 0
    is_held_out: bool = False

    @property
    def assumption(self) -> str:
        """What must be true for it to be right."""
        return ASSUMPTIONS[self.method]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        numbers = {name: round(getattr(self, name), 6) for name in ("value", "low", "high", "outside")}
        counts = {name: getattr(self, name) for name in ("n", "learned_from", "labels", "is_held_out")}
        return {"metric": self.metric, "method": self.method, **numbers, **counts}


class Restlessness(NamedTuple):
    """By how much metrics of the reference's own stretches differ from what was expected of them, beyond chance: variances.

    Attributes
    ----------
    of_bucket, of_block
        Of single buckets, and of blocks of `length` neighbouring ones.
    """

    of_bucket: float = 0.0
    of_block: float = 0.0
    length: float = 1.0

    def of(self, buckets: int) -> float:
        """Return the variance of a stretch of so many buckets: those of single ones, or of blocks, whichever leaves more.

        Examples
        --------
        >>> Restlessness(0.04, 0.02, 4.0).of(1), Restlessness(0.04, 0.02, 4.0).of(8)
        (0.04, 0.01)
        """
        return max(self.of_bucket / max(buckets, 1), self.of_block / max(buckets / self.length, 1.0))


def blocks_of(rows: Sequence[int]) -> npt.NDArray[np.intp]:
    """Return the block of each of some neighbouring buckets: up to 25 blocks, of about as many rows each.

    Examples
    --------
    >>> blocks_of([10, 10, 10]).tolist(), len(set(blocks_of([5] * 100).tolist()))
    ([0, 1, 2], 25)
    """
    n = np.array(rows, dtype=np.float64)
    place = (n.cumsum() - n / 2) * min(BLOCKS, len(n)) / max(float(n.sum()), 1.0)
    return np.unique(place.astype(np.intp), return_inverse=True)[1]


def excess(realised: Sequence[float], expected: Sequence[float], variances: Sequence[float]) -> float:
    """Return by how much squared errors exceed the variances that chance alone gives, on average; 0 where they do not.

    References
    ----------
    DerSimonian, Laird, "Meta-analysis in clinical trials" (1986): the variance between studies by moments.

    Examples
    --------
    >>> round(excess([0.3, 0.1], [0.2, 0.2], [0.004, 0.004]), 4)
    0.006
    """
    known = np.array([realised, expected, variances], dtype=np.float64)
    known = known[:, np.isfinite(known).all(axis=0)]
    return max(0.0, float(((known[0] - known[1]) ** 2 - known[2]).mean())) if known.shape[1] else 0.0


def jackknife_variance(left_out: Floats) -> float:
    """Return the variance that the reference's own chance leaves, of estimates without each of its blocks.

    References
    ----------
    Kuensch, "The jackknife and the bootstrap for general stationary observations" (1989).
    """
    return float((len(left_out) - 1) / len(left_out) * ((left_out - left_out.mean()) ** 2).sum())


def band(expected: Expected, restless: float, metric: Metric) -> tuple[float, float]:
    """Return the 95 % band of the metric of a new stretch.

    ``value ± t * sqrt(variance + jackknife + restless)``: the rows' own chance, that of the reference, and that of stretches; t has as many
    degrees of freedom as the reference has blocks, less one.

    References
    ----------
    Higgins, Thompson, Spiegelhalter, "A re-evaluation of random-effects meta-analysis" (2009): the interval of a new study.

    Examples
    --------
    >>> from training.evaluation.losses import METRICS
    >>> low, high = band(Expected(0.9, np.full(25, 0.9), 0.0004), 0.0, METRICS["accuracy"])
    >>> round(low, 3), round(high, 3)
    (0.859, 0.941)
    """
    total = expected.variance + jackknife_variance(expected.left_out) + restless
    quantile = float(special.stdtrit(len(expected.left_out) - 1, 0.975))
    return metric.interval(expected.value, quantile * math.sqrt(total))
