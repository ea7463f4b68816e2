"""Read the windows of one model as of a slot and measure them: everything a verdict rests on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from monitoring.drift import drift
from monitoring.journal import TICK
from monitoring.performance import PerformanceTest, Score, choose_baseline, compare, pool, score
from monitoring.quality import Fault, Span, faults, quarantine
from monitoring.stores import Stores
from monitoring.verdict import Evidence, Labels
from monitoring.windows import Range, Windows, take
from service.prediction_log import PredictionLog
from training.clock import duration_us
from training.errors import ArtifactError
from training.gate import Decision
from training.moves import CHAMPION
from training.registry import Registry
from training.registry_tables import VersionRecord
from training.spec import ModelSpec

logger = logging.getLogger(__name__)
BASELINE_ROWS = 1500  # live rows that make up the champion's own baseline; later ones are only compared with it


@dataclass(frozen=True, slots=True)
class Carry:
    """What one slot hands to the next: how far labelled rows are spent, and the champion's first live score.

    Parameters
    ----------
    champion
        Whose these are; another champion begins anew.
    tested_us
        Rows before it were tested; each is tested once.
    first
        Score of the champion's first live rows.
    taught_us
        Labels of rows before it were given to a retraining.
    move
        The last ledger line about the champion that was seen to.
    """

    champion: str = ""
    tested_us: int = 0
    first: Score | None = None
    taught_us: int = 0
    move: int = 0

    def of(self, champion: str) -> Self:
        """Return what holds for `champion`."""
        return self if self.champion == champion else replace(self, champion=champion, tested_us=0, first=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        first = None if self.first is None else self.first.to_dict()
        return {"champion": self.champion, "tested_us": self.tested_us, "first": first, "taught_us": self.taught_us, "move": self.move}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote; anything missing is as at the start."""
        first = stored.get("first")
        return cls(
            str(stored.get("champion", "")),
            int(stored.get("tested_us", 0)),
            None if first is None else Score(**first),
            int(stored.get("taught_us", 0)),
            int(stored.get("move", 0)),
        )


def gather(
    stores: Stores, spec: ModelSpec, champion: str, slot_us: int, carry: Carry, probation: Decision | None
) -> tuple[Evidence, Carry]:
    """Read and measure one model as of `slot_us`.

    Returns
    -------
    tuple
        The evidence, and what the next slot must know.
    """
    windows, record = stores.windows(spec), stores.registry.version(spec.model, champion)
    reference = stores.load(spec.model, champion).reference
    width = duration_us(spec.watching.window)
    broken = find_faults(stores, spec, champion, slot_us)
    spans = quarantine(broken, duration_us(spec.watching.bucket))
    aside = (*set_aside(stores, spec.model), *(Range(s.start_us, s.end_us) for s in spans))
    current = windows.profile(reference.bins, slot_us - width, slot_us, aside)
    before = windows.profile(reference.bins, slot_us - 2 * width, slot_us - width, aside)
    policy = spec.watching.drift
    moved = drift(reference, current, before, level=policy.level, psi_floor=policy.psi_floor)
    labels = known_labels(windows, record, slot_us, carry, aside)
    live, tested, carried = measure_performance(windows, spec, record, slot_us, carry.of(champion), aside)
    rows = windows.count(slot_us - width, slot_us)
    return Evidence(spec.model, slot_us, champion, rows, moved, broken, spans, labels, live, tested, probation), carried


def find_faults(stores: Stores, spec: ModelSpec, champion: str, slot_us: int) -> tuple[Fault, ...]:
    """Look for faults in the buckets that ended since the last slot that was judged, held against the version that answered.

    A slot that failed is not lost this way: the next one looks at its buckets too.
    """
    bucket_us, every_us = duration_us(spec.watching.bucket), duration_us(spec.watching.every)
    judged = next((r.slot_us for r in stores.journal.runs(spec.model, TICK, state="done", limit=20) if r.slot_us < slot_us), slot_us)
    first, end = min(slot_us - every_us, judged) // bucket_us * bucket_us, slot_us // bucket_us * bucket_us
    previous = stores.registry.alias(spec.model, "previous")
    versions = [champion, *([previous.version] if previous is not None else [])]
    rejects = stores.windows(spec).rejects(first, end, bucket_us)
    found: list[Fault] = []
    for version in versions:
        try:
            reference = stores.load(spec.model, version).reference
        except ArtifactError as error:
            if version == champion:
                raise
            logger.warning("%s: what %s answered is not checked for faults: %s", spec.model, version, error)
            continue
        buckets = stores.log.buckets(spec.model, reference.bins, first, end)
        found += faults(reference, buckets, bucket_us, spec.watching.faults, rejects if version == champion else None)
    return tuple(sorted(set(found), key=lambda f: (f.start_us, f.kind, f.column)))


