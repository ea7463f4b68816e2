"""The column of one feature, made of what was sent: lists of JSON values or arrays, checked whole, by the rules of `service.row_fields`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.row_fields import EARLIEST_US, LATEST_US, MAX_LETTERS, instant_us
from training.clock import duration_us, to_us
from training.rows import Coded
from training.schema import Feature, TimeColumn

Values = list[Any] | npt.NDArray[Any] | Coded
"""A column as it was sent: a list of JSON values, an array of truth values or numbers, or texts told by few values."""
_NUMBERS = {int, float}
_TOO_LATE = float(LATEST_US + 1)  # a float cannot hold LATEST_US itself
_TAKEN = {"numeric": "iuf", "integer": "iuf", "boolean": "b", "categorical": "", "datetime": "iuf"}


def sent_column(feature: Feature, values: Values | None, n_rows: int, max_letters: int = MAX_LETTERS) -> npt.NDArray[Any] | None:
    """Make the column of a feature from a list, an array or nothing; None when some value breaks its rules."""
    if values is None:
        return _absent(feature, n_rows)
    values = uncoded(values)
    return typed_column(feature, values) if isinstance(values, np.ndarray) else listed_column(feature, values, max_letters)


def uncoded(values: Values) -> list[Any] | npt.NDArray[Any]:
    """Give texts told by few values as a list; other columns stay what they are.

    Examples
    --------
    >>> uncoded(Coded(np.array([0, 0]), ("a",))), uncoded([1])
    (['a', 'a'], [1])
    """
    return values.column().tolist() if isinstance(values, Coded) else values


def typed_column(feature: Feature, values: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Make the column of a feature from an array of truth values or numbers; None when some value breaks its rules.

    Parameters
    ----------
    values
        Shape (n_rows,), of a boolean, integer or floating dtype; NaN is a missing value.

    Examples
    --------
    >>> typed_column(Feature("n", "integer"), np.array([1, 2], dtype=np.int8)).tolist()
    [1.0, 2.0]
    >>> typed_column(Feature("n", "integer"), np.array([1.5])) is None
    True
    """
    if values.dtype.kind not in _TAKEN[feature.kind]:
        return None
    column = values.astype(np.float64)
    if feature.kind == "datetime":
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = column * 1e6
        if not bool((np.isnan(scaled) | ((scaled >= EARLIEST_US) & (scaled < _TOO_LATE))).all()):
            return None
        column = np.rint(scaled) / 1e6 + 0.0  # no negative zero
    if bool(np.isinf(column).any()) or feature.violations(column):
        return None
    return feature.clipped(column)


def as_truth(values: list[Any] | npt.NDArray[Any]) -> list[Any] | npt.NDArray[Any]:
    """Read numbers as truth values where the form leaves no other way: 0, 1 and NaN (missing); others stay what they are.

    Examples
    --------
    >>> as_truth(np.array([0, 1])).tolist(), as_truth(np.array([1.0, np.nan])), as_truth([1.0, 2.0, "1"])
    ([False, True], [True, None], [True, 2.0, '1'])
    """
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "b":
            return values
        if bool(((values == 0) | (values == 1)).all()):
            return values.astype(bool)
        values = values.tolist()
    return [_truth(value) if type(value) in _NUMBERS else value for value in values]


def _truth(number: float) -> Any:
    return bool(number) if number in (0, 1) else None if number != number else number


def _absent(feature: Feature, n_rows: int) -> npt.NDArray[Any] | None:
    """Make the column of a feature that was left out; None when it may not be."""
    if not feature.nullable:
        return None
    return np.full(n_rows, np.nan) if feature.is_number else np.full(n_rows, None, dtype=object)


def listed_column(feature: Feature, values: list[Any], max_letters: int = MAX_LETTERS) -> npt.NDArray[Any] | None:
    """Make the column of a feature from JSON values; None when some value breaks its rules, or a text is too long."""
    types = set(map(type, values))
    if feature.nullable:
        types.discard(type(None))
    column = _CONVERTERS[feature.kind](values, types)
    if feature.kind == "categorical" and column is not None and _longest(values) > max_letters:
        return None
    if column is None or (feature.is_number and bool(np.isinf(column).any())) or feature.violations(column):
        return None
    return feature.clipped(column) if feature.is_number else column


def _longest(texts: list[str | None]) -> int:
    """Give the length of the longest of some texts, None among them or not."""
    try:
        return max(map(len, texts))  # type: ignore[arg-type]
    except TypeError:
        return max(map(len, filter(None, texts)), default=0)


def _numbers(values: list[Any], types: set[type]) -> npt.NDArray[Any] | None:
    if not types <= _NUMBERS:
        return None
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return None


def _booleans(values: list[Any], types: set[type]) -> npt.NDArray[Any] | None:
    return np.array(values, dtype=np.float64) if types <= {bool} else None


def _categories(values: list[Any], types: set[type]) -> npt.NDArray[Any] | None:
    if not types <= {str}:
        return None
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _datetimes(values: list[Any], types: set[type]) -> npt.NDArray[Any] | None:
    if not types <= {str, int, float}:
        return None
    try:
        seconds = {value: np.nan if value is None or value != value else instant_us(value) / 1e6 for value in set(values)}
    except ValueError:
        return None
    return np.array([seconds[value] for value in values], dtype=np.float64)


_CONVERTERS = {"numeric": _numbers, "integer": _numbers, "boolean": _booleans, "categorical": _categories, "datetime": _datetimes}


def event_us_of(time: TimeColumn, values: Values) -> npt.NDArray[np.int64] | None:
    """Read an event time column, in microseconds; None when some value is none."""
    values = uncoded(values)
    if isinstance(values, np.ndarray):
        return _event_us_of_numbers(time, values) if values.dtype.kind in "iuf" else None
    types = set(map(type, values))
    if types <= _NUMBERS:
        return _event_us_of_numbers(time, values)
    if time.kind == "ordinal" or not types <= {str, int, float}:
        return None
    try:
        known = {value: instant_us(value) for value in set(values)}
    except ValueError:
        return None
    return np.array([known[value] for value in values], dtype=np.int64)


def _event_us_of_numbers(time: TimeColumn, values: list[Any] | npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    with np.errstate(over="ignore"):
        scaled = to_us(time.origin) + np.rint(numbers * duration_us(time.step)) if time.kind == "ordinal" else np.rint(numbers * 1e6)
    if not bool(((scaled >= EARLIEST_US) & (scaled < _TOO_LATE)).all()):
        return None
    return scaled.astype(np.int64)
