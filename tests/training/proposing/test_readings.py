"""How files, numbers, times and missing values are written: told from all cells where they agree, asked where two readings remain."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import few
from training.dataset.dataset import read_table
from training.errors import DataError
from training.model_file.model_spec import ModelSpec, parse_spec
from training.proposing.proposing import Proposed, propose
from training.schema.spellings import FileFormat

N = 120
X = [f"{i % 17 / 4:.2f}" for i in range(N)]
Y = ["yes" if i % 3 else "no" for i in range(N)]
THOUSANDS = [f"{i % 7 + 1}.{i % 5:03}" for i in range(N)]
START = datetime(2026, 1, 1, tzinfo=UTC)


def text_of(columns: dict[str, Sequence[object]], delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    rows = csv.writer(out, delimiter=delimiter)
    rows.writerows([columns.keys(), *zip(*columns.values(), strict=True)])
    return out.getvalue()


def each(cell: Callable[[int], object]) -> list[object]:
    return [cell(i) for i in range(N)]


def written(folder: Path, content: str | bytes, time: str | None = None) -> Proposed:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return propose(path, "y", time)


def accepted(folder: Path, proposed: Proposed) -> ModelSpec:
    """The proposal, as `train` reads it; the table fits it."""
    spec = parse_spec(proposed.text, folder)
    assert len(read_table(folder / "table.csv", spec.schema, spec.read)) == N
    return spec


@pytest.mark.parametrize(
    ("content", "files"),
    [
        (text_of({"x": X, "c": each(lambda i: "a;b|" if i % 2 else "c"), "y": Y}), FileFormat()),
        (text_of({"x": X, "y": Y}, ";"), FileFormat(";")),
        (text_of({"x": [x.replace(".", ",") for x in X], "y": Y}, ";"), FileFormat(";", ",")),
        (text_of({"x": [x.replace(".", ",") for x in X], "y": Y}), FileFormat(decimal=",")),
        (text_of({"x": X, "c": each(lambda i: "a, b;" if i % 2 else "c|"), "y": Y}, "\t"), FileFormat("\t")),
        (text_of({"x": X, "y": Y}, "|"), FileFormat("|")),
        (text_of({"x": X, "c": each(lambda i: "a b, c" if i % 2 else "c"), "y": Y}, "^"), FileFormat("^")),
        (text_of({"x": X, "y": Y}, "~"), FileFormat("~")),
        (text_of({"x": X, "c": each(lambda i: "a b" if i % 2 else "c"), "y": Y}, " "), FileFormat(" ")),
        (text_of({"x": X, "y": Y}).encode("utf-8-sig"), FileFormat()),
        (text_of({"x": X, "c": each(lambda i: "café" if i % 2 else "c"), "y": Y}).encode("utf-16"), FileFormat(encoding="utf-16")),
        (gzip.compress(text_of({"x": X, "y": Y}).encode()), FileFormat()),
        (text_of({"'x'": [f"'{x}'" for x in X], "'y'": [f"'{y}'" for y in Y]}), FileFormat(quote="'")),
        (text_of({"x": each(lambda i: f"{i % 9 + 1},{i:03}.5"), "y": Y}), FileFormat(thousands=",")),
        (text_of({"x": each(lambda i: f"{i % 9}.{i:03},5" if i % 9 else "7"), "z": THOUSANDS, "y": Y}, ";"), FileFormat(";", ",", ".")),
        (text_of({"x": X, "z": each(lambda i: f"{i % 7 + 1},{i % 5:03}"), "y": Y}), FileFormat(thousands=",")),
        (text_of({"x": X, "z": each(lambda i: f"{i % 7 + 1} {i % 5:03}"), "y": Y}), FileFormat(thousands=" ")),
        (text_of({"x": X, "z": each(lambda i: f"{i % 7 + 1}'{i % 5:03}"), "y": Y}), FileFormat(thousands="'")),
        (text_of({"x": each(lambda i: f"{i % 7 + 1}.{i:03}"), "y": Y}), FileFormat()),
        (text_of({"x": each(lambda i: f"0,{i:03}"), "y": Y}), FileFormat(decimal=",")),
        (text_of({"z": THOUSANDS, "w": each(lambda i: f"0.{i % 9:03}" if i % 5 else "unknown"), "y": Y}, ";"), FileFormat(";")),
        (text_of({"z": THOUSANDS, "w": each(lambda i: f"{i % 9},5" if i % 5 else "none?"), "y": Y}, ";"), FileFormat(";", ",", ".")),
        (text_of({"z": THOUSANDS, "w": each(lambda i: f"00.{i % 9}"), "y": Y}, ";"), FileFormat(";")),
    ],
    ids=[
        "commas", "semicolons", "decimal commas", "quoted decimal commas", "tabs", "bars", "carets", "tildes", "one blank",
        "mark", "UTF-16", "gzip", "single quotes",
        "thousands", "German", "thousands by another column", "blanks", "Swiss", "three decimals", "no thousands after zero",
        "points by a column with words", "commas by a column with words", "points behind leading zeros",
    ],
)  # fmt: skip
def test_how_a_file_is_written_is_told_from_its_cells(content: str | bytes, files: FileFormat, tmp_path: Path) -> None:
    spec = accepted(tmp_path, written(tmp_path, content))

    assert spec.read == files
    assert {f.kind for f in spec.schema.features if f.name in "xz"} <= {"numeric", "integer"}


@pytest.mark.parametrize(
    ("cell", "format"),
    [
        (lambda t: t.isoformat(), None),
        (lambda t: f"{t:%Y-%m-%d %H:%M}", None),
        (lambda t: (t + timedelta(hours=2)).replace(tzinfo=None).isoformat() + "+02:00", None),
        (lambda t: f"{t:%d/%m/%Y}", "%d/%m/%Y"),
        (lambda t: f"{t:%m/%d/%Y}", "%m/%d/%Y"),
        (lambda t: f"{t:%d.%m.%Y %H:%M}", "%d.%m.%Y %H:%M"),
        (lambda t: f"{t:%m/%d/%y %I:%M:%S %p}", "%m/%d/%y %I:%M:%S %p"),
        (lambda t: f"{t:%Y/%m/%d}", "%Y/%m/%d"),
        (lambda t: f"{t:%d %b %Y}", "%d %b %Y"),
        (lambda t: f"{t:%B %d, %Y}", "%B %d, %Y"),
        (lambda t: f"{t:%Y-%m-%d %H:%M:%S} UTC", "%Y-%m-%d %H:%M:%S UTC"),
        (lambda t: f"{t:%a, %d %b %Y %H:%M:%S} +0000", "%a, %d %b %Y %H:%M:%S %z"),
        (lambda t: f"{t:%d/%b/%Y:%H:%M:%S} +0000", "%d/%b/%Y:%H:%M:%S %z"),
        (lambda t: f"{t:%a %b %d %H:%M:%S %Y}", "%a %b %d %H:%M:%S %Y"),
        (lambda t: f"{t:%Y%m%d}", "yyyymmdd"),
        (lambda t: f"{t:%Y%m%d%H}", "%Y%m%d%H"),
        (lambda t: f"{t:%Y%m%d%H%M}", "%Y%m%d%H%M"),
        (lambda t: f"{t:%Y%m%d%H%M%S}", "%Y%m%d%H%M%S"),
        (lambda t: int(t.timestamp()), "epoch_s"),
        (lambda t: t.timestamp() + 0.25, "epoch_s"),
        (lambda t: int(t.timestamp() * 1e3), "epoch_ms"),
        (lambda t: int(t.timestamp() * 1e6), "epoch_us"),
        (lambda t: int(t.timestamp()) * 10**9, "epoch_ns"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)  # fmt: skip
def test_how_times_are_written_is_told_from_all_cells(cell: Callable[[datetime], object], format: str | None, tmp_path: Path) -> None:
    days = [START + timedelta(days=i) for i in range(N)]

    spec = accepted(tmp_path, written(tmp_path, text_of({"at": list(map(cell, days)), "x": X, "y": Y}), "at"))
    rows = read_table(tmp_path / "table.csv", spec.schema, spec.read)

    assert spec.schema.time is not None
    assert spec.schema.time.format == format
    assert spec.schema.feature("at").kind == "datetime"
    assert rows.time_us.astype("datetime64[us]").astype("datetime64[D]").tolist() == [day.date() for day in days]


@pytest.mark.parametrize("name", ["2025", "2025-01-01", "1e3", "no", "null", "my-rides"])
def test_a_model_has_the_name_of_its_file_whatever_yaml_takes_that_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text(text_of({"x": X, "y": Y}))

    assert parse_spec(propose(path, "y", None).text).model == name


@pytest.mark.parametrize("cell", ["1.2.3", "10.0.0.5", "a 0.5", "0.5 m", "01.02.2026", "1,5;0.5"])
def test_what_is_no_number_tells_nothing_of_the_decimal_sign(cell: str, tmp_path: Path) -> None:
    others = each(lambda i: cell if i % 2 else "0.5" if cell.count(".") > 1 else "x")

    assert len(written(tmp_path, text_of({"z": THOUSANDS, "w": others, "y": Y}, ";")).choices) == 2


def test_commas_in_numbers_with_words_among_them_make_points_of_others_a_question(tmp_path: Path) -> None:
    """Where commas part the cells too they may stand in lists of codes."""
    content = text_of({"z": THOUSANDS, "w": each(lambda i: f"{i % 9},5" if i % 5 else "unknown"), "y": Y})

    assert [line.partition("   #")[0] for line in written(tmp_path, content).choices] == [
        'read: {decimal: "."}',
        'read: {decimal: ",", thousands: "."}',
    ]


BOTH = each(lambda i: f"{i % 12 + 1:02}/{i % 11 + 1:02}/2026")


def test_days_and_months_that_could_be_either_are_asked_for(tmp_path: Path) -> None:
    content = text_of({"at": BOTH, "x": X, "y": Y})
    proposed = written(tmp_path, content)

    assert [line.split("derive")[0] for line in proposed.choices] == [
        'at: {kind: datetime, format: "%d/%m/%Y", ',
        'at: {kind: datetime, format: "%m/%d/%Y", ',
    ]
    with pytest.raises(Exception, match=r"features.at.format: 'choose' is none of"):
        parse_spec(proposed.text)
    line = next(line for line in proposed.text.splitlines() if line.startswith("    at:"))
    accepted(tmp_path, proposed._replace(text=proposed.text.replace(line, f"    {proposed.choices[1]}")))


def test_a_time_that_could_be_either_is_asked_for(tmp_path: Path) -> None:
    proposed = written(tmp_path, text_of({"at": BOTH, "x": X, "y": Y}), "at")

    assert proposed.choices == (
        'time: {column: at, format: "%d/%m/%Y", clock: event}',
        'time: {column: at, format: "%m/%d/%Y", clock: event}',
    )
    line = next(line for line in proposed.text.splitlines() if line.startswith("  time:"))
    assert accepted(tmp_path, proposed._replace(text=proposed.text.replace(line, f"  {proposed.choices[0]}"))).schema.time is not None


@pytest.mark.parametrize(
    ("columns", "delimiter", "lines"),
    [
        ({"x": each(lambda i: f"{i % 9 + 1},{i:03}")}, ",", ['read: {decimal: ","}', 'read: {thousands: ","}']),
        (
            {"x": THOUSANDS},
            ";",
            ['read: {delimiter: ";", decimal: "."}', 'read: {delimiter: ";", decimal: ",", thousands: "."}'],
        ),
    ],
    ids=["commas", "semicolons"],
)  # fmt: skip
def test_numbers_that_could_be_thousands_are_asked_for(
    columns: dict[str, list[object]], delimiter: str, lines: list[str], tmp_path: Path
) -> None:
    proposed = written(tmp_path, text_of({**columns, "y": Y}, delimiter))

    assert [line.split("   #")[0] for line in proposed.choices] == lines
    line = next(line for line in proposed.text.splitlines() if line.startswith("read:"))
    for choice in proposed.choices:
        accepted(tmp_path, proposed._replace(text=proposed.text.replace(line, choice)))


@pytest.mark.parametrize(
    ("words", "written_as", "encoding"),
    [
        (["café", "Köln", "fête"], "latin-1", None),
        (["Genève", "Nîmes"], "latin-1", "cp1252"),
        (["São", "Guimarães", "você"], "cp1252", "cp1252"),
        (["España", "Muñoz"], "cp1252", "cp1252"),
        (["città", "perché", "più"], "cp1252", "cp1252"),
        (["København", "Ærø", "Åse"], "cp1252", "cp1252"),
        (["České", "Budějovice", "Plzeň", "Dvořák", "Křtiny"], "cp1250", "cp1250"),
        (["Gdańsk", "Toruń", "Wałęsa"], "cp1250", "cp1250"),
        (["Köln", "l’été"], "cp1252", "cp1252"),
        (["Łódź", "Kraków"], "cp1250", "cp1250"),
        (["Москва", "Казань"], "cp1251", "cp1251"),
    ],
)
def test_an_encoding_is_told_where_only_one_makes_words_as_languages_have_and_else_asked_for(
    words: list[str], written_as: str, encoding: str | None, tmp_path: Path
) -> None:
    proposed = written(tmp_path, text_of({"c": each(lambda i: words[i % len(words)]), "y": Y}).encode(written_as))

    if encoding is None:
        assert 'read: {encoding: cp1252}   # reads "fête"' in proposed.choices
        assert 'read: {encoding: cp1250}   # reads "fęte"' in proposed.choices
        return
    assert proposed.choices == ()
    assert accepted(tmp_path, proposed).read == FileFormat(encoding=encoding)
    assert f"the table is read with encoding {encoding} (as in {words[0]}); requests are always comma, point and UTF-8" in proposed.notes


@pytest.mark.parametrize(
    ("cells", "keys"),
    [
        (["$5", "-$7.50", "$1e3"], {"kind": "numeric", "format": "$"}),
        (["5 €", "7 €", "9"], {"kind": "integer", "format": "€"}),
        (["CHF 5", "CHF 7", "?"], {"kind": "integer", "format": "CHF", "nullable": True}),
        (["\u22125", "7.5", "\u20131e3"], {"kind": "numeric"}),
        (["\u2212$5", "$7", "$ 9"], {"kind": "integer", "format": "$"}),
        (["(1.50)", "7", "9"], {"kind": "categorical"}),
        (["($5)", "$(7)", "9"], {"kind": "integer", "format": "$"}),
        (["(5%)", "7%", "9"], {"kind": "numeric", "format": "percent"}),
        (["(1)", "(2)", "(3)"], {"kind": "categorical"}),
        (["1-", "2", "3-"], {"kind": "categorical"}),
        (["(a)", "7", "9"], {"kind": "categorical"}),
        (["1.5", "inf", "-Infinity", ""], {"kind": "numeric", "nullable": True, "missing": ("inf",)}),
        (["$5", "€7", "9"], {"kind": "categorical"}),
        (["ROW 5", "ROW 7", "ROW 9"], {"kind": "categorical"}),
    ],
)
def test_amounts_of_one_currency_are_numbers_and_infinite_ones_are_missing(
    cells: list[str], keys: dict[str, object], tmp_path: Path
) -> None:
    proposed = written(tmp_path, text_of({"v": each(lambda i: cells[i % len(cells)]), "y": Y}))

    feature = accepted(tmp_path, proposed).schema.feature("v")

    assert {key: getattr(feature, key) for key in ("kind", "format", "nullable", "missing")} == {
        "format": None, "nullable": False, "missing": (), **keys,
    }  # fmt: skip
    assert ("format: accounting" in proposed.text) == (cells[0] in ("(1.50)", "(1)", "1-"))
    assert "format" in keys or "missing" not in keys or "60 infinite, which counts as missing" in proposed.text


def test_words_that_mean_missing_are_written_and_counted(tmp_path: Path) -> None:
    words = ["a", "b", "c", "NULL", "N/A", "?", "NA", "None", "-", " ", "", "d"]
    proposed = written(tmp_path, text_of({"c": each(lambda i: words[i % 12]), "z": each(lambda i: ["1.5", "NA", "?", "2"][i % 4]), "y": Y}))

    schema = accepted(tmp_path, proposed).schema

    assert set(schema.feature("c").missing) == {"NULL", "N/A", "?", " "}
    assert "50 missing" in proposed.text
    assert (
        'NA (10 rows), None (10 rows), "-" (10 rows) are values, unless listed: missing: [" ", "?", N/A, "NULL", NA, None, "-"]'
        in proposed.text
    )
    assert schema.feature("z").nullable
    assert "60 missing (NA, " in proposed.text


@pytest.mark.parametrize(
    ("labels", "task", "classes", "missing"),
    [
        (["yes", "no", "?", "NULL", ""], "binary", ("no", "yes"), ("?", "NULL")),
        (["1.5", "2.25", "NA", "3", "-"], "regression", None, ("-", "NA")),
        (["yes", "no", "NA"], "multiclass", ("NA", "no", "yes"), ()),
    ],
)
def test_the_target_is_not_known_where_a_listed_word_stands(
    labels: list[str], task: str, classes: tuple[str, ...] | None, missing: tuple[str, ...], tmp_path: Path
) -> None:
    schema = accepted(tmp_path, written(tmp_path, text_of({"x": X, "y": each(lambda i: labels[i % len(labels)])}))).schema

    assert (schema.task, schema.classes, schema.missing) == (task, classes, missing)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["TRUE", "False", "true"], "boolean"),
        (["Yes", "NO", "no", "YES"], "boolean"),
        (["yes", "no"], "categorical"),
        (["0", "1"], "integer"),
        (["12%", "5 %", "7"], "numeric"),
        (["$5", "5 EUR", "£7"], "categorical"),
        (["00501", "90210"], "categorical"),
        (["9007199254740993", "9007199254740995"], "categorical"),
        (["-9007199254740993", "5"], "categorical"),
        (["9007199254740992", "5"], "integer"),
        (["1e300", "5"], "numeric"),
        (["1", "2.5", "abc", "2026-01-01"], "categorical"),
        (["2026-03", "2026-04"], "datetime"),
        (["1", "+2", " 3 "], "integer"),
        (["1.0", "2.0"], "integer"),
        ([".5", "1."], "numeric"),
        (["(5)", "6"], "categorical"),
        (["0x10", "5"], "categorical"),
        (["202601", "202602"], "integer"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_kind_fits_all_cells(cells: list[str], kind: str, tmp_path: Path) -> None:
    spec = accepted(tmp_path, written(tmp_path, text_of({"v": each(lambda i: cells[i % len(cells)]), "x": X, "y": Y})))

    assert spec.schema.feature("v").kind == kind


def test_a_late_cell_changes_the_kind(tmp_path: Path) -> None:
    many = 300_000
    path = tmp_path / "table.csv"
    path.write_text("v,w,y\n" + "1,2026-01-01,no\n" * many + "x,31/12/2025,yes\n1,2026-01-01,yes\n")

    proposed = propose(path, "y")
    spec = parse_spec(proposed.text)

    assert any(note.startswith("leaks and order were looked for in ") for note in proposed.notes)
    assert [f.kind for f in spec.schema.features] == ["categorical", "categorical"]


def test_typed_columns_are_proposed_by_their_type(tmp_path: Path) -> None:
    numbers = pa.array(each(lambda i: i % 5))
    table = pa.table(
        {
            "flag": pa.array(each(lambda i: i % 2 == 0)),
            "maybe": pa.array(each(lambda i: None if i % 7 == 0 else i % 3)),
            "level": pa.array(each(lambda i: "ab"[i % 2])).dictionary_encode(),
            "store": numbers.dictionary_encode(),
            "price": pa.array(each(lambda i: i % 9)).cast(pa.decimal128(24, 2)),
            "day": pa.array(each(lambda i: date(2026, 1, 1 + i % 28))),
            "at": pa.array(each(lambda i: START + timedelta(hours=i)), pa.timestamp("ns", "Europe/Berlin")),
            "list": pa.array(each(lambda i: [i])),
            "bytes": pa.array(each(lambda i: b"a")),
            "clock": pa.array(np.arange(N), pa.time64("us")),
            "view": pa.array(each(lambda i: "ab"[i % 2])).cast(pa.string_view()),
            "huge": pa.array([2**63 + i % 4 for i in range(N)], pa.uint64()),
            "comma": pa.array(each(lambda i: f"{i % 9},5")),
            "empty": pa.nulls(N),
            "y": pa.array(Y),
        }
    )
    pq.write_table(table, tmp_path / "table.parquet")

    proposed = propose(tmp_path / "table.parquet", "y", "at")
    spec = parse_spec(proposed.text, tmp_path)

    assert len(read_table(tmp_path / "table.parquet", spec.schema, spec.read)) == N
    assert {f.name: f.kind for f in spec.schema.features} == {
        "flag": "boolean", "maybe": "integer", "level": "categorical", "store": "integer", "price": "integer", "day": "datetime",
        "at": "datetime", "view": "categorical", "huge": "categorical", "comma": "numeric",
    }  # fmt: skip
    assert [name for name in ("list", "bytes", "clock", "empty") if f"# {name} is left out: it holds" not in proposed.text] == []


SPELLINGS = [
    "", " ", "NA", "N/A", "?", "null", "1", "0", "007", "1.5", " 2", "1e5", "inf", "-inf", "1e999", "1,5", "1.234", "1,234", "1.234,5",
    "12%", "9007199254740993", "true", "False", "yes", "no", "a", " a", "é", "a,b", "two\nlines", "2026-01-01", "2026-01", "20260111",
    "01/02/2026", "31/12/2026", "9999-12-31", "1767225600", "1767225600000", "10:00", "2026-01-01T10:00+02:00", "$5", "\x85", "\u2028",
    "#", "a: b", "{", "%d",
]  # fmt: skip
columns = st.lists(st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=4, unique=True), min_size=1, max_size=4)


@few(60)
@given(columns, st.sampled_from([",", ";", "\t"]), st.sampled_from([None, "c0"]), st.sampled_from(["y", "c0"]))
def test_what_is_proposed_is_read_and_what_cannot_be_is_refused(
    tmp_path: Path, levels: list[list[str]], delimiter: str, time: str | None, target: str
) -> None:
    table = {f"c{place}": each(lambda i, cells=cells: cells[i % len(cells)]) for place, cells in enumerate(levels)}  # type: ignore[misc]
    path = tmp_path / "table.csv"
    path.write_text(text_of({**table, "y": Y}, delimiter), newline="")
    try:
        proposed = propose(path, target, None if time == target else time)
    except DataError:
        return

    if not proposed.choices:
        accepted(tmp_path, proposed)


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("東京都 大阪市 ソニー ポスト Tシャツ こんにちは", "cp932"),
        ("Köln Müller Straße Düsseldorf Äpfel", "cp850"),
        ("élève côté français hôtel où", "cp850"),
        ("Señor niño corazón", "cp850"),
        ("élève été à côté français garçon œuvre", "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské", "cp1250"),
    ],
)
def test_a_file_of_dos_or_of_japan_is_told_from_one_of_windows(words: str, encoding: str, tmp_path: Path) -> None:
    places = words.split() * 20
    path = tmp_path / "places.csv"
    path.write_bytes(
        ("place,x,y\n" + "".join(f"{place},{n % 7}.5,{'yes' if n % 3 else 'no'}\n" for n, place in enumerate(places))).encode(encoding)
    )

    spec = parse_spec(propose(path, "y").text)

    assert spec.read.encoding == encoding
    assert read_table(path, spec.schema, spec.read).columns["place"].tolist() == places


@pytest.mark.parametrize("written", ["%Y_%m_%d", "%d_%m_%Y"])
def test_dates_with_underscores_are_times(written: str, tmp_path: Path) -> None:
    days = pd.date_range("2025-01-01", periods=90)
    path = tmp_path / "days.csv"
    pd.DataFrame({"day": days.strftime(written), "x": range(90), "y": ["a", "b", "b"] * 30}).to_csv(path, index=False)

    spec = parse_spec(propose(path, "y", "day").text)

    assert read_table(path, spec.schema, spec.read).time_us.tolist() == [day.value // 1000 for day in days]


@pytest.mark.parametrize(
    ("others", "code", "remark"),
    [
        ([3, 20, 31], -999, "-999 (in 2 rows) is far from all others (3 to 31): if it means missing, empty those cells"),
        ([0.5, 20.25, 31.5], 9999, "9999 (in 2 rows) is far from all others (0.5 to 31.5): if it means missing, empty those cells"),
        ([-40, 20, 31], 32767, "32767 (in 2 rows) is far from all others (-40 to 31): if it means missing, empty those cells"),
        ([1, 800, 1500], 999, None),
        ([-1200, 0, 30], -999, None),
        ([1, 2, 3], 7777, None),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_number_that_may_stand_for_missing_is_named_in_a_comment(
    others: list[float], code: float, remark: str | None, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"codes{suffix}"
    table = pd.DataFrame({"x": [*others * 30, code, code], "y": ["a", "b"] * 46})
    (table.to_csv if suffix == ".csv" else table.to_parquet)(path, index=False)

    text = propose(path, "y").text

    assert (remark in text) if remark else ("is far from" not in text)


def test_a_target_that_may_be_unknown_is_named_with_the_line_to_paste(tmp_path: Path) -> None:
    path = tmp_path / "target.csv"
    pd.DataFrame({"x": np.arange(92) % 7, "y": [*np.linspace(0, 40, 90), -999, -999]}).to_csv(path, index=False)

    text = propose(path, "y").text

    assert '-999 (in 2 rows) is far from all others (0 to 40): if it means missing: missing: ["-999.0"]' in text
    pasted = parse_spec(text.replace("  task: regression", '  missing: ["-999.0"]\n  task: regression'))
    assert np.isnan(read_table(path, pasted.schema, pasted.read).labels[-2:]).all()
