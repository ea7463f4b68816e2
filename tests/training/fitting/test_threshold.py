"""Decisions by a threshold: from the model file to version, search and card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.draft import HELD_OUT
from training.artifacts.held_out import read_held_out
from training.artifacts.signing import load_or_make_key
from training.errors import SpecError
from training.json_text import from_text
from training.model_file.model_spec import parse_spec
from training.result import TrainingResult
from training.run import train, wrap_imported
from training.schema.rows import Rows
from training.schema.schema import frame
from training.settings import Home

pytestmark = pytest.mark.xdist_group("threshold")  # one worker makes what all share

FILE = """model: small
metric: {metric}
schema: {{target: y, task: {task}, classes: [well, ill], features: {{x: numeric}}}}
training: {{candidates: [linear], budget: 1 fits, {training}}}
"""
NOW = datetime(2024, 6, 1, tzinfo=UTC)
Run = Callable[..., tuple[TrainingResult, LoadedArtifact]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Rows of which one in twelve is ill."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=3000)
    ill = rng.random(3000) < 1 / (1 + np.exp(3.2 - 1.3 * x))
    return Rows({"x": x}, np.where(ill, "ill", "well").astype(object), np.arange(3000, dtype=np.int64))


@pytest.fixture(scope="module")
def run_of(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that returns the one run of a model file, and its version."""

    @cache
    def run(metric: str, training: str = "") -> tuple[TrainingResult, LoadedArtifact]:
        home = Home(tmp_path_factory.mktemp("threshold") / "home").ensure()
        spec = parse_spec(FILE.format(metric=metric, task="binary", training=training))
        result = train(rows, spec, home=home, now=NOW)
        return result, load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))

    return run


def test_a_version_decides_by_the_threshold_it_chose_however_it_is_asked(rows: Rows, run_of: Run) -> None:
    _, version = run_of("f1")

    threshold = version.manifest.threshold
    assert threshold is not None
    assert 0.1 < threshold < 0.35
    version.self_test()
    assert version.compiled is not None
    for answer in (each.predict(rows.columns) for each in (version.predictor, version.model)):
        assert answer.probability is not None
        assert answer.label.tolist() == np.where(answer.probability[:, 1] >= threshold, "ill", "well").tolist()


def test_figures_card_and_constant_guess_are_of_decisions_by_a_threshold_chosen_on_other_rows(rows: Rows, run_of: Run) -> None:
    result, version = run_of("f1")
    usual, _ = run_of("f1", "threshold: 0.5")

    assert result.metrics["f1"].value > usual.metrics["f1"].value + 0.1
    assert result.metrics["log_loss"].value == usual.metrics["log_loss"].value
    share = float((rows.labels[-600:] == "ill").mean())
    assert result.baseline["f1"].value == pytest.approx(2 * share / (1 + share))
    assert usual.baseline["f1"].value == 0.0
    assert result.search is not None
    assert result.search.score > result.search.baseline_score > 0.1
    assert f"deciding: positive from a probability of {version.manifest.threshold:.4g} on: gain in f1" in version.card
    assert version.report["deciding"].startswith("positive from")


def test_what_it_keeps_of_the_held_out_rows_is_decided_as_it_serves(run_of: Run) -> None:
    _, version = run_of("f1")

    _, kept = read_held_out(from_text((version.path / HELD_OUT).read_bytes()))

    assert kept.probability is not None
    assert kept.label.tolist() == np.where(kept.probability[:, 1] >= version.manifest.threshold, "ill", "well").tolist()


@pytest.mark.parametrize("metric", ["f1", "log_loss"])
def test_a_threshold_of_the_model_file_stands(metric: str, rows: Rows, run_of: Run) -> None:
    _, version = run_of(metric, "threshold: 0.2")

    answer = version.predictor.predict(rows.columns)
    assert answer.probability is not None
    assert (version.manifest.threshold, version.manifest.asked) == (0.2, {"threshold": 0.2})
    assert answer.label.tolist() == np.where(answer.probability[:, 1] >= 0.2, "ill", "well").tolist()


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_other_metrics_choose_none(metric: str, run_of: Run) -> None:
    _, version = run_of(metric)

    assert version.manifest.threshold is None
    assert b"threshold" not in version.manifest.to_json()
    assert "deciding" not in version.report


@pytest.mark.slow  # each import is tried in a process like a worker
def test_what_was_imported_keeps_the_most_probable_class_until_it_is_weighed_and_a_fixed_threshold_stands(
    rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = parse_spec(FILE.format(metric="f1", task="binary", training=""))
    pipeline = DummyClassifier(strategy="prior").fit(frame(rows.columns, spec.schema), rows.labels)
    fixed = replace(spec, training=replace(spec.training, threshold=0.01))

    results = [wrap_imported(pipeline, each, rows, home=Home(tmp_path_factory.mktemp("home")), now=NOW) for each in (spec, fixed)]

    assert [each.artifact.manifest.threshold for each in results] == [None, 0.01]
    share = float((rows.labels[-600:] == "ill").mean())
    assert results[0].metrics["f1"].value == 0.0
    assert results[1].metrics["f1"].value == pytest.approx(2 * share / (1 + share))


@pytest.mark.parametrize(
    ("task", "training", "words"),
    [
        ("multiclass", "threshold: 0.3", "training.threshold: means nothing for a multiclass task"),
        ("binary", "threshold: 0.3, costs: [[0, 1], [2, 0]]", "training.threshold: stands beside costs, which decide already"),
        ("binary", "threshold: 1.0", "training.threshold"),
        ("binary", "threshold: half", "training.threshold"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(task: str, training: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_spec(FILE.format(metric="f1", task=task, training=training))
