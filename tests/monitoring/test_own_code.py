"""The loop with a candidate of one's own: refitted while its code stays, by hand when it changed, never imported by the monitor."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.journal.tables import RETRAIN
from tests.monitoring.world import CHILD, MODEL_FILE, World, make_world, weather
from tests.own_package import GOOD, forget, write_package
from training.artifacts.manifest import generation_of

OWN = MODEL_FILE.replace(
    "candidates: [linear], budget: 2 fits", "candidates: [{name: mine, factory: 'own_loop.models:build'}], budget: 1 fits"
)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = write_package(tmp_path / "code", "own_loop")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("EVERGREEN_CODE", str(folder))
    forget("own_loop")
    yield folder
    forget("own_loop")


@pytest.fixture
def world(code: Path, tmp_path: Path) -> Iterator[World]:
    world = make_world(tmp_path, OWN)
    world.answer_here(weather(1, 60, 24, flipped_from=60))
    forget("own_loop")
    yield world
    world.close()


def test_a_model_of_ones_own_is_refitted_gated_and_promoted_and_the_monitor_never_imports_it(world: World) -> None:
    first = world.champion

    world.settle(world.monitor(command=CHILD))

    assert world.champion != first
    assert world.stores.registry.version("rain", world.champion).manifest["algorithm"] == "mine"
    assert "own_loop" not in sys.modules


@pytest.mark.slow
def test_changed_code_ends_the_run_and_asks_for_a_training_by_hand(world: World, code: Path) -> None:
    first = world.champion
    write_package(code, "own_loop", GOOD + "# changed\n")

    world.settle(world.monitor(command=CHILD))

    run = world.stores.journal.runs("rain", RETRAIN)[-1]
    assert (world.champion, run.state) == (first, "failed")
    assert f"changed since {first} was made: the files of own_loop: train it by hand" in str(run.error)
    assert "own_loop" not in sys.modules


LOSS = """
import numpy as np

def loss(y, prediction):
    return 1 - prediction.probability[np.arange(len(y)), [prediction.classes.index(label) for label in y]]
"""


@pytest.mark.slow
def test_the_gate_judges_by_a_metric_of_ones_own_that_the_monitor_never_imports_and_reports_costs(code: Path, tmp_path: Path) -> None:
    write_package(code, "own_loop", LOSS)
    model_file = MODEL_FILE.replace("metric: log_loss", "metric: own_loop.models:loss").replace(
        "budget: 2 fits", "budget: 2 fits, costs: [[0, 1], [3, 0]]"
    )
    world = make_world(tmp_path, model_file.replace("task: binary", "task: binary\n  classes: ['no', 'yes']"))
    first = world.champion
    forget("own_loop")

    world.answer(weather(1, 60, 24, flipped_from=60))
    world.settle(world.monitor(command=CHILD))

    ledger = world.stores.registry.ledger("rain")
    world.close()
    promoted = next(line for line in ledger if line.action == "promote" and line.who == "monitor")
    assert generation_of(promoted.previous) == first
    assert promoted.evidence["metric"] == "own_loop.models:loss"
    assert promoted.evidence["gain_low"] > 0
    assert 0 < promoted.evidence["challenger_cost"] < promoted.evidence["champion_cost"]
    assert "own_loop" not in sys.modules
