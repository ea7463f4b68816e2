from dataclasses import replace

import numpy as np

from training.prediction import Prediction

TWO = Prediction(np.array(["no", "yes"], object), np.array([[0.8, 0.2], [0.3, 0.7]]), ("no", "yes"))


def test_the_score_is_the_positive_probability_the_highest_one_or_the_value() -> None:
    three = Prediction(np.array(["a"], object), np.array([[0.5, 0.3, 0.2]]), ("a", "b", "c"))
    value = Prediction(np.array([4.0]))

    assert (TWO.score.tolist(), three.score.tolist(), value.score.tolist()) == ([0.2, 0.7], [0.5], [4.0])


def test_take_keeps_labels_and_probabilities_together() -> None:
    taken = replace(TWO, codes=np.array([0, 1])).take(np.array([1]))

    assert (taken.label.tolist(), taken.score.tolist()) == (["yes"], [0.7])
    assert taken.codes is not None
    assert taken.codes.tolist() == [1]


def test_aligned_puts_probabilities_in_another_order_and_gives_unknown_classes_none() -> None:
    aligned = TWO.aligned(("yes", "new", "no"))

    assert aligned.probability is not None
    assert aligned.probability[0].tolist() == [0.2, 0.0, 0.8]


def test_concat_joins_in_order() -> None:
    assert Prediction.concat([TWO, TWO.take(slice(0, 1))]).label.tolist() == ["no", "yes", "no"]
