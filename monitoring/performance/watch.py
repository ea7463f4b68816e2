"""Judge how well a model does as of a slot: against its baseline, and against what was known of the champion while there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

from monitoring.journal.outcomes import Outcome
from monitoring.judging.cohorts import Cohorts
from monitoring.judging.performance.baseline import BASELINE, LEAST_ROWS, BucketLoss
from monitoring.judging.performance.bets import null_of, null_of_segment
from monitoring.judging.performance.disparity import Disparity, rest_of
from monitoring.judging.performance.harm import DISPARITY_SHARE, HARM_SHARE, Rule, look
from monitoring.judging.performance.scores import CHALLENGER_LIVE, PerformanceTest, Score, Yardstick, compare, score
from monitoring.judging.performance.watch import HarmTest, HarmWatch, PerformanceWatch, SegmentWatch, tolerance_of
from monitoring.log_windows import Range, of_generation, ranges, take
from monitoring.performance.live_scores import bucket_losses, learn
from monitoring.performance.yardsticks import yardsticks
from monitoring.stores import Stores
from service.prediction_log.reading import LoggedRows
from training.clock import duration_us, format_duration
from training.evaluation.losses import COST
from training.fitting.imported import IMPORTED
from training.model_file.model_spec import ModelSpec
from training.profiles.measures import ALL
from training.registry.aliases import CHANGES, PROMOTE, REFUSE, ROUTINE
from training.registry.lineage import pool_of
from training.registry.registry import Registry
from training.registry.tables import VersionRecord

LONGEST_WAIT = timedelta(days=90)  # until a segment has its baseline; so much is read at each slot meanwhile
RATE_KNOWN = timedelta(days=7)  # of labels: all days of the week
REFUSALS = 2  # by the gate, of challengers of a model that is worse than it should be: nothing better can be learned
LEDGER_LINES = 200
RENEW_BASELINE, AFTER = "renew_baseline", "after_slot_us"  # the ledger's words: from which slot on, also where that one is judged again


@dataclass(frozen=True, slots=True)
class Judged:
    """How well a model does as of a slot.

    Attributes
    ----------
    score
        Of the newly matured labelled rows; None where there are too few.
    tested
        What they say; None where nothing is known.
    watch
        What the slot hands on.
    missing
        Why nothing can be said though there are labels.
    yardsticks
        What others would score on the same rows.
    disparities
        Segments that are held against the rest.
    """

    score: Score | None
    tested: PerformanceTest | HarmTest | None
    watch: PerformanceWatch
    missing: str | None = None
    yardsticks: tuple[Yardstick, ...] = ()
    disparities: tuple[Disparity, ...] = ()


@dataclass(frozen=True, slots=True)
class Matured:
    """The rows of a slot whose labels are in.

    Attributes
    ----------
    aside
        Ranges that are set aside, or of whose rows too few have a label.
    new
        What became known of labelled rows at the slot, which the journal does not hold yet.
    """

    stores: Stores
    spec: ModelSpec
    cohorts: Cohorts
    aside: tuple[Range, ...]
    new: Sequence[Outcome] = ()

    def rows(self, start_us: int, end_us: int) -> LoggedRows:
        """Return the labelled rows of a range that may be judged by."""
        requested = ranges(self.cohorts.by_requests)
        return self.stores.windows(self.spec).labelled(start_us, end_us, self.cohorts.slot_us - 1, self.aside, requested)

    def losses(self, start_us: int, segment: str = ALL) -> list[BucketLoss]:
        """Return the mean losses of the buckets that may be judged by."""
        return bucket_losses(self.stores, self.spec, self.cohorts, start_us=start_us, segment=segment, new=self.new)

    def segments(self) -> list[str]:
        """Return the segments that are counted."""
        if not self.spec.watching.segments:
            return []
        return sorted({*self.stores.journal.outcomes.segments(self.spec.model), *(one.segment for one in self.new if one.sums.n)} - {ALL})


def judge_performance(matured: Matured, record: VersionRecord, watch: PerformanceWatch) -> Judged:
    """Score newly matured labelled rows and hold them against what they should be, each row once.

    Without enough of them, and in a blind slot, nothing is tested and nothing is spent.

    Parameters
    ----------
    record
        The champion.
    watch
        As the slot before handed it on, under this champion.
    """
    spec, cohorts = matured.spec, matured.cohorts
    policy, rule = spec.watching.performance, rule_of(spec)
    pool = pool_of(matured.stores.registry, record) if watch.harm is None else [record]
    seen_us = int(pool[-1].manifest["trained_through_us"]) + 1
    if not watch.since_us:
        watch = replace(watch, since_us=seen_us, tested_us=max(watch.tested_us, seen_us))
    end_us = cohorts.covered_end_us
    untested = Judged(None, HarmTest.of(watch, None, rule), watch, disparities=_disparities(watch, _rule_of_segment(matured)))
    if end_us is None or end_us <= watch.tested_us or cohorts.blind is not None:
        return untested
    rows = matured.rows(watch.tested_us, end_us)
    if watch.harm is None:  # what was known of the version it grew from says nothing of the answers of others
        rows = of_generation(take(rows, rows.rows.time_us >= seen_us), *(one.version for one in pool))
    if rows.n_effective < policy.minimum_rows:
        return untested
    share = cohorts.share(watch.tested_us, covered_only=True)
    live = score(rows.rows.labels, rows.prediction, spec.watched_by, coverage=share, weights=rows.weights)
    judged = Judged(live, None, replace(watch, tested_us=end_us))
    if watch.harm is None:
        if live is None:  # the metric is not defined on these rows: they wait for more
            return Judged(None, None, watch)
        judged = _against_promise(matured, pool[-1], judged.watch, live)
    if judged.watch.harm is not None:
        judged = _against_baseline(matured, judged.watch, live, rule)
    is_worse = judged.tested is not None and judged.tested.is_degraded
    last = next(iter(matured.stores.registry.ledger(spec.model, 1)), None)
    noticed = judged.watch.noticed(0 if last is None else last.seq, is_worse=is_worse)
    return replace(judged, watch=noticed, yardsticks=yardsticks(matured.stores, spec, record, rows))


def under(stores: Stores, spec: ModelSpec, watch: PerformanceWatch, champion: str, slot_us: int) -> PerformanceWatch:
    """Return the watch as of a slot: under a champion that is new, with a baseline that was renewed, or that nothing could better.

    Where the gate refused two challengers while the model was worse than it should be, nothing better can be learned now: so it is.
    """
    from_us = slot_us - duration_us(spec.watching.every)
    if watch.champion != champion:
        moves = [line for action in CHANGES if (line := stores.registry.last_line(spec.model, action)) is not None]
        is_return = bool(moves) and max(moves, key=lambda line: line.seq).action != PROMOTE
        watch = watch.under(champion, slot_us if is_return else from_us, is_return=is_return)  # until now others answered, too
    last = stores.registry.last_line(spec.model, RENEW_BASELINE)
    if watch.worse_since is None and (last is None or last.seq <= watch.renewal):
        return watch
    lines = stores.registry.ledger(spec.model, LEDGER_LINES, but=ROUTINE)
    asked = [one.seq for one in lines if one.action == RENEW_BASELINE and watch.renewal < one.seq and one.evidence.get(AFTER, 0) < slot_us]
    if asked:
        return replace(watch.accepted(from_us), renewal=max(asked))
    if watch.worse_since is None:
        return watch
    refused = [one for one in lines if one.action == REFUSE and one.seq > watch.worse_since and "gain_low" in one.evidence]
    return watch.accepted(from_us) if len(refused) >= REFUSALS else watch


def rule_of(spec: ModelSpec) -> Rule:
    """Return the numbers behind an alarm of harm."""
    watching = spec.watching
    return Rule(duration_us(watching.bucket), watching.promise / timedelta(days=1), HARM_SHARE)


def _against_baseline(matured: Matured, watch: PerformanceWatch, live: Score | None, rule: Rule) -> Judged:
    if watch.harm is None:
        return Judged(live, None, watch)
    watch = replace(watch, harm=watch.harm.after(matured.losses(watch.harm.state.through_us), rule))
    watch = replace(watch, segments=_segments(matured, watch))
    return Judged(live, HarmTest.of(watch, live, rule), watch, disparities=_disparities(watch, _rule_of_segment(matured)))


def _segments(matured: Matured, watch: PerformanceWatch) -> dict[str, SegmentWatch]:
    """Hold each segment against the rest, from 200 labelled rows and 28 days on; one that has not so many in 90 days is not watched."""
    if watch.harm is None:
        return {}
    base, tolerance, rule = watch.harm.null.baseline, watch.harm.tolerance, _rule_of_segment(matured)
    segments, whole = {}, cache(lambda start_us: {one.bucket_us: one for one in matured.losses(start_us)})
    for name in matured.segments():
        one = watch.segments.get(name, SegmentWatch(watch.since_us))
        harm = one.harm
        start_us = max(one.since_us, watch.tested_us - duration_us(LONGEST_WAIT)) if harm is None else harm.state.through_us
        losses = matured.losses(start_us, name)
        rest = rest_of(whole(start_us), losses) if losses else {}
        if harm is None:
            null = null_of_segment(losses, rest, base.loss, rule.width_us, tolerance, least=watch.harm.null.least)
            harm = None if null is None else HarmWatch.since(null)
        segments[name] = replace(one, harm=None if harm is None else harm.after(losses, rule, rest))
    return segments


def _rule_of_segment(matured: Matured) -> Rule:
    """Return the numbers behind an alarm of one segment: all together have their share of the promise."""
    return replace(rule_of(matured.spec), share=DISPARITY_SHARE / max(1, len(matured.segments())))


def _disparities(watch: PerformanceWatch, rule: Rule) -> tuple[Disparity, ...]:
    """Return the segments, those with an open episode first, then those with most evidence."""
    some = [
        Disparity(name, harm.null.baseline.loss, harm.null.baseline.mean, harm.tolerance, look(harm.state, rule), harm.is_open, harm.ended)
        for name, one in watch.segments.items()
        if (harm := one.harm) is not None
    ]
    return tuple(sorted(some, key=lambda one: (not one.is_open, not one.ended, -one.look.log10_evidence)))


def _against_promise(matured: Matured, record: VersionRecord, watch: PerformanceWatch, live: Score) -> Judged:
    """Hold a champion to what was known of it, and learn the baseline; rows that are worse than that are no baseline."""
    spec, policy = matured.spec, matured.spec.watching.performance
    known, source = promised(matured.stores.registry, record, spec.watched_by.name)
    known = None if watch.is_accepted else known
    tested = None
    if known is not None:
        tested = compare(live, known, source=source, level=policy.level, tolerance=policy.tolerance, through_us=watch.tested_us)
        if tested.is_degraded:
            return Judged(live, tested, watch.renewed(watch.tested_us))
    losses, baseline, of_metric, spread = learn(matured.stores, spec, matured.cohorts, start_us=watch.since_us, new=matured.new)
    if baseline is not None:
        costs = () if baseline.loss != COST or spec.costs is None else [one for row in spec.costs.table for one in row]
        least, most = min(costs, default=0.0), max(costs, default=spread)
        null = null_of(baseline, tolerance_of(baseline, policy.tolerance, most - least), least)
        return Judged(live, tested, replace(watch, harm=HarmWatch.since(null).after(losses, rule_of(spec)), score=of_metric))
    why = "" if tested is not None else "it is learned anew, and " if watch.is_accepted else "the champion was imported, and "
    never = _never(matured, losses)
    if tested is not None and not never:
        return Judged(live, tested, watch)
    n = sum(one.n for one in losses)
    rows = f"{n} of {LEAST_ROWS} live rows, over {BASELINE.days} days, that make one have matured"
    return Judged(live, tested, watch, f"performance has no baseline yet: {why}{rows}{never}")


def _never(matured: Matured, losses: Sequence[BucketLoss]) -> str:
    """Say that the log forgets rows before there are enough of them for a baseline, if it does."""
    if not losses:
        return ""
    kept = matured.spec.retention.log
    end_us = losses[-1].bucket_us + duration_us(matured.spec.watching.bucket)
    came_us = end_us - losses[0].bucket_us
    needed_us = max(duration_us(BASELINE), came_us * LEAST_ROWS // sum(one.n for one in losses)) + matured.cohorts.slot_us - end_us
    if came_us < min(duration_us(RATE_KNOWN), duration_us(kept) // 2) or needed_us <= duration_us(kept):
        return ""
    days = -(-needed_us // duration_us(timedelta(days=1)))
    return f"; at this rate that takes {days} days, and retention.log keeps {format_duration(kept)}: set it to more, or there is never one"


def is_imported(record: VersionRecord) -> bool:
    """Return whether a version was fitted elsewhere."""
    return str(record.manifest.get("algorithm", "")).startswith(IMPORTED)


def promised(registry: Registry, record: VersionRecord, metric: str) -> tuple[Score | None, str]:
    """Return what was known of a version before it answered: its score on the gate's rows, else on its holdout; and which it is.

    The gate's rows are the newest there were and live ones, as those it is held to; the holdout's are older by all that lay between.
    Of a version fitted elsewhere nobody knows what it has seen.
    """
    line = registry.last_promotion(record.model, record.version)
    gated = None if line is None else _stored(line.evidence.get(CHALLENGER_LIVE), metric)
    if gated is not None:
        return gated, "the gate's rows"
    return None if is_imported(record) else _stored(record.metrics.get(metric), metric), "holdout"


def _stored(stored: object, metric: str) -> Score | None:
    if not isinstance(stored, Mapping) or any(stored.get(k) is None for k in ("value", "low", "high", "n")):
        return None
    if stored.get("metric", metric) != metric:
        return None
    return Score(metric, float(stored["value"]), float(stored["low"]), float(stored["high"]), int(stored["n"]))
