"""Decisions that cost least: from the model file to version, search, gate and card."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from monitoring.judging.performance.scores import compare, score
from training.artifacts.answer_in_child import ModelInChild
from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.signing import load_or_make_key
from training.errors import SpecError
from training.evaluation.gate import decide as gate
from training.evaluation.losses import calibration_error, cost_metric
from training.model_file.model_spec import ModelSpec, parse_spec
from training.policies import GatePolicy
from training.result import TrainingResult
from training.run import train, wrap_imported
from training.schema.costs import Costs, decide
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.settings import Home

pytestmark = pytest.mark.xdist_group("costs")  # one worker makes what all share

FILE = """model: small
schema: {{target: y, task: {task}, classes: {classes}, features: {{x: numeric}}}}
training: {{candidates: [linear], budget: 1 fits, costs: {costs}}}
{more}
"""
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def spec_of(costs: str = "[[0, 1], [20, 0]]", classes: str = "[well, ill]", task: str = "binary", more: str = "") -> ModelSpec:
    return parse_spec(FILE.format(costs=costs, classes=classes, task=task, more=more))


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Rows of which one in six is ill."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=900)
    ill = rng.random(900) < 1 / (1 + np.exp(2 - 2 * x))
    return Rows({"x": x}, np.where(ill, "ill", "well").astype(object), np.arange(900, dtype=np.int64))


Run = Callable[[str, str], tuple[TrainingResult, LoadedArtifact]]


@pytest.fixture(scope="module")
def run_of(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that returns the one run of a model file, and its version."""

    @cache
    def run(costs: str, more: str) -> tuple[TrainingResult, LoadedArtifact]:
        home = Home(tmp_path_factory.mktemp("costs") / "home").ensure()
        result = train(rows, spec_of(costs, more=more), home=home, now=NOW)
        return result, load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))

    return run


@pytest.mark.parametrize(
    ("more", "costs"), [("", "[[0, 1], [6, 0]]"), ("metric: log_loss", "[[0, 2], [1, 0]]")], ids=["missing an ill one", "crying wolf"]
)
def test_a_version_decides_by_costs_however_it_is_asked_and_card_and_search_report_them(
    rows: Rows, run_of: Run, more: str, costs: str
) -> None:
    spec = spec_of(costs, more=more)
    assert spec.costs is not None

    result, version = run_of(costs, more)

    version.self_test()
    answers = [
        each.predict(rows.columns) for each in (version.predictor, version.model, ModelInChild(result.artifact.path, ("well", "ill")))
    ]
    assert version.compiled is not None
    assert answers[0].classes == ("well", "ill")
    wanted = decide(answers[0].probability, spec.costs.table)  # type: ignore[arg-type]
    assert [a.label.tolist() for a in answers] == [np.array(["well", "ill"])[wanted].tolist()] * 3
    assert np.mean(wanted) != np.mean(answers[0].probability.argmax(axis=1))  # type: ignore[union-attr]
    assert result.search is not None
    assert result.search.metric == ("log_loss" if more else "cost")
    card = (result.artifact.path / "card.md").read_text()
    assert ("| cost | lower |" if more else "| **cost** | lower |") in card
    assert "- costs: {" in card
    assert version.manifest.asked == {"costs": {"well": list(spec.costs.table[0]), "ill": list(spec.costs.table[1])}}
    assert result.metrics["cost"].value < result.baseline["cost"].value


def test_the_constant_guess_decides_by_costs_too_and_so_does_what_was_imported(rows: Rows, run_of: Run, home: Home) -> None:
    fitted, version = run_of("[[0, 1], [6, 0]]", "")

    imported = wrap_imported(version.model.pipeline, spec_of("[[0, 1], [6, 0]]"), rows, home=home, now=NOW)

    assert fitted.baseline["cost"].value == pytest.approx(1 - fitted.baseline["accuracy"].value)  # it decides ill, always
    assert imported.metrics["cost"].value < imported.baseline["cost"].value
    assert imported.artifact.manifest.asked is not None


def test_gate_and_watch_judge_by_the_mean_cost() -> None:
    costs = Costs(("well", "ill"), ((0.0, 1.0), (20.0, 0.0)))
    rng = np.random.default_rng(0)
    exact = rng.random(2000) * 0.3
    y = np.where(rng.random(2000) < exact, "ill", "well").astype(object)
    probability = np.stack([1 - exact, exact], axis=1)
    names = np.array(costs.classes, object)
    likely, cheap = (Prediction(names[decide(probability, table)], probability, costs.classes) for table in (None, costs.table))

    better = gate(likely, cheap, y, cost_metric(costs), GatePolicy())
    before, now = score(y, cheap, cost_metric(costs)), score(y, likely, cost_metric(costs))

    assert better.accepted
    assert better.evidence["metric"] == "cost"
    assert better.challenger_score == pytest.approx(float(costs.of_rows(y, cheap.label).mean()))
    assert before is not None
    assert now is not None
    assert compare(now, before, source="holdout", level=0.01, tolerance=0.02, through_us=0).is_degraded


def test_the_confidence_of_several_classes_is_that_of_the_most_probable_one_whatever_is_decided() -> None:
    probability = np.tile([0.6, 0.3, 0.1], (100, 1))
    y = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 10, object)

    by_cost = Prediction(np.full(100, "c", object), probability, ("a", "b", "c"))

    assert calibration_error(y, by_cost) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("costs", "more", "field", "words"),
    [
        ("[[0, 1], [2]]", "", "training.costs", "wanted 2 rows (what is true) of 2 (what is decided)"),
        ("[[0, 1]]", "", "training.costs", "are 1 rows of 2 numbers"),
        ("[[0, 0], [2, 0]]", "", "training.costs", "deciding ill costs 0 where well is true, no more than deciding right (0)"),
        ("[[0, .inf], [2, 0]]", "", "training.costs.0.1", ""),
        ("[[0, x], [2, 0]]", "", "training.costs.0.1", ""),
        ("null", "metric: cost", "metric", "'cost' is no metric of a binary task without training.costs"),
    ],
)
def test_costs_that_say_nothing_are_refused(costs: str, more: str, field: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(costs, more=more)

    (problem,) = caught.value.problems
    assert problem.field == field
    assert words in problem.message


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_costs_need_declared_classes(task: str) -> None:
    text = FILE.format(task=task, classes="null", costs="[[0, 1], [2, 0]]", more="")

    with pytest.raises(SpecError, match=r"need schema.classes"):
        parse_spec(text)


def test_the_positive_class_may_be_declared_first() -> None:
    spec = replace(spec_of(classes="[ill, well]"), schema=replace(spec_of().schema, classes=("ill", "well"), positive="ill"))

    order = spec.schema.order_classes(())

    assert spec.costs is not None
    assert order == ("well", "ill")
    assert spec.costs.ordered(order) == ((0.0, 20.0), (1.0, 0.0))
