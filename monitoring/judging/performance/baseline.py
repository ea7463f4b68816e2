"""What the losses of matured buckets are held against: the baseline, how sure it is, and how restless (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from scipy import special

from training.clock import duration_us

BASELINE = timedelta(days=28)  # four whole weeks, so that each day of the week weighs alike
LEAST_ROWS = 1500  # labelled rows below which the baseline's own error would bring alarms: with .20 known from them it is ±.02
LEAST_BLOCKS = 8  # of which a variance is learned
FAR = 20.0  # usual distances; a mean of few rows that lose with a long tail is hardly so far
CHANCE = 3.0  # standard errors by which blocks must vary more than independent rows would
ONE_SIDED = 0.95
_DAY_US = duration_us(timedelta(days=1))


@dataclass(frozen=True, slots=True)
class BucketLoss:
    """The losses of the labelled rows of one bucket, whichever version answered.

    Attributes
    ----------
    bucket_us
        Where the bucket begins (model time).
    n
        Labelled rows, at least one.
    mean, variance
        Of their losses; the variance within the bucket, divided by n.
    segment
        Whose rows, as ``place=coast``; empty for all.
    """

    bucket_us: int
    n: int
    mean: float
    variance: float
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a model's mean loss was while it was as it should be.

    Attributes
    ----------
    loss
        The name of the loss of a row, such as `log_loss`.
    start_us, end_us
        Its first bucket begins, its last one ends (model time).
    n, buckets
        Labelled rows, and buckets that have any.
    mean, variance
        Of the losses of all rows.
    design_effect
        By how much more the means of blocks of time vary than those of as many independent rows: the most over lengths from one bucket
        to an eighth of the baseline; 1 where that may be chance, or cannot be known from fewer than eight blocks.
    rows_a_day
        At which rate of labelled rows, in buckets that have any, that is so: of half as many a day neighbours weigh half as much.
    upper
        The upper one-sided 95 % bound of the mean, allowing for the design effect: with the tolerance added it is the null of harm.
    segment
        Whose rows; empty for all.
    """

    loss: str
    start_us: int
    end_us: int
    n: int
    buckets: int
    mean: float
    variance: float
    design_effect: float
    rows_a_day: float
    upper: float
    segment: str = ""

    def design_effect_at(self, rows_a_day: float) -> float:
        """Return the design effect at another rate of labelled rows: what blocks share weighs as they have rows.

        Examples
        --------
        >>> Baseline("miss", 0, 1, 1500, 28, 0.2, 0.16, 3.0, 100.0, 0.22).design_effect_at(200.0)
        5.0
        """
        return 1.0 + (self.design_effect - 1.0) * rows_a_day / self.rows_a_day

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Baseline:
        """Read what `to_dict` wrote."""
        return cls(**stored)


def learn_baseline(
    losses: Sequence[BucketLoss], loss: str, width_us: int, *, length: timedelta = BASELINE, least_rows: int = LEAST_ROWS
) -> Baseline | None:
    """Return the baseline of the first buckets: those of `length` from the first one on, and on until there are `least_rows`.

    Parameters
    ----------
    losses
        Matured covered buckets in order, of one segment.
    width_us
        How wide a bucket is.

    Returns
    -------
    None while there are too few.

    References
    ----------
    Kish, "Survey Sampling" (1965), 8.2: the design effect of clusters.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> days = [BucketLoss(number * day, 100, 0.2, 0.16) for number in range(30)]
    >>> learn_baseline(days[:27], "miss", day) is None
    True
    >>> learned = learn_baseline(days, "miss", day)
    >>> learned.n, round(learned.mean, 3), learned.design_effect, round(learned.upper, 4)
    (2800, 0.2, 1.0, 0.2124)
    """
    if not losses:
        return None
    starts = np.array([one.bucket_us for one in losses], dtype=np.int64)
    rows = np.array([one.n for one in losses], dtype=np.int64).cumsum()
    start_us = int(starts[0])
    last = max(int(np.searchsorted(starts + width_us, start_us + duration_us(length))), int(np.searchsorted(rows, least_rows)))
    if last >= len(losses):
        return None
    first = losses[: last + 1]
    return _baseline(first, _without_far(first), loss, width_us)


def _without_far(losses: Sequence[BucketLoss]) -> Sequence[BucketLoss]:
    """Leave out buckets whose mean is farther from the median of all than 20 usual distances from it: one mistaken label would hide harm.

    Examples
    --------
    >>> buckets = [BucketLoss(number, 50, 1.0 + number % 2 / 10, 0.3) for number in range(20)]
    >>> len(_without_far([*buckets, BucketLoss(20, 50, 200.0, 2e6)]))
    20
    """
    means = np.array([one.mean for one in losses])
    away = np.abs(means - np.median(means))
    errors = np.sqrt(np.median([one.variance for one in losses]) / np.array([one.n for one in losses]))
    usual = np.maximum(1.4826 * float(np.median(away)), errors)  # of few rows a mean is far by chance
    near = away <= FAR * usual
    kept = [one for one, is_near in zip(losses, near.tolist(), strict=True) if is_near]
    return kept if 2 * len(kept) > len(losses) else losses


def _baseline(whole: Sequence[BucketLoss], losses: Sequence[BucketLoss], loss: str, width_us: int) -> Baseline:
    """Return the baseline of some losses; it spans the whole, also what was left out."""
    starts = np.array([one.bucket_us for one in losses], dtype=np.int64)
    n = np.array([one.n for one in losses], dtype=np.float64)
    means = np.array([one.mean for one in losses])
    total = float(n.sum())
    mean = float(n @ means / total)
    variance = float(n @ (np.array([one.variance for one in losses]) + (means - mean) ** 2) / total)
    start_us, end_us = whole[0].bucket_us, whole[-1].bucket_us + width_us
    effect, blocks = _design_effect((starts - start_us) // width_us, n, means - mean, variance)
    quantile = float(special.ndtri(ONE_SIDED) if effect == 1.0 else special.stdtrit(blocks - 1, ONE_SIDED))
    return Baseline(
        loss=loss,
        start_us=start_us,
        end_us=end_us,
        n=int(total),
        buckets=len(losses),
        mean=mean,
        variance=variance,
        design_effect=effect,
        rows_a_day=total * _DAY_US / (len(losses) * width_us),  # as a bucket's own rate is told: hours without rows count for neither
        upper=mean + quantile * math.sqrt(variance * effect / total),
        segment=losses[0].segment,
    )


def _design_effect(
    place: np.ndarray[Any, np.dtype[np.int64]], n: np.ndarray[Any, Any], away: np.ndarray[Any, Any], variance: float
) -> tuple[float, int]:
    """Return by how much more blocks vary than independent rows, the most over their lengths, and how many blocks told it.

    Parameters
    ----------
    place, n, away
        Of each bucket: its number, its rows, its mean less that of all.
    """
    most, told_by = 1.0, len(place)
    length = 1
    while variance > 0:
        _, block = np.unique(place // length, return_inverse=True)
        rows = np.bincount(block, n)
        blocks = len(rows)
        if blocks < LEAST_BLOCKS:
            break
        sums = np.bincount(block, n * away)
        ratio = float((sums**2 / rows).sum() / (variance * (blocks - 1)))
        if ratio - 1.0 > CHANCE * math.sqrt(2.0 / (blocks - 1)) and ratio > most:
            most, told_by = ratio, blocks
        length *= 2
    return most, told_by
