"""Rows in columns: what training learns from, in time order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Columns = dict[str, npt.NDArray[Any]]
"""A column a feature, in schema order: float64 (NaN = missing; boolean 0/1; datetime = UTC epoch seconds), or an object
array of str and None for a category."""


def count_rows(columns: Columns) -> int:
    """Return how many rows some columns have; there is at least one column.

    Examples
    --------
    >>> count_rows({"x": np.zeros(3), "y": np.ones(3)})
    3
    """
    return len(next(iter(columns.values())))


def object_column(values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return values as an object array of shape (n_values,), whatever they are.

    Examples
    --------
    >>> object_column([[1], [2]]).shape  # `numpy.array` would look into them
    (2,)
    """
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


class Coded(NamedTuple):
    """A category column as codes into few values: row i has ``values[codes[i]]``.

    Attributes
    ----------
    codes
        Shape (n_rows,), int32, places in `values`.
    values
        Different from each other; None for a missing one.
    """

    codes: npt.NDArray[np.int32]
    values: tuple[str | None, ...]

    def column(self) -> npt.NDArray[Any]:
        """Return the column itself.

        Examples
        --------
        >>> Coded(np.array([1, 0, 1], np.int32), ("a", None)).column().tolist()
        [None, 'a', None]
        """
        column: npt.NDArray[Any] = object_column(self.values)[self.codes]
        return column


class BlockColumns(dict[str, npt.NDArray[Any]]):
    """Columns of which more is known: some are the rows of one matrix, some are codes into few values.

    Parameters
    ----------
    names
        The columns that are rows of the matrix, in its order.
    numbers
        Shape (n_names, n_rows).
    coded
        What is known of category columns; need not hold all of them.

    Examples
    --------
    >>> columns = BlockColumns([("x", np.zeros(2))], ("x",), np.zeros((1, 2)))
    >>> columns.block(("x",)).shape, columns.block(("y",)) is None
    ((1, 2), True)
    """

    __slots__ = ("_names", "_numbers", "coded")

    def __init__(
        self,
        columns: Iterable[tuple[str, npt.NDArray[Any]]],
        names: tuple[str, ...],
        numbers: npt.NDArray[np.float64],
        coded: Mapping[str, Coded] = MappingProxyType({}),
    ) -> None:
        super().__init__(columns)
        self._names = names
        self._numbers = numbers
        self.coded = coded

    def block(self, names: tuple[str, ...]) -> npt.NDArray[np.float64] | None:
        """Return the matrix if it has just these rows, else None."""
        return self._numbers if self._names == names else None


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows in the order of their times; rows of equal time keep the order they came in.

    Attributes
    ----------
    columns
        The features, see `Columns`.
    target
        Shape (n,): class labels as str (object; None = not known), or float64 (NaN = not known); None without any.
    time_us
        Shape (n,), int64 microseconds since the epoch.

    Examples
    --------
    >>> rows = Rows({"x": np.arange(3.0)}, np.arange(3.0), np.array([0, 10, 20]))
    >>> len(rows.between(10, 30)), rows.slice(0, 1).time_us.tolist()
    (2, [0])
    """

    columns: Columns
    target: npt.NDArray[Any] | None
    time_us: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time_us)

    @property
    def labels(self) -> npt.NDArray[Any]:
        """The target of labelled rows; raises ValueError where there is none."""
        if self.target is None:
            raise ValueError("these rows carry no target")
        return self.target

    def take(self, index: npt.NDArray[Any] | slice) -> Rows:
        """Return the rows at `index` (increasing positions, a mask or a slice)."""
        target = None if self.target is None else self.target[index]
        return Rows({name: values[index] for name, values in self.columns.items()}, target, self.time_us[index])

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows from position `start` up to, not including, `stop`."""
        return self.take(slice(start, stop))

    def between(self, start_us: int, end_us: int) -> Rows:
        """Return the rows with ``start_us <= time < end_us``."""
        start, stop = np.searchsorted(self.time_us, [start_us, end_us])
        return self.slice(int(start), int(stop))

    def labelled(self) -> Rows:
        """Return the rows whose target is known."""
        known = self.is_labelled
        return self if known.all() else self.take(known)

    def unlabelled(self, where: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows as if no target were known `where` a mask says so, shape (n,).

        Examples
        --------
        >>> Rows({}, np.array([1.0, 2.0]), np.array([0, 10])).unlabelled(np.array([True, False])).labels.tolist()
        [nan, 2.0]
        """
        if self.target is None or not where.any():
            return self
        target = self.target.copy()
        target[where] = np.nan if target.dtype.kind == "f" else None
        return Rows(self.columns, target, self.time_us)

    @property
    def is_labelled(self) -> npt.NDArray[np.bool_]:
        """A mask of the rows whose target is known; errors as `labels`."""
        target = self.labels
        return ~np.isnan(target) if target.dtype.kind == "f" else np.array([v is not None for v in target.tolist()], dtype=bool)

    @staticmethod
    def concat(parts: Sequence[Rows]) -> Rows:
        """Join rows and bring them into time order; rows of equal time keep the order of `parts`.

        A part without a target makes the whole one without.
        """
        time_us = np.concatenate([p.time_us for p in parts])
        columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns}
        targets = [p.target for p in parts]
        target = None if any(t is None for t in targets) else np.concatenate([t for t in targets if t is not None])
        rows = Rows(columns, target, time_us)
        return rows if bool((np.diff(time_us) >= 0).all()) else rows.take(np.argsort(time_us, kind="stable"))
