"""Sheets of Excel workbooks: dates are times, numbers numbers, texts cells; several sheets want a name."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.dataset import excel
from training.dataset.dataset import read_table
from training.dataset.files import header, read_batches
from training.errors import DataError
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.spellings import FileFormat
from training.schema.time_column import TimeColumn

openpyxl = pytest.importorskip("openpyxl", reason="SKIPPED: no openpyxl; install requirements.txt to run these tests")

SCHEMA = Schema(
    (Feature("x", "numeric", nullable=True), Feature("k", "integer"), Feature("ok", "boolean"), Feature("c", "categorical", nullable=True)),
    "y",
    "binary",
    time=TimeColumn("at"),
)
NAMES = ["at", "x", "k", "ok", "c", "y"]
ROWS: list[list[Any]] = [
    [datetime(2026, 1, 1, 10, 30), 1.5, 1, True, "é", "no"],  # noqa: DTZ001 - as Excel has times
    [date(2026, 1, 2), None, 2, False, "00501", "yes"],
    [],
    [datetime(2026, 1, 3), 2, 3, True, None, "no"],  # noqa: DTZ001
]


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def refusal(path: Path, files: FileFormat | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, SCHEMA, files or FileFormat())
    return str(caught.value)


@pytest.mark.parametrize("name", ["t.xlsx", "t.csv"])
def test_a_sheet_is_a_table(tmp_path: Path, name: str) -> None:
    rows = read_table(workbook(tmp_path / name, rides=[NAMES, *ROWS, [None, None]]), SCHEMA)

    np.testing.assert_array_equal(rows.columns["x"], [1.5, np.nan, 2])
    assert rows.columns["k"].tolist() == [1, 2, 3]
    assert rows.columns["ok"].tolist() == [1, 0, 1]
    assert rows.columns["c"].tolist() == ["é", "00501", None]
    assert rows.labels.tolist() == ["no", "yes", "no"]
    assert (rows.time_us - 1_767_225_600_000_000).tolist() == [37_800_000_000, 86_400_000_000, 2 * 86_400_000_000]


def test_one_of_several_sheets_is_named(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", notes=[["secret"]], rides=[NAMES, *ROWS])

    assert len(read_table(path, SCHEMA, FileFormat(sheet="rides"))) == 3
    assert "an Excel file with the sheets 'notes', 'rides'; wanted one of them: write read: {sheet: its name}" in refusal(path)
    assert "wanted the sheet 'Rides'" in refusal(path, FileFormat(sheet="Rides"))


def test_cells_of_several_kinds_are_texts_and_what_does_not_fit_is_named_by_row(tmp_path: Path) -> None:
    rows = [["k", "c", "ok", "y", "at"], [1, 1.5, 1, "no", "2026-01-01"], ["odd", True, "no", "no", date(2026, 1, 2)]]
    path = workbook(tmp_path / "t.xlsx", rides=rows)
    schema = Schema((Feature("c", "categorical"), Feature("ok", "boolean")), "y", "binary", time=TimeColumn("at"))

    read = read_table(path, schema)

    assert read.columns["c"].tolist() == ["1.5", "true"]
    assert read.columns["ok"].tolist() == [1, 0]
    assert read.time_us.tolist() == [1_767_225_600_000_000, 1_767_312_000_000_000]
    assert "row 1, column 'k': got 'odd', wanted a whole number" in refusal(path)


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([], "an empty sheet"),
        ([["a", None, "b", None, "c"]], "two columns without a name"),
        ([["a", "b", "a"]], "two columns of that name"),
        ([["a"], [1], [1, 2, 3]], "row 1, column '': got 3 cells, wanted 1"),
    ],
)
def test_a_sheet_that_is_no_table_is_told(tmp_path: Path, rows: list[list[Any]], cause: str) -> None:
    assert cause in refusal(workbook(tmp_path / "t.xlsx", rides=rows))


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    path = workbook(tmp_path / "t.xlsx", rides=[[None, "x", "y"], [0, 1.5, 2], [1, 2.5, 3]])

    read = read_table(path, Schema((Feature("x", "numeric"),), "y", "regression"))

    assert read.columns["x"].tolist() == [1.5, 2.5]


def test_a_damaged_workbook_and_one_that_unpacks_to_too_much_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "<secret")
    (tmp_path / "bad.xlsx").write_bytes(out.getvalue())

    assert "an Excel file that cannot be read" in (message := refusal(tmp_path / "bad.xlsx"))
    assert "secret" not in message
    path = workbook(tmp_path / "t.xlsx", rides=[NAMES, *ROWS])
    monkeypatch.setattr(excel, "FREE_BYTES", 1000)
    monkeypatch.setattr(excel, "MOST_RATIO", 1)
    assert "unpacks to more than 1 times its size" in refusal(path)


def test_a_sheet_is_read_in_parts_of_one_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "_PART_ROWS", 2)
    path = workbook(tmp_path / "t.xlsx", rides=[["v", "time"], *([n, time(10, n)] for n in range(4)), [0.5, None]])

    parts = list(read_batches(path, FileFormat()))

    assert header(path, FileFormat()) == ["v", "time"]
    assert [part.num_rows for part in parts] == [2, 2, 1]
    assert [value for part in parts for value in part.column(0).to_pylist()] == [0, 1, 2, 3, 0.5]
    assert parts[0].column(1).to_pylist() == ["10:00:00", "10:01:00"]
