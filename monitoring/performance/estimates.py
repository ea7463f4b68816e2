"""Performance where labels are missing: estimates of a slot's window and of each bucket, from sums of the journal. They trigger nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.journal.outcomes import KeptAnswered, Outcome
from monitoring.journal.tables import TICK
from monitoring.judging.cohorts import Cohorts
from monitoring.judging.estimating.bands import ASSUMPTIONS, CBPE, Estimate
from monitoring.judging.estimating.class_estimator import Bucket, ClassEstimator, learn_class_estimator
from monitoring.judging.estimating.estimated import MUCH_OUTSIDE, Estimated, estimate_classes
from monitoring.judging.performance.live_metrics import Reading
from monitoring.log_windows import Range, ranges
from monitoring.performance.live_scores import EVER_US, SPAN
from monitoring.stores import Stores
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec, parse_spec
from training.profiles.measures import ALL

NO_REGRESSION = "no estimate: of a regression nothing is estimated yet"
LEAST_ROWS = 1500
"""Labelled rows that estimators are learned from, if there are so many: as of a baseline, however long they took to come."""


@dataclass(frozen=True, slots=True)
class MaturedBuckets:
    """Which buckets have the labels that are to be learned from.

    Attributes
    ----------
    end_us
        Buckets that end by then.
    left_out
        But those that touch one of these ranges: too few labels, drawn ones (which stand for others), or set aside.
    """

    end_us: int
    left_out: tuple[Range, ...]

    @classmethod
    def of(cls, cohorts: Cohorts) -> MaturedBuckets:
        """Return what a slot goes by."""
        return cls(cohorts.end_us or 0, (*ranges(cohorts.uncovered), *ranges(cohorts.by_requests), *ranges(cohorts.aside)))

    @classmethod
    def read(cls, evidence: Mapping[str, Any], aside: Sequence[Range]) -> MaturedBuckets:
        """Return what the slot of an evidence went by."""
        cohorts = evidence.get("cohorts") or {}
        spans = [Range(*span) for name in ("uncovered", "by_requests") for span in cohorts.get(name, ())]
        return cls(cohorts.get("matured_end_us") or 0, (*spans, *aside))

    def holds(self, bucket_us: int, width_us: int) -> bool:
        """Return whether a bucket is one of them.

        Examples
        --------
        >>> matured = MaturedBuckets(30, (Range(12, 15),))
        >>> [at for at in (0, 10, 20, 30) if matured.holds(at, 10)]
        [0, 20]
        """
        return bucket_us + width_us <= self.end_us and not _touches(bucket_us, width_us, self.left_out)


def estimate_window(stores: Stores, spec: ModelSpec, champion: str, cohorts: Cohorts, new: Sequence[Outcome] = ()) -> Estimated:
    """Return what the champion's answers of the window before a slot come to, as far as that can be known without their labels.

    Parameters
    ----------
    new
        What became known at the slot, which the journal does not hold yet.
    """
    if not spec.schema.is_classification:
        return Estimated(missing=(NO_REGRESSION,))
    width_us, matured = duration_us(spec.watching.bucket), MaturedBuckets.of(cohorts)
    start_us = matured.end_us - _span_us(spec)
    buckets = _with_new(_kept(stores, spec.model, champion, start_us), champion, new)
    reference = _reference(buckets.values(), matured, width_us, start_us)
    if sum(one.sums.n for one in reference) < LEAST_ROWS:
        buckets = _with_new(_kept(stores, spec.model, champion, 0), champion, new)
        reference = _reference(buckets.values(), matured, width_us, start_us)
    reading = _reading(spec, buckets.values())
    key = champion, reading, [(one.start_us, one.sums.n) for one in reference]
    if spec.model not in stores.estimators or stores.estimators[spec.model][0] != key:
        stores.estimators[spec.model] = key, learn_class_estimator(reading, reference)
    since_us = cohorts.slot_us - duration_us(spec.watching.window)
    aside = ranges(cohorts.aside)
    window = [one for at, one in sorted(buckets.items()) if since_us <= at < cohorts.slot_us and not _touches(at, width_us, aside)]
    return estimate_classes(stores.estimators[spec.model][1], window)


def estimated_history(
    stores: Stores, model: str, *, metric: str | None = None, buckets: int = 30
) -> tuple[dict[int, Estimate], tuple[str, ...]]:
    """Return the estimate of a metric by bucket, as of the last slot, and what there is to say of them in sentences.

    Each bucket is estimated by what is known of the version that answered most of it; one whose labels that is learned from, without its
    block.

    Parameters
    ----------
    metric
        By default the one that is watched.
    buckets
        How many buckets back from model time.
    """
    spec = parse_spec(stores.registry.get_model(model).spec_text, stored=True)
    watermark_us = stores.log.watermark(model)
    slots = [run.slot_us for run in stores.journal.runs(model, TICK, state="done", limit=1)]
    last = next(iter(stores.journal.verdicts(model, limit=1, slots=slots)), None) if slots else None
    if watermark_us is None or last is None:
        return {}, ("no estimate: no slot was judged yet",)
    width_us, aside = duration_us(spec.watching.bucket), stores.quarantined(model)
    end_us = (watermark_us // width_us + 1) * width_us
    start_us, matured = end_us - buckets * width_us, MaturedBuckets.read(last.evidence, aside)
    by_version: dict[str, dict[int, Bucket]] = {}
    for one in stores.journal.outcomes.answered(model, 0, end_us):
        _add(by_version.setdefault(one.version, {}), one)
    champion = str(last.evidence["champion"])
    estimators = {version: _learned(spec, metric, own.values(), matured) for version, own in by_version.items()}
    estimates = {}
    for at in sorted({at for own in by_version.values() for at in own if start_us <= at and not _touches(at, width_us, aside)}):
        version = max((version for version in by_version if at in by_version[version]), key=lambda name: by_version[name][at].answers.n)
        estimator, bucket = estimators[version], by_version[version][at]
        line = None if isinstance(estimator, str) else estimator.estimate(bucket.answers, block=estimator.block_of.get(at))
        if line is not None:
            estimates[at] = line
    of_champion = estimators.get(champion, "no estimate: the champion has answered nothing yet")
    if isinstance(of_champion, str):
        return estimates, (of_champion,)
    most = max((line.outside for line in estimates.values()), default=0.0)
    beyond = (f"up to {most:.0%} of a bucket's rows lie beyond all that was learned from",) if most >= MUCH_OUTSIDE else ()
    return estimates, (f"estimated by {CBPE}: {ASSUMPTIONS[CBPE]}", *beyond)


def _learned(spec: ModelSpec, metric: str | None, buckets: Iterable[Bucket], matured: MaturedBuckets) -> ClassEstimator | str:
    if not spec.schema.is_classification:
        return NO_REGRESSION
    some, start_us = list(buckets), matured.end_us - _span_us(spec)
    return learn_class_estimator(_reading(spec, some, metric), _reference(some, matured, duration_us(spec.watching.bucket), start_us))


def _reading(spec: ModelSpec, buckets: Iterable[Bucket], metric: str | None = None) -> Reading:
    """Return how sums of a version are read: its classes are those it answered with."""
    classes = next((one.answers.classes for one in buckets if one.answers.n), ())
    return Reading(metric or spec.watched_by.name, classes, spec.costs)


def _span_us(spec: ModelSpec) -> int:
    return max(duration_us(SPAN), duration_us(spec.watching.window))


def _reference(buckets: Iterable[Bucket], matured: MaturedBuckets, width_us: int, start_us: int) -> list[Bucket]:
    """Return the newest matured buckets: those that begin at `start_us` or later, and before it until there are 1,500 labelled rows."""
    chosen, rows = [], 0
    for one in sorted(buckets, key=lambda one: -one.start_us):
        if one.start_us < start_us and rows >= LEAST_ROWS:
            break
        if one.sums.n and matured.holds(one.start_us, width_us):
            chosen.append(one)
            rows += one.sums.n
    return chosen[::-1]


def _kept(stores: Stores, model: str, version: str, start_us: int) -> dict[int, Bucket]:
    """Return the stored buckets of a version; of those that were read at an earlier slot only what became known since is read."""
    stored = stores.journal.outcomes
    counted_us, kept = stored.counted_us(model), stores.answered.get(model)
    buckets: dict[int, Bucket] = {}
    after_us = -1
    is_of_it = kept is not None and kept.version == version and kept.start_us <= start_us
    if kept is not None and is_of_it and stored.rolled_up_us(model) <= kept.counted_us <= counted_us:
        buckets, start_us, after_us = dict(kept.buckets), kept.start_us, kept.counted_us
    for one in stored.answered(model, start_us, EVER_US, after_us=after_us):
        if one.version == version:
            _add(buckets, one)
    stores.answered[model] = KeptAnswered(version, counted_us, start_us, buckets)
    return buckets


def _with_new(buckets: Mapping[int, Bucket], version: str, new: Sequence[Outcome]) -> dict[int, Bucket]:
    both = dict(buckets)
    for one in new:
        if one.version == version and one.segment == ALL:
            _add(both, one)
    return both


def _add(buckets: dict[int, Bucket], one: Outcome) -> None:
    bucket = Bucket(one.sums, one.answers, one.bucket_us)
    buckets[one.bucket_us] = buckets[one.bucket_us].plus(bucket) if one.bucket_us in buckets else bucket


def _touches(bucket_us: int, width_us: int, spans: Iterable[Range]) -> bool:
    return any(span.start_us < bucket_us + width_us and bucket_us < span.end_us for span in spans)
