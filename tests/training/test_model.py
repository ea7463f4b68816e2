import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from training.errors import SchemaError
from training.model import FittedModel
from training.schema import Feature, Schema, frame

SCHEMA = Schema((Feature("x", "numeric"),), "y", "binary", positive="false")
COLUMNS = {"x": np.zeros(4)}


def fitted(labels: list[object]) -> DummyClassifier:
    return DummyClassifier(strategy="prior").fit(frame(COLUMNS, SCHEMA), labels)


def test_the_positive_class_comes_last_whatever_scikit_learn_sorts() -> None:
    model = FittedModel.of(fitted(["false", "true", "true", "true"]), SCHEMA)

    prediction = model.predict(COLUMNS)

    assert model.classes == ("true", "false")
    assert prediction.score[0] == pytest.approx(0.25)
    assert prediction.label[0] == "true"


def test_a_pipeline_trained_elsewhere_may_have_labels_of_its_own_type() -> None:
    assert FittedModel.of(fitted([False, True, True, True]), SCHEMA).predict(COLUMNS).label.tolist() == ["true"] * 4


def test_the_payload_is_a_plain_dict_and_comes_back() -> None:
    model = FittedModel.of(fitted(["false", "true", "true", "true"]), SCHEMA)

    payload = model.payload()

    assert set(payload) == {"pipeline", "classes"}
    assert FittedModel.from_payload(payload, SCHEMA) == model


def test_something_else_is_no_payload() -> None:
    with pytest.raises(SchemaError, match="payload"):
        FittedModel.from_payload({"model": 3}, SCHEMA)
