"""Rows by the time of their prediction: which are old enough for their labels, and whether enough have them to go by (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from monitoring.judging.data_faults import Span
from monitoring.judging.label_delays import ClassDelay, DelayBins
from monitoring.judging.labels.arrivals import Received
from monitoring.judging.labels.blindness import apart, differing, remedy
from monitoring.judging.labels.counts import CELLS, THIRDS, Counts, LabelCounts
from monitoring.judging.labels.coverage import Cohort, CoverageRule, settled
from monitoring.judging.labels.faults import LabelFindings
from monitoring.judging.labels.pooling import firsts, joined, runs
from monitoring.judging.labels.requested import NO_REQUESTS, Requested
from training.clock import duration_us, from_us
from training.policies import LabelPolicy

LEAST_DUE = 50  # rows that are judged together: of fewer, chance would decide
LEAST_COMPLETE = 300  # rows that all have their label: less than 1 % come later


@dataclass(frozen=True, slots=True)
class Maturity:
    """When rows are old enough for their labels to be in.

    Attributes
    ----------
    slot_us
        As of when.
    end_us
        The exclusive end of the mature rows; None while there are none.
    needed_us
        How old they are at least: the larger of `labels.delay` and what was measured.
    patience_us
        The same as far as it is known; where the log is too young to measure it, `labels.delay`.
    delays
        What was measured, by class.
    is_known
        Whether it is known how late labels of all classes come: what has no label then is not of the one that comes late.
    missing
        The classes of which it is not known because there are too few labels, though more were to be expected.
    """

    slot_us: int
    end_us: int | None
    needed_us: int
    patience_us: int
    delays: tuple[ClassDelay, ...] = ()
    is_known: bool = True
    missing: tuple[str, ...] = ()


def measured_maturity(slot_us: int, delays: tuple[ClassDelay, ...], labels: LabelPolicy, missing: Sequence[str] = ()) -> Maturity:
    """Return when rows are mature by time.

    Delays are measured to a fifth: what is no later than that is in time.

    Parameters
    ----------
    missing
        The classes of which too few labels came to measure, though more were to be expected.

    Examples
    --------
    >>> from datetime import timedelta
    >>> day = 86_400_000_000
    >>> slow = ClassDelay("stayed", 900, 9 * day, True)
    >>> measured_maturity(100 * day, (slow,), LabelPolicy(timedelta(days=2))).end_us == 91 * day
    True
    """
    delay_us = 0 if labels.delay is None else duration_us(labels.delay)
    in_time_us = int(DelayBins.of(labels.delay).ends_us[1])
    late = [one for one in delays if one.quantile_us > in_time_us]
    needed_us = max([delay_us, *(one.quantile_us for one in late)])
    is_known = all(one.is_known for one in late)
    patience_us = needed_us if is_known else delay_us
    return Maturity(
        slot_us,
        slot_us - needed_us,
        needed_us,
        patience_us,
        delays,
        is_known and bool(delays) and not missing,
        tuple(missing) if delays else (),
    )


def where_complete(
    maturity: Maturity, counts: Mapping[int, LabelCounts], labels: LabelPolicy, bucket_us: int, aside: Sequence[Span]
) -> Maturity:
    """Return the maturity that ends later, though not later than `labels.delay`, where all rows before it have their label.

    Then nothing is outstanding, however late labels were measured to come: a feed may bring them all once a week, just before the slot.
    Of 300 rows without one that is outstanding, less than 1 % come late (95 %, the rule of three); fewer rows may be the early ones.

    Parameters
    ----------
    counts
        By bucket; of the one that the end by `labels.delay` parts, the rows before it.
    """
    delay_us = 0 if labels.delay is None else duration_us(labels.delay)
    latest_us = maturity.slot_us - delay_us
    if labels.delay_rows is not None or maturity.end_us is None or maturity.end_us >= latest_us:
        return maturity
    buckets = _Buckets.of(counts, bucket_us, aside)
    starts, due, labelled = buckets.starts, buckets.due.sum(axis=1), buckets.labelled.sum(axis=1)
    younger = (starts + bucket_us > maturity.end_us) & (starts < latest_us)
    partial = np.flatnonzero(younger & (due > labelled))
    end_us = min(latest_us, int(starts[partial[0]])) if len(partial) else latest_us
    if due[younger & (starts < end_us)].sum() < LEAST_COMPLETE:
        return maturity
    needed_us = maturity.slot_us - end_us
    return replace(maturity, end_us=end_us, needed_us=needed_us, patience_us=min(maturity.patience_us, needed_us))


@dataclass(frozen=True, slots=True, eq=False)
class Cohorts:
    """The mature rows of a model as of a slot, by the time of their prediction; whoever reads labels goes by it.

    Attributes
    ----------
    counts
        By bucket: the rows of whole buckets, and of the one that is not mature as a whole those that are.
    aside
        Quarantined ranges, which count on neither side.
    cohorts
        The mature rows, in order.
    received
        The labels that came, and what became of them.
    findings
        What is wrong with labels: where they are broken, or held back, rows are not covered.
    has_labels
        Whether any row of the log has a label.
    blind
        That there is nothing to go by, and what would end it; None while there is, or too few rows came to know.
    requested
        The label requests that are answered.
    """

    counts: Mapping[int, LabelCounts]
    maturity: Maturity
    rule: CoverageRule
    aside: tuple[Span, ...]
    cohorts: tuple[Cohort, ...]
    has_labels: bool
    blind: str | None
    received: Received = field(default_factory=Received)
    findings: LabelFindings = field(default_factory=LabelFindings)
    requested: Requested = NO_REQUESTS

    @classmethod
    def of(
        cls,
        counts: Mapping[int, LabelCounts],
        maturity: Maturity,
        rule: CoverageRule,
        aside: Sequence[Span] = (),
        received: Received | None = None,
        findings: LabelFindings | None = None,
        requested: Requested = NO_REQUESTS,
    ) -> Cohorts:
        """Judge the rows as of a slot; `counts` go until `requested.until` the mature rows end."""
        received, findings = received or Received(), findings or LabelFindings()
        buckets = _Buckets.of(counts, rule.bucket_us, aside)
        cohorts = _pooled(buckets, maturity, rule, findings.spans, requested)
        has_labels = any(one.labelled.any() for one in counts.values())
        seen = _blindness(buckets, cohorts, maturity, rule, received, requested)
        blind = seen if has_labels else _all_lost(buckets, maturity, rule, received)
        return cls(counts, maturity, rule, tuple(aside), cohorts, has_labels, blind, received, findings, requested)

    def without(self, spans: Sequence[Span]) -> Cohorts:
        """Return the same without what is set aside too."""
        aside = (*self.aside, *spans)
        return Cohorts.of(self.counts, self.maturity, self.rule, aside, self.received, self.findings, self.requested) if spans else self

    def doubting(self, findings: LabelFindings) -> Cohorts:
        """Return the same as it is where labels are broken."""
        return Cohorts.of(self.counts, self.maturity, self.rule, self.aside, self.received, findings, self.requested)

    @property
    def slot_us(self) -> int:
        """As of when."""
        return self.maturity.slot_us

    @property
    def end_us(self) -> int | None:
        """The exclusive end of the rows that are judged; None while there are none."""
        return self.requested.until(self.maturity.end_us, self.rule.bucket_us)

    @property
    def uncovered(self) -> tuple[Span, ...]:
        """The ranges of rows of which too few have a label."""
        missing = joined((one.start_us, one.end_us) for one in self.cohorts if not one.is_covered)
        return tuple(Span(*each, "labels are missing") for each in missing)

    @property
    def by_requests(self) -> tuple[Span, ...]:
        """The ranges of rows that labels which were drawn speak for."""
        drawn = joined((one.start_us, one.end_us) for one in self.cohorts if one.n_answered is not None)
        return tuple(Span(*each, "labels were drawn") for each in drawn)

    @property
    def covered_end_us(self) -> int | None:
        """Until where a test spends rows: the labels of uncovered rows behind the last covered ones may still come."""
        if not self.cohorts or self.cohorts[-1].is_covered:
            return self.end_us
        return next((one.end_us for one in reversed(self.cohorts) if one.is_covered), self.cohorts[0].start_us)

    def share(self, start_us: int, *, covered_only: bool = False) -> float:
        """Return the share of the mature rows from about a time on that have a label; 0 without rows."""
        some = [one for one in self.cohorts if one.end_us > start_us and (one.is_covered or not covered_only)]
        return sum(one.n_labelled for one in some) / max(1, sum(one.n_due for one in some))

    def remarks(self) -> tuple[str, ...]:
        """Say what else is worth a word: that there never was a label, that most came to nothing, or that delays differ."""
        lost = () if self.received.remedy is None else (self.received.remedy,)
        if not self.has_labels:
            due = sum(one.n_due for one in self.cohorts)
            came = f"; {self.received.lately.plain()} came" if self.received.lately.total and not lost else ""
            return (f"no labels: what the model answers is not judged{came}", *lost) if due >= self.rule.minimum_rows else lost
        differ = differing(self.maturity.delays)
        return (*lost, *([f"labels come late: {differ}"] if differ else []))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        due, labelled = (sum((getattr(c, side) for c in self.cohorts), np.zeros(CELLS, np.int64)) for side in ("due", "labelled"))
        shares = {name: round(has / n, 4) for name, n, has in zip(THIRDS, due.tolist(), labelled.tolist(), strict=False) if n}
        return {
            "maturity_us": self.maturity.needed_us,
            "matured_end_us": self.end_us,
            "delays": [one.to_dict() for one in self.maturity.delays],
            "due": int(due.sum()),
            "labelled": int(labelled.sum()),
            "by_third_of_score": shares,
            "uncovered": [[span.start_us, span.end_us] for span in self.uncovered],
            "by_requests": [[span.start_us, span.end_us] for span in self.by_requests],
            "blind": self.blind,
            "label_faults": [one.to_dict() for one in self.findings.faults],
            "labels_aside": [[span.start_us, span.end_us] for span in self.findings.spans],
            "came": {"slot": self.received.slot.to_dict(), "lately": self.received.lately.to_dict()},
        }


@dataclass(frozen=True, slots=True)
class _Buckets:
    """Buckets that are not set aside, in order: their starts, and their rows by third."""

    starts: Counts
    due: Counts
    labelled: Counts

    @classmethod
    def of(cls, counts: Mapping[int, LabelCounts], bucket_us: int, aside: Sequence[Span]) -> _Buckets:
        starts = np.array(sorted(counts), dtype=np.int64)
        keep = np.ones(len(starts), dtype=bool)
        for span in aside:
            keep &= (starts + bucket_us <= span.start_us) | (starts >= span.end_us)
        some = [counts[start] for start in starts[keep].tolist()]
        due, labelled = (np.array([getattr(one, side) for one in some], dtype=np.int64).reshape(-1, CELLS) for side in ("due", "labelled"))
        return cls(starts[keep], due, labelled)


def _pooled(buckets: _Buckets, maturity: Maturity, rule: CoverageRule, broken: Sequence[Span], requested: Requested) -> tuple[Cohort, ...]:
    """Join buckets to cohorts of at least 50 rows, those of which labels were drawn apart; what is left at the end belongs to the last."""
    end_us = requested.until(maturity.end_us, rule.bucket_us)
    if end_us is None or maturity.end_us is None:
        return ()
    starts = buckets.starts[buckets.starts < end_us]
    is_drawn = requested.cover(starts, rule.bucket_us)
    is_mature = (starts + rule.bucket_us <= maturity.end_us) | (end_us == maturity.end_us)
    cohorts = []
    for begin, end in runs(is_drawn, is_mature):
        for first, stop in pairwise([*firsts(buckets.due[begin:end].sum(axis=1).tolist(), begin, LEAST_DUE), end]):
            due, labelled = buckets.due[first:stop].sum(axis=0), buckets.labelled[first:stop].sum(axis=0)
            start_us, last_us = int(starts[first]), min(int(starts[stop - 1]) + rule.bucket_us, end_us)
            if not due.any():
                continue
            due, labelled = (each * (is_mature[first] or is_drawn[first]) for each in (due, labelled))  # others are not due yet
            is_sound = not any(span.start_us < last_us and start_us < span.end_us for span in broken)
            is_covered = is_sound and bool(is_mature[first]) and rule.is_covered(due, labelled)
            n_answered = requested.count(start_us, last_us) if is_sound and is_drawn[first] and not is_covered else None
            cohorts.append(Cohort(start_us, last_us, due, labelled, is_covered or n_answered is not None, n_answered))
    return settled(cohorts, rule, is_known=maturity.is_known)


def _all_lost(buckets: _Buckets, maturity: Maturity, rule: CoverageRule, received: Received) -> str | None:
    """Say that no row has a label though many came, and what would end it."""
    is_due = buckets.starts < maturity.slot_us - maturity.patience_us
    n_due = int(buckets.due[is_due].sum())
    if received.remedy is None or n_due < rule.minimum_rows:
        return None
    return f"blind: none of the {n_due} rows from {from_us(int(buckets.starts[0])):%Y-%m-%d %H:%M} on is labelled; {received.remedy}"


def _blindness(
    buckets: _Buckets, cohorts: Sequence[Cohort], maturity: Maturity, rule: CoverageRule, received: Received, requested: Requested
) -> str | None:
    """Say that in twice the time in which `minimum_rows` come and mature, or a slot, fewer covered labelled rows than that came.

    Where the log is too young for the delays to be known, rows are due after `labels.delay`, and used when they are mature.
    """
    due_by_us = maturity.slot_us - maturity.patience_us
    is_due = buckets.starts < due_by_us
    starts, due, labelled = buckets.starts[is_due], buckets.due[is_due], buckets.labelled[is_due]
    enough = np.flatnonzero(due.sum(axis=1)[::-1].cumsum()[::-1] * rule.least_share >= rule.minimum_rows)
    if maturity.end_us is None or not len(enough):
        return None
    time_us = max(2 * (due_by_us - int(starts[enough[-1]]) + maturity.patience_us), rule.every_us)
    if starts[0] > due_by_us - time_us:
        return None
    since_us = requested.seen_until(maturity.end_us, maturity.slot_us, rule.every_us) - time_us
    if sum(one.n_usable for one in cohorts if one.is_covered and one.end_us > since_us) >= rule.minimum_rows:
        return None
    first = int(np.searchsorted(starts, due_by_us - time_us))
    due, labelled = due[first:].sum(axis=0), labelled[first:].sum(axis=0)
    share = labelled.sum() / due.sum()
    what = f"blind: {share:.0%} of the {due.sum()} rows from {from_us(int(starts[first])):%Y-%m-%d %H:%M} on are labelled"
    rarest = apart(due, labelled)
    ends = remedy(maturity.delays, maturity.patience_us, float(share), is_apart=bool(rarest) or share >= rule.least_share)
    unknown = f"; how late labels of {', '.join(maturity.missing)} come is not known yet" if maturity.missing else ""
    return f"{what}{rarest}{unknown}; {received.remedy or ends}"
