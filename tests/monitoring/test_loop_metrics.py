"""What a scrape tells of the loop, and that it is what journal and ledger hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from monitoring.journal.tables import RETRAIN, VerdictRecord
from monitoring.loop.tick import Watch
from monitoring.loop_metrics import COUNTERS, GAUGES, KINDS, MOST_COLUMNS, of_verdict
from tests.monitoring.world import ON_LABELS, World, weather
from training.registry.tables import Cause

QUIET: dict[str, Any] = {"faults": [], "labels": {"coverage": 0.5}, "score": None, "performance": None}


def column(name: str, evidence: float | None, *, is_drifting: bool = False) -> dict[str, Any]:
    segment = None if " where " in name else 0.25
    return {"column": name, "psi": 0.5, "floor": 0.01, "missing_share": segment, "log10_evidence": evidence, "is_drifting": is_drifting}


def verdict(columns: Iterable[dict[str, Any]]) -> VerdictRecord:
    drift = {"rows": 9, "drifting": [], "columns": list(columns), "columns_left_out": 5000}
    return VerdictRecord("rain", 10**6, "watch", (), {"drift": drift, **QUIET}, 0)


def value(watch: Watch, name: str, **labels: str) -> float | None:
    return watch.metrics.registry.get_sample_value(f"evergreen_{name}", {"model": "rain", **labels})


def test_only_the_ten_strongest_columns_have_series() -> None:
    many = [column(f"x{n} where place=b", float(n)) for n in range(100)]

    values = list(of_verdict(verdict([*many, column("wind", 99.5), column("resting", None, is_drifting=True)])))

    strongest = {"resting", "wind", *(f"x{n} where place=b" for n in range(92, 100))}
    of_names = {name: {labels[0] for each, labels, _ in values if each == name and labels} for name, _, _ in values}
    assert len(strongest) == MOST_COLUMNS
    assert [of_names[name] for name in ("drift_score", "drift_floor")] == [strongest] * 2
    assert of_names["drift_evidence_log10"] == strongest - {"resting"}
    assert of_names["feature_missing_ratio"] == {"resting", "wind"}


def live(segment: str, metric: str, n: int) -> dict[str, Any]:
    return {"segment": segment, "metric": metric, "value": n / 1000, "low": 0.4, "high": 0.7, "n": n, "coverage": 1.0}


def test_live_scores_of_all_rows_and_the_watched_metric_of_the_largest_segments_have_series() -> None:
    whole = [live("", "log_loss", 900), live("", "selection_rate", 900)]
    parts = [live(f"place={n}", metric, 300 + n) for n in range(8) for metric in ("log_loss", "selection_rate")]
    last = verdict([])

    values = list(of_verdict(replace(last, evidence={**last.evidence, "live": [*whole, *parts]})))

    of_all = {("log_loss", ""): 0.9, ("selection_rate", ""): 0.9} | {("log_loss", f"place={n}"): 0.3 + n / 1000 for n in range(4, 8)}
    assert {labels: value for name, labels, value in values if name == "live_score"} == pytest.approx(of_all)
    assert [(name, labels, value) for name, labels, value in values if name.startswith("live_") and name != "live_score"] == [
        ("live_score_low", ("log_loss",), 0.4), ("live_score_high", ("log_loss",), 0.7), ("live_rows", ("log_loss",), 900),
    ]  # fmt: skip


def test_estimates_have_a_series_a_method_with_bounds() -> None:
    lines = [
        {
            "metric": "log_loss",
            "method": method,
            "value": 0.5,
            "low": 0.4,
            "high": 0.6,
            "n": 900,
            "learned_from": 2000,
            "outside": 0.1,
            "labels": 0,
        }
        for method in ("CBPE", "PPI++")
    ]
    last = verdict([])

    values = list(of_verdict(replace(last, evidence={**last.evidence, "estimated": {"lines": lines, "missing": []}})))

    of_each = {"estimated_score": 0.5, "estimated_score_low": 0.4, "estimated_score_high": 0.6, "estimated_rows": 900}
    expected = {(name, ("log_loss", method)): value for name, value in of_each.items() for method in ("CBPE", "PPI++")}
    assert {(name, labels): value for name, labels, value in values if name in of_each} == expected
    assert ("estimated_outside_ratio", ("log_loss", "CBPE"), 0.1) in values


def test_what_is_told_has_a_declared_name_and_declared_labels(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 24))
    world.settle(watch)

    samples = [s for family in watch.metrics.registry.collect() for s in family.samples if s.labels.get("model") == "rain"]

    declared = {f"evergreen_{n}": labels for n, (_, labels) in GAUGES.items()}
    declared |= {f"evergreen_{n}_total": labels for n, (_, labels) in COUNTERS.items()}
    assert {s.name: tuple(s.labels) for s in samples}.items() <= declared.items()
    assert len(samples) == len({(s.name, *s.labels.values()) for s in samples}) <= 100


def test_the_gauges_hold_what_the_journal_holds(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 24))
    world.settle(watch)

    last = world.stores.journal.verdicts("rain")[0]
    seen_us = world.stores.registry.version("rain", world.champion).manifest["trained_through_us"]
    cloud = next(c for c in last.evidence["drift"]["columns"] if c["column"] == "cloud")
    assert watch.metrics.registry.get_sample_value("evergreen_scheduler_is_leader") == 1
    assert value(watch, "model_trained_through_timestamp_seconds") == seen_us / 1e6
    assert [value(watch, "verdict", verdict=kind) for kind in KINDS] == [1, 0, 0, 0, 0, 0]
    assert value(watch, "verdicts_total", verdict="keep") == 3
    assert value(watch, "drift_score", feature="cloud", test="psi") == cloud["psi"]
    assert value(watch, "quality", metric="log_loss", window="current") == last.evidence["score"]["value"]
    assert value(watch, "label_maturity_seconds") == last.evidence["cohorts"]["maturity_us"] / 1e6
    assert value(watch, "drift_last_evaluated_timestamp_seconds") == last.slot_us / 1e6


def test_retrainings_promotions_and_rollbacks_are_counted_from_the_ledger(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    watch = world.monitor()
    world.answer(weather(1, 60, 18))
    world.settle(watch)
    [run] = world.stores.journal.runs("rain", RETRAIN)
    outcome = {"promote": "promoted", "refuse": "refused"}[world.actions()[-1]]
    champion, other = world.champion, world.train(weather(2, 0, 60))
    world.stores.registry.promote("rain", other, expected=champion, cause=Cause("ann", "by hand"), now=world.machine_now)
    world.stores.registry.roll_back("rain", expected=other, cause=Cause("ann", "no better"), now=world.machine_now)

    ended_us = run.ended_us or 0
    assert value(watch, "retrain_runs_total", trigger=run.payload["trigger"], result=outcome) == 1
    assert value(watch, "promotions_total", decision=outcome) == 1
    assert value(watch, "promotions_total", decision="failed") == 0
    assert value(watch, "rollbacks_total", reason="person") == 1
    assert value(watch, "rollbacks_total", reason="probation") == 0
    assert value(watch, "retrain_in_progress") == 0
    assert value(watch, "retrain_duration_seconds") == (ended_us - run.started_us) / 1e6
    assert value(watch, "retrain_last_success_timestamp_seconds") is not None
