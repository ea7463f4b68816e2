"""The loop driven through a table in this process: it answers with its champion, and its clock is the table's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import numpy as np
import pytest

from monitoring.backtest.driver import Driven, Driver
from monitoring.backtest.steps import Feedback, steps
from tests.conftest import Once
from tests.monitoring.world import DAY_US, MODEL_FILE, World, make_world, weather
from training.model_file.model_spec import parse_spec
from training.schema.rows import Rows

pytestmark = pytest.mark.xdist_group("driven")
Make = Callable[..., World]
EVERY_WEEK = MODEL_FILE.replace("cool_down: 14d", "cool_down: 7d\n  schedule: 7d\n  on_performance: false").replace("rows: 200", "rows: 80")
FLIPPED = weather(3, 60, 20, flipped_from=60)


def lived(world: World, rows: Rows, takes: timedelta = timedelta()) -> tuple[Driver, Driven]:
    """Drive the loop of a trained world through rows."""
    spec = parse_spec(EVERY_WEEK)
    world.stores.registry.put_model(spec)
    driver = Driver(world.stores, spec, takes)
    feedback = Feedback.by_policy(rows, spec.labels)
    return driver, driver.run(rows, steps(rows, spec, feedback), feedback)


@pytest.fixture(scope="module")
def changed(once: Once, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Driver, Driven]]:
    """What the loop made of rows in which clouds mean the opposite from the first on."""
    world = make_world(tmp_path_factory.mktemp("driven"), once=once)
    yield lived(world, FLIPPED)
    world.close()


def test_each_slot_that_a_row_has_passed_is_judged_once(changed: tuple[Driver, Driven]) -> None:
    _, driven = changed

    assert [slot.slot_us // DAY_US for slot in driven.slots] == [63, 70, 77]
    assert "promoted" in {slot.outcome for slot in driven.slots}


def test_every_row_has_the_answer_of_the_version_that_was_champion(changed: tuple[Driver, Driven]) -> None:
    driver, driven = changed

    versions = list(dict.fromkeys(driven.version.tolist()))
    places = [np.flatnonzero(driven.version == version) for version in versions]
    again = [driver.answer(FLIPPED.take(place), version) for place, version in zip(places, versions, strict=True)]

    assert len(versions) > 1
    for place, one in zip(places, again, strict=True):
        np.testing.assert_array_equal(driven.prediction.take(place).probability, one.probability)


def test_what_was_promoted_at_a_slot_answers_the_rows_after_its_first(changed: tuple[Driver, Driven]) -> None:
    _, driven = changed

    slot = next(slot for slot in driven.slots if slot.outcome == "promoted")
    first = int(FLIPPED.time_us[np.flatnonzero(driven.version == slot.champion)[0]])

    assert first == FLIPPED.time_us[FLIPPED.time_us > slot.slot_us][0]


def test_all_rows_and_their_labels_are_in_the_log(changed: tuple[Driver, Driven]) -> None:
    driver, _ = changed

    assert driver.stores.log.size("rain").rows == len(FLIPPED)


@pytest.mark.slow
def test_a_training_that_takes_two_days_answers_two_days_later(make: Make, changed: tuple[Driver, Driven]) -> None:
    slot = next(slot for slot in changed[1].slots if slot.outcome == "promoted")

    _, driven = lived(make(), FLIPPED.between(0, slot.slot_us + 5 * DAY_US), timedelta(days=2))

    first = int(FLIPPED.time_us[np.flatnonzero(driven.version == driven.slots[-1].champion)[0]])
    assert driven.slots[-1].outcome == "promoted"
    assert slot.slot_us + 2 * DAY_US <= first < slot.slot_us + 3 * DAY_US
