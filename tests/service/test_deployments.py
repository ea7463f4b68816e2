"""Deployments: a moved champion is verified, tested and swapped in, or refused while the old one goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.batching import Lane
from service.deployment import Deployment, deploy
from service.deployments import Deployments
from service.errors import FailedRowsError, ModelNotReadyError, UnknownModelError
from service.metrics import ServiceMetrics
from training.artifact import LoadedArtifact, load_verified
from training.database import open_database
from training.prediction import Prediction
from training.registry import Registry
from training.rows import Columns
from training.signing import load_or_make_key

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def samples() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def make(place: Any, samples: CollectorRegistry) -> Callable[..., Deployments]:
    def deployments(registry: Registry | None = None) -> Deployments:
        key = load_or_make_key(place.home.signing_key)
        metrics = ServiceMetrics(CollectorRegistry() if samples._names_to_collectors else samples)
        return Deployments(registry=registry or place.registry, home=place.home, signing_key=key, metrics=metrics, clock=lambda: NOW)

    return deployments


@pytest.fixture
def gone(tmp_path: Path) -> Registry:
    """A registry whose database cannot be reached."""
    return Registry(open_database(f"sqlite:///{tmp_path}/gone/evergreen.db", create=False))


def spoil(folder: Path) -> None:
    content = bytearray((folder / "model.joblib").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.joblib").write_bytes(content)


def test_a_moved_champion_is_swapped_in(make: Callable[..., Deployments], place: Any, samples: CollectorRegistry) -> None:
    deployments = make()
    deployments.refresh()
    before = deployments.current("bikes")

    place.promote(1, 0)
    deployments.refresh()

    assert (before.version, deployments.current("bikes").version) == (place.bikes[0].version, place.bikes[1].version)
    assert samples.get_sample_value("evergreen_model_swaps_total", {"model": "bikes", "result": "swapped"}) == 2


def test_a_champion_that_did_not_move_is_left_alone(make: Callable[..., Deployments]) -> None:
    deployments = make()
    deployments.refresh()
    before = deployments.current("bikes")

    deployments.refresh()

    assert deployments.current("bikes") is before


def test_a_tampered_champion_is_refused_and_the_old_one_goes_on(
    make: Callable[..., Deployments], place: Any, samples: CollectorRegistry
) -> None:
    deployments = make()
    deployments.refresh()
    spoil(place.bikes_path(1))

    place.promote(1, 0)
    deployments.refresh()
    deployments.refresh()

    assert deployments.current("bikes").version == place.bikes[0].version
    assert samples.get_sample_value("evergreen_model_swaps_total", {"model": "bikes", "result": "refused"}) == 1
    assert samples.get_sample_value("evergreen_artifact_verification_failures_total", {"reason": "TamperedArtifact"}) == 1


def test_a_refused_champion_is_told_as_degraded_until_the_alias_is_back(make: Callable[..., Deployments], place: Any) -> None:
    deployments = make()
    deployments.refresh()
    spoil(place.bikes_path(1))

    place.promote(1, 0)
    deployments.refresh()
    refused = (deployments.is_degraded(), deployments.current("bikes").is_degraded, deployments.why_degraded())
    place.promote(0, 1)
    deployments.refresh()

    assert refused[:2] == (True, True)
    assert f"bikes: champion {place.bikes[1].version} was refused: " in str(refused[2])
    assert (deployments.is_degraded(), deployments.why_degraded()) == (False, None)


def test_a_cold_start_without_the_registry_serves_the_noted_champion(make: Callable[..., Deployments], gone: Registry, place: Any) -> None:
    make().refresh()
    shutil.rmtree(place.home.artifacts)
    cold = make(gone)

    cold.refresh()

    assert (cold.current("bikes").version, cold.current("bikes").is_degraded) == (place.bikes[0].version, True)
    assert (cold.why_not_ready(), cold.is_degraded()) == (None, True)


def test_the_registry_coming_back_ends_the_degraded_time(make: Callable[..., Deployments], gone: Registry, place: Any) -> None:
    make().refresh()
    cold = make(gone)
    cold.refresh()
    cold._registry = place.registry

    cold.refresh()

    assert (cold.current("bikes").version, cold.is_degraded()) == (place.bikes[0].version, False)


def test_a_cold_start_with_neither_is_not_ready_and_says_why(make: Callable[..., Deployments], gone: Registry) -> None:
    cold = make(gone)

    cold.refresh()

    assert cold.why_not_ready() == "the registry is out of reach and no champion was noted here"


def test_a_spoiled_note_is_refused(make: Callable[..., Deployments], gone: Registry, place: Any) -> None:
    make().refresh()
    spoil(place.home.cache / place.bikes[0].digest)
    cold = make(gone)

    cold.refresh()

    assert "bikes: the noted champion" in str(cold.why_not_ready())
    with pytest.raises(ModelNotReadyError, match="was refused"):
        cold.current("bikes")


def test_a_refused_champion_at_a_cold_start_falls_back_to_the_noted_one(make: Callable[..., Deployments], place: Any) -> None:
    make().refresh()
    spoil(place.bikes_path(1))
    place.promote(1, 0)
    cold = make()

    cold.refresh()

    assert (cold.current("bikes").version, cold.current("bikes").is_degraded) == (place.bikes[0].version, True)


def test_an_unknown_model_is_told_from_one_not_looked_for_yet(make: Callable[..., Deployments]) -> None:
    deployments = make()

    with pytest.raises(ModelNotReadyError):
        deployments.current("cars")
    deployments.refresh()
    with pytest.raises(UnknownModelError):
        deployments.current("cars")


def test_the_facts_of_a_version_never_loaded_here_are_found(make: Callable[..., Deployments], place: Any) -> None:
    deployments = make()

    facts = deployments.book.facts("bikes", place.bikes[1].version)

    assert facts is not None
    assert facts.bins.id == place.bikes[1].manifest.bins_id
    assert deployments.book.facts("bikes", "no such version") is None


def loaded(place: Any) -> LoadedArtifact:
    return load_verified(place.bikes_path(0), place.home.cache, load_or_make_key(place.home.signing_key))


def deployed(artifact: LoadedArtifact, lane: Lane | None = None) -> Deployment:
    return deploy(artifact, model="bikes", version=artifact.version, move=0, loaded_at=NOW, lane=lane or Lane())


COLUMNS = {"temp": np.array([12.5]), "docks": np.array([3.0]), "workday": np.array([1.0]), "district": np.array(["north"], dtype=object)}


def test_a_compiled_model_answers_at_once_and_a_plain_pipeline_in_the_lane(place: Any) -> None:
    batches: list[tuple[int, int]] = []
    lane = Lane(on_batch=lambda n_requests, n_rows: batches.append((n_requests, n_rows)))
    artifact = loaded(place)
    compiled, plain = deployed(artifact, lane), deployed(replace(artifact, compiled=None), lane)

    [said, also] = [deployment.predict(COLUMNS).probability for deployment in (compiled, plain)]

    assert (compiled.is_dear, plain.is_dear, plain.is_joined) == (False, True, True)
    assert batches == [(1, 1)]
    np.testing.assert_allclose(said, also, rtol=0, atol=1e-12)


def test_what_was_measured_says_how_long_an_answer_takes(place: Any) -> None:
    deployment = deployed(loaded(place))

    assert deployment.artifact.cost is not None
    assert deployment.seconds(1) == deployment.artifact.cost.one_seconds
    assert deployment.seconds(1000) > deployment.seconds(1)


def test_rows_that_a_model_fails_on_outside_the_lane_are_named_too(place: Any) -> None:
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
