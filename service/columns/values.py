"""One value as it was sent: a caller's own id, and how a value is shown in an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from training.schema.rows import Coded

OWN_ID_LETTERS = 128
OWN_ID = "_id"
OWN_ID_WANTED = f"text of 1 to {OWN_ID_LETTERS} printable letters or a whole number"
_SHOWN = 60

Values = list[Any] | npt.NDArray[Any] | Coded
"""A column as it was sent: a list of JSON values, an array of booleans or numbers, or texts told by few values."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A value of a type that no column takes: it is known by the type's name only, as reading it might take any amount of memory."""

    type_name: str


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
    raise ValueError(OWN_ID_WANTED)


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
    if isinstance(value, Unread):
        return f"a value of type {value.type_name[:_SHOWN]}"
    if value is None:
        return "null"
    text = repr(value[:_SHOWN]) if isinstance(value, str) else repr(value)[:_SHOWN]
    return text + "…" if isinstance(value, str) and len(value) > _SHOWN else text


def uncoded(values: Values) -> list[Any] | npt.NDArray[Any]:
    """Return texts told by few values as a list; other columns stay what they are.

    Examples
    --------
    >>> import numpy as np
    >>> uncoded(Coded(np.array([0, 0]), ("a",))), uncoded([1])
    (['a', 'a'], [1])
    """
    return values.column().tolist() if isinstance(values, Coded) else values
