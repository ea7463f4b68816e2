"""Bytes to envelopes: whatever is sent, the answer is a sentence and never a crash."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import TooManyRowsError, UnreadableBodyError
from service.payloads import label_payloads, parse_json, parse_strict, rows_in

ATTACKS = {
    "nothing": b"",
    "no json": b"rows",
    "half": b'{"rows": [',
    "list": b"[]",
    "scalar": b"3",
    "null": b"null",
    "other name": b'{"row": []}',
    "more names": b'{"rows": [{}], "and": 1}',
    "rows is an object": b'{"rows": {}}',
    "no rows": b'{"rows": []}',
    "bom": b'\xef\xbb\xbf{"rows": [{}]}',
    "utf-16": '{"rows": [{}]}'.encode("utf-16"),
    "latin-1": b'{"rows": [{"a": "\xe9"}]}',
    "lone surrogate": b'{"rows": [{"a": "\\ud800"}]}',
    "lone surrogate beside NaN": b'{"rows": [{"a": "\\ud800", "b": NaN}]}',
    "too large a number": b'{"rows": [{"a": 1e999}]}',
    "too large a number beside NaN": b'{"rows": [{"a": 1e999, "b": NaN}]}',
    "deep": b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep beside NaN": b'{"rows": [NaN, ' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    "deep objects": b'{"rows": [' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
    "nul": b'{"rows": [{"a": "\x00"}]}',
    "comment": b'{"rows": [{}]} // that is all',
}
LABEL_ATTACKS = {
    "duplicate names": b'{"labels": [{"id": "a", "id": "b", "label": 1}]}',
    "NaN": b'{"labels": [{"id": "a", "label": NaN}]}',
    "Infinity": b'{"labels": [{"id": "a", "label": -Infinity}]}',
    "5000 digits": b'{"labels": [{"id": "a", "label": ' + b"9" * 5000 + b"}]}",
}


@pytest.mark.parametrize("body", ATTACKS.values(), ids=ATTACKS)
def test_a_hostile_predict_body_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        rows_in(parse_json(body), 10)


@pytest.mark.parametrize("body", [*ATTACKS.values(), *LABEL_ATTACKS.values()], ids=[*ATTACKS, *LABEL_ATTACKS])
def test_a_hostile_label_body_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        label_payloads(body, 10)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        rows_in(parse_json(b"\xff" + body), 10)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_the_constants_that_clients_send_are_read(constant: str) -> None:
    [row] = rows_in(parse_json(f'{{"rows": [{{"a": {constant}}}]}}'.encode()), 10)

    assert not math.isfinite(row["a"])


def test_a_long_whole_number_is_the_same_with_and_without_the_fast_parser() -> None:
    digits = "1" + "0" * 30

    fast, slow = parse_json(f"[{digits}, 0]".encode()), parse_json(f"[{digits}, NaN]".encode())

    assert fast[0] == slow[0] == parse_strict(f"[{digits}]".encode())[0]


def test_more_rows_than_the_limit_are_refused() -> None:
    with pytest.raises(TooManyRowsError, match="11 rows"):
        rows_in(parse_json(b'{"rows": [' + b",".join([b"{}"] * 11) + b"]}"), 10)


@pytest.mark.parametrize(
    "entry",
    ['"a"', "{}", '{"id": "a"}', '{"label": 1}', '{"id": "a", "own_id": "b", "label": 1}', '{"id": 3, "label": 1}',
     '{"own_id": "", "label": 1}', '{"own_id": "a\\u0000", "label": 1}', '{"own_id": true, "label": 1}', '{"id": "a", "label": 1, "x": 2}'],
)  # fmt: skip
def test_a_label_of_another_shape_is_named_by_its_row(entry: str) -> None:
    payloads, problems = label_payloads(f'{{"labels": [{{"id": "good", "label": 1}}, {entry}]}}'.encode(), 10)

    assert [payload.id for payload in payloads] == ["good"]
    assert [(problem.row, problem.code) for problem in problems] == [(1, "shape")]


def test_what_a_label_should_look_like_is_said_without_the_word_want() -> None:
    _, problems = label_payloads(b'{"labels": [null, {"own_id": "", "label": 1}]}', 10)

    assert [problem.got for problem in problems] == ["null", "an object of 2"]
    assert problems[0].want.startswith('{"id": "..."')
    assert problems[1].want.startswith("text of 1 to 128")


def test_a_body_of_null_is_called_null() -> None:
    with pytest.raises(UnreadableBodyError, match="got null"):
        rows_in(parse_json(b"null"), 10)


def test_an_own_id_may_be_written_as_a_whole_float_and_reads_back_in_a_label() -> None:
    payloads, problems = label_payloads(b'{"labels": [{"own_id": 18446744073709551614, "label": 1}, {"own_id": 50.0, "label": 1}]}', 10)

    assert ([payload.own_id for payload in payloads], problems) == (["18446744073709551614", "50"], [])
