"""What small models learn from the labels of some rows alone."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.judging.labels.agreement import Agreement
from monitoring.judging.labels.unlearnable import Batch
from monitoring.performance.quick_models import QuickModels, reached
from tests.monitoring.world import DAY_US, MODEL_FILE, World, weather
from training.model_file.model_spec import parse_spec
from training.schema.rows import Rows

SPEC = parse_spec(MODEL_FILE)
NUMBERS = parse_spec(MODEL_FILE.replace('task: binary\n  positive: "yes"', "task: regression").replace("log_loss", "mae"))
CLOUDY = weather(1, 0, 7)


def with_labels(rows: Rows, labels: np.ndarray) -> Rows:
    return Rows(rows.columns, labels, rows.time_us)


def test_what_hangs_on_columns_is_learned_half_by_half_and_from_one_batch_for_another() -> None:
    opposite = weather(2, 7, 7, flipped_from=0)

    assert reached(SPEC, CLOUDY, None, None) == pytest.approx(0.6, abs=0.15)
    assert reached(SPEC, CLOUDY, weather(2, 7, 7), None) == pytest.approx(0.6, abs=0.15)
    assert reached(SPEC, CLOUDY, opposite, None) == pytest.approx(-0.6, abs=0.15)


def test_numbers_are_learned_on_a_scale_on_which_far_ones_count_for_little() -> None:
    numbers = np.nan_to_num(CLOUDY.columns["cloud"])
    far = with_labels(CLOUDY, np.where(np.arange(len(CLOUDY)) == 5, 1e6, numbers))

    assert reached(NUMBERS, with_labels(CLOUDY, numbers), None, (-0.5, 0.5)) == pytest.approx(1.0, abs=0.05)
    assert reached(NUMBERS, far, with_labels(CLOUDY, numbers), (-0.5, 0.5)) is not None


def test_any_labels_teach_nothing_and_those_of_one_class_cannot_be_fitted() -> None:
    mixed = with_labels(CLOUDY, np.random.default_rng(3).permutation(CLOUDY.labels))
    alike = with_labels(CLOUDY, np.full(len(CLOUDY), "no", dtype=object))

    assert reached(SPEC, mixed, None, None) == pytest.approx(0.0, abs=0.2)
    assert reached(SPEC, alike, None, None) is None
    assert reached(SPEC, CLOUDY.take(slice(0, 0)), None, None) is None


def test_rows_of_a_batch_come_from_the_log_of_very_many_some_of_all_its_time_and_what_they_teach_is_kept(world: World) -> None:
    world.answer(weather(1, 60, 30))
    models = QuickModels(world.stores, world.spec, 90 * DAY_US, (), None)
    few, many = (Batch(60 * DAY_US, 89 * DAY_US, Agreement(n)) for n in (1_160, 10_000))

    one, other = models.reached(few, few), models.reached(many, many)

    assert (one, other) == (pytest.approx(0.6, abs=0.15), pytest.approx(0.6, abs=0.2))
    assert one != other
    assert list(world.stores.learned.values()) == [one, other]
