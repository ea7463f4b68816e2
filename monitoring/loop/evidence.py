"""Read the windows of one model as of a slot and measure them: everything a verdict rests on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitoring.drift.classic import DriftReport, drift
from monitoring.drift.watch_report import WatchReport
from monitoring.journal.carries import Carry
from monitoring.journal.drift_watch import WatchUpdate
from monitoring.journal.outcomes import Outcome
from monitoring.journal.tables import TICK, Quarantine, name_of_span
from monitoring.judging.cohorts import Cohorts
from monitoring.judging.data_faults import Fault, Known, Span, find, learn, quarantine, without_released
from monitoring.judging.verdict import Evidence, Labels
from monitoring.log_windows import Range, Windows, ranges
from monitoring.loop.drift_watch import report_of, stop, watch
from monitoring.loop.references import champions_own, count_under, in_force
from monitoring.loop.watched import Slot
from monitoring.performance.estimates import estimate_window
from monitoring.performance.live_scores import live_scores
from monitoring.performance.own_scores import own_score
from monitoring.performance.watch import Matured, judge_performance, under
from monitoring.stores import Stores
from service.prediction_log.prediction_log import PredictionLog
from training.artifacts.manifest import generation_of
from training.clock import duration_us
from training.evaluation.gate import Decision
from training.model_file.model_spec import ModelSpec
from training.profiles.bins import Profile
from training.profiles.reference import Reference
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry
from training.registry.tables import VersionRecord

logger = logging.getLogger(__name__)
LEAD_BUCKETS = 14  # by which a column may have come gradually to where it is
ASKED_AFTER_US = 7 * 86_400_000_000  # a fault that goes on for so long may be the new normal


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a slot was judged by, and what it hands on; of released quarantines those that went on, with their new ends."""

    evidence: Evidence
    carry: Carry
    watch: WatchUpdate | None
    released: tuple[Span, ...] = ()


def gather(
    stores: Stores,
    spec: ModelSpec,
    champion: str,
    cohorts: Cohorts,
    carry: Carry,
    rollback_test: Decision | None,
    new: Sequence[Outcome] | None,
) -> Gathered:
    """Read and measure one model as of a slot.

    Parameters
    ----------
    cohorts
        The rows that are old enough for their labels, as of the slot.
    new
        What became known of labelled rows at the slot; None for a look between two slots: there drift and live scores are as of the last.
    """
    is_slot = new is not None
    windows, record, slot_us = stores.windows(spec), stores.registry.version(spec.model, champion), cohorts.slot_us
    before = stores.journal.watch_state(spec.model)
    held = in_force(stores, spec, champion, slot_us, before)
    is_classic = spec.watching.drift.rule == "classic" or held.is_classic
    held = champions_own(stores, spec, champion, slot_us) if is_classic else held
    if is_classic:
        count_under(stores, spec, held.measures, slot_us - 2 * duration_us(spec.watching.window))
    let_go = [Span(q.start_us, q.end_us, q.reason) for q in stores.journal.quarantines(spec.model, released=True)]
    broken, released = without_released(find_faults(stores, spec, held.reference, slot_us), let_go, duration_us(spec.watching.bucket))
    spans = quarantine(broken, duration_us(spec.watching.bucket))
    aside = (*stores.quarantined(spec.model), *(Range(s.start_us, s.end_us) for s in spans))
    moved: DriftReport | WatchReport
    update = None
    if is_classic:
        update, ended = stop(slot_us, before) if is_slot else (None, ())
        moved = replace(_classic(windows, spec, held.reference, slot_us, aside), ended=ended)
    else:
        slot = Slot(stores, spec, slot_us, generation_of(champion), int(record.manifest["trained_through_us"]), aside, champion)
        if is_slot:
            moved, update = watch(slot, held, before)
        else:
            moved = report_of(slot, held, before) if before is not None else WatchReport((), 0, held.measures.id, "no slot was judged yet")
    cohorts = cohorts.without(spans)
    without_labels = (*aside, *ranges(cohorts.uncovered))
    labels = known_labels(windows, record, cohorts, carry, without_labels)
    before_slot = under(stores, spec, carry.performance, generation_of(champion), slot_us)
    judged = judge_performance(Matured(stores, spec, cohorts, without_labels, new or ()), record, before_slot)
    carried = replace(carry, performance=judged.watch)
    evidence = Evidence(
        spec.model, slot_us, champion, moved.rows, moved, broken, spans, labels, judged.score, judged.tested, rollback_test, judged.missing
    )
    asked = questions(spans, stores.journal.quarantines(spec.model), slot_us)
    asked += questions([one.span for one in cohorts.findings.faults], stores.journal.quarantines(spec.model, of_labels=True), slot_us)
    estimated = estimate_window(stores, spec, generation_of(champion), cohorts, held.measures, new or ())
    live = live_scores(stores, spec, cohorts, new or ())
    own = own_score(Matured(stores, spec, cohorts, without_labels, new or ()), record.manifest)
    evidence = replace(evidence, yardsticks=judged.yardsticks, disparities=judged.disparities, estimated=estimated)
    evidence = replace(evidence, is_worse=judged.watch.worse_since is not None)
    evidence = replace(evidence, questions=asked, cohorts=cohorts, live=live if own is None else own.beside(live), own=own)
    return Gathered(evidence, carried, update, released)


