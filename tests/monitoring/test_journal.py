import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from monitoring.errors import LeaseLostError, RunEndedError
from monitoring.journal import Journal
from training.database import Database, open_database
from training.registry import Registry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
TTL = timedelta(seconds=30)
DAY_US = 86_400_000_000
SPAWN = get_context("spawn")


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


@pytest.fixture
def token(journal: Journal) -> int:
    return journal.acquire("monitor", "one", TTL, NOW) or 0


@pytest.fixture
def begin(journal: Journal) -> Callable[..., object]:
    return partial(journal.begin_run, token=1, machine_now=NOW)


def acquire_and_begin(url: str, holder: str) -> tuple[bool, bool]:
    database = open_database(url, lock_timeout_seconds=30)
    journal = Journal(database)
    token = journal.acquire("monitor", holder, TTL, NOW)
    run = journal.begin_run("bikes", "tick", 0, token=1, machine_now=NOW)
    database.close()
    return token is not None, run is not None


def write_when_told(url: str, written: str, told: str) -> None:
    database = open_database(url, lock_timeout_seconds=30)
    journal = Journal(database)
    token = journal.acquire("monitor", "one", TTL, NOW) or 0
    guard = journal.guard("monitor", token)
    journal.begin_run("bikes", "tick", 0, token=token, machine_now=NOW, guard=guard)
    Path(written).touch()
    wait_for(Path(told))
    journal.begin_run("bikes", "tick", 1, token=token, machine_now=NOW, guard=guard)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


# leases


def test_the_first_monitor_gets_the_lease_and_the_second_waits(journal: Journal) -> None:
    first = journal.acquire("monitor", "one", TTL, NOW)

    second = journal.acquire("monitor", "two", TTL, NOW + 29 * SECOND)

    assert (first, second) == (1, None)


def test_renewing_keeps_the_token_and_moves_the_end(journal: Journal, token: int) -> None:
    renewed = journal.acquire("monitor", "one", TTL, NOW + 20 * SECOND)

    taken = journal.acquire("monitor", "two", TTL, NOW + 40 * SECOND)

    assert (renewed, taken) == (token, None)


def test_a_lease_that_ended_is_taken_over_with_a_higher_token(journal: Journal, token: int) -> None:
    taken = journal.acquire("monitor", "two", TTL, NOW + 30 * SECOND)

    lease = journal.lease("monitor")

    assert taken == token + 1
    assert lease is not None
    assert (lease.holder, lease.token) == ("two", taken)


def test_a_late_holder_that_nobody_replaced_goes_on_with_its_token(journal: Journal, token: int) -> None:
    assert journal.acquire("monitor", "one", TTL, NOW + 500 * SECOND) == token


def test_a_released_lease_is_free_at_once(journal: Journal, token: int) -> None:
    journal.release("monitor", token)

    assert journal.acquire("monitor", "two", TTL, NOW) == token + 1


def test_a_lease_is_not_released_by_a_former_holder(journal: Journal, token: int) -> None:
    journal.acquire("monitor", "two", TTL, NOW + 60 * SECOND)

    journal.release("monitor", token)

    assert journal.acquire("monitor", "three", TTL, NOW + 60 * SECOND) is None


def test_leases_of_other_names_are_others(journal: Journal, token: int) -> None:
    assert journal.acquire("retention", "two", TTL, NOW) == 1


def test_a_lease_that_was_never_taken_is_nobodys(journal: Journal) -> None:
    assert journal.lease("monitor") is None


def test_a_holder_that_was_stopped_and_replaced_is_fenced_off(journal: Journal, token: int) -> None:
    guard = journal.guard("monitor", token)
    journal.begin_run("bikes", "tick", 0, token=token, machine_now=NOW, guard=guard)
    journal.acquire("monitor", "two", TTL, NOW + 31 * SECOND)

    with pytest.raises(LeaseLostError, match="taken over by two"):
        journal.finish_run("bikes.tick.0", {}, machine_now=NOW, guard=guard)

    assert journal.run("bikes.tick.0").state == "running"


def test_a_guard_stops_a_move_in_the_registry(journal: Journal, token: int, database: Database) -> None:
    registry = Registry(database)
    guard = journal.guard("monitor", token)
    registry.record("bikes", "note", who="one", why="", now=NOW, guard=guard)
    journal.acquire("monitor", "two", TTL, NOW + 31 * SECOND)

    with pytest.raises(LeaseLostError):
        registry.record("bikes", "note", who="one", why="", now=NOW, guard=guard)

    assert len(registry.ledger()) == 1


