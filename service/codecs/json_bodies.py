"""Bytes of a request to its envelope: JSON read strictly, the outer shape checked by marshmallow.

Nothing in here looks at the features; that is `service.columns.reader`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import marshmallow as ma
import numpy as np
import orjson
from marshmallow import fields

from service.columns.values import shown
from service.errors import TooManyRowsError, UnreadableBodyError

MAX_DEPTH = 64
_QUOTE = ord('"')
_STEPS = bytes(1 if byte in b"[{" else 255 if byte in b"]}" else byte for byte in range(256))
_NO_STEP = bytes(byte for byte in range(256) if byte not in b'[{]}"')
_SMALL = 1 << 14
_PART = 1 << 20
_ZERO, _MINUS = np.uint8(ord("0")), ord("-")
_RUN = 20
_QUICK = 512
"""So few bytes are searched at once."""
_BARE_LONG_WHOLE = re.compile(rb"[:,\[]\s*(?:[0-9]{20,}|-[0-9]{19,})\s*[],}]")
"""A long whole number that stands as a value, not in a text or in front of a point; what a text has like that costs time only."""


def parse_json(body: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Read JSON of a predict request: UTF-8, ``NaN`` and ``Infinity`` allowed as clients send them.

    Raises
    ------
    UnreadableBodyError
        It is not JSON, or not in UTF-8, or nested too deep, or a number is too large.

    Examples
    --------
    >>> parse_json(b'{"a": [1, null]}')
    {'a': [1, None]}
    >>> parse_json(b'{"a": NaN}')
    {'a': None}
    """
    refuse_nesting(body, max_depth)
    try:
        content = orjson.loads(body)
        return _with_long_wholes(body) if _has_long_wholes(body) else content
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise UnreadableBodyError(f"the body is not JSON: {error}") from None
    content = _parse_slowly(body, object_pairs_hook=None, parse_constant=_constant)
    _refuse_surrogates(content)
    return content


