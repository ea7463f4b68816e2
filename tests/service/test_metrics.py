"""Metrics: names as Prometheus wants them, on the registry that was handed in."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import DeploymentFacts, DeploymentInfo, ServiceMetrics, scrape

UNITS = ("_total", "_seconds", "_bytes", "_rows", "_ratio", "_info", "_in_flight", "_up", "_degraded")


def families() -> list[Metric]:
    registry = CollectorRegistry()
    ServiceMetrics(registry)
    info = DeploymentInfo(lambda: [DeploymentFacts("bikes", "v1", "linear", "1.9.1", 2.0, 1.0, False)])
    found = text_string_to_metric_families(scrape(registry, None, info).decode())
    return [family for family in found if not family.name.endswith("_created")]  # these are absent under gunicorn


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
