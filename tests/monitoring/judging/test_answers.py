"""Answers counted by bin of the score and class decided: the same however rows are parted, joined and stored."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.judging.estimating.answers import Answers, add_up_answers, count_answers
from monitoring.judging.performance.outcome_sums import score_edges
from training.schema.prediction import Prediction

CLASSES = {2: ("no", "yes"), 4: ("a", "b", "c", "d")}


def answered(k: int, n: int = 400) -> Prediction:
    """Answers of a model of k classes, decided by the largest probability."""
    odds = np.exp(np.random.default_rng(k).normal(0, 2, (n, k)))
    probability = odds / odds.sum(axis=1, keepdims=True)
    return Prediction(np.array(CLASSES[k], object)[probability.argmax(axis=1)], probability, CLASSES[k])


def counted(prediction: Prediction, group: np.ndarray | None = None) -> list[Answers]:
    place = np.zeros(len(prediction), np.intp) if group is None else group
    return count_answers(place, prediction, score_edges(), is_binary=len(prediction.classes or ()) == 2)


def plain(answers: Answers) -> tuple[object, ...]:
    cells = {name: (one.at.tolist(), one.rows.tolist(), one.odds.round(6).tolist()) for name, one in answers.cells.items()}
    return answers.n, answers.classes, cells


@pytest.mark.parametrize("k", [2, 4])
def test_rows_counted_in_parts_add_up_to_rows_counted_at_once(k: int) -> None:
    prediction = answered(k)
    group = np.random.default_rng(0).integers(7, size=len(prediction))

    parts = counted(prediction, group)

    assert plain(add_up_answers(parts[::-1])) == plain(counted(prediction)[0])


@pytest.mark.parametrize("k", [2, 4])
def test_what_is_stored_is_read_as_it_was(k: int) -> None:
    (answers,) = counted(answered(k))

    read = Answers.from_bytes(answers.to_bytes())

    assert (read.n, read.classes, read.cells.keys()) == (answers.n, answers.classes, answers.cells.keys())
    one, other = (part.cells[CLASSES[k][-1]] for part in (read, answers))
    np.testing.assert_array_equal(one.at, other.at)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_allclose(one.odds / one.rows, other.odds / other.rows, atol=1e-4)


def test_a_model_of_numbers_answers_no_class() -> None:
    (answers,) = count_answers(np.zeros(3, np.intp), Prediction(np.array([1.0, 2.0, 3.0])), (), is_binary=False)

    assert answers == Answers(3)


def test_decisions_are_known_by_name_where_parts_know_other_classes() -> None:
    few = Prediction(np.array(["c", "a"], object), np.array([[0.1, 0.9], [0.8, 0.2]]), ("a", "c"))
    more = Prediction(np.array(["c"], object), np.array([[0.2, 0.1, 0.7]]), ("a", "b", "c"))

    both = add_up_answers([count_answers(np.zeros(len(one), np.intp), one, score_edges(), is_binary=False)[0] for one in (more, few)])

    assert both.classes == ("a", "b", "c")
    decided = both.cells["c"].at % 3
    assert both.cells["c"].rows[decided == 2].sum() == 2


def test_a_newer_format_is_refused() -> None:
    import zlib

    with pytest.raises(ValueError, match="format 9, wanted 1"):
        Answers.from_bytes(zlib.compress(b'{"v": 9}'))
