"""The monitor or its training child is killed at each step of a retraining or a weighing: it ends as if nobody had been killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from monitoring.journal.leases import Turn
from monitoring.journal.tables import TICK, Run
from monitoring.local.processes import Processes
from monitoring.loop.retention import YOUNG, delete_unregistered
from service.prediction_log.tables import predictions
from tests.conftest import Once
from tests.end_to_end.fault_report import Probes, note
from tests.end_to_end.wire import request
from tests.monitoring.retraining.test_growing import GROWS
from tests.monitoring.retraining.test_weighing import rarer
from tests.monitoring.watched import Watched, end_lease
from tests.monitoring.world import DAY_US, MAPPED, World, make_world, weather
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from training.clock import to_us
from training.json_text import from_text, to_text
from training.schema.rows import Rows

pytestmark = pytest.mark.slow

REPLACES = MAPPED.replace("cool_down: 14d", "cool_down: 14d\n  min_new_labels: 250\n  on_performance: false")
MODEL_FILES = {"a version grows": GROWS, "a version is replaced": REPLACES}
FIRST_DAY, SLOTS = 60, (63, 70, 77, 84, 91)
PREDICT = "/models/rain/predict"
BEFORE_ALL = request(PREDICT, {"rows": [{"cloud": 0.5, "wind": 1.0, "place": "hill", "at": 1}]})  # of a minute that no slot looks at
DECISIONS = ("promote", "refuse", "rollback", "failed", "reweigh")
OF_THIS_ATTEMPT = ("attempt", "token", "seconds", "worse_since")  # the last is a line's number: a version more is registered before it

LIVES = {
    "a version grows, in the monitor": (
        "reweigh.saved", "reweigh.done", "run.begun", "run.started", "gate.decided", "growth.saved", "growth.registered", "promotion.done",
    ),
    "a version grows, in the child": ("run.fitted:stop", "run.saved:stop", "run.registered:stop"),
    "a version is replaced, in the monitor": (
        "run.begun", "run.started", "gate.decided", "promotion.done", "rollback.done", "refusal.done",
    ),
    "a version is replaced, in the child": ("run.fitted:stop", "run.saved:stop", "run.registered:stop"),
}  # fmt: skip


@cache
def rows_of(kind: str) -> Rows:
    """Return what comes: it gets wet more seldom, and where a version is replaced clouds mean the opposite from day 62 on."""
    return rarer(weather(1, FIRST_DAY, SLOTS[-1] + 1 - FIRST_DAY, flipped_from=62 if kind == "a version is replaced" else None))


def a_day(kind: str, day: int) -> Rows:
    return rows_of(kind).between(day * DAY_US, (day + 1) * DAY_US)


def answer_until(world: World, kind: str, slot: int, labelled: Container[int] = ()) -> None:
    """Answer rows day by day, and label them a day later, until a slot is due and no longer: so one champion answers all of them."""
    for day in range(max(slot - 6, FIRST_DAY), slot + 1):
        if day - 1 not in labelled:
            world.label(a_day(kind, day - 1))
        world.log(a_day(kind, day))


def settled(world: World, day: int) -> bool:
    """Return whether a slot is over, and all that it began."""
    runs = world.stores.journal.runs("rain", limit=None)
    return any(run.job == TICK and run.slot_us == day * DAY_US and run.state == "done" for run in runs)


def state(world: World) -> dict[str, Any]:
    """Return what was decided and what answers now, with versions called by when they first answered or were refused."""
    registry, journal = world.stores.registry, world.stores.journal
    lines = [line for line in reversed(registry.ledger("rain", None)) if line.action in DECISIONS]
    names = list(dict.fromkeys(name for line in lines for name in (line.evidence.get("newcomer"), line.version) if name))
    digests = [registry.version("rain", name).digest for name in names]

    def plain(value: Any) -> Any:
        text = to_text(without(value))
        for place in sorted(range(len(names)), key=lambda place: -len(names[place])):
            text = text.replace(names[place], f"version {place}").replace(digests[place], f"digest {place}")
        return from_text(text)

    later = weather(9, 200, 20)
    answers = [world.stores.load("rain", name).predictor.predict(later.columns).probability for name in names]
    champion = registry.version("rain", world.champion)
    runs, verdicts = reversed(journal.runs("rain", limit=None)), reversed(journal.verdicts("rain", limit=None))
    return {
        "decisions": [(line.action, plain([line.version, line.previous, line.why, line.evidence])) for line in lines],
        "verdicts": [(one.verdict, one.slot_us, plain(one.reasons)) for one in verdicts],
        "runs": [(run.run_id, run.state, plain([of_run(run)])) for run in runs],
        "members": plain([member.to_dict() for member in champion.members]),
        "carry": plain([journal.carry("rain").weighing.to_dict(), journal.carry("rain").performance.to_dict()]),
        "probations": world.probations(),
        "messages": sorted(world.messages()),
        "answers": [answer.tobytes() for answer in answers if answer is not None],
    }  # fmt: skip


def differences(got: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Say where two plain values differ."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        for name in sorted({*got, *wanted}):
            yield from differences(got.get(name), wanted.get(name), f"{path}.{name}")
    elif isinstance(got, list | tuple) and isinstance(wanted, list | tuple) and len(got) == len(wanted):
        for place, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
            yield from differences(ours, theirs, f"{path}[{place}]")
    elif got != wanted:
        yield f"{path}: {str(got)[:200]}, wanted {str(wanted)[:200]}"


def of_run(run: Run) -> Any:
    return {name: value for name, value in run.result.items() if name != "gate"}


def without(value: Any) -> Any:
    """Return a plain value without what tells one attempt from the next."""
    if isinstance(value, dict):
        return {name: without(one) for name, one in value.items() if name not in OF_THIS_ATTEMPT}
    return [without(one) for one in value] if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, once: Once) -> Callable[[str], dict[str, Any]]:
    """Return a function that says how a world ends in which nobody is killed."""
    known: dict[str, dict[str, Any]] = {}

    def of(kind: str) -> dict[str, Any]:
        if kind not in known:
            world = make_world(tmp_path_factory.mktemp("undisturbed"), MODEL_FILES[kind], once=once)
            watch = world.monitor()
            for slot in SLOTS:
                answer_until(world, kind, slot)
                world.settle(watch)
            known[kind] = state(world)
            world.close()
        return known[kind]

    return of


@dataclass
class Scene:
    """A home with a champion, a service that answers, and a monitor that is told where to die."""

    world: World
    kind: str
    folder: Path
    probes: Probes
    calls: ExitStack
    deaths: int = 0
    day: int = FIRST_DAY
    labelled: set[int] = field(default_factory=set)
    still_to_come: list[str] = field(default_factory=list)
    monitor: Watched | None = None

    def watch(self, failpoint: str = "") -> None:
        """Start a monitor, in place of one that is dead."""
        self.monitor = Watched.start(self.world.stores.home, self.world.stores.database.url, self.folder / "monitor", failpoint=failpoint)

    def live(self, failpoints: Sequence[str]) -> None:
        """Live through the weeks; each monitor dies at the next failpoint, or has a child that is stopped there and dies with it."""
        self.still_to_come = [*failpoints[1:], ""]
        self.watch(failpoints[0])
        for slot in SLOTS:
            answer_until(self.world, self.kind, slot, self.labelled)
            self.day = slot
            if slot == SLOTS[1]:
                self.calls.enter_context(self.probes)  # what the first slot looks at begins with the log
            while self.dies_before(slot):
                self.go_on()

    def dies_before(self, slot: int) -> bool:
        """Wait until the monitor is dead, or has settled a slot; return whether it is dead."""
        until(lambda: self.has_died() or settled(self.world, slot), lambda: f"slot {slot}: {self.last_words()}")
        return self.has_died()

    def go_on(self) -> None:
        """See that the service answers as before, and start the next monitor; labels come in between."""
        assert self.monitor is not None
        assert self.monitor.process.returncode == -signal.SIGKILL, self.last_words()
        self.deaths += 1
        if self.day not in self.labelled:  # what comes now is known too late for the slot, however often it is judged
            self.labelled.add(self.day)
            self.world.label(a_day(self.kind, self.day))
        self.probes.wait_for(5)
        self.world.stores.load("rain", self.world.champion).self_test()
        end_lease(self.world.stores.database)
        self.watch(self.still_to_come.pop(0))

    def has_died(self) -> bool:
        """Return whether the monitor is dead; where its child has come to a stop, both are killed."""
        assert self.monitor is not None
        stopped = [] if self.monitor.process.poll() is not None else stopped_children(self.monitor.process.pid)
        if stopped:
            self.monitor.kill()
            for child in stopped:
                child.kill()
                psutil.wait_procs([child], timeout=PATIENCE_SECONDS)
        return self.monitor.process.poll() is not None

    def last_words(self) -> str:
        return (self.folder / "monitor.log").read_text()[-4000:]


def stopped_children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children() if child.status() == psutil.STATUS_STOPPED]
    return []


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path, once: Once) -> Iterator[Scene]:
    kind, port = request.param, free_port()
    world = make_world(tmp_path, MODEL_FILES[kind], once=once)
    world.arrived_us = to_us(datetime.now(UTC))
    environment = {**os.environ, "EVERGREEN_HOME": str(world.stores.home.path), "EVERGREEN_ALIAS_POLL_SECONDS": "0.1"}
    with Processes({**environment, "EVERGREEN_BIND": f"127.0.0.1:{port}"}, tmp_path / "logs") as processes:
        processes.start("service", f"127.0.0.1:{port}")
        processes.wait_ready("service", "/readyz", seconds=PATIENCE_SECONDS)
        with ExitStack() as calls:
            made = Scene(world, kind, tmp_path, Probes(port, BEFORE_ALL, pause=0.1), calls)
            yield made
            if made.monitor is not None:
                made.monitor.kill()
    world.close()


def acknowledged_and_logged(scene: Scene) -> tuple[list[str], list[str]]:
    """Wait until what was acknowledged so far is in the log; return both."""
    ids = list(scene.probes.ids)

    def logged() -> list[str]:
        with scene.world.stores.database.read() as connection:
            rows = connection.execute(sa.select(predictions.c.id_prefix, predictions.c.row))
            return [f"{prefix}-{row}" for prefix, row in rows]

    until(lambda: set(ids) <= set(logged()), "what was acknowledged is in the log")
    return ids, logged()


def unregistered(world: World) -> set[str]:
    """Return the names of the artifacts, and of unfinished ones, that the registry never knew."""
    return {path.name for path in (world.stores.home.artifacts / "rain").iterdir()} - world.stores.registry.names("rain")


@pytest.mark.parametrize(
    ("scene", "failpoints"), [(life.partition(",")[0], places) for life, places in LIVES.items()], ids=list(LIVES), indirect=["scene"]
)
def test_whoever_is_killed_at_a_step_of_a_retraining_or_a_weighing_is_followed_by_one_that_does_it_once(
    scene: Scene, failpoints: Sequence[str], undisturbed: Callable[[str], dict[str, Any]]
) -> None:
    wanted, world = undisturbed(scene.kind), scene.world

    scene.live(failpoints)
    until(lambda: scene.probes.version == world.champion, "the service follows")
    ids, logged = acknowledged_and_logged(scene)
    note("3a", ids, logged, scene.probes.longest_silence())
    orphans = unregistered(world)
    gone = delete_unregistered(world.stores, Turn(datetime.now(UTC) + 2 * YOUNG), world.spec)

    assert (scene.deaths, scene.still_to_come, scene.probes.failures) == (len(failpoints), [], [])
    assert "\n".join(differences(state(world), wanted)) == ""
    assert world.stores.journal.running("rain") == []
    assert len(orphans) == sum(".saved" in place for place in failpoints)
    assert (set(gone), unregistered(world)) == (orphans, set())
