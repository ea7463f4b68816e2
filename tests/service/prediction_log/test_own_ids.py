"""Whose an own id is, and which rows a label by it lands on; on SQLite and PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from service.count_ledger.tables import metadata
from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import LabelItem, LabelRules
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import Record
from service.prediction_log.tables import COMPONENT, predictions
from service.prediction_log.writing import DrainedBatch
from training.storage.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPOOL = "00000000aa"
MINTER = IdMinter(b"k")

Send = Callable[..., Counter[str]]
Label = Callable[..., list[str]]


def record(
    seq: int, x: Sequence[float], own_ids: Sequence[str | None] | None, key: str | None, *, model: str = "bikes", version: str = "v1"
) -> Record:
    prefix = MINTER.mint(seq, spool=SPOOL, seq=seq, n_rows=len(x))
    features = {"x": list(x), "word": ["a"] * len(x)}
    classes = ["no", "yes"] if version == "v1" else ["maybe", "no", "yes"]
    chances = [[1 / len(classes)] * len(classes)] * len(x)
    return Record(prefix, model, version, "b", seq, [seq] * len(x), own_ids, features, ["yes"] * len(x), chances, classes, key=key)


@pytest.fixture
def log(database: Database) -> PredictionLog:
    return PredictionLog(database)


@pytest.fixture
def send(log: PredictionLog) -> Send:
    """Commit records in one batch, one after the other; gives how many rows of each model lost their own id."""
    sent = 0

    def commit(*records: Record) -> Counter[str]:
        nonlocal sent
        lost: Counter[str] = Counter()
        batch = DrainedBatch(SPOOL, sent, sent + len(records), sent, records)
        assert log.commit_drained(batch, machine_now=NOW, note_lost=lambda model, n_rows: lost.update({model: n_rows}))
        sent += len(records)
        return lost

    return commit


@pytest.fixture
def label(log: PredictionLog) -> Label:
    """Label by own ids; gives the statuses."""

    def give(*own_ids: str, rules: LabelRules | None = None) -> list[str]:
        items = [LabelItem("yes", own_id=own_id) for own_id in own_ids]
        return [result.status for result in log.label("bikes", items, NOW, rules=rules)]

    return give


@pytest.fixture
def labelled(database: Database) -> Callable[[], list[str]]:
    """The ids of the rows that have a label."""

    def read() -> list[str]:
        chosen = sa.select(predictions.c.id_prefix, predictions.c.row).where(predictions.c.label_true.is_not(None))
        with database.read() as connection:
            return sorted(f"{prefix}-{row}" for prefix, row in connection.execute(chosen))

    return read


@pytest.mark.parametrize("is_at_once", [True, False], ids=["one batch", "two"])
def test_rows_of_another_key_lose_their_own_id_and_no_label_lands_on_them(
    send: Send, label: Label, labelled: Callable[[], list[str]], is_at_once: bool
) -> None:
    honest = record(0, [1.0], ["ride-1"], "shop")
    stranger = record(1, [9.0] * 50, ["ride-1"] * 49 + ["mine"], "stranger")

    lost = send(honest, stranger) if is_at_once else send(honest) + send(stranger)

    assert lost == {"bikes": 49}
    assert label("ride-1", "mine") == ["matched", "matched"]
    assert labelled() == sorted([f"{honest.prefix}-0", f"{stranger.prefix}-49"])


def test_an_own_id_belongs_to_the_first_key_for_each_model_apart(send: Send) -> None:
    lost = send(record(0, [1.0], ["ride-1"], "shop"), record(1, [1.0], ["ride-1"], "other", model="fares"))

    assert lost == {}


def test_a_key_may_use_its_own_id_again(send: Send) -> None:
    assert send(record(0, [1.0], ["ride-1"], "shop")) + send(record(1, [2.0], ["ride-1"], "shop")) == {}


def test_rows_of_a_time_without_keys_own_nothing_and_lose_nothing(send: Send, label: Label) -> None:
    without, first, again = (record(n, [1.0], ["ride-1"], key) for n, key in enumerate((None, "shop", None)))

    lost = send(without) + send(first) + send(again) + send(record(3, [1.0], ["ride-1"], "stranger"))

    assert lost == {"bikes": 1}
    assert label("ride-1") == ["matched"]


def test_a_client_that_sent_again_has_all_its_rows_labelled_whatever_version_answered(
    send: Send, label: Label, labelled: Callable[[], list[str]]
) -> None:
    send(record(0, [1.0], ["ride-1"], "shop"), record(1, [1.0], ["ride-1"], "shop", version="v2"))

    assert label("ride-1") == ["matched"]
    assert len(labelled()) == 2
    assert label("ride-1") == ["duplicate"]


def test_an_own_id_of_rows_that_differ_is_ambiguous_and_nothing_is_stored(
    send: Send, label: Label, labelled: Callable[[], list[str]]
) -> None:
    send(record(0, [1.0, 2.0, 3.0], ["ride-1", "ride-1", "ride-2"], "shop"))

    assert label("ride-1", "ride-2", "ride-3") == ["ambiguous", "matched", "unknown"]
    assert len(labelled()) == 1


@pytest.mark.parametrize("key", [None, "shop"])
def test_the_model_file_may_let_a_label_go_to_all_of_them(
    send: Send, label: Label, labelled: Callable[[], list[str]], key: str | None
) -> None:
    send(record(0, [1.0, 2.0], ["ride-1", "ride-1"], key))

    assert label("ride-1", rules=LabelRules(labels_all=True)) == ["matched"]
    assert len(labelled()) == 2


def test_a_wrong_label_is_invalid_before_it_is_ambiguous(send: Send, log: PredictionLog) -> None:
    send(record(0, [1.0, 2.0], ["ride-1", "ride-1"], "shop"))

    [result] = log.label("bikes", [LabelItem("perhaps", own_id="ride-1")], NOW, rules=LabelRules("binary", ("no", "yes")))

    assert result.status == "invalid"


def test_a_label_of_a_declared_class_is_taken_whatever_its_letters() -> None:
    names = ("a\u00a0b", "c\nd", "e" * 300)

    assert tuple(map(LabelRules("multiclass", names).stored, names)) == names
    for name in names:
        with pytest.raises(ValueError, match="printable letters"):
            LabelRules("multiclass").stored(name)


def test_more_own_ids_than_one_statement_takes_are_kept_apart(send: Send, label: Label) -> None:
    names = [f"ride-{n}" for n in range(11_000)]
    send(record(0, [1.0] * len(names), names, "shop"))

    lost = send(record(1, [1.0] * len(names), names, "stranger"))

    assert lost == {"bikes": len(names)}
    assert set(label(*names)) == {"matched"}


def test_a_log_of_the_second_version_is_brought_up_to_date_with_its_rows(database: Database) -> None:
    old = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(old)
    before = old.tables["predictions"]
    old.remove(before)
    columns = [
        sa.Column(column.name, column.type, primary_key=column.primary_key, nullable=column.nullable)
        for column in predictions.columns
        if column.name not in ("key_name", "late_us")
    ]
    sa.Table("predictions", old, *columns)
    database.prepare(COMPONENT, old, 2)
    row = {"id_prefix": "a", "row": 0, "model": "bikes", "version": "v1", "bins_id": "b", "layout": "l", "arrived_us": 1, "event_us": 1}
    with database.write() as connection:
        connection.execute(sa.insert(old.tables["predictions"]), {**row, "own_id": "ride-1", "features": '[1.0,"a"]', "label": "yes"})
    log = PredictionLog(database)

    [result] = log.label("bikes", [LabelItem("yes", own_id="ride-1")], NOW)

    assert result.status == "matched"
    assert log.commit_drained(DrainedBatch(SPOOL, 0, 1, 0, [record(0, [1.0], ["ride-1"], "shop")]), machine_now=NOW)
