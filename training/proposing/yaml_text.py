"""Values as YAML that reads back as the same text, on one line; numbers as people read them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_SPECIAL = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def scalar(value: object) -> str:
    """Write a text, quoted where YAML or a person would read something else.

    Examples
    --------
    >>> print(scalar("late"), scalar("no"), scalar("00501"), scalar("two\\nlines"), scalar("\\x85"))
    late "no" "00501" "two\\nlines" "\\u0085"
    """
    text = str(value)
    if _PLAIN.fullmatch(text) and text.casefold() not in _SPECIAL:
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in json.dumps(text, ensure_ascii=False))


def _escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def flow(keys: Mapping[str, str]) -> str:
    """Write keys whose values are YAML already in braces.

    Examples
    --------
    >>> flow({"kind": "integer", "nullable": "true"})
    '{kind: integer, nullable: true}'
    """
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"


def sequence(values: object) -> str:
    """Write some values in brackets.

    Examples
    --------
    >>> sequence(["no", "a"])
    '["no", a]'
    """
    return f"[{', '.join(map(scalar, values))}]"  # type: ignore[call-overload]


def in_rows(count: int) -> str:
    """Return in how many rows something is.

    Examples
    --------
    >>> in_rows(1), in_rows(1200)
    ('in 1 row', 'in 1,200 rows')
    """
    return "in 1 row" if count == 1 else f"in {count:,} rows"


def number(value: float) -> str:
    """Write a number that was seen.

    Examples
    --------
    >>> number(1767225600.0), number(0.1234567), number(-3)
    ('1767225600', '0.123457', '-3')
    """
    return f"{value:.0f}" if value == math.floor(value) and abs(value) < 1e15 else f"{value:g}"
