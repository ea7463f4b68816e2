"""Nesting, told from bytes: exact, whatever stands in text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import UnreadableBodyError
from service.nesting import _PART, refuse_nesting

TRICKY = st.text(alphabet='[]{}"\\a\u00e9 \n', max_size=8)
CONTENT: st.SearchStrategy[Any] = st.recursive(
    st.one_of(TRICKY, st.integers(0, 9), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TRICKY, inner, max_size=4)),
    max_leaves=30,
)


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
def test_any_bytes_are_judged_without_a_crash(body: bytes) -> None:
    assert is_refused(b"[" * 5 + body, 4) in (True, False)


@pytest.mark.parametrize("where", [0, _PART - 3, 3 * _PART])
def test_a_deep_place_is_found_wherever_it_stands(where: int) -> None:
    before = b'["' + b"[" * where + b'",'
    deep = before + b"[" * 64 + b"]" * 64 + b"]"

    assert is_refused(deep, 64)
    assert not is_refused(deep, 65)
