"""What a person does by hand says what comes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from monitoring.admin.manual_actions import acknowledge, promote, roll_back
from monitoring.admin.workbench import Workbench
from monitoring.drift.classic import DriftReport
from monitoring.drift.episodes import Episode, MovedColumn
from monitoring.journal.drift_watch import WatchState, WatchUpdate
from monitoring.journal.leases import Turn
from monitoring.journal.tables import TICK
from monitoring.judging.verdict import Evidence, Labels, Verdict
from tests.monitoring.world import DAY_US, World, weather


def open_an_episode(bench: Workbench, slot_us: int) -> None:
    """Judge a slot that leaves episode 1 open."""
    turn, opened = Turn(bench.now()), Episode(1, slot_us, slot_us - 5, (MovedColumn("wind", 0.3, 4.2),))
    run = bench.journal.begin_run(turn, "rain", TICK, slot_us)
    assert run is not None
    evidence = Evidence("rain", slot_us, "v1", 5, DriftReport((), 5, 5, "bins"), (), (), Labels(0, 0, 0.0, 0))
    update = WatchUpdate(WatchState(slot_us, 1, b"", (opened,), 2, "v1", 0, {}, ()), None)
    bench.journal.record_verdict(turn, evidence, Verdict("watch", ()), None, update)
    bench.journal.finish_run(turn, run.run_id, {})


@pytest.mark.parametrize(
    ("days", "is_reference", "after"),
    [
        (0, True, "it stays open until the last 14d of the log has 50 rows to be taken as the reference; now it has 0"),
        (1, True, "it stays open until the last 14d of the log has 50 rows to be taken as the reference; now it has 40"),
        (2, True, "the next slot takes the last 14d as the reference"),
        (0, False, "the next slot sees to it"),
    ],
)
def test_an_acknowledged_episode_says_what_comes_next(days: int, is_reference: bool, after: str, make: Callable[..., World]) -> None:
    world = make()
    if days:
        world.answer(weather(1, 60, days), labelled=False)
    bench = Workbench({"EVERGREEN_HOME": str(world.stores.home.path), "EVERGREEN_DATABASE_URL": world.stores.database.url})
    open_an_episode(bench, 63 * DAY_US)

    answer = acknowledge(bench, "rain", 1, "it is so now", is_reference=is_reference)

    assert answer == after
    bench.close()


def test_a_promotion_and_a_rollback_by_hand_are_told_to_others(world: World) -> None:
    first, second = world.champion, world.train(weather(4, 0, 61))
    bench = Workbench({"EVERGREEN_HOME": str(world.stores.home.path), "EVERGREEN_DATABASE_URL": world.stores.database.url})

    promote(bench, "rain", second, "it is newer")
    roll_back(bench, "rain", "it was no better")

    messages = [(one.type, one.content["version"], one.content["evidence"]) for one, _ in bench.journal.outbox.last("rain", 9)]
    assert messages == [
        ("model.rolled_back", first, [f"{bench.who}: it was no better"]),
        ("model.promoted", second, [f"{bench.who}: it is newer"]),
    ]
    bench.close()
