"""Performance from the sums of labelled rows: by bucket and segment for people, matured covered buckets for judging."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from monitoring.journal.outcomes import NO_ROWS, KeptSums, Outcome
from monitoring.journal.tables import TICK
from monitoring.judging.cohorts import Cohorts
from monitoring.judging.data_faults import Span
from monitoring.judging.performance.baseline import Baseline, BucketLoss, learn_baseline
from monitoring.judging.performance.live_metrics import Reading, SegmentScore, fairness_names, joined_blocks, leave_one_out
from monitoring.judging.performance.outcome_sums import OutcomeSums, add_up, count_outcomes
from monitoring.judging.performance.scores import Correction, Score
from monitoring.judging.unlabelled.missing_labels import MissingLabels
from monitoring.judging.unlabelled.strata import Due, add_up_due
from monitoring.log_windows import Range, ranges
from monitoring.performance.score_edges import scale_of
from monitoring.stores import Stores
from training.clock import duration_us
from training.evaluation.losses import COST, METRICS
from training.evaluation.weighted import effective
from training.model_file.model_spec import ModelSpec, parse_spec
from training.profiles.measures import ALL

SPAN = timedelta(days=28)
"""So much of the newest mature, covered buckets is scored at a slot, or a window if that is longer."""
LEAST_LABELS = 200
"""Of fewer labelled rows a segment's scores are not shown: an accuracy of .8 is known to .06 then."""
MOST_SEGMENTS = 20  # with the most labels, that a verdict keeps scores of
EVER_US = 1 << 62


class BucketScore(NamedTuple):
    """A metric over the labelled rows of one bucket, whichever version answered.

    Attributes
    ----------
    coverage
        The share of the bucket's rows that are labelled; None for a segment: how many rows it has is not counted.
    value, low, high
        The metric with its 95 % interval, rows taken as independent; None where the rows do not define it.
    segment
        Whose rows, as ``place=coast``; empty for all.
    correction
        What was done to the metric where rows without a label differ in score from the others; None where they may not.
    """

    bucket_us: int
    n: int
    coverage: float | None
    value: float | None
    low: float | None
    high: float | None
    segment: str
    correction: Correction | None = None


def performance_history(
    stores: Stores, model: str, *, metric: str | None = None, buckets: int = 30, segments: Sequence[str] | None = None
) -> list[BucketScore]:
    """Return a metric by bucket and segment, as of the last slot, of the newest buckets that have rows.

    Parameters
    ----------
    metric
        By default the one that is watched; also one that is asked of segments, such as `selection_rate`.
    buckets
        How many buckets back from model time.
    segments
        Those wanted (``""``: all rows); by default all that are counted.

    Returns
    -------
    In the order of segments, then buckets. Quarantined buckets are left out; one whose rows have no label yet has no value.

    Raises
    ------
    UnknownModelError
        There is no such model.
    ValueError
        The metric is not known of live rows.
    """
    spec = parse_spec(stores.registry.get_model(model).spec_text, stored=True)
    rows = counted_rows(stores, spec, buckets)
    if not rows:
        return []
    start_us, end_us, width_us = min(rows), max(rows) + 1, duration_us(spec.watching.bucket)
    wanted = segments if segments is not None else (stores.journal.outcomes.segments(model) or [ALL])
    scores, scale, drawn = [], scale_of(stores, spec), _drawn(stores, model)
    for segment in wanted:
        sums = _by_bucket(stores.journal.outcomes.find(model, start_us, end_us, segment))
        reading = _reading(spec, metric or spec.watched_by.name, sums.values())
        due = _added_up(stores.journal.outcomes.find_due(model, start_us, end_us, segment))
        starts = sorted(rows) if segment == ALL else sorted(sums.keys() & rows.keys())
        for at in starts:
            score = bucket_score(reading, at, sums.get(at), rows[at] if segment == ALL else None, segment)
            is_drawn = _is_aside(at, width_us, drawn)
            missing = None if is_drawn or at not in sums else MissingLabels.find(sums[at], due.get(at, NO_ROWS), scale)
            scores.append(_corrected(score, reading, missing))
    return scores


