"""From losses by tick to regret and degraded time, and their sums over streams (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

CAPPED = 50.0  # regret of one stream in a mean, in percent
BEHIND, OVER = 0.10, 3  # degraded: further behind than this share, over so many ticks


def regret(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Return by how many percent a mean loss is above the reference's; ticks count alike.

    Examples
    --------
    >>> regret([1.0, 2.0], [1.0, 1.0])
    50.0
    """
    return 100 * (fmean(losses) / fmean(reference) - 1)


def degraded(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Return the share of time in which the mean of three ticks is more than 10 % behind that of the reference.

    Examples
    --------
    >>> degraded([1.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0], [1.0] * 7)
    0.6
    """
    ours, best = (np.convolve(each, np.ones(OVER) / OVER, "valid") for each in (losses, reference))
    return float((ours > (1 + BEHIND) * best).mean())


class Spread(NamedTuple):
    """Median, mean (of which no stream is more than 50 %) and worst regret over streams."""

    median: float
    mean: float
    worst: float

    @classmethod
    def of(cls, regrets: Sequence[float]) -> Spread:
        """Return that of some streams.

        Examples
        --------
        >>> Spread.of([-1.0, 2.0, 100.0])
        Spread(median=2.0, mean=17.0, worst=100.0)
        """
        return cls(median(regrets), fmean(min(each, CAPPED) for each in regrets), max(regrets))
