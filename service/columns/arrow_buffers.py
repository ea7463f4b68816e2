"""Arrow's arrays from numpy's and back, by their buffers.

``pyarrow.array``, ``to_numpy`` and whatever makes a scalar import pandas: a fifth of a second and 33 MB in each worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from training.schema.rows import Coded


def numbers_in(array: pa.Array) -> npt.NDArray[Any]:
    """Return the integers or floats of an array without a copy, booleans with one; with nulls float64, NaN for them.

    Examples
    --------
    >>> numbers_in(pa.array([7, None], pa.int8())).tolist(), numbers_in(pa.array([1, 2, 3]).slice(1)).tolist()
    ([7.0, nan], [2, 3])
    >>> numbers_in(pa.array([True, False, True]).slice(1)).tolist()
    [False, True]
    """
    values = _raw_numbers(array)
    return np.where(are_there(array), values.astype(np.float64), np.nan) if array.null_count else values


def listed_in(array: pa.Array) -> list[Any]:
    """Return the integers, floats or booleans of an array as a list, None for nulls.

    Examples
    --------
    >>> listed_in(pa.array([2**62 + 1, None])), listed_in(pa.array([True, None, False]).slice(1))
    ([4611686018427387905, None], [None, False])
    """
    values = _raw_numbers(array)
    if not array.null_count:
        return list(values.tolist())
    listed = values.astype(object)
    listed[~are_there(array)] = None
    return list(listed.tolist())


def are_there(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Return which values of an array with nulls are none.

    Examples
    --------
    >>> are_there(pa.array([1, None])).tolist()
    [True, False]
    """
    return _bits(array.buffers()[0], array)


def _raw_numbers(array: pa.Array) -> npt.NDArray[Any]:
    buffer = array.buffers()[1]
    if pa.types.is_boolean(array.type):
        return _bits(buffer, array)
    count = array.offset + len(array)
    return np.frombuffer(buffer, dtype=array.type.to_pandas_dtype(), count=count)[array.offset :]


def _bits(buffer: pa.Buffer, array: pa.Array) -> npt.NDArray[Any]:
    octets: npt.NDArray[np.uint8] = np.frombuffer(buffer, dtype=np.uint8)
    return np.unpackbits(octets, count=array.offset + len(array), bitorder="little")[array.offset :].astype(bool)


def float_array(values: npt.NDArray[np.float64]) -> pa.Array:
    """Make an array of numbers.

    Examples
    --------
    >>> float_array(np.array([1.0, np.nan])).to_pylist()
    [1.0, nan]
    """
    return pa.Array.from_buffers(pa.float64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values, dtype=np.float64))])


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Make an array of texts.

    Examples
    --------
    >>> text_array(["é", None, ""]).to_pylist()
    ['é', None, '']
    """
    texts = [b"" if value is None else value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts], dtype=np.int64)])
    is_there = np.packbits([value is not None for value in values], bitorder="little") if None in values else None
    return _texts(offsets, b"".join(texts), is_there)


def coded_array(column: Coded) -> pa.Array:
    """Make an array of texts told by few values.

    Examples
    --------
    >>> coded_array(Coded(np.array([1, 0, 1], np.int32), ("a", None))).to_pylist()
    [None, 'a', None]
    """
    codes = pa.Array.from_buffers(pa.int32(), len(column.codes), [None, pa.py_buffer(np.ascontiguousarray(column.codes, dtype=np.int32))])
    return text_array(column.values).take(codes)


def id_array(prefix: str, n_rows: int) -> pa.Array:
    """Make the ids of rows, ``<prefix>-<row>``.

    Notes
    -----
    The numbers are written as a JSON list in one go, and its commas replaced.

    Examples
    --------
    >>> id_array("p", 11).to_pylist()[-2:]
    ['p-9', 'p-10']
    """
    rows = np.arange(n_rows)
    start = prefix.encode() + b"-"
    written = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    digits = 1 + np.searchsorted(10 ** np.arange(1, 16), rows, side="right")
    offsets = np.concatenate([[0], np.cumsum(digits + len(start))])
    return _texts(offsets, start + written.replace(b",", start) if n_rows else b"", None)


def _texts(offsets: npt.NDArray[np.int64], texts: bytes, is_there: npt.NDArray[np.uint8] | None) -> pa.Array:
    if len(texts) > np.iinfo(np.int32).max:
        raise ValueError("the texts take more than offsets of 32 bits reach")
    validity = None if is_there is None else pa.py_buffer(is_there)
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [validity, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(texts)])
