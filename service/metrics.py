"""Counters and histograms of the service, declared on a registry that is handed in.

Only kinds that add up over processes: under gunicorn each worker writes its own file and a scrape merges them. What a
worker merely knows (which versions it serves) is not kept in files but told at the scrape, see `DeploymentInfo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
ROWS = (1, 2, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000)
OTHER = "other"


class ServiceMetrics:
    """All metrics of a worker.

    Examples
    --------
    >>> registry = CollectorRegistry()
    >>> ServiceMetrics(registry).labels.labels("bikes", "matched").inc(3)
    >>> registry.get_sample_value("evergreen_labels_total", {"model": "bikes", "result": "matched"})
    3.0
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"evergreen_{name}", meaning, labels, registry=registry)

        def seconds(name: str, meaning: str, *labels: str) -> Histogram:
            return Histogram(f"evergreen_{name}_seconds", meaning, labels, registry=registry, buckets=SECONDS)

        def gauge(name: str, meaning: str, mode: str, *labels: str) -> Gauge:
            return Gauge(f"evergreen_{name}", meaning, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        self.requests = counter("http_requests_total", "Requests answered.", "method", "route", "code")
        self.request_seconds = seconds("http_request_duration", "Time to answer a request.", "method", "route")
        self.in_flight = gauge("http_requests_in_flight", "Requests being answered.", "livesum")
        self.refused = counter("rejected_requests_total", "Requests refused, by reason.", "reason")
        self.predictions = counter("predictions_total", "Rows predicted.", "model", "version", "outcome")
        self.predict_seconds = seconds("predict_duration", "Time of the model alone.", "model")
        self.request_rows = Histogram("evergreen_request_rows", "Rows in a request.", ["model"], registry=registry, buckets=ROWS)
        self.ignored_values = counter("ignored_values_total", "Values of columns the schema does not know.", "model")
        self.rejected_rows = counter("rejected_values_total", "Values that break the schema.", "model", "code")
        self.swaps = counter("model_swaps_total", "Champions taken into service or refused.", "model", "result")
        self.swap_seconds = seconds("model_swap_duration", "Time to verify, load and test a champion.", "model")
        self.verification_failures = counter("artifact_verification_failures_total", "Artifacts refused.", "reason")
        self.log_records = counter("prediction_log_records_total", "Spool records drained, by result.", "result")
        self.commit_seconds = seconds("prediction_log_commit_duration", "Time of one drain transaction.")
        self.log_rows = gauge("prediction_log_rows", "Rows in the prediction log.", "mostrecent")
        self.spool_bytes = gauge("spool_bytes", "Size of all spool files.", "mostrecent")
        self.database_up = gauge("db_up", "Whether the last use of the database by the drain went well.", "livemin")
        self.memory_bytes = gauge("worker_resident_memory_bytes", "Memory of the workers, added up.", "livesum")
        self.labels = counter("labels_total", "Labels received, by what became of them.", "model", "result")
        self.last_label = gauge("labels_last_received_timestamp_seconds", "When a label was last stored.", "max", "model")


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """What a scrape says about one served version."""

    model: str
    version: str
    algorithm: str
    sklearn: str
    loaded_seconds: float
    trained_seconds: float
    degraded: bool


class DeploymentInfo(Collector):
    """Tells a scrape which versions the answering worker serves; bounded to those, whatever the number of swaps."""

    def __init__(self, facts: Callable[[], Iterable[DeploymentFacts]]) -> None:
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        """Give the families at the time of the scrape."""
        info = GaugeMetricFamily("evergreen_model_info", "The version in service.", labels=["model", "version", "algorithm", "sklearn"])
        loaded = GaugeMetricFamily("evergreen_model_loaded_timestamp_seconds", "When it was loaded.", labels=["model"])
        trained = GaugeMetricFamily("evergreen_model_trained_timestamp_seconds", "When it was trained.", labels=["model"])
        degraded = GaugeMetricFamily(
            "evergreen_model_degraded", "1 when served from the local note, or because its champion was refused.", labels=["model"]
        )
        for fact in self._facts():
            info.add_metric([fact.model, fact.version, fact.algorithm, fact.sklearn], 1)
            loaded.add_metric([fact.model], fact.loaded_seconds)
            trained.add_metric([fact.model], fact.trained_seconds)
            degraded.add_metric([fact.model], float(fact.degraded))
        return [info, loaded, trained, degraded]


def scrape(registry: CollectorRegistry, folder: Path | None, extra: Collector) -> bytes:
    """Give the text of a scrape: of all workers when they share a folder, else of this process."""
    own = CollectorRegistry()
    own.register(extra)
    if folder is None:
        return generate_latest(registry) + generate_latest(own)
    MultiProcessCollector(own, path=str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(own)
