from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.losses import log_losses
from training.mixing.labelled_rows import LabelledRows, newest_rows
from training.mixing.mixture import mix
from training.mixing.weights import EM_STEPS, FLOOR, LEAST_LIKELIHOOD, learn_weights
from training.schema.prediction import Prediction

CLASSES = ("no", "yes")


def answers_of(positive: np.ndarray) -> Prediction:
    return Prediction(np.where(positive > 0.5, "yes", "no").astype(object), np.column_stack([1 - positive, positive]), CLASSES)


def rows_of(y: np.ndarray, weights: np.ndarray | None = None) -> LabelledRows:
    return LabelledRows(np.arange(len(y)), y, weights)


def classified(seed: int, n: int = 400) -> tuple[LabelledRows, list[Prediction]]:
    """Labels, and the answers of a good, a poor and a constant member."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 2, n)
    y = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)
    noisy = logit + random.normal(0, 3, n)
    return rows_of(y), [answers_of(1 / (1 + np.exp(-z))) for z in (logit, noisy, np.zeros(n))]


def measured(seed: int, n: int = 400) -> tuple[LabelledRows, list[Prediction]]:
    random = np.random.default_rng(seed)
    y = random.normal(100, 20, n)
    return rows_of(y), [Prediction(y + random.normal(0, s, n)) for s in (5, 20, 60)]


BOTH = pytest.mark.parametrize("made", [classified, measured])


@BOTH
@given(seed=st.integers(0, 1000))
@settings(max_examples=15)
def test_weights_sum_to_one_and_each_has_its_part_of_the_floor(made, seed: int) -> None:
    rows, answers = made(seed)

    weights = learn_weights(answers, rows)

    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= FLOOR / 3 - 1e-12


@BOTH
def test_the_better_a_member_the_more_it_weighs(made) -> None:
    rows, answers = made(1)

    weights = learn_weights(answers, rows)

    assert weights[0] > 0.6
    assert weights[0] > weights[1:].max()


@BOTH
def test_members_that_answer_alike_weigh_alike(made) -> None:
    rows, answers = made(1)

    weights = learn_weights([answers[1], answers[1]], rows)

    assert weights == pytest.approx([0.5, 0.5])


@BOTH
def test_a_row_of_weight_two_counts_as_two_rows(made) -> None:
    rows, answers = made(1)
    twice = np.repeat(np.arange(400), np.where(np.arange(400) < 100, 2, 1))
    weighed = LabelledRows(rows.time_us, rows.y, np.where(np.arange(400) < 100, 2.0, 1.0))

    assert learn_weights(answers, weighed) == pytest.approx(learn_weights([a.take(twice) for a in answers], rows_of(rows.y[twice])))


def test_each_step_makes_the_labels_likelier(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, answers = classified(1)

    losses = []
    for steps in (0, 1, 2, 5, EM_STEPS, 200):
        monkeypatch.setattr("training.mixing.weights.EM_STEPS", steps)
        monkeypatch.setattr("training.mixing.weights.FLOOR", 0.0)
        losses.append(log_losses(rows.y, mix(answers, learn_weights(answers, rows).tolist())).mean())

    assert losses == sorted(losses, reverse=True)


def test_one_label_that_a_member_thought_impossible_does_not_decide() -> None:
    rows, (good, poor, _) = classified(1)
    sure = good.probability.copy()
    sure[0] = np.where(rows.y[0] == "yes", [1.0, 0.0], [0.0, 1.0])

    weights = learn_weights([answers_of(sure[:, 1]), poor], rows)

    assert weights[0] > 0.8
    assert LEAST_LIKELIHOOD > 0


def test_members_that_know_other_classes_are_weighed_by_the_labels_each_can_answer() -> None:
    y = np.array(["a", "c"] * 100, dtype=object)
    ab = Prediction(np.array(["a"] * 200, object), np.tile([0.9, 0.1], (200, 1)), ("a", "b"))
    ac = Prediction(np.array(["a"] * 200, object), np.tile([0.5, 0.5], (200, 1)), ("a", "c"))

    weights = learn_weights([ab, ac], rows_of(y))

    assert weights[1] > 0.8


def test_two_that_err_to_either_side_share_the_weight() -> None:
    y = np.random.default_rng(0).normal(0, 10, 300)

    weights = learn_weights([Prediction(y + 3), Prediction(y - 6)], rows_of(y))

    assert weights == pytest.approx([2 / 3, 1 / 3], abs=0.08)


def test_members_without_any_error_weigh_alike() -> None:
    y = np.arange(5.0)

    assert learn_weights([Prediction(y), Prediction(y)], rows_of(y)).tolist() == [0.5, 0.5]


@given(st.lists(st.integers(0, 20_000), max_size=200).map(sorted), st.integers(1, 3000))
@settings(max_examples=30)
def test_rows_to_weigh_by_are_the_newest_and_none_is_eight_slots_old(times: list[int], every: int) -> None:
    time_us = np.array(times, np.int64)

    part = newest_rows(time_us, every)

    assert part.stop == len(times)
    assert all(time > times[-1] - 8 * every for time in times[part])
    assert all(time in times[part] for time in times if time > times[-1] - 2 * every)


def test_labelled_rows_are_in_order_and_as_many_as_their_times() -> None:
    with pytest.raises(ValueError, match=r"labels, times and weights of \[2, 3\] rows"):
        LabelledRows(np.arange(3), np.ones(2))
    with pytest.raises(ValueError, match=r"row 2 is earlier than the row before it"):
        LabelledRows(np.array([1, 5, 3]), np.ones(3))


def test_answers_of_classes_and_of_numbers_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="cannot be mixed"):
        mix([Prediction(np.ones(2)), answers_of(np.ones(2))], [1, 1])
    with pytest.raises(ValueError, match="not all 0"):
        mix([Prediction(np.ones(2))], [0])
