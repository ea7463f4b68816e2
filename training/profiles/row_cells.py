"""A sketch of which rows are the same: rows fall into cells by their values, and equal rows into the same one.

Of n rows that differ, n (n - 1) / 2 pairs meet in one of 1,024 cells by chance once in 1,024; rows that came twice meet always. Counts of
cells are added like all counts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.schema.rows import Columns
from training.schema.schema import Schema

CELLS = 1024
TIME = "@time"  # among the names of features: the time of the row
MOST_TEXTS = 2  # texts are slow to tell apart
_LEAST_ROWS, _SAMPLE, _DISTINCT = 50, 2000, 0.99
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF, _TOP = np.uint64(32), np.uint64(54)


def learn_identity(columns: Columns, time_us: npt.NDArray[np.int64], schema: Schema) -> tuple[str, ...]:
    """Return by what rows are told apart: all numbers; where these are not enough their own time too, then the two texts with most values.

    A time is a row's own where requests carry it, not where it is that of arrival. Texts alone tell no rows apart: without a number
    and a time there is no sketch.
    """
    numbers = [f.name for f in schema.features if f.is_number and f.name in columns]
    texts = [f.name for f in schema.features if not f.is_number and f.name in columns]
    has_time = schema.event_time is not None
    if len(time_us) < _LEAST_ROWS or not (numbers or has_time):
        return ()
    newest = {name: columns[name][-_SAMPLE:] for name in (*numbers, *texts)}
    parts = [np.nan_to_num(newest[name]) for name in numbers]
    if numbers and _are_distinct(parts):
        return tuple(numbers)
    if has_time:
        parts.append(time_us[-_SAMPLE:].astype(np.float64))
    names = (*numbers, *((TIME,) if has_time else ()))
    if has_time and _are_distinct(parts):
        return names
    by_values = sorted(texts, key=lambda name: -len(set(newest[name].tolist())))
    return (*names, *by_values[:MOST_TEXTS])


def _are_distinct(parts: Sequence[npt.NDArray[np.float64]]) -> bool:
    rows = np.column_stack(parts)
    return len(np.unique(rows, axis=0)) >= _DISTINCT * len(rows)


def cells_of(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """Return the cell of each row, 0 to 1,023, shape (n_rows,): equal for equal rows, whatever rows they come with.

    Examples
    --------
    >>> cells = cells_of([np.array([1.0, 2.0, 1.0, 0.0, -0.0]), np.array([np.nan, 5.0, np.nan, 3.0, 3.0])])
    >>> bool(cells[0] == cells[2]), bool(cells[3] == cells[4]), bool(cells[0] == cells[1])
    (True, True, False)
    """
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        if column.dtype == object:
            values = column.tolist()
            codes = {value: 0 if value is None else zlib.crc32(value.encode()) + 1 for value in set(values)}
            mixed ^= np.fromiter(map(codes.__getitem__, values), np.uint64, len(values))
        else:
            mixed ^= _bits(column)
        mixed *= _ODD
        mixed ^= mixed >> _HALF
    mixed *= _ODD
    return (mixed >> _TOP).astype(np.float64)


def _bits(column: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    plain: npt.NDArray[np.float64] = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, and no minus zero
    return plain.view(np.uint64)
