"""Gauges of the watching process, on its own registry and port; names as in the operations notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from monitoring.drift.watch_report import WatchReport
from monitoring.judging.labels.arrivals import LOST
from monitoring.judging.verdict import Evidence, Verdict

EPISODE_STATES = ("open", "muted")
MOST_COLUMNS = 10  # of one model that have series of their own
RESULTS = ("matched", "duplicate", "conflict", *LOST)  # what becomes of a label
KINDS = ("keep", "watch", "retrain", "blind", "quarantine", "roll_back")


@dataclass(frozen=True, slots=True)
class MonitorMetrics:
    """Every metric the monitor exports; make one a process (or a test) with `make_metrics`."""

    registry: CollectorRegistry
    drift_score: Gauge
    drift_floor: Gauge
    drift_features: Gauge
    drift_rows: Gauge
    drift_evidence: Gauge
    drift_threshold: Gauge
    drift_episodes: Gauge
    drift_episodes_total: Counter
    missing_ratio: Gauge
    faults: Gauge
    quality: Gauge
    quality_low: Gauge
    quality_high: Gauge
    quality_baseline: Gauge
    evaluation_rows: Gauge
    labelled_ratio: Gauge
    labels_came: Gauge
    verdict: Gauge
    verdicts_total: Counter
    watermark: Gauge
    silence: Gauge
    evaluated_slot: Gauge
    trained_through: Gauge
    runs_total: Counter
    run_seconds: Gauge
    run_in_progress: Gauge
    last_run: Gauge
    promotions_total: Counter
    rollbacks_total: Counter
    is_leader: Gauge
    last_tick: Gauge
    tick_seconds: Gauge
    tick_failures_total: Counter
    lease_lost_total: Counter
    shown: dict[tuple[str, str], set[tuple[str, ...]]] = field(default_factory=dict)

    def judged(self, evidence: Evidence, verdict: Verdict) -> None:
        """Show and count what one slot found."""
        self.show(evidence.model, evidence.slot_us, verdict.kind, evidence.to_dict())
        self.verdicts_total.labels(evidence.model, verdict.kind).inc()
        if isinstance(evidence.drift, WatchReport):
            self.drift_episodes_total.labels(evidence.model).inc(sum(e.is_new for e in evidence.drift.episodes))

    def show(self, model: str, slot_us: int, verdict: str, evidence: Mapping[str, Any]) -> None:
        """Show what one slot found.

        Parameters
        ----------
        evidence
            As the journal keeps it, so that a monitor that has just started shows what the one before it found.
        """
        drift = evidence["drift"]
        self._columns(model, drift["columns"])
        n_columns = len(drift["columns"]) + drift.get("columns_left_out", 0)
        self.drift_features.labels(model).set(len(drift["drifting"]) / max(1, n_columns))
        self.drift_rows.labels(model).set(drift["rows"])
        if drift.get("log10_threshold") is None:
            self.drift_threshold.remove_by_labels({"model": model})
        else:
            self.drift_threshold.labels(model).set(drift["log10_threshold"])
        for state in EPISODE_STATES:  # the classic rule has none
            self.drift_episodes.labels(model, state).set(sum(e["muted"] == (state == "muted") for e in drift.get("episodes", ())))
        self.faults.labels(model).set(len(evidence["faults"]))
        self.labelled_ratio.labels(model).set(evidence["labels"]["coverage"])
        came = evidence.get("cohorts", {}).get("came", {}).get("slot", {})
        for result in RESULTS:
            self.labels_came.labels(model, result).set(came.get(result, 0))
        self.evaluated_slot.labels(model).set(slot_us / 1e6)
        if evidence["score"] is not None:
            self._scored(model, evidence["score"])
        if evidence["performance"] is not None:
            baseline = evidence["performance"]["baseline"]
            self.quality_baseline.labels(model, baseline["metric"]).set(baseline["value"])
        for kind in KINDS:
            self.verdict.labels(model, kind).set(kind == verdict)

    def _columns(self, model: str, columns: Sequence[Mapping[str, Any]]) -> None:
        """Show the strongest columns; the series of those that are so no more end."""
        strongest = {c["column"]: c for c in sorted(columns, key=_strength)[:MOST_COLUMNS]}
        gauges = {
            "psi": (self.drift_score, ("psi",)),
            "floor": (self.drift_floor, ("psi",)),
            "missing_share": (self.missing_ratio, ()),
            "log10_evidence": (self.drift_evidence, ()),
        }
        for key, (gauge, last) in gauges.items():
            values = {(model, name, *last): column.get(key) for name, column in strongest.items()}
            known = {labels: value for labels, value in values.items() if value is not None}
            for labels in self.shown.get((model, key), set()) - known.keys():
                gauge.remove(*labels)
            for labels, value in known.items():
                gauge.labels(*labels).set(value)
            self.shown[model, key] = set(known)

    def _scored(self, model: str, score: Mapping[str, Any]) -> None:
        self.quality.labels(model, score["metric"], "current").set(score["value"])
        self.quality_low.labels(model, score["metric"], "current").set(score["low"])
        self.quality_high.labels(model, score["metric"], "current").set(score["high"])
        self.evaluation_rows.labels(model, score["metric"], "current").set(score["n"])


def _strength(column: Mapping[str, Any]) -> tuple[bool, float, float]:
    evidence = column.get("log10_evidence")
    return not column["is_drifting"], math.inf if evidence is None else -evidence, -(column["psi"] or 0.0)


def make_metrics(registry: CollectorRegistry | None = None) -> MonitorMetrics:
    """Declare all metrics on `registry`, a new one by default.

    Examples
    --------
    >>> metrics = make_metrics()
    >>> metrics.is_leader.set(1)
    >>> metrics.registry.get_sample_value("evergreen_scheduler_is_leader")
    1.0
    """
    own = CollectorRegistry() if registry is None else registry

    def gauge(name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"evergreen_{name}", says, labels, registry=own)

    def counter(name: str, says: str, *labels: str) -> Counter:
        return Counter(f"evergreen_{name}", says, labels, registry=own)

    feature, quality = ("model", "feature", "test"), ("model", "metric", "window")
    return MonitorMetrics(
        registry=own,
        drift_score=gauge("drift_score", "Distance of the current window from the reference.", *feature),
        drift_floor=gauge("drift_floor", "What the distance must exceed to matter.", *feature),
        drift_features=gauge("drift_features_ratio", "Share of the columns that drift.", "model"),
        drift_rows=gauge("drift_rows", "Rows in the current window.", "model"),
        drift_evidence=gauge("drift_evidence_log10", "Evidence for a change, log10 of its sum in days.", "model", "feature"),
        drift_threshold=gauge("drift_evidence_threshold_log10", "Where the evidence of all columns opens an episode, log10.", "model"),
        drift_episodes=gauge("drift_episodes", "Drift episodes that are open, or open and muted.", "model", "state"),
        drift_episodes_total=counter("drift_episodes_opened", "Drift episodes that were opened.", "model"),
        missing_ratio=gauge("feature_missing_ratio", "Share of missing values in the current window.", "model", "feature"),
        faults=gauge("data_faults", "Data faults found in the last slot.", "model"),
        quality=gauge("quality", "Live score on matured labelled rows.", *quality),
        quality_low=gauge("quality_confidence_low", "Lower end of the score's 95 % interval.", *quality),
        quality_high=gauge("quality_confidence_high", "Upper end of the score's 95 % interval.", *quality),
        quality_baseline=gauge("quality_baseline", "What the score is held against.", "model", "metric"),
        evaluation_rows=gauge("evaluation_rows", "Rows the score stands on.", *quality),
        labelled_ratio=gauge("labelled_ratio", "Share of the matured rows of the last slot that are labelled.", "model"),
        labels_came=gauge("slot_labels", "Labels that came in the last slot, by what became of them.", "model", "result"),
        verdict=gauge("verdict", "1 for the verdict of the last slot.", "model", "verdict"),
        verdicts_total=counter("verdicts", "Verdicts by kind.", "model", "verdict"),
        watermark=gauge("model_time_seconds", "Model time: the watermark of the log.", "model"),
        silence=gauge("silence_seconds", "Machine time since the newest row, where model time is that of arrival.", "model"),
        evaluated_slot=gauge("drift_last_evaluated_timestamp_seconds", "Model time of the last judged slot.", "model"),
        trained_through=gauge("model_trained_through_timestamp_seconds", "Model time of the last row the champion has seen.", "model"),
        runs_total=counter("retrain_runs", "Retraining runs by trigger and result.", "model", "trigger", "result"),
        run_seconds=gauge("retrain_duration_seconds", "Machine time the last retraining took.", "model"),
        run_in_progress=gauge("retrain_in_progress", "1 while a training child runs.", "model"),
        last_run=gauge("retrain_last_attempt_timestamp_seconds", "Machine time of the last retraining.", "model"),
        promotions_total=counter("promotions", "Decisions of the gate.", "model", "decision"),
        rollbacks_total=counter("rollbacks", "Champions taken back.", "model", "reason"),
        is_leader=gauge("scheduler_is_leader", "1 while this process holds the lease."),
        last_tick=gauge("scheduler_last_tick_timestamp_seconds", "Machine time of the last tick."),
        tick_seconds=gauge("scheduler_tick_duration_seconds", "How long the last tick took."),
        tick_failures_total=counter("scheduler_tick_failures", "Ticks that ended in an error.", "model"),
        lease_lost_total=counter("lease_lost", "Times this process lost the lease while acting."),
    )