def questions(spans: Sequence[Span], known: Sequence[Quarantine], slot_us: int) -> tuple[str, ...]:
    """Ask a person about each fault that has gone on for a week: it may be the new normal.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> questions([Span(6 * day, 9 * day, "constant x")], [Quarantine("m", day, 7 * day, "constant x", 0, 0)], 9 * day)
    ('constant x since 1970-01-02T00:00: if this is how it is now, evergreen quarantine release 1970-01-02T00:00',)
    """
    joined = [_joined(span, [Range(q.start_us, q.end_us) for q in known]) for span in spans]
    old = [span for span in joined if slot_us - span.start_us >= ASKED_AFTER_US]
    names = [(span.reason, name_of_span(span.start_us, span.reason)) for span in old]
    return tuple(f"{reason} since {name}: if this is how it is now, evergreen quarantine release {name}" for reason, name in names)


def _classic(windows: Windows, spec: ModelSpec, reference: Reference, slot_us: int, aside: Sequence[Range]) -> DriftReport:
    policy, width = spec.watching.drift, duration_us(spec.watching.window)
    current = windows.profile(reference.bins, slot_us - width, slot_us, slot_us, aside)
    previous = windows.profile(reference.bins, slot_us - 2 * width, slot_us - width, slot_us, aside)
    return drift(reference, current, previous, level=policy.level, psi_floor=policy.psi_floor)


def find_faults(stores: Stores, spec: ModelSpec, reference: Reference, slot_us: int) -> tuple[Fault, ...]:
    """Look for faults in the buckets that ended since the last slot that was judged, whichever version answered.

    A slot that failed is not lost this way: the next one looks at its buckets too.
    """
    bucket_us, every_us = duration_us(spec.watching.bucket), duration_us(spec.watching.every)
    judged = next((r.slot_us for r in stores.journal.runs(spec.model, TICK, state="done", limit=20) if r.slot_us < slot_us), slot_us)
    first, end = min(slot_us - every_us, judged) // bucket_us * bucket_us, slot_us // bucket_us * bucket_us
    buckets = stores.log.buckets(spec.model, reference.measures.id, first, end, known_before_us=slot_us)
    rejects = stores.windows(spec).rejects(first, end, bucket_us)

    def before() -> list[tuple[int, Profile]]:
        aside, lead_us = stores.quarantined(spec.model), first - LEAD_BUCKETS * bucket_us
        earlier = stores.log.buckets(spec.model, reference.measures.id, lead_us, first, known_before_us=slot_us)
        return [one for one in earlier if not any(span.start_us < one[0] + bucket_us and one[0] < span.end_us for span in aside)]

    data_faults = find(_learned(stores, spec, reference), buckets, bucket_us, rejects, before)
    return tuple(sorted(set(data_faults), key=lambda f: (f.start_us, f.kind, f.column)))


def _learned(stores: Stores, spec: ModelSpec, reference: Reference) -> Known:
    """Return what a reference says of faults: learned once for all slots that are held against it by the same rules."""
    policy, rules = spec.watching.faults, spec.watching.rules
    of, known = stores.known_faults.get(spec.model, (None, None))
    if known is None or of is not reference or known.policy != policy or known.rules != rules:
        known = learn(reference, policy, rules)
        stores.known_faults[spec.model] = reference, known
    return known


def first_unseen(registry: Registry, log: PredictionLog, model: str) -> int | None:
    """Return the earliest logged row that is newer than what the champion has seen: with it the watch begins.

    Older rows, such as one with a clock that stands at 1970, open no slots; nor do those that came late, since whoever looks early has
    not seen them.
    """
    champion = registry.alias(model, CHAMPION)
    if champion is None:
        return None
    seen_us = int(registry.version(model, champion.version).manifest["trained_through_us"])
    return log.first_event(model, after_us=seen_us, in_time_only=True)


def known_labels(windows: Windows, record: VersionRecord, cohorts: Cohorts, carry: Carry, aside: Sequence[Range]) -> Labels:
    """Count the labels a gate could judge by, and those no retraining has had."""
    end_us = cohorts.end_us
    seen_us = int(record.manifest["trained_through_us"])
    if end_us is None or end_us <= seen_us:
        return Labels(0, 0, 0.0, seen_us)
    times = windows.labelled_times(seen_us + 1, end_us, cohorts.slot_us - 1, aside, ranges(cohorts.by_requests))
    new = int((times >= carry.taught_us).sum())
    return Labels(new, len(times), cohorts.share(seen_us + 1), int(times[-1]) if len(times) else seen_us)


def spans_to_keep(spans: Sequence[Span], known: Sequence[Range]) -> tuple[Span, ...]:
    """Return the spans that are not quarantined already, each joined to the known ranges it touches.

    Examples
    --------
    >>> spans_to_keep([Span(5, 9, "stuck"), Span(20, 30, "stuck")], [Range(1, 6), Range(15, 40)])
    (Span(start_us=1, end_us=9, reason='stuck'),)
    """
    new = [s for s in spans if not any(k.start_us <= s.start_us and s.end_us <= k.end_us for k in known)]
    return tuple(_joined(span, known) for span in new)


def _joined(span: Span, known: Sequence[Range]) -> Span:
    touching = [k for k in known if k.start_us <= span.end_us and span.start_us <= k.end_us]
    start_us, end_us = min([span.start_us, *(k.start_us for k in touching)]), max([span.end_us, *(k.end_us for k in touching)])
    return Span(start_us, end_us, span.reason)
