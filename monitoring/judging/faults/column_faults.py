"""Whether one column of one group of rows is broken, measured against what is usual for it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from monitoring.judging.usual_ranges import FEWEST_ROWS, SPREAD, Usual, is_constant_in, outside_of
from training.policies import FaultPolicy
from training.profiles.bins import Profile

ColumnKind = Literal["null_burst", "constant", "out_of_range", "new_category", "off_calendar"]
SURPRISE = 1e-6  # how unlikely a burst must be under the most extreme bucket of the reference
SLACK = 0.02  # added to the reference's most extreme share: a share of 0 in a finite sample is not proof of 0
NULL_SHARE = 0.25  # fewer missing rows than this are no burst, whatever the reference
BURST_SHARE: dict[str, float] = {"categorical": 0.5, "numeric": 0.8}  # the same for rows outside of what was learned
MAX_VARIABILITY = 0.5  # a column whose own buckets are this far from its total moves slowly in blocks
VARYING = 0.5  # a bucket explains a constant column when at least this part of the columns varied in it
RENAMED_SHARE = 0.95  # of a restless category: all of them, but for a few stragglers
RENAMED_NOVELTY = 0.2  # a category that turns into new ones this often is one of names that come and go


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a column: the offending share of its rows, and the largest any bucket of the reference had."""

    kind: ColumnKind
    share: float
    usual: float


def broken(column: Usual, profile: Profile, varying: int, policy: FaultPolicy) -> list[Finding]:
    """Return what is wrong with a column of some rows.

    Parameters
    ----------
    varying
        How many columns vary in these rows.
    """
    counts = profile.counts[column.bins.name]
    n = int(counts.sum())
    if not n:
        return []
    findings = []
    missing = int(counts[-1])
    if missing >= n * max(NULL_SHARE, column.missing + policy.null_share) and surprise(missing, n, column.missing) < SURPRISE:
        findings.append(Finding("null_burst", missing / n, column.missing))
    outside = int(outside_of(column.bins, counts, is_calendar=column.is_calendar))
    if _is_burst(outside, n, column, policy, profile):
        kind: ColumnKind = "new_category" if column.bins.kind == "categorical" else "out_of_range"
        findings.append(Finding("off_calendar" if column.is_calendar else kind, outside / n, column.outside))
    if _is_stuck(profile, column, varying):
        findings.append(Finding("constant", 1.0, float(column.shares[int(counts[:-1].argmax())])))
    return findings


def surprise(k: int, n: int, usual_share: float) -> float:
    """Return the chance of k > 0 or more in n under the reference's worst bucket: P(X >= k) = I_p(k, n - k + 1)."""
    p = min(1.0, usual_share + SLACK)
    return float(special.betainc(k, n - k + 1, p))


def _is_burst(outside: int, n: int, column: Usual, policy: FaultPolicy, profile: Profile) -> bool:
    is_category = column.bins.kind == "categorical"
    rise = policy.new_category_share if is_category else policy.out_of_range_share
    if column.is_constant and not column.is_calendar:
        return False
    if column.variability > MAX_VARIABILITY and not (_is_renamed(outside, n, column) if is_category else _is_far_out(column, profile)):
        return False
    least = BURST_SHARE["categorical" if column.is_calendar else column.bins.kind]
    return outside > n * max(least, column.outside + rise) and surprise(outside, n, column.outside) < SURPRISE


def _is_renamed(outside: int, n: int, column: Usual) -> bool:
    """Return whether a category that changes from bucket to bucket, but among names that come back, has none of them left."""
    return outside >= RENAMED_SHARE * n and column.novelty < RENAMED_NOVELTY


def _is_far_out(column: Usual, profile: Profile) -> bool:
    """Return whether a number that moves with the seasons left its range by more than the range's own width.

    Columns that stand still within a bucket (a month, a rate) jump where they like and are never called far out.
    """
    name = column.bins.name
    if column.spread < SPREAD or name not in profile.minimum:
        return False
    width = column.high - column.low
    return bool(profile.minimum[name] < column.low - width or profile.maximum[name] > column.high + width)


def _is_stuck(profile: Profile, column: Usual, varying: int) -> bool:
    counts = profile.counts[column.bins.name]
    present = int(counts[:-1].sum())
    if present < FEWEST_ROWS or column.is_calendar or not is_constant_in(profile, column.bins.name):
        return False
    if column.is_constant or (column.constant_among and column.constant_among >= VARYING * varying):
        return False
    if varying < VARYING * column.others_varying:
        return False
    if column.is_discrete and column.variability > MAX_VARIABILITY and column.spread < SPREAD:
        return False
    by_chance = min(1.0, _repeats(column, int(counts[:-1].argmax()), profile) + SLACK) ** present
    return by_chance < SURPRISE


def _repeats(column: Usual, cell: int, profile: Profile) -> float:
    """Return how often one value can repeat by nature.

    Of a bin that is one value, and of a value at which many buckets begin or end (what an instrument cannot read below), it is the
    share in the worst bucket.
    """
    edges = column.bins.edges
    is_heavy = cell + 1 < len(edges) and edges[cell + 1] <= np.nextafter(edges[cell], np.inf)
    is_limit = profile.minimum.get(column.bins.name) in column.limits
    return float(column.most[cell] if column.is_discrete or is_heavy or is_limit else column.shares[cell])
