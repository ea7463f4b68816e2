"""Columns of JSON values, of Arrow and of raw bytes to numbers and to texts told by few values, at the speed of C.

Nothing is explained here: None stands for whatever is not plainly right, and the caller goes the long way.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from service.columns.arrow_buffers import numbers_in
from training.schema.rows import Coded

_TEXTS = (pa.string(), pa.large_string())
_MOST = 2**31 - 1  # what offsets of 32 bits reach
_NONE = type(None)
_length = struct.Struct("<I").unpack_from


def listed_numbers(values: list[Any]) -> npt.NDArray[np.float64] | None:
    """Return an array of JSON numbers, NaN for null; None when there is anything else.

    Examples
    --------
    >>> listed_numbers([1, 2.5]).tolist(), listed_numbers([None, 1]).tolist(), listed_numbers(["1"]), listed_numbers([None, True])
    ([1.0, 2.5], [nan, 1.0], None, None)
    """
    try:
        numbers = dense_numbers(values)
        if numbers is None and None in values:
            return dense_numbers([math.nan if value is None else value for value in values])
    except OverflowError:
        return None
    return numbers


def dense_numbers(values: list[Any]) -> npt.NDArray[np.float64] | None:
    """Return an array of JSON numbers; None when there is null or anything else.

    Raises
    ------
    OverflowError
        A number is too large for float64.

    Notes
    -----
    ``array.array`` takes numbers only, in the time that a set of the types alone takes, but booleans are numbers to it.
    Only where there are zeros or ones must the types be looked at. numpy's own conversion would read text.

    Examples
    --------
    >>> dense_numbers([1, 2.5]).tolist(), dense_numbers([None, 1]), dense_numbers(["1"]), dense_numbers([0.5, True])
    ([1.0, 2.5], None, None, None)
    """
    try:
        numbers = np.frombuffer(array("d", values))
    except TypeError:
        return None
    if bool(((numbers == 0.0) | (numbers == 1.0)).any()) and bool in set(map(type, values)):
        return None
    return numbers


def listed_texts(values: list[Any]) -> Coded | None:
    """Code JSON texts and nulls; None when there is anything else.

    Examples
    --------
    >>> listed_texts(["b", None, "b"])
    Coded(codes=array([0, 1, 0], dtype=int32), values=('b', None))
    >>> listed_texts(["b", 1]), listed_texts([[]])
    (None, None)
    """
    places: defaultdict[Any, int] = defaultdict()
    places.default_factory = places.__len__  # the code of a value not seen before
    try:
        codes = np.fromiter(map(places.__getitem__, values), np.int32, len(values))
    except TypeError:  # a list or an object
        return None
    return Coded(codes, tuple(places)) if set(map(type, places)) <= {str, _NONE} else None


def arrow_texts(column: pa.ChunkedArray) -> Coded | None:
    """Code an Arrow column of texts, plain or a dictionary; None when it is none.

    Examples
    --------
    >>> arrow_texts(pa.chunked_array([pa.array(["b", None, "b"]).dictionary_encode()]))
    Coded(codes=array([0, 1, 0], dtype=int32), values=('b', None))
    """
    if column.type in _TEXTS:
        whole = column.combine_chunks().dictionary_encode("encode")
        return Coded(_codes(whole), tuple(whole.dictionary.to_pylist()))
    if not pa.types.is_dictionary(column.type) or column.type.value_type not in _TEXTS:
        return None
    return _joined([_used(chunk) for chunk in column.chunks if len(chunk)])


def _codes(encoded: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    codes: npt.NDArray[Any] = numbers_in(encoded.indices)
    return codes


def _used(chunk: pa.DictionaryArray) -> tuple[npt.NDArray[np.int32], list[str | None]]:
    """Return codes and only the values that rows have: a dictionary may hold others, some twice, and null.

    Texts are never repeated for each row that has them: a long one in the dictionary could ask for any amount of memory.
    """
    places = chunk.indices.dictionary_encode("encode")
    return _codes(places), chunk.dictionary.take(places.dictionary).to_pylist()


def _joined(parts: Sequence[tuple[npt.NDArray[np.int32], list[str | None]]]) -> Coded:
    known: dict[str | None, int] = {}
    codes = [np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int32)[places] for places, values in parts]
    return Coded(np.concatenate(codes) if codes else np.zeros(0, dtype=np.int32), tuple(known))


def raw_texts(raw: memoryview, count: int) -> Coded | None:
    """Code texts in UTF-8, each after its length in 4 bytes; None when they are not that or not `count`.

    Examples
    --------
    >>> raw_texts(memoryview(b"\\1\\0\\0\\0b\\0\\0\\0\\0\\1\\0\\0\\0b"), 3).values
    ('b', '')
    """
    octets: npt.NDArray[np.uint8] = np.frombuffer(raw, dtype=np.uint8)
    if not 0 < 4 * count <= len(octets) <= _MOST:
        return None
    starts = _guessed_starts(octets, count)
    if starts is None:
        starts = _walked_starts(raw, count)
    if starts is None:
        return None
    offsets = np.empty(2 * count + 1, dtype=np.int32)  # every other element is the length of the next
    offsets[0:-1:2], offsets[1::2], offsets[-1] = starts, starts + 4, len(octets)
    elements = pa.Array.from_buffers(pa.binary(), 2 * count, [None, pa.py_buffer(offsets), pa.py_buffer(octets)])
    odd = pa.Array.from_buffers(pa.int32(), count, [None, pa.py_buffer(np.arange(1, 2 * count, 2, dtype=np.int32))])
    encoded = elements.take(odd).dictionary_encode()
    try:
        return Coded(_codes(encoded), tuple(str(value, "utf-8") for value in encoded.dictionary.to_pylist()))
    except UnicodeDecodeError:
        return None


def _guessed_starts(octets: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.intp] | None:
    """Find where elements start: wherever three zeros follow, if no text is empty, has zeros or 256 bytes.

    Whether that is so is proven: the first starts at 0, each next one where the one before ends, and the last ends at the end.
    """
    is_zero = octets == 0
    starts = np.flatnonzero(is_zero[1:-2] & is_zero[2:-1] & is_zero[3:])
    if len(starts) != count or starts[0] != 0:
        return None
    ends = starts + 4 + octets[starts]
    return starts if ends[-1] == len(octets) and bool((ends[:-1] == starts[1:]).all()) else None


def _walked_starts(raw: memoryview, count: int) -> npt.NDArray[np.intp] | None:
    starts, place = [], 0
    try:
        for _ in range(count):
            starts.append(place)
            place += 4 + _length(raw, place)[0]
    except struct.error:
        return None
    return np.array(starts, dtype=np.intp) if place == len(raw) else None
