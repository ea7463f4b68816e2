"""The JSON of many rows is the JSON of a few."""

from __future__ import annotations

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from service.routes.prediction_json import predictions_as_objects, predictions_as_text
from training.schema.prediction import Prediction

NUMBERS = st.floats(width=64) | st.just(float("nan")) | st.sampled_from([0.1, 1e-300, 1.0, -0.0])
CLASSES = st.lists(st.text(max_size=5), min_size=2, max_size=4, unique=True)


def objects_as_text(prediction: Prediction) -> bytes:
    return orjson.dumps(predictions_as_objects("p0", prediction))


@given(st.lists(NUMBERS, min_size=1, max_size=40))
def test_values_are_written_as_those_of_objects(values: list[float]) -> None:
    prediction = Prediction(np.array(values))

    assert b"[" + predictions_as_text("p0", prediction) + b"]" == objects_as_text(prediction)


@given(CLASSES, st.lists(st.tuples(st.integers(0, 10), NUMBERS), min_size=1, max_size=40))
def test_labels_and_probabilities_are_written_as_those_of_objects(classes: list[str], rows: list[tuple[int, float]]) -> None:
    labels = np.empty(len(rows), dtype=object)
    labels[:] = [classes[place % len(classes)] for place, _ in rows]
    probability = np.array([[number] * len(classes) for _, number in rows])
    prediction = Prediction(labels, probability, tuple(classes))

    assert b"[" + predictions_as_text("p0", prediction) + b"]" == objects_as_text(prediction)
