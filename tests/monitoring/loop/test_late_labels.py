"""Labels that come late, one class later than the other: nothing is learned, promoted or weighed by those that happen to be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.loop.label_counts import read_cohorts, thirds_of
from monitoring.stores import Stores
from service.prediction_log.labels import LabelRules
from service.prediction_log.prediction_log import PredictionLog
from tests.monitoring.world import DAY_US, MODEL_FILE, World, open_world, train_first, weather
from training.model_file.model_spec import ModelSpec
from training.profiles.reference import Reference
from training.schema.rows import Rows

FIRST, LAST, EARLY, LATE = 60, 120, 1, 30
LEARNS = MODEL_FILE.replace("budget: 2 fits", "budget: 2 fits, window: 45d").replace(
    "cool_down: 14d\n  budget_per_week: 3\n  gate: {rows: 200, min_train_rows: 100}",
    "cool_down: 7d\n  budget_per_week: 30\n  min_new_labels: 20\n  on_performance: false\n  gate: {rows: 40, min_train_rows: 50}",
)
Make = Callable[..., World]


def days_until_known(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return in how many days each label comes: an eighth is early, nine in ten of it of the one class."""
    rng = np.random.default_rng(11)
    is_early = rng.random(len(rows)) < np.where(rows.labels == "yes", 0.22, 0.025)
    return np.where(is_early, EARLY, LATE)


