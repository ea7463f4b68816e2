"""What became of the labels that came, and what to do where most of them came to nothing (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from monitoring.judging.label_delays import QUANTILE, plain_duration
from training.clock import duration_us, format_duration, from_us
from training.policies import LabelPolicy, RetentionPolicy

LOST = ("too_late", "unknown", "ambiguous", "invalid")  # what names no row that could take it; a duplicate or a conflict does
LEAST_LOST = 20  # of fewer labels nothing is concluded: somebody may have tried something
_MARGIN = 1.05
_DAY_US = duration_us(timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The labels that came in a range of model time.

    Attributes
    ----------
    since_us
        Where the range begins; None for the beginning of the log.
    counts
        How many, by what became of them.
    ages
        Of those too late: how old their rows were at most (microseconds), and how many.
    """

    since_us: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    ages: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, since_us: int | None, came: Iterable[tuple[int, str, int, int]]) -> Arrivals:
        """Add up what came: bucket, what became of it, age, number.

        Examples
        --------
        >>> Arrivals.of(None, [(0, "matched", 0, 5), (0, "too_late", 60, 1), (9, "too_late", 60, 2)]).counts
        {'matched': 5, 'too_late': 3}
        """
        counts: dict[str, int] = {}
        ages: dict[int, int] = {}
        for _, result, age_us, number in came:
            counts[result] = counts.get(result, 0) + number
            if result == "too_late":
                ages[age_us] = ages.get(age_us, 0) + number
        return cls(since_us, counts, ages)

    @property
    def total(self) -> int:
        """How many came."""
        return sum(self.counts.values())

    @property
    def lost(self) -> int:
        """How many name no row that could take them."""
        return sum(self.counts.get(result, 0) for result in LOST)

    @property
    def is_mostly_lost(self) -> bool:
        """Whether more came to nothing than name a row that has a label, and enough to say so."""
        return self.lost >= LEAST_LOST and 2 * self.lost > self.total

    def plain(self) -> str:
        """Say how many came, and what became of those that were not stored.

        Examples
        --------
        >>> Arrivals(None, {"matched": 5, "too_late": 3, "conflict": 1}).plain()
        '9 labels: 5 matched, 3 too late, 1 conflict'
        >>> Arrivals().plain()
        'no labels'
        """
        by_number = sorted(self.counts.items(), key=lambda each: (each[0] != "matched", -each[1], each[0]))
        parts = ", ".join(f"{number} {result.replace('_', ' ')}" for result, number in by_number)
        return f"{self.total} labels: {parts}" if parts else "no labels"

    def remedy(self, labels: LabelPolicy, retention: RetentionPolicy) -> str:
        """Say what most of the lost ones came to nothing by, and what would end it."""
        kind = max(LOST, key=lambda result: self.counts.get(result, 0))
        since = "" if self.since_us is None else f" since {from_us(self.since_us):%Y-%m-%d %H:%M}"
        of_labels = f"{self.counts.get(kind, 0)} of the {self.total} labels that came{since}"
        return f"{of_labels} {self._because(kind, labels, retention)}"

    def _because(self, kind: str, labels: LabelPolicy, retention: RetentionPolicy) -> str:
        kept = f"retention.log ({format_duration(retention.log)})"
        if kind == "too_late":
            bound = f"are of rows older than labels.too_late ({format_duration(labels.too_late)})"
            age_us = self._age_quantile()
            days = math.ceil(_MARGIN * age_us / _DAY_US)
            more = "" if timedelta(days=days) <= retention.log else f" and {kept} to at least as much"
            return f"{bound}, up to {plain_duration(age_us)}: set labels.too_late to {days}d{more}"
        return {
            "unknown": "name no row of this model's log: send the ids that its predictions were answered with, or the own ids they were "
            f"asked with, before rows go by {kept}",
            "ambiguous": "have an own id of several rows that differ: send the ids of predictions, or set labels.own_id to all",
            "invalid": "are no value of the target: the answers to them say why",
        }[kind]

    def _age_quantile(self) -> int:
        ages = np.array(sorted(self.ages), dtype=np.int64)
        shares = np.cumsum([self.ages[age] for age in ages.tolist()]) / sum(self.ages.values())
        return int(ages[np.searchsorted(shares, QUANTILE)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(sorted(self.counts.items()))


@dataclass(frozen=True, slots=True)
class Received:
    """The labels that came as of a slot.

    Attributes
    ----------
    slot
        Those since the slot before.
    lately
        Those of a window, or since the log began where no row has a label.
    remedy
        What would end it where most of these came to nothing; None otherwise.
    """

    slot: Arrivals = field(default_factory=Arrivals)
    lately: Arrivals = field(default_factory=Arrivals)
    remedy: str | None = None

    @classmethod
    def of(cls, slot: Arrivals, lately: Arrivals, labels: LabelPolicy, retention: RetentionPolicy) -> Received:
        """Judge what came."""
        return cls(slot, lately, lately.remedy(labels, retention) if lately.is_mostly_lost else None)
