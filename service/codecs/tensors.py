"""Tensors of the Open Inference Protocol: datatypes, JSON data flat or nested, raw bytes.

References
----------
Open Inference Protocol, REST; NVIDIA Triton, ``extension_binary_data.md``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from service.columns.dictionary import dense_numbers, listed_texts, raw_texts
from service.columns.explaining import MAX_LISTED
from service.columns.values import Values, shown
from service.errors import InvalidRowsError, Problem, UnreadableBodyError

DTYPES: dict[str, str] = {
    "BOOL": "?",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    "BYTES": "O",
}
_NULL = type(None)
_FEW = 32  # elements up to which no short way pays
_JSON_TYPES: dict[str, set[type]] = {"BOOL": {bool, _NULL}, "BYTES": {str, _NULL}, "FP": {int, float, _NULL}, "INT": {int, _NULL}}
_WORDS = {"BOOL": "true or false", "BYTES": "a string", "FP": "a number", "INT": "a whole number"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input: its values flat, row-major, as a list (where some are text or null) or an array; many texts of one column coded."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values


def check_shape(name: str, datatype: Any, shape: Any, most: int) -> int:
    """Return the number of elements of a tensor; UnreadableBodyError when its datatype or shape is none."""
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise UnreadableBodyError(f"input {name[:100]!r} has the datatype {shown(datatype)}; known are {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or not all(type(n) is int and 0 <= n <= most for n in shape):
        raise UnreadableBodyError(f"input {name[:100]!r} must have a shape of [rows] or [rows, columns], got {str(shape)[:60]}")
    count = math.prod(shape)
    if count > most:
        raise UnreadableBodyError(f"input {name[:100]!r} has {count} elements; the limit is {most}")
    return count


def from_json(name: str, datatype: str, shape: Sequence[int], content: Any, columns: Sequence[str] = ()) -> Tensor:
    """Read ``data``, flat or nested.

    Parameters
    ----------
    columns
        Of a matrix, what its columns are called in errors.

    Raises
    ------
    UnreadableBodyError
        It has not the shape it says.
    InvalidRowsError
        Some elements are not of the datatype, each named by its row.

    Examples
    --------
    >>> from_json("x", "FP32", [2, 1], [[1], [0.5]]).values.tolist()
    [1.0, 0.5]
    >>> from_json("x", "INT8", [2], [1, 300])
    Traceback (most recent call last):
    service.errors.InvalidRowsError: row 1, field 'x': got 300, want a whole number that fits INT8
    """
    count = math.prod(shape)
    values = _flat(content, len(shape))
    if values is None or len(values) != count:
        size = "something else" if values is None else f"{len(values)} elements"
        raise UnreadableBodyError(f"input {name[:100]!r} says shape {list(shape)}, that is {count} elements, but its data has {size}")
    family = datatype.lstrip("U").rstrip("0123456789")
    if count > _FEW and (plain := _plain(values, datatype, len(columns))) is not None:
        return Tensor(name, datatype, tuple(shape), plain)
    types = set(map(type, values))
    if not types <= _JSON_TYPES[family]:
        is_right = np.fromiter(map(_JSON_TYPES[family].__contains__, map(type, values)), np.bool_, count)
        raise _misfits(columns or [name], values, np.flatnonzero(~is_right), f"{_WORDS[family]} ({datatype})")
    if _NULL in types or family == "BYTES":
        return Tensor(name, datatype, tuple(shape), _rounded(values, types, datatype) if family == "FP" else values)
    return Tensor(name, datatype, tuple(shape), _array(columns or [name], values, datatype))


def from_bytes(name: str, datatype: str, shape: Sequence[int], raw: memoryview, columns: Sequence[str] = ()) -> Tensor:
    """Read raw little-endian data; a BYTES element is its length (4 bytes), then UTF-8.

    Raises
    ------
    UnreadableBodyError
        The number of bytes does not fit the shape.
    InvalidRowsError
        A text is not UTF-8, a boolean neither 0 nor 1.

    Examples
    --------
    >>> from_bytes("word", "BYTES", [2], memoryview(b"\\2\\0\\0\\0ab\\0\\0\\0\\0")).values
    ['ab', '']
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        coded = raw_texts(raw, count) if count > _FEW and len(columns) <= 1 else None
        return Tensor(name, datatype, tuple(shape), _texts(name, raw, count, columns or [name]) if coded is None else coded)
    dtype = np.dtype(DTYPES[datatype])
    if len(raw) != count * dtype.itemsize:
        wanted = f"{datatype} of shape {list(shape)} has {count * dtype.itemsize}"
        raise UnreadableBodyError(f"input {name[:100]!r} has {len(raw)} bytes; {wanted}")
    if datatype == "BOOL":
        octets: npt.NDArray[Any] = np.frombuffer(raw, dtype=np.uint8)
        if bool((octets > 1).any()):
            raise _misfits(columns or [name], octets, np.flatnonzero(octets > 1), "0 or 1 (BOOL)")
    return Tensor(name, datatype, tuple(shape), np.frombuffer(raw, dtype=dtype))


