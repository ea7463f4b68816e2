"""A version of members is followed: what it shares with the version before is loaded once, and what is gone leaves nothing."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry

from service.models.deployments import Deployments
from service.models.following import RegistryFollower
from service.models.loading import VersionLoader
from service.routes import models
from service.telemetry.metrics import ServiceMetrics
from training.artifacts.artifact import Artifact, LoadedArtifact, load_verified
from training.artifacts.members import Member
from training.artifacts.mixtures import save_mixture
from training.artifacts.signing import load_or_make_key
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.storage.database import open_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CAUSE = Cause("test", "test")


class Worker:
    """What one worker has of models, in a home of two versions of `bikes`."""

    def __init__(self, place: Any, registry: Registry | None = None) -> None:
        self.place, self.key = place, load_or_make_key(place.home.signing_key)
        self.deployments = Deployments()
        registry = registry or place.registry
        self.loader = VersionLoader(registry=registry, home=place.home, signing_key=self.key, clock=lambda: NOW)
        self.follower = RegistryFollower(
            registry=registry,
            loader=self.loader,
            deployments=self.deployments,
            champions_folder=place.home.champions,
            metrics=ServiceMetrics(CollectorRegistry()),
        )

    @property
    def current(self) -> LoadedArtifact:
        """What answers for `bikes`."""
        return self.deployments.current("bikes").artifact

    def load(self) -> dict[str, LoadedArtifact]:
        """Load both fitted versions, as the monitor does."""
        home = self.place.home
        loaded = [load_verified(home.artifacts / "bikes" / each.version, home.cache, self.key) for each in self.place.bikes]
        return {each.digest: each for each in loaded}

    def save(self, loaded: dict[str, LoadedArtifact], share: float, number: int, generation: str | None) -> Artifact:
        """Make a version of both, and register it where it is the first of its generation."""
        first, second = (each.manifest.as_member("all") for each in loaded.values())
        members: list[Member] = [replace(first, weight=share, map=(1.1, 0.1)), replace(second, weight=1 - share)]
        artifact = save_mixture(
            members,
            loaded,
            spec_text=self.place.registry.get_model("bikes").spec_text,
            parent=first.version,
            generation=generation,
            reweighed=None if generation is None else number,
            weighed_through_us=number,
            home_artifacts=self.place.home.artifacts,
            key=self.key,
            now=NOW + timedelta(hours=number),
        )
        if generation is None:
            self.place.registry.register(artifact, cause=CAUSE)
        return artifact


@pytest.fixture
def start(place: Any) -> Callable[..., Worker]:
    def worker(registry: Registry | None = None) -> Worker:
        return Worker(place, registry)

    return worker


@pytest.fixture
def mixed(start: Callable[..., Worker]) -> tuple[Worker, Artifact]:
    """A worker whose champion is a version of members."""
    worker = start()
    artifact = worker.save(worker.load(), 0.3, 0, None)
    worker.place.registry.promote("bikes", artifact.version, expected=worker.place.bikes[0].version, cause=CAUSE)
    worker.follower.refresh()
    return worker, artifact


def test_a_version_of_members_answers(mixed: tuple[Worker, Artifact], ride: dict[str, Any]) -> None:
    worker, artifact = mixed

    deployment = worker.deployments.current("bikes")

    assert (deployment.version, deployment.classes) == (artifact.version, ("false", "true"))
    assert [each.version for each in worker.current.members] == [each.version for each in worker.place.bikes]
    assert (deployment.is_expensive, worker.deployments.is_quick("bikes", 100)) == (False, True)
    assert worker.loader.versions.facts("bikes", artifact.version) is not None


def test_the_api_shows_its_members(mixed: tuple[Worker, Artifact]) -> None:
    worker, artifact = mixed
    app = Flask("shown")
    app.register_blueprint(models.blueprint(worker.deployments))

    with app.test_request_context("/models/bikes"):
        answer = app.full_dispatch_request().json

    assert (answer["generation"], answer["threshold"]) == (artifact.version, None)
    assert [one["version"] for one in answer["members"]] == [one.version for one in artifact.manifest.members or ()]
    assert [(one["family"], one["weight"], one["map"]) for one in answer["members"]] == [
        ("all", 0.3, {"slope": 1.1, "intercept": 0.1}),
        ("all", 0.7, None),
    ]


def test_a_champion_that_becomes_a_member_is_not_loaded_again(start: Callable[..., Worker]) -> None:
    worker = start()
    worker.follower.refresh()
    alone = worker.current
    artifact = worker.save(worker.load(), 0.3, 0, None)

    worker.place.registry.promote("bikes", artifact.version, expected=alone.version, cause=CAUSE)
    worker.follower.refresh()

    assert worker.current.members[0] is alone


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_reweighs_load_no_member_and_leave_nothing(count: int, mixed: tuple[Worker, Artifact]) -> None:
    worker, first = mixed
    members, loaded, champion, gone = worker.current.members, worker.load(), first, []

    def reweigh(number: int) -> None:
        nonlocal champion
        gone.append(weakref.ref(worker.current))
        artifact = worker.save(loaded, 0.3 + number / 100, number, first.version)
        worker.place.registry.reweigh(artifact, expected=champion.version, cause=CAUSE)
        worker.follower.refresh()
        champion = artifact

    [reweigh(number) for number in range(1, count + 1)]

    gc.collect()
    assert worker.current.version == champion.version
    assert all(one is other for one, other in zip(worker.current.members, members, strict=True))
    assert [version() for version in gone] == [None] * count
    assert len({id(worker.loader.versions.facts("bikes", name).measures) for name in (first.version, champion.version)}) == 1  # type: ignore[union-attr]


def test_a_start_without_the_registry_serves_the_noted_version_of_members(
    mixed: tuple[Worker, Artifact], start: Callable[..., Worker], tmp_path: Path
) -> None:
    _, artifact = mixed
    shutil.rmtree(mixed[0].place.home.artifacts)

    cold = start(Registry(open_database(f"sqlite:///{tmp_path}/gone/evergreen.db", create=False)))
    cold.follower.refresh()

    assert (cold.current.version, len(cold.current.members)) == (artifact.version, 2)
    assert cold.deployments.current("bikes").is_degraded


def test_a_member_that_is_not_in_this_home_is_missed_by_who_has_not_loaded_it(
    mixed: tuple[Worker, Artifact], start: Callable[..., Worker]
) -> None:
    worker, first = mixed
    second = worker.save(worker.load(), 0.4, 1, first.version)
    fresh = start()
    shutil.rmtree(worker.place.bikes_path(1))

    worker.place.registry.reweigh(second, expected=first.version, cause=CAUSE)
    [each.follower.refresh() for each in (worker, fresh)]

    assert worker.current.version == second.version  # it has the member loaded
    assert "its member" in (fresh.deployments.why_not_ready() or "")


def test_rows_of_a_version_that_was_never_loaded_here_are_counted_by_its_newest_member(
    mixed: tuple[Worker, Artifact], start: Callable[..., Worker]
) -> None:
    worker, artifact = mixed

    facts = start().loader.versions.facts("bikes", artifact.version)

    assert facts == worker.loader.versions.facts("bikes", worker.place.bikes[1].version)
