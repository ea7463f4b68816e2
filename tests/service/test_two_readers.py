"""One table of spellings, two readers: the service reads what a model was trained from as training read it, or refuses it alike."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.codecs.arrow import from_arrow
from service.codecs.json_bodies import parse_json
from service.codecs.tables import from_csv
from service.columns.reader import ColumnReader
from service.errors import InvalidRowsError, UnreadableBodyError
from tests.properties import few
from training.dataset.dataset import read_table, rows_from_columns
from training.errors import DataError
from training.schema.feature import MAX_LETTERS, Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

CASES = Path(__file__).parents[1] / "data" / "spellings"
TEXTS = [
    "", " ", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "null", "NULL", "None", "none", "<NA>", "?", "#N/A", "-", "--", "NaT", "nil",
    "  NA ",
    "1", "0", "1.0", "0.0", "-1", "+1", "1.5", " 2", "2 ", "1.", ".", ".5", "1e5", "1E-3", "1e999", "-1e999", "inf", "-inf", "Infinity",
    "nan(1)", "1_0", "0x10", "1,5", "1.234,5", "1 234", "12%", "5 %", "5%%", "%", "9007199254740992", "9007199254740993", "1e20",
    "-9007199254740993", "9007199254740993.0", "9" * 30, "9" * 5000, "007", "00501",
    "$5", "-$5", "$-5", "$ 5", "5$", "$5$", "$", "$1,000", "5 EUR", "EUR 5", "5 eur", "€5",
    "\u22125", "\u20135", "\u20125", "\ufe635", "\uff0d5", "\u22121.5e\u22123", "\u2212$5", "$\u22125", "\u2212", "\u2013",
    "\u2014", "\u22120", "\u2212inf", "5\u2212", "5\u20137", "\u2212\u22125", "\u2212-5", "-0", "-0.0", "\u22125 %",
    "1767225600000000000", "\u22121767225600", "(5)", "( 5 )", "(1.5)", "($5)", "$(5)", "(5 EUR)", "(5%)", "(5)%", "5-", "5 -",
    "-5-", "(-5)", "(5-)", "((5))", "()", "(a)", "(5", "a-", "$5-", "(NA)", "2026-01-01T10:00\u221202:00", "2026\u201301\u201301",
    "20260111.0", "202601.0", "20261301.", "31536000", "00260111",
    "infinity", "+Inf", "inf$", "1e", "--1", "1e5.5", "1;2", "'1'",
    "true", "True", "TRUE", "false", "yes", "no", "Yes", "NO", "t", "f", "T", "y", "n", "on", "off", "2", "perhaps", "TRUE ",
    "a", "é", "a b", " a", "a ", 'a "b"', "a,b", "two\nlines", "１２", "٣", "1\u00a0000", "\t1", "\u200b1",
    "2026-01-01", "2026-01", "2026", "20260111", "2026011", "202601", "20261301", "2026-01-01T10", "2026-01-01 10:00",
    "2026-01-01T10:00:00Z", "2026-01-01T10:00:00+02:00", "2026-01-01T10:00:00.123456789", "2026-01-01T10:00:00.1", "2026-W01-1",
    "2026-1-1", "01/02/2026", "1/2/2026", "31/12/2026", "2026-02-30", "9999-12-31", "1899-12-31", "1900-01-01", "2200-12-31",
    "2201-01-01", "0001-01-01", "1900-01-01T00:00+01:00", "1767225600", "1767225600.5", "1767225600000", "1767225600000000", "-5",
    "2026-03-29T02:30", "2026-10-25T02:30", "2026-01-01T24:00", "10:00", "soon", "Mon",
]  # fmt: skip
FEATURES = [
    Feature("v", "numeric"),
    Feature("v", "numeric", format="percent"),
    Feature("v", "numeric", format="$"),
    Feature("v", "numeric", format="accounting"),
    Feature("v", "integer", format="EUR"),
    Feature("v", "numeric", missing=("inf",)),
    Feature("v", "integer", missing=("inf",)),
    Feature("v", "numeric", minimum=0, maximum=1000, out_of_range="error"),
    Feature("v", "integer"),
    Feature("v", "boolean"),
    Feature("v", "categorical"),
    Feature("v", "categorical", missing=("?", "NA", "N/A")),
    Feature("v", "datetime"),
    Feature("v", "datetime", format="%d/%m/%Y"),
    Feature("v", "datetime", format="%Y%m"),
    Feature("v", "datetime", format="yyyymmdd"),
    Feature("v", "datetime", format="epoch_s"),
    Feature("v", "datetime", format="epoch_ms"),
    Feature("v", "datetime", format="epoch_us"),
    Feature("v", "datetime", format="epoch_ns"),
    Feature("v", "datetime", zone="Europe/Berlin"),
]
TIMES = [
    TimeColumn("v"),
    TimeColumn("v", "ordinal"),
    TimeColumn("v", format="%d/%m/%Y"),
    TimeColumn("v", format="epoch_ms"),
    TimeColumn("v", format="yyyymmdd"),
    TimeColumn("v", zone="Europe/Berlin"),
]
OTHER = Feature("z", "numeric")


def schema_of(*features: Feature, time: TimeColumn | None = None) -> Schema:
    return Schema((*features, OTHER), "y", "regression", time=time)


def nullable(feature: Feature) -> Feature:
    return Feature(**{**feature.to_dict(), "missing": feature.missing, "nullable": True})


def name_of(feature: Feature) -> str:
    return f"{feature.kind}-{feature.format or feature.zone or feature.missing}-{feature.nullable}"


def written(texts: list[str]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["v", "z"], *([text, "1"] for text in texts)])
    return out.getvalue().encode()


def value(number: Any) -> Any:
    return "nothing" if number is None or (isinstance(number, float) and math.isnan(number)) else number


def offline(content: bytes, schema: Schema, folder: Path) -> Any:
    """What training reads of a CSV: the values, or the rows that are refused."""
    path = folder / "table.csv"
    path.write_bytes(content)
    try:
        rows = read_table(path, schema)
    except DataError as error:
        return {problem.row for problem in error.problems}
    return [value(v) for v in rows.columns[schema.names[0]].tolist()], rows.time_us.tolist() if schema.time else None


def served(content: bytes, schema: Schema) -> Any:
    """What the service reads of it."""
    try:
        sent = from_csv(content, schema, 10_000)
        table = ColumnReader(schema).read_columns(sent.columns, sent.n_rows)
    except InvalidRowsError as error:
        return {problem.row for problem in error.problems}
    return [value(v) for v in table.columns[schema.names[0]].tolist()], None if table.event_us is None else table.event_us.tolist()


@pytest.mark.parametrize("feature", FEATURES, ids=name_of)
def test_every_spelling_of_a_feature_is_read_alike_and_as_a_json_string_too_or_refused(feature: Feature, tmp_path: Path) -> None:
    strict, schema = schema_of(feature), schema_of(nullable(feature))
    cells = {text: offline(written([text]), schema, tmp_path) for text in TEXTS}
    missing, refused = ([text for text in TEXTS if cells[text] == reading] for reading in ((["nothing"], None), {0}))
    taken = [text for text in TEXTS if text not in {*missing, *refused}]

    by_csv = {text: served(written([text]), schema) for text in TEXTS}
    by_json = {text: as_json(nullable(feature), text) for text in TEXTS}

    assert {text: (cells[text], read) for text, read in by_csv.items() if read != cells[text]} == {}
    assert {text: read for text, read in by_json.items() if read is not None and read != cells[text][0]} == {}
    assert feature.kind not in ("numeric", "integer", "boolean") or {text for text in TEXTS if by_json[text] is not None} == {*missing}
    columns = [missing, taken, *(refused[start : start + 40] for start in range(0, len(refused), 40))]  # 40: not all that are bad are named
    assert [column for column in columns if column and offline(written(column), strict, tmp_path) != served(written(column), strict)] == []


@pytest.mark.parametrize("time", TIMES, ids=lambda time: f"{time.kind}-{time.format or time.zone}")
def test_every_spelling_of_a_time_is_read_alike(time: TimeColumn, tmp_path: Path) -> None:
    schema = schema_of(time=time)

    differences = {
        text: (a, b) for text in TEXTS if (a := offline(written([text]), schema, tmp_path)) != (b := served(written([text]), schema))
    }

    assert differences == {}


cells = st.one_of(
    st.sampled_from(TEXTS),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=12),
    st.from_regex(r"[+-]?[0-9]{1,18}(\.[0-9]{0,6})?(e[0-9]{1,2})?", fullmatch=True),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9](:[0-5][0-9])?(Z|[+-]0[0-9]:?[03]0)?)?", fullmatch=True),
)


@few(50)
@given(st.lists(cells, min_size=1, max_size=6), st.sampled_from([*FEATURES, *map(nullable, FEATURES)]))
def test_any_column_of_text_is_read_alike(tmp_path: Path, texts: list[str], feature: Feature) -> None:
    schema = schema_of(feature)

    assert offline(written(texts), schema, tmp_path) == served(written(texts), schema)


def as_json(feature: Feature, sent: object) -> Any:
    """What the service reads of a JSON value, by rows and by columns, which must agree; None when it is refused."""
    reader = ColumnReader(schema_of(feature))
    answers = []
    for read in (lambda: reader.read([{"v": sent, "z": 1}]), lambda: reader.read_columns({"v": [sent], "z": [1]}, 1)):
        try:
            answers.append([value(v) for v in read().columns["v"].tolist()])
        except InvalidRowsError:
            answers.append(None)  # type: ignore[arg-type]
    assert answers[0] == answers[1]
    return answers[0]


def test_a_number_of_eight_digits_is_the_same_day_as_text_and_as_number() -> None:
    feature = Feature("v", "datetime")
    day = rows_from_columns(pd.DataFrame({"v": ["2026-01-11"], "z": [1]}), schema_of(feature)).columns["v"].tolist()

    by_json = [as_json(feature, sent) for sent in ("20260111", 20260111, 20260111.0)]

    assert by_json == [day] * 3
    assert served(written(["20260111"]), schema_of(feature)) == (day, None)
    assert as_json(feature, 20261301) is None
    assert as_json(feature, 31536000) == as_json(Feature("v", "datetime", format="epoch_s"), 31536000) == [31536000.0]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1.5e+400", "1" + "0" * 400])
@pytest.mark.parametrize("beside", ["1.5", "null", '"NA"', "NaN"])
def test_a_json_number_beyond_all_floats_is_infinite_nowhere(number: str, beside: str, tmp_path: Path) -> None:
    schema = schema_of(Feature("v", "numeric", nullable=True, missing=("inf",)))
    rows = [f'{{"v": {value}, "z": 1}}' for value in (beside.replace("NaN", "null"), number)]
    (tmp_path / "table.jsonl").write_text("\n".join(rows))

    with pytest.raises(DataError, match="row 1, column 'v'"):
        read_table(tmp_path / "table.jsonl", schema)
    assert offline(written(["1.5", number]), schema, tmp_path) == served(written(["1.5", number]), schema) == {1}
    body = f'{{"rows": [{{"v": {beside}, "z": 1}}, {rows[1]}]}}'.encode()
    assert ColumnReader(schema).read_json(body, 10) is None
    with pytest.raises(UnreadableBodyError, match=r"number is (infinity|too large)"):
        parse_json(body)


@pytest.mark.parametrize("whole", [2**53 + 1, 2**63, 2**64, 10**20, -(10**30), 10**308])
@pytest.mark.parametrize("beside", ["1.5", "null", '"NA"', "NaN"])
@pytest.mark.parametrize("kind", ["numeric", "integer"])
def test_a_whole_json_number_that_loses_digits_is_refused_by_both(whole: int, beside: str, kind: Any, tmp_path: Path) -> None:
    schema = schema_of(Feature("v", kind, nullable=True))
    first = "2" if kind == "integer" and beside == "1.5" else beside
    rows = [f'{{"v": {value}, "z": 1}}' for value in (first, whole)]
    (tmp_path / "table.jsonl").write_text("\n".join(rows))
    by_rows, by_columns = f'{{"rows": [{", ".join(rows)}]}}'.encode(), f'{{"v": [{first}, {whole}], "z": [1, 1]}}'.encode()

    with pytest.raises(DataError, match="row 1, column 'v'"):
        read_table(tmp_path / "table.jsonl", schema)
    assert ColumnReader(schema).read_json(by_rows, 10) is None
    for read in (
        lambda: ColumnReader(schema).read(parse_json(by_rows)["rows"]),
        lambda: ColumnReader(schema).read_columns(parse_json(by_columns), 2),
    ):
        with pytest.raises(InvalidRowsError, match=f"row 1, field 'v': got {str(whole)[:40]}.*digits are lost"):
            read()


@pytest.mark.parametrize("feature", [Feature("v", "categorical"), Feature("v", "categorical", missing=("NA",), nullable=True)])
def test_a_category_has_as_many_letters_in_training_as_in_the_service(feature: Feature, tmp_path: Path) -> None:
    schema, longest = schema_of(feature), "é" * MAX_LETTERS

    read = {n: (offline(written(texts), schema, tmp_path), served(written(texts), schema)) for n, texts in (
        (0, ["a", longest]), (1, ["a", longest + "a"]),
    )}  # fmt: skip

    assert read == {0: ((["a", longest], None),) * 2, 1: ({1}, {1})}
    with pytest.raises(DataError, match="… of 10,001 letters, wanted a string of at most 10,000 letters"):
        rows_from_columns(pd.DataFrame({"v": [longest + "a"], "z": [1]}), schema)


REFUSED_TIMES = [
    (TimeColumn("v", zone="Europe/Berlin"), "2026-03-29T02:30", "this hour does not exist in Europe/Berlin"),
    (TimeColumn("v", format="%d.%m.%Y %H:%M", zone="Europe/Berlin"), "29.03.2026 02:30", "this hour does not exist in Europe/Berlin"),
]


@pytest.mark.parametrize(("time", "text", "reason"), REFUSED_TIMES)
@pytest.mark.parametrize("is_feature", [False, True])
def test_a_time_that_is_not_taken_is_named_once_with_the_reason(
    time: TimeColumn, text: str, reason: str, is_feature: bool, tmp_path: Path
) -> None:
    features = (Feature("v", "datetime", format=time.format, zone=time.zone),) if is_feature else ()
    schema = Schema((*features, OTHER), "y", "regression", time=time)
    (tmp_path / "table.csv").write_bytes(written([text, "soon"]))

    with pytest.raises(DataError) as refused:
        read_table(tmp_path / "table.csv", schema)
    with pytest.raises(InvalidRowsError) as answered:
        ColumnReader(schema).read([{"v": text, "z": 1}, {"v": "soon", "z": 1}])

    for problems in refused.value.problems, answered.value.problems:
        assert [(problem.row, reason in str(problem)) for problem in problems] == [(0, True), (1, False)]
    assert refused.value.total == answered.value.total == 2


@pytest.mark.parametrize("missing", [(), ("?",)])
def test_an_empty_text_is_a_missing_category_whatever_brings_it(missing: tuple[str, ...]) -> None:
    feature = Feature("v", "categorical", nullable=True, missing=missing)
    schema, strict = schema_of(feature), schema_of(Feature("v", "categorical", missing=missing))
    frame = pd.DataFrame({"v": ["", "a"], "z": [1, 1]})

    rows = rows_from_columns(frame, schema).columns["v"].tolist()
    by_json = ColumnReader(schema).read_json(b'{"rows": [{"v": "", "z": 1}, {"v": "a", "z": 1}]}', 10)
    by_rows = ColumnReader(schema).read(frame.to_dict("records"))

    assert rows == [None, "a"]
    assert by_json is None or by_json.columns["v"].tolist() == rows
    assert by_rows.columns["v"].tolist() == rows
    assert as_arrow(frame, schema) == as_arrow(frame.astype({"v": "category"}), schema) == ["nothing", "a"]
    assert as_json(strict.features[0], "") is None


def test_blank_lines_before_the_header_are_no_rows(tmp_path: Path) -> None:
    schema = schema_of(Feature("v", "categorical"))

    assert served(b"\r\n\nv,z\na,1\n", schema) == offline(b"\r\n\nv,z\na,1\n", schema, tmp_path) == (["a"], None)


DAYS = [20260111, 20260111.0, 20261301, 19000101, 18991231, 22001231, 22010101, 31536000, 20260111.5]
numbers = st.one_of(
    st.integers(-(2**60), 2**60),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.sampled_from([2**53, 2**53 + 1, 1767225600, 1767225600 * 10**9, -0.0, *DAYS]),
)


@few(100)
@given(numbers, st.sampled_from([f for f in FEATURES if f.kind not in ("boolean", "categorical")]))
def test_a_json_number_is_read_as_the_typed_column(number: float, feature: Feature) -> None:
    try:
        expected = [value(v) for v in rows_from_columns(pd.DataFrame({"v": [number], "z": [1]}), schema_of(feature)).columns["v"].tolist()]
    except DataError:
        expected = None  # type: ignore[assignment]

    assert as_json(feature, number) == expected


json_columns = st.one_of(
    st.lists(st.one_of(st.none(), st.sampled_from([*TEXTS, *DAYS]), numbers, st.booleans()), min_size=1, max_size=4),
    *(
        st.lists(st.one_of(st.none(), kind), min_size=1, max_size=4)
        for kind in (st.sampled_from(TEXTS), numbers, st.integers(-(2**70), 2**70), st.booleans())
    ),
)


@few(80)
@given(json_columns, st.sampled_from([*map(nullable, FEATURES)]))
@example([math.inf], nullable(Feature("v", "numeric", missing=("inf",))))
@example([None, -math.inf, 3], nullable(Feature("v", "integer", missing=("inf",))))
def test_what_the_service_takes_as_json_is_read_alike_as_json_lines(tmp_path: Path, sent: list[Any], feature: Feature) -> None:
    schema = schema_of(feature)
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps({"v": each, "z": 1}) + "\n" for each in sent), encoding="utf-8")
    try:
        expected = [value(v) for v in ColumnReader(schema).read([{"v": each, "z": 1} for each in sent]).columns["v"].tolist()]
    except InvalidRowsError:
        return

    assert [value(v) for v in read_table(path, schema).columns["v"].tolist()] == expected


def as_arrow(frame: pd.DataFrame, schema: Schema) -> Any:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    try:
        sent = from_arrow(sink.getvalue().to_pybytes(), schema, 1000)
        return [value(v) for v in ColumnReader(schema).read_columns(sent.columns, sent.n_rows).columns["v"].tolist()]
    except InvalidRowsError as error:
        return {problem.row for problem in error.problems}


COLUMNS: dict[str, Any] = {
    "whole": [1, 0, 1],
    "small": np.array([1, 0], "int8"),
    "huge": [2**53 + 1, 1],
    "floats": [1.0, 0.0, np.nan],
    "fractions": [1.5, 2.0],
    "infinite": [np.inf, 1.0],
    "booleans": [True, False],
    "booleans and nothing": [True, None],
    "words": ["a", None, "?"],
    "written numbers": ["1", " 0", "NA"],
    "written times": ["2026-01-01", "20260111", None],
    "times": pd.to_datetime(["2026-01-01T10:00", "2026-07-01T00:00"]),
    "aware times": pd.to_datetime(["2026-01-01T10:00", "2026-07-01T00:00"], utc=True),
    "times that look like days": pd.to_datetime(["1970-08-23T12:01:51", "1970-08-23T00:00:00", None]),
    "far times": pd.Series(np.array(["9999-12-31", "2026-01-01"], "datetime64[us]")),
    "seconds": [1767225600, 0],
    "days": [20260111, 20260112],
    "days among seconds": [20260111, 20261301, 31536000],
    "nanoseconds": [1767225600 * 10**9, 1767225600 * 10**9 + 1_234_567],
    "decimals": [Decimal("9.604"), Decimal("-0.07"), None],
    "whole decimals": [Decimal(1), Decimal(0)],
    "decimals in few places": [Decimal("0.0000001"), Decimal("1.50"), Decimal(0), Decimal("1767225600")],
    "huge decimals": [Decimal(2**53 + 1), Decimal("1e22"), Decimal(10**22 + 1)],
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("feature", [*map(nullable, FEATURES)], ids=name_of)
def test_a_typed_column_is_read_alike(name: str, feature: Feature) -> None:
    frame = pd.DataFrame({"v": COLUMNS[name]}).assign(z=1.0)
    schema = schema_of(feature)

    try:
        expected: Any = [value(v) for v in rows_from_columns(frame, schema).columns["v"].tolist()]
    except DataError as error:
        expected = {problem.row for problem in error.problems}

    assert as_arrow(frame, schema) == expected


@pytest.mark.parametrize(
    ("case", "features"),
    [
        ("k1_quote.csv", [Feature('width "in"', "numeric"), Feature("c", "categorical")]),
        ("k8_zip.csv", [Feature("zip", "categorical"), Feature("k", "integer")]),
        ("k9_year_month.csv", [Feature("month", "datetime"), Feature("k", "integer")]),
        ("k9_yes_no.csv", [Feature("active", "boolean"), Feature("k", "integer")]),
        ("k9_NA_tokens.csv", [Feature("z", "numeric", nullable=True), Feature("k", "integer")]),
        ("k9_null_tokens.csv", [Feature("z", "numeric", nullable=True), Feature("k", "integer")]),
        ("k9_spaces.csv", [Feature("k", "integer"), Feature("c", "categorical")]),
        ("k7_seen_millis.csv", [Feature("seen", "datetime", format="epoch_ms"), Feature("k", "integer")]),
    ],
)
def test_the_file_a_model_was_trained_from_can_be_posted_back(case: str, features: list[Feature]) -> None:
    schema = Schema(tuple(features), "y", "binary")
    trained = read_table(CASES / case, schema)

    sent = from_csv((CASES / case).read_bytes(), schema, 1000)
    posted = ColumnReader(schema).read_columns(sent.columns, sent.n_rows)

    for name in schema.names:
        np.testing.assert_array_equal(posted.columns[name], trained.columns[name])


def test_whole_numbers_of_parquet_are_the_names_of_categories_in_both() -> None:
    schema = Schema((Feature("store", "categorical"), Feature("flag", "boolean")), "y", "binary")
    trained = read_table(CASES / "k9_whole_number_categories.parquet", schema)
    table = pa.parquet.read_table(CASES / "k9_whole_number_categories.parquet")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)

    sent = from_arrow(sink.getvalue().to_pybytes(), schema, 1000)
    posted = ColumnReader(schema).read_columns(sent.columns, sent.n_rows)

    assert {*trained.columns["store"].tolist()} == {"1", "2", "3"}
    assert posted.columns["store"].tolist() == trained.columns["store"].tolist()
    assert posted.columns["flag"].tolist() == trained.columns["flag"].tolist()


@pytest.mark.parametrize(("delimiter", "what"), [(";", "semicolons"), ("^", "carets"), ("::", "double colons"), (" ", "blanks")])
def test_a_body_with_another_delimiter_is_told_so(delimiter: str, what: str) -> None:
    body = (CASES / "k17_semicolon.csv").read_bytes().replace(b";", delimiter.encode())

    with pytest.raises(UnreadableBodyError, match=f"separated by {what}; send commas"):
        from_csv(body, schema_of(Feature("x", "numeric")), 1000)


def test_two_columns_of_one_name_are_refused_by_both() -> None:
    schema = Schema((Feature("k", "integer"),), "y", "binary")

    with pytest.raises(DataError, match="'x': got two columns"):
        read_table(CASES / "k9_twice.csv", schema)
    with pytest.raises(UnreadableBodyError, match="two columns are called 'x'"):
        from_csv((CASES / "k9_twice.csv").read_bytes(), schema, 1000)


@pytest.mark.parametrize("kind", ["numeric", "integer", "boolean", "categorical", "datetime"])
@pytest.mark.parametrize("nullable", [True, False])
def test_a_bare_nan_of_json_is_missing_in_every_kind_of_column_for_both(kind: Any, nullable: bool, tmp_path: Path) -> None:
    schema = schema_of(Feature("v", kind, nullable=nullable))
    (tmp_path / "table.jsonl").write_text('{"v": NaN, "z": 1}')
    sent = parse_json(b'{"rows": [{"v": NaN, "z": 1}]}')["rows"]

    def missing(read: Callable[[], Any]) -> bool | str:
        try:
            return bool(pd.isna(read().columns["v"][0]))
        except (DataError, InvalidRowsError):
            return "refused"

    by_table = missing(lambda: read_table(tmp_path / "table.jsonl", schema))
    assert by_table == missing(lambda: ColumnReader(schema).read(sent)) == (True if nullable else "refused")
