"""Boosted models asked together answer what each answers alone, to the bit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from training.compiled.compiled_model import CompiledModel
from training.compiled.joint_boosting import JointBoosting, joins
from training.compiled.mixture import Mixture, Part
from training.compiled.trees import TreeEngine
from training.compiling.compiling import read_pipeline
from training.fitting.candidates import Candidate, candidates_for
from training.fitting.search import fit
from training.model_file.model_spec import parse_spec
from training.schema.rows import Columns, Rows

SCHEMA = """model: m
schema: {{target: y, task: {task}, time: {{column: t, kind: timestamp, clock: event}}, features: {{
  a: {{kind: numeric, nullable: true}}, b: {{kind: numeric, nullable: true}}, c: {{kind: categorical, nullable: true}},
  d: {{kind: datetime, derive: [hour, weekday]}}}}}}
"""
HOUR_US = 3_600_000_000


def columns_of(seed: int, n: int, values: str = "uvw", missing: str = "ab") -> Columns:
    """Rows of which some columns have missing values, and some categories and numbers far from what others have."""
    rng = np.random.default_rng(seed)
    numbers = {name: np.where((rng.random(n) < 0.1) & (name in missing), np.nan, rng.normal(size=n) * (1 + seed)) for name in "ab"}
    return {**numbers, "c": rng.choice(np.array([*values, None], object), n), "d": rng.integers(0, 10**6, n) * HOUR_US}


def model_of(task: str, seed: int, trees: int = 20, **columns: Any) -> CompiledModel:
    known = columns_of(seed, 600, **columns)
    score = np.nan_to_num(known["a"]) + (known["c"] == "u")
    target: Any = (
        score if task == "regression" else np.digitize(score, [-0.3, 0.6][: 1 if task == "binary" else 2]).astype(str).astype(object)
    )
    rows = Rows(known, target, np.arange(600, dtype=np.int64) * HOUR_US)
    compiled = read_pipeline(fit(Candidate("boosting", {"max_iter": trees}), rows, parse_spec(SCHEMA.format(task=task)).schema))[0]
    assert isinstance(compiled, CompiledModel)
    return compiled


def engines_of(models: list[CompiledModel]) -> list[TreeEngine]:
    return [each.engine for each in models if isinstance(each.engine, TreeEngine)]


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def models(request: pytest.FixtureRequest) -> list[CompiledModel]:
    """Three that differ in vocabulary, fences, flagged columns and number of trees."""
    task = request.param
    return [model_of(task, 0), model_of(task, 1, trees=13, values="uxyz", missing=""), model_of(task, 2, missing="b")]


@pytest.mark.parametrize("n", [1, 2, 48])
def test_each_model_answers_what_it_answers_alone(models: list[CompiledModel], n: int) -> None:
    engines = engines_of(models)
    assert [joins(engines[0], each) for each in engines] == [True] * 3
    assert len({engine.width for engine in engines}) > 1

    for seed in range(12):
        columns = columns_of(seed, n, values="uvxy?")
        for engine, together in zip(engines, JointBoosting.of(engines).answer(columns, n), strict=True):
            assert engine.answer(columns, n).tobytes() == np.ascontiguousarray(together).tobytes()


def test_a_mixture_answers_a_row_alike_alone_and_among_many(models: list[CompiledModel]) -> None:
    classes = models[0].classes
    mixture = Mixture(tuple(Part(model, 1 / 3, (1.2, 0.0)) for model in models), classes)
    columns = columns_of(5, 60)

    many = mixture.predict(columns)

    for row in range(60):
        alone = mixture.predict({name: values[row : row + 1] for name, values in columns.items()})
        given, wanted = (alone.label, many.label) if classes is None else (alone.probability, many.probability)
        assert given is not None
        assert wanted is not None
        np.testing.assert_array_equal(given[0], wanted[row])


def test_an_infinite_value_is_refused_as_by_each(models: list[CompiledModel]) -> None:
    columns = {**columns_of(0, 1), "b": np.array([np.inf])}
    engines = [replace(engine, numbers=replace(engine.numbers, fences=None)) for engine in engines_of(models)]  # which clip it

    for answer in (engines[0].answer, JointBoosting.of(engines).answer):
        with pytest.raises(ValueError, match="infinite"):
            answer(columns, 1)


def test_what_reads_other_columns_or_is_no_boosting_is_asked_by_itself() -> None:
    boosted = model_of("binary", 0)
    schema = parse_spec(SCHEMA.format(task="binary")).schema
    rows = Rows(columns_of(0, 300), np.array(["0", "1"] * 150, object), np.arange(300, dtype=np.int64) * HOUR_US)
    others = [read_pipeline(fit(candidates_for("binary", [family], 0)[0], rows, schema))[0] for family in ("forest", "linear")]

    assert [joins(boosted.engine, each.engine) for each in others if isinstance(each, CompiledModel)] == [False, False]
