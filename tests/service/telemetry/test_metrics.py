"""Metrics: names as Prometheus wants them, on the registry that was handed in."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.telemetry.metrics import MOST_KEPT_VERSIONS, DeploymentFacts, DeploymentInfo, ServiceMetrics, scrape

UNITS = ("_total", "_seconds", "_bytes", "_rows", "_ratio", "_info", "_in_flight", "_up", "_damaged", "_degraded", "_move")
ROUTE = "/models/<model>/predict"


def families() -> list[Metric]:
    registry = CollectorRegistry()
    ServiceMetrics(registry)
    info = DeploymentInfo(lambda: [DeploymentFacts("bikes", "v1", "linear", "1.9.1", 2.0, 1.0, False)])
    families = text_string_to_metric_families(scrape(registry, None, info).decode())
    return [family for family in families if not family.name.endswith("_created")]  # these are absent under gunicorn


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_every_metric_is_named_by_the_rules(family: Metric) -> None:
    name = f"{family.name}_total" if family.type == "counter" else family.name

    assert re.fullmatch(r"evergreen_[a-z_]+", name)
    assert name.endswith(UNITS)
    assert family.documentation.endswith(".")


def test_two_registries_do_not_meet() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()

    ServiceMetrics(first).refused.labels("x").inc()
    ServiceMetrics(second)

    assert second.get_sample_value("evergreen_rejected_requests_total", {"reason": "x"}) is None


def test_a_scrape_tells_which_version_is_served() -> None:
    [info] = [family for family in families() if family.name == "evergreen_model_info"]

    assert info.samples[0].labels == {"model": "bikes", "version": "v1", "algorithm": "linear", "sklearn": "1.9.1"}


def test_what_is_noted_of_a_request_is_what_its_labels_would_count() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)

    metrics.of_route("POST", ROUTE, 200).note(0.25, 300)
    metrics.of_route("POST", ROUTE, 200).note(0.25)
    metrics.of_route("POST", ROUTE, 422).note(0.25)
    metrics.flush()

    assert registry.get_sample_value("evergreen_http_requests_total", {"method": "POST", "route": ROUTE, "code": "200"}) == 2
    assert registry.get_sample_value("evergreen_http_requests_total", {"method": "POST", "route": ROUTE, "code": "422"}) == 1
    assert registry.get_sample_value("evergreen_http_request_duration_seconds_sum", {"method": "POST", "route": ROUTE}) == 0.75
    assert registry.get_sample_value("evergreen_http_request_size_bytes_sum", {"route": ROUTE}) == 300


def test_what_is_noted_of_a_prediction_stands_under_its_model_and_version() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)

    metrics.of_model("bikes", "v1").note(0.5, 3, [("true", 2), ("false", 1)])
    metrics.flush()

    assert registry.get_sample_value("evergreen_predict_duration_seconds_sum", {"model": "bikes"}) == 0.5
    assert registry.get_sample_value("evergreen_request_rows_sum", {"model": "bikes"}) == 3
    assert registry.get_sample_value("evergreen_predictions_total", {"model": "bikes", "version": "v1", "outcome": "true"}) == 2


def test_only_calls_for_several_requests_are_counted_as_batches() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)

    metrics.note_call(1, 7)
    metrics.note_call(3, 5)

    assert registry.get_sample_value("evergreen_batch_rows_count") == 1
    assert registry.get_sample_value("evergreen_batch_rows_sum") == 5


def test_the_memory_of_the_worker_is_told() -> None:
    registry = CollectorRegistry()

    ServiceMetrics(registry).flush()

    assert (registry.get_sample_value("evergreen_worker_resident_memory_bytes") or 0) > 1_000_000


def test_the_same_series_are_kept_for_the_next_request() -> None:
    metrics = ServiceMetrics(CollectorRegistry())

    assert metrics.of_route("GET", "/livez", 200) is metrics.of_route("GET", "/livez", 200)
    assert metrics.of_model("bikes", "v1") is metrics.of_model("bikes", "v1")


def test_a_made_up_method_is_counted_as_other() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)

    metrics.of_route("BREW", "unmatched", 405).note(0.1)
    metrics.of_route("STIR", "unmatched", 405).note(0.1)
    metrics.flush()

    assert registry.get_sample_value("evergreen_http_requests_total", {"method": "other", "route": "unmatched", "code": "405"}) == 2


def test_what_is_kept_of_versions_is_bounded_and_counting_goes_on() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    first = metrics.of_model("bikes", "v0")

    [metrics.of_model("bikes", f"v{i}").note(0.1, 1, []) for i in range(MOST_KEPT_VERSIONS + 1)]
    again = metrics.of_model("bikes", "v0")
    again.note(0.1, 1, [])
    metrics.flush()

    assert again is not first
    assert registry.get_sample_value("evergreen_request_rows_count", {"model": "bikes"}) == MOST_KEPT_VERSIONS + 2


def test_refusals_are_counted_in_memory_and_brought_into_the_metrics_together() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)

    metrics.refuse("InvalidRows")
    metrics.refuse("InvalidRows")
    before = registry.get_sample_value("evergreen_rejected_requests_total", {"reason": "InvalidRows"})
    metrics.flush()

    assert before == 0
    assert registry.get_sample_value("evergreen_rejected_requests_total", {"reason": "InvalidRows"}) == 2


def test_a_model_has_71_series_and_one_more_for_each_class_that_each_version_answered_with() -> None:
    registry = CollectorRegistry()
    metrics = ServiceMetrics(registry)
    for metric in (metrics.deadline_exceeded, metrics.ignored_values, metrics.own_ids_lost):
        metric.labels("m").inc()
    for gauge in (metrics.move, metrics.last_label):
        gauge.labels("m").set(1)
    for histogram in (metrics.swap_seconds, metrics.label_delay):
        histogram.labels("m").observe(1)

    for version in ("a", "b"):
        notes = metrics.of_model("m", version)
        notes.note(0.1, 3, [("yes", 1), ("no", 2)])
        notes.flush()

    lines = [line for line in generate_latest(registry).decode().splitlines() if 'model="m"' in line and "_created{" not in line]
    assert len(lines) == 71 + 2 * 2
