"""The prediction log on SQLite and PostgreSQL: written by the drain, joined by labels, read by the monitor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from service.ids import IdMinter, PredictionId
from service.label_log import LabelItem, LabelRules
from service.log_reading import LoggedPrediction
from service.log_tables import COMPONENT, layout_content, layouts, metadata, predictions
from service.log_writing import _COLUMNS, CountedRows, DrainedBatch, stored_rows
from service.prediction_log import PredictionLog
from service.records import Record
from service.watermark import ClockRule
from training.bins import Bins, ColumnBins
from training.database import Database
from training.schema import Feature, Schema

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPOOL = "00000000aa"
MINTER = IdMinter(b"k")
SCHEMA = Schema((Feature("x", "numeric", nullable=True), Feature("word", "categorical", nullable=True)), target="y", task="binary")
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)), ColumnBins("word", "categorical", categories=("a", "b"))))
RULES = LabelRules("binary", ("no", "yes"), too_late_us=1000)

Write = Callable[..., list[str]]


def record(seq: int, event_us: Sequence[int], *, version: str = "v1", own_ids: Sequence[str | None] | None = None) -> Record:
    n_rows = len(event_us)
    return Record(
        prefix=MINTER.mint(seq, spool=SPOOL, seq=seq, n_rows=n_rows),
        model="bikes",
        version=version,
        bins_id=BINS.id,
        arrived_us=10_000 + seq,
        event_us=event_us,
        own_ids=own_ids,
        features={"x": [float(at) for at in event_us], "word": ["a"] * (n_rows - 1) + [None]},
        outputs=["yes"] * n_rows,
        probabilities=[[0.25, 0.75]] * n_rows,
        classes=["no", "yes"],
    )


@pytest.fixture
def log(database: Database) -> PredictionLog:
    return PredictionLog(database)


@pytest.fixture
def write(log: PredictionLog) -> Write:
    """Commit one record for each list of event times; gives the ids of all rows."""

    def commit(*times: Sequence[int], bound_us: int = 10**9, own_ids: Sequence[str | None] | None = None, start: int = 0) -> list[str]:
        records = [record(start + seq, event_us, own_ids=own_ids) for seq, event_us in enumerate(times)]
        batch = DrainedBatch(SPOOL, start * 100, (start + len(times)) * 100, start, records, rules={"bikes": ClockRule(bound_us)})
        assert log.commit_drained(batch, machine_now=NOW)
        return [f"{one.prefix}-{row}" for one in records for row in range(len(one))]

    return commit


def parsed(identity: str) -> PredictionId:
    found = MINTER.parse(identity)
    assert found is not None
    return found


def statuses(log: PredictionLog, *items: tuple[str, object], now: datetime = NOW) -> list[str]:
    labels = [LabelItem(label, id=MINTER.parse(identity)) for identity, label in items]
    return [result.status for result in log.label("bikes", labels, now, rules=RULES)]


def test_rows_come_back_as_they_went_in(log: PredictionLog, write: Write) -> None:
    ids = write([30, 10], [20])

    logged = log.rows("bikes", 0, 100, SCHEMA)

    assert logged.rows.time_us.tolist() == [10, 20, 30]
    assert logged.ids == [ids[1], ids[2], ids[0]]
    assert logged.rows.columns["x"].tolist() == [10.0, 20.0, 30.0]
    assert logged.rows.columns["word"].tolist() == [None, None, "a"]
    assert logged.prediction.label.tolist() == ["yes"] * 3
    assert logged.prediction.probability is not None
    assert logged.prediction.probability.tolist() == [[0.25, 0.75]] * 3
    assert logged.rows.target is not None
    assert logged.rows.target.tolist() == [None] * 3
    assert logged.version.tolist() == ["v1"] * 3


def test_an_empty_range_gives_no_rows(log: PredictionLog, write: Write) -> None:
    write([30])

    logged = log.rows("bikes", 1000, 2000, SCHEMA)

    assert (len(logged), logged.rows.columns["x"].shape, logged.prediction.label.shape) == (0, (0,), (0,))


def test_numbers_come_back_as_numbers(log: PredictionLog) -> None:
    prefix = MINTER.mint(1, spool=SPOOL, seq=0, n_rows=2)
    one = Record(prefix, "fares", "v1", "b", 1, [1, 2], None, {"x": [1.0, None]}, [2.5, 3.5], None, None)
    log.commit_drained(DrainedBatch(SPOOL, 0, 10, 0, [one]), machine_now=NOW)
    log.label("fares", [LabelItem(4, id=parsed(f"{one.prefix}-1"))], NOW, rules=LabelRules("regression"))

    logged = log.rows("fares", 0, 10, Schema((Feature("x", "numeric", nullable=True),), target="y", task="regression"))

    assert logged.prediction.label.tolist() == [2.5, 3.5]
    np.testing.assert_array_equal(logged.rows.target, [np.nan, 4.0])
    np.testing.assert_array_equal(logged.rows.columns["x"], [1.0, np.nan])


def test_a_feature_that_a_row_was_not_asked_for_is_missing(log: PredictionLog, write: Write) -> None:
    write([1])
    wider = Schema((Feature("new", "numeric", nullable=True), Feature("x", "numeric")), target="y", task="binary")

    logged = log.rows("bikes", 0, 10, wider)

    assert np.isnan(logged.rows.columns["new"]).all()
    assert logged.rows.columns["x"].tolist() == [1.0]


def test_a_batch_is_committed_once(log: PredictionLog, write: Write) -> None:
    write([1], [2])
    again = DrainedBatch(SPOOL, 0, 200, 0, [record(0, [1]), record(1, [2])], rules={"bikes": ClockRule(10)})

    is_new = log.commit_drained(again, machine_now=NOW)

    assert not is_new
    assert (log.count("bikes"), log.offset(SPOOL).offset, log.offset(SPOOL).records) == (2, 200, 2)


def test_counts_under_the_same_bins_are_added_up_and_others_left_alone(log: PredictionLog) -> None:
    other = Bins((ColumnBins("x", "numeric", edges=(0.0, 7.0)),))
    counted = [
        CountedRows("bikes", version, bucket_us, 2, bins.count({"x": np.array([1.0, 6.0]), "word": np.array(["a", None], dtype=object)}))
        for version, bucket_us, bins in [("v1", 0, BINS), ("v2", 0, BINS), ("v1", 100, BINS), ("v3", 100, other)]
    ]
    log.commit_drained(DrainedBatch(SPOOL, 0, 100, 0, [], counts=counted), machine_now=NOW)
    log.commit_drained(DrainedBatch(SPOOL, 100, 200, 0, [], counts=counted[:1]), machine_now=NOW)

    profile, buckets = log.profile("bikes", BINS, 0, 200), log.buckets("bikes", BINS, 0, 200)

    assert profile is not None
    assert (profile.rows, [(at, part.rows) for at, part in buckets]) == (8, [(0, 6), (100, 2)])
    assert log.profile("bikes", BINS, 0, 100).rows == 6  # type: ignore[union-attr]
    assert log.profile("bikes", BINS, 500, 900) is None
    assert log.counted_rows("bikes") == 10


def test_model_time_follows_the_rows_and_not_a_lone_one_ahead(log: PredictionLog, write: Write) -> None:
    write([100], [140], [10**15], bound_us=50)

    assert (log.watermark("bikes"), log.ahead_rows("bikes"), log.count("bikes")) == (140, 1, 3)
    assert log.watermark("other") is None


def test_a_label_is_matched_then_a_duplicate_then_a_conflict(log: PredictionLog, write: Write) -> None:
    [first, second] = write([10, 20])

    assert statuses(log, (first, "yes")) == ["matched"]
    assert statuses(log, (first, "yes"), (first, "no"), (second, "no"), (second, "no")) == ["duplicate", "conflict", "matched", "duplicate"]
    assert statuses(log, (first, "no")) == ["conflict"]

    logged = log.rows("bikes", 0, 100, SCHEMA, labelled_only=True)
    assert logged.rows.target is not None
    assert logged.rows.target.tolist() == ["yes", "no"]
    assert (log.size("bikes").conflicts, log.size("bikes").labelled) == (1, 2)
    assert log.coverage("bikes", 0, 15) == (1, 1)


def test_pending_is_told_from_unknown(log: PredictionLog, write: Write) -> None:
    write([10])
    on_its_way = MINTER.mint(5, spool=SPOOL, seq=1, n_rows=1) + "-0"
    of_another_file = MINTER.mint(round(NOW.timestamp() * 1000), spool="00000000bb", seq=0, n_rows=1) + "-0"
    gone = MINTER.mint(5, spool=SPOOL, seq=0, n_rows=9) + "-8"

    found = statuses(log, (on_its_way, "yes"), (of_another_file, "yes"), (gone, "yes"), ("made-up", "yes"))

    assert found == ["pending", "pending", "unknown", "unknown"]


def test_what_a_closed_file_never_held_is_unknown(log: PredictionLog) -> None:
    log.commit_drained(DrainedBatch(SPOOL, 0, 100, 0, [record(0, [1])], closed=True), machine_now=NOW)

    assert statuses(log, (MINTER.mint(5, spool=SPOOL, seq=4, n_rows=1) + "-0", "yes")) == ["unknown"]


def test_a_label_for_a_file_that_was_forgotten_is_too_late(log: PredictionLog) -> None:
    log.commit_drained(DrainedBatch(SPOOL, 0, 100, 0, [record(0, [1])], closed=True), machine_now=NOW)
    minted = MINTER.mint(round(NOW.timestamp() * 1000), spool=SPOOL, seq=0, n_rows=1) + "-0"
    much_later = NOW + timedelta(days=401)
    log.retain("bikes", 10, machine_now=much_later)

    assert statuses(log, (minted, "yes"), now=much_later) == ["too_late"]


def test_a_label_of_another_model_is_unknown(log: PredictionLog, write: Write) -> None:
    [identity] = write([10])

    [result] = log.label("other", [LabelItem("yes", id=parsed(identity))], NOW)

    assert result.status == "unknown"


def test_a_label_is_too_late_by_model_time_whatever_the_clock_of_the_machine_says(log: PredictionLog, write: Write) -> None:
    [old, young] = write([10, 2000])

    assert statuses(log, (old, "yes"), (young, "yes"), now=datetime(2099, 1, 1, tzinfo=UTC)) == ["too_late", "matched"]


@pytest.mark.parametrize("label", ["maybe", None, 1.5, [], "", float("nan")])
def test_a_value_that_is_no_label_is_invalid_and_says_why(log: PredictionLog, write: Write, label: object) -> None:
    [identity] = write([10])

    [result] = log.label("bikes", [LabelItem(label, id=parsed(identity))], NOW, rules=RULES)

    assert result.status == "invalid"
    assert result.reason
    assert result.reason.startswith("want")


@pytest.mark.parametrize("label", [True, "3", None, float("inf"), 10**400])
def test_a_value_that_is_no_number_is_invalid_for_a_regression(label: object) -> None:
    with pytest.raises(ValueError, match="finite number"):
        LabelRules("regression").stored(label)


def test_an_own_id_labels_every_row_that_carries_it(log: PredictionLog, write: Write) -> None:
    write([10, 20, 30], own_ids=["ride-1", "ride-2", "ride-1"])

    results = log.label("bikes", [LabelItem("yes", own_id="ride-1"), LabelItem("no", own_id="ride-9")], NOW, rules=RULES)

    assert [result.status for result in results] == ["matched", "unknown"]
    assert log.coverage("bikes", 0, 100) == (3, 2)


def test_labels_that_came_later_are_not_known_earlier(log: PredictionLog, write: Write) -> None:
    [first, second] = write([10, 20])
    statuses(log, (first, "yes"))
    write([50], start=1)
    statuses(log, (second, "no"))

    then, now = (log.rows("bikes", 0, 30, SCHEMA, labels_known_by=at) for at in (20, 50))

    assert then.rows.target is not None
    assert now.rows.target is not None
    assert (then.rows.target.tolist(), then.labelled_us.tolist()) == (["yes", None], [20, -1])
    assert (now.rows.target.tolist(), now.labelled_us.tolist()) == (["yes", "no"], [20, 50])


def test_old_rows_go_with_everything_that_belongs_to_them(log: PredictionLog, write: Write) -> None:
    [old, young] = write([10, 20])
    statuses(log, (old, "yes"), (old, "no"), (young, "yes"))

    gone = log.retain("bikes", 15, machine_now=NOW)

    assert (gone, log.count("bikes"), log.total_rows(), log.size("bikes").conflicts, log.first_event("bikes")) == (1, 1, 1, 0, 20)
    assert statuses(log, (old, "yes")) == ["unknown"]


def test_refused_rows_are_added_up_by_field_and_code(log: PredictionLog) -> None:
    log.add_rejects("bikes", 0, {("x", "type"): 2, ("word", "missing"): 1})
    log.add_rejects("bikes", 0, {("x", "type"): 3})
    log.add_rejects("bikes", 100, {("x", "type"): 7})

    assert log.rejected("bikes", 0, 100) == {("x", "type"): 5, ("word", "missing"): 1}


def test_model_time_can_be_moved_by_hand(log: PredictionLog, write: Write) -> None:
    write([10])

    log.set_watermark("bikes", 10**12)

    assert log.watermark("bikes") == 10**12


def test_request_and_trace_are_kept_with_every_row_of_their_request(log: PredictionLog) -> None:
    one = replace(record(0, [10, 20]), request_id="r-1", trace_id="t" * 32)
    log.commit_drained(DrainedBatch(SPOOL, 0, 10, 0, [one]), machine_now=NOW)
    log.label("bikes", [LabelItem("no", id=parsed(f"{one.prefix}-1"))], NOW, rules=RULES)

    found = [log.prediction(f"{one.prefix}-{row}") for row in range(3)]

    assert found == [
        LoggedPrediction("bikes", "v1", 10_000, 10, {"x": 10.0, "word": "a"}, "yes", {"no": 0.25, "yes": 0.75}, None, "r-1", "t" * 32),
        LoggedPrediction("bikes", "v1", 10_000, 20, {"x": 20.0, "word": None}, "yes", {"no": 0.25, "yes": 0.75}, "no", "r-1", "t" * 32),
        None,
    ]


@pytest.mark.parametrize("identity", ["", "-", "-0", "abc", "abc-", "abc-x", "abc-99999999999999999999", "abc-0"])
def test_an_id_that_nobody_was_given_is_nowhere(log: PredictionLog, identity: str) -> None:
    assert log.prediction(identity) is None


def test_a_log_of_the_first_version_is_brought_up_to_date_with_its_rows(database: Database) -> None:
    """The tables as they were before request and trace ids, with a row in them, and a worker of that time still writing."""
    old = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(old)
    columns = [
        sa.Column(column.name, column.type, primary_key=column.primary_key, nullable=column.nullable)
        for column in predictions.columns
        if column.name not in ("request_id", "trace_id")
    ]
    old.remove(old.tables["predictions"])
    before = sa.Table("predictions", old, *columns)
    database.prepare(COMPONENT, old, 1)
    row = dict(zip(_COLUMNS, stored_rows([record(0, [10])])[0], strict=True))
    del row["request_id"], row["trace_id"]
    with database.write() as connection:
        connection.execute(sa.insert(before), row)
        connection.execute(sa.insert(layouts), {"layout": row["layout"], "content": layout_content(("x", "word"), ("no", "yes"))[1]})
    log = PredictionLog(database)

    log.commit_drained(DrainedBatch(SPOOL, 0, 10, 0, [replace(record(1, [20]), request_id="r-1")]), machine_now=NOW)
    with database.write() as connection:
        connection.execute(sa.insert(before), {**row, "row": 7, "event_us": 30})

    assert log.rows("bikes", 0, 100, SCHEMA).rows.time_us.tolist() == [10, 20, 30]
    assert [one.request_id for row in (0, 7) if (one := log.prediction(f"{record(0, [10]).prefix}-{row}"))] == [None, None]
