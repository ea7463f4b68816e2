"""The prediction log on SQLite and PostgreSQL: written by the drain, joined by labels, read by the monitor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from service.count_ledger.counts import CountedRows
from service.count_ledger.tables import metadata
from service.prediction_log.ids import IdMinter, PredictionId
from service.prediction_log.labels import OFFSETS_KEPT_US, LabelItem, LabelRules
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.reading import LoggedPrediction
from service.prediction_log.records import Record
from service.prediction_log.tables import COMPONENT, layout_content, layouts, predictions
from service.prediction_log.watermark import ClockRule
from service.prediction_log.writing import _COLUMNS, DrainedBatch, stored_rows
from tests.service.counting import counted_rows
from training.profiles.bins import Bins, ColumnBins
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.storage.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPOOL = "00000000aa"
MINTER = IdMinter(b"k")
SCHEMA = Schema((Feature("x", "numeric", nullable=True), Feature("word", "categorical", nullable=True)), target="y", task="binary")
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)), ColumnBins("word", "categorical", categories=("a", "b"))))
RULES = LabelRules("binary", ("no", "yes"), too_late_us=1000)
NUMBERS = LabelRules("regression")

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
    prediction_id = MINTER.parse(identity)
    assert prediction_id is not None
    return prediction_id


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

    profile, buckets = log.profile("bikes", BINS.id, 0, 200), log.buckets("bikes", BINS.id, 0, 200)

    assert profile is not None
    assert (profile.rows, [(at, part.rows) for at, part in buckets]) == (8, [(0, 6), (100, 2)])
    assert log.profile("bikes", BINS.id, 0, 100).rows == 6  # type: ignore[union-attr]
    assert log.profile("bikes", BINS.id, 500, 900) is None
    assert counted_rows(log, "bikes") == 10


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


def test_pending_is_not_unknown(log: PredictionLog, write: Write) -> None:
    write([10])
    on_its_way = MINTER.mint(5, spool=SPOOL, seq=1, n_rows=1) + "-0"
    of_another_file = MINTER.mint(round(NOW.timestamp() * 1000), spool="00000000bb", seq=0, n_rows=1) + "-0"
    gone = MINTER.mint(5, spool=SPOOL, seq=0, n_rows=9) + "-8"

    answered = statuses(log, (on_its_way, "yes"), (of_another_file, "yes"), (gone, "yes"), ("made-up", "yes"))

    assert answered == ["pending", "pending", "unknown", "unknown"]


def test_what_a_closed_file_never_held_is_unknown(log: PredictionLog) -> None:
    log.commit_drained(DrainedBatch(SPOOL, 0, 100, 0, [record(0, [1])], closed=True), machine_now=NOW)

    assert statuses(log, (MINTER.mint(5, spool=SPOOL, seq=4, n_rows=1) + "-0", "yes")) == ["unknown"]


def test_a_label_for_a_file_that_was_forgotten_is_too_late(log: PredictionLog) -> None:
    log.commit_drained(DrainedBatch(SPOOL, 0, 100, 0, [record(0, [1])], closed=True), machine_now=NOW)
    minted = MINTER.mint(round(NOW.timestamp() * 1000), spool=SPOOL, seq=0, n_rows=1) + "-0"
    much_later = NOW + timedelta(days=401)
    log.retain("bikes", 10, machine_now=much_later)

    assert statuses(log, (minted, "yes"), now=much_later) == ["too_late"]


def test_what_became_of_labels_is_counted_by_the_model_time_at_which_they_came(log: PredictionLog, write: Write) -> None:
    [old, young] = write([10, 2000])
    of_files = [
        LabelItem("yes", id=parsed(old)),
        LabelItem("maybe", id=parsed(young)),
        LabelItem("yes", id=parsed(young)),
        LabelItem("yes"),
    ]
    rules = replace(RULES, bucket_us=600)
    log.label("bikes", of_files, NOW, rules=rules)
    log.label("bikes", [*of_files[2:], LabelItem("no", id=parsed(young))], NOW, rules=rules)
    write([2500], start=1)

    log.label("bikes", [LabelItem("yes", id=parsed(old))], NOW, rules=rules)

    counts = {"conflict": 1, "duplicate": 1, "invalid": 1, "matched": 1, "too_late": 1, "unknown": 2}
    came = [(one.bucket_us, one.result, one.labels) for one in log.arrivals("bikes", None, 10_000)]
    assert came == [*((1800, result, number) for result, number in counts.items()), (2400, "too_late", 1)]
    assert log.arrivals("bikes", 1801, 2400) == log.arrivals("cars", None, 10_000) == []


def test_of_labels_too_late_it_is_counted_how_old_their_rows_were(log: PredictionLog, write: Write) -> None:
    day_us = 86_400_000_000
    old, older, _ = write([100 * day_us], [40 * day_us], [120 * day_us], bound_us=1000 * day_us)

    log.label("bikes", [LabelItem("yes", id=parsed(one)) for one in (old, older)], NOW, rules=RULES)

    ages = sorted(one.age_us / day_us for one in log.arrivals("bikes", None, 200 * day_us))
    assert ages == [pytest.approx(20, rel=0.19), pytest.approx(80, rel=0.19)]
    assert all(age >= least for age, least in zip(ages, (20, 80), strict=True))


def test_an_own_id_that_may_still_be_on_its_way_is_not_counted_yet(log: PredictionLog, write: Write) -> None:
    write([10], own_ids=["a"])

    log.label("bikes", [LabelItem("yes", own_id="a"), LabelItem("yes", own_id="b"), LabelItem("yes")], NOW, is_drained=False)

    assert [(one.result, one.labels) for one in log.arrivals("bikes", None, 10_000)] == [("matched", 1), ("unknown", 1)]


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


@pytest.mark.parametrize("label", [True, "3", "x" * 9999, None, float("inf"), 10**400])
def test_a_value_that_is_no_number_is_invalid_for_a_regression(label: object) -> None:
    with pytest.raises(ValueError, match=r"^want a finite number.{0,60}$"):
        LabelRules("regression").stored(label)


@pytest.mark.parametrize("label", [2**53 + 1, 10**20])
def test_a_whole_number_that_a_float_does_not_keep_is_no_label_of_a_regression(label: int) -> None:
    with pytest.raises(ValueError, match="beyond which digits are lost"):
        LabelRules("regression").stored(label)
    assert LabelRules("multiclass", (str(label), "0")).stored(label) == str(label)


def test_a_number_in_quotes_is_refused_with_a_sentence_that_shows_it(log: PredictionLog, write: Write) -> None:
    [identity] = write([10])

    text, number = log.label("bikes", [LabelItem("12.5", parsed(identity)), LabelItem(12.5, parsed(identity))], NOW, rules=NUMBERS)

    assert (text.status, text.reason) == ("invalid", "want a finite number, got the text '12.5'")
    assert number.status == "matched"


def test_an_own_id_labels_every_row_that_carries_it(log: PredictionLog, write: Write) -> None:
    write([10, 20, 10, 10], own_ids=["ride-1", "ride-2", "ride-1", None])

    results = log.label("bikes", [LabelItem("yes", own_id="ride-1"), LabelItem("no", own_id="ride-9")], NOW, rules=RULES)

    assert [result.status for result in results] == ["matched", "unknown"]
    assert log.coverage("bikes", 0, 100) == (4, 2)


def test_labels_that_came_later_are_not_known_earlier(log: PredictionLog, write: Write) -> None:
    [first, second] = write([10, 20])
    statuses(log, (first, "yes"))
    write([50], start=1)
    statuses(log, (second, "no"))

    then, now = (log.rows("bikes", 0, 30, SCHEMA, known_by=at) for at in (20, 50))

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
    one = replace(record(0, [10, 20]), request_id="r-1", trace_id="t" * 32, own_ids=["order-1", "order-2"])
    log.commit_drained(DrainedBatch(SPOOL, 0, 10, 0, [one]), machine_now=NOW)
    log.label("bikes", [LabelItem("no", id=parsed(f"{one.prefix}-1"))], NOW, rules=RULES)

    predictions_of_it = [log.prediction(f"{one.prefix}-{row}") for row in range(3)]

    answer, request = ("yes", {"no": 0.25, "yes": 0.75}), ("r-1", "t" * 32)
    assert predictions_of_it == [
        LoggedPrediction("bikes", "v1", 10_000, 10, {"x": 10.0, "word": "a"}, *answer, None, *request, "order-1", None, None),
        LoggedPrediction("bikes", "v1", 10_000, 20, {"x": 20.0, "word": None}, *answer, "no", *request, "order-2", 20, None),
        None,
    ]
    assert [log.ids_of("bikes", name) for name in ("order-2", "order-3")] == [[f"{one.prefix}-1"], []]


@pytest.mark.parametrize("identity", ["", "-", "-0", "abc", "abc-", "abc-x", "abc-9999999999", "abc-99999999999999999999", "abc-0"])
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
        if column.name not in ("request_id", "trace_id", "key_name", "late_us")
    ]
    old.remove(old.tables["predictions"])
    before = sa.Table("predictions", old, *columns)
    database.prepare(COMPONENT, old, 1)
    row = dict(zip(_COLUMNS, stored_rows([record(0, [10])])[0], strict=True))
    del row["request_id"], row["trace_id"], row["key_name"], row["late_us"]
    with database.write() as connection:
        connection.execute(sa.insert(before), row)
        connection.execute(sa.insert(layouts), {"layout": row["layout"], "content": layout_content(("x", "word"), ("no", "yes"))[1]})
    log = PredictionLog(database)

    log.commit_drained(DrainedBatch(SPOOL, 0, 10, 0, [replace(record(1, [20]), request_id="r-1")]), machine_now=NOW)
    with database.write() as connection:
        connection.execute(sa.insert(before), {**row, "row": 7, "event_us": 30})

    assert log.rows("bikes", 0, 100, SCHEMA).rows.time_us.tolist() == [10, 20, 30]
    assert [one.request_id for row in (0, 7) if (one := log.prediction(f"{record(0, [10]).prefix}-{row}"))] == [None, None]


def test_a_label_of_a_row_as_old_as_the_rule_allows_is_matched_and_of_an_older_one_too_late(log: PredictionLog, write: Write) -> None:
    [older, oldest_allowed, _] = write([9, 10, 1010])

    assert statuses(log, (older, "yes"), (oldest_allowed, "yes")) == ["too_late", "matched"]


@pytest.mark.parametrize(("more_ms", "status"), [(0, "pending"), (1, "too_late")], ids=["as old as is kept", "older"])
def test_a_file_that_may_still_come_is_pending_until_its_offset_would_be_forgotten(log: PredictionLog, more_ms: int, status: str) -> None:
    minted_ms = round(NOW.timestamp() * 1000) - OFFSETS_KEPT_US // 1000 - more_ms
    identity = MINTER.mint(minted_ms, spool="00000000bb", seq=0, n_rows=1) + "-0"

    assert statuses(log, (identity, "yes")) == [status]


@pytest.mark.parametrize(("label", "is_one"), [("a" * 256, True), ("a" * 257, False), ("a", True), ("", False)])
def test_a_class_label_has_1_to_256_letters(label: str, is_one: bool) -> None:
    with nullcontext() if is_one else pytest.raises(ValueError, match="256"):
        assert LabelRules("multiclass").stored(label) == label


def test_a_range_of_event_time_holds_its_start_and_not_its_end(log: PredictionLog, write: Write) -> None:
    statuses(log, *[(identity, "yes") for identity in write([10, 20, 30])])

    assert log.rows("bikes", 10, 30, SCHEMA).rows.time_us.tolist() == [10, 20]
    assert log.coverage("bikes", 10, 30) == (2, 2)


def test_a_range_of_buckets_holds_its_start_and_not_its_end(log: PredictionLog) -> None:
    counts = BINS.count({"x": np.array([1.0]), "word": np.array(["a"], dtype=object)})
    counted = [CountedRows("bikes", "v1", bucket_us, 1, counts) for bucket_us in (0, 100, 200)]
    log.commit_drained(DrainedBatch(SPOOL, 0, 100, 0, [], counts=counted), machine_now=NOW)
    log.add_rejects("bikes", 100, {("x", "type"): 2})

    assert [at for at, _ in log.buckets("bikes", BINS.id, 0, 200)] == [0, 100]
    assert [log.rejected("bikes", *ends) for ends in ((0, 100), (100, 101))] == [{}, {("x", "type"): 2}]


def test_the_first_event_is_of_rows_that_arrived_since_and_are_newer_than(log: PredictionLog, write: Write) -> None:
    write([10], [20])  # arrived at 10,000 and 10,001

    assert [log.first_event("bikes", arrived_since_us=since_us) for since_us in (10_000, 10_001, 10_002)] == [10, 20, None]
    assert [log.first_event("bikes", after_us=after_us) for after_us in (9, 10, 20)] == [10, 20, None]


def test_what_is_kept_starts_at_the_time_itself(log: PredictionLog, write: Write) -> None:
    write([10, 20])
    profile = BINS.count({"x": np.array([1.0]), "word": np.array(["a"], dtype=object)})
    counted = [CountedRows("bikes", "v1", bucket_us, 1, profile) for bucket_us in (10, 20)]
    log.commit_drained(DrainedBatch("00000000bb", 0, 100, 0, [], counts=counted), machine_now=NOW)
    log.add_rejects("bikes", 20, {("x", "type"): 2})

    log.retain("bikes", 20, machine_now=NOW)

    assert log.rows("bikes", 0, 100, SCHEMA).rows.time_us.tolist() == [20]
    assert [at for at, _ in log.buckets("bikes", BINS.id, 0, 100)] == [20]
    assert log.rejected("bikes", 0, 100) == {("x", "type"): 2}


@pytest.mark.parametrize(("more_us", "kept"), [(0, 100), (1, 0)], ids=["as old as is kept", "older"])
def test_the_offset_of_a_closed_file_is_kept_as_long_as_labels_may_ask_for_it(log: PredictionLog, more_us: int, kept: int) -> None:
    log.commit_drained(DrainedBatch(SPOOL, 0, 100, 0, [record(0, [1])], closed=True), machine_now=NOW)

    log.retain("bikes", 0, machine_now=NOW + timedelta(microseconds=OFFSETS_KEPT_US + more_us))

    assert log.offset(SPOOL).offset == kept
