"""One loaded version: at once or with the batcher, how long it takes, and what it fails on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from service.errors import FailedRowsError
from service.models.batching import Batcher
from service.models.served_model import Deployment, deploy
from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.signing import load_or_make_key
from training.schema.prediction import Prediction
from training.schema.rows import Columns

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def loaded(place: Any) -> LoadedArtifact:
    return load_verified(place.bikes_path(0), place.home.cache, load_or_make_key(place.home.signing_key))


def deployed(artifact: LoadedArtifact, batcher: Batcher | None = None) -> Deployment:
    return deploy(artifact, model="bikes", version=artifact.version, move=0, loaded_at=NOW, batcher=batcher or Batcher())


COLUMNS = {"temp": np.array([12.5]), "docks": np.array([3.0]), "workday": np.array([1.0]), "district": np.array(["north"], dtype=object)}


def test_a_compiled_model_answers_at_once_and_a_plain_pipeline_in_the_batcher(place: Any) -> None:
    batches: list[tuple[int, int]] = []
    batcher = Batcher(on_batch=lambda n_requests, n_rows: batches.append((n_requests, n_rows)))
    artifact = loaded(place)
    compiled, plain = deployed(artifact, batcher), deployed(replace(artifact, compiled=None), batcher)

    [answer, again] = [deployment.predict(COLUMNS).probability for deployment in (compiled, plain)]

    assert (compiled.is_expensive, plain.is_expensive, plain.is_joined) == (False, True, True)
    assert batches == [(1, 1)]
    np.testing.assert_allclose(answer, again, rtol=0, atol=1e-12)


def test_what_was_measured_says_how_long_an_answer_takes(place: Any) -> None:
    deployment = deployed(loaded(place))

    assert deployment.artifact.cost is not None
    assert deployment.seconds(1) == deployment.artifact.cost.one_seconds
    assert deployment.seconds(1000) == deployment.artifact.cost.seconds(1000)


def answering(place: Any, answer: Any) -> Deployment:
    """A quick deployment whose model answers, or raises, whatever it is told."""

    class Answers:
        classes = ("false", "true")

        def predict(self, columns: Columns) -> Prediction:
            if isinstance(answer, BaseException):
                raise answer
            return answer  # type: ignore[no-any-return]

    deployment = deployed(loaded(place))
    return replace(deployment, artifact=replace(deployment.artifact, compiled=Answers()))  # type: ignore[arg-type]


def classes(*rows: list[float]) -> Prediction:
    return Prediction(np.array(["true"] * len(rows), object), np.array(rows), ("false", "true"))


TWO_ROWS = {name: np.repeat(values, 2) for name, values in COLUMNS.items()}
FAILED = "the model fails on"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param(classes([0.5, 0.5], [np.nan, np.nan]), r"row 1: the model fails on it \(NoAnswerError\)", id="NaN"),
        pytest.param(classes([7.0, -6.0], [0.5, 0.5]), r"row 0: the model fails on it \(NoAnswerError\)", id="outside of 0 and 1"),
        pytest.param(classes([0.5, 0.49], [0.5, 0.5]), r"row 0: the model fails on it \(NoAnswerError\)", id="not 1 in sum"),
        pytest.param(classes([np.inf, 0.5], [0.5, 0.5]), r"row 0: the model fails on it \(NoAnswerError\)", id="infinite"),
        pytest.param(classes([0.5, 0.5]), FAILED, id="too few rows"),
        pytest.param(classes([0.5, 0.5], [0.5, 0.5], [0.5, 0.5]), FAILED, id="too many rows"),
        pytest.param(classes([1.0], [1.0]), FAILED, id="too few classes"),
        pytest.param(Prediction(np.array([1.0, np.inf])), r"row 1: the model fails on it \(NoAnswerError\)", id="an infinite value"),
        pytest.param(Prediction(np.array([np.nan, 1.0])), r"row 0: the model fails on it \(NoAnswerError\)", id="no value"),
        pytest.param(Prediction(np.ones((2, 1))), FAILED, id="a matrix of values"),
        pytest.param(None, FAILED, id="nothing"),
        pytest.param(SystemExit(3), r"row 0: the model fails on it \(SystemExit\)", id="SystemExit"),
        pytest.param(KeyboardInterrupt(), r"row 0: the model fails on it \(KeyboardInterrupt\)", id="KeyboardInterrupt"),
        pytest.param(RecursionError(), r"row 0: the model fails on it \(RecursionError\)", id="RecursionError"),
        pytest.param(MemoryError(), r"fails on these rows together \(MemoryError\)", id="MemoryError"),
        pytest.param(FileNotFoundError("a file"), r"fails on these rows together \(FileNotFoundError\)", id="a file that is gone"),
    ],
)
def test_whatever_a_quick_model_answers_is_checked(place: Any, answer: Any, sentence: str) -> None:
    deployment = answering(place, answer)

    with pytest.raises(FailedRowsError, match=sentence):
        deployment.predict(TWO_ROWS)


def test_probabilities_in_32_bits_are_near_enough(place: Any) -> None:
    thirds = np.full((2, 2), [1 / 3, 2 / 3], dtype=np.float32).astype(np.float64)
    rounded = Prediction(np.array(["true", "true"], object), thirds + np.array([[0.0, 0.0], [0.0, 1e-7]]), ("false", "true"))

    assert answering(place, rounded).predict(TWO_ROWS) is rounded


def test_rows_that_a_model_fails_on_outside_the_batcher_are_named_too(place: Any) -> None:
    class Refuses:
        classes = None

        def predict(self, columns: Columns) -> Prediction:
            if (columns["docks"] > 9).any():
                raise ValueError("too many docks")
            return Prediction(columns["docks"])

    deployment = deployed(loaded(place))
    refusing = replace(deployment, artifact=replace(deployment.artifact, compiled=Refuses()))  # type: ignore[arg-type]

    with pytest.raises(FailedRowsError, match="row 1: the model fails on it \\(ValueError\\)"):
        refusing.predict({"docks": np.array([1.0, 10.0, 2.0])})
