"""A metric of one's own: where it is imported, what it may answer, and what a run says of it."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.own_package import forget, write_package
from training.errors import CandidateError, SpecError
from training.evaluation.gate import decide
from training.evaluation.own_metric import OwnLoss, asked_in_child, own_metric
from training.model_file.model_spec import ModelSpec, parse_spec
from training.own_code import imported_code
from training.policies import Budget, GatePolicy
from training.run import train
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.settings import Home

BODY = """
import numpy as np

def pinball(y, prediction):
    over = y - prediction.label
    return np.maximum(0.9 * over, -0.1 * over)

def sure(y, prediction):
    return 1 - prediction.probability[np.arange(len(y)), [prediction.classes.index(label) for label in y]]

def one_number(y, prediction):
    return 3.0

def holes(y, prediction):
    return np.where(np.arange(len(y)) == 2, np.nan, 1.0)

def texts(y, prediction):
    return y.astype(str) + "!"

def leaves(y, prediction):
    raise SystemExit(2)

def spoils(y, prediction):
    y[:] = 0
    prediction.label[:] = 0
    return np.ones(len(y))

five = 5
"""
Y = np.arange(40.0)
NEAR, FAR = Prediction(Y + 1), Prediction(Y - 2)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that EVERGREEN_CODE names, with the metrics."""
    folder = write_package(tmp_path / "code", "own_metrics", BODY)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("EVERGREEN_CODE", str(folder))
    forget("own_metrics")
    yield folder
    forget("own_metrics")


def test_it_is_the_mean_of_a_loss_a_row_and_imported_when_it_is_asked(code: Path) -> None:
    metric = own_metric("own_metrics.models:pinball")
    before = "own_metrics" in sys.modules

    scores = [metric.function(Y, each) for each in (NEAR, FAR)]

    assert not before
    assert scores == pytest.approx([0.1, 1.8])
    assert metric.gain(scores[0], scores[1]) > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one_number", "gives shape (), wanted a loss for each row, (40,)"),
        ("holes", "gives a loss that is not finite (row 2)"),
        ("texts", "failed: ValueError"),
        ("leaves", "failed: SystemExit: 2"),
        ("five", "is int, wanted a function metric(y, prediction)"),
        ("nowhere", "cannot be imported: AttributeError"),
    ],
)
def test_what_is_no_loss_a_row_is_refused_by_its_name(code: Path, name: str, words: str) -> None:
    with pytest.raises(CandidateError) as caught:
        OwnLoss(f"own_metrics.models:{name}")(Y, NEAR)

    assert f"own_metrics.models:{name}" in str(caught.value)
    assert words in str(caught.value)


def test_it_cannot_spoil_labels_and_answers(code: Path) -> None:
    y, answers = Y.copy(), Prediction(Y + 1)

    OwnLoss("own_metrics.models:spoils")(y, answers)

    assert y.tolist() == Y.tolist()
    assert answers.label.tolist() == (Y + 1).tolist()


def test_a_gate_judges_by_it_without_importing_it_and_refuses_other_code(code: Path) -> None:
    factory = "own_metrics.models:pinball"
    made_with = imported_code(factory).to_dict()

    metric = asked_in_child(factory, Y, [FAR, NEAR], made_with)
    decision = decide(FAR, NEAR, Y, metric, GatePolicy(rows=30))

    write_package(code, "own_metrics", BODY + "# changed\n")
    with pytest.raises(CandidateError, match="other code of own_metrics"):
        asked_in_child(factory, Y, [FAR, NEAR], made_with)
    assert "own_metrics" not in sys.modules
    assert decision.accepted
    assert (decision.champion_score, decision.challenger_score) == pytest.approx((1.8, 0.1))


def test_a_run_chooses_by_it_and_card_and_manifest_say_so(
    code: Path, spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows], home: Home
) -> None:
    spec = spec_of("multiclass", "metric: own_metrics.models:sure")
    spec = replace(spec, training=replace(spec.training, candidates=("linear",), budget=Budget(fits=2)))

    result = train(rows_of(spec.schema), spec, home=home, now=datetime(2024, 6, 1, tzinfo=UTC))

    manifest, card = result.artifact.manifest, (result.artifact.path / "card.md").read_text()
    assert result.search is not None
    assert result.search.metric == "own_metrics.models:sure"
    assert result.metrics["own_metrics.models:sure"].value < result.baseline["own_metrics.models:sure"].value
    assert "| **own_metrics.models:sure** | lower |" in card
    assert "- own code: own_metrics.models:sure: `own_metrics.models:sure`, files " in card
    assert manifest.code is not None
    assert manifest.code["own_metrics.models:sure"]["files"] == imported_code("own_metrics.models:sure").files
    assert manifest.served_code is None
    assert manifest.asked == {"metric": "own_metrics.models:sure"}
    assert {"log_loss", "accuracy"} <= set(result.metrics)
    assert (spec.watched_by.name, spec.judged_by.name) == ("log_loss", "own_metrics.models:sure")


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("models:", "is no metric; write package.module:function"),
        ("training.evaluation.losses:miss", "'training' is a package of Evergreen's"),
        ("__main__:loss", "'__main__' is no module"),
        ("magic", "module:function for one of your own"),
    ],
)
def test_a_metric_that_nothing_can_import_is_refused_where_it_is_written(metric: str, words: str) -> None:
    with pytest.raises(SpecError, match="metric") as caught:
        parse_spec(f"model: m\nschema: {{target: y, task: binary, features: {{x: numeric}}}}\nmetric: '{metric}'")

    assert words in caught.value.problems[0].message
