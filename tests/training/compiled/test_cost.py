"""What a call costs: measured when a version is made, told in its report and its card."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.signing import load_or_make_key
from training.compiled.cost import MANY, Cost, measure_cost
from training.model_file.model_spec import parse_spec
from training.run import wrap_imported
from training.schema.prediction import Prediction
from training.schema.rows import Columns
from training.settings import Home

SPEC = parse_spec("model: fares\nschema: {target: fare, task: regression, features: {distance: numeric}}")


class Clock:
    """Time that passes only while a model predicts: a fixed part a call, and a part a row."""

    def __init__(self, call_seconds: float, row_seconds: float) -> None:
        self.now = 0.0
        self.sizes: list[int] = []
        self._call, self._row = call_seconds, row_seconds

    def __call__(self) -> float:
        return self.now

    def predict(self, columns: Columns) -> Prediction:
        n_rows = len(columns["x"])
        self.sizes.append(n_rows)
        self.now += self._call + self._row * n_rows
        return Prediction(np.zeros(n_rows))


@pytest.mark.parametrize(
    ("call_seconds", "row_seconds", "is_expensive", "gains"),
    [
        pytest.param(0.008, 0.0001, True, True, id="a pipeline: expensive a call, cheap a row"),
        pytest.param(0.0001, 0.01, True, False, id="expensive by its rows"),
        pytest.param(0.00003, 0.000002, False, True, id="compiled"),
    ],
)
def test_a_model_is_judged_by_what_one_row_and_many_cost(call_seconds: float, row_seconds: float, is_expensive: bool, gains: bool) -> None:
    clock = Clock(call_seconds, row_seconds)

    cost = measure_cost(clock.predict, {"x": np.arange(100.0)}, clock=clock)

    assert cost.one_seconds == pytest.approx(call_seconds + row_seconds)
    assert cost.many_seconds == pytest.approx(call_seconds + MANY * row_seconds)
    assert (cost.is_expensive, cost.is_shared_with_gain) == (is_expensive, gains)
    assert cost.seconds(1000) == pytest.approx(call_seconds + 1000 * row_seconds)


def test_measuring_a_slow_model_is_bounded() -> None:
    clock = Clock(5.0, 0.0)

    cost = measure_cost(clock.predict, {"x": np.arange(100.0)}, clock=clock)

    assert (cost.one_seconds, clock.sizes) == (5.0, [1, MANY])


def test_a_few_rows_are_repeated() -> None:
    clock = Clock(0.001, 0.0)

    measure_cost(clock.predict, {"x": np.arange(3.0)}, clock=clock)

    assert set(clock.sizes) == {1, MANY}


def test_the_cost_comes_back_from_its_json() -> None:
    cost = Cost(0.001, 0.002)

    assert Cost.from_dict(cost.to_dict()) == cost


@pytest.mark.parametrize("stored", [None, {}, {"one_row_seconds": None}, {"one_row_seconds": 1}], ids=str)
def test_what_was_never_measured_is_none(stored: Any) -> None:
    assert Cost.from_dict(stored) is None


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


def load(home: Home, pipeline: Any, **options: Any) -> LoadedArtifact:
    distance = np.linspace(1, 10, 120)
    table = pd.DataFrame({"distance": distance, "fare": 2 + 3 * distance})
    fitted = pipeline.fit(table[["distance"]], table["fare"])
    made = wrap_imported(fitted, SPEC, table, home=home, now=datetime(2026, 3, 1, tzinfo=UTC))
    return load_verified(made.artifact.path, home.cache, load_or_make_key(home.signing_key), **options)


@pytest.mark.parametrize(
    "pipeline", [LinearRegression(), make_pipeline(PolynomialFeatures(2), LinearRegression())], ids=["another", "plain"]
)
def test_a_version_carries_what_its_predictor_costs(home: Home, pipeline: Any) -> None:
    loaded = load(home, pipeline)

    assert loaded.cost is not None
    assert loaded.cost.to_dict() == loaded.report["serving"]["cost"]
    assert loaded.cost.sentence in loaded.card


def test_the_cost_of_a_compiled_model_says_nothing_of_the_plain_one_that_serves_in_its_place(home: Home) -> None:
    loaded = load(home, make_pipeline(PolynomialFeatures(2), LinearRegression()))

    assert replace(loaded, compiled="not the engine that was measured").cost is None  # type: ignore[arg-type]
