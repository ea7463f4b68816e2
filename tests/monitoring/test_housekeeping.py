"""Retention: what leaves the prediction log, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring.housekeeping import forget_old_rows
from tests.monitoring.world import World, make_world, weather
from training.clock import from_us


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
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

    assert world.stores.log.counted_rows("rain") == world.stores.log.count("rain") > 0


def test_young_rows_stay(world: World) -> None:
    world.answer(weather(1, 60, 2))

    gone = forget_old_rows(world.stores, world.spec, from_us(0) + timedelta(days=1))

    assert gone == 0


def test_an_empty_log_is_left_alone(world: World) -> None:
    assert forget_old_rows(world.stores, world.spec, world.machine_now) == 0
