"""How late labels come, class by class, though those of the newest rows are still outstanding (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from training.clock import format_duration
from training.dataset.maturity import DUE_AT_MATURITY

LEAST_LABELS = 500  # before there are so many of all classes, nothing is measured
LEAST_OF_CLASS = 20  # labels of a class, and rows at risk at the longest delay that is asked about
QUANTILE = DUE_AT_MATURITY
MOST_MISSING = 0.02  # share of rows: by no more can the share of a class be off where all of the missing are of one
BINS_AN_OCTAVE = 4
DRAWN = -1  # in place of a bin: of labels that came because they were asked for
_LONGEST_US = 100 * 365 * 86_400_000_000
_LEAST_BASE_US = 60_000_000
_HOUR, _DAY = 3_600_000_000, 86_400_000_000

Delays = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DelayBins:
    """Bins of delays: the first holds all that come within `base_us`, each further one ends 19 % later than the one before.

    Examples
    --------
    >>> bins = DelayBins.of(timedelta(hours=1))
    >>> bins.places(np.array([0, 3_600_000_000, 3_600_000_001, 7_200_000_000])).tolist()
    [0, 0, 1, 4]
    """

    base_us: int
    ends_us: Delays

    @classmethod
    def of(cls, delay: timedelta | None) -> DelayBins:
        """Return the bins whose first one is what the model file calls in time, of a minute at least."""
        base_us = max(round((delay or timedelta()) / timedelta(microseconds=1)), _LEAST_BASE_US)
        number = BINS_AN_OCTAVE * int(np.ceil(np.log2(_LONGEST_US / base_us)))
        ends = np.round(base_us * 2.0 ** (np.arange(max(number, 1) + 1) / BINS_AN_OCTAVE)).astype(np.int64)
        return cls(base_us, ends)

    def places(self, delays_us: Delays) -> npt.NDArray[np.intp]:
        """Return the bin of each delay, shape (n,)."""
        return np.minimum(np.searchsorted(self.ends_us, delays_us, side="left"), len(self.ends_us) - 1)

    def ages(self, ages_us: Delays) -> npt.NDArray[np.intp]:
        """Return how many of the bins a row of each age has behind it, shape (n,)."""
        return np.searchsorted(self.ends_us, ages_us, side="right")


@dataclass(frozen=True, slots=True)
class ClassDelay:
    """The delay within which 95 % of the labels of a class come (of a regression: of a third of the target).

    Attributes
    ----------
    labels
        How many it was measured on.
    is_known
        Whether the log is more than twice as old as that; otherwise it is at least so much.
    """

    name: str
    labels: int
    quantile_us: int
    is_known: bool

    def sentence(self) -> str:
        """Say it in words."""
        return f"of {self.name} in {'' if self.is_known else 'at least '}{plain_duration(self.quantile_us)}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"class": self.name, "labels": self.labels, "quantile_us": self.quantile_us, "is_known": self.is_known}


def delay_quantile(counts: npt.NDArray[np.int64], share: float = QUANTILE, least: int = LEAST_OF_CLASS) -> tuple[int, int] | None:
    """Return the bin within which a share of the delays lie, and the longest that can be asked about; None with too few labels.

    A label that has not come yet is not seen: of the rows of an age only delays up to that age are. Counting those that are seen
    makes delays too short, the more so the younger the log is.

    Parameters
    ----------
    counts
        Labels by age of their row and delay, shape (n_bins + 1, n_bins): a row of age `a` is older than the ends of the bins before `a`.
    least
        Rows with a delay up to a bin, and old enough for it, without which the bin is not asked about.

    Notes
    -----
    The product-limit estimator in reverse time: F(b) is the product over the bins c > b of 1 - n(c) / N(c), n(c) being the labels of
    delay c of the rows that are old enough for c, N(c) those of delay c or less of the same rows. It is F given a delay up to the longest
    that the ages allow, so it errs, if at all, to the short side.

    References
    ----------
    Lynden-Bell, "A method of allowing for known observational selection in small samples applied to 3CR quasars" (1971).
    """
    n_bins = counts.shape[1]
    older = counts[::-1].cumsum(axis=0)[::-1]  # [a, b]: rows of age a or more
    at = np.arange(n_bins)
    came = older[at + 1, at]
    at_risk = older.cumsum(axis=1)[at + 1, at]
    reached = np.flatnonzero(at_risk >= least)
    if not len(reached):
        return None
    longest = int(reached[-1])
    steps = 1.0 - came[: longest + 1] / np.maximum(at_risk[: longest + 1], 1)
    within = np.append(steps[1:][::-1].cumprod()[::-1], 1.0)
    return int(np.argmax(within >= share)), longest


def class_delays(labels: Iterable[tuple[int, Mapping[tuple[str, int], int]]], bins: DelayBins) -> tuple[ClassDelay, ...]:
    """Measure the delays of each class of which there are enough labels; nothing of fewer than 500 labels in all.

    Parameters
    ----------
    labels
        For rows of one age each (microseconds): how many labels there are by class and bin of their delay; those that were `DRAWN` say
        nothing of when labels come by themselves.
    """
    tables: dict[str, npt.NDArray[np.int64]] = {}
    n_bins, known = len(bins.ends_us), [each for each in labels if each[1]]
    ages = bins.ages(np.array([age_us for age_us, _ in known], dtype=np.int64))
    for age, (_, counts) in zip(ages.tolist(), known, strict=True):
        for (name, place), number in counts.items():
            if place == DRAWN:
                continue
            if name not in tables:
                tables[name] = np.zeros((n_bins + 1, n_bins), dtype=np.int64)
            tables[name][age, place] += number
    sizes = {name: int(table.sum()) for name, table in tables.items()}
    if sum(sizes.values()) < LEAST_LABELS:
        return ()
    measured = []
    for name in sorted(tables):
        quantile = delay_quantile(tables[name]) if sizes[name] >= LEAST_OF_CLASS else None
        if quantile is not None:
            place, longest = quantile
            is_known = place == 0 or 2 * bins.ends_us[place] <= bins.ends_us[longest]
            measured.append(ClassDelay(name, sizes[name], int(bins.ends_us[place]), bool(is_known)))
    return tuple(measured)


def not_measured(usual: Mapping[str, int], delays: Iterable[ClassDelay], due: int) -> tuple[str, ...]:
    """Return the classes whose delay could not be measured, though they matter or it could have been if their labels came as others do.

    A class matters whose rows, were all of their labels outstanding, would be more than may be missing while delays are not known.

    Parameters
    ----------
    usual
        How many of the rows that were learned from are of each class.
    delays
        What was measured.
    due
        Rows that are older than `labels.delay`.

    Examples
    --------
    >>> canceled = ClassDelay("canceled", 400, 86_400_000_000, True)
    >>> not_measured({"stayed": 700, "canceled": 300, "moved": 3}, [canceled], 1000)
    ('stayed',)
    """
    rows, known = max(1, sum(usual.values())), {one.name for one in delays}
    least = min(MOST_MISSING * rows, 2 * LEAST_OF_CLASS * rows / max(1, due))
    return tuple(sorted(name for name, number in usual.items() if name not in known and number >= least))


def plain_duration(duration_us: int) -> str:
    """Return a duration rounded to what a person wants to know.

    Examples
    --------
    >>> plain_duration(9 * 86_400_000_000 + 1), plain_duration(5 * 3_600_000_000), plain_duration(90_000_000)
    ('9 days', '5 hours', '2m')
    """
    if duration_us >= 2 * _DAY:
        return f"{round(duration_us / _DAY)} days"
    if duration_us >= 2 * _HOUR:
        return f"{round(duration_us / _HOUR)} hours"
    return format_duration(timedelta(minutes=-(-duration_us // 60_000_000)))