def parse_strict(body: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Read JSON with nothing ambiguous in it: no duplicate names, no NaN, no lone surrogates.

    Raises
    ------
    UnreadableBodyError
        As for `parse_json`, or one of these.
    """
    refuse_nesting(body, max_depth)
    content = _parse_slowly(body, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    _refuse_surrogates(content)
    return content


class _PredictEnvelope(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    rows = fields.Raw(required=True)


class _ColumnsEnvelope(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    columns = fields.Dict(keys=fields.String(), required=True)


_PREDICT, _COLUMNS = _PredictEnvelope(), _ColumnsEnvelope()


def rows_in(content: Any, max_rows: int) -> list[Any]:
    """Take the rows out of ``{"rows": [...]}``.

    Raises
    ------
    UnreadableBodyError
        The content is something else.
    TooManyRowsError
        More rows than `max_rows`.
    """
    if not (type(content) is dict and len(content) == 1 and "rows" in content):  # the schema costs more than a row
        content = load_envelope(_PREDICT, content)
    return list_of(content, "rows", max_rows)


def columns_in(content: Any) -> dict[str, Any]:
    """Take the columns out of ``{"columns": {name: [...]}}``; UnreadableBodyError when it is something else."""
    columns: dict[str, Any] = load_envelope(_COLUMNS, content)["columns"]
    return columns


def load_envelope(schema: ma.Schema, content: Any) -> dict[str, Any]:
    """Check the outer shape of a body; UnreadableBodyError when it is another."""
    if not isinstance(content, dict):
        raise UnreadableBodyError(f"the body must be a JSON object, got {shown(content)}")
    try:
        loaded: dict[str, Any] = schema.load(content)
    except ma.ValidationError as error:
        details = "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in sorted(_messages(error).items()))
        raise UnreadableBodyError(f"the body has the wrong shape: {details[:500]}") from None
    return loaded


def _messages(error: ma.ValidationError) -> dict[str, list[Any]]:
    messages: Any = error.messages
    return messages if isinstance(messages, dict) else {"body": messages}


def list_of(content: dict[str, Any], name: str, max_rows: int) -> list[Any]:
    """Take a list out of an envelope; UnreadableBodyError when it is none or empty, TooManyRowsError when it is too long."""
    entries = content[name]
    if not isinstance(entries, list) or not entries:
        raise UnreadableBodyError(f"{name!r} must be a list with at least one entry")
    if len(entries) > max_rows:
        raise TooManyRowsError(f"{len(entries)} {name} in one request; the limit is {max_rows}")
    return entries


def _has_long_wholes(body: bytes) -> bool:
    """Return whether a whole number may not fit 64 bits: it has 20 digits or more, or 19 behind a minus, and stands as a value."""
    if len(body) > _QUICK and not any(_has_long_run(body[start : start + _PART + _RUN]) for start in range(0, len(body), _PART)):
        return False
    return _BARE_LONG_WHOLE.search(body) is not None


def _has_long_run(part: bytes) -> bool:
    letters = np.frombuffer(part.ljust(_RUN), dtype=np.uint8)
    runs = (letters - _ZERO) < 10  # other letters are below, and become large, or above
    for step in (1, 2, 4, 8, 3):  # runs of 2, 4, 8, 16 and 19 digits that begin at a place
        runs = runs[:-step] & runs[step:]
    return bool((runs[1:] & (runs[:-1] | (letters[: len(runs) - 1] == _MINUS))).any())


def _with_long_wholes(body: bytes) -> Any:
    """Read again JSON with whole numbers of more than 64 bits, of which the fast parser makes floating ones: they lost digits unseen."""
    return _parse_slowly(body, object_pairs_hook=None, parse_constant=_constant)


def _parse_slowly(body: bytes, *, object_pairs_hook: Any, parse_constant: Any) -> Any:
    try:
        text = body.decode("utf-8")
        return json.loads(
            text,
            object_pairs_hook=object_pairs_hook,
            parse_constant=parse_constant,
            parse_int=_whole,
            parse_float=_finite,
        )
    except RecursionError:
        raise UnreadableBodyError("the body is not JSON we read: nested too deep") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise UnreadableBodyError(f"the body is not JSON: {str(error)[:200]}") from None


def _whole(text: str) -> int:
    """Read a whole number with all its digits, so that what holds floats can refuse it; one beyond all floats is none."""
    _finite(text)
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _constant(text: str) -> float | None:
    """Read what Python writes though it is no JSON: ``NaN`` is as good as null, in every column, as where tables are read."""
    return None if text == "NaN" else float(text)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return content


def _refuse_surrogates(content: Any) -> None:
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise UnreadableBodyError(f"the body is not JSON we read: {str(error)[:200]}") from None


def refuse_nesting(body: bytes, max_depth: int = MAX_DEPTH) -> None:
    """Refuse JSON that is nested deeper than the limit; what is no JSON at all may pass, its parser will say so.

    Parameters
    ----------
    max_depth
        Lists and objects within each other; ``[{}]`` has 2.

    Raises
    ------
    UnreadableBodyError
        It is deeper.

    Notes
    -----
    Brackets within text do not count. A body with few opening ones, that is one with few rows, needs no closer look.

    Examples
    --------
    >>> refuse_nesting(b'[{"a": "[[[["}]', max_depth=2)
    >>> refuse_nesting(b'[{"a": []}]', max_depth=2)
    Traceback (most recent call last):
    service.errors.UnreadableBodyError: the body is nested deeper than 2; that is the limit
    """
    if len(body) <= max_depth or (len(body) < _SMALL and body.count(b"[") + body.count(b"{") <= max_depth):
        return
    if _depth(body, max_depth) > max_depth:
        raise UnreadableBodyError(f"the body is nested deeper than {max_depth}; that is the limit")


def _depth(body: bytes, enough: int) -> int:
    """Return the deepest nesting outside of text, or what was reached when it was more than `enough`."""
    if b"\\" in body:  # first the escaped escapes, so that what is left before a quote escapes it
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets_and_quotes = np.frombuffer(body.translate(_STEPS, _NO_STEP), dtype=np.int8)
    depth, deepest, quotes = 0, 0, 0
    for start in range(0, len(brackets_and_quotes), _PART):  # a part at a time, so that memory stays a small multiple of the body
        part = brackets_and_quotes[start : start + _PART]
        brackets = np.flatnonzero(part != _QUOTE)
        quotes_before = quotes + brackets - np.arange(len(brackets))  # what is no bracket is a quote
        depths = depth + np.cumsum(part[brackets[quotes_before % 2 == 0]], dtype=np.int64)
        deepest = max(deepest, int(depths.max(initial=0)))
        if deepest > enough:
            break
        depth = int(depths[-1]) if len(depths) else depth
        quotes += len(part) - len(brackets)
    return deepest
