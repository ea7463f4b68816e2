from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from training.mixing.labelled_rows import LabelledRows
from training.mixing.member_probation import BLOCK_ROWS, FIRST_BLOCKS, MOST_BLOCKS, MemberProbation, differences
from training.schema.prediction import Prediction

LEVEL = 0.05


def stream(seed: int, memory: float, shape: str, worse_by: float = 0.0, blocks: int = MOST_BLOCKS) -> np.ndarray:
    """Differences of rows whose neighbours are alike, of standard deviation 1; by the shape seldom are of great use, or of great harm."""
    random = np.random.default_rng(seed)
    n = blocks * BLOCK_ROWS
    steps = {
        "normal": lambda: random.normal(0, 1, n),
        "heavy": lambda: random.standard_t(3, n) / np.sqrt(3),
        "seldom useful": lambda: (2 - random.exponential(1, n) ** 2) / np.sqrt(20),
        "seldom harmful": lambda: (random.exponential(1, n) ** 2 - 2) / np.sqrt(20),
    }[shape]()
    return lfilter([np.sqrt(1 - memory**2)], [1.0, -memory], steps) + worse_by


def share_expelled(streams: range, memory: float, shape: str, worse_by: float = 0.0) -> float:
    return float(np.mean([MemberProbation(LEVEL).after(stream(i, memory, shape, worse_by)).outcome == "worse" for i in streams]))


@pytest.mark.slow  # 1,000 streams of 6,000 rows each
@pytest.mark.parametrize("shape", ["normal", "heavy", "seldom useful", "seldom harmful"])
@pytest.mark.parametrize("memory", [0.0, 0.7, 0.95])
def test_of_a_thousand_members_that_are_no_worse_no_more_are_expelled_than_the_level_says(memory: float, shape: str) -> None:
    assert share_expelled(range(1000), memory, shape) <= LEVEL


def test_of_a_few_members_that_are_no_worse_hardly_one_is_expelled() -> None:
    assert share_expelled(range(60), 0.9, "normal") <= 3 / 60


@pytest.mark.parametrize(("worse_by", "blocks"), [(0.1, 40), (0.2, 20), (1.0, 9)])
def test_a_member_that_is_worse_is_expelled_the_sooner_the_worse_it_is(worse_by: float, blocks: int) -> None:
    after = [MemberProbation(LEVEL).after(stream(i, 0.0, "normal", worse_by, blocks)).outcome for i in range(20)]

    assert after.count("worse") >= 18


def test_a_member_that_is_better_passes_after_the_planned_blocks() -> None:
    passed = MemberProbation().after(stream(0, 0.5, "normal", -0.1))

    assert passed.outcome == "passed"
    assert passed.evidence["blocks"] == MOST_BLOCKS
    assert passed.evidence["worse_by"] < 0


@given(st.lists(st.integers(0, 700), max_size=8), st.integers(0, 100))
@settings(max_examples=10)
def test_pieces_of_any_length_come_to_the_same(cuts: list[int], seed: int) -> None:
    rows = stream(seed, 0.7, "heavy", 0.05, blocks=7)
    pieces = np.split(rows, sorted(cuts))

    state = MemberProbation()
    for piece in pieces:
        state = MemberProbation.from_dict(json.loads(json.dumps(state.to_dict()))).after(piece)

    assert state == MemberProbation().after(rows)


def test_no_block_is_bet_on_before_the_spread_is_known() -> None:
    rows = stream(0, 0.0, "normal", 5.0)

    assert MemberProbation().after(rows[: FIRST_BLOCKS * BLOCK_ROWS]).log_e == 0.0
    assert MemberProbation().after(rows[: (FIRST_BLOCKS + 1) * BLOCK_ROWS]).log_e > 0.3


def test_members_that_answer_alike_pass_and_prove_nothing() -> None:
    state = MemberProbation().after(np.zeros(MOST_BLOCKS * BLOCK_ROWS))

    assert state.outcome == "passed"
    assert state.log_e == 0.0


def test_what_is_decided_stays_decided() -> None:
    worse = MemberProbation().after(stream(0, 0.0, "normal", 1.0))

    assert worse.outcome == "worse"
    assert worse.after(np.full(10_000, -50.0)) == worse


def test_one_block_of_great_harm_is_not_enough_and_one_of_great_use_counts_in_full() -> None:
    usual = stream(0, 0.0, "normal", 0.0, blocks=10)

    harm, use = (MemberProbation().after(np.r_[usual, np.full(BLOCK_ROWS, size)]) for size in (1000.0, -1000.0))

    assert harm.outcome == "open"
    assert use.log_e < MemberProbation().after(usual).log_e


def test_a_difference_that_is_no_number_is_refused_by_its_row() -> None:
    with pytest.raises(ValueError, match="row 1 has the difference nan, wanted a number"):
        MemberProbation().after([0.0, np.nan])


def test_a_row_loses_by_a_member_what_it_loses_more_with_it() -> None:
    y = np.array([1.0, 1.0])
    answers = [Prediction(np.array([1.0, 3.0])), Prediction(np.array([3.0, 1.0])), Prediction(np.array([2.0, 2.0]))]

    gaps = differences(answers, [0.25, 0.25, 0.5], [0.5, 0.5, 0], LabelledRows(np.arange(2), y, np.array([1.0, 3.0])))

    assert gaps.tolist() == [0.0, 0.0]
    assert differences(answers[:2], [0.5, 0.5], [1, 0], LabelledRows(np.arange(2), y, np.array([1.0, 3.0]))).tolist() == [1.0, -3.0]


def test_a_member_alone_cannot_be_on_probation() -> None:
    with pytest.raises(ValueError, match="not all 0"):
        differences([Prediction(np.ones(2))], [1.0], [0.0], LabelledRows(np.arange(2), np.ones(2)))
