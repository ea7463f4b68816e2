"""What is bet against and what a bucket brings: of rows that lose more than they may, and of losses that are back (pure).

A bet of size b on a row of loss x multiplies its money by 1 + b (x - c), which is positive and 1 or less on average where rows lose
c or less on average; one that they are back by 1 - b (x - c), where they lose c or more. What is won is computed of sums by bucket. A
loss of 0 or 1: exactly. Any loss of at least `least`, with y = x - c >= -m:

    exp(b y - psi(b m) (y / m)^2) <= 1 + b y,   psi(a) = -log(1 - a) - a,   0 <= a < 1

(Fan's inequality: empirical Bernstein without an upper bound of the loss). From the other side a loss has no least value; there
(Delyon) exp(b y - b^2 (y^2 + 2 v) / 6) <= 1 on average where E y <= 0 and E y^2 <= v, of which v is the most of what it was in the
baseline, of late, and is in the bucket. The bets aim at some standard deviations h of a row's loss, b = h / sd. On a rise there is
one more, on the mean of a bucket as if it was one row: where losses are fifty times what they were, their squares eat up what bets on
rows win, and where no row of the baseline lost more than another nothing tells how much to bet on one.

Disparity is harm of a segment against the rest. With n_s and n_r rows let a row of the segment weigh n_r / (n_s + n_r), a row of the
rest n_s / (n_s + n_r). Bets are on segment rows above, and on rest rows below, a level they share except for the gap g between them:

    E = (1 + b w_s (mu_s - g - z))^n_s (1 - b w_r (mu_r - z))^n_r <= exp(b n_s w_s (mu_s - g - mu_r)) <= 1 where mu_s <= mu_r + g

for any fixed z, as n_s w_s = n_r w_r: what all rows share cancels. The same with -b where mu_s >= mu_r + g: that it is back.

References
----------
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024); Fan, Grama and Liu, "Exponential
inequalities for martingales with applications" (2015); Delyon, "Exponential inequalities for sums of weakly dependent variables"
(2009).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Self

import numpy as np

from monitoring.judging.performance.baseline import BASELINE, Baseline, BucketLoss, learn_baseline

EFFECTS = (0.025, 0.05, 0.1, 0.2, 0.4)
"""By how much the bets expect a row's loss to differ from what is bet against, in standard deviations."""
MOST = 0.9  # of its money a bet risks at most
BETS = len(EFFECTS) + 1  # the last one is on the mean of a bucket as if it was one row
LEAST_OF_SEGMENT = 200  # labelled rows of a segment in its baseline
IS_BINARY = frozenset({"miss"})


@dataclass(frozen=True, slots=True)
class Rest:
    """What the rows outside of a segment are expected to lose: their mean, and the mean square of the distance from it."""

    level: float
    square: float


@dataclass(frozen=True, slots=True)
class Null:
    """What is bet against: that rows lose no more on average than this.

    Attributes
    ----------
    baseline
        Of the loss; of a segment, of by how much its loss is more than that of the rest, where a row is one of n_s n_r / (n_s + n_r).
    center
        The mean loss that is no harm yet; of a segment, while the rest is as it was.
    least
        The least loss a row can have.
    rest
        None for all rows.
    """

    baseline: Baseline
    center: float
    least: float = 0.0
    rest: Rest | None = None

    @property
    def is_binary(self) -> bool:
        """Whether a row loses 0 or 1."""
        return self.baseline.loss in IS_BINARY

    @property
    def square(self) -> float:
        """The mean square of the distance of a row's loss from the center, as it was in the baseline."""
        level = 0.0 if self.rest is None else self.rest.level
        return self.baseline.variance + (self.center - level - self.baseline.mean) ** 2

    def bets(self, *, is_return: bool = False) -> tuple[float, ...]:
        """Return how much is bet on a row; nothing where no row can lose less than the center, so that none can be better or worse.

        Parameters
        ----------
        is_return
            That losses are back, and not that they rose.
        """
        level = None if self.rest is None else self.rest.level
        rising, falling = (level, self.center) if is_return else (self.center, level)
        risks = [] if rising is None else [rising - self.least]
        if falling is not None:
            risks.append(1 - falling if self.is_binary else falling - self.least)
        if self.center <= self.least or max(risks) <= 0:
            return ()
        most, variance = MOST / max(risks), self.baseline.variance
        if self.is_binary and variance == 0:  # nobody was wrong
            variance = self.center * (1 - self.center)
        return tuple(min(effect / math.sqrt(variance), most) if variance > 0 else most for effect in EFFECTS)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rest = None if self.rest is None else [self.rest.level, self.rest.square]
        return {"baseline": self.baseline.to_dict(), "center": self.center, "least": self.least, "rest": rest}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        rest = stored["rest"]
        return cls(Baseline.from_dict(stored["baseline"]), stored["center"], stored["least"], None if rest is None else Rest(*rest))


def null_of(baseline: Baseline, tolerance: float, least: float = 0.0) -> Null:
    """Return the null of all rows.

    Parameters
    ----------
    tolerance
        By how much the loss may rise, in its unit.
    least
        The least loss that a row can have.
    """
    return Null(baseline, baseline.upper + tolerance, least)


class Won(NamedTuple):
    """What a bucket brings: the logarithm of each bet's factor if rows are independent, the rows it is worth, what they lost in sum."""

    log_factors: tuple[float, ...]
    rows: float
    loss: float


class _Side(NamedTuple):
    """Rows of a bucket of which one weighs `weight`: bet on from a level, of which distances have a mean square of `square`."""

    losses: BucketLoss
    level: float
    square: float
    weight: float = 1.0


