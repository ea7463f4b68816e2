import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from training.errors import SchemaError
from training.fitting.fitted_model import FittedModel
from training.schema.feature import Feature
from training.schema.schema import Schema, frame

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


def test_the_pickle_is_a_plain_dict_and_comes_back() -> None:
    model = FittedModel.of(fitted(["false", "true", "true", "true"]), SCHEMA)

    pickled = model.to_pickle()

    assert set(pickled) == {"pipeline", "classes"}
    assert FittedModel.from_pickle(pickled, SCHEMA) == model


def test_something_else_is_no_pickled_model() -> None:
    with pytest.raises(SchemaError, match="pickled"):
        FittedModel.from_pickle({"model": 3}, SCHEMA)
