"""A champion that ends the process in which it is unpickled or asked, under a real monitor: which lives, says which, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from monitoring.journal.tables import RETRAIN, TICK
from service.prediction_log.labels import LabelItem
from service.prediction_log.records import Record
from service.prediction_log.writing import DrainedBatch
from tests.monitoring.watched import Watched
from tests.monitoring.world import DAY_US, World, make_world, weather
from tests.patience import until
from tests.trouble import FOLDER, TroubledLearner
from training.clock import to_us
from training.model_file.model_spec import parse_spec
from training.registry.tables import Cause
from training.run import wrap_imported
from training.schema.rows import Rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("monitor of a champion that kills")]

ABACUS = """
model: abacus
schema:
  target: y
  task: regression
  time: {column: at, kind: ordinal, origin: 1970-01-01, step: 1m}
  features: {a: numeric}
metric: mae
labels: {delay: 1d}
training: {candidates: [linear], budget: 1 fits}
watching: {every: 7d, window: 14d, bucket: 1d}
retraining: {act: auto, gate: {rows: 50, min_train_rows: 50}, budget_per_week: 100}
"""
AS_IMPORTED = ABACUS.replace("training: {candidates: [linear], budget: 1 fits}\n", "")
ENDS = {
    "SIGSEGV": "died of SIGSEGV",
    "SIGABRT": "died of SIGABRT",
    "os._exit(0)": "ended with 0",
    "os._exit(3)": "ended with 3",
}


@dataclass
class Scene:
    """A home with the models abacus, whose champion makes trouble, and rain; a monitor that watches both; the day of model time."""

    world: World
    monitor: Watched
    trouble: Path
    champion: str
    day: int = 80

    def pass_a_week(self) -> None:
        """Let a week of rows of both models come in, labelled."""
        for day in range(self.day, self.day + 7):
            _log(self.world, _rows(day, 1))
        self.world.answer(weather(1, self.day, 7))
        self.day += 7

    def retrain(self, spec: str = ABACUS) -> tuple[str, str]:
        """Ask for a retraining of abacus; return what became of it by the ledger, and why."""
        self.world.stores.registry.put_model(parse_spec(spec))
        before = len(self.ends())
        self.world.stores.journal.add_request("abacus", RETRAIN, who="test", machine_now=datetime.now(UTC))
        until(lambda: len(self.ends()) > before, "the retraining is over")
        return self.ends()[0]

    def ends(self) -> list[tuple[str, str]]:
        """Return how retrainings of abacus ended and why, the newest first."""
        lines = self.world.stores.registry.ledger("abacus", None)
        return [(line.action, line.why) for line in lines if line.action in ("refuse", "failed")]

    def judged(self) -> int:
        """Return how many slots of rain are judged."""
        return sum(run.state == "done" for run in self.world.stores.journal.runs("rain", TICK, limit=None))


def _rows(first_day: int, days: int) -> Rows:
    time_us = first_day * DAY_US + np.arange(40 * days) * (DAY_US // 40)
    a = np.arange(40 * days, dtype=np.float64)
    return Rows({"a": a}, a, time_us)


def _log(world: World, rows: Rows) -> None:
    prefix, n = f"a{rows.time_us[0]}", len(rows)
    ids, times = [str(at) for at in rows.time_us], rows.time_us.tolist()
    made = Record(
        prefix, "abacus", "v", "bins", to_us(datetime.now(UTC)), times, ids, {"a": rows.columns["a"].tolist()}, [0.0] * n, None, None
    )
    world.stores.log.commit_drained(DrainedBatch(prefix, 0, 1, 0, [made]), machine_now=datetime.now(UTC))
    items = [LabelItem(label, own_id=own_id) for own_id, label in zip(ids, rows.labels.tolist(), strict=True)]
    world.stores.log.label("abacus", items, datetime.now(UTC))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("monitor")
    trouble = folder / "trouble"
    trouble.mkdir()
    world = make_world(folder)
    world.arrived_us = to_us(datetime.now(UTC))
    registry, home, spec = world.stores.registry, world.stores.home, parse_spec(AS_IMPORTED)
    registry.put_model(spec)
    history = _rows(0, 60)
    learner = TroubledLearner().fit(history.columns, history.labels)
    made = wrap_imported(learner, spec, history, home=home, registry=registry, now=world.machine_now)
    registry.promote("abacus", made.version, expected=None, cause=Cause("test", "the first"), now=world.machine_now)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(FOLDER, str(trouble))
        monitor = Watched.start(home, world.stores.database.url, folder / "monitor")
    made_scene = Scene(world, monitor, trouble, made.version)
    made_scene.pass_a_week()
    until(monitor.leads, "the monitor leads")
    yield made_scene
    monitor.kill()
    world.close()


@pytest.mark.parametrize("moment", ["unpickle", "predict"])
@pytest.mark.parametrize(("kind", "end"), ENDS.items(), ids=ENDS.keys())
def test_a_champion_that_ends_the_process_at_the_gate_is_said_and_the_others_are_judged(
    scene: Scene, kind: str, end: str, moment: str
) -> None:
    scene.pass_a_week()
    (scene.trouble / moment).write_text(kind)

    outcome, why = scene.retrain()
    (scene.trouble / moment).unlink()
    judged = scene.judged()
    scene.pass_a_week()
    until(lambda: scene.judged() > judged, "the other model is judged")

    assert (outcome, why) == ("refuse", f"the model cannot be asked: its process {end}")
    assert scene.monitor.process.poll() is None
    assert f"abacus: refused: {why}" in scene.monitor.step.with_suffix(".log").read_text()


def test_an_imported_champion_that_ends_the_training_child_is_said_and_the_others_are_judged(scene: Scene) -> None:
    scene.pass_a_week()
    (scene.trouble / "unpickle").write_text("SIGSEGV")

    outcome, why = scene.retrain(AS_IMPORTED)
    (scene.trouble / "unpickle").unlink()
    judged = scene.judged()
    scene.pass_a_week()
    until(lambda: scene.judged() > judged, "the other model is judged")

    assert outcome == "failed"
    assert "the training child died" in why
    assert scene.monitor.process.poll() is None
