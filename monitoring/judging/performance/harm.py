"""What the model answers got worse: a sequential test on matured losses that is looked at as often as one likes (pure).

Null: the rows of a bucket, given all before, have a mean loss of at most c = the baseline's upper 95 % bound plus the tolerance.
A bet of size b on a row of loss x multiplies its money by 1 + b (x - c), which is positive and 1 or less on average: so is, at
any time, what was won since any start. The sum over all starts, each weighing the model time of its bucket, is a
Shiryaev-Roberts e-detector: its mean is at most the days watched, so it reaches a threshold of A days only after A days on average,
at any cadence. Where the sum of one bet is R, a bucket that takes w days and multiplies by g makes it (R + w) g: no start is left out.

What is won is computed of sums by bucket. A loss of 0 or 1: exactly. Any loss of at least `least`, with y = x - c >= -m:

    exp(b y - psi(b m) (y / m)^2) <= 1 + b y,   psi(a) = -log(1 - a) - a,   0 <= a < 1

(Fan's inequality: empirical Bernstein without an upper bound of the loss). The bets aim at rises of some standard deviations h of a
row's loss, b = h / sd, and are averaged, with one on the mean of a bucket as if it was one row: where losses are fifty times what
they were, their squares eat up what bets on rows win. Rows that resemble their neighbours say less than their number: what a bucket
wins is taken to the power of one over the design effect that the baseline's own blocks show, at the rate of rows of the bucket. A
bet to a power below 1 is still 1 or less on average; that this is enough where neighbours are alike is approximate, and simulated.

Disparity is harm of a segment against the rest. With n_s and n_r rows let a row of the segment weigh n_r / (n_s + n_r), a row of the
rest n_s / (n_s + n_r). Bets are on segment rows above, and on rest rows below, a level they share except for the gap g between them:

    E = (1 + b w_s (mu_s - g - z))^n_s (1 - b w_r (mu_r - z))^n_r <= exp(b n_s w_s (mu_s - g - mu_r)) <= 1 where mu_s <= mu_r + g

for any fixed z, as n_s w_s = n_r w_r: what all rows share cancels. Losses of the rest have no least value from that side; there
(Delyon) exp(b y - b^2 (y^2 + 2 v) / 6) <= 1 on average where E y <= 0 and E y^2 <= v, of which v is taken from the baseline.

References
----------
Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2024), 2.3 and 3; Waudby-Smith
and Ramdas, "Estimating means of bounded random variables by betting" (2024); Fan, Grama and Liu, "Exponential inequalities for
martingales with applications" (2015); Delyon, "Exponential inequalities for sums of weakly dependent variables" (2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Self

import numpy as np

from monitoring.judging.performance.baseline import BASELINE, Baseline, BucketLoss, learn_baseline

EFFECTS = (0.025, 0.05, 0.1, 0.2, 0.4)
"""How far worse the bets expect a row's loss to be, in standard deviations."""
MOST = 0.9  # of its money a bet risks at most
BETS = len(EFFECTS) + 1  # the last one is on the mean of a bucket as if it was one row
HARM_SHARE, DISPARITY_SHARE = 0.25, 0.25  # of the promise; the other half is drift's
LEAST_OF_SEGMENT = 200  # labelled rows of a segment in its baseline
IS_BINARY = frozenset({"miss"})
_DAY_US = 86_400_000_000


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
    def bets(self) -> tuple[float, ...]:
        """How much is bet on a row; none where no row can lose less than the center, or none differs from another."""
        margin = self.center - self.least
        if self.is_binary and self.rest is not None:
            margin = max(margin, 1 - self.rest.level)
        variance = self.baseline.variance
        if self.is_binary and self.rest is None:  # 0 where nobody was wrong
            variance = variance or self.center * (1 - self.center)
        if margin <= 0 or variance <= 0:
            return ()
        return tuple(min(effect / math.sqrt(variance), MOST / margin) for effect in EFFECTS)

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


