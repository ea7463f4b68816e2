"""Pipelines fitted elsewhere: which may answer for a contract, and why others may not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline

from training.errors import SchemaError
from training.fitting.imported import take_imported
from training.fitting.preprocessing import build_pipeline
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows
from training.schema.schema import frame

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]


class Answers:
    """Answers what it is told to, a row."""

    def __init__(self, value: Any, classes: Any = ("no", "yes")) -> None:
        self.value, self.classes_ = value, classes

    def predict(self, table: Any) -> Any:
        return np.array([self.value] * len(table))

    predict_proba = predict


def fitted(estimator: Any, rows: Rows, schema: Any, y: Any = None) -> Any:
    return build_pipeline(schema, estimator, scale=True, encode="onehot").fit(frame(rows.columns, schema), rows.labels if y is None else y)


@pytest.mark.parametrize("kind", [str, np.bool_, np.int64], ids=["str", "bool", "int"])
def test_labels_of_any_type_are_those_of_the_contract(spec_of: Specs, rows_of: Make, kind: Any) -> None:
    schema = spec_of("binary").schema
    rows = rows_of(schema)
    y = np.array([kind(label == "yes") for label in rows.labels])
    named = replace(rows, target=np.array([{"True": "true", "False": "false"}.get(str(v), str(v)) for v in y.tolist()], object))

    model, answers = take_imported(fitted(DummyClassifier(), rows, schema, y), named, schema)

    assert len(model.classes or ()) == 2
    assert answers.fault(len(rows)) is None


@pytest.mark.parametrize(
    ("task", "pipeline", "words"),
    [
        ("binary", None, "it is NoneType, wanted a fitted estimator"),
        ("binary", DummyClassifier, "it is the class DummyClassifier, wanted"),
        ("binary", [1, 2], "it is list, wanted"),
        ("binary", RidgeClassifier(), r"RidgeClassifier has no predict_proba; scikit-learn's CalibratedClassifierCV"),
        ("binary", make_pipeline(LinearRegression()), "LinearRegression is no classifier"),
        ("binary", DummyClassifier(), "DummyClassifier has no classes_; wanted a fitted classifier"),
        ("binary", Answers([0.5, 0.5], [0, 1]), "its classes are 0, 1; the rows have no, yes"),
        ("binary", Answers([0.5, 0.5, 0.0], ["maybe", "no", "yes"]), "a binary task has two"),
        ("binary", Answers(0.5), r"predict_proba gives shape \(600,\), wanted \(600, 2\)"),
        ("binary", Answers([0.5, 0.2, 0.3]), r"predict_proba gives shape \(600, 3\), wanted \(600, 2\)"),
        ("binary", Answers([np.nan, 0.5]), "it answers a value that is not finite"),
        ("binary", Answers([1.5, -0.5]), "it answers probabilities outside 0 to 1"),
        ("binary", Answers([0.2, 0.2]), "do not add up to 1"),
        ("regression", Answers([1.0]), r"predict gives shape \(600, 1\), wanted \(600,\)"),
        ("regression", Answers(np.inf), "it answers a value that is not finite"),
        ("regression", Answers("high"), "ValueError: could not convert string"),
        ("regression", DummyRegressor(), "NotFittedError"),
    ],
)
def test_what_cannot_answer_is_refused_with_the_reason(spec_of: Specs, rows_of: Make, task: str, pipeline: Any, words: str) -> None:
    schema = spec_of(task).schema

    with pytest.raises(SchemaError, match=f"cannot answer rows of this schema: .*{words}"):
        take_imported(pipeline, rows_of(schema), schema)


def test_declared_classes_are_all_of_them(spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("binary").schema
    rows, declared = rows_of(schema), replace(schema, classes=("canceled", "stayed"))
    other = replace(rows, target=np.where(rows.labels == "yes", "stayed", "canceled").astype(object))

    with pytest.raises(SchemaError, match=r"its classes are 0, 1; the contract's are canceled, stayed"):
        take_imported(Answers([0.5, 0.5], [0, 1]), other, declared)


def test_a_positive_class_it_does_not_know_is_refused(spec_of: Specs, rows_of: Make) -> None:
    schema = replace(spec_of("binary").schema, positive="true")

    with pytest.raises(SchemaError, match="the positive one of the contract is true"):
        take_imported(Answers([0.5, 0.5]), rows_of(schema), schema)


def test_what_the_refusal_names_helps(spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("multiclass").schema
    rows = rows_of(schema)

    model, _ = take_imported(fitted(CalibratedClassifierCV(RidgeClassifier(), cv=2), rows, schema), rows, schema)

    assert model.classes == ("never", "no", "yes")
