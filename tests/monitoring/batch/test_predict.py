"""Predictions for whole tables: what is in them comes out as it went in, with the model's words at its right."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring.admin.workbench import Workbench
from monitoring.batch import predict as batch_predict
from monitoring.batch import table_files
from monitoring.batch.predict import Predicted, Wanted, predict_table
from monitoring.errors import InputError
from training.errors import DataError

OURS = ["prediction", "probability_false", "probability_true", "version"]
Predict = Callable[..., Predicted]


@pytest.fixture
def bench(trained_home: Path) -> Iterator[Workbench]:
    opened = Workbench({"EVERGREEN_HOME": str(trained_home)})
    yield opened
    opened.close()


@pytest.fixture
def predict(bench: Workbench, tmp_path: Path) -> Predict:
    """Predict a table of the example by its champion into `out.parquet`."""

    def predicting(table: Path, out: str = "out.parquet", **wanted: object) -> Predicted:
        return predict_table(bench, "bikes", None, table, replace(Wanted(tmp_path / out), **wanted))  # type: ignore[arg-type]

    return predicting


@pytest.fixture
def live(bikes_file: Path) -> pd.DataFrame:
    """Forty rows of the example as text, in an order that is not the one of time."""
    table = pd.read_csv(bikes_file.parent / "live.csv.gz", dtype=str, keep_default_na=False).head(40)
    return table.iloc[::-1].reset_index(drop=True)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read seven rows, or four hundred bytes, at a time."""
    monkeypatch.setattr(table_files, "PIECE_ROWS", 7)
    monkeypatch.setattr(table_files, "BLOCK_BYTES", 400)


def as_arrow(table: pd.DataFrame) -> pa.Table:
    """Text where there is any, else null."""
    return pa.Table.from_pandas(table.replace("", None), preserve_index=False).replace_schema_metadata(None)


def as_text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_the_cells_of_a_csv_come_out_as_they_went_in(predict: Predict, live: pd.DataFrame, tmp_path: Path, name: str) -> None:
    odd = ['a "quoted", one', "two\nlines", "007", " blank ", ""] * 8
    live.assign(note=odd, **{"a,b": "x"}).to_csv(tmp_path / "in.csv", index=False)

    done = predict(tmp_path / "in.csv", name)

    written = as_text(tmp_path / name)
    assert written.columns.tolist() == [*live.columns, "note", "a,b", *OURS]
    pd.testing.assert_frame_equal(written.drop(columns=OURS), live.assign(note=odd, **{"a,b": "x"}))
    assert set(written["version"]) == {done.version}
    assert (done.rows, done.skipped) == (40, 0)


