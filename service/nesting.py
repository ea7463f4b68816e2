"""How deep JSON is nested, told from its bytes before anything is parsed."""

from __future__ import annotations

import numpy as np

from service.errors import UnreadableBodyError

MAX_DEPTH = 64
_QUOTE = ord('"')
_STEPS = bytes(1 if byte in b"[{" else 255 if byte in b"]}" else byte for byte in range(256))
_NO_STEP = bytes(byte for byte in range(256) if byte not in b'[{]}"')
_SMALL = 1 << 14
_PART = 1 << 20


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
    """Give the deepest nesting outside of text, or what was found when it was more than `enough`."""
    if b"\\" in body:  # first the escaped escapes, so that what is left before a quote escapes it
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = np.frombuffer(body.translate(_STEPS, _NO_STEP), dtype=np.int8)
    depth, deepest, quotes = 0, 0, 0
    for start in range(0, len(marks), _PART):  # a part at a time, so that memory stays a small multiple of the body
        part = marks[start : start + _PART]
        brackets = np.flatnonzero(part != _QUOTE)
        quotes_before = quotes + brackets - np.arange(len(brackets))  # what is no bracket is a quote
        depths = depth + np.cumsum(part[brackets[quotes_before % 2 == 0]], dtype=np.int64)
        deepest = max(deepest, int(depths.max(initial=0)))
        if deepest > enough:
            break
        depth = int(depths[-1]) if len(depths) else depth
        quotes += len(part) - len(brackets)
    return deepest
