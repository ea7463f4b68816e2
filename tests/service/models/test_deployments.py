"""What answers, and why not: deployments put, refused and missed by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from service.errors import ModelNotReadyError, UnknownModelError
from service.models.batching import Batcher
from service.models.deployments import Deployments
from service.models.served_model import Deployment, deploy
from training.artifacts.artifact import load_verified
from training.artifacts.signing import load_or_make_key
from training.compiled.cost import Cost

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def bikes(place: Any) -> Deployment:
    artifact = load_verified(place.bikes_path(0), place.home.cache, load_or_make_key(place.home.signing_key))
    return deploy(artifact, model="bikes", version=artifact.version, move=0, loaded_at=NOW, batcher=Batcher())


def looked(expected: Iterable[str] = ()) -> Deployments:
    deployments = Deployments(expected)
    deployments.has_looked = True
    return deployments


def test_an_unknown_model_is_told_from_one_not_looked_for_yet() -> None:
    deployments = Deployments()

    with pytest.raises(ModelNotReadyError, match="not looked"):
        deployments.current("cars")
    deployments.has_looked = True
    with pytest.raises(UnknownModelError):
        deployments.current("cars")


def test_an_expected_model_is_not_ready_until_it_has_a_champion(bikes: Deployment) -> None:
    deployments = looked(["bikes"])

    with pytest.raises(ModelNotReadyError, match="bikes is not ready: it has no champion yet"):
        deployments.current("bikes")
    before = deployments.why_not_ready()
    deployments.put(bikes)

    assert (before, deployments.why_not_ready()) == ("bikes: it has no champion yet", None)
    assert deployments.current("bikes") is bikes


def test_a_refused_champion_leaves_what_answers_degraded_until_another_is_put(bikes: Deployment) -> None:
    deployments = looked()
    deployments.put(bikes)

    deployments.refuse("bikes", "it was tampered with")
    refused = deployments.current("bikes")
    deployments.put(replace(refused, is_degraded=False))

    assert refused == replace(bikes, is_degraded=True)
    assert (deployments.is_degraded(), deployments.why_degraded()) == (False, None)


def test_the_last_champion_in_a_refused_ones_place_answers_and_the_refusal_is_told(bikes: Deployment) -> None:
    deployments = looked()

    deployments.refuse("bikes", "it was tampered with")
    reason = deployments.why_not_ready()
    deployments.put(replace(bikes, is_degraded=True))

    assert reason == "bikes: it was tampered with"
    assert (deployments.why_not_ready(), deployments.is_degraded()) == (None, True)
    assert deployments.why_degraded() == "bikes: it was tampered with"


def test_the_only_model_is_known_before_it_answers(bikes: Deployment) -> None:
    one, two = looked(["bikes"]), looked(["cars"])
    two.put(bikes)

    assert (one.only_one(), two.only_one(), looked().only_one()) == ("bikes", None, None)


@pytest.mark.parametrize(
    ("cost", "is_compiled", "is_quick"),
    [
        pytest.param(Cost(0.00002, 0.00003), True, True, id="cheap"),
        pytest.param(Cost(0.001, 0.001), True, False, id="expensive"),
        pytest.param(Cost(0.0001, 0.0032), True, False, id="cheap a row, but there may be 101 of them"),
        pytest.param(Cost(0.00002, 0.00003), False, False, id="not compiled"),
    ],
)
def test_a_body_holds_up_nobody_where_its_rows_are_soon_answered(bikes: Deployment, cost: Cost, is_compiled: bool, is_quick: bool) -> None:
    artifact: Any = SimpleNamespace(cost=cost, is_compiled=is_compiled)
    deployments = looked()
    deployments.put(replace(bikes, artifact=artifact, is_expensive=cost.is_expensive))

    assert [deployments.is_quick(model, 10_000) for model in ("bikes", None)] == [is_quick, is_quick]