def won_of(null: Null, bets: Sequence[float], bucket: BucketLoss, other: BucketLoss | None, square: float | None = None) -> Won:
    """Return what a bucket brings.

    Parameters
    ----------
    bets
        Of `null`, in the same direction.
    other
        The other rows of the bucket, where it is one of a segment.
    square
        Where it is bet that losses are back, what the mean square of the distance from the center was of late; else None.
    """
    own, rest, rows, loss = _Side(bucket, null.center, max(null.square, square or 0.0)), None, float(bucket.n), bucket.mean
    if null.rest is not None and other is not None:
        both = bucket.n + other.n
        rows, loss = bucket.n * (other.n / both), bucket.mean - other.mean
        own, rest = own._replace(weight=other.n / both), _Side(other, null.rest.level, null.rest.square, bucket.n / both)
    rising, falling = (own, rest) if square is None else (rest, own)
    factors = [_on_rows(null, bet, rising, falling) for bet in bets]
    if square is None and not (rest is not None and null.is_binary):
        factors.append(_on_means(null, own, rest))
    return Won(tuple(factors), rows, rows * loss)


def _on_rows(null: Null, bet: float, rising: _Side | None, falling: _Side | None) -> float:
    on_rise = 0.0 if rising is None else _on_rise(null, bet * rising.weight, rising)
    return on_rise + (0.0 if falling is None else _on_fall(null, bet * falling.weight, falling))


def _on_means(null: Null, own: _Side, rest: _Side | None) -> float:
    """Return the logarithm of what is won of mean losses, as if each was one row: also where they are so far up that their squares cost."""
    bet = MOST / (null.center - null.least)
    on_rise = math.log1p(max(bet * (own.losses.mean - null.center), -MOST))
    if rest is None:
        return on_rise
    mean = BucketLoss(rest.losses.bucket_us, 1, rest.losses.mean, 0.0)
    return on_rise + _on_fall(null, bet, _Side(mean, rest.level, rest.square / rest.losses.n))


def _on_rise(null: Null, bet: float, side: _Side) -> float:
    """Return the logarithm of what is won of rows that lose more than a level."""
    if null.is_binary:
        return _on_binary(bet, side)
    away, margin = side.losses.mean - side.level, side.level - null.least
    psi = -math.log1p(-bet * margin) - bet * margin
    square = psi / margin**2 if margin > 0 else bet**2 / 2
    return side.losses.n * (bet * away - square * (side.losses.variance + away**2))


def _on_fall(null: Null, bet: float, side: _Side) -> float:
    """Return the logarithm of what is won of rows that lose less than a level."""
    if null.is_binary:
        return _on_binary(-bet, side)
    away = side.level - side.losses.mean
    square = side.losses.variance + away**2
    return side.losses.n * (bet * away - bet**2 * (square + 2 * max(side.square, square)) / 6)


def _on_binary(bet: float, side: _Side) -> float:
    mean, level = side.losses.mean, side.level
    return side.losses.n * (mean * math.log1p(bet * (1 - level)) + (1 - mean) * math.log1p(-bet * level))


def null_of_segment(
    segment: Sequence[BucketLoss],
    rest: Mapping[int, BucketLoss],
    loss: str,
    width_us: int,
    tolerance: float,
    *,
    least: float = 0.0,
    length: timedelta = BASELINE,
) -> Null | None:
    """Return what is bet against of a segment: that it loses no more than the rest than it did in its first buckets, and the tolerance.

    Parameters
    ----------
    segment, rest
        Matured buckets, in order, of its rows; of all others by their start.
    width_us
        Of a bucket.
    tolerance, least
        See `null_of`.
    length
        How long the baseline is, or longer, until it has 200 rows of the segment.

    Returns
    -------
    None while there are too few.
    """
    both = [(one, rest[one.bucket_us]) for one in segment if one.bucket_us in rest]
    seen = np.array([one.n for one, _ in both]).cumsum()
    enough = int(np.searchsorted(seen, LEAST_OF_SEGMENT))
    if enough >= len(both):
        return None
    gaps = [_gap(one, other) for one, other in both]
    least_rows = sum(gap.n for gap in gaps[: enough + 1])
    baseline = learn_baseline(gaps, loss, width_us, length=length, least_rows=least_rows)
    if baseline is None:
        return None
    others = [other for _, other in both[: baseline.buckets]]
    n, mean, variance = (np.array([getattr(other, name) for other in others]) for name in ("n", "mean", "variance"))
    level = float(n @ mean / n.sum())
    square = float(n @ (variance + (mean - level) ** 2) / n.sum())
    return Null(baseline, level + baseline.upper + tolerance, least, Rest(level, square))


def _gap(one: BucketLoss, other: BucketLoss) -> BucketLoss:
    """Return by how much rows of a segment lose more than others of the same bucket, as rows of a loss of their own.

    The difference of two means has the variance of a mean of n_s n_r / (n_s + n_r) rows, if all vary alike.

    Examples
    --------
    >>> _gap(BucketLoss(0, 20, 0.3, 0.2, "place=coast"), BucketLoss(0, 80, 0.2, 0.2))
    BucketLoss(bucket_us=0, n=16, mean=0.1, variance=0.2, segment='place=coast')
    """
    n = max(round(one.n * other.n / (one.n + other.n)), 1)
    variance = n * (one.variance / one.n + other.variance / other.n)
    return BucketLoss(one.bucket_us, n, round(one.mean - other.mean, 12), variance, one.segment)
