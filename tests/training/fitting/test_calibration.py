import numpy as np
import pytest

from training.compiled.calibration_map import remap
from training.evaluation.losses import calibration_error
from training.fitting.calibration import learn_map
from training.schema.prediction import Prediction


def overconfident(k: int, n: int = 3000) -> tuple[np.ndarray, Prediction]:
    rng = np.random.default_rng(0)
    classes = tuple("abc"[:k])
    honest = rng.dirichlet(np.ones(k) * 2, n)
    names = np.array(classes, object)
    y = names[[rng.choice(k, p=row) for row in honest]]
    return y, Prediction(names[honest.argmax(axis=1)], remap(honest, 3.0, 0.0), classes)


@pytest.mark.parametrize("k", [2, 3])
def test_a_model_that_is_too_sure_is_calibrated(k: int) -> None:
    y, prediction = overconfident(k)

    point, how = learn_map(y, prediction)

    assert point is not None
    assert "3000 later rows" in how
    assert prediction.probability is not None
    mapped = Prediction(prediction.label, remap(prediction.probability, *point), prediction.classes)
    assert calibration_error(y, mapped) < calibration_error(y, prediction) / 2


@pytest.mark.parametrize("rows", [slice(0, 50), slice(0, 0)])
def test_too_few_rows_leave_the_probabilities_alone_and_say_so(rows: slice) -> None:
    y, prediction = overconfident(2)

    point, how = learn_map(y[rows], prediction.take(rows))

    assert point is None
    assert how.startswith("none: needs")


def test_rows_of_one_class_leave_the_probabilities_alone() -> None:
    _, prediction = overconfident(2)

    assert learn_map(np.full(3000, "a", object), prediction)[0] is None


def test_mapped_probabilities_are_probabilities_even_at_the_edges() -> None:
    mapped = remap(np.array([[0.0, 1.0], [1.0, 0.0]]), 2.0, 0.5)

    assert mapped.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert (mapped > 0).all()
