"""Debian's Prometheus scrapes service and monitor during a replay of the example: every panel has something to show, the journal's."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitoring.local.replay import Replayed, replay
from monitoring.local.up import addresses
from tests.end_to_end.observing import SHIPPED, Prometheus, configuration, running_prometheus
from tests.end_to_end.system import Example, Launch, System
from tests.patience import until
from training.clock import to_us
from training.dataset.dataset import read_table

REPOSITORY = Path(__file__).parents[2]
DASHBOARDS = ("service", "loop", "model")
UNTIL = datetime(2024, 4, 15, tzinfo=UTC)  # six weeks past the new district: retrainings, a baseline, an episode
SCRAPE = "1s"

# What a calm replay has no series of, by dashboard, panel and legend, and what it would take.
WITHOUT_TROUBLE = {
    ("service", "Refused", "{{reason}}"): "a refused request",
    ("service", "Refused", "deadline of {{model}}"): "a request past its deadline",
    ("service", "Rows of a batch", "50 %"): "callers at once of a model that is expensive",
    ("service", "Rows of a batch", "95 %"): "callers at once of a model that is expensive",
    ("service", "Rows of a batch", "99 %"): "callers at once of a model that is expensive",
    ("service", "Values that break the schema", "{{model}} {{code}}"): "a value that breaks the schema",
    ("service", "Values that break the schema", "{{model}} ignored"): "a column nobody asked for",
    ("service", "Champions followed", "refused: {{reason}}"): "a damaged artifact",
    ("loop", "Ticks that failed", "{{model}}"): "a tick that fails",
    ("loop", "Messages", "{{destination}}"): "a webhook or mail",
    ("loop", "Messages", "{{destination}} {{outcome}}"): "a webhook or mail",
    ("loop", "Silence", "{{model}}"): "a model whose time is that of arrival",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("dashboards"),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed: the dashboards' panels are NOT looked at"),
]


@dataclass(frozen=True, slots=True)
class Scraped:
    """A replay that Prometheus has looked at."""

    system: System
    replayed: Replayed
    prometheus: Prometheus
    since: float

    def numbers(self, target: dict[str, Any]) -> list[float]:
        """Return the numbers a panel's query has to show."""
        expr = target["expr"].replace("$__rate_interval", "1m").replace("$model", self.system.spec.model)
        values = [value for _, value in self.prometheus.ask(expr)] if target["instant"] else self.prometheus.ask_over(expr, self.since)
        return [value for value in values if math.isfinite(value)]


@pytest.fixture(scope="module")
def scraped(launch: Launch, example: Example, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Replay the first months of the example's year, and wait until the last scrape tells of the last slot."""
    folder = example(0, True, False)
    text = (folder / "model.yaml").read_text()
    with_segments = text.replace("  every: 7d\n", "  every: 7d\n  segments: [fare_plan]\n")  # of 200 labels and more in four weeks
    assert with_segments != text
    (folder / "model.yaml").write_text(with_segments)
    system = launch(folder / "model.yaml")
    rows = read_table(folder / "live.csv.gz", system.spec.schema)
    rows = rows.between(int(rows.time_us[0]), to_us(UNTIL))
    ports = addresses(system.bench.environment)
    targets = {"evergreen-service": ports["service"], "evergreen-monitor": ports["monitoring"]}
    config = configuration(targets, SHIPPED / "rules.yml", SCRAPE)
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), config) as prometheus:
        since = time.time()
        replayed = replay(rows, system.spec, system.url, database=system.bench.database)
        last = replayed.slots[-1].slot_us / 1e6
        expr = "evergreen_drift_last_evaluated_timestamp_seconds"
        until(lambda: [value for _, value in prometheus.ask(expr)] == [last], lambda: f"{prometheus.ask(expr)}, not {last}")
        yield Scraped(system, replayed, prometheus, since)


def panels(name: str) -> list[dict[str, Any]]:
    content = json.loads((REPOSITORY / "monitoring" / "grafana" / f"{name}.json").read_text())
    return [panel for panel in content["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_a_panel_has_a_number_to_show(name: str, scraped: Scraped) -> None:
    asked = {(name, panel["title"], target["legendFormat"]): target for panel in panels(name) for target in panel["targets"]}

    empty = {key for key, target in asked.items() if not scraped.numbers(target)}

    assert empty - set(WITHOUT_TROUBLE) == set()


def test_what_is_excused_is_a_query_there_is() -> None:
    there = {(name, panel["title"], target["legendFormat"]) for name in DASHBOARDS for panel in panels(name) for target in panel["targets"]}

    assert set(WITHOUT_TROUBLE) - there == set()


def test_what_prometheus_has_is_what_the_journal_has(scraped: Scraped) -> None:
    bench, model = scraped.system.bench, scraped.system.spec.model
    last = bench.journal.last_judged(model)
    assert last is not None
    harm = last.evidence["performance"]["harm"]
    [live, *_] = [one for one in last.evidence["live"] if not one["segment"]]
    outcomes = Counter(slot.outcome for slot in scraped.replayed.slots)
    journal = {
        f'evergreen_verdict{{verdict="{last.verdict}"}}': 1.0,
        **{f'evergreen_promotions_total{{decision="{name}"}}': float(outcomes[name]) for name in ("promoted", "refused")},
        "evergreen_quarantines": float(len(bench.journal.quarantines(model))),
        "evergreen_labelled_ratio": last.evidence["labels"]["coverage"],
        "evergreen_performance_evidence_ratio": harm["log10_evidence"] / harm["log10_threshold"],
        f'evergreen_live_score{{segment="",metric="{live["metric"]}"}}': live["value"],
        f'evergreen_live_score_low{{metric="{live["metric"]}"}}': live["low"],
        f'evergreen_live_score_high{{metric="{live["metric"]}"}}': live["high"],
    }

    until(
        lambda: scraped_values(scraped.prometheus, journal) == journal,
        lambda: f"{scraped_values(scraped.prometheus, journal)}, not {journal}",
    )

    assert len(bench.journal.looks(model, 0)) == len(scraped.replayed.slots)


def test_the_rows_of_the_log_are_those_that_were_answered(scraped: Scraped) -> None:
    expr = "evergreen_prediction_log_rows"

    until(
        lambda: [value for _, value in scraped.prometheus.ask(expr)] == [len(scraped.replayed.rows)],
        lambda: str(scraped.prometheus.ask(expr)),
    )


def scraped_values(prometheus: Prometheus, names: dict[str, float]) -> dict[str, float]:
    """Return the one value each of some queries has; those that have none, or several, are left out."""
    answers = {name: prometheus.ask(name) for name in names}
    return {name: series[0][1] for name, series in answers.items() if len(series) == 1}
