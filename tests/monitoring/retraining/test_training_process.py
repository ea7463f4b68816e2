"""A training child that dies, or takes too long, leaves the champion."""

import time
from collections.abc import Callable
from datetime import timedelta

from monitoring.journal.tables import RETRAIN
from monitoring.loop.tick import tick
from tests.monitoring.world import DIES, HANGS, ON_LABELS, World, weather


def test_a_killed_child_leaves_the_champion_and_a_failed_run(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    first = world.champion

    world.answer(weather(1, 60, 18))
    world.settle(world.monitor(command=DIES))

    run = world.stores.journal.runs("rain", RETRAIN)[0]
    assert run.state == "failed"
    assert "code -9" in (run.error or "")
    assert world.generation == first
    assert world.actions() == ["promote", "failed"]


def test_a_child_that_takes_too_long_is_killed(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    watch = world.monitor(command=HANGS)
    world.answer(weather(1, 60, 18))
    for hours in (0, 0, 0, 72, -72):  # the clock is set, which makes no child older
        tick(watch, world.machine_now + timedelta(hours=hours))
    before = world.stores.journal.runs("rain", RETRAIN)[0]

    watch.retraining.children.monotonic = lambda: time.monotonic() + 7200
    world.settle(watch)

    run = world.stores.journal.runs("rain", RETRAIN)[0]
    assert (before.state, run.state) == ("running", "failed")
    assert "took longer" in (run.error or "")
