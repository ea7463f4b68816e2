"""A segment got worse against the rest: how it stands, for people and the verdict (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.judging.performance.baseline import BucketLoss
from monitoring.judging.performance.harm import HarmLook
from monitoring.judging.performance.watch import WORDS, Episode
from training.clock import from_us

MOST_SHOWN = 20  # segments of a verdict


@dataclass(frozen=True, slots=True)
class Disparity:
    """By how much a segment loses more than the rest, and the evidence that it is more than it was.

    Attributes
    ----------
    loss
        Of a row.
    before, tolerance
        By how much it lost more in its baseline, and how much more than that is no disparity yet.
    look
        The evidence.
    is_open
        Whether an episode is open.
    ended
        Episodes that ended since the last look.
    """

    segment: str
    loss: str
    before: float
    tolerance: float
    look: HarmLook
    is_open: bool
    ended: tuple[Episode, ...] = ()

    def endings(self) -> tuple[str, ...]:
        """Say what ended since the last look."""
        return tuple(f"{self.segment} was worse against the rest in {WORDS[self.loss]} {one.sentence()}" for one in self.ended)

    def sentence(self) -> str:
        """Say it in words."""
        look, loss = self.look, WORDS[self.loss]
        since = "" if look.since_us is None else f" since {from_us(look.since_us):%Y-%m-%d %H:%M}"
        return (
            f"{self.segment} got worse against the rest: {loss} {look.mean:+.4g}{since}, {self.before:+.4g} before, "
            f"tolerance {self.tolerance:.3g}; evidence 10^{look.log10_evidence:.1f} of 10^{look.log10_threshold:.1f} days"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        look = self.look
        return {
            "segment": self.segment,
            "loss": self.loss,
            "before": round(self.before, 6),
            "more": round(look.mean, 6),
            "rows": look.n,
            "since_us": look.since_us,
            "log10_evidence": round(look.log10_evidence, 4) if math.isfinite(look.log10_evidence) else None,
            "log10_threshold": round(look.log10_threshold, 4),
            "is_open": self.is_open,
            "ended": [{"since_us": one.since_us, "end_us": one.end_us} for one in self.ended],
        }


def rest_of(whole: Mapping[int, BucketLoss], segment: Iterable[BucketLoss]) -> dict[int, BucketLoss]:
    """Return the losses of the rows of each bucket that are none of a segment's; buckets without any are left out.

    Examples
    --------
    >>> rest_of({0: BucketLoss(0, 4, 0.5, 0.25)}, [BucketLoss(0, 2, 1.0, 0.0, "place=coast")])
    {0: BucketLoss(bucket_us=0, n=2, mean=0.0, variance=0.0, segment='')}
    """
    rest = {}
    for one in segment:
        both = whole.get(one.bucket_us)
        if both is None or both.n <= one.n:
            continue
        n = both.n - one.n
        mean = (both.n * both.mean - one.n * one.mean) / n
        squares = both.n * (both.variance + both.mean**2) - one.n * (one.variance + one.mean**2)
        rest[one.bucket_us] = BucketLoss(one.bucket_us, n, mean, max(squares / n - mean**2, 0.0))
    return rest
