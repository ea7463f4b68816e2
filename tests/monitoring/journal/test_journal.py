import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from monitoring.drift.classic import DriftReport
from monitoring.errors import LeaseLostError, RunEndedError
from monitoring.journal.carries import Carry
from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.journal.probations import ProbationStep
from monitoring.journal.tables import leases as lease_table
from monitoring.judging.verdict import Evidence, Labels, Verdict
from tests.patience import PATIENCE_SECONDS, until
from tests.processes import PROCESSES
from training.clock import duration_us
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.storage.database import Database, open_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TTL = HOUR  # so long that none ends by itself: the clock of a database server goes on while a test runs
DAY_US = 86_400_000_000
TURN, LATER = Turn(NOW, token=1), Turn(NOW, token=2)
Age = Callable[[timedelta], None]


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


@pytest.fixture
def token(journal: Journal) -> int:
    return journal.acquire("monitor", "one", TTL, NOW) or 0


@pytest.fixture
def age(database: Database) -> Age:
    """Let time pass for the leases by whichever clock dates them; a negative one is what setting that clock back does."""

    def pass_by(time: timedelta) -> None:
        with database.write() as connection:
            connection.execute(lease_table.update().values(expires_us=lease_table.c.expires_us - duration_us(time)))

    return pass_by


@pytest.fixture
def begin(journal: Journal) -> Callable[..., object]:
    return partial(journal.begin_run, TURN)


def evidence(slot_us: int) -> Evidence:
    return Evidence("bikes", slot_us, "v1", 5, DriftReport((), 5, 5, "bins"), (), (), Labels(0, 0, 0.0, 0))


def acquire_and_begin(url: str, holder: str) -> tuple[bool, bool]:
    database = open_database(url, lock_timeout_seconds=PATIENCE_SECONDS)
    journal = Journal(database)
    token = journal.acquire("monitor", holder, TTL, NOW)
    run = journal.begin_run(TURN, "bikes", "tick", 0)
    database.close()
    return token is not None, run is not None


def write_when_released(url: str, written: str, released: str) -> None:
    database = open_database(url, lock_timeout_seconds=PATIENCE_SECONDS)
    journal = Journal(database)
    token = journal.acquire("monitor", "one", TTL, NOW) or 0
    turn = Turn(NOW, journal.guard("monitor", token), token)
    journal.begin_run(turn, "bikes", "tick", 0)
    Path(written).touch()
    until(Path(released).exists)
    journal.begin_run(turn, "bikes", "tick", 1)


# leases


def test_the_first_monitor_gets_the_lease_and_the_second_waits(journal: Journal, age: Age) -> None:
    first = journal.acquire("monitor", "one", TTL, NOW)
    age(TTL - MINUTE)

    second = journal.acquire("monitor", "two", TTL, NOW)

    assert (first, second) == (1, None)
    assert journal.is_held("monitor", NOW)


def test_renewing_keeps_the_token_and_moves_the_end(journal: Journal, token: int, age: Age) -> None:
    age(TTL / 2)
    renewed = journal.acquire("monitor", "one", TTL, NOW)

    age(TTL - MINUTE)
    taken = journal.acquire("monitor", "two", TTL, NOW)

    assert (renewed, taken) == (token, None)


def test_a_lease_that_ended_is_taken_over_with_a_higher_token(journal: Journal, token: int, age: Age) -> None:
    age(TTL)
    was_held = journal.is_held("monitor", NOW)

    taken = journal.acquire("monitor", "two", TTL, NOW)
    lease = journal.lease("monitor")

    assert (was_held, taken) == (False, token + 1)
    assert lease is not None
    assert (lease.holder, lease.token) == ("two", taken)


def test_a_late_holder_that_nobody_replaced_goes_on_with_its_token(journal: Journal, token: int, age: Age) -> None:
    age(20 * TTL)

    assert journal.acquire("monitor", "one", TTL, NOW) == token