def to_bytes(values: npt.NDArray[Any]) -> bytes:
    """Write an array raw: numbers little-endian, text as BYTES elements.

    Examples
    --------
    >>> to_bytes(np.array(["ab"], dtype=object))
    b'\\x02\\x00\\x00\\x00ab'
    """
    if values.dtype != object:
        return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    texts = values.ravel().tolist()
    written = {text: str(text).encode() for text in set(texts)}
    elements = {text: len(octets).to_bytes(4, "little") + octets for text, octets in written.items()}
    return b"".join(map(elements.__getitem__, texts))


def _flat(content: Any, depth: int) -> list[Any] | None:
    """Flatten nested lists one level a dimension; None when it is ragged or no list."""
    if not isinstance(content, list):
        return None
    if depth == 1 or not content or not isinstance(content[0], list):
        return content
    if not all(isinstance(row, list) and len(row) == len(content[0]) for row in content):
        return None
    return [value for row in content for value in row]


def _plain(values: list[Any], datatype: str, width: int) -> Values | None:
    """Read many floats without a null, or the texts of one column, the short way; None when they are not that."""
    if datatype == "BYTES":
        return listed_texts(values) if width <= 1 else None
    if not datatype.startswith("FP"):
        return None
    try:
        numbers = dense_numbers(values)
    except OverflowError:
        return None
    with np.errstate(over="ignore"):
        return None if numbers is None else numbers.astype(DTYPES[datatype], copy=False)


def _array(columns: Sequence[str], values: list[Any], datatype: str) -> npt.NDArray[Any]:
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if values and not bounds.min <= min(values) <= max(values) <= bounds.max:
            is_wrong = [not bounds.min <= value <= bounds.max for value in values]
            raise _misfits(columns, values, np.flatnonzero(is_wrong), f"a whole number that fits {datatype}")
    with np.errstate(over="ignore"):
        return np.array(values, dtype=dtype)


def _rounded(values: list[Any], types: set[type], datatype: str) -> list[Any]:
    if datatype == "FP64" and int not in types:
        return values
    kind = np.dtype(DTYPES[datatype]).type
    with np.errstate(over="ignore"):
        return [None if value is None else float(kind(value)) for value in values]


def _texts(name: str, raw: memoryview, count: int, columns: Sequence[str]) -> list[str]:
    texts: list[str] = []
    place = 0
    for row in range(count):
        end = place + 4 + int.from_bytes(raw[place : place + 4], "little")
        if place + 4 > len(raw) or end > len(raw):
            raise UnreadableBodyError(f"input {name[:100]!r} says {count} elements, but its bytes end within element {row}")
        try:
            texts.append(str(raw[place + 4 : end], "utf-8"))
        except UnicodeDecodeError:
            octets = {row: bytes(raw[place + 4 : end])}
            raise _misfits(columns, octets, np.array([row]), "text in UTF-8 (BYTES)") from None
        place = end
    if place != len(raw):
        raise UnreadableBodyError(f"input {name[:100]!r} says {count} elements, but {len(raw) - place} bytes are left over")
    return texts


def _misfits(columns: Sequence[str], values: Any, wrong: npt.NDArray[np.intp], want: str) -> InvalidRowsError:
    """Count the elements at some places of a tensor by their columns, and name the first."""
    width = len(columns)
    first = [(*divmod(place, width), _plain_value(values[place])) for place in wrong[:MAX_LISTED].tolist()]
    problems = [Problem(row, columns[column][:100], "type", shown(value), want) for row, column, value in first]
    counts: Counter[tuple[str, str]] = Counter()
    for name, count in zip(columns, np.bincount(wrong % width, minlength=width).tolist(), strict=True):
        counts[name[:100], "type"] += count
    return InvalidRowsError(problems, len(wrong), {kind: count for kind, count in counts.items() if count})


def _plain_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
