"""A moved champion is verified, tested and swapped in, or refused while the old one goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.errors import ModelNotReadyError
from service.models.deployments import Deployments
from service.models.following import RegistryFollower
from service.models.loading import VersionLoader
from service.models.served_model import Deployment
from service.telemetry.metrics import LABEL_RESULTS, ServiceMetrics
from training.artifacts.signing import load_or_make_key
from training.registry.registry import Registry
from training.storage.database import open_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def samples() -> CollectorRegistry:
    return CollectorRegistry()


@dataclass
class Worker:
    """What one worker has of models."""

    deployments: Deployments
    loader: VersionLoader
    follower: RegistryFollower

    def refresh(self) -> None:
        """Look at the registry."""
        self.follower.refresh()

    def current(self, model: str) -> Deployment:
        """Return what answers for a model."""
        return self.deployments.current(model)


Start = Callable[..., Worker]


@pytest.fixture
def start(place: Any, samples: CollectorRegistry) -> Start:
    def worker(registry: Registry | None = None) -> Worker:
        key = load_or_make_key(place.home.signing_key)
        metrics = ServiceMetrics(CollectorRegistry() if samples._names_to_collectors else samples)
        registry, deployments = registry or place.registry, Deployments()
        loader = VersionLoader(registry=registry, home=place.home, signing_key=key, clock=lambda: NOW)
        follower = RegistryFollower(
            registry=registry, loader=loader, deployments=deployments, champions_folder=place.home.champions, metrics=metrics
        )
        return Worker(deployments, loader, follower)

    return worker


@pytest.fixture
def gone(tmp_path: Path) -> Registry:
    """A registry whose database cannot be reached."""
    return Registry(open_database(f"sqlite:///{tmp_path}/gone/evergreen.db", create=False))


def spoil(folder: Path) -> None:
    content = bytearray((folder / "model.joblib").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.joblib").write_bytes(content)


def test_a_moved_champion_is_swapped_in(start: Start, place: Any, samples: CollectorRegistry) -> None:
    worker = start()
    worker.refresh()
    before = worker.current("bikes")

    place.promote(1, 0)
    worker.refresh()

    assert (before.version, worker.current("bikes").version) == (place.bikes[0].version, place.bikes[1].version)
    assert samples.get_sample_value("evergreen_model_swaps_total", {"model": "bikes", "result": "swapped"}) == 2
    assert samples.get_sample_value("evergreen_model_move", {"model": "bikes"}) == 2
    assert [samples.get_sample_value("evergreen_labels_total", {"model": "bikes", "result": each}) for each in LABEL_RESULTS] == [0] * 8


def test_a_champion_that_did_not_move_is_left_alone(start: Start) -> None:
    worker = start()
    worker.refresh()
    before = worker.current("bikes")

    worker.refresh()

    assert worker.current("bikes") is before


def test_a_tampered_champion_is_refused_and_the_old_one_goes_on(start: Start, place: Any, samples: CollectorRegistry) -> None:
    worker = start()
    worker.refresh()
    spoil(place.bikes_path(1))

    place.promote(1, 0)
    worker.refresh()
    worker.refresh()

    assert worker.current("bikes").version == place.bikes[0].version
    assert samples.get_sample_value("evergreen_model_swaps_total", {"model": "bikes", "result": "refused"}) == 1
    assert samples.get_sample_value("evergreen_artifact_verification_failures_total", {"reason": "TamperedArtifact"}) == 1


def test_a_refused_champion_is_told_as_degraded_until_the_alias_is_back(start: Start, place: Any) -> None:
    worker = start()
    worker.refresh()
    spoil(place.bikes_path(1))

    place.promote(1, 0)
    worker.refresh()
    refused = (worker.deployments.is_degraded(), worker.current("bikes").is_degraded, worker.deployments.why_degraded())
    place.promote(0, 1)
    worker.refresh()

    assert refused[:2] == (True, True)
    assert f"bikes: champion {place.bikes[1].version} was refused: " in str(refused[2])
    assert (worker.deployments.is_degraded(), worker.deployments.why_degraded()) == (False, None)


def test_a_cold_start_without_the_registry_serves_the_noted_champion(start: Start, gone: Registry, place: Any) -> None:
    start().refresh()
    shutil.rmtree(place.home.artifacts)
    cold = start(gone)

    cold.refresh()

    assert (cold.current("bikes").version, cold.current("bikes").is_degraded) == (place.bikes[0].version, True)
    assert (cold.deployments.why_not_ready(), cold.deployments.is_degraded()) == (None, True)


def test_the_registry_coming_back_ends_the_degraded_time(start: Start, gone: Registry, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start().refresh()
    cold = start(gone)
    cold.refresh()
    monkeypatch.setattr(gone, "aliases", place.registry.aliases)

    cold.refresh()

    assert (cold.current("bikes").version, cold.deployments.is_degraded()) == (place.bikes[0].version, False)


def test_a_cold_start_with_neither_is_not_ready_and_says_why(start: Start, gone: Registry) -> None:
    cold = start(gone)

    cold.refresh()

    assert cold.deployments.why_not_ready() == "the registry is out of reach and no champion was noted here"


def test_a_spoiled_note_is_refused(start: Start, gone: Registry, place: Any) -> None:
    start().refresh()
    spoil(place.home.cache / place.bikes[0].digest)
    cold = start(gone)

    cold.refresh()

    assert "bikes: the noted champion" in str(cold.deployments.why_not_ready())
    with pytest.raises(ModelNotReadyError, match="was refused"):
        cold.current("bikes")


def test_a_refused_champion_at_a_cold_start_falls_back_to_the_noted_one(start: Start, place: Any) -> None:
    start().refresh()
    spoil(place.bikes_path(1))
    place.promote(1, 0)
    cold = start()

    cold.refresh()

    assert (cold.current("bikes").version, cold.current("bikes").is_degraded) == (place.bikes[0].version, True)


def test_the_facts_of_a_version_never_loaded_here_are_found(start: Start, place: Any) -> None:
    worker = start()

    facts = worker.loader.versions.facts("bikes", place.bikes[1].version)

    assert facts is not None
    assert facts.measures.id == place.bikes[1].manifest.bins_id
    assert worker.loader.versions.facts("bikes", "no such version") is None