def first_unseen(registry: Registry, log: PredictionLog, model: str) -> int | None:
    """Return the earliest logged row that is newer than what the champion has seen: with it the watch begins.

    Older rows, such as one with a clock that stands at 1970, open no slots.
    """
    champion = registry.alias(model, CHAMPION)
    if champion is None:
        return None
    return log.first_event(model, after_us=int(registry.version(model, champion.version).manifest["trained_through_us"]))


def set_aside(stores: Stores, model: str) -> tuple[Range, ...]:
    """Return what is quarantined."""
    return tuple(Range(q.start_us, q.end_us) for q in stores.journal.quarantines(model))


def known_labels(windows: Windows, record: VersionRecord, slot_us: int, carry: Carry, aside: Sequence[Range]) -> Labels:
    """Count the labels a gate could judge by, and those no retraining has had."""
    end_us = windows.matured_end(slot_us)
    seen_us = int(record.manifest["trained_through_us"])
    if end_us is None or end_us <= seen_us:
        return Labels(0, 0, 0.0, seen_us)
    times = windows.labelled_times(seen_us + 1, end_us, slot_us - 1, aside)
    matured = windows.count(seen_us + 1, end_us)
    new = int((times >= carry.taught_us).sum())
    return Labels(new, len(times), len(times) / max(1, matured), int(times[-1]) if len(times) else seen_us)


def measure_performance(
    windows: Windows, spec: ModelSpec, record: VersionRecord, slot_us: int, carry: Carry, aside: Sequence[Range]
) -> tuple[Score | None, PerformanceTest | None, Carry]:
    """Score the champion's own answers on rows that matured since the last test, and test them once.

    Without enough of them nothing is tested and nothing is spent.
    """
    policy = spec.watching.performance
    start_us = max(carry.tested_us, int(record.manifest["trained_through_us"]) + 1)
    end_us = windows.matured_end(slot_us)
    if end_us is None or end_us <= start_us:
        return None, None, carry
    found = windows.labelled(start_us, end_us, slot_us - 1, aside)
    own = take(found, found.version == record.version)
    if len(own) < policy.minimum_rows:
        return None, None, carry
    live = score(own.rows.labels, own.prediction, spec.metric, coverage=len(found) / max(1, windows.count(start_us, end_us)))
    if live is None:
        return None, None, carry
    tested = _test(live, _holdout(record, spec.metric), carry.first, spec, end_us)
    return live, tested, replace(carry, tested_us=end_us, first=_first(carry.first, live, tested))


def _test(live: Score, holdout: Score | None, first: Score | None, spec: ModelSpec, end_us: int) -> PerformanceTest | None:
    policy = spec.watching.performance
    chosen = choose_baseline(holdout, first, level=policy.level, tolerance=policy.tolerance)
    if chosen is None:
        return None
    baseline, source = chosen
    return compare(live, baseline, source=source, level=policy.level, tolerance=policy.tolerance, through_us=end_us)


def _first(first: Score | None, live: Score, tested: PerformanceTest | None) -> Score | None:
    """Let the champion's first live rows become its baseline, as long as they are not worse than promised."""
    if (tested is not None and tested.is_degraded) or (first is not None and first.n >= BASELINE_ROWS):
        return first
    return live if first is None else pool(first, live)


def _holdout(record: VersionRecord, metric: str) -> Score | None:
    stored = record.metrics.get(metric)
    if not isinstance(stored, Mapping) or any(stored.get(k) is None for k in ("value", "low", "high", "n")):
        return None
    return Score(metric, float(stored["value"]), float(stored["low"]), float(stored["high"]), int(stored["n"]))


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
