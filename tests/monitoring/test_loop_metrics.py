"""What a scrape tells of the loop, and that it is what journal and ledger hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from monitoring.journal.carries import Carry
from monitoring.journal.tables import VerdictRecord
from monitoring.loop.tick import Watch
from monitoring.loop_metrics import COUNTERS, GAUGES, MOST_COLUMNS, MOST_SERIES, LoopMetrics, of_verdict
from monitoring.metrics import make_metrics
from tests.monitoring.world import DAY_US, MODEL_FILE, ON_LABELS, START, World, weather
from training.model_file.model_spec import parse_spec
from training.registry.aliases import REFUSE
from training.registry.tables import Cause

QUIET: dict[str, Any] = {"faults": [], "labels": {"coverage": 0.5}, "score": None, "performance": None}


def column(name: str, evidence: float | None, *, is_drifting: bool = False) -> dict[str, Any]:
    segment = None if " where " in name else 0.25
    return {"column": name, "psi": 0.5, "floor": 0.01, "missing_share": segment, "log10_evidence": evidence, "is_drifting": is_drifting}


def verdict(columns: Iterable[dict[str, Any]]) -> VerdictRecord:
    drift = {"rows": 9, "drifting": [], "columns": list(columns), "columns_left_out": 5000, "log10_threshold": 4.0}
    return VerdictRecord("rain", 10**6, "watch", (), {"drift": drift, **QUIET}, 0)


def value(watch: Watch, name: str, **labels: str) -> float | None:
    return watch.metrics.registry.get_sample_value(f"evergreen_{name}", {"model": "rain", **labels})


def test_only_the_ten_strongest_columns_have_series() -> None:
    many = [column(f"x{n} where place=b", float(n)) for n in range(100)]

    values = list(of_verdict(verdict([*many, column("wind", 99.5), column("resting", None, is_drifting=True)])))

    strongest = {"resting", "wind", *(f"x{n} where place=b" for n in range(92, 100))}
    of_names = {name: {labels[0]: value for each, labels, value in values if each == name and labels} for name, _, _ in values}
    assert len(strongest) == MOST_COLUMNS
    assert of_names["drift_size_ratio"] == dict.fromkeys(strongest, 50.0)
    assert of_names["drift_evidence_ratio"].keys() == strongest - {"resting"}
    assert of_names["drift_evidence_ratio"]["x92 where place=b"] == 23.0


def live(segment: str, metric: str, n: int) -> dict[str, Any]:
    return {"segment": segment, "metric": metric, "value": n / 1000, "low": 0.4, "high": 0.7, "n": n, "coverage": 1.0}


def test_live_scores_of_all_rows_and_the_watched_metric_of_the_largest_segments_have_series() -> None:
    whole = [live("", name, 900) for name in ("log_loss", "rain:loss", "selection_rate", "true_positive_rate")]
    parts = [live(f"place={n}", metric, 300 + n) for n in range(8) for metric in ("log_loss", "selection_rate")]
    last = verdict([])

    values = list(of_verdict(replace(last, evidence={**last.evidence, "live": [*whole, *parts]})))

    of_all = {(name, ""): 0.9 for name in ("log_loss", "rain:loss", "selection_rate")}
    of_all |= {("log_loss", f"place={n}"): 0.3 + n / 1000 for n in range(5, 8)}
    assert {labels: value for name, labels, value in values if name == "live_score"} == pytest.approx(of_all)
    assert [(name, labels, value) for name, labels, value in values if name.startswith("live_") and name != "live_score"] == [
        ("live_score_low", ("log_loss",), 0.4), ("live_score_high", ("log_loss",), 0.7),
        ("live_score_low", ("rain:loss",), 0.4), ("live_score_high", ("rain:loss",), 0.7), ("live_rows", ("log_loss",), 900),
    ]  # fmt: skip


def estimate(method: str, value: float) -> dict[str, Any]:
    ends = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 900, "learned_from": 2000, "outside": 0.1, "labels": 0}
    return {"metric": "log_loss", "method": method, **ends}


def test_of_the_estimates_the_one_with_labels_has_series_with_bounds() -> None:
    last, lines = verdict([]), [estimate("CBPE", 0.5), estimate("PPI++", 0.25)]

    values = list(of_verdict(replace(last, evidence={**last.evidence, "estimated": {"lines": lines, "missing": []}})))

    assert {(name, labels): value for name, labels, value in values if name.startswith("estimated")} == pytest.approx({
        ("estimated_score", ("log_loss", "PPI++")): 0.25,
        ("estimated_score_low", ("log_loss", "PPI++")): 0.15,
        ("estimated_score_high", ("log_loss", "PPI++")): 0.35,
    })  # fmt: skip


def test_what_is_told_has_a_declared_name_and_declared_labels(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 24))
    world.settle(watch)

    samples = [s for family in watch.metrics.registry.collect() for s in family.samples if s.labels.get("model") == "rain"]

    declared = {f"evergreen_{n}": labels for n, (_, labels) in GAUGES.items()}
    declared |= {f"evergreen_{n}_total": labels for n, (_, labels) in COUNTERS.items()}
    assert {s.name: tuple(s.labels) for s in samples}.items() <= declared.items()
    assert len(samples) == len({(s.name, *s.labels.values()) for s in samples}) <= MOST_SERIES


def test_the_gauges_hold_what_the_journal_holds(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 24))
    world.settle(watch)

    last = world.stores.journal.verdicts("rain")[0]
    seen_us = world.stores.registry.version("rain", world.champion).manifest["trained_through_us"]
    cloud = next(c for c in last.evidence["drift"]["columns"] if c["column"] == "cloud")
    assert watch.metrics.registry.get_sample_value("evergreen_scheduler_is_leader") == 1
    assert value(watch, "model_trained_through_timestamp_seconds") == seen_us / 1e6
    assert [value(watch, "verdict", verdict=kind) for kind in ("keep", "watch")] == [1, None]
    assert value(watch, "drift_size_ratio", feature="cloud") == cloud["psi"] / cloud["floor"]
    assert value(watch, "live_score", metric="log_loss", segment="") == last.evidence["live"][0]["value"]
    watermark_us, maturity_us = world.stores.log.watermark("rain") or 0, last.evidence["cohorts"]["maturity_us"]
    labelled_us = world.stores.log.last_labelled("rain") or 0
    assert value(watch, "labels_overdue_ratio") == (watermark_us - labelled_us) / (2 * maturity_us + DAY_US)
    assert value(watch, "retrain_overdue_ratio") is None
    assert value(watch, "drift_last_evaluated_timestamp_seconds") == last.slot_us / 1e6


def test_retrainings_promotions_and_rollbacks_are_counted_from_the_ledger(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    watch = world.monitor()
    world.answer(weather(1, 60, 18))
    world.settle(watch)
    outcome = {"promote": "promoted", "refuse": "refused"}[world.actions()[-1]]
    champion, other = world.champion, world.train(weather(2, 0, 60))
    world.stores.registry.promote("rain", other, expected=champion, cause=Cause("ann", "by hand"), now=world.machine_now)
    world.stores.registry.roll_back("rain", expected=other, cause=Cause("ann", "no better"), now=world.machine_now)

    assert value(watch, "promotions_total", decision=outcome) == 1
    assert value(watch, "promotions_total", decision="failed") == 0
    assert value(watch, "rollbacks_total") == 1
    assert value(watch, "retrain_in_progress") == 0
    assert value(watch, "retrain_last_success_timestamp_seconds") is not None


def test_a_refused_challenger_counts_as_a_retraining_with_its_rows(make: Callable[..., World]) -> None:
    world = make(model_file=MODEL_FILE.replace("act: auto", "act: notify\n  schedule: 28d"))
    watch, registry, before = world.monitor(), world.stores.registry, world.champion
    world.answer(weather(1, 60, 24))
    world.settle(watch)

    of_champion = value(watch, "retrain_overdue_ratio")
    newer = world.train(weather(2, 0, 70))
    registry.record("rain", REFUSE, version=newer, previous=before, cause=Cause("monitor", "no better"), now=world.machine_now)
    of_refused = value(watch, "retrain_overdue_ratio")

    watermark_us = world.stores.log.watermark("rain") or 0
    maturity_us = world.stores.journal.verdicts("rain")[0].evidence["cohorts"]["maturity_us"]
    seen = [registry.version("rain", version).manifest["trained_through_us"] for version in (before, newer)]
    assert [of_champion, of_refused] == [(watermark_us - each) / (2 * (28 * DAY_US + maturity_us)) for each in seen]


def test_without_labels_nothing_is_said_of_the_last_and_with_one_its_model_time_counts(make: Callable[..., World]) -> None:
    world = make()
    watch = world.monitor()
    world.answer(weather(1, 60, 24), labelled=False)
    world.settle(watch)

    before = value(watch, "labels_overdue_ratio")
    world.label(weather(1, 60, 24))

    assert (before, value(watch, "labels_overdue_ratio")) == (None, 0.0)


class Worst:
    """Stores of one model in which everything is the case at once, whatever of them is asked."""

    def __init__(self) -> None:
        self.journal = self.registry = self.log = self
        self.names = ["rain"]

    def models(self) -> list[Any]:
        return [SimpleNamespace(name=name, spec_text="", paused=True) for name in self.names]

    def last_judged(self, _model: str) -> VerdictRecord:
        columns = [column(f"x{n}", float(n), is_drifting=n % 2 == 0) for n in range(300)]
        names = ("log_loss", "rain:loss", "selection_rate", "true_positive_rate", "calibration_gap")
        drift = {
            "rows": 9,
            "drifting": ["x0"],
            "columns": columns,
            "log10_threshold": 4.0,
            "episodes": [{"muted": False}, {"muted": True}] * 9,
        }
        return VerdictRecord("rain", 10**6, "quarantine", (), {
            "drift": {**drift, "episodes": [{"muted": False}, {"muted": True}] * 9}, "faults": [{}] * 9, "labels": {"coverage": 0.5},
            "cohorts": {"maturity_us": 9, "label_faults": [{}] * 5, "came": {"slot": {"too_late": 7, "conflict": 7}}},
            "live": [live(segment, name, 900) for segment in ("", *(f"place={n}" for n in range(20))) for name in names],
            "estimated": {"lines": [estimate("CBPE", 0.5), estimate("PPI++", 0.5)]},
            "score": {"metric": "log_loss", "value": 0.5, "low": 0.4, "high": 0.6, "n": 900},
            "performance": {"baseline": {"metric": "log_loss", "value": 0.4}, "is_degraded": True,
                            "harm": {"log10_evidence": 5.0, "log10_threshold": 4.0}},
            "disparities": [{"is_open": True}] * 9,
        }, 0)  # fmt: skip

    def episodes(self, _model: str, limit: int) -> list[Any]:
        return [(SimpleNamespace(number=n, since_us=n, ended_us=None), None) for n in range(limit)]

    def quarantines(self, _model: str) -> list[int]:
        return [0] * 30

    def open_probation(self, _model: str) -> int:
        return 1

    def runs(self, _model: str, _job: str, limit: int | None) -> list[Any]:
        return [
            SimpleNamespace(run_id=str(n), state="running" if n == 0 else "done", payload={"trigger": f"why {n}"})
            for n in range(limit or 90)
        ]

    def ledger(self, _model: str, limit: int | None) -> list[Any]:
        actions = ("promote", "refuse", "failed", "rollback")
        lines = [SimpleNamespace(seq=n, action=actions[n % 4], evidence={"run": str(n)}, at=START, who=f"person {n}") for n in range(90)]
        return lines[:limit]

    def carry(self, _model: str) -> Carry:
        return Carry()

    def watermark(self, _model: str) -> int:
        return 10**15

    def last_labelled(self, _model: str) -> int:
        return 9 * 10**14

    def last_line(self, _model: str, _action: str) -> Any:
        return SimpleNamespace(version="w")

    def rows_by_bucket(self, *_span: object) -> list[tuple[str, int, int]]:
        return [(f"version {n}", n * DAY_US, 5) for n in range(9)]

    def alias(self, _model: str, _alias: str) -> Any:
        return SimpleNamespace(version="v")

    def version(self, _model: str, _version: str) -> Any:
        return SimpleNamespace(manifest={"trained_through_us": 10**15})


def test_a_model_of_which_everything_is_the_case_at_once_has_sixty_series_and_one_that_was_deleted_none() -> None:
    stores, metrics = Worst(), make_metrics()
    spec = parse_spec("""
        model: rain
        schema: {target: wet, task: binary, positive: "yes", features: {x: numeric}}
        retraining: {schedule: 7d}
    """)  # fmt: skip
    metrics.registry.register(LoopMetrics(cast(Any, stores), lambda: True, lambda _: spec, now_us=lambda: 10**15))

    def of_rain() -> list[str]:
        return [line for line in generate_latest(metrics.registry).decode().splitlines() if 'model="rain"' in line]

    metrics.tick_failures.note("rain")
    worst = of_rain()
    stores.names = []
    metrics.tick_failures.keep(stores.names)

    names = {line.partition("{")[0].removeprefix("evergreen_").removesuffix("_total") for line in worst}
    assert names == {*GAUGES, *COUNTERS, "scheduler_tick_failures"}
    assert len(worst) == MOST_SERIES
    assert of_rain() == []