@dataclass(frozen=True, slots=True)
class Rule:
    """The numbers behind an alarm.

    Attributes
    ----------
    width_us
        Of a bucket.
    promise_days, share
        Without a change the first alarm of the model takes `promise_days` on average, and this one has that share of it.
    """

    width_us: int
    promise_days: float = 1800.0
    share: float = HARM_SHARE

    @property
    def log_threshold(self) -> float:
        """The logarithm of the evidence an alarm takes, in days."""
        return math.log(self.promise_days / self.share)


class Bet(NamedTuple):
    """What one bet won up to now.

    Attributes
    ----------
    log_sum
        Logarithm of what was won since any start, in sum, in days; minus infinity before the first bucket.
    log_best, since_us, rows, loss
        Logarithm of what was won since the start with the most, that start, and the rows and their losses since, in sum.
    """

    log_sum: float = -math.inf
    log_best: float = 0.0
    since_us: int = 0
    rows: float = 0.0
    loss: float = 0.0

    def after(self, bucket_us: int, log_days: float, won: _Won, log_factor: float) -> Bet:
        """Return it after one bucket, at which one more start begins; where nothing was won since the best one, this is as good."""
        log_sum = _log_add(self.log_sum, log_days) + log_factor
        if self.log_best <= 0:
            return Bet(log_sum, log_factor, bucket_us, won.rows, won.loss)
        return Bet(log_sum, self.log_best + log_factor, self.since_us, self.rows + won.rows, self.loss + won.loss)


@dataclass(frozen=True, slots=True)
class HarmState:
    """What was won up to now.

    Attributes
    ----------
    through_us
        Buckets that begin before it were looked at, each once.
    alarm_us
        The end of the bucket with which the evidence reached the threshold; None where it never did.
    """

    through_us: int
    alarm_us: int | None = None
    bets: tuple[Bet, ...] = (Bet(),) * BETS

    @property
    def log_evidence(self) -> float:
        """The logarithm of what was won since any start, the mean of all bets: in days."""
        return _log_mean(self.bets)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        bets = [[bet.log_sum if math.isfinite(bet.log_sum) else None, *bet[1:]] for bet in self.bets]
        return {"through_us": self.through_us, "alarm_us": self.alarm_us, "bets": bets}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Examples
        --------
        >>> HarmState.from_dict(HarmState(7).to_dict()) == HarmState(7)
        True
        """
        bets = tuple(Bet(-math.inf if log_sum is None else log_sum, *rest) for log_sum, *rest in stored["bets"])
        return cls(stored["through_us"], stored["alarm_us"], (*bets, *(Bet(),) * (BETS - len(bets))))


def advance(
    state: HarmState, null: Null, rule: Rule, losses: Iterable[BucketLoss], rest: Mapping[int, BucketLoss] | None = None
) -> HarmState:
    """Return what is won with some more buckets; the same, whether they come one by one or together.

    Parameters
    ----------
    losses
        Matured buckets, in order; of a segment where `null` is of one.
    rest
        The other rows of these buckets, by their start; where there are none nothing is bet.

    Raises
    ------
    ValueError
        A bucket was looked at before: what is spent is spent, also where a label came late.
    """
    sizes, bets, through_us, alarm_us = null.bets, state.bets, state.through_us, state.alarm_us
    log_days = math.log(rule.width_us / _DAY_US)
    for bucket in losses:
        if bucket.bucket_us < through_us:
            raise ValueError(f"the bucket of {bucket.bucket_us} was looked at before: those before {through_us} are spent")
        through_us = bucket.bucket_us + rule.width_us
        other = None if rest is None else rest.get(bucket.bucket_us)
        if not sizes or (null.rest is not None and other is None):
            continue
        won = _won(null, sizes, bucket, other)
        effect = null.baseline.design_effect_at(won.rows * _DAY_US / rule.width_us)
        after = [bet.after(bucket.bucket_us, log_days, won, f / effect) for bet, f in zip(bets, won.log_factors, strict=False)]
        bets = (*after, *bets[len(after) :])
        if alarm_us is None and _log_mean(bets) >= rule.log_threshold:
            alarm_us = through_us
    return HarmState(through_us, alarm_us, bets)


class _Won(NamedTuple):
    """What a bucket brings: the logarithm of each bet's factor if rows are independent, the rows it is worth, what they lost in sum."""

    log_factors: tuple[float, ...]
    rows: float
    loss: float


