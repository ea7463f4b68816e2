"""Several models that answer together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.training import pools
from training.compiled.calibration_map import remap
from training.compiled.compiled_model import CompiledModel
from training.compiled.mixture import Mixture, Part, mix
from training.compiling.compiling import read_pipeline
from training.fitting.fitted_model import FittedModel
from training.model_file.model_spec import parse_spec
from training.schema.costs import Costs
from training.schema.prediction import Prediction
from training.schema.rows import object_column

WEIGHTS = (0.5, 0.2, 0.3)


class Answers:
    """A model that was asked already."""

    def __init__(self, prediction: Prediction) -> None:
        self.classes, self.prediction = prediction.classes, prediction

    def predict(self, columns: Any) -> Prediction:
        return self.prediction


def models_of(task: str, *options: dict[str, Any]) -> tuple[list[FittedModel], list[CompiledModel]]:
    schema = parse_spec(pools.spec_text_of(task)).schema
    plain = []
    for number, each in enumerate(options):
        given = dict(each)
        rows = pools.rows_of(task, number, classes=given.pop("classes", None))
        plain.append(pools.fitted(schema, rows, **given))
    return plain, [read_pipeline(each)[0] for each in plain]


def mean_of(models: list[FittedModel], maps: list[tuple[float, float] | None], task: str) -> Any:
    """The mean of mapped answers, computed plainly."""
    columns = pools.columns_of(task)
    total: Any = 0.0
    for model, point, weight in zip(models, maps, WEIGHTS, strict=True):
        answer = model.predict(columns)
        if answer.probability is None:
            values = answer.label if point is None else point[1] + point[0] * answer.label
        else:
            values = answer.probability if point is None else remap(answer.probability, *point)
        total = total + weight * values
    return total


@pytest.mark.parametrize("maps", [[None] * 3, [(1.3, 0.4), None, (0.8, -0.2)], [(1.3, 0.4), (0.9, 0.0), (0.8, -0.2)]])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_an_answer_is_the_mean_of_mapped_answers(task: str, maps: list[tuple[float, float] | None]) -> None:
    calibrated = {"calibration": (1.4, 0.3)} if task == "binary" else {}
    plain, compiled = models_of(task, {}, calibrated, {"forest": True} if task == "binary" else {})
    parts = [Part(model, weight, point) for model, weight, point in zip(compiled, WEIGHTS, maps, strict=True)]

    answer = Mixture(tuple(parts), plain[0].classes).predict(pools.columns_of(task))

    got = answer.label if answer.probability is None else answer.probability
    assert np.allclose(got, mean_of(plain, maps, task), rtol=1e-12, atol=1e-12)


def test_beyond_two_classes_a_slope_is_applied() -> None:
    maps: list[tuple[float, float] | None] = [(1.3, 0.0), None, (0.8, 0.0)]
    plain, compiled = models_of("multiclass", {}, {"calibration": (1.2, 0.0)}, {"forest": True})
    parts = [Part(model, weight, point) for model, weight, point in zip(compiled, WEIGHTS, maps, strict=True)]

    answer = Mixture(tuple(parts), plain[0].classes).predict(pools.columns_of("multiclass"))

    assert np.allclose(answer.probability, mean_of(plain, maps, "multiclass"), rtol=1e-12, atol=1e-12)  # type: ignore[arg-type]


def test_plain_and_compiled_models_mix() -> None:
    plain, compiled = models_of("binary", {}, {})
    columns = pools.columns_of("binary")

    both = Mixture((Part(plain[0], 0.25), Part(compiled[1], 0.75, (1.1, 0.2))), plain[0].classes).predict(columns)

    alone = Mixture((Part(compiled[0], 0.25), Part(compiled[1], 0.75, (1.1, 0.2))), plain[0].classes).predict(columns)
    assert np.allclose(both.probability, alone.probability, rtol=1e-9)  # type: ignore[arg-type]
    assert both.label.tolist() == alone.label.tolist()


@pytest.mark.parametrize("point", [None, (1.5, 0.0)], ids=["as it is", "mapped"])
def test_a_class_that_a_member_does_not_know_has_probability_0_there(point: tuple[float, float] | None) -> None:
    schema = parse_spec(pools.spec_text_of("multiclass")).schema
    _, (two, three) = models_of("multiclass", {"classes": ("low", "mid")}, {})
    columns = pools.columns_of("multiclass")

    mixture = mix([Part(two, 0.5, point), Part(three, 0.5, point)], schema, None)
    answer = mixture.predict(columns)

    assert mixture.classes == ("high", "low", "mid")
    only = (three if point is None else three.mapped(*point)).predict(columns)
    assert np.allclose(answer.probability[:, 0], 0.5 * only.probability[:, 0], rtol=1e-12)  # type: ignore[index]
    assert np.allclose(answer.probability.sum(axis=1), 1.0, rtol=1e-12)  # type: ignore[union-attr]


def test_costs_decide() -> None:
    schema = parse_spec(pools.spec_text_of("binary")).schema
    _, compiled = models_of("binary", {}, {})
    parts, columns = [Part(each, 0.5) for each in compiled], pools.columns_of("binary")

    careful = mix(parts, schema, Costs(("no", "yes"), ((0.0, 1.0), (1e9, 0.0)))).predict(columns)

    assert set(careful.label) == {"yes"}
    assert set(mix(parts, schema, None).predict(columns).label) == {"no", "yes"}


def test_a_compiled_model_by_itself_takes_its_map_in() -> None:
    schema = parse_spec(pools.spec_text_of("binary")).schema
    plain, [compiled] = models_of("binary", {"calibration": (1.4, 0.3)})
    columns = pools.columns_of("binary")

    mixed = mix([Part(compiled, 1.0, (0.9, -0.4))], schema, None)

    assert isinstance(mixed, CompiledModel)
    wanted = remap(plain[0].predict(columns).probability, 0.9, -0.4)  # type: ignore[arg-type]
    assert np.allclose(mixed.predict(columns).probability, wanted, rtol=1e-12)  # type: ignore[arg-type]


def test_values_of_a_compiled_model_are_mapped_twice_as_by_one_map() -> None:
    _, [compiled] = models_of("regression", {})
    columns = pools.columns_of("regression")

    twice = compiled.mapped(2.0, 1.0).mapped(0.5, -1.0).predict(columns).label

    assert np.allclose(twice, compiled.predict(columns).label - 0.5, rtol=1e-12)


def test_the_intercept_moves_the_last_class_whatever_order_the_estimator_has() -> None:
    _, [compiled] = models_of("binary", {})
    columns = pools.columns_of("binary")
    turned = replace(compiled, classes=("yes", "no"), order=(1, 0))

    moved = turned.mapped(1.0, 0.7).predict(columns).probability

    assert np.allclose(moved, remap(turned.predict(columns).probability, 1.0, 0.7), rtol=1e-12)  # type: ignore[arg-type]
    mixed = Mixture((Part(turned, 1.0, (1.0, 0.7)),), ("yes", "no")).predict(columns).probability
    assert np.allclose(mixed, moved, rtol=1e-12)  # type: ignore[arg-type]


def test_many_rows_are_answered_in_pieces_alike() -> None:
    _, compiled = models_of("binary", {}, {})
    mixture = Mixture((Part(compiled[0], 0.5), Part(compiled[1], 0.5, (1.1, 0.0))), compiled[0].classes)
    columns = {name: np.resize(values, 40) for name, values in pools.columns_of("binary").items()}

    once, pieces = mixture.predict(columns), replace(mixture, most_numbers=4 * 7).predict(columns)

    assert np.array_equal(pieces.probability, once.probability)  # type: ignore[arg-type]
    assert (pieces.label.tolist(), pieces.codes.tolist()) == (once.label.tolist(), once.codes.tolist())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("classes", "point", "words"),
    [
        (None, None, "answers values"),
        (("a", "b", "c"), (1.0, 0.5), "a map of 3 classes has no intercept"),
        (("a", "z"), None, "answers a, z, wanted some of a, b, c"),
    ],
)
def test_what_cannot_answer_together_is_refused(classes: Any, point: Any, words: str) -> None:
    values = np.zeros(1) if classes is None else object_column(["a"])
    probability = None if classes is None else np.full((1, len(classes)), 1 / len(classes))

    with pytest.raises(ValueError, match=words):
        Mixture((Part(Answers(Prediction(values, probability, classes)), 1.0, point),), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (np.array([[7.0, -6.0]]), "one of the models answers probabilities outside 0 to 1"),
        (np.array([[0.5, 0.5], [0.5, 0.5]]), "one of the models answers with shape"),
        (np.array([[np.nan, 0.5]]), "not finite"),
    ],
)
def test_a_wrong_answer_is_not_lost_in_the_mean(probability: Any, words: str) -> None:
    wrong = Prediction(object_column(["a"] * len(probability)), probability, ("a", "b"))
    right = Prediction(object_column(["a"]), np.array([[0.5, 0.5]]), ("a", "b"))

    mixture = Mixture((Part(Answers(wrong), 0.5), Part(Answers(right), 0.5)), ("a", "b"))

    with pytest.raises(ValueError, match=words):
        mixture.predict({"x": np.zeros(1)})


@pytest.mark.parametrize("point", [None, (1.2, 0.1)], ids=["as it is", "mapped"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_model_without_weight_is_not_asked(task: str, point: tuple[float, float] | None) -> None:
    plain, [compiled] = models_of(task, {})
    columns = pools.columns_of(task)
    silent = Answers(Prediction(np.array([np.nan]), None if task == "regression" else np.full((1, 2), np.nan), plain[0].classes))

    both = Mixture((Part(silent, 0.0, point), Part(compiled, 1.0, point)), plain[0].classes).predict(columns)

    alone = Mixture((Part(compiled, 1.0, point),), plain[0].classes).predict(columns)
    assert np.array_equal(both.score, alone.score)
