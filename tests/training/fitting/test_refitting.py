"""An imported model fitted again: as what it was, with labels as it knows them; or not at all, and why."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge

from training.dataset.dataset import split_by_time
from training.fitting.fitted_model import FittedModel
from training.fitting.imported import take_imported
from training.fitting.original import labels_as_known, original_of, unfitted
from training.fitting.preprocessing import build_pipeline
from training.fitting.refitting import Refit, try_refit
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows
from training.schema.schema import frame, normalise_label

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]


class Once(LogisticRegression):
    """Can be fitted on all rows, and not on fewer."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        if len(y) < 600:
            raise RuntimeError("too few for me")
        return super().fit(X, y)


@pytest.fixture
def tried(spec_of: Specs, rows_of: Make) -> Callable[..., tuple[FittedModel, Rows, Refit]]:
    """Fit an estimator on labels of some type, import it, and try to fit it again."""

    def trying(estimator: Any, kind: Any = str, wrap: Any = lambda pipeline: pipeline, task: str = "binary") -> Any:
        schema = spec_of(task).schema
        rows = rows_of(schema)
        labels = rows.labels
        if task == "binary" and kind is not str:
            labels = np.array([kind(label == "yes") for label in rows.labels])
            rows = replace(rows, target=np.array([normalise_label(value) for value in labels.tolist()], object))
        elif task == "binary":
            labels = labels.astype(str)
        pipeline = wrap(build_pipeline(schema, estimator, scale=True, encode="onehot").fit(frame(rows.columns, schema), labels))
        older, newest = split_by_time(rows, 0.2)
        model, answers = take_imported(pipeline, newest, schema)
        return model, rows, try_refit(model, older, newest, answers, seed=0)

    return trying


@pytest.mark.parametrize("kind", [str, bool, int], ids=["str", "bool", "int"])
def test_a_refit_gets_labels_in_the_type_the_original_knows(tried: Callable[..., Any], kind: Any) -> None:
    model, rows, refit = tried(LogisticRegression(), kind)
    own = model.pipeline.classes_

    given = labels_as_known(refit.original, rows.labels)

    assert refit.why_not is None
    assert (given.dtype, {type(value) for value in given.tolist()}) == (own.dtype, {kind})
    assert [normalise_label(value) for value in given.tolist()] == rows.labels.tolist()
    assert "each retraining fits a clone" in refit.sentence


def test_a_regression_is_refitted_on_numbers(tried: Callable[..., Any]) -> None:
    _, _, refit = tried(Ridge(), task="regression")

    assert refit.why_not is None


def test_a_clone_is_not_fitted_keeps_its_parameters_and_uses_one_thread(tried: Callable[..., Any]) -> None:
    _, _, refit = tried(RandomForestClassifier(7, n_jobs=2, random_state=0))

    forest = unfitted(refit.original).named_steps["estimate"]

    assert (forest.n_estimators, forest.n_jobs, hasattr(forest, "estimators_")) == (7, 1, False)


def test_the_same_pipeline_has_the_same_bytes(tried: Callable[..., Any]) -> None:
    model, _, refit = tried(LogisticRegression())

    assert original_of(model).content == refit.original.content


def test_a_frozen_estimator_is_told_from_one_that_learned_the_same_rows(tried: Callable[..., Any]) -> None:
    _, _, frozen = tried(LogisticRegression(), wrap=FrozenEstimator)

    assert frozen.why_not == "fitting it again changes nothing: it is frozen"
    assert "`act: notify`" in frozen.sentence


def test_a_model_fitted_on_the_very_same_rows_is_not_taken_for_frozen(spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("binary").schema
    older, newest = split_by_time(rows_of(schema), 0.2)
    pipeline = build_pipeline(schema, LogisticRegression(), scale=True, encode="onehot")
    model, answers = take_imported(pipeline.fit(frame(older.columns, schema), older.labels), newest, schema)

    assert try_refit(model, older, newest, answers, seed=0).why_not is None


def test_a_refit_that_fails_says_how(tried: Callable[..., Any]) -> None:
    _, _, refit = tried(Once())

    assert "RuntimeError: too few for me" in refit.why_not
