"""Tables: the same table gives the same answer through every encoding, and the same words when it is wrong."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.app import create_app, service_of
from service.codecs.arrow import from_arrow
from service.codecs.tables import from_columns, from_csv, from_instances, from_lists
from service.columns.reader import ColumnReader
from service.errors import InvalidRowsError, TooManyRowsError, UnreadableBodyError
from tests.properties import few
from tests.service.encodings import ENCODINGS, OURS, Sent, as_json, prediction_of, send
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

FEATURES = (
    Feature("bounded", "numeric", nullable=True, minimum=-1, maximum=5, out_of_range="error"),
    Feature("clipped", "numeric", minimum=0, maximum=1, out_of_range="clip"),
    Feature("count", "integer", nullable=True),
    Feature("flag", "boolean"),
    Feature("word", "categorical", nullable=True),
    Feature("choice", "categorical", categories=("a", "b"), unknown="error"),
    Feature("since", "datetime", nullable=True),
)
GOOD = {"bounded": 2, "clipped": 9.0, "count": 3, "flag": True, "word": "x", "choice": "a", "since": "2026-01-01", "at": 5}
TIMES = [
    TimeColumn("at", "timestamp"),
    TimeColumn("at", "ordinal", datetime(2000, 1, 1, tzinfo=UTC), timedelta(hours=1)),
    TimeColumn("at", clock="arrival"),
    None,
]
odd: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 8), st.floats(), st.integers(), st.just(10**400), st.just([1]),
    st.sampled_from(["", "a", "b", "12", "2026-01-01T00:00:00Z", "2026-13-01", "nan", "x" * 300]),
)  # fmt: skip
typed: st.SearchStrategy[Any] = st.sampled_from(["?", "<i1", "<u8", "<i8", "<f2", "<f4", "<f8"])


@st.composite
def sent_columns(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Columns, good but for some; lists or arrays; few rows, or those many times."""
    n_rows = draw(st.integers(1, 4))
    columns: dict[str, Any] = {name: [value] * n_rows for name, value in GOOD.items()}
    for name in draw(st.lists(st.sampled_from([*GOOD, "_id", "Count", "zzz"]), max_size=3)):
        how = draw(st.sampled_from(["odd", "array", "absent"]))
        if how == "absent":
            columns.pop(name, None)
        elif how == "odd":
            columns[name] = draw(st.lists(odd, min_size=n_rows, max_size=n_rows))
        else:
            dtype = np.dtype(draw(typed))
            whole = st.integers(0, 1) if dtype.kind in "?b" else st.integers(0, 9)
            floats = st.floats(width=dtype.itemsize * 8) if dtype.kind == "f" else whole  # type: ignore[call-overload]
            columns[name] = np.array(draw(st.lists(floats, min_size=n_rows, max_size=n_rows)), dtype=dtype)
    times = draw(st.sampled_from([1, 33]))
    many = {name: np.tile(values, times) if isinstance(values, np.ndarray) else values * times for name, values in columns.items()}
    return many, n_rows * times


def outcome(read: Any) -> tuple[Any, ...]:
    """Everything that a reader says, in a form that compares."""
    try:
        table = read()
    except InvalidRowsError as error:
        return [problem.to_dict() for problem in error.problems], error.total, error.counts
    event_us = None if table.event_us is None else table.event_us.tolist()
    return {name: repr(values.tolist()) for name, values in table.columns.items()}, event_us, table.own_ids, table.ignored, table.n_rows


@few(150)
@given(sent_columns(), st.sampled_from(["ignore", "error"]), st.sampled_from(TIMES))
def test_columns_are_taken_and_refused_as_the_same_rows_are(sent: tuple[dict[str, Any], int], extra: Any, time: TimeColumn | None) -> None:
    columns, n_rows = sent
    reader = ColumnReader(Schema(FEATURES, target="y", task="regression", time=time, extra=extra))
    lists = {name: list(np.asarray(values).tolist()) if isinstance(values, np.ndarray) else values for name, values in columns.items()}
    rows = [{name: values[row] for name, values in lists.items()} for row in range(n_rows)]

    by_columns = outcome(lambda: reader.read_columns(columns, n_rows))
    by_rows = outcome(lambda: reader.read(rows))

    assert by_columns == by_rows


@pytest.fixture
def client(place: Any) -> Iterator[FlaskClient]:
    """A client of a service in which `/invocations` means `bikes`."""
    made = create_app(place.settings(default_model="bikes"))
    service_of(made).follower.refresh()
    yield made.test_client()
    service_of(made).stop()


rides = st.fixed_dictionaries(
    {
        "temp": st.none() | st.floats(-40, 60, allow_subnormal=False),
        "docks": st.integers(0, 2**31 - 1),
        "workday": st.booleans(),
        "district": st.none() | st.sampled_from(["north", "south", "harbour", "001", "true", 'a,"b"\n', "é"]),
        "at": st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat()),
    }
)


@few(15)
@given(st.lists(rides, min_size=1, max_size=4), st.sampled_from([1, 33]))
def test_the_same_table_gives_the_same_answer_through_every_encoding(client: FlaskClient, rows: list[dict[str, Any]], times: int) -> None:
    answers = {name: prediction_of(send(client, encode(rows * times))) for name, encode in ENCODINGS.items()}

    expected = answers["rows"]
    assert {name: answer for name, answer in answers.items() if answer != expected} == {}


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"arrow, other types"}))
@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        pytest.param({"temp": 99.0}, "temp", "out_of_range", id="out of range"),
        pytest.param({"docks": 7}, None, None, id="good"),
        pytest.param({"at": "yesterday"}, "at", "not_a_time", id="no time"),
        pytest.param({"district": "x" * 10_001}, "district", "too_long", id="long text"),
        pytest.param({"district": "é" * 10_000}, None, None, id="text as long as may be"),
    ],
)
def test_a_bad_value_is_named_by_row_and_field_in_every_encoding(
    client: FlaskClient, ride: dict[str, Any], encoding: str, changes: dict[str, Any], field: str | None, code: str | None
) -> None:
    answer = send(client, ENCODINGS[encoding]([ride, {**ride, **changes}]))

    fields = answer.json["fields"] if answer.status_code != 200 else []
    assert [(problem["row"], problem["field"], problem["code"]) for problem in fields] == ([] if field is None else [(1, field, code)])


