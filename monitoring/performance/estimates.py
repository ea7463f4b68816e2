"""Performance where labels are missing: estimates of a slot's window and of each bucket, from sums of the journal. They trigger nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitoring.journal.outcomes import KeptAnswered, Outcome
from monitoring.journal.tables import TICK
from monitoring.judging.cohorts import Cohorts
from monitoring.judging.estimating.bands import ASSUMPTIONS, CBPE, DLE, LEAST_REFERENCE, Estimate
from monitoring.judging.estimating.class_estimator import Bucket, ClassEstimator, learn_class_estimator
from monitoring.judging.estimating.estimated import (
    MUCH_OUTSIDE,
    Estimated,
    LabelledValues,
    estimate_classes,
    estimate_values,
    join_values,
)
from monitoring.judging.estimating.prediction_powered import LEAST_LABELS
from monitoring.judging.estimating.value_estimator import ValueEstimator
from monitoring.judging.performance.live_metrics import Reading
from monitoring.log_windows import Range, of_generation, ranges
from monitoring.performance.held_out import GONE, class_estimator_of, value_estimator_of
from monitoring.performance.live_scores import EVER_US, SPAN
from monitoring.stores import Stores
from training.artifacts.manifest import generation_of
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec, parse_spec
from training.profiles.bins import Profile
from training.profiles.measures import ALL, Measures
from training.profiles.reference import Reference

MOST_LABELS = 10_000
"""Labelled rows of a window that are read to be joined with its estimate: of more the labels alone are as good."""
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


def estimate_window(
    stores: Stores, spec: ModelSpec, champion: str, cohorts: Cohorts, measures: Measures, new: Sequence[Outcome] = ()
) -> Estimated:
    """Return what the champion's answers of the window before a slot come to, as far as that can be known without their labels.

    Parameters
    ----------
    measures
        What the log is counted in.
    new
        What became known at the slot, which the journal does not hold yet.
    """
    width_us, aside = duration_us(spec.watching.bucket), ranges(cohorts.aside)
    since_us, metric = cohorts.slot_us - duration_us(spec.watching.window), spec.watched_by.name
    if not spec.schema.is_classification:
        key: object = champion, metric, measures.id
        if spec.model not in stores.estimators or stores.estimators[spec.model][0] != key:
            stores.estimators[spec.model] = key, value_estimator_of(stores, spec, champion, metric, measures)
        values = stores.estimators[spec.model][1]
        counted = _counted(stores, spec, champion, measures, Range(since_us, cohorts.slot_us), cohorts.slot_us)
        kept = {at: one for at, one in counted.items() if not _touches(at, width_us, aside)}
        estimated = estimate_values(values if isinstance(values, ValueEstimator | str) else GONE, list(kept.values()))
        return _with_labels(stores, spec, champion, cohorts, measures, (estimated, values, kept))
    matured = MaturedBuckets.of(cohorts)
    start_us = matured.end_us - _span_us(spec)
    buckets = _with_new(_kept(stores, spec.model, champion, start_us), champion, new)
    reference = _reference(buckets.values(), matured, width_us, start_us)
    if sum(one.sums.n for one in reference) < LEAST_ROWS:
        buckets = _with_new(_kept(stores, spec.model, champion, 0), champion, new)
        reference = _reference(buckets.values(), matured, width_us, start_us)
    reading = _reading(spec, buckets.values())
    key = champion, reading, stores.journal.outcomes.edges(spec.model), [(one.start_us, one.sums.n) for one in reference]
    if spec.model not in stores.estimators or stores.estimators[spec.model][0] != key:
        stores.estimators[spec.model] = key, _of_classes(stores, spec, champion, reading, reference)
    classes = stores.estimators[spec.model][1]
    window = [one for at, one in sorted(buckets.items()) if since_us <= at < cohorts.slot_us and not _touches(at, width_us, aside)]
    return estimate_classes(classes if isinstance(classes, ClassEstimator | str) else GONE, window)


def _with_labels(
    stores: Stores,
    spec: ModelSpec,
    champion: str,
    cohorts: Cohorts,
    measures: Measures,
    known: tuple[Estimated, object, Mapping[int, Profile]],
) -> Estimated:
    """Join the labels that the rows of a window have with its estimate; of labelled numbers no bins are counted, so the rows are read."""
    (estimated, estimator, counted), width_us = known, duration_us(spec.watching.bucket)
    if not isinstance(estimator, ValueEstimator) or not estimated.lines:
        return estimated
    start_us, known_by_us, aside = min(counted), cohorts.slot_us - 1, ranges(cohorts.aside)
    windows, end_us = stores.windows(spec), max(counted) + width_us
    labels = len(windows.labelled_times(start_us, end_us, known_by_us, aside))
    if labels < LEAST_LABELS:
        return estimated
    if labels > MOST_LABELS:
        why = (
            f"labels are not joined with the estimate: the window has {labels:,}, which say it themselves, and {MOST_LABELS:,} are the most"
        )
        return Estimated(estimated.lines, (why,))
    rows = windows.labelled(start_us, end_us, known_by_us, aside)
    own = of_generation(rows, champion)
    computed = measures.computed(own.rows.columns, own.rows.time_us, own.prediction)
    error = np.abs(own.rows.labels.astype(np.float64) - own.prediction.score)
    loss, at = error**2 if estimator.metric == "rmse" else error, own.rows.time_us // width_us * width_us
    places = {name: measures.bins.column(name).places(computed[name]) for name in estimator.model.sizes}
    labelled = {}
    for start in np.unique(at).tolist():
        here = at == start
        counts = {name: np.bincount(one[here], minlength=estimator.model.sizes[name]) for name, one in places.items()}
        labelled[start] = LabelledValues(int(here.sum()), float(loss[here].mean()), counts)
    return join_values(estimated, estimator, [(one, labelled.get(start)) for start, one in sorted(counted.items())])


def _of_classes(stores: Stores, spec: ModelSpec, version: str, reading: Reading, reference: Sequence[Bucket]) -> ClassEstimator | str:
    """Learn from matured buckets; where there are too few, from the rows that the training held out."""
    learned = learn_class_estimator(reading, reference)
    if not isinstance(learned, str) or sum(one.sums.n for one in reference) >= LEAST_REFERENCE:
        return learned
    held_out = class_estimator_of(stores, spec, version, reading.name)
    return learned if isinstance(held_out, str) else held_out


def _counted(
    stores: Stores, spec: ModelSpec, version: str, measures: Measures, span: Range, known_before_us: int | None = None
) -> dict[int, Profile]:
    """Return the counts of what a version answered, by bucket."""
    counts: dict[int, Profile] = {}
    width_us = duration_us(spec.watching.bucket)
    for at, part in stores.log.buckets(
        spec.model, measures.id, span.start_us, span.end_us, known_before_us=known_before_us, version=version
    ):
        start_us = at // width_us * width_us
        counts[start_us] = counts[start_us].merge(part) if start_us in counts else part
    return counts


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
    span = Range(end_us - buckets * width_us, end_us)
    champion, name = generation_of(str(last.evidence["champion"])), metric or spec.watched_by.name
    if spec.schema.is_classification:
        lines, reason = _history_of_classes(stores, spec, name, span, (champion, MaturedBuckets.read(last.evidence, aside)))
    else:
        lines, reason = _history_of_values(stores, spec, name, span, champion)
    estimates = {at: line for at, line in sorted(lines.items()) if not _touches(at, width_us, aside)}
    if reason is not None:
        return estimates, (reason,)
    most = max((line.outside for line in estimates.values()), default=0.0)
    beyond = (f"up to {most:.0%} of a bucket's rows lie beyond all that was learned from",) if most >= MUCH_OUTSIDE else ()
    method = CBPE if spec.schema.is_classification else DLE
    return estimates, (f"estimated by {method}: {ASSUMPTIONS[method]}", *beyond)


def _history_of_classes(
    stores: Stores, spec: ModelSpec, metric: str, span: Range, as_of: tuple[str, MaturedBuckets]
) -> tuple[dict[int, Estimate], str | None]:
    """Return the estimates of the buckets in a span, and why there are none by the champion."""
    by_version: dict[str, dict[int, Bucket]] = {}
    for one in stores.journal.outcomes.answered(spec.model, 0, span.end_us):
        _add(by_version.setdefault(one.version, {}), one)
    (champion, matured), width_us = as_of, duration_us(spec.watching.bucket)
    answering: dict[int, str] = {}
    for version, own in by_version.items():
        for at, bucket in own.items():
            if at >= span.start_us and (at not in answering or bucket.answers.n > by_version[answering[at]][at].answers.n):
                answering[at] = version
    estimators = {}
    for version in {*answering.values(), champion} & by_version.keys():
        own = by_version[version]
        reference = _reference(own.values(), matured, width_us, matured.end_us - _span_us(spec))
        estimators[version] = _of_classes(stores, spec, version, _reading(spec, own.values(), metric), reference)
    estimates = {}
    for at, version in answering.items():
        estimator, bucket = estimators[version], by_version[version][at]
        line = None if isinstance(estimator, str) else estimator.estimate(bucket.answers, block=estimator.block_of.get(at))
        if line is not None:
            estimates[at] = line
    of_champion = estimators.get(champion, "no estimate: the champion has answered nothing yet")
    return estimates, of_champion if isinstance(of_champion, str) else None


def _history_of_values(stores: Stores, spec: ModelSpec, metric: str, span: Range, champion: str) -> tuple[dict[int, Estimate], str | None]:
    """Return the estimates of the buckets in a span that the champion answered, or why there are none."""
    stored, _ = stores.journal.watch_beginning(spec.model)
    reference = stores.load(spec.model, champion).reference if stored is None else Reference.from_json(stored.content)
    estimator = value_estimator_of(stores, spec, champion, metric, reference.measures)
    if isinstance(estimator, str):
        return {}, estimator
    lines = {
        at: estimator.estimate(counted.counts, counted.rows)
        for at, counted in _counted(stores, spec, champion, reference.measures, span).items()
    }
    return {at: line for at, line in lines.items() if line is not None}, None


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
