"""Gauges of the watching process, on its own registry and port; names as in the operations notes."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from monitoring.performance import Score
from monitoring.verdict import Evidence, Verdict

KINDS = ("keep", "watch", "retrain", "quarantine", "roll_back")


@dataclass(frozen=True, slots=True)
class MonitorMetrics:
    """Every metric the monitor exports; make one a process (or a test) with :func:`make_metrics`."""

    registry: CollectorRegistry
    drift_score: Gauge
    drift_floor: Gauge
    drift_features: Gauge
    drift_rows: Gauge
    missing_ratio: Gauge
    faults: Gauge
    quality: Gauge
    quality_low: Gauge
    quality_high: Gauge
    quality_baseline: Gauge
    evaluation_rows: Gauge
    labelled_ratio: Gauge
    verdict: Gauge
    verdicts_total: Counter
    watermark: Gauge
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

    def judged(self, evidence: Evidence, verdict: Verdict) -> None:
        """Show what one slot found."""
        model = evidence.model
        for column in evidence.drift.columns:
            self.drift_score.labels(model, column.column, "psi").set(column.psi)
            self.drift_floor.labels(model, column.column, "psi").set(column.floor)
            self.missing_ratio.labels(model, column.column).set(column.missing_share)
        self.drift_features.labels(model).set(len(evidence.drift.drifting) / max(1, len(evidence.drift.columns)))
        self.drift_rows.labels(model).set(evidence.drift.rows)
        self.faults.labels(model).set(len(evidence.faults))
        self.labelled_ratio.labels(model).set(evidence.labels.coverage)
        self.evaluated_slot.labels(model).set(evidence.slot_us / 1e6)
        if evidence.score is not None:
            self._scored(model, evidence.score)
        if evidence.performance is not None:
            self.quality_baseline.labels(model, evidence.performance.baseline.metric).set(evidence.performance.baseline.value)
        for kind in KINDS:
            self.verdict.labels(model, kind).set(kind == verdict.kind)
        self.verdicts_total.labels(model, verdict.kind).inc()

    def _scored(self, model: str, score: Score) -> None:
        self.quality.labels(model, score.metric, "current").set(score.value)
        self.quality_low.labels(model, score.metric, "current").set(score.low)
        self.quality_high.labels(model, score.metric, "current").set(score.high)
        self.evaluation_rows.labels(model, score.metric, "current").set(score.n)


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
        missing_ratio=gauge("feature_missing_ratio", "Share of missing values in the current window.", "model", "feature"),
        faults=gauge("data_faults", "Data faults found in the last slot.", "model"),
        quality=gauge("quality", "Live score on matured labelled rows.", *quality),
        quality_low=gauge("quality_confidence_low", "Lower end of the score's 95 % interval.", *quality),
        quality_high=gauge("quality_confidence_high", "Upper end of the score's 95 % interval.", *quality),
        quality_baseline=gauge("quality_baseline", "What the score is held against.", "model", "metric"),
        evaluation_rows=gauge("evaluation_rows", "Rows the score stands on.", *quality),
        labelled_ratio=gauge("labelled_ratio", "Share of the matured rows of the last slot that are labelled.", "model"),
        verdict=gauge("verdict", "1 for the verdict of the last slot.", "model", "verdict"),
        verdicts_total=counter("verdicts", "Verdicts by kind.", "model", "verdict"),
        watermark=gauge("model_time_seconds", "Model time: the watermark of the log.", "model"),
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