def replay(world: World, *, days: range, rest: range = range(0)) -> list[tuple[int, str, tuple[str, ...], Any]]:
    """Replay days whose labels come when they come, with a monitor that rests on some; return what it concluded."""
    rows, watch = weather(1, FIRST, LAST - FIRST), world.monitor()
    known = days_until_known(rows)
    for day in days:
        world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
        for late in (EARLY, LATE):
            due = (known == late) & (rows.time_us >= (day - late) * DAY_US) & (rows.time_us < (day - late + 1) * DAY_US)
            world.label(rows.take(due))
        if day not in rest:
            world.settle(watch)
    world.settle(watch)
    return [(v.slot_us // DAY_US, v.verdict, v.reasons, v.evidence) for v in reversed(world.stores.journal.verdicts("rain", limit=None))]


@pytest.fixture
def blind_world(make: Make) -> World:
    world = make(model_file=LEARNS)
    replay(world, days=range(FIRST, 80))
    return world


def test_an_eighth_of_the_labels_is_not_learned_from_and_the_slot_says_why(make: Make) -> None:
    world = make(model_file=LEARNS)

    slots = replay(world, days=range(FIRST, LAST))

    kinds = {slot: kind for slot, kind, _, _ in slots}
    assert [slot for slot, kind in kinds.items() if kind == "blind"] == [70, 77, 84, 91, 98]
    assert [one for one in world.messages() if one.startswith("blindness")] == ["blindness.began", "blindness.ended"]
    assert world.actions()[:1] == ["promote"]
    assert "promote" not in world.actions()[1:]
    first = next(reasons for slot, _, reasons, _ in slots if slot == 70)
    assert first[0] == (
        "blind: 16% of the 320 rows from 1970-03-03 00:00 on are labelled (of the lowest third of the score 5%); "
        "it ends when the missing labels come"
    )
    assert slots[-1][3]["cohorts"]["maturity_us"] >= LATE * DAY_US
    assert slots[-1][1:3] == ("retrain", ("280 new labels, the policy asks for 20",))


@pytest.mark.slow
def test_what_is_said_of_late_labels_does_not_depend_on_when_one_looks(make: Make) -> None:
    def replayed(rest: range) -> object:
        world = make(model_file=LEARNS)
        concluded = replay(world, days=range(FIRST, 105), rest=rest)
        world.close()
        return concluded

    whole = replayed(range(0))

    assert replayed(range(66, 104)) == whole
    assert replayed(range(72, 86)) == whole


def test_a_blind_slot_trains_nothing_though_a_person_asks(blind_world: World) -> None:
    blind_world.stores.journal.add_request("rain", "retrain", who="ann", machine_now=blind_world.machine_now)

    blind_world.settle(blind_world.monitors[-1])

    newest = blind_world.stores.journal.verdicts("rain")[0]
    assert newest.verdict == "blind"
    assert {"would retrain: a person asked for it", "no retraining yet: the slot is blind"} < set(newest.reasons)
    assert blind_world.actions() == ["promote"]
    assert blind_world.stores.journal.requests("rain") == []


def test_counts_of_a_slot_that_goes_on_from_the_last_are_those_read_anew(blind_world: World) -> None:
    stores, spec = blind_world.stores, blind_world.spec
    went_on = [read_cohorts(stores, spec, blind_world.champion, day * DAY_US) for day in (71, 74, 77, 79)]

    for one in went_on:
        stores.label_counts.clear()
        anew = read_cohorts(stores, spec, blind_world.champion, one.slot_us)
        assert {start: c.delays for start, c in one.counts.items()} == {start: c.delays for start, c in anew.counts.items()}
        assert one.to_dict() == anew.to_dict()


class BusyLog(PredictionLog):
    """A log into which something comes just before it is asked for model time."""

    comes: Callable[[], None] | None = None

    def watermark(self, model: str) -> int | None:
        comes, self.comes = self.comes, None
        if comes is not None:
            comes()
        return super().watermark(model)


def went_on_and_anew(stores: Stores, specs: tuple[ModelSpec, ModelSpec], champion: str, slots: tuple[int, int]) -> list[Any]:
    """Return what a slot that goes on from another finds, and what it finds anew."""
    read_cohorts(stores, specs[0], champion, slots[0])
    went_on = read_cohorts(stores, specs[1], champion, slots[1])
    stores.label_counts.clear()
    return [one.to_dict() for one in (went_on, read_cohorts(stores, specs[1], champion, slots[1]))]


def test_what_comes_while_a_request_is_answered_is_counted_by_the_next_slot(world: World) -> None:
    rows, log = weather(1, 60, 12), BusyLog(world.stores.database)
    world.log(rows.between(60 * DAY_US, 69 * DAY_US))
    world.label(rows.between(60 * DAY_US, 66 * DAY_US))
    at_us = int(rows.between(60 * DAY_US, 69 * DAY_US).time_us[-1]) + 1

    def comes() -> None:
        world.label(rows.between(66 * DAY_US, 68 * DAY_US))
        world.log(rows.between(69 * DAY_US, 70 * DAY_US))

    log.comes = comes
    stores = replace(world.stores, log=log, label_counts={})
    went_on, anew = went_on_and_anew(stores, (world.spec, world.spec), world.champion, (at_us, 70 * DAY_US))

    assert went_on == anew
    assert anew["labelled"] == 320


def test_a_row_that_came_late_and_its_label_between_two_slots_are_counted_once(world: World) -> None:
    rows = weather(1, 60, 12)
    is_late = (np.arange(len(rows)) % 7 == 3) & (rows.time_us < 66 * DAY_US)
    world.log(rows.take(~is_late).between(60 * DAY_US, 68 * DAY_US))
    read_cohorts(world.stores, world.spec, world.champion, 67 * DAY_US)
    world.log(rows.take(is_late))
    world.label(rows.between(60 * DAY_US, 66 * DAY_US))
    world.log(rows.between(68 * DAY_US, 71 * DAY_US))
    went_on = read_cohorts(world.stores, world.spec, world.champion, 70 * DAY_US).to_dict()
    world.stores.label_counts.clear()

    assert went_on == read_cohorts(world.stores, world.spec, world.champion, 70 * DAY_US).to_dict()
    assert (went_on["due"], went_on["labelled"]) == (360, 240)


def test_a_class_of_which_no_label_came_though_it_was_learned_from_is_one_whose_delay_is_not_known(world: World) -> None:
    rows = weather(1, 60, 40)
    is_slow = rows.labels == "yes"
    world.log(rows)
    world.label(rows.take(~is_slow).between(60 * DAY_US, 98 * DAY_US))

    without = read_cohorts(world.stores, world.spec, world.champion, 100 * DAY_US - 1).maturity
    world.label(rows.take(is_slow).between(60 * DAY_US, 98 * DAY_US))
    world.stores.label_counts.clear()
    both = read_cohorts(world.stores, world.spec, world.champion, 100 * DAY_US - 1).maturity

    assert (without.is_known, without.missing) == (False, ("class yes",))
    assert both.missing == ()


def test_delays_are_measured_from_the_first_row_on_where_rows_matured_by_rows_before(world: World) -> None:
    world.answer(weather(1, 60, 20))
    by_rows, by_time = (replace(world.spec, labels=replace(world.spec.labels, delay=None, delay_rows=rows)) for rows in (40, None))

    went_on, anew = went_on_and_anew(world.stores, (by_rows, by_time), world.champion, (77 * DAY_US, 78 * DAY_US))

    assert went_on == anew
    assert anew["delays"]


def test_the_thirds_of_the_score_are_those_of_the_reference(world: World) -> None:
    reference = world.stores.load("rain", world.champion).reference
    thirds = thirds_of(reference)
    scores = world.stores.load("rain", world.champion).predictor.predict(weather(7, 60, 60).columns).score

    assert thirds is not None
    assert np.bincount(np.searchsorted(thirds, scores, side="right")) / len(scores) == pytest.approx([1 / 3] * 3, abs=0.07)
    assert thirds_of(without_answers(reference)) is None


RULES = LabelRules("binary", ("no", "yes"), too_late_us=10 * DAY_US, bucket_us=DAY_US)


def test_a_model_whose_every_label_comes_too_late_is_blind_and_says_what_would_end_it(make: Make) -> None:
    world = make(model_file=LEARNS.replace("delay: 1d", "delay: 1d, too_late: 10d"))
    rows, watch = weather(1, FIRST, 40), world.monitor()

    for day in range(FIRST, FIRST + 40):
        world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
        world.label(rows.between((day - 20) * DAY_US, (day - 19) * DAY_US), RULES)
    world.settle(watch)

    newest = world.stores.journal.verdicts("rain")[0]
    assert newest.verdict == "blind"
    assert newest.reasons[0] == (
        "blind: none of the 1480 rows from 1970-03-02 00:00 on is labelled; 720 of the 720 labels that came are of rows older than "
        "labels.too_late (10d), up to 23 days: set labels.too_late to 24d"
    )
    assert newest.evidence["cohorts"]["came"]["slot"] == {"too_late": 280}


def test_a_model_whose_labels_name_no_prediction_of_it_is_blind(world: World) -> None:
    rows, watch = weather(1, FIRST, 20), world.monitor()

    for day in range(FIRST, FIRST + 20):
        world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
        world.label(weather(2, day - 50, 1), RULES)
    world.settle(watch)

    newest = world.stores.journal.verdicts("rain")[0]
    assert newest.verdict == "blind"
    assert "labels that came name no row of this model's log" in newest.reasons[0]


def test_labels_that_got_stuck_are_set_aside_and_not_their_rows(world: World) -> None:
    rows, watch, journal = weather(1, FIRST, 40), world.monitor(), world.stores.journal
    stuck = Rows(rows.columns, np.where((rows.time_us >= 70 * DAY_US) & (rows.time_us < 74 * DAY_US), "no", rows.labels), rows.time_us)
    world.answer(stuck.between(FIRST * DAY_US, 78 * DAY_US))
    world.settle(watch)

    (slot,) = (v for v in journal.verdicts("rain") if v.slot_us == 77 * DAY_US)
    (one,) = journal.quarantines("rain", of_labels=True)
    assert slot.verdict == "quarantine"
    assert slot.reasons[0].startswith("labels of rows from 1970-03-12 00:00 to 1970-03-14 00:00: all 80 are one value, class no, at most ")
    assert (one.start_us // DAY_US, one.end_us // DAY_US, one.reason) == (70, 74, "labels_constant")
    assert (one.name, journal.quarantines("rain")) == ("1970-03-12T00:00-labels", [])
    assert slot.evidence["labels"]["unseen"] == (76 - FIRST - 4) * 40
    assert slot.evidence["rows"] == 14 * 40
    assert watch.metrics.registry.get_sample_value("evergreen_faults", {"model": "rain"}) == 2

    journal.release_quarantine(one, 5, "ann", "it did not rain")
    world.answer(stuck.between(78 * DAY_US, 86 * DAY_US))
    world.settle(watch)

    newest = journal.verdicts("rain")[0]
    assert (newest.slot_us // DAY_US, newest.verdict != "quarantine") == (84, True)
    assert newest.evidence["cohorts"]["labels_aside"] == []
    assert newest.evidence["labels"]["unseen"] == (83 - FIRST - 2) * 40  # nobody labelled day 77


def test_labels_of_which_others_came_too_are_set_aside(world: World) -> None:
    rows, watch = weather(1, FIRST, 60), world.monitor()
    world.answer(rows.between(FIRST * DAY_US, 112 * DAY_US))
    doubtful = rows.between(106 * DAY_US, 108 * DAY_US)
    world.label(Rows(doubtful.columns, np.where(doubtful.labels == "yes", "no", "yes"), doubtful.time_us))
    world.answer(rows.between(112 * DAY_US, 120 * DAY_US))
    world.settle(watch)

    spans = world.stores.journal.quarantines("rain", of_labels=True)
    assert [(q.start_us // DAY_US, q.end_us // DAY_US, q.reason) for q in spans] == [(106, 108, "labels_conflicting")]
    assert world.stores.log.conflicts("rain", 106 * DAY_US, 112 * DAY_US)[106 * DAY_US] == 1
    assert world.stores.log.conflicts("rain", 0, 111 * DAY_US) == {}


def test_numbers_that_got_stuck_are_set_aside_too(tmp_path: Path) -> None:
    world = open_world(tmp_path, MODEL_FILE.replace('task: binary\n  positive: "yes"', "task: regression").replace("log_loss", "mae"))
    history, rows = (with_numbers(weather(0, 0, FIRST)), with_numbers(weather(1, FIRST, 20)))
    train_first(world, FIRST, history)
    stuck = Rows(rows.columns, np.where((rows.time_us >= 70 * DAY_US) & (rows.time_us < 72 * DAY_US), 0.5, rows.labels), rows.time_us)

    world.answer(stuck)
    counted = read_cohorts(world.stores, world.spec, world.champion, 77 * DAY_US)
    world.close()

    assert counted.counts[70 * DAY_US].extremes == (0.5, 0.5)
    assert [(one.start_us // DAY_US, one.end_us // DAY_US, one.kind) for one in counted.findings.faults] == [(70, 72, "labels_constant")]
    assert [(span.start_us // DAY_US, span.end_us // DAY_US) for span in counted.uncovered] == [(70, 72)]


def with_numbers(rows: Rows) -> Rows:
    """Return the rows with a number as their label, which clouds say something of."""
    rng = np.random.default_rng(3)
    return Rows(rows.columns, np.nan_to_num(rows.columns["cloud"]) + rng.normal(0, 1, len(rows)), rows.time_us)


def without_answers(reference: Reference) -> Reference:
    """Return a reference as of rows that nobody answered."""
    counts = {name: count for name, count in reference.total.counts.items() if not name.startswith("@")}
    return type(reference)(
        reference.measures, type(reference.total)(reference.total.bins_id, reference.total.rows, counts, {}, {}), (), (),
        reference.bucket, reference.window,
    )  # fmt: skip
