"""Bytes of a request to its envelope: JSON read strictly, the outer shape checked by marshmallow.

Nothing in here looks at the features; that is `service.columns`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields

from service.errors import Problem, TooManyRowsError, UnreadableBodyError
from service.nesting import MAX_DEPTH, refuse_nesting

OWN_ID_LETTERS = 128
OWN_ID = "_id"
_SHOWN = 60


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
    {'a': nan}
    """
    refuse_nesting(body, max_depth)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise UnreadableBodyError(f"the body is not JSON: {error}") from None
    content = _parse_slowly(body, object_pairs_hook=None, parse_constant=float)
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


@dataclass(frozen=True, slots=True)
class LabelPayload:
    """One label as it was sent: exactly one of `id` and `own_id`, and any JSON value."""

    id: str | None
    own_id: str | None
    label: object


class _PredictEnvelope(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    rows = fields.Raw(required=True)


class _ColumnsEnvelope(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    columns = fields.Dict(keys=fields.String(), required=True)


class _LabelSchema(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    id = fields.Raw()
    own_id = fields.Raw()
    label = fields.Raw(required=True, allow_none=True)


class _LabelsEnvelope(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    labels = fields.Raw(required=True)


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
        content = _load(_PredictEnvelope(), content)
    return _list_of(content, "rows", max_rows)


def columns_in(content: Any) -> dict[str, Any]:
    """Take the columns out of ``{"columns": {name: [...]}}``; UnreadableBodyError when it is something else."""
    columns: dict[str, Any] = _load(_ColumnsEnvelope(), content)["columns"]
    return columns


def label_payloads(body: bytes, max_rows: int, max_depth: int = MAX_DEPTH) -> tuple[list[LabelPayload], list[Problem]]:
    """Take the labels out of ``{"labels": [{"id" | "own_id", "label"}]}``.

    Returns
    -------
    tuple
        The labels, and what is wrong with entries of another shape (then nothing may be stored).
    """
    entries = _list_of(_load(_LabelsEnvelope(), parse_strict(body, max_depth)), "labels", max_rows)
    payloads: list[LabelPayload] = []
    problems: list[Problem] = []
    for row, entry in enumerate(entries):
        try:
            payloads.append(_label_payload(entry))
        except ValueError as error:
            problems.append(Problem(row, "labels", "shape", shown(entry), str(error)))
    return payloads, problems


def own_id(value: object) -> str | None:
    """Read a caller's own id: text of 1 to 128 printable letters, or a whole number.

    Raises
    ------
    ValueError
        It is something else.

    Examples
    --------
    >>> own_id(17), own_id("ride-17"), own_id(None)
    ('17', 'ride-17', None)
    """
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer() and -(2**63) < value < 2**64:
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= OWN_ID_LETTERS and value.isprintable():
        return value
    raise ValueError(f"text of 1 to {OWN_ID_LETTERS} printable letters or a whole number")


def shown(value: object) -> str:
    """Show a value in an error, shortened.

    Examples
    --------
    >>> shown("abc"), shown(["x"] * 100), shown(None)
    ("'abc'", 'a list of 100', 'null')
    """
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if value is None:
        return "null"
    text = repr(value[:_SHOWN]) if isinstance(value, str) else repr(value)[:_SHOWN]
    return text + "…" if isinstance(value, str) and len(value) > _SHOWN else text


def _label_payload(entry: Any) -> LabelPayload:
    want = '{"id": "...", "label": ...} or {"own_id": "...", "label": ...}'
    if not isinstance(entry, dict):
        raise ValueError(want)
    try:
        content: dict[str, Any] = _LabelSchema().load(entry)
    except ma.ValidationError:
        raise ValueError(want) from None
    given = [name for name in ("id", "own_id") if content.get(name) is not None]
    if len(given) != 1 or not isinstance(content.get("id", ""), str):
        raise ValueError(want)
    return LabelPayload(content.get("id"), own_id(content.get("own_id")), content["label"])


def _load(schema: ma.Schema, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UnreadableBodyError(f"the body must be a JSON object, got {shown(content)}")
    try:
        loaded: dict[str, Any] = schema.load(content)
    except ma.ValidationError as error:
        details = "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in sorted(_messages(error).items()))
        raise UnreadableBodyError(f"the body has the wrong shape: {details[:500]}") from None
    return loaded


def _messages(error: ma.ValidationError) -> dict[str, list[Any]]:
    found: Any = error.messages
    return found if isinstance(found, dict) else {"body": found}


def _list_of(content: dict[str, Any], name: str, max_rows: int) -> list[Any]:
    entries = content[name]
    if not isinstance(entries, list) or not entries:
        raise UnreadableBodyError(f"{name!r} must be a list with at least one entry")
    if len(entries) > max_rows:
        raise TooManyRowsError(f"{len(entries)} {name} in one request; the limit is {max_rows}")
    return entries


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


def _whole(text: str) -> int | float:
    """Read as orjson does: whole numbers that fit 64 bits, else floating ones."""
    if len(text) <= 20 and -(2**63) <= int(text) < 2**64:
        return int(text)
    return _finite(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return content


def _refuse_surrogates(content: Any) -> None:
    try:
        orjson.dumps(content)
    except (TypeError, RecursionError) as error:
        raise UnreadableBodyError(f"the body is not JSON we read: {str(error)[:200]}") from None
