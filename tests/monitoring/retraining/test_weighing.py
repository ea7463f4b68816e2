"""The members of a champion are weighed in each slot: what that changes, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from monitoring.journal.carries import WeighingState
from monitoring.journal.journal import Journal
from monitoring.retraining.retraining import as_answered
from monitoring.retraining.weighing import look, to_expel
from service.count_ledger.tables import bucket_counts
from tests.conftest import Once
from tests.monitoring.world import DAY_US, MAPPED, World, make_world, weather
from training.artifacts.manifest import generation_of
from training.artifacts.members import Member
from training.mixing.labelled_rows import LabelledRows
from training.mixing.member_probation import MemberProbation
from training.registry.tables import Cause
from training.schema.prediction import Prediction
from training.schema.rows import Rows, object_column

WEIGHED = MAPPED.replace("act: auto", "act: auto\n  on_performance: false")


@pytest.fixture
def world(tmp_path: Path, once: Once) -> Iterator[World]:
    world = make_world(tmp_path, WEIGHED, once=once)
    yield world
    world.close()


def rarer(rows: Rows, seed: int = 1) -> Rows:
    """Return the rows with half of those that are wet dry: a shift of the prior that a map takes back."""
    labels = rows.labels.copy()
    drop = (labels == "yes") & (np.random.default_rng(seed).random(len(rows)) < 0.5)
    labels[drop] = "no"
    return Rows(rows.columns, labels, rows.time_us)


def log_loss(world: World, version: str, rows: Rows) -> float:
    prediction = world.stores.load("rain", version).predictor.predict(rows.columns)
    assert prediction.probability is not None
    positive = prediction.probability[:, -1]
    return float(-np.log(np.where(rows.labels == "yes", positive, 1 - positive)).mean())


def test_answers_are_mapped_by_what_came_true_lately_without_any_training(world: World) -> None:
    first, watch = world.champion, world.monitor()

    world.answer(rarer(weather(1, 60, 29)))
    world.settle(watch)

    later = rarer(weather(2, 90, 20))
    assert world.champion != first
    assert generation_of(world.champion) == first
    assert log_loss(world, world.champion, later) < log_loss(world, first, later) - 0.02
    assert world.actions() == ["promote"]
    lines = [line for line in world.stores.registry.ledger("rain") if line.action == "reweigh"]
    assert 1 <= len(lines) <= 4
    assert lines[0].version == world.champion
    assert lines[-1].previous == first


def test_answers_that_a_map_moves_are_no_drift(world: World) -> None:
    world.answer(rarer(weather(1, 60, 22)))
    watch = world.monitor()
    world.settle(watch)
    for first in (82, 89, 96):
        world.answer(rarer(weather(1, first, 7)))
        world.settle(watch)

    assert len(reweighs(world)) > 1
    assert world.stores.journal.episodes("rain") == []
    with world.stores.database.read() as connection:  # and all rows are counted as those of one version
        assert set(connection.scalars(select(bucket_counts.c.version))) == {world.generation}
    assert len(world.logged_versions()) > 2


def reweighs(world: World) -> list[str]:
    return [line.version or "" for line in reversed(world.stores.registry.ledger("rain", None)) if line.action == "reweigh"]


@pytest.mark.parametrize(
    ("there", "instead"),
    [("map: true", "map: false"), ("act: auto", "act: notify")],
    ids=["map: false", "act: notify"],
)
def test_nothing_is_weighed_where_the_model_file_says_so(there: str, instead: str, tmp_path: Path, once: Once) -> None:
    world = make_world(tmp_path, WEIGHED.replace(there, instead), once=once)

    world.answer(rarer(weather(1, 60, 22)))
    world.settle(world.monitor())

    assert (len(world.verdicts()), reweighs(world)) == (3, [])
    world.close()


def test_rows_that_are_broken_are_not_weighed_by_and_those_before_them_are(world: World) -> None:
    watch, rows = world.monitor(), rarer(weather(1, 60, 22))
    is_broken = rows.time_us >= 75 * DAY_US
    world.answer(Rows({**rows.columns, "wind": np.where(is_broken, 0.0, rows.columns["wind"])}, rows.labels, rows.time_us))

    world.settle(watch)

    lines = [line for line in world.stores.registry.ledger("rain", None) if line.action == "reweigh"]
    assert "quarantine" in world.verdicts()
    assert len(lines) >= 1
    assert max(line.evidence["through_us"] for line in lines) < 75 * DAY_US


def test_a_slot_that_is_judged_again_weighs_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, finish = world.monitor(), Journal.finish_run

    def dies_after_a_weighing(*args: Any, **kwargs: Any) -> None:
        if reweighs(world):
            monkeypatch.setattr(Journal, "finish_run", finish)
            raise KeyboardInterrupt
        finish(*args, **kwargs)

    monkeypatch.setattr(Journal, "finish_run", dies_after_a_weighing)
    world.answer(rarer(weather(1, 60, 11)))
    with pytest.raises(KeyboardInterrupt):
        world.settle(watch)
    champion = world.champion
    world.settle(watch)

    assert (world.champion, reweighs(world)) == (champion, [champion])


def test_a_weighing_that_was_saved_and_not_registered_is_weighed_again_under_the_next_number(world: World) -> None:
    first = world.champion
    (world.stores.home.artifacts / "rain" / f"{first}.0001").mkdir()

    world.answer(rarer(weather(1, 60, 11)))
    world.settle(world.monitor())

    assert reweighs(world) == [f"{first}.0002"]


def test_a_roll_back_goes_past_all_weighings_of_a_generation(world: World) -> None:
    first, watch = world.champion, world.monitor()
    second = world.train(weather(3, 0, 40))
    world.stores.registry.promote("rain", second, expected=first, cause=Cause("ann", "newer"))
    world.answer(rarer(weather(1, 60, 15)))
    world.settle(watch)
    assert generation_of(world.champion) == second != world.champion

    world.stores.registry.roll_back("rain", expected=world.champion, cause=Cause("ann", "complaints"))

    assert world.champion == first


def test_the_gate_holds_a_challenger_against_what_was_answered_and_not_against_maps_that_have_seen_the_labels(world: World) -> None:
    watch, rows = world.monitor(), rarer(weather(1, 60, 22))
    world.answer(rows)
    world.settle(watch)
    champion = world.stores.load("rain", world.champion)
    logged = world.stores.windows(world.spec).labelled(60 * DAY_US, 80 * DAY_US, 100 * DAY_US)

    prediction = as_answered(champion, logged)

    assert np.array_equal(prediction.probability, logged.prediction.probability)
    assert not np.allclose(prediction.probability, champion.predictor.predict(logged.rows.columns).probability, atol=0.01)


# ---- probation of members ----------------------------------------------------------------------------------------------

N = 2000


def test_a_member_that_is_proven_to_harm_is_expelled_and_one_that_does_not_is_kept() -> None:
    random = np.random.default_rng(5)
    rows = LabelledRows(np.arange(N), random.normal(0, 10, N))
    good, same, noise = (Prediction(rows.y + random.normal(0, scale, N)) for scale in (1, 1, 20))
    members = [Member(f"2026010{k}T000000Z-" + "a" * 12, "a" * 64, "all", 0, 1 / 3) for k in range(3)]
    state = WeighingState(through_us=0, trials={members[0].version: {}})

    seen = look(members, [good, same, noise], rows, state)

    assert [seen[member.version].outcome for member in members[1:]] == ["open", "worse"]
    assert members[0].version not in seen
    assert to_expel(members, [good, same, noise], seen) == [members[2].version]


def test_the_last_member_that_knows_a_class_is_not_expelled() -> None:
    proven = replace(MemberProbation(), log_money=(9.0,) * 4)
    ab = Prediction(object_column(["a"]), np.array([[0.5, 0.5]]), ("a", "b"))
    abc = Prediction(object_column(["a"]), np.array([[0.5, 0.3, 0.2]]), ("a", "b", "c"))
    members = [Member(f"2026010{k}T000000Z-" + "a" * 12, "a" * 64, "all", 0, 0.5) for k in range(2)]

    assert to_expel(members, [ab, abc], {members[1].version: proven}) == []
    assert to_expel(members, [abc, ab], {members[1].version: proven}) == [members[1].version]


def test_a_weighing_moves_the_threshold_and_answers_from_then_on_are_decided_by_it(tmp_path: Path, once: Once) -> None:
    world = make_world(tmp_path, WEIGHED.replace("metric: log_loss", "metric: f1"), once=once)
    first = world.stores.load("rain", world.champion)
    rows = rarer(rarer(weather(1, 60, 36)), seed=2)

    world.answer(rows)
    world.settle(world.monitor())

    last = world.stores.load("rain", world.champion)
    lines = [line for line in world.stores.registry.ledger("rain", None) if line.action == "reweigh"]
    moves = [line.evidence["threshold"] for line in lines if line.evidence["threshold"]["before"] != line.evidence["threshold"]["after"]]
    assert moves
    assert last.manifest.threshold == moves[0]["after"] != first.manifest.threshold
    assert moves[0]["gain_low"] > 0.0
    answer = last.predictor.predict(weather(2, 96, 7).columns)
    assert answer.probability is not None
    assert answer.label.tolist() == np.where(answer.probability[:, 1] >= last.manifest.threshold, "yes", "no").tolist()
    assert any(line.why.startswith(f"positive from a probability of {moves[0]['after']:.4g} on") for line in lines)
    world.close()
