"""Weights of classes and ages: what they do to a fit, and that probabilities mean what they say nevertheless."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.own_package import forget, write_package
from training.artifacts.artifact import load_verified
from training.artifacts.signing import load_or_make_key
from training.compiling.compiling import compile_model
from training.errors import CandidateError
from training.fitting.candidates import Candidate, candidates_for
from training.fitting.fitted_model import FittedModel
from training.fitting.original import original_of
from training.fitting.search import fit
from training.fitting.weights import weigh
from training.model_file.model_spec import ModelSpec
from training.policies import Weighing
from training.run import train
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.settings import Home

DAY_US = 86_400_000_000
FIRST = {c.family: c for c in reversed(candidates_for("binary", ["linear", "forest", "boosting"], 0))}
Specs = Callable[..., ModelSpec]


def known(k: int, n: int = 4000) -> tuple[Rows, Schema, npt.NDArray[np.float64]]:
    """Return rows of k classes whose probabilities are known, the last classes rare; and those probabilities."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=n)
    logits = np.stack([np.zeros(n), 1.2 * x - 2.5, -x - 3.0][:k], axis=1)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array(["c", "b", "a"][:k], object)  # the order of the alphabet is not that of the contract
    labels = names[(probability.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)]
    schema = Schema((Feature("x", "numeric"),), "y", "binary" if k == 2 else "multiclass", tuple(names), "b" if k == 2 else None)
    return Rows({"x": x}, labels, np.arange(n, dtype=np.int64) * DAY_US), schema, probability


@pytest.mark.parametrize(("family", "k"), [("linear", 2), ("forest", 2), ("boosting", 3), ("linear", 3)])
def test_what_class_weights_do_to_probabilities_is_undone_compiled_too(family: str, k: int) -> None:
    rows, schema, exact = known(k)
    plain, balanced, kept = (
        fit(replace(FIRST[family], weighing=weighing), rows, schema)
        for weighing in (None, Weighing("balanced"), Weighing("balanced", is_undone=False))
    )

    answered, without, distorted = (m.predict(rows.columns).probability for m in (balanced, plain, kept))

    off = [float(np.abs(each - exact).mean()) for each in (answered, without, distorted)]  # type: ignore[operator]
    assert off[0] < off[1] + 0.02
    assert off[2] > 2 * off[0]
    assert np.array_equal(compile_model(balanced).predict(rows.columns).probability, answered)  # type: ignore[union-attr, arg-type]


def test_a_row_that_is_a_half_life_older_counts_half_and_balanced_classes_weigh_the_same() -> None:
    rows = Rows({}, np.array(["a", "a", "b", "a"], object), np.array([0, 5, 5, 10]) * DAY_US)
    half_life = timedelta(days=5)

    by_age, both = weigh(rows, Weighing(None, half_life)), weigh(rows, Weighing("balanced", half_life))

    assert by_age.rows[1:] / by_age.rows[:-1] == pytest.approx([2, 1, 2])
    assert by_age.rows.mean() == pytest.approx(1)
    assert both.rows[2] == pytest.approx(both.rows[[0, 1, 3]].sum())
    assert both.rows[1] / both.rows[0] == pytest.approx(2)


def test_a_half_life_follows_what_is_newest() -> None:
    x = np.tile(np.linspace(-1, 1, 50), 8)
    rows = Rows({"x": x}, np.where(np.arange(400) < 300, x, -x), np.arange(400, dtype=np.int64) * DAY_US)
    schema = Schema((Feature("x", "numeric"),), "y", "regression")
    linear = candidates_for("regression", ["linear"], 0)[0]

    slopes = [
        float(np.polyfit(x, fit(replace(linear, weighing=each), rows, schema).predict(rows.columns).score, 1)[0])
        for each in (None, Weighing(None, timedelta(days=20)))
    ]

    assert slopes[0] > 0.3
    assert slopes[1] < -0.8


def test_card_and_manifest_say_it_and_the_version_serves_compiled(spec_of: Specs, home: Home) -> None:
    rows, schema, exact = known(2)
    spec = spec_of("binary")
    training = replace(
        spec.training,
        candidates=("linear",),
        budget=replace(spec.training.budget, fits=1),
        class_weight="balanced",
        half_life=timedelta(days=900),
    )
    spec = replace(spec, schema=schema, segments=(), training=training)

    result = train(rows, spec, home=home, now=datetime(2024, 6, 1, tzinfo=UTC))

    version = load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))
    version.self_test()
    card = (result.artifact.path / "card.md").read_text()
    answers = version.predictor.predict(rows.columns).probability
    assert version.manifest.asked == {"class_weight": "balanced", "half_life": "900d"}
    assert "- class_weight: balanced\n- half_life: 900d\n" in card
    assert result.calibration.endswith("later rows; class weights undone")
    assert version.compiled is not None
    assert float(np.abs(answers - exact).mean()) < 0.02  # type: ignore[operator]


OWN = """
import numpy as np


class Takes:
    def fit(self, X, y, sample_weight=None):
        self.weights = sample_weight
        return self

    def predict(self, X):
        return np.zeros(len(X))


class Refuses(Takes):
    def fit(self, X, y):
        return self


takes = lambda schema, *, seed: Takes()
refuses = lambda schema, *, seed: Refuses()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], FittedModel]:
    """Fit what a factory gives on weighed rows."""
    monkeypatch.syspath_prepend(str(write_package(tmp_path, "own_weighed", OWN)))
    forget("own_weighed")
    rows = Rows({"x": np.arange(3.0)}, np.arange(3.0), np.array([0, 5, 10]) * DAY_US)
    schema = Schema((Feature("x", "numeric"),), "y", "regression")
    return lambda name: fit(
        Candidate("mine", {}, 0, f"own_weighed.models:{name}", weighing=Weighing(None, timedelta(days=5))), rows, schema
    )


def test_an_own_estimator_gets_weights_if_its_fit_takes_them_and_is_refused_otherwise(own: Callable[[str], FittedModel]) -> None:
    weights = own("takes").pipeline.estimator.weights

    with pytest.raises(CandidateError) as caught:
        own("refuses")

    assert weights[2] / weights == pytest.approx([4, 2, 1])
    assert str(caught.value).startswith("own_weighed.models:refuses takes no sample_weight where it is fitted; training.class_weight")


def test_a_clone_of_what_was_imported_gets_weights_by_the_name_of_its_last_step() -> None:
    rows, schema, exact = known(2)
    imported = original_of(fit(FIRST["linear"], rows, schema))

    again = fit(Candidate("original", {}, 0, original=imported, weighing=Weighing("balanced")), rows, schema)

    assert float(np.abs(again.predict(rows.columns).probability - exact).mean()) < 0.02  # type: ignore[operator]
    assert type(again.pipeline).__name__ == "CalibratedPipeline"
