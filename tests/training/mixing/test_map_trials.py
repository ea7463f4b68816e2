from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.losses import METRICS
from training.mixing.labelled_rows import LabelledRows
from training.mixing.map_trials import FEWEST_LATER_ROWS, RUNNING, WORSE, LearnedMap, MapTrial, judge_maps
from training.schema.prediction import Prediction

GOOD, BAD = (0.4, 0.5), (0.5, 0.4)


def after(trial: MapTrial, slots: list[tuple[float, float]]) -> MapTrial:
    for with_map, without in slots:
        trial = trial.judged(with_map, without)
    return trial


def test_a_map_that_did_worse_three_slots_running_is_not_used() -> None:
    trial = MapTrial((LearnedMap(0, (2.0, 0.0)),))

    assert after(trial, [BAD] * (RUNNING - 1)).used == (2.0, 0.0)
    assert after(trial, [BAD] * RUNNING).used is None


def test_one_slot_in_which_it_did_no_worse_begins_the_count_anew() -> None:
    assert not after(MapTrial((LearnedMap(0, (2.0, 0.0)),)), [BAD, BAD, GOOD, BAD, BAD, (0.5, 0.5), BAD, BAD]).is_off


def test_a_map_that_is_worse_by_chance_stays() -> None:
    assert not after(MapTrial((LearnedMap(0, (2.0, 0.0)),)), [((1 + WORSE) * 0.4, 0.4)] * 9).is_off


def test_a_map_with_more_than_twice_the_loss_is_laid_aside_at_once() -> None:
    trial = MapTrial((LearnedMap(0, (2.0, 0.0)),))

    assert not trial.judged(0.8, 0.4).is_off
    assert trial.judged(0.81, 0.4).is_off


def test_the_first_slot_in_which_a_map_would_have_done_no_worse_brings_it_back() -> None:
    off = after(MapTrial((LearnedMap(0, (2.0, 0.0)),)), [BAD] * RUNNING)

    assert after(off, [BAD]).used is None
    assert after(off, [GOOD]).used == (2.0, 0.0)
    assert after(off, [GOOD, BAD, BAD]).used == (2.0, 0.0)


def test_a_slot_that_cannot_be_judged_says_nothing() -> None:
    trial = after(MapTrial((LearnedMap(0, (2.0, 0.0)),)), [BAD, BAD])

    assert trial.judged(math.nan, 0.5) == trial


@given(st.lists(st.sampled_from([GOOD, BAD]), max_size=12))
@settings(max_examples=10)
def test_a_trial_is_kept_as_json(slots: list[tuple[float, float]]) -> None:
    trial = after(MapTrial((LearnedMap(7, (1.5, -0.25)),)), slots)

    assert MapTrial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial
    assert MapTrial.from_dict(json.loads(json.dumps(MapTrial().to_dict()))) == MapTrial()


def rows(n: int, start_us: int = 1) -> LabelledRows:
    return LabelledRows(np.arange(start_us, start_us + n), np.arange(n, dtype=np.float64))


MAE = METRICS["mae"]


@pytest.mark.parametrize(("shift", "worse"), [(10.0, 1), (1.0, 0)])
def test_a_map_is_judged_against_the_plain_answers_of_the_same_rows(shift: float, worse: int) -> None:
    labelled = rows(FEWEST_LATER_ROWS)

    judged = judge_maps(MapTrial((LearnedMap(0, (1.0, shift)),)), Prediction(labelled.y - 1), labelled, MAE)

    assert judged.worse == worse
    assert judged.judged_through_us == FEWEST_LATER_ROWS


def test_few_new_labels_judge_nothing_and_are_judged_by_later() -> None:
    harmful = MapTrial((LearnedMap(0, (1.0, 10.0)),))
    few, enough = rows(FEWEST_LATER_ROWS - 1), rows(FEWEST_LATER_ROWS)

    assert judge_maps(harmful, Prediction(few.y), few, MAE) == harmful
    assert judge_maps(harmful, Prediction(enough.y), enough, MAE).worse == 1


def test_a_row_is_judged_by_the_map_that_answered_it_and_once() -> None:
    """Labels take two slots of 100: what the first map said is known when the third was learned."""
    labelled = rows(300)
    right_then_wrong = MapTrial((LearnedMap(0, (1.0, 1.0)), LearnedMap(100, (1.0, 50.0)), LearnedMap(200, (1.0, 60.0))))
    answers = Prediction(labelled.y - 1)

    first = judge_maps(right_then_wrong, answers.take(slice(100)), labelled.take(slice(100)), MAE)
    second = judge_maps(first, answers.take(slice(200)), labelled.take(slice(200)), MAE)

    assert (first.worse, first.is_off, first.judged_through_us) == (0, False, 100)
    assert (second.worse, second.is_off, second.judged_through_us) == (1, True, 200)
    assert judge_maps(second, answers.take(slice(200)), labelled.take(slice(200)), MAE) == second


def test_a_table_of_before_1970_is_judged_as_any_other() -> None:
    labelled = rows(FEWEST_LATER_ROWS, start_us=-1_000_000)

    judged = judge_maps(MapTrial((LearnedMap(-1_000_001, (1.0, 10.0)),)), Prediction(labelled.y), labelled, MAE)

    assert judged.worse == 1


def test_rows_that_no_map_answered_judge_none() -> None:
    labelled = rows(290)
    trial = MapTrial((LearnedMap(250, (1.0, 10.0)),))

    assert judge_maps(trial, Prediction(labelled.y), labelled, MAE) == trial


def test_maps_are_kept_until_all_they_answered_is_judged() -> None:
    trial = MapTrial()
    for at in (100, 200, 300):
        trial = trial.with_learned((1.0, 10.0), at)
    labelled = rows(250)

    judged = judge_maps(trial, Prediction(labelled.y), labelled, MAE)

    assert [one.from_us for one in judged.with_learned((1.0, 0.0), 400).learned] == [200, 300, 400]
    assert [one.from_us for one in judged.with_learned((1.0, 0.0), 300).learned] == [200, 300]


def test_a_season_that_is_over_when_its_labels_come_turns_its_maps_off() -> None:
    """Demand swings by a period of eight slots, labels take four: what was learned is wrong by the time it answers."""
    n, slot = 100, 100
    times = np.arange(40 * n)
    swing = 50 * np.sin(2 * np.pi * times / (8 * slot))
    labelled, answers = LabelledRows(times, 200 + swing), Prediction(np.full(len(times), 200.0))
    states: dict[int, bool] = {}
    for delay in (0, 4 * slot):
        trial = MapTrial()
        for at in range(2 * slot + delay, 40 * slot, slot):
            mature = slice(max(0, at - delay - 2 * slot), at - delay)
            trial = judge_maps(trial, answers.take(mature), labelled.take(mature), MAE)
            trial = trial.with_learned((1.0, float(np.median(labelled.y[mature.stop - slot : mature.stop] - 200))), at)
        states[delay] = trial.is_off

    assert states == {0: False, 4 * slot: True}


def test_a_trial_of_an_earlier_release_is_read() -> None:
    stored = {"learned": [1.5, -0.25], "worse": 2, "is_off": True}

    assert MapTrial.from_dict(stored) == MapTrial((), 2, True)
