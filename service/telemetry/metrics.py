"""Counters and histograms of the service, declared on a registry that is handed in.

Only kinds that add up over processes: under gunicorn each worker writes its own file and a scrape merges them. What a
worker merely knows (which versions it serves) is not kept in files but read at the scrape, see `DeploymentInfo`.

Finding a series by its labels costs more than counting in it, so the two things noted of every request are kept ready:
`ServiceMetrics.of_route` and `ServiceMetrics.of_model`. The number of series does not depend on what callers send: routes
are templates, methods and codes are few, models and versions are those that were served.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.telemetry.buffered import BufferedCounter, BufferedHistogram
from service.telemetry.memory import resident_bytes
from service.telemetry.multiprocess import WorkerMetrics
from service.telemetry.release import release
from training.artifacts.manifest import generation_of

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
BYTES = (1 << 10, 1 << 13, 1 << 16, 1 << 20, 1 << 23, 1 << 26)
ROWS = (1, 2, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000)
DELAYS = (60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0)
LABEL_RESULTS = ("matched", "duplicate", "conflict", "pending", "unknown", "ambiguous", "invalid", "too_late")
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
MOST_KEPT_VERSIONS = 64


class RouteNotes:
    """The series of one method, route and code, counted in memory until `flush`."""

    __slots__ = ("_find_size", "_requests", "_seconds", "_size")

    def __init__(self, requests: Counter, seconds: Histogram, size: Callable[[], Histogram]) -> None:
        self._requests = BufferedCounter(requests)
        self._seconds = BufferedHistogram(seconds)
        self._find_size = size  # called when there is a body to measure: most routes never have one
        self._size: BufferedHistogram | None = None

    def note(self, seconds: float, n_bytes: int = 0) -> None:
        """Note one answered request, and the size of its body if it had one."""
        self._requests.inc()
        self._seconds.observe(seconds)
        if n_bytes:
            if self._size is None:
                self._size = BufferedHistogram(self._find_size())
            self._size.observe(n_bytes)

    def flush(self) -> None:
        """Bring what was noted into the metrics."""
        self._requests.flush()
        self._seconds.flush()
        if self._size is not None:
            self._size.flush()


class ModelNotes:
    """The series of one version of a model, counted in memory until `flush`."""

    __slots__ = ("_by_outcome", "_outcomes", "_rows", "_seconds")

    def __init__(self, *, seconds: Histogram, rows: Histogram, outcomes: Callable[[str], Counter]) -> None:
        self._seconds = BufferedHistogram(seconds)
        self._rows = BufferedHistogram(rows)
        self._outcomes = outcomes
        self._by_outcome: dict[str, BufferedCounter] = {}

    def note(self, seconds: float, rows: int, outcomes: Iterable[tuple[str, int]]) -> None:
        """Note a request that was predicted by itself; `outcomes` are pairs of outcome and rows, few in number."""
        self._seconds.observe(seconds)
        self._rows.observe(rows)
        for outcome, n_rows in outcomes:
            buffered = self._by_outcome.get(outcome)
            if buffered is None:
                buffered = self._by_outcome.setdefault(outcome, BufferedCounter(self._outcomes(outcome)))
            buffered.inc(n_rows)

    def flush(self) -> None:
        """Bring what was noted into the metrics."""
        every: list[BufferedCounter | BufferedHistogram] = [self._seconds, self._rows, *list(self._by_outcome.values())]
        for buffered in every:
            buffered.flush()


class ServiceMetrics:
    """All metrics of a worker.

    Examples
    --------
    >>> registry = CollectorRegistry()
    >>> ServiceMetrics(registry).labels.labels("bikes", "matched").inc(3)
    >>> registry.get_sample_value("evergreen_labels_total", {"model": "bikes", "result": "matched"})
    3.0
    >>> ServiceMetrics(CollectorRegistry()).of_model("bikes", "v1").note(0.001, 2, [("true", 1), ("false", 1)])
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"evergreen_{name}", meaning, labels, registry=registry)

        def seconds(name: str, meaning: str, *labels: str) -> Histogram:
            return Histogram(f"evergreen_{name}_seconds", meaning, labels, registry=registry, buckets=SECONDS)

        def sizes(name: str, meaning: str, buckets: Iterable[float], *labels: str) -> Histogram:
            return Histogram(f"evergreen_{name}", meaning, labels, registry=registry, buckets=tuple(buckets))

        def gauge(name: str, meaning: str, mode: str, *labels: str) -> Gauge:
            return Gauge(f"evergreen_{name}", meaning, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        self.requests = counter("http_requests_total", "Requests answered.", "method", "route", "code")
        self.request_seconds = seconds("http_request_duration", "Time to answer a request.", "method", "route")
        self.request_bytes = sizes("http_request_size_bytes", "Size of request bodies.", BYTES, "route")
        self.in_flight = gauge("http_requests_in_flight", "Requests being answered.", "livesum")
        self.refused = counter("rejected_requests_total", "Requests refused, by reason.", "reason")
        self.predictions = counter("predictions_total", "Rows predicted.", "model", "version", "outcome")
        self.predict_seconds = seconds("predict_duration", "Time of the model alone.", "model")
        self.request_rows = sizes("request_rows", "Rows in a request.", ROWS, "model")
        self.batch_rows = sizes("batch_rows", "Rows of several requests that were predicted together.", ROWS)
        self.deadline_exceeded = counter("request_deadline_exceeded_total", "Requests given up at their deadline.", "model")
        self.ignored_values = counter("ignored_values_total", "Values of columns the schema does not know.", "model")
        self.rejected_rows = counter("rejected_values_total", "Values that break the schema.", "model", "code")
        self.swaps = counter("model_swaps_total", "Champions taken into service or refused.", "model", "result")
        self.move = gauge("model_move", "The move of the champion alias that every worker has followed.", "livemin", "model")
        self.swap_seconds = seconds("model_swap_duration", "Time to verify, load and test a champion.", "model")
        self.verification_failures = counter("artifact_verification_failures_total", "Artifacts refused.", "reason")
        self.log_records = counter("prediction_log_records_total", "Spool records drained, by result.", "result")
        self.commit_seconds = seconds("prediction_log_commit_duration", "Time of one drain transaction.")
        self.log_rows = gauge("prediction_log_rows", "Rows in the prediction log.", "mostrecent")
        self.spool_damaged = counter("spool_damaged_bytes_total", "Bytes of spool files that are no whole record.")
        self.spool_bytes = gauge("spool_bytes", "Size of all spool files.", "mostrecent")
        self.spool_oldest = gauge("spool_oldest_seconds", "For how long the oldest record has waited for the log.", "mostrecent")
        self.log_max_rows = gauge("prediction_log_max_rows", "Bound on the rows in the prediction log.", "mostrecent")
        self.disk_free = gauge("disk_free_bytes", "What may still be written on the disk of the home.", "mostrecent")
        self.disk_size = gauge("disk_size_bytes", "Size of that disk.", "mostrecent")
        self.database_up = gauge("db_up", "Whether the last use of the database by the drain went well.", "livemostrecent")
        self.database_damaged = gauge("db_damaged", "Whether the content of the database is known to be broken.", "livemax")
        self.memory_bytes = gauge("worker_resident_memory_bytes", "Memory of the workers, added up.", "livesum")
        self.labels = counter("labels_total", "Labels received, by what became of them.", "model", "result")
        self.own_ids_lost = counter("own_ids_lost_total", "Rows whose own id another key had used first.", "model")
        self.label_delay = sizes("label_delay_seconds", "Time from a prediction to its label.", DELAYS, "model")
        self.last_label = gauge("labels_last_received_timestamp_seconds", "When a label was last stored.", "max", "model")
        self._routes: dict[tuple[str, str, int], RouteNotes] = {}
        self._models: dict[tuple[str, str], ModelNotes] = {}
        self._refused: dict[str, BufferedCounter] = {}
        self._lock = Lock()
        self._running: dict[int, None] = {}

    def of_route(self, method: str, route: str, code: int) -> RouteNotes:
        """Return the kept series of an answer.

        Parameters
        ----------
        method
            As sent; what is no method of HTTP is counted as ``other``.
        route
            The template (``/models/<model>/predict``), never the path that was sent.
        """
        kept = self._routes.get((method, route, code))
        if kept is not None:
            return kept
        if method not in METHODS and method != OTHER:
            return self.of_route(OTHER, route, code)
        kept = RouteNotes(
            self.requests.labels(method, route, str(code)),
            self.request_seconds.labels(method, route),
            lambda: self.request_bytes.labels(route),
        )
        return self._routes.setdefault((method, route, code), kept)

    def of_model(self, model: str, version: str) -> ModelNotes:
        """Return the kept series of a version that is served; those of the versions used last are kept, however many swaps."""
        kept = self._models.get((model, version))
        if kept is None:
            kept = ModelNotes(
                seconds=self.predict_seconds.labels(model),
                rows=self.request_rows.labels(model),
                outcomes=lambda outcome: self.predictions.labels(model, generation_of(version), outcome),
            )
            with self._lock:
                while len(self._models) >= MOST_KEPT_VERSIONS:
                    self._models.pop(next(iter(self._models))).flush()
                self._models[model, version] = kept
        return kept

    def expect_labels(self, model: str) -> None:
        """Count labels of a model from 0 on: of a series that begins with its first labels, no increase is seen."""
        for result in LABEL_RESULTS:
            self.labels.labels(model, result)

    def refuse(self, reason: str) -> None:
        """Count a request that is refused; there are few reasons."""
        kept = self._refused.get(reason)
        if kept is None:
            kept = self._refused.setdefault(reason, BufferedCounter(self.refused.labels(reason)))
        kept.inc()

    def note_call(self, n_requests: int, n_rows: int) -> None:
        """Note one call of an expensive model; only one for several requests is counted."""
        if n_requests > 1:
            self.batch_rows.observe(n_rows)

    def begin(self, request: object) -> None:
        """Note that a request is being answered, until `end`."""
        self._running[id(request)] = None

    def end(self, request: object) -> None:
        """Note that it is answered."""
        self._running.pop(id(request), None)

    def flush(self) -> None:
        """Bring all that was noted in memory into the metrics."""
        self.in_flight.set(len(self._running))
        self.memory_bytes.set(resident_bytes())
        kept: list[RouteNotes | ModelNotes | BufferedCounter] = [
            *list(self._routes.values()),
            *list(self._models.values()),
            *list(self._refused.values()),
        ]
        for notes in kept:
            notes.flush()


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
    """Adds to a scrape which versions the answering worker serves; bounded to those, whatever the number of swaps."""

    def __init__(self, facts: Callable[[], Iterable[DeploymentFacts]]) -> None:
        self._facts = facts

    def collect(self) -> Iterable[Metric]:
        """Return the families at the time of the scrape."""
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
        build = GaugeMetricFamily("evergreen_build_info", "The Evergreen and the Python that run.", labels=["version", "python"])
        build.add_metric([release(), platform.python_version()], 1)
        return [info, loaded, trained, degraded, build]


def scrape(registry: CollectorRegistry, folder: Path | None, extra: Collector) -> bytes:
    """Return the text of a scrape: of all workers when they share a folder, else of this process."""
    own = CollectorRegistry()
    own.register(extra)
    if folder is None:
        return generate_latest(registry) + generate_latest(own)
    own.register(WorkerMetrics(folder))
    return generate_latest(own)
