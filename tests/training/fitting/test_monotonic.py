"""Features that the answer must follow one way: held to it by the families that can, whatever the rows say."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyRegressor

from training.compiled.compiled_model import CompiledModel
from training.compiling.compiling import compile_model
from training.errors import CandidateError
from training.fitting.calibration import mapped
from training.fitting.candidates import candidates_for
from training.fitting.fitted_model import FittedModel
from training.fitting.original import original_of
from training.fitting.preprocessing import Encoding, build_pipeline, monotonic_columns
from training.fitting.search import fit, search
from training.model_file.model_spec import ModelSpec
from training.policies import Budget, CandidateName, Weighing
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema, frame

DAY_US = 86_400_000_000
FEATURES = (
    Feature("other", "numeric", nullable=True),
    Feature("city", "categorical", nullable=True),
    Feature("up", "numeric", nullable=True, monotonic="increasing"),
    Feature("flag", "boolean", monotonic="decreasing"),
    Feature("when", "datetime", nullable=True),
)
N = 400


@cache
def rows_of(task: str) -> Rows:
    """Rows whose target goes up and down with `up`, and up with `flag`."""
    rng = np.random.default_rng(2)
    up, other, flag = rng.normal(size=N), rng.normal(size=N), (rng.random(N) < 0.5).astype(float)
    city = rng.choice(np.array(["u", "v", "w", None], object), N)
    score = 2 * np.sin(3 * up) + up + other + flag + (city == "u") + 0.3 * rng.normal(size=N)
    gaps = {"other": np.where(rng.random(N) < 0.1, np.nan, other), "up": np.where(rng.random(N) < 0.1, np.nan, up)}
    columns = {"city": city, "flag": flag, "when": 1.7e9 + 3600.0 * np.arange(N), **gaps}
    target = score if task == "regression" else np.where(score > 1, "no", "yes").astype(object)
    return Rows(columns, target, np.arange(N, dtype=np.int64) * DAY_US)


@cache
def models_of(family: CandidateName, task: str, positive: str | None) -> tuple[FittedModel, CompiledModel]:
    """A fitted model with a map of its probabilities, plain and compiled."""
    schema = Schema(FEATURES, "y", task, ("no", "yes") if positive else None, positive)  # type: ignore[arg-type]
    candidate = candidates_for(task, [family], 0)[0]
    model = fit(replace(candidate, weighing=Weighing("balanced") if positive else None), rows_of(task), schema)
    model = mapped(model, (1.7, 0.4)) if positive else model
    compiled = compile_model(model)
    assert isinstance(compiled, CompiledModel)
    return model, compiled


@pytest.mark.parametrize(
    ("family", "task", "positive"), [("boosting", "binary", "no"), ("forest", "binary", "yes"), ("boosting", "regression", None)]
)
@settings(max_examples=15)
@given(row=st.integers(0, N - 1), ups=st.lists(st.floats(-1e6, 1e6) | st.floats(-4, 4), min_size=2, max_size=12))
def test_the_answer_goes_one_way_calibrated_and_compiled(
    family: CandidateName, task: str, positive: str | None, row: int, ups: list[float]
) -> None:
    one = rows_of(task).take(np.array([row])).columns
    swept = {**{name: np.repeat(values, len(ups)) for name, values in one.items()}, "up": np.sort(np.array(ups))}
    flagged = {**{name: np.repeat(values, 2) for name, values in one.items()}, "flag": np.array([0.0, 1.0])}

    steps = [(np.diff(m.predict(swept).score), np.diff(m.predict(flagged).score)) for m in models_of(family, task, positive)]

    assert all((upward >= -1e-12).all() and (downward <= 1e-12).all() for upward, downward in steps)


@pytest.mark.parametrize("encode", ["onehot", "ordinal"])
def test_a_direction_belongs_to_the_columns_of_its_feature_and_not_to_the_flags_of_missing_values(encode: Encoding) -> None:
    schema = Schema(FEATURES, "y", "regression")
    prepare = build_pipeline(schema, DummyRegressor(), scale=False, encode=encode)[0].fit(frame(rows_of("regression").columns, schema))

    directions = dict(zip(prepare.get_feature_names_out(), monotonic_columns(prepare, schema), strict=True))

    assert {name: each for name, each in directions.items() if each} == {"numbers__up": 1, "numbers__flag": -1}
    assert "numbers__missingindicator_up" in directions


def test_who_cannot_is_left_out_with_a_remark(spec_of: Callable[..., ModelSpec]) -> None:
    spec = spec_of("regression")
    spec = replace(spec, schema=Schema(FEATURES, "y", "regression"), training=replace(spec.training, budget=Budget(fits=2)))

    chosen = search(rows_of("regression"), spec)

    assert {score.candidate.partition("(")[0] for rung in chosen.rungs for score in rung.scores} <= {"forest", "boosting", "baseline"}
    assert chosen.remarks == ("left out of the search: linear cannot keep up, flag monotonic",)


def test_nobody_left_is_refused_by_name(spec_of: Callable[..., ModelSpec]) -> None:
    rows, spec = rows_of("regression"), spec_of("regression")
    schema = Schema(FEATURES, "y", "regression")
    clone = original_of(fit(candidates_for("regression", ["linear"], 0)[0], rows, schema))
    spec = replace(spec, schema=schema, training=replace(spec.training, candidates=(clone,)))

    with pytest.raises(CandidateError, match="no candidate is left: original cannot keep up, flag monotonic; forest and boosting can"):
        search(rows, spec)
