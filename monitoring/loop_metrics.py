"""What the loop knows of its models, for a scrape: read from journal, registry and log when it is asked for, kept nowhere.

So a monitor that has just started, or has just been elected, tells what the one before it told; one that does not lead tells nothing of
any model.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.journal.tables import RETRAIN, VerdictRecord
from monitoring.log_windows import silence_of
from monitoring.retraining.plan import paced
from monitoring.retraining.retraining import OUTCOMES
from monitoring.stores import Stores
from training.clock import duration_us, to_us
from training.errors import EvergreenError
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHAMPION, REFUSE
from training.registry.tables import LedgerEntry

logger = logging.getLogger(__name__)

MOST_SERIES = 60
"""Of one model, however many columns, segments, versions, episodes and faults it has; a test adds up the worst."""
MOST_COLUMNS = 10  # of one model that have series of their own
MOST_SEGMENTS = 3  # of one model whose live score has a series of its own, those with the most labels
MOST_METRICS = 3  # of all rows: the one that is watched, a user's own or the cost beside it, and what is asked of segments first
MOST_INTERVALS = 2  # of these that have their interval
LEAST_USUAL_US = 1_800_000_000  # half an hour: what is shorter alarms nobody at twice as much
DAY_US = 86_400_000_000
LAST_RUNS = 5  # retrainings of one model among which are the newest, and the one that runs
Values = dict[tuple[str, ...], float]
Sample = tuple[str, tuple[str, ...], float]  # name, labels behind the model, value
Declared = Mapping[str, tuple[str, tuple[str, ...]]]  # meaning and labels by name
_ESTIMATED = ("model", "metric", "method")

GAUGES: Declared = {
    "verdict": ("1 for the verdict of the last slot; there is no series of the others.", ("model", "verdict")),
    "drift_evidence_ratio": ("Evidence for a change, log10, over that which opens an episode.", ("model", "feature")),
    "drift_size_ratio": ("Distance from the reference over what it must exceed to matter.", ("model", "feature")),
    "drift_features_ratio": ("Share of the columns that drift.", ("model",)),
    "drift_episodes": ("Drift episodes that are open, or open and muted.", ("model", "state")),
    "drift_episode_since_timestamp_seconds": ("Model time at which the oldest open episode began.", ("model",)),
    "drift_last_evaluated_timestamp_seconds": ("Model time of the last judged slot.", ("model",)),
    "faults": ("Faults of data and of labels in the last slot.", ("model",)),
    "quarantines": ("Spans of rows that are set aside until a person lets them go.", ("model",)),
    "live_score": ("Score over the newest mature, covered buckets of all rows (no segment), or of one.", ("model", "metric", "segment")),
    "live_score_low": ("Lower end of the 95 % interval of all rows' live score.", ("model", "metric")),
    "live_score_high": ("Upper end of the 95 % interval of all rows' live score.", ("model", "metric")),
    "live_rows": ("Labelled rows the live score stands on.", ("model", "metric")),
    "quality_baseline": ("What the score is held against.", ("model", "metric")),
    "performance_degraded": ("1 while the model is worse than it should be by more than the tolerance.", ("model",)),
    "performance_evidence_ratio": ("Evidence that it is worse than its baseline, log10, over that which opens an episode.", ("model",)),
    "disparities": ("Segments that got worse against the rest, by an open episode.", ("model",)),
    "estimated_score": ("Score of the last window: by labels and estimate (PPI++), or estimated alone (CBPE, DLE).", _ESTIMATED),
    "estimated_score_low": ("Lower end of the estimate's 95 % band.", _ESTIMATED),
    "estimated_score_high": ("Upper end of the estimate's 95 % band.", _ESTIMATED),
    "labelled_ratio": ("Share of the matured rows of the last slot that are labelled.", ("model",)),
    "labels_overdue_ratio": ("Model time since the last label came, over twice the age at which labels count, and a day.", ("model",)),
    "silence_ratio": ("Machine time since the newest row over the longest usual one, where model time is that of arrival.", ("model",)),
    "model_trained_through_timestamp_seconds": ("Model time of the last row the champion has seen.", ("model",)),
    "retrain_overdue_ratio": ("Model time since a retraining saw new rows, over twice schedule and maturity.", ("model",)),
    "retrain_in_progress": ("1 while a training child runs.", ("model",)),
    "retrain_last_success_timestamp_seconds": ("Machine time of the last retraining that ended with a verdict of the gate.", ("model",)),
    "probation_open": ("1 while the last promotion may be taken back.", ("model",)),
    "loop_paused": ("1 while a person has paused the loop of the model.", ("model",)),
}  # fmt: skip
COUNTERS: Declared = {
    "promotions": ("Retrainings by what became of them: promoted, refused, failed.", ("model", "decision")),
    "rollbacks": ("Champions taken back, by the probation or a person.", ("model",)),
}


class LoopMetrics(Collector):
    """Adds to a scrape of the monitor that leads what its loop knows.

    Parameters
    ----------
    leads
        Whether this monitor leads.
    spec_of
        Reads a stored model file.
    models
        Those that are watched; empty means all.
    now_us
        Machine time.

    Notes
    -----
    At most 60 series a model, a third of them of its ten strongest columns, and `evergreen_scheduler_tick_failures_total` of the process
    itself among them. When the database is away there are none: `evergreen_db_up` says so.
    """

    def __init__(
        self,
        stores: Stores,
        leads: Callable[[], bool],
        spec_of: Callable[[str], ModelSpec],
        models: Sequence[str] = (),
        now_us: Callable[[], int] = lambda: to_us(datetime.now(UTC)),
    ) -> None:
        self._stores = stores
        self._leads = leads
        self._spec_of = spec_of
        self._now_us = now_us
        self._models = models
        self._decided: dict[str, tuple[int, tuple[Sample, ...]]] = {}

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the families at the time of the scrape."""
        if not self._leads():
            return []
        try:
            values = self._values()
        except EvergreenError as error:
            logger.warning("a scrape goes without the models: %s", error)
            return []
        return [
            *_families(GaugeMetricFamily, GAUGES, values),
            *_families(CounterMetricFamily, COUNTERS, values),
        ]

    def _values(self) -> dict[str, Values]:
        values: dict[str, Values] = {name: {} for name in (*GAUGES, *COUNTERS)}
        for record in self._stores.registry.models():
            if self._models and record.name not in self._models:
                continue
            for name, labels, value in self._of_model(self._spec_of(record.spec_text), is_paused=record.paused):
                values[name][record.name, *labels] = value
        return values

    def _of_model(self, spec: ModelSpec, *, is_paused: bool) -> Iterator[Sample]:
        journal, model = self._stores.journal, spec.model
        last = journal.last_judged(model)
        if last is not None:
            yield from of_verdict(last)
        began = [one.since_us for one, _ in journal.episodes(model, limit=20) if one.ended_us is None]
        if began:
            yield "drift_episode_since_timestamp_seconds", (), min(began) / 1e6
        yield "quarantines", (), len(journal.quarantines(model))
        probation = journal.open_probation(model)
        yield "probation_open", (), probation is not None
        yield "loop_paused", (), is_paused
        yield from self._of_times(spec, last)
        yield from self._of_retrainings(spec)

    def _of_times(self, spec: ModelSpec, last: VerdictRecord | None) -> Iterator[Sample]:
        registry, watermark = self._stores.registry, self._stores.log.watermark(spec.model)
        seen = None if watermark is None else silence_of(self._stores.log, spec, watermark, self._now_us())
        if seen is not None:
            yield "silence_ratio", (), seen.silent_us / max(seen.usual_us, LEAST_USUAL_US)
        champion, refused = registry.alias(spec.model, CHAMPION), registry.last_line(spec.model, REFUSE)
        versions = [one.version for one in (champion, refused) if one is not None and one.version is not None]
        through = {each: int(registry.version(spec.model, each).manifest["trained_through_us"]) for each in versions}
        dated = {each: seen_us for each, seen_us in through.items() if spec.schema.is_dated(seen_us)}
        if champion is not None and champion.version in dated:
            yield "model_trained_through_timestamp_seconds", (), dated[champion.version] / 1e6
        cohorts = None if last is None else last.evidence.get("cohorts")
        if watermark is None or cohorts is None:
            return
        labelled_us, maturity_us = self._stores.log.last_labelled(spec.model), cohorts["maturity_us"]
        if labelled_us is not None:
            yield "labels_overdue_ratio", (), (watermark - labelled_us) / (2 * maturity_us + DAY_US)
        schedule = paced(spec, self._stores.journal.carry(spec.model).weighing).schedule
        if dated and schedule is not None:
            yield "retrain_overdue_ratio", (), (watermark - max(dated.values())) / (2 * (duration_us(schedule) + maturity_us))

    def _of_retrainings(self, spec: ModelSpec) -> Iterator[Sample]:
        runs = self._stores.journal.runs(spec.model, RETRAIN, limit=LAST_RUNS)
        yield "retrain_in_progress", (), any(run.state == "running" for run in runs)
        yield from self._decided_so_far(spec.model)

    def _decided_so_far(self, model: str) -> tuple[Sample, ...]:
        """Return what the ledger says of all retrainings; lines are only added to it, so it is read again when it has a new one."""
        newest = next(iter(self._stores.registry.ledger(model, limit=1)), None)
        seq = -1 if newest is None else newest.seq
        if model not in self._decided or self._decided[model][0] != seq:
            ours = {run.run_id for run in self._stores.journal.runs(model, RETRAIN, limit=None)}
            self._decided[model] = seq, tuple(decided(ours, self._stores.registry.ledger(model, limit=None)))
        return self._decided[model][1]


