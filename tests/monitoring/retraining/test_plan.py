"""What a run may learn from, and what the gate keeps."""

import numpy as np

from monitoring.log_windows import Range
from monitoring.loop.label_counts import read_cohorts
from monitoring.retraining.plan import Plan, make_plan
from monitoring.retraining.training_process import read_training_rows
from tests.monitoring.world import DAY_US, World, weather
from training.json_text import from_text, to_text


def test_the_gate_judges_rows_that_neither_has_seen(world: World) -> None:
    world.answer(weather(1, 60, 22))
    cohorts = read_cohorts(world.stores, world.spec, world.champion, 77 * DAY_US)

    plan = make_plan(world.stores, world.spec, world.champion, cohorts, "performance", (), None)
    assert plan is not None
    rows = read_training_rows(world.stores, world.spec, plan)

    assert int(rows.time_us[-1]) < plan.gate_start_us
    assert (world.stores.windows(world.spec).labelled_times(plan.gate_start_us, plan.gate_end_us, plan.known_by_us, ()) > 0).sum() == 200
    assert plan.gate_end_us == 76 * DAY_US
    assert len(np.unique(rows.time_us)) == len(rows)


def test_rows_without_a_label_are_read_for_the_reference_unless_they_came_after_the_slot(world: World) -> None:
    rows = weather(1, 60, 22)
    world.answer(rows.between(0, 70 * DAY_US))
    world.answer(weather(2, 60, 5), labelled=False)
    world.answer(rows.between(70 * DAY_US, 82 * DAY_US))
    cohorts = read_cohorts(world.stores, world.spec, world.champion, 77 * DAY_US)
    plan = make_plan(world.stores, world.spec, world.champion, cohorts, "performance", (), None)
    assert plan is not None
    before = read_training_rows(world.stores, world.spec, plan)

    world.answer(weather(3, 60, 5), labelled=False)

    assert len(before) - before.is_labelled.sum() >= 200
    assert read_training_rows(world.stores, world.spec, plan).time_us.tolist() == before.time_us.tolist()


def test_a_plan_of_an_earlier_release_is_read() -> None:
    plan = Plan("rain", 7, "performance", "v1", None, 0, 5, 5, 6, 6, (Range(1, 2),), "rain.tick.7")

    stored = from_text(to_text({**plan.to_dict(), "gate_rows": 200}))

    assert Plan.from_dict(stored) == plan
    assert "gate_rows" not in plan.to_dict()
