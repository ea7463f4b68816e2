"""Retention: what leaves the prediction log, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring.loop.retention import add_up_old_counts, forget_old_rows
from tests.conftest import Once
from tests.monitoring.world import DAY_US, MODEL_FILE, World, make_world, weather
from tests.service.counting import counted_rows
from training.clock import from_us


@pytest.fixture
def world(tmp_path: Path, once: Once) -> Iterator[World]:
    made = make_world(tmp_path, once=once)
    yield made
    made.close()


def test_rows_that_arrived_longer_ago_than_the_retention_leave_the_log(world: World) -> None:
    world.answer(weather(1, 60, 9))
    before = world.stores.log.count("rain")
    arrivals = from_us(5) + world.spec.retention.log  # the record of day d arrived d - 60 microseconds after 1970

    gone = forget_old_rows(world.stores, world.spec, arrivals)

    assert gone == before * 5 // 9
    assert world.stores.log.first_event("rain", arrived_since_us=0) == 65 * 86_400_000_000


def test_counts_stay_equal_to_rows(world: World) -> None:
    world.log(weather(1, 60, 1).slice(3, 12))  # the first row kept lies inside its bucket
    world.log(weather(1, 61, 2))

    forget_old_rows(world.stores, world.spec, from_us(0) + timedelta(days=1))
    forget_old_rows(world.stores, world.spec, from_us(1) + world.spec.retention.log)

    assert counted_rows(world.stores.log, "rain") == world.stores.log.count("rain") > 0


def test_young_rows_stay(world: World) -> None:
    world.answer(weather(1, 60, 2))

    gone = forget_old_rows(world.stores, world.spec, from_us(0) + timedelta(days=1))

    assert gone == 0


def test_an_empty_log_is_left_alone(world: World) -> None:
    assert forget_old_rows(world.stores, world.spec, world.machine_now) == 0


def test_old_counts_become_those_of_days_and_windows_stay_as_they_were(tmp_path: Path, once: Once) -> None:
    world = make_world(tmp_path, MODEL_FILE.replace("bucket: 1d", "bucket: 2h"), once=once)
    world.answer(weather(1, 60, 26), labelled=False)
    bins, windows = world.stores.load("rain", world.champion).reference.bins, world.stores.windows(world.spec)
    world.settle(world.monitor())
    before = windows.profile(bins, 63 * DAY_US, 77 * DAY_US, 77 * DAY_US).to_dict()

    gone = add_up_old_counts(world.stores, world.spec)

    assert gone > 50
    assert add_up_old_counts(world.stores, world.spec) == 0
    assert windows.profile(bins, 63 * DAY_US, 77 * DAY_US, 77 * DAY_US).to_dict() == before
    forget_old_rows(world.stores, world.spec, from_us(3) + world.spec.retention.log)
    assert counted_rows(world.stores.log, "rain") == world.stores.log.count("rain") > 0
    world.close()
