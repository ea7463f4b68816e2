"""Inputs broken: data faults bucket by bucket, measured against the reference's own buckets (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from monitoring.usual import FEWEST_ROWS, Usual, count_varying, grouped, is_constant_in, outside_of, usual
from training.bins import Profile
from training.policies import FaultPolicy
from training.profile import Reference

FaultKind = Literal["null_burst", "constant", "out_of_range", "new_category", "rejects"]

SURPRISE = 1e-6  # how unlikely a burst must be under the most extreme bucket of the reference
SLACK = 0.02  # added to the reference's most extreme share: a share of 0 in a finite sample is not proof of 0
NULL_SHARE = 0.3  # fewer missing rows than this are no burst, whatever the reference
BURST_SHARE: dict[str, float] = {"categorical": 0.5, "numeric": 0.8}  # the same for rows outside of what was learned
RESTLESS = 0.5  # a column whose own buckets are this far from its total moves slowly in blocks: no bursts are called
SPREAD = 3  # bins a bucket of a number must fill to be called moving and not merely stepping
VARYING = 0.5  # a bucket explains a constant column when at least this part of the columns varied in it


@dataclass(frozen=True, slots=True)
class Fault:
    """One column (or the schema as a whole, `column` "*") broken in one span of model time.

    Parameters
    ----------
    start_us, end_us
        Half-open span, microseconds of model time.
    rows
        Rows judged.
    share, usual
        The offending share of them, and the largest share any bucket of the reference had.
    """

    kind: FaultKind
    column: str
    start_us: int
    end_us: int
    rows: int
    share: float
    usual: float

    def sentence(self) -> str:
        """Say what is wrong in words."""
        says = {
            "null_burst": f"{self.column}: {self.share:.0%} of {self.rows} rows are missing, at most {self.usual:.0%} in the reference",
            "constant": f"{self.column}: the same value in all {self.rows} rows, while the other columns vary",
            "out_of_range": f"{self.column}: {self.share:.0%} of {self.rows} rows lie outside of everything seen in training",
            "new_category": f"{self.column}: {self.share:.0%} of {self.rows} rows have a category never seen in training",
            "rejects": f"{self.share:.0%} of {self.rows} rows sent were refused by the schema",
        }
        return says[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of model time [start_us, end_us) with the reason it is set aside."""

    start_us: int
    end_us: int
    reason: str


def faults(
    reference: Reference,
    buckets: Sequence[tuple[int, Profile]],
    bucket_us: int,
    policy: FaultPolicy,
    rejects: Mapping[int, int] | None = None,
) -> tuple[Fault, ...]:
    """Find broken buckets.

    Parameters
    ----------
    reference
        What the version that answered was trained on.
    buckets
        Start (microseconds of model time) and counts of each bucket, in order, counted under the reference's bins.
    bucket_us
        Width of a bucket, microseconds.
    policy
        Least rows, and how much more than in the reference's worst bucket it must be.
    rejects
        Rows refused by the schema, by bucket start.

    Returns
    -------
    tuple of Fault
        A share must be large, larger than in any bucket of the reference, and very unlikely under the worst of them.
    """
    known = usual(reference, policy.minimum_rows)
    judged = [group for group in grouped(buckets, bucket_us, policy.minimum_rows) if group[2].rows >= FEWEST_ROWS]
    found = [fault for start, end, profile in judged for fault in _faults(known, policy, start, end, profile)]
    return (*found, *_reject_bursts(rejects or {}, {s: p.rows for s, p in buckets}, bucket_us, policy))


def quarantine(found: Sequence[Fault], bucket_us: int) -> tuple[Span, ...]:
    """Return what to set aside: the faulty buckets and one guard bucket on either side, merged where they touch."""
    spans: list[Span] = []
    for fault in sorted(found, key=lambda f: (f.start_us, f.end_us)):
        start, end = fault.start_us - bucket_us, fault.end_us + bucket_us
        reason = f"{fault.kind} {fault.column}"
        if spans and start <= spans[-1].end_us:
            last = spans.pop()
            reasons = last.reason.split(", ")
            joined = last.reason if reason in reasons else f"{last.reason}, {reason}"
            spans.append(Span(last.start_us, max(last.end_us, end), joined))
        else:
            spans.append(Span(start, end, reason))
    return tuple(spans)


def _faults(known: Mapping[str, Usual], policy: FaultPolicy, start: int, end: int, profile: Profile) -> Iterator[Fault]:
    varying = count_varying(profile)
    for name, column in known.items():
        counts = profile.counts[name]
        n = int(counts.sum())
        missing = counts[-1] / n
        if missing >= max(NULL_SHARE, column.missing + policy.null_share) and _surprise(int(counts[-1]), n, column.missing) < SURPRISE:
            yield Fault("null_burst", name, start, end, n, float(missing), column.missing)
        outside = int(outside_of(column.bins, counts))
        kind: FaultKind = "new_category" if column.bins.kind == "categorical" else "out_of_range"
        if _is_burst(outside, n, column, policy, profile):
            yield Fault(kind, name, start, end, n, outside / n, column.outside)
        if _is_stuck(profile, column, varying):
            yield Fault("constant", name, start, end, n, 1.0, float(column.shares[int(counts[:-1].argmax())]))


def _is_burst(outside: int, n: int, column: Usual, policy: FaultPolicy, profile: Profile) -> bool:
    rise = policy.new_category_share if column.bins.kind == "categorical" else policy.out_of_range_share
    if column.is_constant or (column.restlessness > RESTLESS and not _is_far_out(column, profile)):
        return False
    return outside > n * max(BURST_SHARE[column.bins.kind], column.outside + rise) and _surprise(outside, n, column.outside) < SURPRISE


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
    if present < FEWEST_ROWS or not is_constant_in(profile, column.bins.name):
        return False
    if column.is_constant or (column.constant_among and column.constant_among >= VARYING * varying):
        return False
    if varying < VARYING * column.others_varying:
        return False
    if column.is_discrete and column.restlessness > RESTLESS:
        return False
    by_chance = min(1.0, _repeats(column, int(counts[:-1].argmax())) + SLACK) ** present
    return by_chance < SURPRISE


def _repeats(column: Usual, cell: int) -> float:
    """Return how often one value can repeat by nature: of a bin that is one value, its share in the worst bucket."""
    edges = column.bins.edges
    is_heavy = cell + 1 < len(edges) and edges[cell + 1] <= np.nextafter(edges[cell], np.inf)
    return float(column.most[cell] if column.is_discrete or is_heavy else column.shares[cell])


def _reject_bursts(rejects: Mapping[int, int], rows: Mapping[int, int], bucket_us: int, policy: FaultPolicy) -> Iterator[Fault]:
    for start, refused in sorted(rejects.items()):
        sent = refused + rows.get(start, 0)
        if refused >= policy.minimum_rows and refused > policy.reject_share * sent:
            yield Fault("rejects", "*", start, start + bucket_us, sent, refused / sent, 0.0)


def _surprise(k: int, n: int, usual_share: float) -> float:
    """Return the chance of k or more in n under the reference's worst bucket: P(X >= k) = I_p(k, n - k + 1)."""
    p = min(1.0, usual_share + SLACK)
    return float(special.betainc(k, n - k + 1, p)) if k else 1.0
