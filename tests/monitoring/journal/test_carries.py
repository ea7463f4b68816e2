"""What one slot hands to the next: it holds when the slot's run is done, and never otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from monitoring.drift.classic import DriftReport
from monitoring.journal import tables
from monitoring.journal.carries import Carry
from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.judging.performance.baseline import Baseline
from monitoring.judging.performance.bets import null_of
from monitoring.judging.performance.harm import Bet, HarmState
from monitoring.judging.performance.scores import Score
from monitoring.judging.performance.watch import Episode, HarmWatch, PerformanceWatch, SegmentWatch
from monitoring.judging.verdict import Evidence, Labels, Verdict
from training.json_text import from_text, to_text
from training.settings import Home
from training.storage.database import Database, open_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TURN, LATER = Turn(NOW, token=1), Turn(NOW, token=2)
SCORE = Score("log_loss", 0.5, 0.4, 0.6, 360, 0.75)
NULL = null_of(Baseline("log_loss", 10, 90, 1500, 28, 0.5, 0.2, 1.0, 53.5, 0.52), 0.01)
BETS = tuple(Bet(float(number), 0.5, 60, 12.0, 7.5) for number in range(6))
STATE = HarmState(95, 95, BETS)
HARM = HarmWatch(NULL, STATE, Episode(60, HarmState(95)))
ONE = Carry(PerformanceWatch("v1", 100, 100), 40, 3)
TWO = Carry(PerformanceWatch("v1", 200, 200), 40, 5)
WATCHED = replace(TWO, performance=PerformanceWatch("v1", 200, 20, HARM, SCORE, {"c=u": SegmentWatch(20), "c=v": SegmentWatch(40, HARM)}))
KEEP, RETRAIN = Verdict("keep", ()), Verdict("retrain", ())


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def evidence(slot_us: int) -> Evidence:
    return Evidence("bikes", slot_us, "v1", 5, DriftReport((), 5, 5, "bins"), (), (), Labels(0, 0, 0.0, 0))


def begin(journal: Journal, slot_us: int, carry: Carry) -> str:
    """Begin a slot and judge it; return its run id."""
    run = journal.begin_run(TURN, "bikes", "tick", slot_us)
    assert run is not None
    journal.record_verdict(TURN, evidence(slot_us), KEEP, carry)
    return run.run_id


def test_the_first_slot_is_handed_nothing(journal: Journal) -> None:
    assert journal.carry("bikes") == Carry()


@pytest.mark.parametrize("carry", [ONE, WATCHED, Carry()], ids=["no baseline", "an open episode", "empty"])
def test_what_a_slot_hands_on_holds_from_the_end_of_its_run(carry: Carry, journal: Journal) -> None:
    run_id = begin(journal, 10, carry)
    before = journal.carry("bikes")

    journal.finish_run(TURN, run_id, {})

    assert (before, journal.carry("bikes"), journal.carry("cars")) == (Carry(), carry, Carry())


def test_a_slot_that_ends_otherwise_hands_nothing_on(journal: Journal) -> None:
    journal.finish_run(TURN, begin(journal, 10, ONE), {})
    journal.fail_run(TURN, begin(journal, 20, TWO), "out of memory")
    after_failing = journal.carry("bikes")
    begin(journal, 30, TWO)

    journal.abandon_runs(LATER)

    assert (after_failing, journal.carry("bikes")) == (ONE, ONE)


def test_the_latest_slot_counts_and_not_the_latest_written(journal: Journal) -> None:
    second = begin(journal, 20, TWO)
    first = begin(journal, 10, ONE)

    journal.finish_run(TURN, second, {})
    journal.finish_run(TURN, first, {})

    assert journal.carry("bikes") == TWO


def test_a_slot_that_is_begun_again_goes_on_with_what_it_had_written(journal: Journal) -> None:
    run_id = begin(journal, 10, ONE)
    journal.abandon_runs(LATER)

    journal.begin_run(LATER, "bikes", "tick", 10, again=True)
    journal.finish_run(LATER, run_id, {})

    assert journal.carry("bikes") == ONE


def test_a_slot_that_is_judged_again_replaces_what_it_had_written(journal: Journal) -> None:
    run_id = begin(journal, 10, ONE)

    journal.record_verdict(TURN, evidence(10), RETRAIN, TWO)
    journal.finish_run(TURN, run_id, {})

    assert journal.carry("bikes") == TWO


def test_a_look_by_hand_and_other_jobs_hand_nothing_on(journal: Journal) -> None:
    journal.finish_run(TURN, begin(journal, 10, ONE), {})
    begin(journal, 20, TWO)

    journal.record_verdict(TURN, evidence(15), KEEP)
    journal.begin_run(TURN, "bikes", "retrain", 20)
    journal.finish_run(TURN, "bikes.retrain.20", {})

    assert journal.carry("bikes") == ONE


@pytest.mark.parametrize(("version", "later"), [(3, ("counted_us", "performance")), (5, ("performance",))], ids=["3", "5"])
def test_tables_of_older_versions_are_added_to_and_what_they_hold_goes_on(version: int, later: tuple[str, ...], database: Database) -> None:
    database.prepare(tables.COMPONENT, tables.metadata, version)
    row = {"model": "bikes", "slot_us": 10, "champion": "v1", "tested_us": 100, "taught_us": 40, "move": 3}
    run = {"run_id": "bikes.tick.10", "model": "bikes", "job": "tick", "slot_us": 10, "state": "done", "attempt": 1, "token": 1}
    with database.write() as connection:
        for name in later:
            connection.execute(sa.text(f"ALTER TABLE {tables.carries.name} DROP COLUMN {name}"))
        for name in ("first", "others"):
            connection.execute(sa.text(f"ALTER TABLE {tables.carries.name} ADD COLUMN {name} TEXT"))
        connection.execute(sa.insert(tables.carries).values(**row))
        connection.execute(tables.runs.insert().values(**run, started_us=0, payload="{}", result="{}"))

    journal = Journal(database)
    before = journal.carry("bikes")
    journal.finish_run(TURN, begin(journal, 20, WATCHED), {})

    assert (before, journal.carry("bikes")) == (ONE, WATCHED)


@pytest.mark.parametrize("peak", [9.5, None], ids=["an open episode", "none"])
def test_an_episode_that_version_8_had_open_goes_on(peak: float | None, database: Database) -> None:
    database.prepare(tables.COMPONENT, tables.metadata, 8)
    state = {name: value for name, value in STATE.to_dict().items() if name != "square"}
    harm = {"null": NULL.to_dict(), "state": state, "log_peak": peak}
    stored = WATCHED.performance.to_dict() | {
        "harm": harm,
        "segments": {"c=u": {"since_us": 20, "harm": None}, "c=v": {"since_us": 40, "harm": harm}},
    }
    row = {"model": "bikes", "slot_us": 10, "champion": "v1", "tested_us": 200, "taught_us": 40, "move": 5, "counted_us": 0}
    run = {"run_id": "bikes.tick.10", "model": "bikes", "job": "tick", "slot_us": 10, "state": "done", "attempt": 1, "token": 1}
    with database.write() as connection:
        connection.execute(sa.insert(tables.carries).values(**row, performance=to_text(stored)))
        connection.execute(tables.runs.insert().values(**run, started_us=0, payload="{}", result="{}"))

    carry = Journal(database).carry("bikes")

    goes_on = HARM if peak is not None else HarmWatch(NULL, STATE)
    segments = {"c=u": SegmentWatch(20), "c=v": SegmentWatch(40, goes_on)}
    assert carry == replace(WATCHED, performance=replace(WATCHED.performance, harm=goes_on, segments=segments))


# from version 1, where runs carried it


def to_version_1(database: Database, runs: dict[str, tuple[str, object, object]]) -> None:
    """Make the journal's tables as version 1 had them, with runs by their id: state, payload, result."""
    metadata = sa.MetaData()
    for table in set(tables.metadata.tables.values()) - {tables.carries}:
        table.to_metadata(metadata)
    database.prepare(tables.COMPONENT, metadata, 1)
    with database.write() as connection:
        for run_id, (state, payload, result) in runs.items():
            model, job, slot_us = run_id.split(".")
            row = {"run_id": run_id, "model": model, "job": job, "slot_us": int(slot_us), "state": state, "attempt": 1, "token": 1}
            texts = {"started_us": 0, "payload": to_text(payload), "result": to_text(result)}
            connection.execute(tables.runs.insert().values(**row, **texts))


def old(carry: Carry) -> dict[str, object]:
    watch = carry.performance
    return {"champion": watch.champion, "tested_us": watch.tested_us, "taught_us": carry.taught_us, "move": carry.move}


def known(stored: dict[str, object]) -> dict[str, object]:
    """What is kept of what a version handed on: the score of its own first rows is not."""
    return {name: value for name, value in stored.items() if name not in ("first", "others")}


@pytest.mark.parametrize(
    ("state", "payload", "result", "now", "then"),
    [
        pytest.param("done", {}, {"carry": old(TWO), "outcome": ""}, TWO, TWO, id="done"),
        pytest.param("done", {"carry": old(ONE)}, {"carry": old(TWO)}, TWO, TWO, id="done by its child's end"),
        pytest.param("running", {"carry": old(TWO)}, {}, ONE, TWO, id="running"),
        pytest.param("abandoned", {"carry": old(TWO)}, {}, ONE, TWO, id="abandoned"),
        pytest.param("failed", {"carry": old(TWO)}, {}, ONE, TWO, id="failed"),
        pytest.param("running", {}, {}, ONE, ONE, id="not judged yet"),
    ],
)
def test_what_old_runs_carried_is_handed_on(
    database: Database, state: str, payload: object, result: object, now: Carry, then: Carry
) -> None:
    runs = {"bikes.tick.10": ("done", {}, {"carry": old(ONE), "outcome": "promoted"}), "bikes.tick.20": (state, payload, result)}
    to_version_1(database, {**runs, "bikes.retrain.20": ("running", {"champion": "v1"}, {})})

    journal = Journal(database)
    carry = journal.carry("bikes")
    journal.begin_run(LATER, "bikes", "tick", 20, again=True)
    stored = [text for run in journal.runs("bikes") for text in (run.payload, run.result)]
    with database.write() as connection:
        connection.execute(tables.runs.update().where(tables.runs.c.run_id == "bikes.tick.20").values(state="done"))

    assert (carry, journal.carry("bikes")) == (now, then)
    assert [text for text in stored if "carry" in text] == []
    assert journal.run("bikes.tick.10").result == {"outcome": "promoted"}
    assert journal.run("bikes.retrain.20").payload == {"champion": "v1"}


def test_the_home_of_8e22de5_is_migrated_with_the_slot_that_was_running(old_home: Home) -> None:
    database = open_database(f"sqlite:///{old_home.database}")
    with database.read() as connection:
        rows = connection.execute(sa.select(tables.runs).order_by(tables.runs.c.slot_us)).all()
    done = [known(from_text(row.result)["carry"]) for row in rows if row.state == "done"]
    (pending,) = [known(from_text(row.payload)["carry"]) for row in rows if row.run_id == "rain.tick.7257600000000"]

    journal = Journal(database)
    before = journal.carry("rain")
    journal.finish_run(Turn(NOW), "rain.tick.7257600000000", {})
    after = journal.carry("rain")
    database.close()

    assert (old(before), old(after)) == (done[-1], pending)
    assert after.taught_us == 7_169_040_000_001 > before.taught_us
