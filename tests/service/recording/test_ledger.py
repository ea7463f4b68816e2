"""The counts of the log equal a count of all its rows, row by row, however they came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from service.count_ledger.tables import profile_bins
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import AnsweredRequest, decode, encode_body, with_prefix
from service.prediction_log.tables import predictions
from service.recording.recounting import recount
from tests.service.late_stream import MEASURES, NOW, OTHER, WIDTH, as_dicts, batches, commit, expected, stored, stream
from training.errors import SchemaVersionError
from training.schema.prediction import Prediction
from training.storage.database import Database


@pytest.mark.parametrize("seed", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_counts_equal_those_of_all_rows_however_they_are_cut_into_batches_and_whoever_drains_them(database: Database, seed: int) -> None:
    records = stream(seed)
    drains = [PredictionLog(database) for _ in range(2)]  # each remembers what it saw last, and the other moves on

    start = 0
    for number, batch in enumerate(batches(records, seed)):
        commit(drains[number * 7 % 3 % 2], batch, start)
        start += len(batch)

    first = MEASURES[records[0].version]
    counted = drains[0].measures("bikes")
    assert counted is not None
    assert (counted.bins_id, counted.state, counted.width_us, counted.measures.id) == (first.id, "active", WIDTH, first.id)
    assert as_dicts(stored(database, first)) == as_dicts(expected(records, first))
    assert Counter(known > bucket for bucket, known, *_ in expected(records, first))[True] > 5


def test_as_of_a_slot_the_ledger_is_the_same_whenever_it_is_read_and_slots_add_up(database: Database) -> None:
    records, log = stream(0), PredictionLog(database)
    slots = range(3 * WIDTH, 10**5, 3 * WIDTH)
    bins_id, early = MEASURES[records[0].version].id, dict[int, object]()

    def as_of(slot: int) -> object:
        return [(*row[:3], row.profile.to_dict()) for row in log.ledger("bikes", bins_id, None, slot)]

    for start, record in enumerate(records):
        commit(log, [record], start)
        for slot in slots[: (log.watermark("bikes") or 0) // (3 * WIDTH)]:
            early.setdefault(slot, as_of(slot))

    assert len(early) > 3
    assert {slot: as_of(slot) for slot in early} == early
    parts = [row for begin, end in pairwise([None, *early]) for row in log.ledger("bikes", bins_id, begin, end or 0)]
    last, whole = max(early), Counter[tuple[str, int]]()
    for row in parts:
        whole[row.segment, row.bucket_us] += row.profile.rows
    for segment in log.segments("bikes", bins_id, 0, 10**6):
        buckets = log.buckets("bikes", bins_id, 0, 10**6, known_before_us=last, segment=segment)
        assert {at: rows for (name, at), rows in whole.items() if name == segment} == {at: part.rows for at, part in buckets}
    assert log.segments("bikes", bins_id, 0, 10**6) == ["", "place=(other)", "place=hill", "place=lake", "place=town"]
    assert {row.width_us for row in parts} == {WIDTH}


def test_rows_say_what_model_time_they_met_where_they_were_late_for_their_bucket(database: Database) -> None:
    log = PredictionLog(database)
    times = [[250], [260, 199], [255, 251], [10]]
    for start, event_us in enumerate(times):
        ones = np.ones(len(event_us))
        answered = AnsweredRequest("bikes", "v1", MEASURES["v1"].id, 10**6, np.array(event_us), None, {"x": ones}, Prediction(ones))
        commit(log, [decode(b"".join(with_prefix(f"p{start}", encode_body(answered))))], start)

    with database.read() as connection:
        late = connection.execute(sa.select(predictions.c.event_us, predictions.c.late_us).order_by(predictions.c.event_us)).all()

    assert [tuple(row) for row in late] == [(10, 260), (199, 250), (250, None), (251, None), (255, None), (260, None)]


def test_a_bucket_of_another_width_is_counted_from_then_on(database: Database) -> None:
    log = PredictionLog(database)
    records = stream(1, 6)
    commit(log, records[:3], 0)

    log.set_bucket_width("bikes", 50)
    log.set_bucket_width("bikes", 50)
    commit(log, records[3:], 3)

    bins_id = MEASURES[records[0].version].id
    assert {row.width_us for row in log.ledger("bikes", bins_id, None, 10**9)} == {50, 100}
    assert sum(part.rows for _, part in log.buckets("bikes", bins_id, 0, 10**9)) == log.count("bikes")


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


class Interrupted:
    """A database that something else is done with before each write transaction."""

    def __init__(self, database: Database, before: Callable[[], None]) -> None:
        self._database = database
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._before()
        with self._database.write() as connection:
            yield connection


@pytest.mark.parametrize("from_us", [0, 534], ids=["all", "the last ones"])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_recounted_are_the_counts_that_drains_would_have_made_though_they_go_on_and_it_is_killed(
    database: Database, seed: int, from_us: int
) -> None:
    records, log = stream(seed, 80), PredictionLog(database)
    for start, record in enumerate(records[:20]):
        commit(log, [record], start)
    sent, writes = [20], [0]

    def go_on() -> None:
        writes[0] += 1
        if sent[0] < 70:
            commit(log, [records[sent[0]]], sent[0])
            sent[0] += 1
        if writes[0] in (2, 6):
            raise Killed

    for _ in range(3):
        with suppress(Killed):
            interrupted: Any = Interrupted(database, go_on)
            counted_rows = list(recount(interrupted, "bikes", OTHER, from_us=from_us, width_us=WIDTH, machine_now=NOW))
    while sent[0] < 80:
        commit(log, [records[sent[0]]], sent[0])
        sent[0] += 1

    now = log.measures("bikes")
    assert (writes[0] > 8, sum(counted_rows) > 20) == (True, True)
    assert now is not None
    assert now.bins_id == OTHER.id
    wanted = {key: profile for key, profile in expected(records, OTHER).items() if key[0] >= from_us // WIDTH * WIDTH}
    assert as_dicts({key: profile for key, profile in stored(database, OTHER).items() if key in wanted}) == as_dicts(wanted)
    late = {key for key in stored(database, OTHER) if key not in wanted}
    assert all(known > bucket for bucket, known, *_ in late)  # of older buckets only what came late, afterwards


def test_measures_that_are_the_models_are_not_counted_again_and_retired_ones_anew(database: Database) -> None:
    records, log = stream(3), PredictionLog(database)
    for start, record in enumerate(records[:20]):
        commit(log, [record], start)
    first = MEASURES[records[0].version]

    assert list(recount(database, "bikes", first, from_us=0, width_us=WIDTH, machine_now=NOW)) == []
    for measures in (OTHER, first):
        assert sum(recount(database, "bikes", measures, from_us=0, width_us=WIDTH, machine_now=NOW)) == log.count("bikes")
        for start, record in list(enumerate(records))[20:30] if measures is OTHER else []:
            commit(log, [record], start)

    assert as_dicts(stored(database, first)) == as_dicts(expected(records[:30], first))
    assert as_dicts(stored(database, OTHER)) == as_dicts(expected(records[:30], OTHER))


def test_measures_that_cannot_be_read_keep_rows_in_the_spool(database: Database) -> None:
    records = stream(1, 3)
    commit(PredictionLog(database), records[:1], 0)
    with database.write() as connection:
        connection.execute(sa.update(profile_bins).values(content='{"of tomorrow": 1}'))

    with pytest.raises(SchemaVersionError, match="did a newer Evergreen write them"):
        commit(PredictionLog(database), records[1:], 1)

    assert PredictionLog(database).count("bikes") == len(records[0])
