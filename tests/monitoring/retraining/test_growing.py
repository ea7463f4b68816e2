"""A version grows by members: who is let in, who leaves, and what stays the model's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from monitoring.journal.carries import WeighingState
from monitoring.journal.tables import RETRAIN, Run
from monitoring.retraining.growing import are_fruitless, by_halves, cross_fitted, same_rows, shortened
from monitoring.retraining.plan import paced
from monitoring.retraining.weighing import cadence_after
from tests.conftest import Once
from tests.monitoring.retraining.test_weighing import log_loss
from tests.monitoring.world import MANY, World, make_world, weather
from training.artifacts.manifest import generation_of
from training.artifacts.members import Member
from training.fitting.learning import choose
from training.mixing.cadence import Cadence, Rating
from training.mixing.labelled_rows import LabelledRows
from training.mixing.reweighing import Reweighed
from training.model_file.model_spec import parse_spec
from training.schema.prediction import Prediction

GROWS = MANY.replace("  cool_down: 14d\n  budget_per_week: 3\n", "  schedule: 14d\n  budget_per_week: 50\n").replace(
    "  gate: {rows: 200, min_train_rows: 100}\n", ""
)


@pytest.fixture
def world(tmp_path: Path, once: Once) -> Iterator[World]:
    world = make_world(tmp_path, GROWS, once=once)
    yield world
    world.close()


def test_a_version_grows_by_a_member_every_second_slot_and_the_lightest_leaves(world: World) -> None:
    first, watch = world.champion, world.monitor()

    world.answer(weather(1, 60, 66))
    world.settle(watch)

    promotions = [line for line in reversed(world.stores.registry.ledger("rain", None)) if line.action == "promote"][1:]
    champion = world.stores.registry.version("rain", world.champion)
    assert [verdict == "retrain" for verdict in world.verdicts()] == [False, True] * 4 + [False]
    assert len(promotions) == world.actions().count("promote") - 1 >= 3
    assert all(line.evidence["newcomer"] in [member["version"] for member in line.evidence["members"]] for line in promotions)
    assert [line.previous is not None and generation_of(line.previous) for line in promotions[1:]] == [
        line.version for line in promotions[:-1]
    ]
    assert generation_of(promotions[0].previous or "") == first
    assert len(champion.members) == 3
    assert sum(member.weight for member in champion.members) == pytest.approx(1)
    assert promotions[2].evidence["left"]
    assert world.probations() == []  # a member has a probation of its own
    assert world.stores.journal.quarantines("rain") == []


def test_after_the_world_turned_round_a_version_is_a_coin_at_once_and_no_prophet_of_the_opposite(world: World) -> None:
    first, watch = world.champion, world.monitor()

    world.answer(weather(1, 60, 52, flipped_from=90))
    world.settle(watch)

    later = weather(2, 150, 10, flipped_from=0)
    assert log_loss(world, first, later) > 1.2
    assert log_loss(world, world.champion, later) < 0.75


@pytest.mark.slow
def test_an_alarm_of_harm_grows_members_of_short_windows_until_the_answers_are_good_again(world: World) -> None:
    first, watch = world.champion, world.monitor()

    for day in range(60, 158, 7):
        world.answer(weather(1, day, 7, flipped_from=116))
        world.settle(watch)

    later = weather(2, 300, 10, flipped_from=0)
    assert world.accuracy(first, later) < 0.3
    assert world.accuracy(world.champion, later) > 0.68


def test_each_half_of_a_forerunners_answers_is_mapped_by_the_other_half() -> None:
    random = np.random.default_rng(0)
    y = random.normal(0, 10, 400)
    shifted = Prediction(y + np.where(np.arange(400) < 200, 5.0, -5.0))

    points = cross_fitted(shifted, LabelledRows(np.arange(400), y), is_squared=True)
    answered = by_halves(shifted, points)

    assert (answered.label - y)[:200] == pytest.approx(np.full(200, 10.0), rel=0.3)
    assert (answered.label - y)[200:] == pytest.approx(np.full(200, -10.0), rel=0.3)


def test_training_rows_are_not_stored_again_by_growth(world: World) -> None:
    before = sorted(world.stores.home.rows.iterdir())

    world.answer(weather(1, 60, 30))
    world.settle(world.monitor())

    assert world.actions().count("promote") > 1
    assert sorted(world.stores.home.rows.iterdir()) == before


def test_a_growth_that_was_cut_short_is_begun_again_with_the_same_window(world: World) -> None:
    def dies(step: str) -> None:
        if step == "run.begun":
            raise KeyboardInterrupt

    watch = world.monitor()
    watch.retraining = replace(watch.retraining, stores=replace(world.stores, failpoint=dies))
    world.answer(weather(1, 60, 11))
    with pytest.raises(KeyboardInterrupt):
        world.settle(watch)
    (begun,) = world.stores.journal.runs("rain", RETRAIN)

    world.machine_now += timedelta(minutes=1)  # the lease has run out
    world.settle(world.monitor("heir"))

    (run,) = world.stores.journal.runs("rain", RETRAIN)
    assert (begun.state, begun.attempt, run.state, run.attempt) == ("running", 1, "done", 2)
    assert run.payload == begun.payload
    assert world.actions() == ["promote", "promote"]


def test_rows_are_known_by_their_times_where_both_have_as_many_of_a_moment() -> None:
    ours, theirs = same_rows(np.array([1, 2, 2, 3, 5]), np.array([1, 2, 2, 3, 3, 4]))

    assert (ours.tolist(), theirs.tolist()) == ([0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize("n", range(20, 60))
def test_whose_turn_it_is_is_known_by_the_last_growths(n: int) -> None:
    grown: list[str] = []
    for number in range(n):
        grown = shortened([*grown, str(number)])

    assert len(grown) % 3 == n % 3
    assert grown[-1] == str(n - 1)
    assert len(grown) <= 24


def grown(version: str | None, *, like: object = ("linear", {}), state: str = "done") -> Run:
    """A run that grew a version."""
    growth = {"family": "all", "grown": ["all"], "like": like}
    return Run("r", "rain", "retrain", 0, state, 1, 1, 0, 1, {"growth": growth}, {} if version is None else {"version": version}, None)  # type: ignore[arg-type]


def test_three_growths_that_brought_nothing_are_a_reason_to_search_again() -> None:
    members = [Member(name, name, "all", 0, weight, None) for name, weight in (("old", 0.92), ("light", 0.04), ("heavy", 0.04 + 1e-9))]
    members[2] = replace(members[2], weight=0.3)
    light, refused, failed = grown("light"), grown("refused"), grown(None, state="failed")

    assert are_fruitless([light, refused, failed], members)
    assert not are_fruitless([light, refused], members)
    assert not are_fruitless([light, grown("heavy"), failed], members)
    assert not are_fruitless([light, grown("refused", like=None), failed], members)  # it was searched for
    assert not are_fruitless([light, refused, replace(failed, payload={"growth": None})], members)


def test_a_growth_that_searches_tries_the_candidates_of_the_model_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = Mock(side_effect=choose)
    monkeypatch.setattr("training.run.choose", searched)
    watch = world.monitor()

    world.answer(weather(1, 60, 21))
    world.settle(watch)
    assert not searched.called
    monkeypatch.setattr("monitoring.retraining.growing.are_fruitless", lambda runs, members: True)
    world.answer(weather(1, 81, 14))
    world.settle(watch)

    assert searched.call_count == 1
    assert [bool(run.payload["growth"]["like"]) for run in world.stores.journal.runs("rain", RETRAIN, limit=None)] == [False, True]


def test_growths_get_rarer_where_members_bring_nothing_unless_a_schedule_is_written() -> None:
    weekly = "model: m\nschema: {target: y, task: regression, features: {x: numeric}}\nwatching: {every: 7d, window: 7d}\n"
    by_itself, written = (parse_spec(f"{weekly}training: {{members: 3}}\n{more}") for more in ("", "retraining: {schedule: 14d}\n"))
    cadence = Cadence().after(Rating("b", 0.0, 0.0))

    policies = [paced(spec, WeighingState(cadence=cadence.to_dict())) for spec in (by_itself, written)]

    assert [(each.schedule, each.cool_down) for each in policies] == [(timedelta(days=28), timedelta(days=14)), (timedelta(days=14),) * 2]
    assert paced(by_itself, WeighingState()).schedule == timedelta(days=14)
    assert paced(by_itself, WeighingState(cadence={"slots": 1, "rated": None})).cool_down == timedelta(days=7)


@pytest.mark.parametrize(("classes", "slots"), [(None, 4), (("no", "yes"), 4), (("a", "b", "c"), 2)])
def test_of_more_than_two_classes_growths_stay_as_frequent(classes: tuple[str, ...] | None, slots: int) -> None:
    result = Reweighed((), 0.0, {}, Rating("b", 0.0, 0.0))

    assert cadence_after(Cadence(), result, is_degraded=False, classes=classes).slots == slots


def test_harm_makes_growths_as_frequent_as_at_first() -> None:
    assert cadence_after(Cadence(slots=8), Reweighed((), 0.0, {}), is_degraded=True, classes=None).slots == 2
