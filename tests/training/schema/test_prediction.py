from dataclasses import replace

import numpy as np
import pytest

from training.schema.prediction import Prediction

TWO = Prediction(np.array(["no", "yes"], object), np.array([[0.8, 0.2], [0.3, 0.7]]), ("no", "yes"))
VALUES = Prediction(np.array([4.0, 5.0]))
LABELS = Prediction(np.array(["no", "yes"], object), classes=("no", "yes"))


def contents(prediction: Prediction) -> tuple[object, ...]:
    """Plain values of all four parts."""
    label, probability, codes = (None if a is None else a.tolist() for a in (prediction.label, prediction.probability, prediction.codes))
    return label, probability, prediction.classes, codes


def test_the_score_is_the_positive_probability_the_highest_one_or_the_value() -> None:
    three = Prediction(np.array(["a"], object), np.array([[0.5, 0.3, 0.2]]), ("a", "b", "c"))
    value = Prediction(np.array([4.0]))

    assert (TWO.score.tolist(), three.score.tolist(), value.score.tolist()) == ([0.2, 0.7], [0.5], [4.0])


def test_take_keeps_all_that_is_known_of_a_row_together() -> None:
    coded = replace(TWO, codes=np.array([0, 1]))

    assert contents(coded.take(np.array([1]))) == (["yes"], [[0.3, 0.7]], ("no", "yes"), [1])
    assert contents(TWO.take(np.array([True, False]))) == (["no"], [[0.8, 0.2]], ("no", "yes"), None)
    assert contents(VALUES.take(slice(1, 2))) == ([5.0], None, None, None)


def test_aligned_puts_probabilities_in_another_order_and_gives_unknown_classes_none() -> None:
    aligned = replace(TWO, codes=np.array([0, 1])).aligned(["yes", "new", "no"])

    assert contents(aligned) == (["no", "yes"], [[0.2, 0.0, 0.8], [0.7, 0.0, 0.3]], ("yes", "new", "no"), None)


@pytest.mark.parametrize(
    "prediction", [TWO, VALUES, LABELS, replace(TWO, classes=None)], ids=["same order", "values", "no probabilities", "no classes"]
)
def test_aligned_leaves_as_it_is_what_has_no_other_order(prediction: Prediction) -> None:
    assert prediction.aligned(["no", "yes"]) is prediction
    assert VALUES.aligned([]) is VALUES
    assert LABELS.aligned(["yes", "no"]) is LABELS


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ([TWO], (["no", "yes"], [[0.8, 0.2], [0.3, 0.7]], ("no", "yes"), None)),
        ([TWO.take(slice(1, 2)), TWO.take(slice(0, 1))], (["yes", "no"], [[0.3, 0.7], [0.8, 0.2]], ("no", "yes"), None)),
        ([VALUES, VALUES.take(slice(0, 1))], ([4.0, 5.0, 4.0], None, None, None)),
    ],
    ids=["one", "classes", "values"],
)
def test_concat_joins_in_order(parts: list[Prediction], joined: tuple[object, ...]) -> None:
    assert contents(Prediction.concat(parts)) == joined


def test_probabilities_are_not_joined_to_none() -> None:
    with pytest.raises(ValueError, match=r"^a prediction without probabilities cannot be joined to one with them$"):
        Prediction.concat([TWO, LABELS])
