"""Which neighbouring buckets have enough of their labels to be judged by (pure)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitoring.judging.label_delays import MOST_MISSING, QUANTILE
from monitoring.judging.labels.blindness import LEAST_DUE_OF_THIRD
from monitoring.judging.labels.counts import Counts
from training.clock import duration_us
from training.policies import LabelPolicy, WatchingPolicy

LEAST_TOGETHER = 1000  # rows: of a third of them the share of labels is known to four points
LEAST_NEWEST = 300  # rows: where less than 1 % of them lack a label, chance hardly shows 2 %
SURE = 2.0  # standard errors by which a third must fall short


@dataclass(frozen=True, slots=True)
class Cohort:
    """Neighbouring buckets that are judged together; half-open, model time.

    Attributes
    ----------
    n_answered
        Where labels that were drawn speak for all rows, how many of them there are; None where all labels count.
    """

    start_us: int
    end_us: int
    due: Counts
    labelled: Counts
    is_covered: bool
    n_answered: int | None = None

    @property
    def n_due(self) -> int:
        """How many rows there are."""
        return int(self.due.sum())

    @property
    def n_labelled(self) -> int:
        """How many of them have a label."""
        return int(self.labelled.sum())

    @property
    def n_usable(self) -> int:
        """How many labels there are to go by at least."""
        return self.n_labelled if self.n_answered is None else self.n_answered


@dataclass(frozen=True, slots=True)
class CoverageRule:
    """What of the labels must be there.

    Attributes
    ----------
    coverage
        The share of the labels that are due at maturity, `labels.coverage`.
    minimum_rows
        Fewer covered labelled rows are not enough to go by.
    every_us, bucket_us
        Distance of two slots, width of a bucket.
    """

    coverage: float
    minimum_rows: int
    every_us: int
    bucket_us: int

    @classmethod
    def of(cls, labels: LabelPolicy, watching: WatchingPolicy) -> CoverageRule:
        """Return the rule of a model file."""
        return cls(labels.coverage, watching.performance.minimum_rows, duration_us(watching.every), duration_us(watching.bucket))

    @property
    def least_share(self) -> float:
        """The share of mature rows that must have a label: at maturity 95 % are due."""
        return QUANTILE * self.coverage

    def is_covered(self, due: Counts, labelled: Counts) -> bool:
        """Return whether enough of some rows have a label, in all and in each third of the score that is not short of it by chance.

        Examples
        --------
        >>> rule = CoverageRule(0.9, 100, 1, 1)
        >>> rule.is_covered(np.array([100, 100, 100, 0]), np.array([100, 100, 60, 0]))
        False
        """
        least = self.least_share
        if labelled.sum() < least * due.sum():
            return False
        thirds = zip(due[:-1].tolist(), labelled[:-1].tolist(), strict=True)
        return all(
            has >= least * n - SURE * math.sqrt(n * least * (1 - least)) for n, has in thirds if n >= LEAST_DUE_OF_THIRD
        )  # fmt: skip

    def is_even(self, due: Counts, labelled: Counts) -> bool:
        """Return whether thirds of the score differ in their share of labels by no more than chance and what is late at maturity.

        Of a class whose labels are late 5 % may be outstanding: then the third in which it lies has that much less than another.

        Examples
        --------
        >>> rule = CoverageRule(0.9, 100, 1, 1)
        >>> rule.is_even(np.array([400, 400, 400, 0]), np.array([398, 399, 340, 0]))
        False
        """
        n = due[:-1]
        some = n >= LEAST_DUE_OF_THIRD
        if some.sum() < 2:
            return True
        shares = np.where(some, labelled[:-1] / np.maximum(n, 1), np.nan)
        low, high = int(np.nanargmin(shares)), int(np.nanargmax(shares))
        whole = float(labelled[:-1][some].sum() / n[some].sum())
        error = math.sqrt(whole * (1 - whole) * (1 / n[low] + 1 / n[high]))
        return bool(shares[high] - shares[low] <= 1 - QUANTILE + SURE * error)


def settled(cohorts: Sequence[Cohort], rule: CoverageRule, *, is_known: bool) -> tuple[Cohort, ...]:
    """Return cohorts of which those are covered only that are so together with the covered ones before them, up to a thousand rows.

    A few rows fall short of what is wanted by chance, and are given the benefit of it, each time: where all of them do, it is none.

    Parameters
    ----------
    is_known
        Whether it is known how late labels are: where it is not, as in a young log, the missing labels may all be of one class, and of the
        rows that are judged together no more than `MOST_MISSING` may be without one; nor of the newest that count, since the younger
        rows are the more is outstanding.
    """
    judged, together = list[Cohort](), deque[Cohort]()
    least = rule.least_share if is_known else (1 - MOST_MISSING) * min(1.0, rule.coverage / LabelPolicy().coverage)
    stop = len(cohorts) if is_known else _end_of_complete(cohorts, least)
    for place, one in enumerate(cohorts):
        if place >= stop and one.n_answered is None:
            judged.append(replace(one, is_covered=False))
            continue
        if not one.is_covered or one.n_answered is not None:
            judged.append(one)
            continue
        due, labelled = one.due.copy(), one.labelled.copy()
        for each in together:
            due, labelled = due + each.due, labelled + each.labelled
        is_covered = labelled.sum() >= least * due.sum() and rule.is_covered(due, labelled) and rule.is_even(due, labelled)
        judged.append(replace(one, is_covered=bool(is_covered)))
        if is_covered:
            together.append(one)
            while sum(each.n_due for each in together) - together[0].n_due >= LEAST_TOGETHER:
                together.popleft()
    return tuple(judged)


def _end_of_complete(cohorts: Sequence[Cohort], least: float) -> int:
    """Return the number of cohorts of which the newest `LEAST_NEWEST` rows have such a share of their labels; drawn labels do not count.

    Examples
    --------
    >>> days = [Cohort(day, day + 1, np.array([100]), np.array([has]), True) for day, has in enumerate([100, 99, 99, 98, 97, 94])]
    >>> _end_of_complete(days, 0.98)
    5
    """
    for stop in range(len(cohorts), 0, -1):
        due = labelled = 0
        for one in reversed(cohorts[:stop]):
            if one.n_answered is None:
                due, labelled = due + one.n_due, labelled + one.n_labelled
            if due >= LEAST_NEWEST:
                break
        if labelled >= least * due:
            return stop
    return 0
