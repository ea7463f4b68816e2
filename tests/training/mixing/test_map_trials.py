from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.losses import METRICS
from training.mixing.map_trials import FEWEST_LATER_ROWS, RUNNING, WORSE, MapTrial, judge_map
from training.schema.prediction import Prediction

GOOD, BAD = (0.4, 0.5), (0.5, 0.4)


def after(trial: MapTrial, slots: list[tuple[float, float]]) -> MapTrial:
    for with_map, without in slots:
        trial = trial.judged(with_map, without)
    return trial


def test_a_map_that_did_worse_three_slots_running_is_not_used() -> None:
    trial = MapTrial((2.0, 0.0))

    assert after(trial, [BAD] * (RUNNING - 1)).used == (2.0, 0.0)
    assert after(trial, [BAD] * RUNNING).used is None


def test_one_slot_in_which_it_did_no_worse_begins_the_count_anew() -> None:
    assert not after(MapTrial((2.0, 0.0)), [BAD, BAD, GOOD, BAD, BAD, (0.5, 0.5), BAD, BAD]).is_off


def test_a_map_that_is_worse_by_chance_stays() -> None:
    assert not after(MapTrial((2.0, 0.0)), [((1 + WORSE) * 0.4, 0.4)] * 9).is_off


def test_a_map_with_more_than_twice_the_loss_is_laid_aside_at_once() -> None:
    trial = MapTrial((2.0, 0.0))

    assert not trial.judged(0.8, 0.4).is_off
    assert trial.judged(0.81, 0.4).is_off


def test_the_first_slot_in_which_a_map_would_have_done_no_worse_brings_it_back() -> None:
    off = after(MapTrial((2.0, 0.0)), [BAD] * RUNNING)

    assert after(off, [BAD]).used is None
    assert after(off, [GOOD]).used == (2.0, 0.0)
    assert after(off, [GOOD, BAD, BAD]).used == (2.0, 0.0)


def test_a_slot_that_cannot_be_judged_says_nothing() -> None:
    trial = after(MapTrial((2.0, 0.0)), [BAD, BAD])

    assert trial.judged(math.nan, 0.5) == trial


@given(st.lists(st.sampled_from([GOOD, BAD]), max_size=12))
@settings(max_examples=10)
def test_a_trial_is_kept_as_json(slots: list[tuple[float, float]]) -> None:
    trial = after(MapTrial((1.5, -0.25)), slots)

    assert MapTrial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial
    assert MapTrial.from_dict(json.loads(json.dumps(MapTrial().to_dict()))) == MapTrial()


@pytest.mark.parametrize(("learned", "worse"), [((1.0, 10.0), 1), ((1.0, 1.0), 0)])
def test_a_map_is_judged_against_the_plain_answers_of_the_same_rows(learned: tuple[float, float], worse: int) -> None:
    y = np.arange(FEWEST_LATER_ROWS, dtype=np.float64)

    assert judge_map(MapTrial(learned), Prediction(y - 1), y, METRICS["mae"]).worse == worse


def test_few_later_labels_judge_nothing() -> None:
    y = np.arange(FEWEST_LATER_ROWS - 1.0)

    assert judge_map(MapTrial((9.0, 9.0)), Prediction(y), y, METRICS["mae"]).worse == 0