@pytest.mark.parametrize("step", [HOUR, 3 * DAY], ids=str)
def test_a_dead_holder_s_lease_ends_in_its_time_though_the_clock_was_set_back(
    step: timedelta, journal: Journal, token: int, age: Age
) -> None:
    age(-step)
    seen = journal.acquire("monitor", "two", TTL, NOW)

    age(TTL)
    taken = journal.acquire("monitor", "two", TTL, NOW)

    assert (seen, taken) == (None, token + 1)


@pytest.mark.parametrize("wrong", [-3 * DAY, -5 * HOUR, 5 * HOUR, 3 * DAY], ids=str)
def test_on_a_server_no_machine_s_clock_takes_a_lease_or_costs_one(wrong: timedelta, postgresql_url: str) -> None:
    database = open_database(postgresql_url)
    journal = Journal(database)
    token = journal.acquire("monitor", "one", TTL, NOW)

    others = [journal.acquire("monitor", "two", TTL, NOW + wrong), journal.acquire("monitor", "two", TTL, datetime.now(UTC) + wrong)]
    is_held = journal.is_held("monitor", NOW + wrong)
    renewed = journal.acquire("monitor", "one", TTL, NOW + wrong)

    database.close()
    assert (token, others, is_held, renewed) == (1, [None, None], True, 1)