def _won(null: Null, bets: tuple[float, ...], bucket: BucketLoss, other: BucketLoss | None) -> _Won:
    if null.rest is None or other is None:
        factors = (*(_on_rise(null, bet, bucket) for bet in bets), _on_mean(null, bucket))
        return _Won(factors, bucket.n, bucket.n * bucket.mean)
    of_segment, of_rest = other.n / (bucket.n + other.n), bucket.n / (bucket.n + other.n)
    rows = bucket.n * of_segment
    factors = tuple(_on_rise(null, bet * of_segment, bucket) + _on_fall(null, null.rest, bet * of_rest, other) for bet in bets)
    return _Won(factors, rows, rows * (bucket.mean - other.mean))


def _on_rise(null: Null, bet: float, losses: BucketLoss) -> float:
    """Return the logarithm of what is won of rows that lose more than the center."""
    mean, center = losses.mean, null.center
    if null.is_binary:
        return losses.n * (mean * math.log1p(bet * (1 - center)) + (1 - mean) * math.log1p(-bet * center))
    away, risk = mean - center, bet * (center - null.least)
    psi = -math.log1p(-risk) - risk
    return losses.n * (bet * away - psi * (losses.variance + away**2) / (center - null.least) ** 2)


def _on_mean(null: Null, losses: BucketLoss) -> float:
    """Return the logarithm of what is won of a bucket's mean loss: also where it is so far up that bets on rows lose by its square."""
    return math.log1p(MOST * max((losses.mean - null.center) / (null.center - null.least), -1.0))


def _on_fall(null: Null, rest: Rest, bet: float, losses: BucketLoss) -> float:
    """Return the logarithm of what is won of rows of the rest that lose less than its level."""
    mean = losses.mean
    if null.is_binary:
        return losses.n * (mean * math.log1p(-bet * (1 - rest.level)) + (1 - mean) * math.log1p(bet * rest.level))
    away = rest.level - mean
    square = losses.variance + away**2
    return losses.n * (bet * away - bet**2 * (square + 2 * max(rest.square, square)) / 6)


def _log_add(a: float, b: float) -> float:
    """Return the logarithm of a sum of two that are given by their logarithms."""
    most = max(a, b)
    return most + math.log1p(math.exp(min(a, b) - most)) if math.isfinite(most) else most


def _log_mean(bets: Sequence[Bet]) -> float:
    made = [bet.log_sum for bet in bets if math.isfinite(bet.log_sum)]  # of a segment the last bet is never made
    if not made:
        return -math.inf
    most = max(made)
    return most + math.log(sum(math.exp(one - most) for one in made) / len(made))


@dataclass(frozen=True, slots=True)
class HarmLook:
    """The evidence of harm.

    Attributes
    ----------
    since_us, n, mean
        Since when it is likeliest, and the rows and their mean loss since (of a segment: what it loses more than the rest); None and 0
        where nothing speaks for it.
    """

    log10_evidence: float
    log10_threshold: float
    is_alarm: bool
    since_us: int | None
    n: int
    mean: float


def look(state: HarmState, rule: Rule) -> HarmLook:
    """Return what was won up to now."""
    evidence, threshold = state.log_evidence / math.log(10), rule.log_threshold / math.log(10)
    best = max(state.bets, key=lambda bet: bet.log_sum)
    if best.log_best <= 0:
        return HarmLook(evidence, threshold, state.alarm_us is not None, None, 0, 0.0)
    return HarmLook(evidence, threshold, state.alarm_us is not None, best.since_us, round(best.rows), best.loss / best.rows)


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