def decided(runs: Collection[str], lines: Sequence[LedgerEntry]) -> Iterator[Sample]:
    """Return what became of retrainings, and how often a champion was taken back.

    Parameters
    ----------
    runs
        The ids of the retraining runs.
    """
    concluded = [line for line in lines if line.action in OUTCOMES and line.evidence.get("run") in runs]
    decisions = Counter(OUTCOMES[line.action] for line in concluded)
    yield from (("promotions", (decision,), decisions[decision]) for decision in OUTCOMES.values())
    good = [to_us(line.at) for line in concluded if line.action != "failed"]
    if good:
        yield "retrain_last_success_timestamp_seconds", (), max(good) / 1e6
    yield "rollbacks", (), sum(line.action == "rollback" for line in lines)


def of_verdict(last: VerdictRecord) -> Iterator[Sample]:
    """Return the values that the evidence of a slot holds, as name, labels behind the model, value."""
    evidence = last.evidence
    drift, cohorts = evidence["drift"], evidence.get("cohorts")
    yield "verdict", (last.verdict,), 1
    yield from _of_columns(drift["columns"], drift.get("log10_threshold"))
    n_columns = len(drift["columns"]) + drift.get("columns_left_out", 0)
    yield "drift_features_ratio", (), len(drift["drifting"]) / max(1, n_columns)
    muted = [e["muted"] for e in drift.get("episodes", ())]  # the classic rule has none
    yield "drift_episodes", ("open",), muted.count(False)
    yield "drift_episodes", ("muted",), muted.count(True)
    yield "faults", (), len(evidence["faults"]) + len((cohorts or {}).get("label_faults", ()))
    yield "labelled_ratio", (), evidence["labels"]["coverage"]
    yield "drift_last_evaluated_timestamp_seconds", (), last.slot_us / 1e6
    yield from _of_live(evidence.get("live", ()))
    for line in (evidence.get("estimated") or {}).get("lines", ())[-1:]:  # the last one is that with labels, where there is one
        labels = (line["metric"], line["method"])
        ends = (("estimated_score", line["value"]), ("estimated_score_low", line["low"]), ("estimated_score_high", line["high"]))
        yield from ((name, labels, value) for name, value in ends)
    performance = evidence["performance"]
    yield "disparities", (), sum(one["is_open"] for one in evidence.get("disparities", ()))
    if performance is not None:
        yield "quality_baseline", (performance["baseline"]["metric"],), performance["baseline"]["value"]
        yield "performance_degraded", (), performance["is_degraded"]
        harm = performance.get("harm")  # there is none before there is a baseline
        if harm is not None and harm["log10_evidence"] is not None:
            yield "performance_evidence_ratio", (), harm["log10_evidence"] / harm["log10_threshold"]


