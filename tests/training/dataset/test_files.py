"""Files as people have them: read as the model file says, or refused with the likely cause and never their content."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import few
from training.dataset import csv_files, unpacking
from training.dataset.dataset import read_table, rows_from_columns
from training.dataset.files import read_batches
from training.dataset.report import check
from training.errors import DataError
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.spellings import FileFormat
from training.schema.time_column import TimeColumn

CASES = Path(__file__).parents[2] / "data" / "spellings"
PLAIN = Schema((Feature("x", "numeric"), Feature("k", "integer"), Feature("c", "categorical")), "y", "binary")
TEXT = "x,k,c,y\n1.5,2,é,yes\n-2,3,b,no\n"


def zipped(content: bytes, names: tuple[str, ...] = ("secret.csv",)) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return out.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zip": zipped,
    "zstd": lambda content: pa.compress(content, "zstd", asbytes=True),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def read(path: Path, content: bytes, schema: Schema = PLAIN, files: FileFormat | None = None) -> Any:
    path.write_bytes(content)
    return read_table(path, schema, files or FileFormat())


def refusal(path: Path, content: bytes, schema: Schema = PLAIN, files: FileFormat | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(path, content, schema, files)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "files"),
    [
        (TEXT.encode(), FileFormat()),
        (TEXT.encode("utf-8-sig"), FileFormat()),
        *((pack(TEXT.encode()), FileFormat()) for pack in PACKED.values()),
        (zipped(TEXT.encode(), ("folder/", "folder/t.csv", "__MACOSX/._t.csv")), FileFormat()),
        (TEXT.replace("\n", "\r\n").encode(), FileFormat()),
        (TEXT.encode("latin-1"), FileFormat(encoding="latin-1")),
        (TEXT.encode("utf-16"), FileFormat(encoding="utf-16")),
        (TEXT.encode("utf-16-be"), FileFormat(encoding="utf-16-be")),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), FileFormat(encoding="UTF16")),
        (gzip.compress(TEXT.encode("utf-16")), FileFormat(encoding="utf_16")),
        (TEXT.encode("cp1252"), FileFormat(encoding="cp1252")),
        (TEXT.replace(",", ";").replace(".", ",").encode(), FileFormat(";", ",")),
        (TEXT.replace(",", "\t").encode(), FileFormat("\t")),
        (TEXT.replace("é", "'é'").encode(), FileFormat(quote="'")),
    ],
    ids=[
        "plain",
        "mark",
        *PACKED,
        "zip with folders",
        "CRLF",
        "latin-1",
        "utf-16",
        "utf-16-be",
        "UTF16 with a mark",
        "utf-16 gzip",
        "cp1252",
        "semicolons",
        "tabs",
        "quotes",
    ],
)
def test_a_file_is_read_as_it_is_written(content: bytes, files: FileFormat, tmp_path: Path) -> None:
    rows = read(tmp_path / "t.csv", content, PLAIN, files)

    assert {name: values.tolist() for name, values in rows.columns.items()} == {"x": [1.5, -2.0], "k": [2.0, 3.0], "c": ["é", "b"]}
    assert rows.labels.tolist() == ["yes", "no"]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (TEXT.encode("utf-16"), "UTF-16"),
        (TEXT.encode("utf-16-le"), "zero bytes"),
        (TEXT.encode("latin-1"), "not utf-8"),
        (b"x,k,c,y\n" + b"1,2,b,no\n" * 20_000 + TEXT.encode("latin-1"), "not UTF-8"),
        (zipped(TEXT.encode(), ("secret.csv", "b.csv", "c.csv")), "a zip archive of 3 files; wanted one of a single file"),
        (zipped(b"", ("folder/",)), "a zip archive of 0 files"),
        (zipped(TEXT.encode(), ("xl/workbook.xml",)), "an Excel file that cannot be read"),
        (gzip.compress(bz2.compress(TEXT.encode())), "compressed twice (bzip2 inside)"),
        (b"<!DOCTYPE html><p>secret", "HTML"),
        (b'{"secret": 1', "row 0, column '': got no JSON"),
        (b"[[1]]", "row 0, column '': got JSON that is no object"),
        (b'[{"secret": 1},', "cut off or damaged"),
        (b"{}\n[]\n", "row 1, column '': got JSON that is no object"),
        (b"{}\n{}\n", "without a row that has a value"),
        (b'{"x": "b"}\n{"x": 1, "k": [1]}', "row 1, column 'k': got a list"),
        (b'{"x": 1}\n{"y": {"secret": 1}}', "row 1, column 'y': got an object"),
        (b'{"x": 1}\n\n{"x": 1, "k": 2, "x": 1}\n', "row 1, column 'x': got the name twice"),
        (b'{"x": 1e}', "row 0, column '': got no JSON"),
        (b'{"x": "\\ud800"}', "row 0, column '': got no JSON"),
        (b'{"x": ' + b"[" * 100_000, "row 0, column '': got no JSON"),
        (b'{"x": "a"}\n' * 9000 + b'{"x": "\xff"}\n', "bytes that are not utf-8; wanted utf-8; write"),
        (TEXT.replace(",", ";").encode(), "separated by semicolons; wanted commas; write read: {delimiter: ';'}"),
        (TEXT.replace(",", "\t").encode(), "separated by tabs"),
        (TEXT.replace(",", "^").encode(), "separated by carets; wanted commas; write read: {delimiter: '^'}, or save it with commas"),
        (TEXT.replace(",", "~").encode(), "separated by tildes"),
        (TEXT.replace(",", " ").encode(), "separated by blanks; wanted commas; write read: {delimiter: ' '}"),
        (TEXT.replace(",", "   ").encode(), "separated by several blanks; wanted commas; save it with commas"),
        (TEXT.replace(",", "::").encode(), "separated by double colons; wanted commas; save it with commas"),
        (TEXT.replace(",", "||").encode(), "separated by double bars; wanted commas; save it with commas"),
        (b"c d,e f\n1,2\n", "'x': got no such column"),
        (TEXT.encode("utf-32"), "UTF-32; wanted UTF-8: save it as that"),
        (b"\xff\xff\xff\xffsecret", "an Arrow stream; wanted"),
        (b"\x80\x05\x95secret", "a pickle, as pandas and joblib write them; wanted"),
        (b"\x89HDF\r\nsecret", "an HDF5 file"),
        (b"<table><tr><td>secret", "a page of HTML or XML"),
        (b"q d\n1\n", "'x': got no such column"),
        (b"x" * (17 << 20), "a header of more than"),
        (
            b"# secret\n" + b"1,2,b,no\n" * 60,
            "row 0, column '': got 4 cells, wanted 1, as the header has; 60 rows have as many, likely because lines stand above",
        ),
        (
            b"x,k,c,y\n" + b"1,2,b,no,\n" * 60,
            "got 5 cells, wanted 4, as the header has; 60 rows have as many, likely because a delimiter ends each row",
        ),
        (b'x,k,c,y\n1,2,"a \\"secret\\" b",no\n', 'text behind a closing quote; wanted quotes inside of quotes written twice ("")'),
        (b'x,k,c,y\n1,2,"secret,no\n', "wanted"),
    ],
)
def test_a_file_that_is_something_else_is_told_the_cause_and_not_its_content(content: bytes, cause: str, tmp_path: Path) -> None:
    message = refusal(tmp_path / "t.csv", content)

    assert cause in message
    assert "secret" not in message


LINES = b"""{"x": 1.5, "k": 2, "c": "\\u00e9", "y": true}
{"y": false, "c": "b", "unknown": "k: \\":", "k": 3, "x": -2}
"""


@pytest.mark.parametrize(
    ("content", "files"),
    [
        (LINES, FileFormat()),
        (b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n"), FileFormat()),
        (b"\n[\n" + LINES.strip().replace(b"\n", b",\n") + b"]", FileFormat()),
        (zipped(LINES), FileFormat()),
        (LINES.decode("unicode_escape").encode("latin-1").replace(b'k: "', b"k: "), FileFormat(encoding="latin-1")),
        (LINES.decode().encode("utf-16"), FileFormat(encoding="utf-16")),
    ],
    ids=["lines", "mark and CRLF", "array", "zip", "latin-1", "utf-16"],
)
def test_objects_of_json_are_rows(content: bytes, files: FileFormat, tmp_path: Path) -> None:
    rows = read(tmp_path / "t.csv", content, PLAIN, files)

    assert {name: values.tolist() for name, values in rows.columns.items()} == {"x": [1.5, -2.0], "k": [2.0, 3.0], "c": ["é", "b"]}
    assert rows.labels.tolist() == ["true", "false"]


def test_numbers_of_json_keep_their_digits_and_what_is_absent_is_missing(tmp_path: Path) -> None:
    schema = Schema(
        (Feature("id", "categorical"), Feature("big", "categorical"), Feature("mixed", "categorical", nullable=True)), "y", "binary"
    )
    content = b'{"id": 9007199254740993, "big": 123456789012345678901234567890, "mixed": 1.50}\n{"id": 7, "big": 2, "mixed": "a"}\n'

    columns = read(tmp_path / "t.jsonl", content + b'{"id": -1, "big": 0, "mixed": null}\n{"id": 0, "big": 1}\n', schema).columns

    assert columns["id"].tolist() == ["9007199254740993", "7", "-1", "0"]
    assert columns["big"].tolist() == ["123456789012345678901234567890", "2", "0", "1"]
    assert columns["mixed"].tolist() == ["1.50", "a", None, None]


@pytest.mark.parametrize(
    ("content", "encoding", "cause"),
    [
        (TEXT.encode("utf-16"), "latin-1", "write read: {encoding: utf-16}"),
        (TEXT.encode("utf-16"), "utf-16-le", "write read: {encoding: utf-16}"),
        (TEXT.encode("utf-16-be"), "utf-16", "write read: {encoding: utf-16-be}"),
        (TEXT.encode("utf-16-le"), "utf-16", "write read: {encoding: utf-16-le}"),
        (TEXT.encode(), "utf-16", "a text without zero bytes"),
        (TEXT.encode("utf-8-sig"), "latin-1", "write read: {encoding: utf-8}"),
        (TEXT.encode("utf-16")[:-1], "utf-16", "bytes that are not utf-16"),
    ],
)
def test_an_encoding_that_is_not_the_files_is_told(content: bytes, encoding: str, cause: str, tmp_path: Path) -> None:
    assert cause in refusal(tmp_path / "t.csv", content, files=FileFormat(encoding=encoding))


@pytest.mark.parametrize(
    "content", [b'{"x": NaN, "c": "NaN"}\n{"x": 1, "c": "a \\" NaN"}', b'[{"x": NaN, "c": "NaN"}, {"x": 1, "c": "a \\" NaN"}]']
)
def test_numbers_of_json_that_are_nan_are_missing(content: bytes, tmp_path: Path) -> None:
    schema = Schema((Feature("x", "numeric", nullable=True), Feature("c", "categorical")), "y", "binary")

    columns = read(tmp_path / "t.json", content, schema).columns

    assert np.isnan(columns["x"][0])
    assert columns["c"].tolist() == ["NaN", 'a " NaN']


def test_a_utf_16_file_of_many_blocks_is_read_whole(tmp_path: Path) -> None:
    many = TEXT + '1,2,"é\n€𝄞",no\n' * 600_000

    rows = read(tmp_path / "t.csv", many.encode("utf-16"), PLAIN, FileFormat(encoding="utf-16"))

    assert len(rows) == 600_002
    assert {*rows.columns["c"][2:].tolist()} == {"é\n€𝄞"}


def test_files_that_match_a_pattern_are_one_table_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x,k,c,y\n3,3,c,no\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"y,c,k,x\nyes,a,1,1\nno,b,2,2\n"))

    rows = read_table(tmp_path / "*.csv*", PLAIN)

    assert {name: values.tolist() for name, values in rows.columns.items()} == {"x": [1, 2, 3], "k": [1, 2, 3], "c": ["a", "b", "c"]}
    assert rows.labels.tolist() == ["yes", "no", "no"]


def test_a_bad_value_in_one_of_several_files_is_named_by_the_file_and_its_row_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,k,c,y\n1,1,a,no\n2,2,b,no\n")
    (tmp_path / "b.csv").write_text("x,k,c,y\n3,3,c,no\n4,odd,d,no\n")

    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "*.csv", PLAIN)
    assert f"{tmp_path / 'b.csv'}, row 1, column 'k': got 'odd', wanted a whole number" in str(caught.value)

    (tmp_path / "b.csv").write_text("x,k,c,y\n3,3,c,no\n4,4\n")
    with pytest.raises(DataError, match=r"b\.csv: 1 value\(s\) do not fit the schema\n  row 1, column '': got 2 cells"):
        read_table(tmp_path / "*.csv", PLAIN)


def test_files_with_other_columns_or_of_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,k,c,y\n1,1,a,no\n")
    (tmp_path / "b.csv").write_text("x,k,other,y\n1,1,a,no\n")

    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "*.csv", PLAIN)
    assert f"column 'c': got no such column in {tmp_path / 'b.csv'}" in str(caught.value)
    assert f"column 'other': got no such column in {tmp_path / 'a.csv'}" in str(caught.value)

    (tmp_path / "b.csv").write_text('{"x": 1}')
    with pytest.raises(DataError, match="of different kinds"):
        read_table(tmp_path / "*.csv", PLAIN)
    with pytest.raises(DataError, match="a pattern that no file matches"):
        read_table(tmp_path / "*.tsv", PLAIN)


def test_a_folder_of_csv_is_one_table_and_one_of_several_kinds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x,k,c,y\n3,3,c,no\n")
    (tmp_path / "a.CSV.gz").write_bytes(gzip.compress(b"y,c,k,x\nyes,a,1,1\nno,b,2,2\n"))
    (tmp_path / "_read_me.jsonl").write_text("not a part")
    (tmp_path / "notes.txt").write_text("not a part")

    assert read_table(tmp_path, PLAIN).columns["x"].tolist() == [1, 2, 3]

    (tmp_path / "c.jsonl").write_text('{"x": 1}')
    with pytest.raises(DataError, match=r"several kinds \(\.csv, \.jsonl\)"):
        read_table(tmp_path, PLAIN)


def test_a_folder_of_parquet_is_one_table(tmp_path: Path) -> None:
    schema = Schema((Feature("x", "numeric", nullable=True), Feature("c", "categorical", nullable=True)), "y", "binary")
    with pytest.raises(DataError, match="a folder without Parquet, CSV or JSON lines files"):
        read_table(tmp_path, schema)
    pd.DataFrame({"x": [1, 2], "c": ["a", "b"], "y": [True, False]}).to_parquet(tmp_path / "part-0.parquet")
    pd.DataFrame({"x": [2.5, None], "c": [None, None], "y": [True, False]}).to_parquet(tmp_path / "part-1.parquet")
    (tmp_path / "_SUCCESS").touch()

    rows = read_table(tmp_path, schema)

    np.testing.assert_array_equal(rows.columns["x"], [1, 2, 2.5, np.nan])
    assert rows.columns["c"].tolist() == ["a", "b", None, None]
    pd.DataFrame({"x": ["a"], "c": ["a"], "y": [True]}).to_parquet(tmp_path / "part-2.parquet")
    with pytest.raises(DataError, match=r"part-2\.parquet: .*\n  column 'x': got .*string in .*part-2\.parquet, wanted double"):
        read_table(tmp_path, schema)


def test_files_of_json_lines_may_lack_what_is_missing(tmp_path: Path) -> None:
    schema = Schema((Feature("x", "numeric", nullable=True), Feature("k", "integer", nullable=True)), "y", "binary")
    (tmp_path / "a.jsonl").write_text('{"x": 1, "y": true}\n')
    (tmp_path / "b.jsonl").write_text('{"k": 2, "y": false, "x": 0.5}\n')

    rows = read_table(tmp_path / "*.jsonl", schema)

    np.testing.assert_array_equal(rows.columns["x"], [1, 0.5])
    np.testing.assert_array_equal(rows.columns["k"], [np.nan, 2])


@pytest.mark.parametrize("packing", PACKED)
def test_a_damaged_archive_and_one_that_unpacks_to_too_much_are_told(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = PACKED[packing](b"x,k,c,y\n" + b"1,2,secret,no\n" * 40_000)

    assert f"{packing} that cannot be unpacked: it is damaged or cut off" in refusal(tmp_path / "t.csv", packed[:-9])
    assert len(read(tmp_path / "t.csv", packed)) == 40_000
    monkeypatch.setattr(unpacking, "FREE_BYTES", 300_000)
    monkeypatch.setattr(unpacking, "MOST_RATIO", 10)
    message = refusal(tmp_path / "t.csv", packed)
    assert f"{packing} that unpacks to more than 10 times its size" in message
    assert "secret" not in message


GOOD_QUOTES = ["a", '"a"', '"a ""b"" c"', '5" pipe', 'a"b"c', '"""a"""', '""', '""""', '"a,""b"" c"', '"a\n""b"""']
BAD_QUOTES = ['"a \\"b\\" c"', '"a"b', '""a', '"a" ', '"a "b" c"', '"a""b"c', '"a,"b" c"', '"a']


def csv_reads(text: str) -> list[list[str]] | None:
    """What the csv module reads, by which the service reads; None where it refuses the quotes."""
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None


@pytest.mark.parametrize("n_before", [0, 2_500])
def test_quotes_that_are_not_written_twice_are_refused_in_whatever_row(n_before: int, tmp_path: Path) -> None:
    schema = Schema((Feature("c", "categorical", nullable=True), Feature("k", "integer")), "y", "binary")
    before = "c,k,y\n" + '"b ""c""",1,no\n' * n_before

    for cell in GOOD_QUOTES:
        text = f"{before}{cell},1,no\n"
        assert (read(tmp_path / "t.csv", text.encode(), schema).columns["c"].tolist()[-1] or "") == csv_reads(text)[-1][0]  # type: ignore[index]
    for cell in BAD_QUOTES:
        text = f"{before}{cell},1,no\n"
        sentence = refusal(tmp_path / "t.csv", text.encode(), schema)
        assert ("quote that is never closed" if cell == '"a' else "text behind a closing quote") in sentence
        assert f"not with a backslash (row {n_before:,})" in sentence
        assert csv_reads(text) is None
        with pytest.raises(DataError, match="quote"):
            list(read_batches(tmp_path / "t.csv", FileFormat()))


@few(150)
@given(st.text('",\n\\a ', max_size=24), st.integers(1, 7))
def test_any_quotes_are_refused_just_where_the_csv_module_refuses_them(text: str, part: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(csv_files, "_QUOTES_PART", part)

        assert (csv_files.broken_quote(io.StringIO(text, newline=""), ",", '"') is None) == (csv_reads(text) is not None)


def test_rows_of_another_width_than_the_header_are_named(tmp_path: Path) -> None:
    assert "row 0, column '': got 5 cells, wanted 4" in refusal(tmp_path / "t.csv", (CASES / "k6_trailing_comma.csv").read_bytes())
    message = refusal(tmp_path / "t.csv", b"x,k,c,y\n1,2,a,no\n\n1,2\n1,2,secret,no,5\n")
    assert "row 1, column '': got 2 cells" in message
    assert "row 2, column '': got 5 cells" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("number", "files", "value"),
    [
        ("1.234,5", FileFormat(";", ",", "."), 1234.5),
        ("1 234,5", FileFormat(";", ",", " "), 1234.5),
        ("1,234,567", FileFormat(";", ".", ","), 1234567.0),
        ("-0,25", FileFormat(";", ","), -0.25),
        ("1.5", FileFormat(";", ","), None),
        ("12.34,5", FileFormat(";", ",", "."), None),
        ("1234.567", FileFormat(";", ",", "."), None),
        ("1,5", FileFormat(";"), None),
    ],
)
def test_numbers_are_read_by_the_signs_of_the_file(number: str, files: FileFormat, value: float | None, tmp_path: Path) -> None:
    schema = Schema((Feature("x", "numeric"),), "y", "binary")
    content = f"x;y\n{number};no\n".encode()

    if value is None:
        assert "'x': got" in refusal(tmp_path / "t.csv", content, schema, files)
    else:
        assert read(tmp_path / "t.csv", content, schema, files).columns["x"].tolist() == [value]


@pytest.mark.parametrize(
    ("feature", "text", "hint"),
    [
        (Feature("v", "numeric"), "0,25", "write read: {decimal: ','}"),
        (Feature("v", "numeric"), "12%", "write format: percent"),
        (Feature("v", "integer"), "9007199254740993", "make it categorical"),
        (Feature("v", "datetime"), "1767225600000", "write format: epoch_ms"),
        (Feature("v", "datetime"), "1767225600000000", "write format: epoch_us"),
        (Feature("v", "datetime"), "1767225600000000000", "write format: epoch_ns"),
        (Feature("v", "numeric"), "(1.50)", "write format: accounting"),
        (Feature("v", "numeric"), "5-", "write format: accounting"),
        (Feature("v", "numeric"), "($5)", "write format: '$'"),
    ],
)
def test_a_refusal_says_what_to_write(feature: Feature, text: str, hint: str, tmp_path: Path) -> None:
    assert hint in refusal(tmp_path / "t.csv", f'v,y\n"{text}",no\n'.encode(), Schema((feature,), "y", "binary"))


@pytest.mark.parametrize(
    ("content", "columns", "written"),
    [
        ("year,month,day\n2026,1,5\n", ("year", "month", "day"), None),
        ("year,month,day\n2026.0,01,05\n", ("year", "month", "day"), None),
        ("y,m,d,h,i\n2026,1,4,23,60\n", ("y", "m", "d", "h", "i"), "refused"),
        ("date,clock\n2026-01-04,24:00\n", ("date", "clock"), "refused"),
        ("date,clock\n2026-01-05,00:00\n", ("date", "clock"), None),
        ("date,clock\n05.01.2026,00:00\n", ("date", "clock"), "%d.%m.%Y %H:%M"),
        ("date,clock\n05.01.2026,\n", ("date", "clock"), "refused"),
    ],
)
def test_the_parts_of_a_time_are_joined(content: str, columns: tuple[str, ...], written: str | None, tmp_path: Path) -> None:
    is_refused = written == "refused"
    schema = Schema(
        (Feature("x", "numeric"),), "z", "binary", time=TimeColumn("time", format=None if is_refused else written, columns=columns)
    )
    header, row = content.split()
    whole = f"x,{header}\n1,{row}\n".encode()

    if is_refused:
        assert "row 0, column 'time'" in refusal(tmp_path / "t.csv", whole, schema)
    else:
        assert read(tmp_path / "t.csv", whole, schema).time_us.tolist() == [1_767_571_200_000_000]


def test_parts_of_a_time_are_joined_in_typed_columns_and_a_table_with_the_time_itself_is_read_too() -> None:
    schema = Schema((Feature("x", "numeric"),), "z", "binary", time=TimeColumn("at", columns=("year", "month")))

    joined = rows_from_columns(pd.DataFrame({"x": [1], "year": [2026], "month": [2]}), schema)
    whole = rows_from_columns(pd.DataFrame({"x": [1], "at": ["2026-02-01"]}), schema)

    assert joined.time_us.tolist() == whole.time_us.tolist() == [1_769_904_000_000_000]


def test_an_hour_that_does_not_exist_is_refused_by_row_and_one_that_occurs_twice_is_the_first(tmp_path: Path) -> None:
    schema = Schema((Feature("x", "numeric"),), "z", "binary", time=TimeColumn("at", zone="Europe/Berlin"))

    first = read(tmp_path / "t.csv", b"x,at\n1,2026-10-25T02:30\n1,2026-10-25T02:30+01:00\n", schema)

    assert np.diff(first.time_us).tolist() == [3_600_000_000]
    assert (
        "at has 1 times in an hour that occurs twice in Europe/Berlin: without an offset it is the first" in check(first, schema).problems
    )
    assert "row 1, column 'at'" in refusal(tmp_path / "t.csv", b"x,at\n1,2026-03-29T01:30\n1,2026-03-29T02:30\n", schema)


def test_a_year_outside_the_bounds_is_refused_by_row() -> None:
    schema = Schema((Feature("k", "integer"),), "y", "binary", time=TimeColumn("at"))

    with pytest.raises(DataError, match=r"row 5, column 'at': got '9999-12-31T00:00:00Z', wanted a time .* in the years 1900 to 2200"):
        read_table(CASES / "k7_sentinel_9999.csv", schema)


def test_names_become_text_and_an_absent_column_is_refused_unless_nullable() -> None:
    schema = Schema((Feature("0", "numeric"), Feature("1", "integer"), Feature("2", "numeric")), "y", "binary")

    stored = read_table(CASES / "k4_predict.parquet", schema)
    in_memory = rows_from_columns(pd.DataFrame({0: [1.0], 1: [2], 2: [3.0]}), schema)

    assert len({*stored.columns["0"].tolist()}) == len(stored)
    assert [values.tolist() for values in in_memory.columns.values()] == [[1.0], [2.0], [3.0]]
    with pytest.raises(DataError, match="column '2': got no such column"):
        rows_from_columns(pd.DataFrame({0: [1.0], 1: [2]}), schema)


def test_a_named_index_is_columns() -> None:
    schema = Schema((Feature("k", "integer"),), "y", "binary", time=TimeColumn("at"))

    stored = read_table(CASES / "k5_time_index.parquet", schema)
    frame = pd.read_parquet(CASES / "k5_time_index.parquet")

    assert frame.index.name == "at"
    assert rows_from_columns(frame, schema).time_us.tolist() == stored.time_us.tolist()
    assert stored.time_us[0] == 1_767_225_600_000_000


@pytest.mark.parametrize(("case", "classes"), [("k8_target_01.csv", {"01", "02"}), ("k8_target_NA.csv", {"EU", "NA"})])
def test_classes_keep_every_digit_and_no_word_means_missing_in_a_target(case: str, classes: set[str]) -> None:
    assert {*read_table(CASES / case, PLAIN).labels.tolist()} == classes


def test_words_of_a_target_are_missing_where_they_are_listed(tmp_path: Path) -> None:
    listed = Schema((Feature("x", "numeric"),), "y", "regression", missing=("NA", "?"))
    content = b"x,y\n1,2.5\n1,NA\n1,?\n1,\n"

    assert np.isnan(read(tmp_path / "t.csv", content, listed).labels).tolist() == [False, True, True, True]
    message = refusal(tmp_path / "t.csv", content, Schema((Feature("x", "numeric"),), "y", "regression"))
    assert "2 value(s)" in message
    assert "list them as missing" in message


def test_categories_keep_their_words_unless_they_are_listed(tmp_path: Path) -> None:
    content = b"c,y\nNA,no\nNULL,no\n00501,no\n,no\n"
    plain = Schema((Feature("c", "categorical", nullable=True),), "y", "binary")
    listed = Schema((Feature("c", "categorical", nullable=True, missing=("NULL",)),), "y", "binary")

    assert read(tmp_path / "t.csv", content, plain).columns["c"].tolist() == ["NA", "NULL", "00501", None]
    assert read(tmp_path / "t.csv", content, listed).columns["c"].tolist() == ["NA", None, "00501", None]


def test_decimals_and_large_whole_numbers_with_nothing_among_them_keep_their_digits() -> None:
    schema = Schema((Feature("price", "numeric"),), "y", "binary")
    many = pd.DataFrame({"id": pd.array([2**60 + 1, None], "Int64"), "y": ["a", "b"]})

    assert read_table(CASES / "k13_decimal.parquet", schema).columns["price"][0] == 3.3
    ids = rows_from_columns(many, Schema((Feature("id", "categorical", nullable=True),), "y", "binary")).columns["id"]
    assert ids.tolist() == ["1152921504606846977", None]
