"""The dashboards of Grafana: as their generator writes them, and asking only for metrics and labels that are exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from monitoring.grafana.dashboards import dashboard
from monitoring.grafana.panels import DASHBOARDS
from monitoring.loop_metrics import COUNTERS, GAUGES
from monitoring.metrics import TickFailures, make_metrics
from monitoring.notifying.backlog_metrics import BACKLOG
from service.telemetry.metrics import DeploymentFacts, DeploymentInfo, ServiceMetrics
from tests.patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "monitoring" / "grafana"
RULES = [rule for group in yaml.safe_load((FOLDER.parent / "prometheus" / "rules.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"] for rule in RULES if "alert" in rule}
FILES = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in DASHBOARDS}
PANELS: list[tuple[str, dict[str, Any]]] = [
    (name, panel) for name, content in FILES.items() for panel in content["panels"] if panel["type"] != "row"
]
TARGETS = [(f"{name}: {panel['title']}", target) for name, panel in PANELS for target in panel["targets"]]
OF_PROMETHEUS = {"job", "instance"}  # added by a scrape


def exported() -> dict[str, set[str]]:
    """Return the labels of every series that a scrape of service or monitor may have, and of every recording rule, by name."""
    declared = [one for owner in (ServiceMetrics(CollectorRegistry()), make_metrics()) for one in attributes(owner)]
    kept = {(one._name, one._type): set(one._labelnames) for one in declared if isinstance(one, MetricWrapperBase)}
    facts = DeploymentFacts("m", "v", "linear", "1", 0.0, 0.0, degraded=False)
    kept |= {(family.name, family.type): set(family.samples[0].labels) for family in DeploymentInfo(lambda: [facts]).collect()}
    kept |= {(f"evergreen_{name}", "gauge"): set(labels) for name, (_, labels) in GAUGES.items()}
    kept |= {(f"evergreen_{name}", "counter"): set(labels) for name, (_, labels) in COUNTERS.items()}
    kept |= {(f"evergreen_{name}", "gauge"): {"destination"} for name in BACKLOG}
    failures = TickFailures()
    failures.note("m")
    kept |= {(family.name, family.type): set(family.samples[0].labels) for family in failures.collect()}
    suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}
    series = {
        name + suffix: labels | ({"le"} if suffix == "_bucket" else set())
        for (name, kind), labels in kept.items()
        for suffix in suffixes[kind]
    }
    return {**series, "up": set(), **{rule["record"]: set() for rule in RULES if "record" in rule}}


def attributes(owner: object) -> list[Any]:
    """Return the values of an object's attributes, whether it has slots or not."""
    names = getattr(owner, "__slots__", None) or vars(owner)
    return [getattr(owner, name) for name in names]


def selectors(expr: str) -> list[tuple[str, set[str]]]:
    """Return the metrics of an expression, each with the labels it is selected by."""
    pairs = re.findall(r"\b(evergreen[_:][a-z0-9_:]+|up(?=\{))(?:\{([^}]*)\})?", expr)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))) for name, matchers in pairs]


def grouped(expr: str) -> set[str]:
    """Return the labels an expression aggregates by or matches on."""
    return {label.strip() for inner in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr) for label in inner.split(",") if label.strip()}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_file_is_what_its_generator_writes(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == dashboard(name), "run `make dashboards`"


def test_the_expressions_are_read_as_they_are_meant() -> None:
    expr = 'sum by (le, code) (rate(evergreen_a_bucket{b!~"/(x|y)",c="$d"}[5m])) / on (e) evergreen:f:g5m + up{job="h"}'

    assert selectors(expr) == [("evergreen_a_bucket", {"b", "c"}), ("evergreen:f:g5m", set()), ("up", {"job"})]
    assert grouped(expr) == {"le", "code", "e"}


def test_every_metric_is_one_that_is_exported_or_recorded() -> None:
    known = exported()

    assert {(where, name) for where, target in TARGETS for name, _ in selectors(target["expr"]) if name not in known} == set()
    assert [where for where, target in TARGETS if not selectors(target["expr"])] == []


def test_every_label_is_one_its_metric_has() -> None:
    known = exported()
    selected = {
        (where, name, label)
        for where, target in TARGETS
        for name, labels in selectors(target["expr"])
        for label in labels - known[name] - OF_PROMETHEUS
    }
    aggregated = {
        (where, label)
        for where, target in TARGETS
        for label in grouped(target["expr"]) - OF_PROMETHEUS
        if not all(label in known[name] for name, _ in selectors(target["expr"]))
    }

    assert selected == set()
    assert aggregated == set()


def test_a_legend_names_labels_that_are_left() -> None:
    missing = [
        (where, target) for where, target in TARGETS if set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - grouped(target["expr"])
    ]

    assert missing == []


def test_a_panel_says_what_it_shows_in_which_unit_and_asks_the_chosen_source() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}

    assert [panel["title"] for _, panel in PANELS if not panel["description"].endswith(".")] == []
    assert [panel["title"] for _, panel in PANELS if not panel["fieldConfig"]["defaults"]["unit"]] == []
    assert [where for where, target in TARGETS if not target["legendFormat"]] == []
    assert [panel["title"] for _, panel in PANELS if panel["datasource"] != source] == []
    assert [where for where, target in TARGETS if target["datasource"] != source] == []
    assert {name: [one["name"] for one in content["templating"]["list"]] for name, content in FILES.items()} == {
        "service": ["datasource", "runbooks"],
        "loop": ["datasource", "runbooks"],
        "model": ["datasource", "model", "runbooks"],
    }


def test_every_alert_has_a_panel_that_links_to_its_runbook() -> None:
    links = {link["title"]: link["url"] for _, panel in PANELS for link in panel.get("links", ())}

    assert links == {name: f"${{runbooks}}#{name.lower()}" for name in ALERTS}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap(name: str) -> None:
    places = [panel["gridPos"] for panel in FILES[name]["panels"]]
    overlapping = [
        (a, b)
        for a, b in combinations(places, 2)
        if a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    ]

    assert overlapping == []
    assert all(place["x"] + place["w"] <= 24 for place in places)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: the dashboards' PromQL is NOT parsed")
def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    asked = [target["expr"].replace("$__rate_interval", "1m") for _, target in TARGETS]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(asked)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout
