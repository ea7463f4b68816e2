"""The stored form of an answered request of many rows: a small JSON header, then the bytes of each column.

Text is what costs with many rows: 10,000 rows of 20 columns hold 140,000 numbers that would be written as decimals and read
again. A packed content is::

    magic 1 byte | length of the header, u32 | header (JSON) | the arrays, one behind the other

and stands for the same JSON object as the text form: in place of an array its header has a descriptor ``[kind, bytes, ...]``.

======  ==========================================================================================
kind    the bytes
======  ==========================================================================================
``f``   float64; NaN is a missing value
``i``   int64
``c``   unsigned places in the values that follow in the descriptor, as wide as their number needs
``j``   a JSON list: strings of which nothing is known are written sooner than they are sorted out
======  ==========================================================================================

All of it is little-endian. A descriptor that is a number stands for that number in each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from training.schema.rows import BlockColumns, Coded, object_column

MAGIC = b"\x01"  # never the first byte of JSON
_ROWS = "n"
_COLUMNS, _EVENTS, _OUTPUTS, _PROBABILITIES, _CLASSES, _OWN_IDS = "x", "e", "y", "p", "c", "own"
_LENGTH_BYTES = 4
_FRONT = len(MAGIC) + _LENGTH_BYTES

Descriptor = list[Any]
Bytes = bytes | npt.NDArray[Any]


def pack(content: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]], codes: npt.NDArray[Any] | None = None) -> bytes:
    """Pack the content of a record of two or more rows.

    Parameters
    ----------
    content
        As `records.encode_body` has it, but for the columns: with the arrays of event times ``e`` (int64), outputs ``y`` and
        probabilities ``p`` (or None).
    columns
        See `training.schema.rows.Columns`; those that a `BlockColumns` has in codes are taken from there.
    codes
        Places of the outputs in the classes ``c``, where they are known.

    Examples
    --------
    >>> times = np.array([7, 7])
    >>> content = {"e": times, "y": np.array(["no", "yes"], object), "p": None, "c": ["no", "yes"], "own": None}
    >>> content = unpack(pack(content, {"x": np.array([1.5, np.nan])}))
    >>> content["x"]["x"].tolist(), content["y"].tolist(), content["e"].tolist()
    ([1.5, nan], ['no', 'yes'], [7, 7])
    """
    n_rows = len(content[_OUTPUTS])
    parts: list[Bytes] = []
    coded = columns.coded if isinstance(columns, BlockColumns) else {}
    header = {
        **content,
        _ROWS: n_rows,
        _EVENTS: _times(content[_EVENTS], parts),
        _COLUMNS: [[name, _array(values, parts, coded.get(name))] for name, values in columns.items()],
        _OUTPUTS: _array(content[_OUTPUTS], parts) if codes is None else _codes(codes, tuple(content[_CLASSES]), parts),
        _PROBABILITIES: None if content[_PROBABILITIES] is None else _array(content[_PROBABILITIES], parts),
    }
    text = orjson.dumps(header)
    return b"".join([MAGIC, len(text).to_bytes(_LENGTH_BYTES, "little"), text, *parts])  # type: ignore[list-item]  # buffers


def unpack(packed: bytes, start: int = 0) -> dict[str, Any]:
    """Read the content back that lies in `packed` from `start` on, every array of it as such.

    Raises
    ------
    ValueError, KeyError, TypeError
        The bytes are not those of a whole content.
    """
    stop = start + _FRONT + int.from_bytes(packed[start + len(MAGIC) : start + _FRONT], "little")
    content = orjson.loads(packed[start + _FRONT : stop])
    reader = _Reader(packed, stop, content[_ROWS])
    content[_EVENTS] = reader.take(content[_EVENTS])
    content[_COLUMNS] = {name: reader.take(descriptor) for name, descriptor in content[_COLUMNS]}
    content[_OUTPUTS] = reader.take(content[_OUTPUTS])
    if content[_PROBABILITIES] is not None:
        content[_PROBABILITIES] = reader.take_table(content[_PROBABILITIES], len(content[_CLASSES]))
    reader.finish()
    if content[_OWN_IDS] is not None:
        reader.agree(content[_OWN_IDS])
    return content  # type: ignore[no-any-return]


# ---- writing ---------------------------------------------------------------------------------------------------


def _array(values: npt.NDArray[Any], parts: list[Bytes], coded: Coded | None = None) -> Descriptor:
    if coded is not None and len(coded.values) <= len(values) == len(coded.codes):
        return _codes(coded.codes, coded.values, parts)
    if values.dtype == np.float64:
        parts.append(np.ascontiguousarray(values, dtype="<f8"))
        return ["f", values.nbytes]
    text = orjson.dumps(values.tolist())
    parts.append(text)
    return ["j", len(text)]


def _times(event_us: npt.NDArray[Any], parts: list[Bytes]) -> Descriptor | int:
    first = int(event_us[0])
    if bool((event_us == first).all()):  # rows without a time of their own have that of their arrival
        return first
    times = np.ascontiguousarray(event_us, dtype="<i8")
    parts.append(times)
    return ["i", times.nbytes]


def _codes(codes: npt.NDArray[Any], values: tuple[str | None, ...], parts: list[Bytes]) -> Descriptor:
    narrow = codes.astype(_code_type(len(values)), copy=False)
    parts.append(narrow)
    return ["c", narrow.nbytes, values]


def _code_type(n_values: int) -> str:
    return "u1" if n_values <= 1 << 8 else "<u2" if n_values <= 1 << 16 else "<u4"


# ---- reading ---------------------------------------------------------------------------------------------------


class _Reader:
    """Take the arrays of `n_rows` rows out of a packed content, in the order in which they were put."""

    def __init__(self, packed: bytes, start: int, n_rows: int) -> None:
        if type(n_rows) is not int or not 1 <= n_rows <= len(packed):  # a row has a byte at least
            raise ValueError(f"a packed record cannot have {n_rows!r} rows")
        self._packed = packed
        self._position = start
        self._n_rows = n_rows

    def take(self, descriptor: Descriptor | int) -> npt.NDArray[Any]:
        """Return the array of a descriptor, shape (n_rows,)."""
        if isinstance(descriptor, int):
            return np.full(self._n_rows, _int64(descriptor))
        kind, size, *more = descriptor
        part = self._bytes(size)
        if kind == "c":
            return self._coded(part, *more)
        if kind == "j":
            return object_column(self.agree(orjson.loads(part)))
        if kind == "i":
            return self._numbers(part, "<i8")
        return _finite(self._numbers(part, {"f": "<f8"}[kind]))

    def take_table(self, descriptor: Descriptor, width: int) -> npt.NDArray[np.float64]:
        """Return the numbers of a descriptor, shape (n_rows, width)."""
        kind, size = descriptor
        part = self._bytes(size)
        numbers = np.array(orjson.loads(part), dtype=np.float64) if kind == "j" else np.frombuffer(part, {"f": "<f8"}[kind])
        return _finite(numbers.reshape(self._n_rows, width))

    def agree(self, values: Any) -> list[Any]:
        """Return `values` when it is a list of one value a row, else raise ValueError."""
        if not isinstance(values, list) or len(values) != self._n_rows:
            raise ValueError(f"a packed record has no list of {self._n_rows} values where one belongs")
        return values

    def finish(self) -> None:
        """Raise ValueError if not all has been taken, or more than there was."""
        if self._position != len(self._packed):
            raise ValueError(f"a packed record has {len(self._packed)} bytes in place of {self._position}")

    def _bytes(self, size: int) -> bytes:
        if type(size) is not int or size < 0:
            raise ValueError(f"a packed array cannot have {size!r} bytes")
        start, self._position = self._position, self._position + size
        return self._packed[start : self._position]

    def _numbers(self, part: bytes, kind: str) -> npt.NDArray[Any]:
        return np.frombuffer(part, kind).reshape(self._n_rows)

    def _coded(self, part: bytes, values: Sequence[str | None]) -> npt.NDArray[Any]:
        codes = self._numbers(part, _code_type(len(values)))
        if int(codes.max()) >= len(values) or not isinstance(values, list):
            raise ValueError(f"a packed column names value {int(codes.max())} of {len(values)}")
        column: npt.NDArray[Any] = object_column(values)[codes]
        return column


def _finite(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return infinite values as missing ones, as the text form does: JSON knows neither."""
    return np.where(np.isfinite(values), values, np.nan)


def _int64(number: int) -> np.int64:
    if number >= 1 << 63:  # what is below int64 comes out of JSON as a float
        raise ValueError(f"{number} is no int64")
    return np.int64(number)
