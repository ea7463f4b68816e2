"""Rows driven through the loop in one process come to the verdicts, moves and answers of a replay over HTTP, slot by slot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
REFUSED_ON = re.compile(r"refused on \d{4}-\d\d-\d\d")  # a day of the machine's clock
MOVES = ("gain", "gain_low", "champion_score", "challenger_score", "n", "slot", "trigger", "look")


def concluded(journal: Journal, registry: Registry, model: str) -> tuple[list[Any], list[Any]]:
    """Return what was concluded at slots, and what became of versions: with the gate's figures, without the names of versions."""
    verdicts = [
        (one.slot_us, one.verdict, tuple(nameless(reason) for reason in one.reasons), one.evidence.get("cohorts"))
        for one in reversed(journal.verdicts(model, limit=None))
    ]
    lines = [
        (line.action, {name: line.evidence[name] for name in MOVES if name in line.evidence}, members_of(registry, model, line.version))
        for line in reversed(registry.ledger(model, None))
        if line.action in ("promote", "refuse", "rollback", "failed", "reweigh")
    ]
    return verdicts, lines


def nameless(reason: str) -> str:
    """Return a reason without names of versions, which are random, and days of the machine's clock."""
    return REFUSED_ON.sub("refused on a day", VERSION.sub("a version", reason))


def members_of(registry: Registry, model: str, version: str | None) -> list[tuple[Any, ...]]:
    """Return weight and map of each member of a version that is a mixture."""
    manifest = {} if version is None else registry.version(model, version).manifest
    return [(one["family"], one["trained_through_us"], one["weight"], one["map"]) for one in manifest.get("members") or ()]


@pytest.fixture(params=["one member", "three members"])
def folder(request: pytest.FixtureRequest) -> Path:
    """Return a folder with a model file, what its first version learns from, and what is lived through."""
    name: str = request.param
    return request.getfixturevalue("a_year_of_the_example" if name == "one member" else "a_stretch_of_elec2")


@pytest.fixture
def a_year_of_the_example(example: Example) -> Path:
    return example(0, True, False)


@pytest.fixture
def a_stretch_of_elec2(repository: Path, data_folder: Path, tmp_path: Path) -> Path:
    """Return three tenths of it, lived through by a mixture that grows; nothing is searched for."""
    text, table = (repository / "examples" / "real" / "elec2.yaml").read_text(), data_folder / "elec2" / "elec2.csv.gz"
    rows = pd.read_csv(table)
    cut, end = (int(np.searchsorted(rows.event_time, rows.event_time[int(len(rows) * share)])) for share in (0.15, 0.45))
    rows[:cut].to_csv(tmp_path / "history.csv.gz", index=False)
    rows[cut:end].to_csv(tmp_path / "live.csv.gz", index=False)
    text = text.replace("../../../shared/data/elec2/elec2.csv.gz", "history.csv.gz")
    (tmp_path / "model.yaml").write_text(text.replace("{budget: 12 fits}", "{candidates: [boosting], budget: 1 fits, members: 3}"))
    return tmp_path


def test_what_is_driven_in_one_process_is_what_is_replayed_over_http(
    launch: Launch, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    system = launch(folder / "model.yaml")
    spec, rows = system.spec, read_table(folder / "live.csv.gz", system.spec.schema)
    replayed = replay(rows, spec, system.url, database=system.bench.database)

    driver = Driver.begin(tmp_path_factory.mktemp("driven"), spec, read_table(folder / "history.csv.gz", spec.schema))
    feedback = Feedback.by_policy(rows, spec.labels)
    driven = driver.run(rows, steps(rows, spec, feedback), feedback)

    over_http = concluded(system.bench.journal, system.bench.registry, spec.model)
    in_process = concluded(driver.stores.journal, driver.stores.registry, spec.model)
    driver.close()
    assert in_process[0] == over_http[0]
    assert in_process[1] == over_http[1]
    assert {"promote", "reweigh"} <= {action for action, _, _ in in_process[1]}
    assert [(one.slot_us, one.outcome) for one in driven.slots] == [(one.slot_us, one.outcome) for one in replayed.slots]
    np.testing.assert_array_equal(driven.prediction.probability, replayed.prediction.aligned(driven.prediction.classes or ()).probability)
