"""Two monitors as processes on one home: whatever happens to them and to their clocks, one acts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring.journal.leases import MONITOR
from monitoring.journal.tables import TICK, Run
from tests.conftest import Once
from tests.monitoring.watched import Watched, build_clock, end_lease
from tests.monitoring.world import World, make_world, weather
from tests.patience import until
from training.clock import to_us

Start = Callable[..., Watched]
needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc), so no clock of one process that can be set")


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    made = make_world(tmp_path, database_url=database_url)
    made.arrived_us = to_us(datetime.now(UTC))
    yield made
    made.close()


@pytest.fixture
def start(world: World, tmp_path: Path, once: Once) -> Iterator[Start]:
    """Return a function that starts a monitor of the home; those with one clock share its name."""
    started: list[Watched] = []

    def one(clock: str | None = None) -> Watched:
        shim = None if clock is None else once("clock", build_clock)
        step = tmp_path / (clock or f"monitor-{len(started)}")
        started.append(Watched.start(world.stores.home, world.stores.database.url, step, shim))
        return started[-1]

    yield one
    for monitor in started:
        monitor.kill()


def slots(world: World) -> list[Run]:
    """Return the slots, the earliest first."""
    return list(reversed(world.stores.journal.runs("rain", TICK)))


def judge(world: World, first_day: int, days: int, in_all: int) -> None:
    """Let some days pass, and wait until the slots they end are judged."""
    world.answer(weather(1, first_day, days))
    until(lambda: [run.state for run in slots(world)] == ["done"] * in_all, f"{in_all} slots are judged")


@pytest.mark.parametrize("database_url", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True)
def test_a_monitor_that_was_stopped_or_killed_is_replaced_and_acts_no_more(world: World, start: Start) -> None:
    one = start()
    until(one.leads, "the first one leads")
    two = start()
    two.tick_twice()
    judge(world, 60, 11, in_all=2)

    one.stop_between_writes(world.stores.database)
    end_lease(world.stores.database)
    until(two.leads, "the second one leads while the first is stopped")
    judge(world, 71, 15, in_all=4)
    one.go_on()
    until(lambda: not one.leads(), "the first one hears that it leads no more")
    one.tick_twice()
    after_a_stop = one.leads(), two.leads()

    two.kill()
    end_lease(world.stores.database)
    until(one.leads, "the first one leads when the second was killed")
    judge(world, 86, 10, in_all=5)

    assert after_a_stop == (False, True)
    assert [(run.token, run.attempt) for run in slots(world)] == [(1, 1), (1, 1), (2, 1), (2, 1), (3, 1)]
    assert len(world.verdicts()) == 5


@needs_a_compiler
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_on_a_server_monitors_whose_clocks_are_wrong_by_hours_neither_lead_together_nor_lose_the_lease(world: World, start: Start) -> None:
    one, two = start("one"), start("two")
    until(lambda: one.leads() or two.leads(), "one of them leads")
    leader, other = (one, two) if one.leads() else (two, one)
    began = world.stores.journal.lease(MONITOR)

    seen = []
    for hours in (-5, 5, 72, -72):
        leader.step.write_text(str(hours * 3600))
        other.step.write_text(str(-hours * 3600))
        leader.tick_twice(near=hours)
        other.tick_twice(near=-hours)
        seen.append((leader.leads(), other.leads()))
    lease = world.stores.journal.lease(MONITOR)
    leader.kill()
    end_lease(world.stores.database)
    until(other.leads, "the other one leads when the first was killed")

    assert seen == [(True, False)] * 4
    assert began is not None
    assert lease is not None
    assert (lease.holder, lease.token) == (began.holder, began.token)


@needs_a_compiler
@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_on_one_machine_whose_clock_is_set_one_of_two_monitors_acts(world: World, start: Start) -> None:
    one, two = start("machine"), start("machine")
    until(lambda: one.leads() or two.leads(), "one of them leads")

    leaders = []
    for place, hours in enumerate((1, -1, 72, -72)):
        one.step.write_text(str(hours * 3600))
        for monitor in (one, two):
            monitor.tick_twice(near=hours)
        judge(world, 60 + 7 * place, 7, in_all=1 + place)
        leaders.append([one.leads(), two.leads()].count(True))

    assert leaders == [1] * 4
    assert [run.slot_us for run in slots(world)] == sorted({run.slot_us for run in slots(world)})
    assert len(world.verdicts()) == 4
