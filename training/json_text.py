"""JSON documents as they are stored: one text for one value, numpy numbers and NaN included."""

from typing import Any

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def to_bytes(value: Any) -> bytes:
    """Write a value as canonical JSON: sorted keys, no spaces, UTF-8; NaN and infinities become null.

    Raises
    ------
    TypeError
        The value holds something JSON has no form for.

    Examples
    --------
    >>> to_bytes({"b": float("nan"), "a": (1, 2)})
    b'{"a":[1,2],"b":null}'
    """
    return orjson.dumps(value, default=_plain, option=_OPTIONS)


def to_text(value: Any) -> str:
    """Write a value as canonical JSON text.

    Examples
    --------
    >>> to_text({"who": "loop"})
    '{"who":"loop"}'
    """
    return to_bytes(value).decode()


def from_text(text: str | bytes) -> Any:
    """Read a stored document back.

    Examples
    --------
    >>> from_text('{"who":"loop"}')
    {'who': 'loop'}
    """
    return orjson.loads(text)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
