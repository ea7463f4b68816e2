"""A user's own metric of live rows: the mean of its losses by bucket, with the interval of the other metrics (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitoring.judging.performance.live_metrics import OWN, Reading, SegmentScore
from monitoring.judging.performance.outcome_sums import OutcomeSums
from monitoring.judging.performance.scores import Score

Floats = npt.NDArray[np.float64]
MOST_BUCKETS = 100  # the newest, that evidence keeps: what people look at


class OwnBucket(NamedTuple):
    """The losses of some labelled rows of one bucket: how many rows, their mean and the mean of their squares."""

    bucket_us: int
    n: int
    mean: float
    mean_square: float

    @property
    def sums(self) -> OutcomeSums:
        """The same as sums."""
        return OutcomeSums(self.n, losses={OWN: (self.n * self.mean, self.n * self.mean_square)})


@dataclass(frozen=True, slots=True)
class OwnScore:
    """A user's own metric over the newest mature, covered buckets as of a slot.

    Attributes
    ----------
    of
        How many labelled rows these buckets have; where it is more than was asked for, rows were drawn.
    buckets
        In order, the newest hundred.
    live
        The mean over all that was asked, with its jackknife interval; None where the buckets are too few.
    missing
        Why it is not known, such as what the function raised.
    """

    metric: str
    of: int = 0
    buckets: tuple[OwnBucket, ...] = ()
    live: Score | None = None
    missing: str | None = None

    @property
    def n(self) -> int:
        """How many rows it was asked of."""
        return 0 if self.live is None else self.live.n

    def beside(self, live: Sequence[SegmentScore]) -> tuple[SegmentScore, ...]:
        """Return the scores that are known without it, and it behind the first, which is watched."""
        own = [] if self.live is None else [SegmentScore("", self.live)]
        return (*live[:1], *own, *live[1:]) if live else ()

    def sentence(self) -> str:
        """Say what it comes to, or why that is not known.

        Examples
        --------
        >>> OwnScore("pkg:loss", missing="no labelled row has matured").sentence()
        'your own metric pkg:loss is not known of live rows: no labelled row has matured'
        """
        if self.missing is not None:
            return f"your own metric {self.metric} is not known of live rows: {self.missing}"
        if self.live is None:
            return f"your own metric {self.metric} is not known of live rows: labelled rows lie in fewer than three buckets of eight"
        drawn = f", drawn from {self.of:,}" if self.of > self.n else ""
        return f"your own metric {self.metric} {self.live.value:.4g} [{self.live.low:.4g}, {self.live.high:.4g}] on {self.n:,} rows{drawn}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        live = None if self.live is None else self.live.to_dict()
        return {"metric": self.metric, "of": self.of, "buckets": [list(one) for one in self.buckets], "live": live, "missing": self.missing}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> OwnScore:
        """Read what `to_dict` wrote."""
        live = None if stored["live"] is None else Score(**{name: stored["live"][name] for name in Score.__dataclass_fields__})
        return cls(stored["metric"], stored["of"], tuple(OwnBucket(*one) for one in stored["buckets"]), live, stored["missing"])


def own_score_of(
    metric: str, bucket_us: npt.NDArray[np.int64], losses: Floats, weights: Floats | None = None, *, of: int, coverage: float
) -> OwnScore:
    """Return a user's metric over rows, from the loss of each.

    Parameters
    ----------
    bucket_us
        When the bucket of each row begins, shape (n,).
    losses
        Shape (n,), finite.
    weights
        For how many rows each stands, where labels were drawn; None where each stands for itself.
    of
        How many labelled rows there are.
    coverage
        The share of the matured rows that is labelled.

    Examples
    --------
    >>> bucket = np.repeat(np.arange(4) * 10, 50)
    >>> score = own_score_of("pkg:loss", bucket, np.tile([1.0, 3.0], 100), of=900, coverage=0.9)
    >>> score.sentence()
    'your own metric pkg:loss 2 [2, 2] on 200 rows, drawn from 900'
    """
    starts, place = np.unique(bucket_us, return_inverse=True)
    weight = np.ones(len(losses)) if weights is None else weights
    n, total = np.bincount(place), np.bincount(place, weight)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.bincount(place, weight * losses) / total
        mean_square = np.bincount(place, weight * losses**2) / total
    if not np.isfinite(mean_square).all():
        return OwnScore(metric, of, missing=f"a loss as large as {np.abs(losses).max():.3g} cannot be added up")
    buckets = tuple(OwnBucket(*one) for one in zip(starts.tolist(), n.tolist(), mean.tolist(), mean_square.tolist(), strict=True))
    live = Reading(metric).over([one.sums for one in buckets], coverage)
    return OwnScore(metric, of, buckets[-MOST_BUCKETS:], live if live is None or math.isfinite(live.high - live.low) else None)
