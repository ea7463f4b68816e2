"""How much each version has answered, as the statistics extension of the Open Inference Protocol tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from service.telemetry.multiprocess import WorkerMetrics
from training.artifacts.manifest import generation_of

_ROWS, _CALLS, _SECONDS = (
    "evergreen_predictions_total",
    "evergreen_predict_duration_seconds_count",
    "evergreen_predict_duration_seconds_sum",
)


class Statistics:
    """Reads the service's own metrics, of all workers when they share a folder; `flush` first brings in what is in memory.

    Examples
    --------
    >>> from service.telemetry.metrics import ServiceMetrics
    >>> registry = CollectorRegistry()
    >>> metrics = ServiceMetrics(registry)
    >>> metrics.predictions.labels("bikes", "v1", "true").inc(3)
    >>> metrics.predict_seconds.labels("bikes").observe(0.5)
    >>> numbers = Statistics(registry, None).of("bikes", "v1")
    >>> numbers["inference_count"], numbers["inference_stats"]["compute_infer"]
    (3, {'count': 1, 'ns': 500000000})
    """

    def __init__(self, registry: CollectorRegistry, folder: Path | None, flush: Callable[[], None] = lambda: None) -> None:
        self._registry = registry
        self._folder = folder
        self._flush = flush

    def of(self, model: str, version: str) -> dict[str, Any]:
        """Return the statistics of a version since the start of the service: rows of all its generation, calls and time of the model."""
        self._flush()
        samples = list(self._samples())
        rows = sum(
            s.value for s in samples if s.name == _ROWS and (s.labels["model"], s.labels["version"]) == (model, generation_of(version))
        )
        calls = sum(s.value for s in samples if s.name == _CALLS and s.labels["model"] == model)
        seconds = sum(s.value for s in samples if s.name == _SECONDS and s.labels["model"] == model)
        taken = {"count": int(calls), "ns": round(seconds * 1e9)}
        return {
            "name": model,
            "version": version,
            "inference_count": int(rows),
            "execution_count": int(calls),
            "inference_stats": {"success": taken, "compute_infer": taken},
            "batch_stats": [],
        }

    def _samples(self) -> Iterable[Sample]:
        for metric in (self._registry if self._folder is None else WorkerMetrics(self._folder)).collect():
            yield from metric.samples
