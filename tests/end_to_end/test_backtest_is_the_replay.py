"""A year of the example driven in one process comes to the verdicts, moves and answers of a replay over HTTP, slot by slot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.backtest.driver import Driver
from monitoring.backtest.steps import Feedback, steps
from monitoring.journal.journal import Journal
from monitoring.local.replay import replay
from tests.end_to_end.system import Example, Launch
from training.dataset.dataset import read_table
from training.registry.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
MOVES = ("gain", "gain_low", "champion_score", "challenger_score", "n", "slot", "trigger", "look")


def concluded(journal: Journal, registry: Registry, model: str) -> tuple[list[Any], list[Any]]:
    """Return what was concluded at slots, and what became of versions: with the gate's figures, without the names of versions."""
    verdicts = [
        (one.slot_us, one.verdict, tuple(VERSION.sub("a version", reason) for reason in one.reasons), one.evidence.get("cohorts"))
        for one in reversed(journal.verdicts(model, limit=None))
    ]
    lines = [
        (line.action, {name: line.evidence[name] for name in MOVES if name in line.evidence}, members_of(registry, model, line.version))
        for line in reversed(registry.ledger(model, None))
        if line.action in ("promote", "refuse", "rollback", "failed", "reweigh")
    ]
    return verdicts, lines


def members_of(registry: Registry, model: str, version: str | None) -> list[tuple[Any, ...]]:
    """Return weight and map of each member of a version that is a mixture."""
    manifest = {} if version is None else registry.version(model, version).manifest
    return [(one["family"], one["trained_through_us"], one["weight"], one["map"]) for one in manifest.get("members") or ()]


def test_a_year_in_one_process_is_the_year_over_http(launch: Launch, example: Example, tmp_path: Path) -> None:
    folder = example(0, True, False)
    system = launch(folder / "model.yaml")
    spec, rows = system.spec, read_table(folder / "live.csv.gz", system.spec.schema)
    replayed = replay(rows, spec, system.url, database=system.bench.database)

    driver = Driver.begin(tmp_path, spec, read_table(folder / "history.csv.gz", spec.schema))
    feedback = Feedback.by_policy(rows, spec.labels)
    driven = driver.run(rows, steps(rows, spec, feedback), feedback)

    over_http = concluded(system.bench.journal, system.bench.registry, spec.model)
    in_process = concluded(driver.stores.journal, driver.stores.registry, spec.model)
    driver.close()
    assert in_process[0] == over_http[0]
    assert in_process[1] == over_http[1]
    assert {"promote", "refuse", "reweigh"} <= {action for action, _, _ in in_process[1]}
    assert [(one.slot_us, one.outcome) for one in driven.slots] == [(one.slot_us, one.outcome) for one in replayed.slots]
    np.testing.assert_array_equal(driven.prediction.probability, replayed.prediction.aligned(driven.prediction.classes or ()).probability)