def counted_rows(stores: Stores, spec: ModelSpec, buckets: int) -> dict[int, int]:
    """Return how many rows there are, by the beginning of their bucket, in the newest buckets that are not quarantined."""
    watermark_us = stores.log.watermark(spec.model)
    if watermark_us is None:
        return {}
    width_us = duration_us(spec.watching.bucket)
    end_us = (watermark_us // width_us + 1) * width_us
    aside = stores.quarantined(spec.model)
    counted = stores.windows(spec).rows_by_bucket(end_us - buckets * width_us, end_us, width_us)
    return {at: n for at, n in counted.items() if not _is_aside(at, width_us, aside)}


def _drawn(stores: Stores, model: str) -> list[Range]:
    """Return the ranges in which labels were drawn as of the last slot: these speak for the others."""
    slots = [run.slot_us for run in stores.journal.runs(model, TICK, state="done", limit=1)]
    last = next(iter(stores.journal.verdicts(model, limit=1, slots=slots)), None) if slots else None
    spans = [] if last is None else (last.evidence.get("cohorts") or {}).get("by_requests", ())
    return [Range(*span) for span in spans]


def live_scores(stores: Stores, spec: ModelSpec, cohorts: Cohorts, new: Sequence[Outcome] = ()) -> tuple[SegmentScore, ...]:
    """Return what is asked of all rows and of each segment, over the newest mature, covered buckets as of a slot.

    Parameters
    ----------
    new
        What became known at the slot, which the journal does not hold yet.

    Returns
    -------
    Segments of fewer than 200 labelled rows are left out, and of many those with the fewest.
    """
    by_segment, missing, scale = {}, {}, scale_of(stores, spec)
    for segment in _segments(stores, spec, new):
        sums, due = newest_rows(stores, spec, cohorts, new, segment)
        if sum(one.n for one in sums.values()) >= (LEAST_LABELS if segment else 1):
            by_segment[segment] = joined_blocks(list(sums.values()))
            missing[segment] = MissingLabels.find(add_up(by_segment[segment]), due, scale)
    most = sorted(by_segment, key=lambda segment: (segment != ALL, -sum(one.n for one in by_segment[segment])))[: MOST_SEGMENTS + 1]
    coverage = 0.0 if cohorts.end_us is None else cohorts.share(cohorts.end_us - _span_us(spec), covered_only=True)
    scores = []
    for segment in sorted(most):
        readings = [_reading(spec, name, by_segment[segment]) for name in _asked(spec, segment)]
        scores += scores_of(segment, by_segment[segment], readings, missing[segment], coverage)
    return tuple(scores)


def scores_of(
    segment: str, blocks: Sequence[OutcomeSums], readings: Sequence[Reading], missing: MissingLabels | None, coverage: float
) -> list[SegmentScore]:
    """Return metrics of the blocks of a segment, weighted where rows without a label differ in score from the others."""
    plain, scores = leave_one_out(blocks), []
    weighted = None if missing is None else missing.left_out(blocks)
    if plain is None:
        return []
    for reading in readings:
        score, correction = reading.jackknife(plain, coverage), None
        if missing is not None and weighted is not None and (corrected := missing.over(reading, weighted, plain, coverage)) is not None:
            score, correction = corrected
        scores += [] if score is None else [SegmentScore(segment, score, correction)]
    return scores


def _asked(spec: ModelSpec, segment: str) -> tuple[str, ...]:
    """Return what is asked of all rows, or of a segment: the watched metric first, then of all rows the cost if that is another one."""
    watched, *others = fairness_names(spec.schema.task, spec.watched_by.name)
    return (watched, *([COST] if spec.costs is not None and watched != COST and segment == ALL else []), *others)


def newest_sums(
    stores: Stores, spec: ModelSpec, cohorts: Cohorts, new: Sequence[Outcome] = (), segment: str = ALL
) -> dict[int, OutcomeSums]:
    """Return the sums of the newest mature, covered buckets as of a slot, in order: of 28 days, or a window if that is longer."""
    return newest_rows(stores, spec, cohorts, new, segment)[0]


def newest_rows(
    stores: Stores, spec: ModelSpec, cohorts: Cohorts, new: Sequence[Outcome] = (), segment: str = ALL
) -> tuple[dict[int, OutcomeSums], Due]:
    """Return the same, and all rows of these buckets, labelled or not."""
    end_us = cohorts.end_us
    if end_us is None:
        return {}, NO_ROWS
    start_us, own = end_us - _span_us(spec), [one for one in new if one.segment == segment]
    stored = _kept(stores, spec.model, segment, start_us)
    sums = _judged(spec, cohorts, (start_us, end_us), stored.sums, own)
    return sums, _due_of(spec, cohorts, sums, stored.due, own)


def _span_us(spec: ModelSpec) -> int:
    return max(duration_us(SPAN), duration_us(spec.watching.window))


def bucket_losses(
    stores: Stores, spec: ModelSpec, cohorts: Cohorts, *, start_us: int = 0, segment: str = ALL, new: Sequence[Outcome] = ()
) -> list[BucketLoss]:
    """Return the mean losses of mature, covered buckets that begin at `start_us` or later, in order, as of a slot.

    The loss is the one that stands for the metric that is watched (`live_metrics.LOSS_OF`). `new` as in `live_scores`. Of buckets of all
    rows for which labels were drawn these speak, each for as many rows as it stands for; a segment has too few of them there.
    """
    return _losses(stores, spec, cohorts, _mature(stores, spec, cohorts, start_us, segment, new), segment)


def _losses(stores: Stores, spec: ModelSpec, cohorts: Cohorts, sums: Mapping[int, OutcomeSums], segment: str) -> list[BucketLoss]:
    reading = _reading(spec, spec.watched_by.name, sums.values())
    drawn = ranges(cohorts.by_requests)
    width_us = duration_us(spec.watching.bucket)
    losses = {at: reading.bucket_loss(at, one, segment) for at, one in sums.items() if not _is_aside(at, width_us, drawn)}
    if len(losses) < len(sums) and segment == ALL:
        losses |= _drawn_losses(stores, spec, cohorts, reading, [at for at in sums if at not in losses])
    return [losses[at] for at in sorted(losses)]


def _mature(
    stores: Stores, spec: ModelSpec, cohorts: Cohorts, start_us: int, segment: str, new: Sequence[Outcome]
) -> dict[int, OutcomeSums]:
    end_us = cohorts.end_us
    if end_us is None or end_us <= start_us:
        return {}
    stored = _by_bucket(stores.journal.outcomes.find(spec.model, start_us, end_us, segment))
    return _judged(spec, cohorts, (start_us, end_us), stored, [one for one in new if one.segment == segment])


def _drawn_losses(stores: Stores, spec: ModelSpec, cohorts: Cohorts, reading: Reading, starts: Sequence[int]) -> dict[int, BucketLoss]:
    """Return the losses of buckets whose drawn labels speak for all rows, weighted; `n` is of how many equal rows they tell as much."""
    width_us, requested = duration_us(spec.watching.bucket), ranges(cohorts.by_requests)
    aside = (*ranges(cohorts.aside), *ranges(cohorts.uncovered))
    rows = stores.windows(spec).labelled(starts[0], starts[-1] + width_us, cohorts.slot_us - 1, aside, requested)
    if not len(rows):
        return {}
    edges, is_binary = stores.journal.outcomes.edges(spec.model) or (), spec.schema.task == "binary"
    each = count_outcomes(np.arange(len(rows)), rows.rows.labels, rows.prediction, edges, is_binary=is_binary)
    loss = np.array([reading.bucket_loss(0, one).mean for one in each])
    weight = np.ones(len(rows)) if rows.weights is None else rows.weights
    losses, wanted = {}, set(starts)
    for at in np.unique(rows.rows.time_us // width_us * width_us).tolist():
        own = rows.rows.time_us // width_us * width_us == at
        if at in wanted:
            mean = float(np.average(loss[own], weights=weight[own]))
            variance = float(np.average((loss[own] - mean) ** 2, weights=weight[own]))
            losses[at] = BucketLoss(at, max(round(effective(weight[own])), 1), mean, variance)
    return losses


class Learning(NamedTuple):
    """The losses of the mature, covered buckets from some time on, and the baseline of the first of them.

    Attributes
    ----------
    baseline
        None while there are too few.
    score
        The metric over its rows; None where labels were drawn for some of its buckets, or the rows do not define it.
    spread
        Of a regression the standard deviation of the target over its rows; else 0.
    """

    losses: list[BucketLoss]
    baseline: Baseline | None = None
    score: Score | None = None
    spread: float = 0.0


def learn(stores: Stores, spec: ModelSpec, cohorts: Cohorts, *, start_us: int = 0, new: Sequence[Outcome] = ()) -> Learning:
    """Learn the baseline of the first mature, covered buckets from `start_us` on, of all rows."""
    sums = _mature(stores, spec, cohorts, start_us, ALL, new)
    losses = _losses(stores, spec, cohorts, sums, ALL)
    baseline = learn_baseline(losses, Reading(spec.watched_by.name).loss, duration_us(spec.watching.bucket))
    if baseline is None:
        return Learning(losses)
    some = [one for at, one in sums.items() if baseline.start_us <= at < baseline.end_us]
    is_drawn = any(one.start_us < baseline.end_us and baseline.start_us < one.end_us for one in cohorts.by_requests)
    whole = add_up(some)
    spread = 0.0 if whole.target is None else math.sqrt(whole.target.squares / whole.n)
    return Learning(losses, baseline, None if is_drawn else _reading(spec, spec.watched_by.name, some).over(some), spread)


def _judged(
    spec: ModelSpec, cohorts: Cohorts, span: tuple[int, int], stored: Mapping[int, OutcomeSums], new: Sequence[Outcome]
) -> dict[int, OutcomeSums]:
    """Return the sums of the mature, covered buckets of a span, in order; quarantined ones are no cohort's."""
    sums, width_us = dict(stored), duration_us(spec.watching.bucket)
    for one in new:
        sums[one.bucket_us] = sums[one.bucket_us].plus(one.sums) if one.bucket_us in sums else one.sums
    starts = [one.start_us for one in cohorts.cohorts]

    def is_judged(at: int) -> bool:
        place = bisect_right(starts, at) - 1
        holds = place >= 0 and at + width_us <= cohorts.cohorts[place].end_us
        return holds and cohorts.cohorts[place].is_covered and not _is_aside(at, width_us, cohorts.aside)

    return {at: sums[at] for at in sorted(sums) if sums[at].n and span[0] <= at < span[1] and is_judged(at)}


def _kept(stores: Stores, model: str, segment: str, start_us: int) -> KeptSums:
    """Return what is stored by bucket; of what was read at an earlier slot only what became known since is read."""
    stored = stores.journal.outcomes
    counted_us, kept = stored.counted_us(model), stores.outcome_sums.get((model, segment))
    sums: dict[int, OutcomeSums] = {}
    due: dict[int, Due] = {}
    after_us = -1
    if kept is not None and kept.start_us <= start_us and stored.rolled_up_us(model) <= kept.counted_us <= counted_us:
        sums, after_us = {at: one for at, one in kept.sums.items() if at >= start_us}, kept.counted_us
        due = {at: one for at, one in kept.due.items() if at >= start_us}
    for at, more in _by_bucket(stored.find(model, start_us, EVER_US, segment, after_us=after_us)).items():
        sums[at] = sums[at].plus(more) if at in sums else more
    for at, came in _added_up(stored.find_due(model, start_us, EVER_US, segment, after_us=after_us)).items():
        due[at] = due[at].plus(came) if at in due else came
    stores.outcome_sums[model, segment] = KeptSums(counted_us, start_us, sums, due)
    return stores.outcome_sums[model, segment]


def _due_of(spec: ModelSpec, cohorts: Cohorts, sums: Mapping[int, OutcomeSums], stored: Mapping[int, Due], new: Sequence[Outcome]) -> Due:
    """Return the rows of the buckets that are scored, labelled or not; where labels were drawn, those speak for the others."""
    drawn, width_us = ranges(cohorts.by_requests), duration_us(spec.watching.bucket)
    all_rows = [stored.get(at, NO_ROWS) for at in sums if not _is_aside(at, width_us, drawn)]
    came = [one.due for one in new if one.bucket_us in sums and not _is_aside(one.bucket_us, width_us, drawn)]
    return add_up_due([*all_rows, *came, *(Due.of_labelled(one) for at, one in sums.items() if _is_aside(at, width_us, drawn))])


def _added_up(parts: Iterable[tuple[int, Due]]) -> dict[int, Due]:
    by_bucket: dict[int, list[Due]] = {}
    for at, part in parts:
        by_bucket.setdefault(at, []).append(part)
    return {at: add_up_due(some) for at, some in by_bucket.items()}


def _by_bucket(outcomes: Iterable[Outcome]) -> dict[int, OutcomeSums]:
    parts: dict[int, list[OutcomeSums]] = {}
    for one in outcomes:
        parts.setdefault(one.bucket_us, []).append(one.sums)
    return {at: add_up(some) if len(some) > 1 else some[0] for at, some in sorted(parts.items())}


def _segments(stores: Stores, spec: ModelSpec, new: Sequence[Outcome]) -> list[str]:
    known = {ALL, *(one.segment for one in new if one.sums.n)}
    return sorted(known | set(stores.journal.outcomes.segments(spec.model)) if spec.watching.segments else {ALL})


def _reading(spec: ModelSpec, name: str, sums: Iterable[OutcomeSums]) -> Reading:
    learned: Mapping[str, None] = {label: None for one in sums for label in one.classes}
    known = name == COST and spec.costs is not None
    if not known and spec.schema.task not in (METRICS[name].tasks if name in METRICS else _tasks_of(name)):
        raise ValueError(f"{name} is not known of the live rows of {spec.model}, a {spec.schema.task} model")
    return Reading(name, spec.schema.order_classes(learned) if spec.schema.is_classification else (), spec.costs)


def _tasks_of(name: str) -> tuple[str, ...]:
    return tuple(task for task in ("binary", "multiclass", "regression") if name in fairness_names(task, ""))


def bucket_score(reading: Reading, bucket_us: int, sums: OutcomeSums | None, rows: int | None, segment: str = ALL) -> BucketScore:
    """Return the score of a bucket of so many rows; of None as many as are known."""
    n = 0 if sums is None else sums.n
    coverage = None if rows is None else min(n / max(rows, 1), 1.0)
    if sums is None:
        return BucketScore(bucket_us, 0, coverage, None, None, None, segment)
    value, low, high = (None if math.isnan(one) else one for one in (reading.value(sums), *reading.within(sums)))
    return BucketScore(bucket_us, n, coverage, value, low, high, segment)


def _corrected(score: BucketScore, reading: Reading, missing: MissingLabels | None) -> BucketScore:
    if missing is None:
        return score
    value, low, high = (None if math.isnan(one) else one for one in missing.within(reading))
    return score._replace(value=value, low=low, high=high, correction=missing.correction(reading))


def _is_aside(bucket_us: int, width_us: int, aside: Iterable[Range | Span]) -> bool:
    return any(one.start_us < bucket_us + width_us and bucket_us < one.end_us for one in aside)
