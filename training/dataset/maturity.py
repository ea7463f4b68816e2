"""Which rows of a table are old enough for their labels to be there, and how many of them have one (pure).

The newest rows of a table whose labels come late are known by the quick ones only: a ride that is not over has no duration yet. To learn
from those that have a label already is to learn that all rides are short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from training.clock import duration_us
from training.policies import LabelPolicy
from training.schema.rows import Rows

BY_DAY_US = 60 * 86_400_000_000
"""A shorter table is counted by days, a longer one by months."""
LEAST_ROWS, LEAST_FALL, LEAST_Z = 50, 0.05, 4.0
DUE_AT_MATURITY = 0.95


@dataclass(frozen=True, slots=True)
class LabelledShare:
    """How many rows of a month (``2026-03``) or day there are, and how many of them have a label."""

    period: str
    rows: int
    labelled: int

    @property
    def share(self) -> float:
        """The share of rows with a label."""
        return self.labelled / self.rows


def mature_rows(rows: Rows, labels: LabelPolicy, *, has_time: bool) -> Rows:
    """Return the rows that were mature at the newest time of the table; all of them where every row has a label.

    Parameters
    ----------
    rows
        In time order, labelled or not.
    has_time
        Whether their times are times, or the order of a file only: then a delay in time says nothing.

    Examples
    --------
    >>> target = np.array([1.0, 2.0, 3.0, np.nan])
    >>> rows = Rows({"x": np.zeros(4)}, target, np.arange(4) * 3_600_000_000)
    >>> from datetime import timedelta
    >>> len(mature_rows(rows, LabelPolicy(timedelta(hours=2)), has_time=True))
    2
    >>> len(mature_rows(rows, LabelPolicy(None, delay_rows=3), has_time=False))
    1
    """
    if not len(rows) or rows.is_labelled.all():
        return rows
    if labels.delay_rows is not None:
        return rows.slice(0, max(len(rows) - labels.delay_rows, 0))
    if not has_time or labels.delay is None:
        return rows
    return rows.slice(0, int(np.searchsorted(rows.time_us, rows.time_us[-1] - duration_us(labels.delay), "right")))


def covered_rows(rows: Rows, labels: LabelPolicy, bucket: timedelta) -> Rows:
    """Return mature rows without the newest of which too few have a label: those that are there came early, which is no accident.

    Rows are judged by `bucket`, joined until there are fifty: at maturity 95 % of the labels are due, of which the share
    `labels.coverage` must be there. Where the others as a whole have fewer too, labels are missing everywhere and not at the end:
    all rows are returned.

    Examples
    --------
    >>> target = np.concatenate([np.ones(900), np.where(np.arange(100) % 8, np.nan, 1.0)])
    >>> rows = Rows({"x": np.zeros(1000)}, target, np.arange(1000) * 3_600_000_000)
    >>> len(covered_rows(rows, LabelPolicy(), timedelta(days=1)))
    864
    """
    if not len(rows):
        return rows
    is_labelled, least = rows.is_labelled, DUE_AT_MATURITY * labels.coverage
    buckets = np.flatnonzero(np.diff(rows.time_us // duration_us(bucket), prepend=-1))
    starts = [0]
    for start in buckets.tolist():
        if start - starts[-1] >= LEAST_ROWS:
            starts.append(start)
    if len(rows) - starts[-1] < LEAST_ROWS and len(starts) > 1:
        starts.pop()
    shares = np.add.reduceat(is_labelled, starts, dtype=np.int64) / np.diff(starts, append=len(rows))
    covered = np.flatnonzero(shares >= least)
    if not len(covered) or covered[-1] == len(starts) - 1:
        return rows
    end = starts[int(covered[-1]) + 1]
    return rows.slice(0, end) if is_labelled[:end].mean() >= least else rows


def labelled_shares(rows: Rows) -> tuple[LabelledShare, ...]:
    """Count rows and labels by month, or by day where there are less than sixty."""
    if not len(rows):
        return ()
    unit = "D" if rows.time_us[-1] - rows.time_us[0] < BY_DAY_US else "M"
    periods, place = np.unique(rows.time_us.astype("datetime64[us]").astype(f"datetime64[{unit}]"), return_inverse=True)
    counts = np.bincount(place)
    labelled = np.bincount(place, rows.is_labelled).astype(np.int64)
    return tuple(map(LabelledShare, periods.astype(str).tolist(), counts.tolist(), labelled.tolist()))


def fall_of(shares: tuple[LabelledShare, ...]) -> str | None:
    """Return in a sentence that the last period has fewer labels than those before; None when it has not.

    Of small periods, as many as have fifty rows together are the last one.

    Notes
    -----
    The difference of two proportions by its pooled error (z of at least four), and at least five points.

    Examples
    --------
    >>> fall_of((LabelledShare("2026-01", 1000, 990), LabelledShare("2026-02", 1000, 600)))
    'only 60% of the rows of 2026-02 have a label, 99% before: labels come later than labels.delay says, or not for all rows'
    >>> fall_of((LabelledShare("2026-01", 1000, 990), LabelledShare("2026-02", 1000, 985))) is None
    True
    """
    cut = len(shares)
    while cut and sum(part.rows for part in shares[cut:]) < LEAST_ROWS:
        cut -= 1
    before, newest = shares[:cut], shares[cut:]
    if not before or sum(part.rows for part in before) < LEAST_ROWS:
        return None
    periods = newest[0].period if len(newest) == 1 else f"{newest[0].period} to {newest[-1].period}"
    last = LabelledShare(periods, sum(part.rows for part in newest), sum(part.labelled for part in newest))
    rows, known = sum(part.rows for part in before), sum(part.labelled for part in before)
    pooled = (known + last.labelled) / (rows + last.rows)
    error = math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / last.rows))
    fall = known / rows - last.share
    if fall < LEAST_FALL or fall < LEAST_Z * error:
        return None
    return (
        f"only {last.share:.0%} of the rows of {last.period} have a label, {known / rows:.0%} before: labels come later than "
        "labels.delay says, or not for all rows"
    )