def test_in_a_file_the_machine_s_clock_dates_the_lease(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    journal = Journal(database)
    journal.acquire("monitor", "one", TTL, NOW)

    taken = [journal.acquire("monitor", "two", TTL, NOW + time) for time in (TTL - SECOND, TTL)]

    database.close()
    assert taken == [None, 2]


def test_a_released_lease_is_free_at_once(journal: Journal, token: int) -> None:
    journal.release("monitor", token)

    assert not journal.is_held("monitor", NOW)
    assert journal.acquire("monitor", "two", TTL, NOW) == token + 1


def test_a_lease_is_not_released_by_a_former_holder(journal: Journal, token: int, age: Age) -> None:
    age(TTL)
    journal.acquire("monitor", "two", TTL, NOW)

    journal.release("monitor", token)

    assert journal.acquire("monitor", "three", TTL, NOW) is None


def test_leases_of_other_names_are_others(journal: Journal, token: int) -> None:
    assert journal.acquire("retention", "two", TTL, NOW) == 1


def test_a_lease_that_was_never_taken_is_nobodys(journal: Journal) -> None:
    assert journal.lease("monitor") is None
    assert not journal.is_held("monitor", NOW)


def test_a_holder_that_was_stopped_and_replaced_is_fenced_off(journal: Journal, token: int, age: Age) -> None:
    turn = Turn(NOW, journal.guard("monitor", token), token)
    journal.begin_run(turn, "bikes", "tick", 0)
    age(TTL)
    journal.acquire("monitor", "two", TTL, NOW)

    with pytest.raises(LeaseLostError, match="taken over by two"):
        journal.finish_run(turn, "bikes.tick.0", {})

    assert journal.run("bikes.tick.0").state == "running"


def test_a_guard_stops_a_move_in_the_registry(journal: Journal, token: int, database: Database, age: Age) -> None:
    registry = Registry(database)
    guard = journal.guard("monitor", token)
    registry.record("bikes", "note", cause=Cause("one", ""), now=NOW, guard=guard)
    age(TTL)
    journal.acquire("monitor", "two", TTL, NOW)

    with pytest.raises(LeaseLostError):
        registry.record("bikes", "note", cause=Cause("one", ""), now=NOW, guard=guard)

    assert len(registry.ledger()) == 1


def test_every_kind_of_write_is_fenced(journal: Journal, token: int) -> None:
    journal.start_probation(TURN, "bikes", "b", "a", started_us=0, looks=3)
    request = journal.add_request("bikes", "check", who="ann", machine_now=NOW)
    journal.begin_run(TURN, "bikes", "tick", 0)
    lost = Turn(NOW, journal.guard("monitor", token + 7), 9)

    writes: list[Callable[[], object]] = [
        lambda: journal.begin_run(lost, "bikes", "tick", 1),
        lambda: journal.finish_run(lost, "bikes.tick.0", {}),
        lambda: journal.fail_run(lost, "bikes.tick.0", ""),
        lambda: journal.abandon_runs(lost),
        lambda: journal.record_verdict(lost, evidence(0), Verdict("keep", ()), Carry()),
        lambda: journal.add_quarantine(lost, "bikes", 0, 1, "", slot_us=0),
        lambda: journal.start_probation(lost, "bikes", "c", "b", started_us=0, looks=3),
        lambda: journal.close_probation(lost, "bikes", "passed"),
        lambda: journal.take_request(lost, request, "run"),
    ]

    assert [fenced(write) for write in writes] == [True] * len(writes)


def fenced(write: Callable[[], object]) -> bool:
    try:
        write()
    except LeaseLostError:
        return True
    return False


def test_of_processes_that_start_at_once_one_acts(journal: Journal, database_url: str) -> None:
    with PROCESSES.Pool(4) as pool:
        got = pool.starmap(acquire_and_begin, [(database_url, f"holder-{i}") for i in range(4)])

    leases, runs = zip(*got, strict=True)
    assert (sum(leases), sum(runs)) == (1, 1)


def test_a_stopped_process_that_wakes_up_after_a_take_over_writes_nothing(
    journal: Journal, database_url: str, tmp_path: Path, age: Age
) -> None:
    written, released = tmp_path / "written", tmp_path / "released"
    process = PROCESSES.Process(target=write_when_released, args=(database_url, str(written), str(released)), daemon=True)
    process.start()
    until(written.exists)
    os.kill(process.pid or 0, signal.SIGSTOP)

    age(TTL)
    taken = journal.acquire("monitor", "two", TTL, NOW)
    released.touch()
    os.kill(process.pid or 0, signal.SIGCONT)
    process.join(PATIENCE_SECONDS)

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

    journal.finish_run(Turn(NOW + SECOND), "bikes.tick.0", {"verdict": "keep"})

    run = journal.run("bikes.tick.0")
    assert (run.state, run.result, run.error) == ("done", {"verdict": "keep"}, None)
    assert (run.ended_us or 0) - run.started_us == 1_000_000


def test_a_failed_run_keeps_its_error(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)

    journal.fail_run(TURN, "bikes.tick.0", "out of memory")

    assert (journal.run("bikes.tick.0").state, journal.run("bikes.tick.0").error) == ("failed", "out of memory")


def test_a_run_ends_once(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)
    journal.fail_run(TURN, "bikes.tick.0", "killed")

    with pytest.raises(RunEndedError, match="is failed already"):
        journal.finish_run(TURN, "bikes.tick.0", {})


def test_a_run_that_never_was_cannot_end(journal: Journal) -> None:
    with pytest.raises(RunEndedError, match="there is no run 'x'"):
        journal.finish_run(TURN, "x", {})


def test_runs_of_a_dead_holder_are_abandoned_and_others_go_on(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)
    begin("bikes", "tick", 1)
    journal.begin_run(LATER, "bikes", "tick", 2)
    journal.finish_run(TURN, "bikes.tick.1", {})

    abandoned = journal.abandon_runs(LATER)

    assert [run.run_id for run in abandoned] == ["bikes.tick.0"]
    assert [run.state for run in journal.runs("bikes")] == ["running", "done", "abandoned"]
    assert "lost the lease to token 2" in (abandoned[0].error or "")


def test_an_abandoned_run_is_begun_again_only_when_asked(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0, payload={"a": 1})
    journal.abandon_runs(LATER)

    plain = journal.begin_run(LATER, "bikes", "tick", 0)
    again = journal.begin_run(LATER, "bikes", "tick", 0, again=True)
    twice = journal.begin_run(LATER, "bikes", "tick", 0, again=True)

    run = journal.run("bikes.tick.0")
    assert (plain, again, twice) == (None, run, None)
    assert (run.state, run.attempt, run.token, run.payload, run.error) == ("running", 2, 2, {"a": 1}, None)


def test_running_runs_are_listed(begin: Callable[..., object], journal: Journal) -> None:
    begin("bikes", "tick", 0)
    begin("bikes", "retrain", 0)
    journal.finish_run(TURN, "bikes.tick.0", {})

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
    begin("bikes", "retrain", 10)
    journal.begin_run(Turn(NOW + DAY), "bikes", "retrain", 20)
    journal.begin_run(Turn(NOW + DAY), "bikes", "tick", 20)

    assert [run.slot_us for run in journal.retrains_started_since("bikes", NOW)] == [10, 20]
    assert [run.slot_us for run in journal.retrains_started_since("bikes", NOW + DAY)] == [20]


# verdicts, quarantines, probations, requests


def test_verdicts_are_listed_the_latest_first(journal: Journal) -> None:
    journal.record_verdict(TURN, evidence(1), Verdict("keep", ("calm",)))
    journal.record_verdict(TURN, evidence(2), Verdict("watch", ("drift in temp",)))

    latest = journal.verdicts("bikes", limit=1)

    assert [(one.slot_us, one.verdict, one.reasons) for one in latest] == [(2, "watch", ("drift in temp",))]
    assert journal.verdicts("bikes")[1].evidence == evidence(1).to_dict()


def test_a_slot_that_is_judged_again_has_one_verdict(journal: Journal) -> None:
    journal.record_verdict(TURN, evidence(1), Verdict("keep", ()))

    journal.record_verdict(TURN, evidence(1), Verdict("retrain", ("worse",)))

    assert [one.verdict for one in journal.verdicts("bikes")] == ["retrain"]


@pytest.mark.parametrize(
    ("start", "end", "starts"),
    [(None, None, [10, 30]), (0, 10, []), (0, 11, [10]), (19, 30, [10]), (20, 31, [30]), (40, None, []), (None, 15, [10])],
)
def test_quarantines_that_overlap_are_listed(start: int | None, end: int | None, starts: list[int], journal: Journal) -> None:
    journal.add_quarantine(TURN, "bikes", 30, 40, "outage", slot_us=40)
    journal.add_quarantine(TURN, "bikes", 10, 20, "outage", slot_us=20)
    journal.add_quarantine(TURN, "bikes", 10, 20, "outage", slot_us=20)
    journal.add_quarantine(TURN, "cars", 0, 99, "outage", slot_us=20)

    quarantines = journal.quarantines("bikes", start, end)

    assert [one.start_us for one in quarantines] == starts
    assert {one.reason for one in quarantines} <= {"outage"}


def test_quarantines_that_touch_are_one_since_the_first_with_each_reason_once(journal: Journal) -> None:
    journal.add_quarantine(TURN, "bikes", 10, 20, "constant x", slot_us=20)
    journal.add_quarantine(TURN, "bikes", 40, 50, "null_burst y", slot_us=50)
    journal.add_quarantine(TURN, "bikes", 20, 30, "constant x, null_burst y", slot_us=30)
    journal.add_quarantine(TURN, "bikes", 12, 18, "constant x", slot_us=60)

    spans = [(one.start_us, one.end_us, one.reason, one.slot_us) for one in journal.quarantines("bikes")]

    assert spans == [(10, 30, "constant x, null_burst y", 20), (40, 50, "null_burst y", 50)]


def test_a_quarantine_that_was_let_go_stays_on_record_and_is_joined_with_nothing(journal: Journal) -> None:
    journal.add_quarantine(TURN, "bikes", 10, 20, "constant x", slot_us=20)
    (one,) = journal.quarantines("bikes")

    first, again = (journal.release_quarantine(one, 99, "ann", "it is so now") for _ in range(2))
    journal.extend_released(TURN, "bikes", 10, 25)
    journal.extend_released(TURN, "bikes", 10, 22)
    journal.add_quarantine(TURN, "bikes", 15, 30, "constant y", slot_us=30)
    journal.add_quarantine(TURN, "bikes", 10, 25, "constant z", slot_us=30)

    assert (first, again) == (True, False)
    assert [(q.start_us, q.end_us, q.reason) for q in journal.quarantines("bikes")] == [(10, 30, "constant y, constant z")]
    (kept,) = journal.quarantines("bikes", released=True)
    assert (kept.start_us, kept.end_us, kept.reason) == (10, 25, "constant x")
    assert (kept.released_us, kept.released_by, kept.released_why) == (99, "ann", "it is so now")
    assert len(journal.quarantines("bikes", released=None)) == 2


def test_quarantines_of_one_beginning_that_were_let_go_go_on_as_one(journal: Journal) -> None:
    for end_us, reason in ((20, "constant x"), (30, "constant y"), (40, "constant z")):
        journal.add_quarantine(TURN, "bikes", 10, end_us, reason, slot_us=end_us)
        for one in journal.quarantines("bikes"):
            journal.release_quarantine(one, 99, "ann", "it is so now")

    journal.extend_released(TURN, "bikes", 10, 30)
    journal.extend_released(TURN, "bikes", 10, 40)
    journal.extend_released(TURN, "bikes", 10, 50)

    (one,) = journal.quarantines("bikes", released=None)
    assert (one.start_us, one.end_us, one.reason) == (10, 50, "constant x, constant y, constant z")
    assert (one.released_by, one.released_why) == ("ann", "it is so now")


def test_what_was_let_go_never_ends_a_quarantine_in_force(journal: Journal) -> None:
    journal.add_quarantine(TURN, "bikes", 10, 20, "constant x", slot_us=20)
    (one,) = journal.quarantines("bikes")
    journal.release_quarantine(one, 99, "ann", "it is so now")
    journal.add_quarantine(TURN, "bikes", 10, 30, "constant y", slot_us=30)

    journal.extend_released(TURN, "bikes", 10, 30)

    assert [(q.end_us, q.reason) for q in journal.quarantines("bikes")] == [(30, "constant y")]
    assert [(q.end_us, q.reason) for q in journal.quarantines("bikes", released=True)] == [(20, "constant x")]


def test_a_probation_notes_its_looks_and_ends(journal: Journal) -> None:
    opened = journal.start_probation(TURN, "bikes", "b", "a", started_us=5, looks=3)
    for slot, step in enumerate([ProbationStep({"gain": 0.1}), ProbationStep({"gain": 0.2}, "passed"), ProbationStep({"gain": 0.3})]):
        journal.begin_run(TURN, "bikes", "tick", slot)
        journal.finish_run(TURN, f"bikes.tick.{slot}", {}, step)
    closed = journal.last_probation("bikes")

    assert (opened.version, opened.previous, opened.looks, opened.looks_done) == ("b", "a", 3, 0)
    assert closed is not None
    assert (closed.state, closed.looks_done) == ("passed", 2)
    assert closed.evidence == ({"gain": 0.1, "slot_us": 0}, {"gain": 0.2, "slot_us": 1})
    assert journal.open_probation("bikes") is None


@pytest.mark.parametrize(("after", "looks"), [(0, 0), (1, 1), (2, 2)])
def test_slots_that_are_taken_back_have_not_looked(journal: Journal, after: int, looks: int) -> None:
    """A probation that passed by one of them goes on."""
    journal.start_probation(TURN, "bikes", "b", "a", started_us=0, looks=2)
    for slot, step in enumerate([ProbationStep(), ProbationStep({"gain": 0.1}), ProbationStep({"gain": 0.2}, "passed")]):
        journal.begin_run(TURN, "bikes", "tick", slot)
        journal.finish_run(TURN, f"bikes.tick.{slot}", {}, step)

    journal.take_back("bikes", after)

    record = journal.last_probation("bikes")
    assert record is not None
    assert (record.state, record.looks_done, len(record.evidence)) == ("open" if looks < 2 else "passed", looks, looks)


def test_a_run_that_is_over_takes_no_step_of_a_probation(journal: Journal) -> None:
    journal.start_probation(TURN, "bikes", "b", "a", started_us=5, looks=3)
    journal.begin_run(TURN, "bikes", "tick", 0)
    journal.abandon_runs(LATER)

    with pytest.raises(RunEndedError):
        journal.finish_run(TURN, "bikes.tick.0", {}, ProbationStep({"gain": 0.1}, "passed"))

    opened = journal.open_probation("bikes")
    assert opened is not None
    assert opened.looks_done == 0


def test_a_new_probation_ends_the_one_before(journal: Journal) -> None:
    journal.start_probation(TURN, "bikes", "b", "a", started_us=5, looks=3)

    second = journal.start_probation(TURN, "bikes", "c", "b", started_us=9, looks=3)

    assert journal.open_probation("bikes") == second
    assert second.version == "c"


def test_a_request_is_taken_by_one_run(journal: Journal) -> None:
    number = journal.add_request("bikes", "retrain", who="ann", machine_now=NOW, args={"why": "new stations"})
    waiting = journal.requests("bikes")

    taken = [journal.take_request(TURN, number, "run-1"), journal.take_request(TURN, number, "run-2")]

    assert [(one.kind, one.who, one.args) for one in waiting] == [("retrain", "ann", {"why": "new stations"})]
    assert taken == [True, False]
    assert journal.requests("bikes") == []
    assert journal.requests("bikes", waiting=False)[0].taken_run == "run-1"


def test_a_training_child_of_an_earlier_attempt_ends_nothing(journal: Journal, token: int, begin: Callable[..., object]) -> None:
    begin("bikes", "retrain", 0)
    stale = journal.run("bikes.retrain.0").as_attempted
    late = Turn(NOW, journal.guard_of(stale))
    journal.fail_run(TURN, stale.run_id, "it took too long")
    begin("bikes", "retrain", 0, again=True)
    new = stale._replace(number=2)

    for write in (journal.finish_run, journal.fail_run):
        with pytest.raises(RunEndedError, match="is running in attempt 2 under token 1"):
            write(late, stale.run_id, {})  # type: ignore[operator]
    with pytest.raises(RunEndedError, match="attempt 1 under token 1 may not write any more"):
        journal.attempted(stale)
    run = journal.attempted(new)
    journal.finish_run(Turn(NOW, journal.guard_of(new)), stale.run_id, {})

    assert run.attempt == 2
    assert [(run.state, run.attempt) for run in journal.runs("bikes")] == [("done", 2)]


def test_a_training_child_whose_run_is_gone_ends_nothing(journal: Journal, token: int, begin: Callable[..., object]) -> None:
    begin("bikes", "retrain", 5)
    attempt = journal.run("bikes.retrain.5").as_attempted
    journal.take_back("bikes", 4)

    with pytest.raises(RunEndedError, match=r"bikes\.retrain\.5 is gone"):
        journal.fail_run(Turn(NOW, journal.guard_of(attempt)), attempt.run_id, "late")


def test_a_training_child_may_not_write_from_the_moment_another_monitor_leads(
    journal: Journal, token: int, begin: Callable[..., object], age: Age
) -> None:
    begin("bikes", "retrain", 0)
    attempt = journal.run("bikes.retrain.0").as_attempted
    age(TTL)
    journal.acquire("monitor", "two", TTL, NOW)

    with pytest.raises(LeaseLostError, match="taken over by two"):
        journal.finish_run(Turn(NOW, journal.guard_of(attempt)), attempt.run_id, {})

    assert journal.run("bikes.retrain.0").state == "running"