SCHEMA = Schema((Feature("n", "numeric"), Feature("flag", "boolean"), Feature("word", "categorical")), target="y", task="regression")


@pytest.mark.parametrize("body", [b"", b"n,flag,word\n", b'n,flag\n"1', b"\xff\xfe", b"n,n\n1,2\n", b"n\n" + b"x" * 200_000])
def test_csv_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        from_csv(body, SCHEMA, 10)


def test_csv_cells_become_what_their_column_wants() -> None:
    table = from_csv("\ufeffn,word,flag\r\n1,001,TRUE\r\n1e3,,0\r\nx,NaN,perhaps\r\n".encode(), SCHEMA, 10)

    assert table.columns == {"n": [1, 1000.0, "x"], "word": ["001", None, "NaN"], "flag": [True, False, "perhaps"]}


def test_a_csv_row_of_another_length_is_named() -> None:
    with pytest.raises(InvalidRowsError, match="row 1"):
        from_csv(b"n,flag\n1,1\n2\n", SCHEMA, 10)


def test_lists_of_numbers_may_write_booleans_as_numpy_does() -> None:
    assert from_lists([[1.0, 0.0, "a"], [2.0, 1.0, "b"]], None, SCHEMA, 10).columns["flag"] == [False, True]
    assert from_lists([[1.0, 0.0]], ["n", "flag"], SCHEMA, 10).columns["flag"] == [0.0]


@pytest.mark.parametrize("content", [[], {}, 3, None, "x", {"n": 1}, {"n": [1], "word": ["a", "b"]}, {"n": []}])
def test_instances_that_are_no_table_are_refused(content: Any) -> None:
    with pytest.raises(UnreadableBodyError):
        from_instances(content, SCHEMA, 10)


@pytest.mark.parametrize("content", [[1, 2], [[1, True]], [[1, True, "a"], {}], [[1, True, "a"], 3]])
def test_instances_of_another_shape_are_named(content: Any) -> None:
    with pytest.raises(InvalidRowsError, match=r"row [01]"):
        from_instances(content, SCHEMA, 10)


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda: from_csv(b"n\n" + b"1\n" * 11, SCHEMA, 10), id="csv"),
        pytest.param(lambda: from_columns({"n": [1] * 11}, 10), id="columns"),
        pytest.param(lambda: from_lists([[1]] * 11, ["n"], SCHEMA, 10), id="lists"),
        pytest.param(lambda: from_arrow(stream_of(pa.table({"n": [1.0] * 11})), SCHEMA, 10), id="arrow"),
    ],
)
def test_more_rows_than_the_limit_are_refused_in_every_form(read: Any) -> None:
    with pytest.raises(TooManyRowsError):
        read()


def stream_of(table: pa.Table, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_compressed_arrow_is_refused_before_it_is_read() -> None:
    with pytest.raises(UnreadableBodyError, match="compressed"):
        from_arrow(stream_of(pa.table({"n": [1.0] * 1000}), "zstd"), SCHEMA, 10_000)


def test_a_column_of_dates_is_taken_for_no_category() -> None:
    stamps = pa.table({"word": pa.array([datetime(2026, 1, 1, tzinfo=UTC)]), "n": [1.0], "flag": [True]})
    sent = from_arrow(stream_of(stamps), SCHEMA, 10)

    with pytest.raises(InvalidRowsError, match="row 0, field 'word'"):
        ColumnReader(SCHEMA).read_columns(sent.columns, sent.n_rows)


def test_an_answer_in_arrow_carries_ids_and_the_version(app: Flask, place: Any, ride: dict[str, Any]) -> None:
    rows = [{**ride, "_id": "ride-1"}, ride]

    answer = send(app.test_client(), as_json({"rows": rows}, OURS, Accept="application/vnd.apache.arrow.stream"))

    table = pa.ipc.open_stream(answer.data).read_all()
    assert table.column_names == ["id", "own_id", "label", "probability.false", "probability.true"]
    assert table.column("own_id").to_pylist() == ["ride-1", None]
    assert table.column("id").to_pylist()[1] == answer.headers["X-Evergreen-Prediction-Id"] + "-1"
    assert table.schema.metadata[b"version"].decode() == place.bikes[0].version


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        pytest.param({"Content-Encoding": "gzip"}, 400, "body.unreadable", id="not gzip"),
        pytest.param({"Content-Encoding": "br"}, 415, "http.415", id="unknown encoding"),
        pytest.param({"Content-Type": "application/vnd.apache.arrow.stream"}, 400, "body.unreadable", id="not arrow"),
        pytest.param({"Content-Type": "application/vnd.apache.parquet"}, 400, "body.unreadable", id="not parquet"),
        pytest.param({}, 400, "body.unreadable", id="nothing said"),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_is_refused(app: Flask, headers: dict[str, str], status: int, code: str) -> None:
    answer = send(app.test_client(), Sent(OURS, b"hello", headers))

    assert (answer.status_code, answer.json["code"], answer.headers["Content-Type"]) == (status, code, "application/json")
