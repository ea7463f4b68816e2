"""Metrics of the watching process itself, on its own registry; what its loop knows of the models is `monitoring.loop_metrics`."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from service.telemetry.release import release


class TickFailures(Collector):
    """Ticks that ended in an error, by model; of no model ("") where all of it failed. Models that are gone are forgotten.

    Examples
    --------
    >>> failures = TickFailures()
    >>> failures.note("bikes")
    >>> failures.keep(["rain"])
    >>> [sample.value for family in failures.collect() for sample in family.samples]
    []
    """

    def __init__(self) -> None:
        self._number: dict[str, int] = {}

    def note(self, model: str = "") -> None:
        """Note one that failed."""
        self._number = {**self._number, model: self._number.get(model, 0) + 1}

    def keep(self, models: Collection[str]) -> None:
        """Forget the models that are not among these."""
        self._number = {name: n for name, n in self._number.items() if not name or name in models}

    def collect(self) -> Iterable[Metric]:
        """Return the family at the time of the scrape."""
        family = CounterMetricFamily("evergreen_scheduler_tick_failures", "Ticks that ended in an error.", labels=["model"])
        for name, n in self._number.items():
            family.add_metric([name], n)
        return [family]


@dataclass(frozen=True, slots=True)
class MonitorMetrics:
    """Every metric of the process; make one a process (or a test) with `make_metrics`."""

    registry: CollectorRegistry
    is_leader: Gauge
    database_up: Gauge
    last_tick: Gauge
    tick_seconds: Gauge
    tick_failures: TickFailures
    lease_lost_total: Counter
    message_deliveries_total: Counter


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

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"evergreen_{name}", meaning, labels, registry=own)

    def counter(name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"evergreen_{name}", meaning, labels, registry=own)

    build = gauge("build_info", "The Evergreen and the Python that run.", "version", "python")
    build.labels(release(), platform.python_version()).set(1)
    failures = TickFailures()
    own.register(failures)
    return MonitorMetrics(
        registry=own,
        is_leader=gauge("scheduler_is_leader", "1 while this process holds the lease."),
        database_up=gauge("db_up", "Whether the last use of the database by the loop went well."),
        last_tick=gauge("scheduler_last_tick_timestamp_seconds", "Machine time of the last tick, or step of one that lasts."),
        tick_seconds=gauge("scheduler_tick_duration_seconds", "How long the last tick took."),
        tick_failures=failures,
        lease_lost_total=counter("lease_lost", "Times this process lost the lease while acting."),
        message_deliveries_total=counter("message_deliveries", "Attempts to deliver messages, by outcome.", "destination", "outcome"),
    )
