"""A request is answered by what it brought about, and by nothing that was there before."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring.admin.requests import Answered, ask
from monitoring.admin.workbench import Workbench
from monitoring.errors import MonitorRequestError
from monitoring.journal.tables import CHECK, RETRAIN, Request
from monitoring.loop.tick import Watch, tick
from tests.conftest import Once
from tests.monitoring.world import World, make_world, weather
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def world(tmp_path: Path, once: Once) -> Iterator[World]:
    """A home with three days of traffic: too few rows for a gate."""
    made = make_world(tmp_path, once=once)
    made.machine_now = datetime.now(UTC)
    made.answer(weather(1, 60, 3))
    yield made
    made.close()


def ask_while(
    world: World, watch: Watch, meanwhile: Callable[[Request], object], kind: str, wait_seconds: float = PATIENCE_SECONDS
) -> Answered:
    """Ask a monitor that leads, and do something once the request waits."""
    assert watch.leadership.lead(datetime.now(UTC)) is not None

    def act() -> None:
        while not (waiting := world.stores.journal.requests("rain")):
            pass
        meanwhile(waiting[0])

    monitor = threading.Thread(target=act)
    monitor.start()
    bench = Workbench({"EVERGREEN_HOME": str(world.stores.home.path)})
    try:
        return ask(bench, "rain", kind, "just so", wait_seconds=wait_seconds)
    finally:
        monitor.join()
        bench.close()


@pytest.fixture
def watch(world: World) -> Watch:
    made = world.monitor()
    world.settle(made)
    return made


def test_a_retraining_is_not_answered_by_a_look_that_was_asked_for_before(world: World, watch: Watch) -> None:
    ask_while(world, watch, lambda request: tick(watch, datetime.now(UTC)), CHECK)
    slot_us = next(iter(world.stores.journal.runs("rain", CHECK))).slot_us
    turn = watch.leadership.lead(datetime.now(UTC))
    assert turn is not None

    def take(request: Request) -> None:
        world.stores.journal.take_request(turn, request.id, f"rain.retrain.{slot_us}")

    with pytest.raises(MonitorRequestError, match=r"no answer after 0\.5 s"):
        ask_while(world, watch, take, RETRAIN, 0.5)


def test_a_retraining_that_is_held_back_is_answered_with_its_own_verdict(world: World, watch: Watch) -> None:
    looked = ask_while(world, watch, lambda request: tick(watch, datetime.now(UTC)), CHECK)
    answered = ask_while(world, watch, lambda request: tick(watch, datetime.now(UTC)), RETRAIN)

    assert answered.model_time == looked.model_time
    assert answered.done == ""
    assert "just so" in answered.reasons[0]
    assert any("the gate needs" in reason for reason in answered.reasons)
