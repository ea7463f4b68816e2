"""The loop with an imported champion: refitted as what it was, or only told of; no baseline before its live rows make one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from monitoring.journal.tables import RETRAIN
from monitoring.stores import open_stores
from tests.monitoring.world import MODEL_FILE, START, World, weather
from training.artifacts.pickles import ORIGINAL_FILE
from training.fitting.preprocessing import build_pipeline
from training.model_file.model_spec import parse_spec
from training.registry.tables import Cause
from training.run import wrap_imported
from training.schema.schema import frame
from training.settings import Home

ABSENT = MODEL_FILE.replace("candidates: [linear], ", "").replace("cool_down: 14d", "cool_down: 14d\n  min_new_labels: 250")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """A world whose champion is imported from a pipeline that learned from the wrong rows."""
    made: list[World] = []

    def make(wrap: Any = lambda pipeline: pipeline, model_file: str = ABSENT) -> World:
        home = Home(tmp_path / "home").ensure()
        world = World(open_stores(home, f"sqlite:///{home.database}"), parse_spec(model_file))
        made.append(world)
        schema, history = world.spec.schema, weather(0, 0, 60)
        pipeline = build_pipeline(schema, LogisticRegression(C=0.5), scale=True, encode="onehot")
        pipeline = wrap(pipeline.fit(frame(history.columns, schema), history.labels[::-1]))
        registry = world.stores.registry
        first = wrap_imported(pipeline, world.spec, history, home=home, registry=registry, now=START).version
        registry.promote("rain", first, expected=None, cause=Cause("test", "imported"), now=START)
        return world

    yield make
    for one in made:
        one.close()


def test_a_retraining_fits_a_clone_of_the_original_and_keeps_its_hash(world: Callable[..., World]) -> None:
    here = world()
    registry, first = here.stores.registry, here.champion
    here.answer_here(weather(1, 60, 22))

    here.settle(here.monitor())

    before, after = (registry.version("rain", version) for version in (first, here.generation))
    path = here.stores.home.artifacts / after.path
    assert here.champion != first
    assert before.manifest["original"]["why_not"] is None
    assert after.manifest["original"] == before.manifest["original"]
    assert after.manifest["algorithm"] == "original"
    assert after.manifest["files"][ORIGINAL_FILE]["sha256"] == after.manifest["original"]["sha256"]
    assert "retraining: each retraining fits a clone of the imported estimator" in (path / "card.md").read_text()


def test_what_cannot_be_fitted_again_is_only_told_of(world: Callable[..., World]) -> None:
    here = world(wrap=FrozenEstimator)
    first = here.champion
    here.answer_here(weather(1, 60, 22))

    here.settle(here.monitor())

    assert here.champion == first
    assert here.stores.journal.runs("rain", RETRAIN) == []
    reasons = [reason for verdict in here.stores.journal.verdicts("rain", limit=None) for reason in verdict.reasons]
    assert any(reason.startswith("would retrain: ") for reason in reasons)
    assert "act: notify, so nothing is done" in reasons


@pytest.mark.slow
def test_candidates_that_are_written_compete_instead(world: Callable[..., World]) -> None:
    here = world(wrap=FrozenEstimator, model_file=MODEL_FILE.replace("cool_down: 14d", "cool_down: 14d\n  min_new_labels: 250"))
    first = here.champion
    here.answer_here(weather(1, 60, 22))

    here.settle(here.monitor())

    assert here.champion != first
    assert here.stores.registry.version("rain", here.champion).manifest["algorithm"] == "linear"


@pytest.mark.slow
def test_an_imported_champion_has_no_baseline_before_its_live_rows_make_one(world: Callable[..., World]) -> None:
    here = world(model_file=MODEL_FILE)
    here.answer_here(weather(1, 60, 55))

    here.settle(here.monitor())

    verdicts = list(reversed(here.stores.journal.verdicts("rain", limit=None)))
    tests = [one.evidence["performance"] for one in verdicts]
    known = [n for n, tested in enumerate(tests) if tested is not None]
    assert known == [6, 7], [one.reasons for one in verdicts]
    assert "performance has no baseline yet: the champion was imported, and 920 of 1500 live rows" in " ".join(verdicts[3].reasons)
    assert tests[-1]["source"] == "the model's first 38 days"
