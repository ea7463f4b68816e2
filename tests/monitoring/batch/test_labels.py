"""`evergreen label`: what is written, and why what is not is not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from monitoring.admin.workbench import Workbench
from monitoring.batch.labels import write_file
from monitoring.cli.main import run
from monitoring.stores import open_stores
from service.prediction_log.ids import IdMinter
from service.prediction_log.records import Record
from service.prediction_log.tables import predictions
from service.prediction_log.writing import DrainedBatch
from tests.conftest import Once
from tests.monitoring.world import make_world, weather
from training.artifacts.signing import load_or_make_key
from training.model_file.model_spec import parse_spec
from training.settings import Home

Labels = Callable[..., tuple[int, dict[str, object], str]]
Metres = Callable[[Path, str], tuple[dict[str, object], dict[str, float]]]


@pytest.fixture
def label(trained_home: Path, capsys: pytest.CaptureFixture[str]) -> Labels:
    """Call `evergreen label` and return code, counts, standard error."""

    def calling(*arguments: str | Path) -> tuple[int, dict[str, object], str]:
        code = run(["label", *map(str, arguments), "--json"], {"EVERGREEN_HOME": str(trained_home)})
        captured = capsys.readouterr()
        return code, json.loads(captured.out or "{}"), captured.err

    return calling


def test_an_id_that_is_none_is_said_to_be_none(label: Labels) -> None:
    code, counts, error = label("made-up", "true")

    assert (code, counts) == (1, {"model": "bikes", "labels": 1, "unknown": 1})
    assert error == "error: 1 label(s) not written\n  'made-up': this is no prediction id of this home\n"


def test_an_id_of_ours_that_is_not_in_the_log_is_to_be_sent_again(label: Labels, trained_home: Path) -> None:
    minter = IdMinter(load_or_make_key(Home(trained_home).ensure().ids_key))
    minted = minter.mint(1_700_000_000_000, spool="00000000aa", seq=3, n_rows=1)

    code, counts, error = label(f"{minted}-0", "true")

    assert (code, counts["labels"]) == (1, 1)
    assert "the prediction is" in error


def test_a_value_that_is_no_class_says_which_there_are(label: Labels) -> None:
    code, counts, error = label("made-up", "x" * 300)

    assert (code, counts["invalid"]) == (1, 1)
    assert "want a class label" in error


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", b"\xef\xbb\xbfid,label\nX,yes\n"),
        ("quoted.csv", b'"label","id"\r\n"yes","X"\r\n'),
        ("zipped.csv.gz", gzip.compress(b"id,label\nX,yes\n", mtime=0)),
        ("more.csv", b"note,id,label,own_id\n,X,yes,\n"),
        ("capitals.csv", b"ID, Label,LABELLED\nX,yes,\n"),
    ],
)
def test_a_file_is_read_as_every_table_is(label: Labels, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    code, counts, error = label("--file", tmp_path / name)

    assert (code, counts) == (1, {"model": "bikes", "labels": 1, "unknown": 1})
    assert "'X': this is no prediction id of this home" in error


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ride,outcome\n1,true\n", "needs the columns label and id (or own_id); it has outcome, ride"),
        (b"", "cannot be read: an empty file"),
        (b"id,label\nX,yes,no\n", "line 2 has 3 cells, the header 2"),
        (b"Id,ID,label\nX,Y,yes\n", "needs the columns label and id (or own_id); it has ID, Id, label"),
        (b"ID;Label\nX;yes\n", "cells separated by semicolons; wanted commas; write read: {delimiter: ';'}, or save it with commas"),
        ("id,label\nX,yes\n".encode("utf-16"), "UTF-16; wanted utf-8; write read: {encoding: utf-16}, or save it as UTF-8"),
        ("id,label\nX,né\n".encode("cp1252"), "wanted utf-8; write read: {encoding: latin-1} or the one it has, or save it as utf-8"),
        (b"id,label\n" + b"X,yes\n" * 20_000 + b"X,\xe9\n", "it is not UTF-8 text: save it as that"),
    ],
)
def test_a_file_without_labels_is_one_sentence(label: Labels, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)

    code, counts, error = label("--file", tmp_path / "labels.csv")

    assert (code, counts) == (1, {})
    assert words in error


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_can_be_written_is_and_the_rest_is_named(tmp_path: Path, once: Once, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    world = make_world(tmp_path, history_days=20, once=once)
    rows = weather(1, 20, 1)
    world.log(rows)
    world.close()
    table = pd.DataFrame({"own_id": rows.time_us, "label": rows.labels})
    table.loc[3, "own_id"] = 17
    table.to_csv(tmp_path / "labels.csv", index=False) if kind == "csv" else table.to_parquet(tmp_path / "labels.parquet")

    code = run(["label", "--file", str(tmp_path / f"labels.{kind}"), "--json"], {"EVERGREEN_HOME": str(tmp_path / "home")})
    printed = capsys.readouterr()
    again = run(["label", "--file", str(tmp_path / f"labels.{kind}"), "--json"], {"EVERGREEN_HOME": str(tmp_path / "home")})

    assert (code, again) == (1, 1)
    assert json.loads(printed.out) == {"model": "rain", "labels": 40, "matched": 39, "unknown": 1}
    assert "no prediction of rain has it" in printed.err
    assert json.loads(capsys.readouterr().out)["duplicate"] == 39


SPELLED = {"2": 2.0, " -0.5 ": -0.5, "1e3": 1000.0, "+7": 7.0, ".5": 0.5, "007": 7.0}
NO_NUMBERS = ("", "N/A", "nan", "inf", "1e999", "9" * 400, "1_000", "0x10", "\u0661", "true", "1,5", "12%", "1.2.3", "two")
AS_TYPED = {2.5: 2.5, Decimal("1.25"): 1.25, None: None, float("nan"): None, float("inf"): None}


@pytest.fixture
def metres(tmp_path: Path) -> Iterator[Metres]:
    """Give a function that labels rows of a regression from a file: the counts, and the label of each own id that has one."""
    home = Home(tmp_path / "home").ensure()
    stores = open_stores(home, f"sqlite:///{home.database}")
    text = "model: metres\nschema: {target: y, task: regression, features: {a: numeric}}\n"

    def labelled(path: Path, read: str) -> tuple[dict[str, object], dict[str, float]]:
        stores.registry.put_model(parse_spec(text + read))
        ids, n = [f"r{i}" for i in range(30)], 30
        made = Record("p", "metres", "v1", "bins", 1, list(range(n)), ids, {"a": [1.0] * n}, [1.0] * n, None, None)
        stores.log.commit_drained(DrainedBatch("spool", 0, 1, 0, [made]), machine_now=datetime.now(UTC))
        bench = Workbench({"EVERGREEN_HOME": str(home.path)})
        done = write_file(bench, "metres", path)
        bench.close()
        with stores.database.read() as connection:
            chosen = sa.select(predictions.c.own_id, predictions.c.label_true).where(predictions.c.label_true.is_not(None))
            stored = {own_id: float(label) for own_id, label in connection.execute(chosen)}
        return done.to_dict(), stored

    yield labelled
    stores.close()


def test_the_numbers_of_a_csv_are_read_by_the_one_table_of_spellings_and_the_rest_is_refused(metres: Metres, tmp_path: Path) -> None:
    cells = [*SPELLED, *NO_NUMBERS]
    pd.DataFrame({"own_id": [f"r{i}" for i in range(len(cells))], "label": cells}).to_csv(tmp_path / "labels.csv", index=False)

    counts, stored = metres(tmp_path / "labels.csv", "")

    assert counts == {"model": "metres", "labels": len(cells), "matched": len(SPELLED), "invalid": len(NO_NUMBERS)}
    assert list(stored.values()) == list(SPELLED.values())


def test_a_file_with_decimal_commas_is_read_as_the_model_file_says(metres: Metres, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("own_id;label\nr0;1,5\nr1;1.234\nr2;1.234,5\nr3;12.34\n")

    counts, stored = metres(tmp_path / "labels.csv", "read: {delimiter: ';', decimal: ',', thousands: '.'}\n")

    assert counts == {"model": "metres", "labels": 4, "matched": 3, "invalid": 1}
    assert stored == {"r0": 1.5, "r1": 1234.0, "r2": 1234.5}


@pytest.mark.parametrize(("label", "wanted"), AS_TYPED.items(), ids=str)
def test_typed_columns_are_numbers_or_refused(metres: Metres, tmp_path: Path, label: object, wanted: float | None) -> None:
    pq.write_table(pa.table({"own_id": ["r0"], "label": [label]}), tmp_path / "labels.parquet")

    counts, stored = metres(tmp_path / "labels.parquet", "")

    assert counts == {"model": "metres", "labels": 1, "invalid" if wanted is None else "matched": 1}
    assert stored == ({} if wanted is None else {"r0": wanted})


def test_all_written_is_exit_code_0(tmp_path: Path, once: Once) -> None:
    world = make_world(tmp_path, history_days=20, once=once)
    rows = weather(1, 20, 1)
    world.log(rows)
    world.close()
    pd.DataFrame({"own_id": rows.time_us, "label": rows.labels}).to_csv(tmp_path / "labels.csv", index=False)

    assert run(["label", "--file", str(tmp_path / "labels.csv")], {"EVERGREEN_HOME": str(tmp_path / "home")}) == 0
