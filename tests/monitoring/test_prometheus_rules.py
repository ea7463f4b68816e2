"""The alert rules by `promtool test rules`: each fires in its own trouble, alone, and none in calm weather."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from monitoring.loop_metrics import COUNTERS, GAUGES
from monitoring.metrics import make_metrics
from monitoring.notifying.backlog_metrics import BACKLOG
from service.telemetry.metrics import DeploymentInfo, ServiceMetrics

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "monitoring" / "prometheus"
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
ALERTS = [rule for group in RULES for rule in group["rules"] if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
START = 20
SERVICE, MONITOR = 'job="evergreen-service"', 'job="evergreen-monitor"'
PREDICT = f'{SERVICE},method="POST",route="/models/<model>/predict"'

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: the alert rules are NOT tested")

# One service and one monitor, a sample a minute for a hundred minutes: 60 requests a minute, model `m` retrained every day of model time.
CALM: dict[str, str] = {
    f"up{{{SERVICE}}}": "1x100",
    f"up{{{MONITOR}}}": "1x100",
    f'evergreen_http_requests_total{{{PREDICT},code="200"}}': "0+60x100",
    f'evergreen_http_requests_total{{{PREDICT},code="500"}}': "0x100",
    f'evergreen_http_request_duration_seconds_bucket{{{PREDICT},le="0.1"}}': "0+60x100",
    f"evergreen_http_request_duration_seconds_count{{{PREDICT}}}": "0+60x100",
    f'evergreen_artifact_verification_failures_total{{{SERVICE},reason="digest"}}': "0x100",
    f'evergreen_model_degraded{{{SERVICE},model="m"}}': "0x100",
    f'evergreen_model_info{{{SERVICE},model="m",version="a"}}': "1x100",
    f"evergreen_db_up{{{SERVICE}}}": "1x100",
    f"evergreen_db_up{{{MONITOR}}}": "1x100",
    f"evergreen_db_damaged{{{SERVICE}}}": "0x100",
    f"evergreen_spool_oldest_seconds{{{SERVICE}}}": "1x100",
    f"evergreen_spool_damaged_bytes_total{{{SERVICE}}}": "0x100",
    f"evergreen_prediction_log_rows{{{SERVICE}}}": "1000+60x100",
    f"evergreen_prediction_log_max_rows{{{SERVICE}}}": "50000000x100",
    f"evergreen_disk_free_bytes{{{SERVICE}}}": "50x100",
    f"evergreen_disk_size_bytes{{{SERVICE}}}": "100x100",
    f'evergreen_labels_total{{{SERVICE},model="m",result="matched"}}': "0+60x100",
    f'evergreen_labels_total{{{SERVICE},model="m",result="too_late"}}': "0x100",
    f"evergreen_scheduler_is_leader{{{MONITOR}}}": "1x100",
    f"evergreen_scheduler_last_tick_timestamp_seconds{{{MONITOR}}}": "0+60x100",
    f'evergreen_scheduler_tick_failures_total{{{MONITOR},model="m"}}': "0x100",
    f'evergreen_messages_oldest_seconds{{{MONITOR},destination="webhook"}}': "3500x100",
    f'evergreen_promotions_total{{{MONITOR},model="m",decision="failed"}}': "0x100",
    f'evergreen_rollbacks_total{{{MONITOR},model="m"}}': "0x100",
    f'evergreen_retrain_overdue_ratio{{{MONITOR},model="m"}}': "0.5x100",
    f'evergreen_labels_overdue_ratio{{{MONITOR},model="m"}}': "0.1x100",
    f'evergreen_silence_ratio{{{MONITOR},model="m"}}': "0.02x100",
    f'evergreen_drift_episodes{{{MONITOR},model="m",state="open"}}': "0x100",
    f'evergreen_performance_degraded{{{MONITOR},model="m"}}': "0x100",
    f'evergreen_verdict{{{MONITOR},model="m",verdict="keep"}}': "1x100",
}


def of(name: str, **labels: str) -> str:
    """Return the one calm series of a name that has some labels."""
    [series] = [s for s in CALM if s.split("{")[0] == name and all(f'{key}="{value}"' in s for key, value in labels.items())]
    return series


def judged(verdict: str) -> dict[str, str]:
    """Return the series of a verdict that takes the place of the calm one."""
    return {of("evergreen_verdict"): "1x20 _x80", f'evergreen_verdict{{{MONITOR},model="m",verdict="{verdict}"}}': "_x20 1x80"}


# The five attempts at a slot fall between two scrapes: the first that is known of failures is five of them.
A_SLOT_FAILS = {of("evergreen_scheduler_tick_failures_total"): "_x20 5x80"}
A_MENDED_DATABASE = {of("evergreen_scheduler_tick_failures_total"): "_x20 50x80", of("evergreen_db_damaged"): "0x20 1x5 0x75"}
A_REFUSED_CHAMPION = {**A_SLOT_FAILS, of("evergreen_model_degraded"): "0x20 1x20 0x60"}

# A nightly job sends labels once, all too late, after a service was started again; the database is away for ten minutes: labels get 503.
ONE_BATCH = {
    of("evergreen_labels_total", result="matched"): "_x15 0x85",
    of("evergreen_labels_total", result="too_late"): "_x15 0x5 500x80"}  # fmt: skip
OUTAGE = {
    of("evergreen_db_up", job="evergreen-service"): "1x20 0x10 1x70",
    of("evergreen_http_requests_total", code="500"): "0x20 0+30x10 300x70"}  # fmt: skip
DAMAGE_AT_THE_START = {of("evergreen_spool_damaged_bytes_total"): "_x20 512x80"}

MONITOR_IS_GONE = {series: f"{values.removesuffix('x100')}x20 _x80" for series, values in CALM.items() if MONITOR in series}

# What goes wrong after twenty minutes, as changed series; and the minutes after which the alert must be there.
TROUBLE: dict[str, tuple[int, dict[str, str]]] = {
    "EvergreenServiceDown": (3, {of("up", job="evergreen-service"): "1x20 0x80"}),
    "EvergreenErrors": (30, {of("evergreen_http_requests_total", code="500"): "0x20 0+6x80"}),
    "EvergreenSlow": (40, {of("evergreen_http_request_duration_seconds_bucket"): "0+60x20 1200+30x80"}),
    "EvergreenModelRefused": (5, {of("evergreen_artifact_verification_failures_total"): "0x20 1x80"}),
    "EvergreenDatabaseDown": (10, {
        of("evergreen_db_up", job="evergreen-service"): "1x20 0x80",
        of("evergreen_spool_oldest_seconds"): "1x20 0+60x80"}),
    "EvergreenDatabaseDamaged": (1, {of("evergreen_db_damaged"): "0x20 1x80"}),
    "EvergreenSpoolGrows": (6, {of("evergreen_spool_oldest_seconds"): "1x20 0+60x80"}),
    "EvergreenRecordsLost": (3, {of("evergreen_spool_damaged_bytes_total"): "0x20 512x80"}),
    "EvergreenLogAlmostFull": (8, {of("evergreen_prediction_log_rows"): "1000x20 46000000x80"}),
    "EvergreenDiskAlmostFull": (5, {of("evergreen_disk_free_bytes"): "50x20 9x80"}),
    "EvergreenVersionSkew": (20, {'evergreen_model_info{job="evergreen-service",instance="b",model="m",version="b"}': "_x20 1x80"}),
    "EvergreenMonitorDown": (3, {**MONITOR_IS_GONE, of("up", job="evergreen-monitor"): "1x20 0x80"}),
    "EvergreenNoLeader": (10, {of("evergreen_scheduler_is_leader"): "1x20 0x80"}),
    "EvergreenLoopStalled": (20, {of("evergreen_scheduler_last_tick_timestamp_seconds"): "0+60x20 1200x80"}),
    "EvergreenLoopFails": (10, {of("evergreen_scheduler_tick_failures_total"): "0x20 0+1x80"}),
    "EvergreenMessagesStuck": (10, {of("evergreen_messages_oldest_seconds"): "3500x20 7201+60x80"}),
    "EvergreenRetrainingFails": (5, {of("evergreen_promotions_total"): "0x20 1x80"}),
    "EvergreenModelOverdue": (30, {of("evergreen_retrain_overdue_ratio"): "0.5x20 1.01x80"}),
    "EvergreenBlind": (3, judged("blind")),
    "EvergreenLabelsStopped": (10, {
        of("evergreen_labels_total", result="matched"): "0+60x20 1200x80",
        of("evergreen_labels_overdue_ratio"): "0.1x20 1.01x80"}),
    "EvergreenLabelsTooLate": (45, {
        of("evergreen_labels_total", result="matched"): "0+60x20 1200x80",
        of("evergreen_labels_total", result="too_late"): "0x20 0+60x80"}),
    "EvergreenSilence": (70, {of("evergreen_silence_ratio"): "0.02x20 0.02+0.034x80"}),
    "EvergreenDrift": (1, {of("evergreen_drift_episodes"): "0x20 1x80"}),
    "EvergreenPerformance": (1, {of("evergreen_performance_degraded"): "0x20 1x80"}),
    "EvergreenDataFaults": (1, judged("quarantine")),
    "EvergreenRolledBack": (3, {of("evergreen_rollbacks_total"): "0x20 1x80"}),
}  # fmt: skip


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=300)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def case(changed: dict[str, str], minutes: int, wanted: str | None) -> dict[str, Any]:
    """Return a test case: the state some minutes after twenty minutes, in which only the wanted alert may fire."""
    at = f"{START + minutes}m"
    series = [{"series": name, "values": values} for name, values in {**CALM, **changed}.items()]
    queries = [
        {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) > bool 0 or vector(0)', "eval_time": at,
         "exp_samples": [{"labels": "{}", "value": int(name == wanted)}]}
        for name in NAMES
    ]  # fmt: skip
    return {"name": wanted or "calm", "interval": "1m", "input_series": series, "promql_expr_test": queries}


@needs_promtool
def test_the_rules_and_the_configuration_are_valid() -> None:
    assert promtool("check", "config", str(FOLDER / "prometheus.yml")) == ""


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed: the configuration of Alertmanager is NOT checked")
def test_the_configuration_of_alertmanager_is_valid() -> None:
    done = subprocess.run(["amtool", "check-config", FOLDER / "alertmanager.yml"], capture_output=True, text=True, check=False, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr


def test_what_alertmanager_leaves_out_are_alerts_there_are() -> None:
    named = set(re.findall(r"Evergreen\w+", (FOLDER / "alertmanager.yml").read_text()))

    assert named - set(NAMES) == set()


@needs_promtool
def test_each_alert_fires_in_its_trouble_alone_and_none_in_calm(tmp_path: Path) -> None:
    cases = [case({}, 10, None), case({}, 75, None), *(case(changed, minutes, name) for name, (minutes, changed) in TROUBLE.items())]
    cases += [case(ONE_BATCH, 10, "EvergreenLabelsTooLate"), case(DAMAGE_AT_THE_START, 1, "EvergreenRecordsLost")]
    cases += [case(A_SLOT_FAILS, 4, "EvergreenLoopFails"), case(A_SLOT_FAILS, 17, None)]
    cases += [case(A_REFUSED_CHAMPION, minutes, "EvergreenModelRefused") for minutes in (2, 3, 19)] + [case(A_REFUSED_CHAMPION, 23, None)]
    cases += [case(A_MENDED_DATABASE, minutes, wanted) for minutes, wanted in ((4, "EvergreenDatabaseDamaged"), (10, None), (23, None))]
    cases += [case(OUTAGE, 5, "EvergreenDatabaseDown"), case(OUTAGE, 12, None), case(OUTAGE, 40, None)]
    path = tmp_path / "cases.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(FOLDER / "rules.yml")], "evaluation_interval": "1m", "tests": cases}))

    assert promtool("test", "rules", str(path)) == ""


def test_each_alert_has_its_trouble() -> None:
    assert sorted(TROUBLE) == NAMES


def test_each_alert_has_a_runbook_that_begins_with_what_to_look_at() -> None:
    text = (REPOSITORY / "docs" / "runbooks.md").read_text()
    sections = {part.splitlines()[0]: part.splitlines()[1:] for part in text.split("\n## ")[1:]}

    assert sorted(sections) == NAMES
    assert {name for name, lines in sections.items() if not lines[0].startswith("Look at: ")} == set()
    assert {rule["annotations"]["runbook_url"] for rule in ALERTS} == {f"docs/runbooks.md#{name.lower()}" for name in NAMES}


def test_every_metric_in_a_rule_is_one_that_is_exported() -> None:
    recorded = {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule}
    used = set(re.findall(r"\b(evergreen[_:][a-z0-9_:]+)", " ".join(rule["expr"] for group in RULES for rule in group["rules"])))
    service, monitor = CollectorRegistry(), make_metrics().registry
    ServiceMetrics(service)
    families = [*service.collect(), *monitor.collect(), *DeploymentInfo(lambda: ()).collect()]
    suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}
    exported = {f.name + suffix for f in families for suffix in suffixes.get(f.type, ("",))}
    exported |= (
        {f"evergreen_{name}" for name in GAUGES}
        | {f"evergreen_{name}_total" for name in COUNTERS}
        | {f"evergreen_{name}" for name in BACKLOG}
    )

    assert used - recorded - exported == set()
