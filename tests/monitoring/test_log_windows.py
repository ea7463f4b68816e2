"""Which rows have matured, as of a moment of model time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from monitoring.log_windows import Windows
from tests.conftest import Once
from tests.monitoring.world import DAY_US, World, make_world, weather
from training.policies import LabelPolicy
from training.schema.rows import Rows

BASE_US = 60 * DAY_US


@pytest.fixture
def world(tmp_path: Path, once: Once) -> Iterator[World]:
    made = make_world(tmp_path, once=once)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("delay", "delay_rows", "times", "end"),
    [
        pytest.param(timedelta(microseconds=25), None, [10, 20, 30, 40], 16, id="by time"),
        pytest.param(None, 1, [10, 30, 30], 30, id="one newer row, a tie with it"),
        pytest.param(None, 2, [10, 20, 30, 40], 30, id="two newer rows"),
        pytest.param(None, 3, [10, 20, 30, 40], 20, id="three newer rows"),
        pytest.param(None, 4, [10, 20, 30, 40], 10, id="no row has four newer ones"),
        pytest.param(None, 0, [10, 20, 30, 40], 41, id="no delay"),
    ],
)
def test_rows_mature_by_time_or_by_the_rows_after_them(
    world: World, delay: timedelta | None, delay_rows: int | None, times: list[int], end: int
) -> None:
    some = weather(1, 60, 1).slice(0, len(times))
    world.log(Rows(some.columns, some.target, BASE_US + np.array(times)))
    stores = world.stores
    windows = Windows(stores.database, stores.log, "rain", world.spec.schema, LabelPolicy(delay=delay, delay_rows=delay_rows))

    assert windows.matured_end(BASE_US + 41) == BASE_US + end
