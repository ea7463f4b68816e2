"""Rows read straight from JSON are the rows read the long way, or are left to it."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codecs.json_bodies import parse_json, rows_in
from service.columns.reader import ColumnReader, Table
from service.columns.values import OWN_ID
from service.errors import InvalidRowsError, RequestError
from tests.properties import few
from tests.service.kinds import GOOD, NUMBERED, STAMPED, reader
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

MAX_ROWS = 30

odd_texts = st.sampled_from(
    [
        *(
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-0.0",
            "1",
            "1.0",
            "2.5",
            "1e2",
            "1E-3",
            "1e400",
            "123456789012345678901234567890",
        ),
        *(
            '""',
            '"a"',
            '"b"',
            '"x"',
            '"2026-01-01T00:00:00Z"',
            '"é"',
            '"\\u00e9"',
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            '"a\\u0000b"',
            '"a\tb"',
        ),
        *("NaN", "Infinity", "[]", "{}", "[1]", "01", "1.", ".5", "+1", "0x1", "nul", '"' + "x" * 300 + '"', '"not closed', ""),
    ]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON of good rows, in which some values are odd, fields missing, twice or extra."""
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        fields = [(json.dumps(name), json.dumps(value)) for name, value in GOOD.items()]
        for name in draw(st.lists(st.sampled_from([*GOOD, OWN_ID, "Plain"]), max_size=2)):
            if draw(st.booleans()):
                fields = [pair for pair in fields if pair[0] != json.dumps(name)]
            fields.insert(draw(st.integers(0, len(fields))), (json.dumps(name), draw(odd_texts)))
        rows.append("{" + ", ".join(f"{name}: {value}" for name, value in fields) + "}")
    return ('{"rows": [' + ", ".join(rows) + "]}").encode()


def assert_equal(table: Table, other: Table) -> None:
    assert list(table.columns) == list(other.columns)
    for name, values in table.columns.items():
        np.testing.assert_array_equal(values, other.columns[name])
        assert values.dtype == other.columns[name].dtype
    assert (table.event_us is None) == (other.event_us is None)
    if table.event_us is not None and other.event_us is not None:
        assert table.event_us.tolist() == other.event_us.tolist()
    assert (table.own_ids, table.ignored, table.n_rows) == (other.own_ids, other.ignored, other.n_rows)


def the_long_way(read: ColumnReader, body: bytes) -> Table | None:
    """What the dictionaries of the same body say, column by column."""
    try:
        rows = rows_in(parse_json(body), MAX_ROWS)
        if not all(isinstance(row, dict) for row in rows):
            return None
        names = dict.fromkeys(name for row in rows for name in row)
        return read.read_columns({name: [row.get(name) for row in rows] for name in names}, len(rows))
    except (RequestError, InvalidRowsError):
        return None


@few(200)
@given(bodies(), st.sampled_from([STAMPED, NUMBERED]))
def test_whatever_is_taken_at_once_is_taken_the_long_way_with_the_same_values(body: bytes, time: TimeColumn) -> None:
    read = reader(time=time)

    table = read.read_json(body, MAX_ROWS)

    expected = the_long_way(read, body)
    if table is not None:
        assert expected is not None, body
        assert_equal(table, expected)


@given(st.lists(st.floats(-(2.0**53) + 1, 2.0**53 - 1), min_size=1, max_size=20))
def test_numbers_are_read_to_the_bit(numbers: list[float]) -> None:
    read = ColumnReader(Schema((Feature("x", "numeric"),), target="y", task="regression"))

    table = read.read_json(json.dumps({"rows": [{"x": number} for number in numbers]}).encode(), MAX_ROWS)

    assert table is not None
    assert table.columns["x"].tobytes() == np.array(numbers).tobytes()


def test_good_rows_are_taken_at_once() -> None:
    rows: list[dict[str, Any]] = [GOOD, {"plain": 2, "choice": "b", "at": 6, OWN_ID: 17}]
    read = reader()

    table = read.read_json(json.dumps({"rows": rows}).encode(), MAX_ROWS)

    assert table is not None
    assert_equal(table, read.read(rows))
    assert table.own_ids == [None, "17"]
    assert table.columns["clipped"].tolist()[0] == 1.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"rows": []}',
        b'{"rows": null}',
        b'{"rows": [1]}',
        b'{"columns": {}}',
        b'{"rows": [{}], "more": 1}',
        b'{"rows": [{"plain": 1, "choice": "a", "at": 5, "_id": -9223372036854775809}]}',
        b'{"rows": [{"plain": 1, "choice": "a", "at": 5, "_id": 18446744073709551616}]}',
        b'{"rows": [{"plain": 1, "choice": "a", "at": 5, "since": ' + b"9" * 400 + b"}]}",
        b'{"rows": [{"plain": 1, "choice": "a", "at": 5, "other": 1}]}',
        b"[" * 100_000,
        b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"rows": [{"plain": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}]}",
        b"\xff\xfe",
    ],
    ids=lambda body: re.sub(r"\W+", " ", body[:30].decode("latin-1")) or "nothing",
)
def test_what_is_not_plainly_right_is_left_to_the_long_way(body: bytes) -> None:
    assert reader().read_json(body, MAX_ROWS) is None


def test_more_rows_than_allowed_are_left_to_the_long_way() -> None:
    body = json.dumps({"rows": [GOOD] * (MAX_ROWS + 1)}).encode()

    assert reader().read_json(body, MAX_ROWS) is None
    assert reader().read_json(body, MAX_ROWS + 1) is not None
