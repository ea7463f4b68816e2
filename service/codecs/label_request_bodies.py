"""The body of a label request: how many predictions, under which key, of which window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import marshmallow as ma
from marshmallow import fields

from service.codecs.json_bodies import MAX_DEPTH, load_envelope, parse_strict
from service.columns.fields import instant_us, ordinal_us, time_wanted
from service.columns.values import shown
from service.errors import InvalidRowsError, Problem
from service.label_requests.drawing import KEY_LETTERS, MOST_DRAWN, Wanted, is_key
from training.schema.schema import Schema

_K_WANTED = f"a whole number from 1 to {MOST_DRAWN}"
_KEY_WANTED = f"1 to {KEY_LETTERS} of the letters A-Z, a-z, 0-9, '.', '_' and '-'"


class _Envelope(ma.Schema):
    class Meta:
        unknown = ma.RAISE

    k = fields.Raw(required=True)
    key = fields.Raw(required=True)
    start = fields.Raw(data_key="from", load_default=None, allow_none=True)
    end = fields.Raw(data_key="to", load_default=None, allow_none=True)


_ENVELOPE = _Envelope()


def read_label_request(body: bytes, schema: Schema, max_depth: int = MAX_DEPTH) -> Wanted:
    """Read ``{"k": 50, "key": "week-10", "from": TIME, "to": TIME}``; the window may be left out, and its times are those of rows.

    Raises
    ------
    UnreadableBodyError
        It is not JSON, is ambiguous, or has another outer shape.
    InvalidRowsError
        A value is wrong; each is named.

    Examples
    --------
    >>> from training.schema.feature import Feature
    >>> schema = Schema((Feature("x", "numeric"),), "y", "regression")
    >>> read_label_request(b'{"k": 50, "key": "week-10", "to": "1970-01-02"}', schema)
    Wanted(key='week-10', k=50, start_us=None, end_us=86400000000)
    """
    sent = load_envelope(_ENVELOPE, parse_strict(body, max_depth))
    problems: list[Problem] = []

    def read(name: str, value: Any, read_value: Callable[[Any], Any], code: str, wanted: str) -> Any:
        try:
            return read_value(value)
        except ValueError:
            problems.append(Problem(None, name, code, shown(value), wanted))

    def read_time(value: Any) -> int | None:
        return None if value is None else _time_us(value, schema)

    time = schema.event_time
    times_wanted = "a time (ISO 8601, or seconds since 1970)" if time is None else time_wanted(time)
    k = read("k", sent["k"], _number, "out_of_range", _K_WANTED)
    key = read("key", sent["key"], _key, "type", _KEY_WANTED)
    start_us = read("from", sent["start"], read_time, "not_a_time", times_wanted)
    end_us = read("to", sent["end"], read_time, "not_a_time", times_wanted)
    if problems:
        raise InvalidRowsError(problems, len(problems))
    return Wanted(key, k, start_us, end_us)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or not 1 <= value <= MOST_DRAWN:
        raise ValueError(_K_WANTED)
    return int(value)


def _key(value: Any) -> str:
    if not isinstance(value, str) or not is_key(value):
        raise ValueError(_KEY_WANTED)
    return value


def _time_us(value: Any, schema: Schema) -> int:
    time = schema.event_time
    if time is None:
        return instant_us(value)
    return ordinal_us(value, time) if time.kind == "ordinal" else instant_us(value, time.times)
