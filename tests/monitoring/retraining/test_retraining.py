"""A verdict carried out on a real log: training, gate, promotion or refusal."""

from collections.abc import Callable

import pytest

from monitoring.judging.performance.scores import CHALLENGER_LIVE
from tests.monitoring.world import CHILD, DAY_US, LEARNS_TEN_DAYS, ON_LABELS, World, weather
from training.artifacts.manifest import generation_of


def test_a_changed_world_is_learned_and_the_challenger_promoted(make: Callable[..., World]) -> None:
    world = make(model_file=LEARNS_TEN_DAYS)
    watch = world.monitor(command=CHILD)
    first = world.champion
    rows = weather(1, 60, 45, flipped_from=67)

    world.answer(rows.between(60 * DAY_US, 78 * DAY_US))
    world.settle(watch)
    second = world.generation
    world.answer(rows.between(78 * DAY_US, 105 * DAY_US))
    world.settle(watch)

    assert world.verdicts() == ["keep", "keep", "retrain", "keep", "keep", "keep"]
    assert world.actions() == ["promote", "promote"]
    assert (world.generation, set(map(generation_of, world.logged_versions()))) == (second, {first, second})
    assert world.probations() == [("passed", 2)]
    assert world.accuracy(first, rows.between(90 * DAY_US, 105 * DAY_US)) < 0.25
    assert world.accuracy(second, rows.between(90 * DAY_US, 105 * DAY_US)) > 0.7
    assert baselines_of(world, second)[0] == ("the gate's rows", 200)


def baselines_of(world: World, version: str) -> list[tuple[str, int]]:
    """Return what a version was held to at each slot that tested it, and how many rows that stood on."""
    line = world.stores.registry.last_promotion("rain", version)
    assert line is not None
    assert line.evidence[CHALLENGER_LIVE]["value"] == pytest.approx(line.evidence["challenger_score"], abs=1e-6)
    tests = [v.evidence["performance"] for v in reversed(world.stores.journal.verdicts("rain")) if v.evidence["champion"] == version]
    return [(test["source"], test["baseline"]["n"]) for test in tests if test is not None]


def test_a_worse_challenger_is_refused_and_the_refusal_is_in_the_ledger(make: Callable[..., World]) -> None:
    world = make(model_file=ON_LABELS)
    watch = world.monitor()
    first = world.champion

    world.answer(weather(1, 60, 18))
    world.settle(watch)

    assert world.verdicts() == ["keep", "retrain", "keep"]
    assert world.actions() == ["promote", "refuse"]
    assert world.generation == first