def _of_live(scores: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    """Return the scores of all rows, and the metric that is watched of the segments with the most labels."""
    whole = [one for one in scores if not one["segment"]]
    watched = [one for one in scores if one["segment"] and whole and one["metric"] == whole[0]["metric"]]
    for one in (*whole[:MOST_METRICS], *sorted(watched, key=lambda one: -one["n"])[:MOST_SEGMENTS]):
        yield "live_score", (one["metric"], one["segment"]), one["value"]
    for one in whole[:MOST_INTERVALS]:
        yield from (("live_score_low", (one["metric"],), one["low"]), ("live_score_high", (one["metric"],), one["high"]))
    yield from (("live_rows", (one["metric"],), one["n"]) for one in whole[:1])


def _of_columns(columns: Sequence[Mapping[str, Any]], log10_threshold: float | None) -> Iterator[Sample]:
    """Return the values of the strongest columns."""
    for column in sorted(columns, key=_strength)[:MOST_COLUMNS]:
        name, evidence = (column["column"],), column.get("log10_evidence")
        if column["psi"] is not None and column["floor"]:
            yield "drift_size_ratio", name, column["psi"] / column["floor"]
        if evidence is not None and log10_threshold is not None:
            yield "drift_evidence_ratio", name, evidence / log10_threshold


def _strength(column: Mapping[str, Any]) -> tuple[bool, float, float]:
    evidence = column.get("log10_evidence")
    return not column["is_drifting"], math.inf if evidence is None else -evidence, -(column["psi"] or 0.0)


def _families(kind: type[GaugeMetricFamily | CounterMetricFamily], declared: Declared, values: Mapping[str, Values]) -> Iterator[Metric]:
    for name, (meaning, labels) in declared.items():
        family = kind(f"evergreen_{name}", meaning, labels=labels)
        for names, value in values[name].items():
            family.add_metric(list(names), float(value))
        yield family
