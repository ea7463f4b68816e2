"""Bytes to envelopes: whatever is sent, the answer is a sentence and never a crash."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codecs.json_bodies import _PART, parse_json, parse_strict, refuse_nesting, rows_in
from service.errors import TooManyRowsError, UnreadableBodyError
from tests.service.attacks import ENVELOPES

TRICKY = st.text(alphabet='[]{}"\\a\u00e9 \n', max_size=8)
CONTENT: st.SearchStrategy[Any] = st.recursive(
    st.one_of(TRICKY, st.integers(0, 9), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TRICKY, inner, max_size=4)),
    max_leaves=30,
)


@pytest.mark.parametrize("body", ENVELOPES.values(), ids=ENVELOPES)
def test_a_hostile_predict_body_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        rows_in(parse_json(body), 10)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError):
        rows_in(parse_json(b"\xff" + body), 10)


@pytest.mark.parametrize(("constant", "value"), [("NaN", None), ("Infinity", math.inf), ("-Infinity", -math.inf)])
def test_the_constants_that_clients_send_are_read(constant: str, value: float | None) -> None:
    [row] = rows_in(parse_json(f'{{"rows": [{{"a": {constant}}}]}}'.encode()), 10)

    assert row["a"] == value


@pytest.mark.parametrize("digits", ["1" + "0" * 30, "-" + "9" * 25, str(2**64), str(-(2**63) - 1), str(2**64 - 1)])
@pytest.mark.parametrize("before", ["[", "[0,", '[{"a":1}, ', "[" + "1.5, " * 300])
def test_a_long_whole_number_keeps_its_digits_with_and_without_the_fast_parser(digits: str, before: str) -> None:
    bodies = [f'{before}{digits}, {rest}, "{digits}"]'.encode() for rest in ("0", "NaN")]

    for read in *map(parse_json, bodies), parse_strict(bodies[0]):
        assert [value for value in read if type(value) is int and value not in (0, 1)] == [int(digits)]
        assert read[-1] == digits


@pytest.mark.parametrize("number", ["1" + "0" * 30 + ".0", "1." + "0" * 30, "1e20", "0." + "1" * 30])
def test_a_number_with_a_point_or_an_exponent_is_no_whole_one(number: str) -> None:
    assert type(parse_json(f"[{number}]".encode())[0]) is float


def test_more_rows_than_the_limit_are_refused() -> None:
    with pytest.raises(TooManyRowsError, match="11 rows"):
        rows_in(parse_json(b'{"rows": [' + b",".join([b"{}"] * 11) + b"]}"), 10)


def test_a_body_of_null_is_called_null() -> None:
    with pytest.raises(UnreadableBodyError, match="got null"):
        rows_in(parse_json(b"null"), 10)


def depth_of(content: Any) -> int:
    """Nesting by walking, as everybody would count it."""
    if isinstance(content, dict):
        return 1 + max(map(depth_of, content.values()), default=0)
    return 1 + max(map(depth_of, content), default=0) if isinstance(content, list) else 0


def is_refused(body: bytes, max_depth: int) -> bool:
    try:
        refuse_nesting(body, max_depth)
    except UnreadableBodyError:
        return True
    return False


@given(CONTENT, st.booleans(), st.integers(1, 6))
def test_exactly_what_is_deeper_than_the_limit_is_refused(content: Any, is_ascii: bool, limit: int) -> None:
    body = json.dumps(content, ensure_ascii=is_ascii).encode()

    assert is_refused(body, limit) == (depth_of(content) > limit)


@given(st.binary(max_size=300))
def test_what_follows_a_place_that_is_too_deep_does_not_matter(body: bytes) -> None:
    assert is_refused(b"[" * 5 + body, 4)


@pytest.mark.parametrize("where", [0, _PART - 3, 3 * _PART])
def test_a_deep_place_is_found_wherever_it_stands(where: int) -> None:
    before = b'["' + b"[" * where + b'",'
    deep = before + b"[" * 64 + b"]" * 64 + b"]"

    assert is_refused(deep, 64)
    assert not is_refused(deep, 65)