def test_every_kind_of_write_is_fenced(journal: Journal, token: int) -> None:
    journal.start_probation("bikes", "b", "a", started_us=0, looks=3)
    request = journal.add_request("bikes", "check", who="ann", machine_now=NOW)
    journal.begin_run("bikes", "tick", 0, token=token, machine_now=NOW)
    lost = journal.guard("monitor", token + 7)
    at = {"machine_now": NOW, "guard": lost}

    writes: list[Callable[[], object]] = [
        lambda: journal.begin_run("bikes", "tick", 1, token=token, **at),
        lambda: journal.finish_run("bikes.tick.0", {}, **at),
        lambda: journal.fail_run("bikes.tick.0", "", **at),
        lambda: journal.note_run("bikes.tick.0", {}, guard=lost),
        lambda: journal.abandon_runs(9, **at),
        lambda: journal.record_verdict("bikes", 0, "keep", [], {}, **at),
        lambda: journal.add_quarantine("bikes", 0, 1, "", slot_us=0, **at),
        lambda: journal.start_probation("bikes", "c", "b", started_us=0, looks=3, guard=lost),
        lambda: journal.note_look("bikes", {}, guard=lost),
        lambda: journal.close_probation("bikes", "passed", guard=lost),
        lambda: journal.take_request(request, "run", guard=lost),
    ]

    assert [fenced(write) for write in writes] == [True] * len(writes)


def fenced(write: Callable[[], object]) -> bool:
    try:
        write()
    except LeaseLostError:
        return True
    return False


def test_of_processes_that_start_at_once_one_acts(journal: Journal, database_url: str) -> None:
    with SPAWN.Pool(4) as pool:
        got = pool.starmap(acquire_and_begin, [(database_url, f"holder-{i}") for i in range(4)])

    leases, runs = zip(*got, strict=True)
    assert (sum(leases), sum(runs)) == (1, 1)


def test_a_stopped_process_that_wakes_up_after_a_take_over_writes_nothing(journal: Journal, database_url: str, tmp_path: Path) -> None:
    written, told = tmp_path / "written", tmp_path / "told"
    process = SPAWN.Process(target=write_when_told, args=(database_url, str(written), str(told)), daemon=True)
    process.start()
    wait_for(written)
    os.kill(process.pid or 0, signal.SIGSTOP)

    taken = journal.acquire("monitor", "two", TTL, NOW + 60 * SECOND)
    told.touch()
    os.kill(process.pid or 0, signal.SIGCONT)
    process.join(60)

    assert (taken, process.exitcode) == (2, 1)
    assert [run.slot_us for run in journal.runs("bikes")] == [0]


# runs


def test_a_run_begins_once_for_a_slot(begin: Callable[..., object], journal: Journal) -> None:
    first = begin("bikes", "tick", DAY_US, payload={"rows": [1, 2]})

    again = begin("bikes", "tick", DAY_US)

    assert again is None
    assert first == journal.run(f"bikes.tick.{DAY_US}")
    assert journal.run(f"bikes.tick.{DAY_US}").payload == {"rows": [1, 2]}


def test_jobs_models_and_slots_do_not_disturb_each_other(begin: Callable[..., object]) -> None:
    begun = [begin("bikes", "tick", 0), begin("bikes", "retrain", 0), begin("cars", "tick", 0), begin("bikes", "tick", 1)]

    assert None not in begun


def test_a_finished_run_keeps_its_result(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)

    journal.finish_run("bikes.tick.0", {"verdict": "keep"}, machine_now=NOW + SECOND)

    run = journal.run("bikes.tick.0")
    assert (run.state, run.result, run.error) == ("done", {"verdict": "keep"}, None)
    assert (run.ended_us or 0) - run.started_us == 1_000_000


def test_a_failed_run_keeps_its_error(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)

    journal.fail_run("bikes.tick.0", "out of memory", machine_now=NOW)

    assert (journal.run("bikes.tick.0").state, journal.run("bikes.tick.0").error) == ("failed", "out of memory")


def test_a_run_ends_once(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)
    journal.fail_run("bikes.tick.0", "killed", machine_now=NOW)

    with pytest.raises(RunEndedError, match="is failed already"):
        journal.finish_run("bikes.tick.0", {}, machine_now=NOW)


def test_a_run_that_never_was_cannot_end(journal: Journal) -> None:
    with pytest.raises(RunEndedError, match="there is no run 'x'"):
        journal.finish_run("x", {}, machine_now=NOW)


def test_a_running_run_takes_notes(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "retrain", 0)

    journal.note_run("bikes.retrain.0", {"pid": 7})

    assert journal.run("bikes.retrain.0").payload == {"pid": 7}


def test_runs_of_a_dead_holder_are_abandoned_and_others_go_on(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)
    begin("bikes", "tick", 1)
    begin("bikes", "tick", 2, token=2)
    journal.finish_run("bikes.tick.1", {}, machine_now=NOW)

    abandoned = journal.abandon_runs(2, machine_now=NOW)

    assert [run.run_id for run in abandoned] == ["bikes.tick.0"]
    assert [run.state for run in journal.runs("bikes")] == ["running", "done", "abandoned"]
    assert "lost the lease to token 2" in (abandoned[0].error or "")


def test_an_abandoned_run_is_begun_again_only_when_asked(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0, payload={"a": 1})
    journal.abandon_runs(2, machine_now=NOW)

    plain = begin("bikes", "tick", 0, token=2)
    again = begin("bikes", "tick", 0, token=2, again=True)
    twice = begin("bikes", "tick", 0, token=2, again=True)

    run = journal.run("bikes.tick.0")
    assert (plain, again, twice) == (None, run, None)
    assert (run.state, run.attempt, run.token, run.payload, run.error) == ("running", 2, 2, {"a": 1}, None)


