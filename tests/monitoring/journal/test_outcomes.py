"""Sums of labelled rows in the journal: no row twice, none lost, and bounded."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring.drift.classic import DriftReport
from monitoring.journal import tables
from monitoring.journal.carries import Carry
from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.journal.outcomes import KEPT_SLOTS, Outcome, OutcomeUpdate
from monitoring.judging.estimating.answers import Answers, Cells
from monitoring.judging.performance.outcome_sums import OutcomeSums, add_up
from monitoring.judging.performance.watch import PerformanceWatch
from monitoring.judging.unlabelled.strata import Due
from monitoring.judging.verdict import Evidence, Labels, Verdict
from training.storage.database import Database, open_database

TURN, LATER = Turn(datetime(2026, 1, 1, tzinfo=UTC), token=1), Turn(datetime(2026, 1, 1, tzinfo=UTC), token=2)
EDGES = (0.25, 0.5)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def rows(n: int, bucket_us: int = 0, version: str = "v1", segment: str = "") -> Outcome:
    return Outcome(bucket_us, version, segment, OutcomeSums(n, ("no", "yes"), {("no", "yes"): n}))


def judge(journal: Journal, slot_us: int, new: Iterable[Outcome], edges: tuple[float, ...] = ()) -> str:
    """Begin a slot, or begin it again, and judge it; return its run id."""
    run = journal.begin_run(TURN, "bikes", "tick", slot_us, again=True)
    carry = journal.carry("bikes")
    evidence = Evidence("bikes", slot_us, "v1", 5, DriftReport((), 5, 5, "bins"), (), (), Labels(0, 0, 0.0, 0))
    update = OutcomeUpdate(carry.counted_us, tuple(new), edges)
    journal.record_verdict(TURN, evidence, Verdict("keep", ()), replace(carry, counted_us=slot_us), None, update)
    return f"bikes.tick.{slot_us}" if run is None else run.run_id


def finish(journal: Journal, slot_us: int, *new: Outcome) -> None:
    journal.finish_run(TURN, judge(journal, slot_us, new), {})


def totals(journal: Journal, segment: str = "") -> dict[int, int]:
    """Return how many rows there are by bucket."""
    stored = journal.outcomes.find("bikes", 0, 1000, segment)
    return {at: add_up(one.sums for one in stored if one.bucket_us == at).n for at in sorted({one.bucket_us for one in stored})}


def test_what_became_known_holds_from_the_end_of_the_slots_run(journal: Journal) -> None:
    run_id = judge(journal, 10, [rows(3, 5)], EDGES)
    before = journal.outcomes.find("bikes", 0, 10)

    journal.finish_run(TURN, run_id, {})

    assert before == []
    assert journal.outcomes.find("bikes", 0, 10) == [rows(3, 5)]
    assert journal.outcomes.find("bikes", 6, 10) == journal.outcomes.find("cars", 0, 10) == []
    assert journal.outcomes.edges("bikes") == EDGES


def test_a_late_label_changes_its_buckets_figure(journal: Journal) -> None:
    finish(journal, 10, rows(3, 5), rows(2, 5, segment="place=coast"))

    finish(journal, 20, rows(1, 5), rows(4, 15), rows(1, 5, version="v2"))

    assert totals(journal) == {5: 5, 15: 4}
    assert totals(journal, "place=coast") == {5: 2}
    assert journal.outcomes.segments("bikes") == ["", "place=coast"]


def test_a_slot_that_is_judged_again_replaces_what_it_had_counted(journal: Journal) -> None:
    finish(journal, 10, rows(3, 5))
    judge(journal, 20, [rows(7, 5), rows(7, 15)])
    journal.abandon_runs(LATER)

    judge(journal, 20, [rows(1, 5)])
    journal.finish_run(TURN, judge(journal, 20, [rows(1, 5)]), {})

    assert totals(journal) == {5: 4}


def test_what_a_slot_counted_that_failed_for_good_is_counted_by_the_next(journal: Journal) -> None:
    finish(journal, 10, rows(3, 5))
    journal.fail_run(TURN, judge(journal, 20, [rows(2, 5)]), "out of memory")
    after_failing = totals(journal)

    finish(journal, 30, rows(2, 5), rows(2, 25))

    assert after_failing == {5: 3}
    assert totals(journal) == {5: 5, 25: 2}


def test_edges_of_scores_stay_as_they_were_first(journal: Journal) -> None:
    journal.finish_run(TURN, judge(journal, 10, [], EDGES), {})

    journal.finish_run(TURN, judge(journal, 20, [], (0.1,)), {})

    assert journal.outcomes.edges("bikes") == EDGES


def test_old_slots_become_one_row_a_bucket_and_the_sums_stay(journal: Journal, database: Database) -> None:
    slots = KEPT_SLOTS + 20
    for number in range(1, slots + 1):
        finish(journal, number * 10, rows(1, 5), rows(2, number * 10 - 10), rows(1, 5, segment="place=coast"))

    stored = database_rows(database)
    assert totals(journal)[5] == totals(journal, "place=coast")[5] == slots
    assert sum(totals(journal).values()) == 3 * slots
    assert len(stored) <= 3 * KEPT_SLOTS + slots + 6
    assert sorted(known for known, bucket_us, segment in stored if (bucket_us, segment) == (5, ""))[:2] == [0, 200]


def database_rows(database: Database) -> list[tuple[int, int, str]]:
    columns = tables.outcomes.c.known_slot_us, tables.outcomes.c.bucket_us, tables.outcomes.c.segment
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns))]


def test_buckets_whose_rows_left_the_log_are_forgotten(journal: Journal) -> None:
    finish(journal, 10, rows(3, 5), rows(2, 8), rows(1, 5, segment="place=coast"))

    journal.outcomes.forget("bikes", 8)

    assert (totals(journal), totals(journal, "place=coast")) == ({8: 2}, {})


def test_slots_that_are_taken_back_are_counted_again(journal: Journal) -> None:
    for number in range(1, 4):
        finish(journal, number * 10, rows(number, 5))

    journal.take_back("bikes", 20)

    assert (totals(journal), journal.carry("bikes").counted_us) == ({5: 3}, 20)


def test_where_slots_that_are_taken_back_were_rolled_up_all_are_counted_again(journal: Journal) -> None:
    for number in range(1, KEPT_SLOTS + 6):
        finish(journal, number * 10, rows(1, 5))

    journal.take_back("bikes", 20)
    emptied = totals(journal), journal.carry("bikes").counted_us
    finish(journal, 30, rows(3, 5))

    assert emptied == ({}, 0)
    assert totals(journal) == {5: 3}


def test_tables_of_version_4_are_added_to_and_count_from_the_beginning(database: Database) -> None:
    metadata = sa.MetaData()
    for table in set(tables.metadata.tables.values()) - {tables.outcomes, tables.outcome_edges}:
        table.to_metadata(metadata)
    database.prepare(tables.COMPONENT, metadata, 4)
    carry = {"model": "bikes", "slot_us": 10, "champion": "v1", "tested_us": 100, "taught_us": 40, "move": 3}
    run = {"run_id": "bikes.tick.10", "model": "bikes", "job": "tick", "slot_us": 10, "state": "done", "attempt": 1, "token": 1}
    with database.write() as connection:
        connection.execute(sa.text(f"ALTER TABLE {tables.carries.name} DROP COLUMN counted_us"))
        connection.execute(sa.text(f"ALTER TABLE {tables.carries.name} DROP COLUMN performance"))
        connection.execute(sa.insert(tables.carries).values(**carry))
        connection.execute(tables.runs.insert().values(**run, started_us=0, payload="{}", result="{}"))

    journal = Journal(database)
    before = journal.carry("bikes")
    finish(journal, 20, rows(3, 5))

    assert before == Carry(PerformanceWatch("v1", 100, 100), 40, 3)
    assert totals(journal) == {5: 3}


def answered(n: int, bucket_us: int = 0) -> Outcome:
    cells = {"yes": Cells(np.array([3]), np.array([float(n)]), np.array([0.5 * n]))}
    return Outcome(bucket_us, "v1", "", OutcomeSums(), Answers(n, ("no", "yes"), cells))


def test_answers_are_kept_beside_labels_and_are_no_labelled_rows(journal: Journal) -> None:
    finish(journal, 10, answered(4, 5), rows(3, 7))
    finish(journal, 20, replace(rows(2, 5), answers=answered(6).answers))

    stored = journal.outcomes.answered("bikes", 0, 100)

    assert [(one.bucket_us, one.sums.n, one.answers.n) for one in stored] == [(5, 0, 4), (5, 2, 6), (7, 3, 0)]
    assert totals(journal) == {5: 2, 7: 3}


def test_answers_are_rolled_up_with_labels(journal: Journal) -> None:
    for slot in range(1, KEPT_SLOTS + 6):
        finish(journal, 10 * slot, answered(2, 5), *([rows(1, 5, segment="place=hill")] if slot < 3 else []))

    stored = journal.outcomes.answered("bikes", 0, 100)

    assert (stored[0].answers.n, stored[0].sums.n) == (2 * (len(range(1, KEPT_SLOTS + 6)) - len(stored) + 1), 0)
    assert sum(one.answers.n for one in stored) == 2 * (KEPT_SLOTS + 5)
    assert totals(journal, "place=hill") == {5: 2}


def test_tables_of_before_version_9_are_migrated_and_the_next_slot_counts_the_log_again(database: Database) -> None:
    journal = Journal(database)
    journal.finish_run(TURN, judge(journal, 10, [rows(3, 5)], EDGES), {})
    with database.write() as connection:
        for table, column in (("outcomes", "answers"), ("outcomes", "due"), ("outcome_edges", "strata")):
            connection.execute(sa.text(f"ALTER TABLE journal_{table} DROP COLUMN {column}"))
        connection.execute(sa.text("UPDATE evergreen_schema SET version = 7 WHERE component = 'journal'"))
    database.close()

    with closing(open_database(database.url)) as again:
        migrated = Journal(again)
        emptied = totals(migrated), migrated.outcomes.edges("bikes"), migrated.carry("bikes").counted_us
        finish(migrated, 20, came(4, 5))
        due = migrated.outcomes.find_due("bikes", 0, 100)

    assert emptied == ({}, None, 0)
    assert due == [(5, Due({1: 4}))]


def came(n: int, bucket_us: int = 0, segment: str = "") -> Outcome:
    return Outcome(bucket_us, "v1", segment, OutcomeSums(), due=Due({1: n}))


def test_all_rows_are_kept_by_segment_and_rolled_up_and_are_no_labelled_ones(journal: Journal) -> None:
    for slot in range(1, KEPT_SLOTS + 6):
        finish(journal, 10 * slot, came(2, 5), came(1, 5, "place=hill"), *([rows(1, 7, segment="place=lake")] if slot < 3 else []))

    due = {segment: journal.outcomes.find_due("bikes", 0, 100, segment) for segment in ("", "place=hill", "place=lake")}

    assert [{at for at, _ in parts} for parts in due.values()] == [{5}, {5}, set()]
    assert [sum(part.rows for _, part in parts) for parts in due.values()] == [2 * (KEPT_SLOTS + 5), KEPT_SLOTS + 5, 0]
    assert len(due[""]) <= KEPT_SLOTS + 2
    assert (journal.outcomes.segments("bikes"), totals(journal, "place=lake")) == (["", "place=lake"], {7: 2})


def test_strata_of_scores_stay_as_they_were_first(journal: Journal) -> None:
    for slot, strata in ((10, (0.5,)), (20, (0.7,))):
        run = journal.begin_run(TURN, "bikes", "tick", slot, again=True)
        carry = journal.carry("bikes")
        evidence = Evidence("bikes", slot, "v1", 5, DriftReport((), 5, 5, "bins"), (), (), Labels(0, 0, 0.0, 0))
        update = OutcomeUpdate(carry.counted_us, (), EDGES, strata)
        journal.record_verdict(TURN, evidence, Verdict("keep", ()), replace(carry, counted_us=slot), None, update)
        journal.finish_run(TURN, "" if run is None else run.run_id, {})

    assert journal.outcomes.strata("bikes") == (0.5,)
