"""The loop on a real log, registry and journal: what it does at each slot, once, and what it leaves alone."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from monitoring.child import read_training_rows
from monitoring.journal import RETRAIN, TICK
from monitoring.loop import ATTEMPTS, tick
from monitoring.plan import Plan, make_plan
from tests.monitoring.world import DAY_US, MODEL_FILE, World, make_world, weather

DIES = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
HANGS = (sys.executable, "-c", "import time; time.sleep(600)")
NOTIFIES = MODEL_FILE.replace("act: auto", "act: notify")
ON_LABELS = MODEL_FILE.replace("cool_down: 14d", "cool_down: 14d\n  min_new_labels: 250\n  on_performance: false")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def one(**options: object) -> World:
        made.append(make_world(tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for world in made:
        world.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


def test_a_quiet_stream_is_kept_slot_by_slot(world: World) -> None:
    watch = world.monitor()

    world.answer(weather(1, 60, 36))
    world.settle(watch)

    assert world.verdicts() == ["keep"] * 5
    assert [r.slot_us // DAY_US for r in reversed(world.stores.journal.runs("rain", TICK))] == [63, 70, 77, 84, 91]
    assert world.actions() == ["promote"]


def test_a_slot_is_judged_once_however_often_the_clock_ticks(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 11))
    world.settle(watch)
    runs = world.stores.journal.runs("rain")

    world.settle(watch)

    assert world.stores.journal.runs("rain") == runs


def test_a_changed_world_is_learned_and_the_challenger_promoted(world: World) -> None:
    watch = world.monitor()
    first = world.champion

    world.answer(weather(1, 60, 45, flipped_from=67))
    world.settle(watch)

    assert "retrain" in world.verdicts()
    assert world.actions()[:2] == ["promote", "promote"] or "refuse" in world.actions()
    assert world.champion != first
    assert world.stores.journal.probation("rain") is not None


def test_the_gate_judges_rows_that_neither_has_seen(world: World) -> None:
    world.answer(weather(1, 60, 22))
    slot_us = 77 * DAY_US

    plan = make_plan(world.stores, world.spec, world.champion, slot_us, "performance", (), None)
    assert plan is not None
    rows = read_training_rows(world.stores, world.spec, plan)

    assert int(rows.time_us[-1]) < plan.gate_start_us
    assert plan.gate_rows == 200
    assert plan.gate_end_us == 76 * DAY_US
    assert len(np.unique(rows.time_us)) == len(rows)


def test_a_worse_challenger_is_refused_and_the_refusal_is_in_the_ledger(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    watch = world.monitor()
    first = world.champion

    world.answer(weather(1, 60, 18))
    world.settle(watch)

    assert world.verdicts() == ["keep", "retrain", "watch"]
    assert world.actions() == ["promote", "refuse"]
    assert world.champion == first


def test_a_stuck_column_is_quarantined_and_never_learned(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    rows = weather(1, 60, 18)
    stuck = (rows.time_us >= 65 * DAY_US) & (rows.time_us < 67 * DAY_US)
    rows.columns["cloud"][stuck] = 0.25

    world.answer(rows)
    world.settle(world.monitor())

    spans = world.stores.journal.quarantines("rain")
    assert [(q.start_us // DAY_US, q.end_us // DAY_US) for q in spans] == [(64, 68)]
    assert world.verdicts()[1] == "quarantine"
    run = world.stores.journal.runs("rain", RETRAIN)[0]
    learned = read_training_rows(world.stores, world.spec, Plan.from_dict(run.payload))
    assert len(learned.between(64 * DAY_US, 68 * DAY_US)) == 0
    assert len(learned.between(60 * DAY_US, 64 * DAY_US)) > 0


def test_notify_says_what_it_would_do_and_does_nothing(make: Callable[..., World]) -> None:
    world = make(model_file=NOTIFIES)
    first = world.champion
    rows = weather(1, 60, 45, flipped_from=67)
    rows.columns["cloud"][rows.time_us >= 100 * DAY_US] = 0.25

    world.answer(rows)
    world.settle(world.monitor())

    assert world.stores.journal.runs("rain", RETRAIN) == []
    assert world.stores.journal.quarantines("rain") == []
    assert world.champion == first
    said = [v.reasons[0] for v in world.stores.journal.verdicts("rain")]
    assert any(s.startswith("would retrain") for s in said)


def test_a_paused_model_is_judged_and_left_alone(world: World) -> None:
    world.stores.registry.set_paused("rain", True, "person", "holiday")

    world.answer(weather(1, 60, 45, flipped_from=67))
    world.settle(world.monitor())

    assert world.stores.journal.runs("rain", RETRAIN) == []
    assert "watch" in world.verdicts()


def test_a_killed_child_leaves_the_champion_and_a_failed_run(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    first = world.champion

    world.answer(weather(1, 60, 18))
    world.settle(world.monitor(command=DIES))

    run = world.stores.journal.runs("rain", RETRAIN)[0]
    assert run.state == "failed"
    assert "code -9" in (run.error or "")
    assert world.champion == first
    assert world.actions() == ["promote", "failed"]


def test_a_child_that_takes_too_long_is_killed(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    watch = world.monitor(command=HANGS)
    world.answer(weather(1, 60, 18))
    for _ in range(5):
        tick(watch, world.machine_now)

    world.machine_now += timedelta(hours=2)
    world.settle(watch)

    run = world.stores.journal.runs("rain", RETRAIN)[0]
    assert run.state == "failed"
    assert "took longer" in (run.error or "")


def test_the_cool_down_counts_in_model_time(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS.replace("min_new_labels: 250", "min_new_labels: 1"))

    world.answer(weather(1, 60, 32))
    world.settle(world.monitor(command=DIES))

    slots = [r.slot_us // DAY_US for r in reversed(world.stores.journal.runs("rain", RETRAIN))]
    assert slots == [70, 84]


def test_the_budget_counts_in_machine_time(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS.replace("min_new_labels: 250", "min_new_labels: 1").replace("per_week: 3", "per_week: 1"))
    watch = world.monitor(command=DIES)

    world.answer(weather(1, 60, 32))
    world.settle(watch)
    world.machine_now += timedelta(days=8)
    world.answer(weather(1, 92, 7))
    world.settle(watch)

    slots = [r.slot_us // DAY_US for r in reversed(world.stores.journal.runs("rain", RETRAIN))]
    assert slots == [70, 98]


def test_of_two_monitors_one_acts(world: World) -> None:
    one, two = world.monitor("one"), world.monitor("two")
    world.answer(weather(1, 60, 11))

    assert tick(one, world.machine_now)
    assert not tick(two, world.machine_now)


def test_another_monitor_takes_over_what_a_dead_one_left(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    dead, heir = world.monitor("dead", command=HANGS), world.monitor("heir")
    world.answer(weather(1, 60, 18))
    while not world.stores.journal.runs("rain", RETRAIN):
        tick(dead, world.machine_now)

    world.machine_now += timedelta(minutes=1)
    world.settle(heir)

    run = world.stores.journal.runs("rain", RETRAIN)[0]
    assert (run.state, run.attempt) == ("done", 2)
    assert world.actions() == ["promote", "refuse"]
    assert not tick(dead, world.machine_now)


def test_a_monitor_that_lost_the_lease_promotes_nothing(world: World) -> None:
    slow, quick = world.monitor("slow"), world.monitor("quick")
    guard = slow.leadership.lead(world.machine_now)
    quick.leadership.lead(world.machine_now + timedelta(minutes=1))
    other = world.train(weather(5, 0, 20))

    with pytest.raises(Exception, match="lease monitor"):
        world.stores.registry.promote("rain", other, expected=world.champion, who="slow", why="late", guard=guard)

    assert world.champion != other


def test_a_bad_promotion_by_force_is_rolled_back(world: World) -> None:
    watch = world.monitor()
    good = world.champion
    world.answer(weather(1, 60, 9))
    world.settle(watch)
    bad = world.train(weather(3, 0, 60, flipped_from=0))
    world.stores.registry.promote("rain", bad, expected=good, who="person", why="I know better", force=True, now=world.machine_now)

    world.answer(weather(1, 69, 20))
    world.settle(watch)

    assert "roll_back" in world.verdicts()
    assert world.actions() == ["promote", "promote", "rollback"]
    assert world.champion == good
    assert world.stores.journal.probation("rain") is None


def test_a_good_promotion_passes_its_probation(world: World) -> None:
    watch = world.monitor()
    first = world.champion
    world.answer(weather(1, 60, 9))
    world.settle(watch)
    other = world.train(weather(4, 0, 61))
    world.stores.registry.promote("rain", other, expected=first, who="person", why="newer", now=world.machine_now)

    world.answer(weather(1, 69, 20))
    world.settle(watch)

    assert world.champion == other
    assert world.stores.journal.probation("rain") is None
    assert "roll_back" not in world.verdicts()


def test_a_person_may_ask_for_a_retraining(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 13))
    world.settle(watch)

    world.stores.journal.add_request("rain", "retrain", who="person", machine_now=world.machine_now)
    world.settle(watch)

    assert len(world.stores.journal.runs("rain", RETRAIN)) == 1
    assert world.stores.journal.requests("rain") == []
    assert world.actions() == ["promote", "refuse"]


def test_a_look_by_hand_acts_on_nothing(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 13, flipped_from=60))
    world.settle(watch)
    verdicts = len(world.verdicts())

    world.stores.journal.add_request("rain", "check", who="person", machine_now=world.machine_now)
    world.settle(watch)

    assert len(world.verdicts()) == verdicts + 1
    assert world.stores.journal.verdicts("rain")[0].reasons[0] == "asked for by person"


def test_what_was_found_is_on_the_gauges(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 22))
    world.settle(watch)
    value = watch.metrics.registry.get_sample_value

    assert value("evergreen_scheduler_is_leader") == 1
    assert value("evergreen_verdict", {"model": "rain", "verdict": "keep"}) == 1
    assert value("evergreen_drift_score", {"model": "rain", "feature": "cloud", "test": "psi"}) is not None
    assert value("evergreen_quality", {"model": "rain", "metric": "log_loss", "window": "current"}) is not None


def test_a_row_with_a_clock_that_stands_at_1970_opens_no_slots(world: World) -> None:
    watch = world.monitor()
    world.log(weather(2, 1, 1))
    world.answer(weather(1, 60, 9))

    world.settle(watch)

    assert [run.slot_us for run in world.stores.journal.runs("rain", TICK)] == [63 * DAY_US]


def test_a_slot_that_fails_is_tried_again_and_its_buckets_are_looked_at_by_the_next(world: World) -> None:
    watch = world.monitor()
    rows = weather(1, 60, 20)
    stuck = (rows.time_us >= 64 * DAY_US) & (rows.time_us < 66 * DAY_US)
    rows.columns["cloud"][stuck] = 0.25
    world.answer(rows.between(60 * DAY_US, 64 * DAY_US))
    world.settle(watch)
    world.answer(rows.between(64 * DAY_US, 72 * DAY_US))

    world.fail_slot(watch, ATTEMPTS)
    failed = world.stores.journal.runs("rain", TICK, limit=1)
    world.answer(rows.between(72 * DAY_US, 80 * DAY_US))
    world.settle(watch)

    assert [(run.slot_us, run.state, run.attempt) for run in failed] == [(70 * DAY_US, "failed", ATTEMPTS)]
    assert any(q.start_us <= 64 * DAY_US and q.end_us >= 66 * DAY_US for q in world.stores.journal.quarantines("rain"))