def test_a_line_is_written_byte_by_byte_as_it_was(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.to_csv(tmp_path / "in.csv", index=False)

    predict(tmp_path / "in.csv", "out.csv")

    before, after = (tmp_path / "in.csv").read_text().splitlines(), (tmp_path / "out.csv").read_text().splitlines()
    assert [line[: len(old)] for line, old in zip(after, before, strict=True)] == before


def test_the_types_of_a_parquet_file_stay(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    table = as_arrow(live)
    typed = {
        "docks": pa.array([int(v) for v in live["docks"]], pa.int8()),
        "district": pa.array(live["district"].tolist()).dictionary_encode(),
        "ids": pa.array([2**63 - 1 - n for n in range(40)], pa.int64()),
        "tags": pa.array([[n, None] for n in range(40)]),
        "seen": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 40, pa.timestamp("ns", "Europe/Berlin")),
    }
    for name, values in typed.items():
        place = table.column_names.index(name) if name in table.column_names else table.num_columns
        table = table.set_column(place, name, values) if name in table.column_names else table.append_column(name, values)
    pq.write_table(table, tmp_path / "in.parquet")

    predict(tmp_path / "in.parquet")

    written = pq.read_table(tmp_path / "out.parquet")
    assert written.select(table.column_names).equals(table)
    assert written.column_names[-4:] == OURS
    assert written.schema.field("prediction").type == pa.string()


def test_json_lines_are_predicted_as_the_csv_is(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.to_csv(tmp_path / "in.csv", index=False)
    pd.read_csv(tmp_path / "in.csv").to_json(tmp_path / "in.jsonl", orient="records", lines=True)

    predict(tmp_path / "in.csv", "from_csv.parquet")
    predict(tmp_path / "in.jsonl", "from_json.parquet")

    from_csv, from_json = (pd.read_parquet(tmp_path / name) for name in ("from_csv.parquet", "from_json.parquet"))
    pd.testing.assert_frame_equal(from_csv[OURS], from_json[OURS])
    assert len(from_json) == 40


def test_lists_and_objects_of_json_that_the_model_does_not_ask_for_are_written_as_their_json(
    predict: Predict, live: pd.DataFrame, tmp_path: Path
) -> None:
    live.to_csv(tmp_path / "in.csv", index=False)
    typed = pd.read_csv(tmp_path / "in.csv")
    typed.assign(tags=[None, *([["a", {"b": 1}]] * 39)]).to_json(tmp_path / "in.jsonl", orient="records", lines=True)

    predict(tmp_path / "in.jsonl", "out.parquet")
    predict(tmp_path / "in.jsonl", "out.csv")

    predict(tmp_path / "in.jsonl", "out.jsonl")

    assert [json.loads(line)["tags"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [None] + [["a", {"b": 1}]] * 39
    for written in (pd.read_parquet(tmp_path / "out.parquet"), pd.read_csv(tmp_path / "out.csv")):
        assert written["tags"].isna().tolist() == [True] + [False] * 39
        assert set(written["tags"][1:]) == {'["a",{"b":1}]'}


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_json_lines_are_written_with_the_types_of_the_table(predict: Predict, live: pd.DataFrame, tmp_path: Path, name: str) -> None:
    live.to_csv(tmp_path / "in.csv", index=False)
    odd = {
        "day": date(2026, 1, 2),
        "cost": Decimal("1.50"),
        "at": pd.Timestamp("2026-01-02T03:04"),
        "half": np.inf,
        "tags": [[1, None]] * 40,
    }
    pd.read_csv(tmp_path / "in.csv").assign(**odd).to_parquet(tmp_path / "in.parquet")

    predict(tmp_path / "in.parquet", name)
    predict(tmp_path / "in.parquet", "out.parquet")
    open_one = gzip.open if name.endswith(".gz") else open
    with open_one(tmp_path / name, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]

    expected = pq.read_table(tmp_path / "out.parquet").drop_columns(list(odd)).to_pylist()
    assert [{key: value for key, value in row.items() if key not in odd} for row in rows] == expected
    assert {key: rows[0][key] for key in odd} == {
        "day": "2026-01-02", "cost": 1.5, "at": "2026-01-02T03:04:00", "half": None, "tags": [1, None],
    }  # fmt: skip


def test_an_index_of_pandas_is_columns(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.replace("", None).set_index("observed_at").to_parquet(tmp_path / "in.parquet")

    predict(tmp_path / "in.parquet")

    written = pd.read_parquet(tmp_path / "out.parquet")
    assert written.index.name == "observed_at"
    assert len(written) == 40


def test_what_parquet_has_and_csv_has_not_becomes_text(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    raw = as_arrow(live).append_column("tags", pa.array([[1, None]] * 40)).append_column("raw", pa.array([b"\xff"] * 40))
    pq.write_table(raw, tmp_path / "in.parquet")

    predict(tmp_path / "in.parquet", "out.csv")

    assert as_text(tmp_path / "out.csv")[["tags", "raw"]].iloc[0].tolist() == ["[1, null]", "b'\\xff'"]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_pieces_are_answered_as_the_whole_is(
    predict: Predict, live: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / f"in.{kind}"
    live.to_csv(path, index=False) if kind == "csv" else live.replace("", None).to_parquet(path, index=False)
    asked: list[int] = []
    plain = batch_predict.rows_from_columns
    monkeypatch.setattr(
        batch_predict, "rows_from_columns", lambda table, *rest, **named: asked.append(len(table)) or plain(table, *rest, **named)
    )

    predict(path, "pieces.parquet")

    monkeypatch.setattr(table_files, "PIECE_ROWS", 1 << 16)
    monkeypatch.setattr(table_files, "BLOCK_BYTES", 1 << 22)
    predict(path, "whole.parquet")
    assert len(asked) > 5
    pieces, whole = pd.read_parquet(tmp_path / "pieces.parquet"), pd.read_parquet(tmp_path / "whole.parquet")
    pd.testing.assert_frame_equal(pieces, whole, check_exact=False, rtol=1e-12)


def test_each_row_has_the_answer_it_has_alone(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.to_csv(tmp_path / "in.csv", index=False)
    live.tail(1).to_csv(tmp_path / "last.csv", index=False)

    predict(tmp_path / "in.csv"), predict(tmp_path / "last.csv", "last.parquet")

    whole, alone = pd.read_parquet(tmp_path / "out.parquet"), pd.read_parquet(tmp_path / "last.parquet")
    assert whole["probability_true"].nunique() > 10
    assert whole["probability_true"].iloc[-1] == pytest.approx(alone["probability_true"].iloc[0], rel=1e-12)


@pytest.mark.parametrize("target", [None, "", "perhaps", "12"], ids=["missing", "empty", "another class", "a number"])
def test_the_target_does_not_matter(predict: Predict, live: pd.DataFrame, tmp_path: Path, target: str | None) -> None:
    table = live.drop(columns="runs_empty") if target is None else live.assign(runs_empty=target)
    table.to_csv(tmp_path / "in.csv", index=False)

    assert predict(tmp_path / "in.csv").rows == 40


@pytest.mark.parametrize("name", OURS)
def test_a_name_that_is_taken_is_refused_before_anything_is_read(predict: Predict, live: pd.DataFrame, tmp_path: Path, name: str) -> None:
    live.assign(**{name: "theirs"}).to_csv(tmp_path / "in.csv", index=False)

    with pytest.raises(InputError, match=f"has a column '{name}' already; --prefix gives ours other names"):
        predict(tmp_path / "in.csv")
    predict(tmp_path / "in.csv", prefix="our_")

    written = pd.read_parquet(tmp_path / "out.parquet")
    assert set(written[name]) == {"theirs"}
    assert written.columns[-4:].tolist() == [f"our_{each}" for each in OURS]


@pytest.mark.usefixtures("small_pieces")
def test_a_bad_row_ends_it_with_nothing_written(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.loc[[3, 38], "docks"] = ["many", "500.5"]
    live.to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "out.parquet").write_bytes(b"of yesterday")

    with pytest.raises(DataError, match="2 value") as refusal:
        predict(tmp_path / "in.csv")

    assert [(problem.row, problem.column) for problem in refusal.value.problems] == [(3, "docks"), (38, "docks")]
    assert (tmp_path / "out.parquet").read_bytes() == b"of yesterday"
    assert not list(tmp_path.glob(".*part"))


@pytest.mark.usefixtures("small_pieces")
def test_bad_rows_can_be_skipped_and_say_why(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.to_csv(tmp_path / "good.csv", index=False)
    live.loc[[3, 38], "docks"] = ["many", "500.5"]
    live.loc[3, "observed_at"] = "soon"
    live.to_csv(tmp_path / "in.csv", index=False)

    done = predict(tmp_path / "in.csv", skip_bad=True)

    predict(tmp_path / "good.csv", "good.parquet")
    written, good = pd.read_parquet(tmp_path / "out.parquet"), pd.read_parquet(tmp_path / "good.parquet")
    bad = written.index.isin([3, 38])
    assert (done.rows, done.skipped) == (40, 2)
    assert written.loc[bad, OURS[:3]].isna().all(axis=None)
    assert written.loc[~bad, "error"].isna().all()
    np.testing.assert_allclose(written.loc[~bad, "probability_true"], good.loc[~bad, "probability_true"], rtol=1e-12)
    assert written.loc[3, "docks"] == "many"
    assert "docks: got 'many', wanted a whole number" in written.loc[3, "error"]
    assert "observed_at: got 'soon'" in written.loc[3, "error"]
    assert written.loc[38, "error"] == "docks: got 500.5, wanted a whole number"


def test_every_bad_row_says_why_however_many_there_are(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    many = pd.concat([live] * 10, ignore_index=True).assign(docks="many", holiday="?")
    many.loc[7, ["docks", "holiday"]] = ["20", "no"]
    many.to_csv(tmp_path / "in.csv", index=False)

    done = predict(tmp_path / "in.csv", skip_bad=True)

    errors = pd.read_parquet(tmp_path / "out.parquet")["error"]
    assert done.skipped == len(many) - 1
    assert errors.drop(7).str.contains("docks: got 'many'").all()
    assert errors.drop(7).str.contains("holiday: got '?'", regex=False).all()
    assert pd.isna(errors[7])


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_column_that_is_missing_is_refused_in_any_case(predict: Predict, live: pd.DataFrame, tmp_path: Path, skip_bad: bool) -> None:
    live.drop(columns="docks").to_csv(tmp_path / "in.csv", index=False)

    with pytest.raises(DataError, match="column 'docks': got no such column"):
        predict(tmp_path / "in.csv", skip_bad=skip_bad)

    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, the header 2"),
        ("a.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
        ("a.csv", b"docks;observed_at\nsecret;2\n", "cells separated by semicolons; wanted commas"),
        ("a.csv", b"", "cannot be read: an empty file"),
        ("a.csv", b"district;docks\na;1\n", "cells separated by semicolons; wanted commas"),
        ("a.csv", b"a,b\nsecret\xff,2\n", "bytes that are not utf-8"),
        ("a.csv", b"a,b\n" + b"secret,2\n" * 20_000 + b"\xff,2\n", "it is not UTF-8 text"),
        ("a.csv", "a,b\nsecret,2\n".encode("utf-16"), "write read: {encoding: utf-16}"),
        ("a.jsonl", b'{"docks": "secret"}\n{"docks": [1]}\n', "row 1, column 'docks': got a list"),
        ("a.parquet", b"secret,b\n", "cannot be read as Parquet"),
        ("a.csv.gz", gzip.compress(b"a,b\n" * 9, mtime=0)[:20], "gzip that cannot be unpacked"),
    ],
)
def test_a_file_that_is_none_is_one_sentence_without_its_content(
    predict: Predict, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=r"cannot be read|cells|called|got a list") as refusal:
        predict(tmp_path / name)

    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_table_is_not_overwritten_by_its_predictions(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.to_csv(tmp_path / "in.csv", index=False)

    with pytest.raises(InputError, match="is the table itself"):
        predict(tmp_path / "in.csv", "in.csv")


def test_an_output_of_another_kind_is_refused_first(predict: Predict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out.xlsx should end in .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz, which"):
        predict(tmp_path / "nowhere.csv", "out.xlsx")
    with pytest.raises(InputError, match=r"there is no folder .*none$"):
        predict(tmp_path / "nowhere.csv", "none/out.csv")


def test_the_end_of_the_name_says_what_is_written(predict: Predict, live: pd.DataFrame, tmp_path: Path) -> None:
    live.to_csv(tmp_path / "in.csv", index=False)

    predict(tmp_path / "in.csv", "out.csv.parquet")

    assert len(pd.read_parquet(tmp_path / "out.csv.parquet")) == len(live)
