"""What the model answers got worse: a sequential test on matured losses that is looked at as often as one likes (pure).

Null: the rows of a bucket, given all before, have a mean loss of at most c = the baseline's upper 95 % bound plus the tolerance. What
a bet against it (`bets`) makes of its money is 1 or less on average with each bucket: so is, at any time, what was won since any
start. The sum over all starts, each weighing the model time of its bucket, is a Shiryaev-Roberts e-detector: its mean is at most the
days watched, so it reaches a threshold of A days only after A days on average, at any cadence. Where the sum of one bet is R, a bucket
that takes w days and multiplies by g makes it (R + w) g: no start is left out. The bets are averaged.

Rows that resemble their neighbours say less than their number: what a bucket wins is taken to the power of one over the design effect
that the baseline's own blocks show, at the rate of rows of the bucket. A bet to a power below 1 is still 1 or less on average; that
this is enough where neighbours are alike is approximate, and simulated.

That losses are back is proven in the same way, from the alarm on: by bets against a mean loss of at least c.

References
----------
Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2024), 2.3 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from monitoring.judging.performance.baseline import BucketLoss
from monitoring.judging.performance.bets import BETS, Null, Won, won_of

HARM_SHARE, DISPARITY_SHARE = 0.25, 0.25  # of the promise; the other half is drift's
RETURN_SHARE = 0.05  # of the promise an episode lasts on average where losses stay at the bound itself; above it far longer
LATELY = 1500  # rows
MOST_AT_ONCE = 100.0  # times what it was, a bucket's mean square counts for at most: one mistaken label keeps no episode open
_DAY_US = 86_400_000_000


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

    @property
    def log_return(self) -> float:
        """The logarithm of the evidence that losses are back, in days."""
        return math.log(self.promise_days * RETURN_SHARE)


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

    def after(self, bucket_us: int, log_days: float, won: Won, log_factor: float) -> Bet:
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
        The end of the bucket with which the evidence reached its threshold; None where it never did.
    square
        The mean square of how far losses were from the center, of some 1,500 rows of late.
    """

    through_us: int
    alarm_us: int | None = None
    bets: tuple[Bet, ...] = (Bet(),) * BETS
    square: float = 0.0

    @property
    def log_evidence(self) -> float:
        """The logarithm of what was won since any start, the mean of all bets: in days."""
        return _log_mean(self.bets)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        bets = [[bet.log_sum if math.isfinite(bet.log_sum) else None, *bet[1:]] for bet in self.bets]
        return {"through_us": self.through_us, "alarm_us": self.alarm_us, "bets": bets, "square": self.square}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Examples
        --------
        >>> HarmState.from_dict(HarmState(7).to_dict()) == HarmState(7)
        True
        """
        bets = tuple(Bet(-math.inf if log_sum is None else log_sum, *rest) for log_sum, *rest in stored["bets"])
        return cls(stored["through_us"], stored["alarm_us"], (*bets, *(Bet(),) * (BETS - len(bets))), stored["square"])


def advance(
    state: HarmState,
    null: Null,
    rule: Rule,
    losses: Iterable[BucketLoss],
    rest: Mapping[int, BucketLoss] | None = None,
    *,
    is_return: bool = False,
) -> HarmState:
    """Return what is won with some more buckets; the same, whether they come one by one or together.

    Parameters
    ----------
    losses
        Matured buckets, in order; of a segment where `null` is of one.
    rest
        The other rows of these buckets, by their start; where there are none nothing is bet.
    is_return
        Whether it is bet that losses are back, and not that they rose.

    Raises
    ------
    ValueError
        A bucket was looked at before: what is spent is spent, also where a label came late.
    """
    sizes, bets, through_us, alarm_us = null.bets(is_return=is_return), state.bets, state.through_us, state.alarm_us
    square, log_days, threshold = state.square, math.log(rule.width_us / _DAY_US), rule.log_return if is_return else rule.log_threshold
    for bucket in losses:
        if bucket.bucket_us < through_us:
            raise ValueError(f"the bucket of {bucket.bucket_us} was looked at before: those before {through_us} are spent")
        through_us = bucket.bucket_us + rule.width_us
        other = None if rest is None else rest.get(bucket.bucket_us)
        if not sizes or (null.rest is not None and other is None):
            continue
        won = won_of(null, sizes, bucket, other, square if is_return else None)
        seen = min(bucket.variance + (bucket.mean - null.center) ** 2, MOST_AT_ONCE * max(square, null.square))
        square += bucket.n / (bucket.n + LATELY) * (seen - square)
        effect = null.baseline.design_effect_at(won.rows * _DAY_US / rule.width_us)
        after = [bet.after(bucket.bucket_us, log_days, won, f / effect) for bet, f in zip(bets, won.log_factors, strict=False)]
        bets = (*after, *bets[len(after) :])
        if alarm_us is None and _log_mean(bets) >= threshold:
            alarm_us = through_us
    return HarmState(through_us, alarm_us, bets, square)


def _log_add(a: float, b: float) -> float:
    """Return the logarithm of a sum of two that are given by their logarithms."""
    most = max(a, b)
    return most + math.log1p(math.exp(min(a, b) - most)) if math.isfinite(most) else most


def _log_mean(bets: Sequence[Bet]) -> float:
    made = [bet.log_sum for bet in bets if math.isfinite(bet.log_sum)]  # the last bet is not always made
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


def best_of(state: HarmState) -> Bet:
    """Return the bet that won most."""
    return max(state.bets, key=lambda bet: bet.log_sum)


def look(state: HarmState, rule: Rule, *, is_return: bool = False) -> HarmLook:
    """Return what was won up to now; `is_return` as in `advance`."""
    threshold = (rule.log_return if is_return else rule.log_threshold) / math.log(10)
    evidence = state.log_evidence / math.log(10)
    best = best_of(state)
    if best.log_best <= 0:
        return HarmLook(evidence, threshold, state.alarm_us is not None, None, 0, 0.0)
    return HarmLook(evidence, threshold, state.alarm_us is not None, best.since_us, round(best.rows), best.loss / best.rows)
