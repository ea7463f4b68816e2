"""Labels that nothing can be learned from, in the loop: set aside, let go by a person, or counted when they stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from monitoring.journal.leases import Turn
from monitoring.judging.data_faults import Span
from monitoring.judging.labels.unlearnable import UNLEARNABLE
from monitoring.loop.tick import accept_labels
from tests.monitoring.world import DAY_US, MODEL_FILE, World, weather
from training.schema.rows import Rows

FIRST = 60
WATCHES = MODEL_FILE.replace("act: auto", "act: notify")
Make = Callable[..., World]


def test_labels_that_nothing_can_be_learned_from_are_set_aside_and_count_again_when_they_are_let_go(make: Make) -> None:
    world = make(model_file=WATCHES)
    rows, watch, journal = weather(1, FIRST, 120), world.monitor(), world.stores.journal
    mixed = with_any_labels(rows, range(154, 161))
    world.answer(mixed.between(FIRST * DAY_US, 169 * DAY_US))
    world.settle(watch)

    (slot,) = (v for v in journal.verdicts("rain", limit=None) if v.slot_us == 161 * DAY_US)
    (one,) = journal.quarantines("rain", of_labels=True)
    assert (one.start_us // DAY_US, one.end_us // DAY_US, one.reason) == (154, 162, "labels_unlearnable")
    assert slot.verdict == "quarantine"
    assert slot.reasons[0].startswith("labels of rows from 1970-06-04 00:00 to 1970-06-10 00:00: answers agree with 240 by ")
    assert slot.evidence["cohorts"]["label_faults"][0]["kind"] == "labels_unlearnable"
    assert [154 * DAY_US, 160 * DAY_US] in slot.evidence["cohorts"]["uncovered"]

    journal.release_quarantine(one, 5, "ann", "they are right")
    world.answer(rows.between(169 * DAY_US, 178 * DAY_US))
    world.settle(watch)

    newest = journal.verdicts("rain")[0]
    assert (newest.slot_us // DAY_US, newest.verdict != "quarantine") == (175, True)
    assert newest.evidence["cohorts"]["labels_aside"] == []


@pytest.mark.slow
def test_labels_that_nothing_can_be_learned_from_count_when_they_stay_for_six_slots(make: Make) -> None:
    world = make(model_file=WATCHES)
    rows, watch, journal = weather(1, FIRST, 160), world.monitor(), world.stores.journal
    world.answer(with_any_labels(rows, range(154, 220)))
    world.settle(watch)

    verdicts = {v.slot_us // DAY_US: v for v in journal.verdicts("rain", limit=None)}
    (released,) = journal.quarantines("rain", of_labels=True, released=True)
    (line,) = (each for each in world.stores.registry.ledger("rain", None) if each.action == "release")
    assert [day for day, one in verdicts.items() if one.verdict == "quarantine"] == [196, 189, 182, 175, 168, 161]
    assert "labels of rows from 1970-06-04 00:00 to 1970-07-16 00:00 count again: it has stayed" in verdicts[203].reasons
    assert (released.start_us // DAY_US, released.released_by, released.released_why) == (154, "monitor", "it has stayed")
    assert (line.who, line.why) == ("monitor", "labels count again: it has stayed")
    assert journal.quarantines("rain", of_labels=True) == []


def test_labels_that_are_accepted_are_let_go_once_and_those_set_aside_for_something_else_too_are_not(world: World) -> None:
    journal, turn = world.stores.journal, Turn(world.machine_now)
    journal.add_quarantine(turn, "rain", 70 * DAY_US, 80 * DAY_US, UNLEARNABLE, slot_us=84 * DAY_US)
    journal.add_quarantine(turn, "rain", 90 * DAY_US, 95 * DAY_US, "labels_constant", slot_us=98 * DAY_US)
    journal.add_quarantine(turn, "rain", 95 * DAY_US, 99 * DAY_US, UNLEARNABLE, slot_us=105 * DAY_US)
    accepted = [Span(71 * DAY_US, 79 * DAY_US, "it has stayed"), Span(96 * DAY_US, 99 * DAY_US, "it has stayed")]

    accept_labels(world.stores, turn, "rain", accepted)
    accept_labels(world.stores, turn, "rain", accepted)

    (released,) = journal.quarantines("rain", of_labels=True, released=True)
    (line,) = (each for each in world.stores.registry.ledger("rain", None) if each.action == "release")
    assert (released.start_us // DAY_US, released.released_by, released.released_why) == (70, "monitor", "it has stayed")
    assert (line.who, line.why, line.evidence["reason"]) == ("monitor", "labels count again: it has stayed", UNLEARNABLE)
    assert [one.start_us // DAY_US for one in journal.quarantines("rain", of_labels=True)] == [90]


def with_any_labels(rows: Rows, days: range) -> Rows:
    """Return the rows with the labels of any other row on some days."""
    is_mixed = (rows.time_us >= days.start * DAY_US) & (rows.time_us < days.stop * DAY_US)
    labels = rows.labels.copy()
    labels[is_mixed] = np.random.default_rng(5).permutation(labels[is_mixed])
    return Rows(rows.columns, labels, rows.time_us)