def test_running_runs_are_found(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)
    begin("bikes", "retrain", 0)
    journal.finish_run("bikes.tick.0", {}, machine_now=NOW)

    assert [run.job for run in journal.running("bikes")] == ["retrain"]


def test_the_first_slot_is_the_first_boundary_after_the_first_row(journal: Journal) -> None:
    assert journal.next_slot("bikes", DAY, None) is None
    assert journal.next_slot("bikes", DAY, 5) == DAY_US
    assert journal.next_slot("bikes", DAY, DAY_US) == 2 * DAY_US


def test_slots_follow_each_other(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 3 * DAY_US)
    begin("bikes", "retrain", 9 * DAY_US)

    assert journal.last_slot("bikes") == 3 * DAY_US
    assert journal.next_slot("bikes", DAY, 5) == 4 * DAY_US
    assert journal.next_slot("bikes", 7 * DAY, 5) == 7 * DAY_US


def test_retrains_are_counted_in_machine_time(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "retrain", 10, machine_now=NOW)
    begin("bikes", "retrain", 20, machine_now=NOW + DAY)
    begin("bikes", "tick", 20, machine_now=NOW + DAY)

    assert [run.slot_us for run in journal.retrains_started_since("bikes", NOW)] == [10, 20]
    assert [run.slot_us for run in journal.retrains_started_since("bikes", NOW + DAY)] == [20]


# verdicts, quarantines, probations, requests


def test_verdicts_are_told_the_latest_first(journal: Journal) -> None:
    journal.record_verdict("bikes", 1, "keep", ["calm"], {"n": 5}, machine_now=NOW)
    journal.record_verdict("bikes", 2, "watch", ["drift in temp"], {}, machine_now=NOW)

    latest = journal.verdicts("bikes", limit=1)

    assert [(one.slot_us, one.verdict, one.reasons) for one in latest] == [(2, "watch", ("drift in temp",))]
    assert journal.verdicts("bikes")[1].evidence == {"n": 5}


def test_a_slot_that_is_judged_again_has_one_verdict(journal: Journal) -> None:
    journal.record_verdict("bikes", 1, "keep", [], {}, machine_now=NOW)

    journal.record_verdict("bikes", 1, "retrain", ["worse"], {}, machine_now=NOW)

    assert [one.verdict for one in journal.verdicts("bikes")] == ["retrain"]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(None, None, [10, 30]), (0, 10, []), (0, 11, [10]), (19, 30, [10]), (20, 31, [30]), (40, None, []), (None, 15, [10])],
)
def test_quarantines_that_overlap_are_found(start: int | None, end: int | None, found: list[int], journal: Journal) -> None:
    journal.add_quarantine("bikes", 30, 40, "outage", slot_us=40, machine_now=NOW)
    journal.add_quarantine("bikes", 10, 20, "outage", slot_us=20, machine_now=NOW)
    journal.add_quarantine("bikes", 10, 20, "again", slot_us=20, machine_now=NOW)
    journal.add_quarantine("cars", 0, 99, "outage", slot_us=20, machine_now=NOW)

    quarantines = journal.quarantines("bikes", start, end)

    assert [one.start_us for one in quarantines] == found
    assert {one.reason for one in quarantines} <= {"outage"}


def test_a_probation_notes_its_looks_and_ends(journal: Journal) -> None:
    opened = journal.start_probation("bikes", "b", "a", started_us=5, looks=3)

    journal.note_look("bikes", {"gain": 0.1})
    looked = journal.note_look("bikes", {"gain": 0.2})
    journal.close_probation("bikes", "passed")

    assert (opened.version, opened.previous, opened.looks, opened.looks_done) == ("b", "a", 3, 0)
    assert (looked.looks_done, looked.evidence) == (2, ({"gain": 0.1}, {"gain": 0.2}))
    assert journal.probation("bikes") is None
    with pytest.raises(RunEndedError, match="no open probation"):
        journal.note_look("bikes", {})


def test_a_new_probation_ends_the_one_before(journal: Journal) -> None:
    journal.start_probation("bikes", "b", "a", started_us=5, looks=3)

    second = journal.start_probation("bikes", "c", "b", started_us=9, looks=3)

    assert journal.probation("bikes") == second
    assert second.version == "c"


def test_a_request_is_taken_by_one_run(journal: Journal) -> None:
    number = journal.add_request("bikes", "retrain", who="ann", machine_now=NOW, args={"why": "new stations"})
    waiting = journal.requests("bikes")

    taken = [journal.take_request(number, "run-1"), journal.take_request(number, "run-2")]

    assert [(one.kind, one.who, one.args) for one in waiting] == [("retrain", "ann", {"why": "new stations"})]
    assert taken == [True, False]
    assert journal.requests("bikes") == []
    assert journal.requests("bikes", waiting=False)[0].taken_run == "run-1"
