"""What the drift watch remembers: it holds when the slot's run is done, and a slot that is judged again writes over its attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from monitoring.drift.classic import DriftReport
from monitoring.drift.episodes import Acknowledgement, Episode, MovedColumn
from monitoring.journal.drift_watch import StoredReference, WatchState, WatchUpdate
from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.judging.verdict import Evidence, Labels, Verdict
from training.storage.database import Database

TURN = Turn(datetime(2026, 1, 1, tzinfo=UTC), token=1)
ACK = Acknowledgement("ann", "the district is here to stay", 5, is_reference=True)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def episode(number: int, opened_us: int) -> Episode:
    return Episode(number, opened_us, opened_us - 5, (MovedColumn("wind", 0.3, 4.2),))


def state(slot_us: int, *episodes: Episode, reference: int = 1, next_episode: int = 1) -> WatchState:
    return WatchState(slot_us, reference, bytes([slot_us]), episodes, next_episode, "v1", 4, {"wind": 7}, ((3, 4),))


def judge(journal: Journal, written: WatchState, reference: StoredReference | None = None, *, is_done: bool = True) -> None:
    """Begin the slot's run, or begin it again, and write what it hands on."""
    run = journal.begin_run(TURN, "bikes", "tick", written.slot_us, again=True)
    assert run is not None
    evidence = Evidence("bikes", written.slot_us, "v1", 5, DriftReport((), 5, 5, "bins"), (), (), Labels(0, 0, 0.0, 0))
    journal.record_verdict(TURN, evidence, Verdict("keep", ()), None, WatchUpdate(written, reference))
    if is_done:
        journal.finish_run(TURN, run.run_id, {})
    else:
        journal.fail_run(TURN, run.run_id, "out of memory")


def test_a_watch_begins_without_anything(journal: Journal) -> None:
    assert (journal.watch_state("bikes"), journal.watch_beginning("bikes"), journal.episodes("bikes")) == (None, (None, 1), [])


def test_it_holds_from_the_end_of_the_run_and_only_then(journal: Journal) -> None:
    judge(journal, state(10))
    judge(journal, state(20, episode(1, 20), next_episode=2), is_done=False)

    assert journal.watch_state("bikes") == state(10)


def test_a_slot_that_is_judged_again_writes_over_what_its_attempt_left(journal: Journal) -> None:
    taken = StoredReference(2, 20, "by hand", "{}")
    judge(journal, state(10, episode(1, 10), next_episode=2), StoredReference(1, 0, "the first", "{}"))
    ended = episode(1, 10).end(20, "promotion")
    judge(journal, state(20, ended, episode(2, 20), reference=2, next_episode=3), taken, is_done=False)

    judge(journal, state(20, episode(1, 10), next_episode=2))

    assert [one for one, _ in journal.episodes("bikes")] == [episode(1, 10)]
    assert journal.watch_beginning("bikes")[0] == StoredReference(1, 0, "the first", "{}")


def test_two_states_of_a_model_are_kept_at_most(journal: Journal, database: Database) -> None:
    for slot_us in (10, 20, 30, 40):
        judge(journal, state(slot_us))

    with database.read() as connection:
        kept = connection.exec_driver_sql("SELECT slot_us FROM journal_watch_states ORDER BY slot_us").all()
    assert [slot_us for (slot_us,) in kept] == [30, 40]


def test_where_slots_since_handed_nothing_on_the_sums_know_nothing_of_their_rows(journal: Journal) -> None:
    judge(journal, state(10, episode(1, 10), next_episode=2))
    journal.begin_run(TURN, "bikes", "tick", 20)
    running = journal.watch_state("bikes")
    journal.finish_run(TURN, "bikes.tick.20", {})

    assert running == state(10, episode(1, 10), next_episode=2)
    assert journal.watch_state("bikes") == replace(running, detector=b"")


def test_an_open_episode_is_acknowledged_and_the_next_slot_keeps_what_was_written(journal: Journal) -> None:
    judge(journal, state(10, episode(1, 10), next_episode=2))

    done = journal.acknowledge("bikes", 1, ACK), journal.acknowledge("bikes", 2, ACK)
    judge(journal, state(20, episode(1, 10).end(20, "acknowledged"), next_episode=2))

    assert done == (True, False)
    assert journal.acknowledgements("bikes", [1, 2]) == {1: ACK}
    assert journal.episodes("bikes") == [(episode(1, 10).end(20, "acknowledged"), ACK)]
    assert not journal.acknowledge("bikes", 1, ACK)


def test_what_slots_concluded_that_are_taken_back_goes(journal: Journal) -> None:
    judge(journal, state(10, episode(1, 10), next_episode=2), StoredReference(1, 0, "the first", "{}"))
    judge(journal, state(20, episode(1, 10), episode(2, 20), reference=2, next_episode=3), StoredReference(2, 20, "by hand", "{}"))

    journal.take_back("bikes", 15)

    assert journal.watch_state("bikes") is None
    assert journal.watch_beginning("bikes") == (StoredReference(1, 0, "the first", "{}"), 2)
    assert [one for one, _ in journal.episodes("bikes")] == [episode(1, 10).end(15, "model time was set back")]


def test_an_episode_is_muted_until_a_moment() -> None:
    muted = replace(episode(1, 10), muted_until_us=30)

    assert [muted.is_muted(slot_us) for slot_us in (10, 29, 30)] == [True, True, False]
