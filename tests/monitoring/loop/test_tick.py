"""The loop on a real log, registry and journal: what it does at each slot, once, and what it leaves alone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.journal.tables import CHECK, RETRAIN, TICK
from monitoring.loop.tick import ATTEMPTS, Watch, tick
from monitoring.retraining.plan import Plan
from monitoring.retraining.retraining import CLOCK
from monitoring.retraining.training_process import read_training_rows
from tests.monitoring.world import DAY_US, DIES, HANGS, MODEL_FILE, ON_LABELS, World, weather
from training.clock import from_us
from training.model_file.model_spec import ModelSpec, parse_spec
from training.registry.tables import Cause

NOTIFIES = MODEL_FILE.replace("act: auto", "act: notify")


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


def test_slots_that_were_taken_back_are_judged_again_with_the_retraining_they_ask_for(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    watch = world.monitor(command=DIES)
    world.answer(weather(1, 60, 18))
    world.settle(watch)
    once, end = [r.slot_us for r in world.stores.journal.runs("rain")], world.stores.log.watermark("rain") or 0

    back = 68 * DAY_US
    world.stores.log.set_watermark("rain", back)
    world.stores.journal.take_back("rain", back)
    world.stores.registry.record("rain", CLOCK, cause=Cause("me", "", {"model_time": from_us(back).isoformat()}), now=world.machine_now)
    world.settle(watch)
    between = [r.slot_us // DAY_US for r in world.stores.journal.runs("rain")]
    world.stores.log.set_watermark("rain", end)
    world.settle(watch)

    assert between == [63]
    assert [r.slot_us for r in world.stores.journal.runs("rain")] == once
    assert world.actions() == ["promote", "failed", "failed"]


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


def test_a_fault_that_goes_on_is_one_span_that_is_asked_about_and_counts_once_released(make: Callable[..., World]) -> None:
    world, watch = make(model_file=ON_LABELS), None
    rows = weather(1, 60, 40)
    rows.columns["cloud"][rows.time_us >= 65 * DAY_US] = 0.25
    watch = world.monitor()
    world.answer(rows.between(60 * DAY_US, 91 * DAY_US))
    world.settle(watch)
    journal = world.stores.journal

    (one,) = journal.quarantines("rain")
    slots = {v.slot_us // DAY_US: v for v in journal.verdicts("rain")}
    last = max(slots)
    assert one.start_us == 64 * DAY_US
    assert one.end_us // DAY_US == last + 1
    name = "1970-03-06T00:00"
    asking = [slot for slot, v in slots.items() if f"evergreen quarantine release {name}" in " ".join(v.reasons)]
    assert sorted(asking) == [slot for slot in sorted(slots) if slot >= 64 + 7]

    assert journal.release_quarantine(one, 5, "ann", "so it is now")
    world.answer(rows.between(91 * DAY_US, 100 * DAY_US))
    world.settle(watch)

    newest = journal.verdicts("rain")[0]
    assert newest.slot_us // DAY_US > last
    assert newest.verdict != "quarantine"
    assert journal.quarantines("rain") == []
    (kept,) = journal.quarantines("rain", released=True)
    assert kept.end_us >= newest.slot_us


def test_notify_says_what_it_would_do_and_does_nothing(make: Callable[..., World]) -> None:
    world = make(model_file=NOTIFIES)
    first = world.champion
    rows = weather(1, 60, 45, flipped_from=67)
    rows.columns["cloud"][(rows.time_us >= 92 * DAY_US) & (rows.time_us < 94 * DAY_US)] = 0.25

    world.answer(rows)
    world.settle(world.monitor())

    assert world.verdicts() == ["keep", "keep", "watch", "watch", "watch", "quarantine"]
    assert world.stores.journal.verdicts("rain")[1].reasons[0].startswith("would retrain: log_loss")
    assert world.stores.journal.runs("rain", RETRAIN) == []
    assert world.stores.journal.quarantines("rain") == []
    assert (world.champion, world.actions()) == (first, ["promote"])


def test_a_paused_model_is_judged_and_left_alone(world: World) -> None:
    world.stores.registry.set_paused("rain", True, Cause("person", "holiday"))

    world.answer(weather(1, 60, 45, flipped_from=67))
    world.settle(world.monitor())

    assert world.verdicts() == ["keep", "keep", "watch", "watch", "watch", "watch"]
    assert world.stores.journal.verdicts("rain")[0].reasons[0].startswith("would retrain: log_loss")
    assert world.stores.journal.runs("rain", RETRAIN) == []
    assert world.actions() == ["promote"]


def test_the_cool_down_counts_in_model_time(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS.replace("min_new_labels: 250", "min_new_labels: 1"))

    world.answer(weather(1, 60, 32))
    world.settle(world.monitor(command=DIES))

    slots = [r.slot_us // DAY_US for r in reversed(world.stores.journal.runs("rain", RETRAIN))]
    assert slots == [70, 84]
    assert world.messages() == ["retraining_failure.began"]  # one, for both
    assert world.actions() == ["promote", "failed", "failed"]


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
    turn = slow.leadership.lead(world.machine_now)
    assert turn is not None
    quick.leadership.lead(world.machine_now + timedelta(minutes=1))
    other = world.train(weather(5, 0, 20))

    with pytest.raises(Exception, match="lease monitor"):
        world.stores.registry.promote("rain", other, expected=world.champion, cause=Cause("slow", "late"), guard=turn.guard)

    assert world.champion != other


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
    verdicts, carry, actions = len(world.verdicts()), world.stores.journal.carry("rain"), world.actions()

    world.stores.journal.add_request("rain", "check", who="person", machine_now=world.machine_now)
    world.settle(watch)

    assert len(world.verdicts()) == verdicts + 1
    assert world.stores.journal.verdicts("rain")[0].reasons[0] == "asked for by person"
    assert world.stores.journal.carry("rain") == carry
    assert [run.state for run in world.stores.journal.runs("rain", CHECK)] == ["done"]
    assert world.actions() == actions


def shown(watch: Watch) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a monitor shows of its model, gauges and counters, but that no machine time has passed."""
    samples = [sample for family in watch.metrics.registry.collect() for sample in family.samples if "model" in sample.labels]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def test_a_new_leader_shows_what_the_one_before_it_did_and_those_that_do_not_lead_show_nothing(world: World) -> None:
    watch = world.monitor()
    world.answer(weather(1, 60, 24))
    world.settle(watch)
    world.stores.journal.add_request("rain", "check", who="ann", machine_now=world.machine_now)
    world.settle(watch)  # a look by hand is no slot

    before = shown(watch)
    again, waiting = world.monitor("two"), world.monitor("three")
    watch.leadership.step_down()
    world.settle(again)
    world.settle(waiting)

    assert shown(again) == before
    assert again.metrics.registry.get_sample_value("evergreen_verdict", {"model": "rain", "verdict": "keep"}) == 1
    assert [shown(watch), shown(waiting)] == [{}, {}]


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
    assert [(q.start_us // DAY_US, q.end_us // DAY_US) for q in world.stores.journal.quarantines("rain")] == [(63, 67)]


@pytest.mark.parametrize("error", [ValueError("so not"), SystemExit(3), MemoryError()], ids=["ValueError", "SystemExit", "MemoryError"])
def test_whatever_one_model_raises_the_models_behind_it_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    world.stores.registry.put_model(parse_spec("model: abacus\nschema: {target: y, task: regression, features: {a: numeric}}\n"))
    watch = world.monitor()
    seen: list[str] = []

    def steps(_watch: object, _turn: object, spec: ModelSpec) -> bool:
        seen.append(spec.model)
        if spec.model == "abacus":
            raise error
        return False

    monkeypatch.setattr("monitoring.loop.tick.step", steps)
    tick(watch, datetime.now(UTC))

    assert seen == ["abacus", "rain"]
    assert watch.metrics.registry.get_sample_value("evergreen_scheduler_tick_failures_total", {"model": "abacus"}) == 1
