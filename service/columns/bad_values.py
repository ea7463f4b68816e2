"""Which values of a column break a rule, and which rule: a column at a time, so that bad values cost no more than good ones.

They are only marked here. What is wrong with a value in words `service.columns.fields` says, for the few that are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import marshmallow as ma
import numpy as np
import numpy.typing as npt

from service.columns.feature_columns import microseconds_of, without_words
from service.columns.fields import instant_us
from service.columns.values import OWN_ID_LETTERS, Values
from training.schema.feature import Feature
from training.schema.rows import Coded
from training.schema.spellings import MOST_WHOLE, is_too_large
from training.schema.time_column import TimeColumn
from training.schema.times import TimeFormat

CODES = (
    "",
    "missing_field",
    "missing",
    "type",
    "too_long",
    "unknown_category",
    "not_finite",
    "not_an_integer",
    "not_a_time",
    "out_of_range",
)
FINE, LEFT_OUT, MISSING, TYPE, TOO_LONG, UNKNOWN, NOT_FINITE, NOT_AN_INTEGER, NOT_A_TIME, OUT_OF_RANGE = range(len(CODES))
Faults = npt.NDArray[np.uint8]
"""For each value its place in `CODES`."""

_OTHER, _ABSENT, _NULL, _FLAG, _WHOLE, _FLOAT, _TEXT = range(7)


class _KindsOfTypes(dict[type, int]):
    def __missing__(self, _type: type) -> int:
        return _OTHER


_KINDS = _KindsOfTypes({type(ma.missing): _ABSENT, type(None): _NULL, bool: _FLAG, int: _WHOLE, float: _FLOAT, str: _TEXT})
_KINDS |= dict.fromkeys((list, dict), _OTHER)
_NUMBERS = (_WHOLE, _FLOAT)
_TAKEN = {
    "numeric": _NUMBERS,
    "integer": _NUMBERS,
    "boolean": (_FLAG,),
    "categorical": (_TEXT,),
    "datetime": (*_NUMBERS, _TEXT),
}


class _Sorted:
    """A column by the kinds of its values; in a list `marshmallow.missing` stands for one that was left out."""

    def __init__(self, values: list[Any] | npt.NDArray[Any]) -> None:
        self._values = values
        if isinstance(values, np.ndarray):
            self._kinds = np.full(len(values), _FLAG if values.dtype.kind == "b" else _FLOAT, dtype=np.uint8)
        else:
            self._kinds = np.fromiter(map(_KINDS.__getitem__, map(type, values)), np.uint8, len(values))

    def refused(self, taken: Sequence[int], *, nullable: bool) -> Faults:
        """Mark what is of no kind that is taken."""
        of_kind = np.full(_TEXT + 1, TYPE, dtype=np.uint8)
        of_kind[[_ABSENT, _NULL]] = (FINE, FINE) if nullable else (LEFT_OUT, MISSING)
        of_kind[list(taken)] = FINE
        return of_kind[self._kinds]

    def numbers(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Return which values are numbers, and those."""
        where = (self._kinds == _WHOLE) | (self._kinds == _FLOAT)
        if isinstance(self._values, np.ndarray):
            return where, self._values[where].astype(np.float64)
        chosen = self._chosen(where)
        try:
            return where, np.array(chosen, dtype=np.float64)
        except OverflowError:
            return where, np.array([_as_float(value) for value in chosen])

    def wholes(self) -> tuple[npt.NDArray[np.bool_], list[int]]:
        """Return which values of a list are whole numbers, and those."""
        where = self._kinds == _WHOLE
        return where, self._chosen(where)

    def texts(self) -> tuple[npt.NDArray[np.bool_], list[str]]:
        """Return which values are texts, and those."""
        where = self._kinds == _TEXT
        return where, self._chosen(where)

    def _chosen(self, where: npt.NDArray[np.bool_]) -> list[Any]:
        return list(compress(self._values, where.tolist()))


def faults_of_feature(feature: Feature, max_letters: int, values: Values) -> Faults:
    """Mark what `service.columns.fields.FeatureField` refuses.

    Examples
    --------
    >>> faults = faults_of_feature(Feature("n", "integer"), 9, [1, 2.5, None, "3", ma.missing])
    >>> [CODES[fault] for fault in faults.tolist()]
    ['', 'not_an_integer', 'missing', 'type', 'missing_field']
    """
    if isinstance(values, Coded):
        return faults_of_feature(feature, max_letters, list(values.values))[values.codes]
    if isinstance(values, list):
        values = _blanked(feature, values)
    column = _Sorted(values)
    faults = column.refused(_TAKEN[feature.kind], nullable=feature.nullable)
    if feature.kind == "categorical":
        where, texts = column.texts()
        faults[where] = _faults_of_texts(feature, max_letters, texts)
    elif feature.kind == "datetime":
        where, numbers = column.numbers()
        faults[where] = _faults_of_seconds(feature, numbers)
        where, texts = column.texts()
        faults[where] = _faults_of_written_times(feature, texts)
    elif feature.kind != "boolean":
        where, numbers = column.numbers()
        faults[where] = _faults_of_numbers(feature, numbers)
        if not isinstance(values, np.ndarray) or values.dtype.kind in "iu":
            large = np.flatnonzero(where)[np.abs(numbers) >= MOST_WHOLE].tolist()
            faults[[place for place in large if faults[place] == FINE and is_too_large(_plain(values[place]))]] = OUT_OF_RANGE
    return faults


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.integer) else value


def _blanked(feature: Feature, values: list[Any]) -> list[Any]:
    """Return a column with None for the texts that mean missing in it."""
    if feature.kind != "categorical":
        return without_words(values, feature.means_missing)
    missing = feature.missing_texts
    return [None if type(value) is str and value in missing else value for value in values]


def faults_of_time(time: TimeColumn, values: Values) -> Faults:
    """Mark what `service.columns.fields.TimeField` refuses.

    Examples
    --------
    >>> faults_of_time(TimeColumn("at", "timestamp"), ["2026-01-01", "soon", 5]).tolist() == [FINE, NOT_A_TIME, FINE]
    True
    """
    if isinstance(values, Coded):
        return faults_of_time(time, list(values.values))[values.codes]
    column = _Sorted(values)
    faults = column.refused(_NUMBERS if time.kind == "ordinal" else _TAKEN["datetime"], nullable=False)
    where, numbers = column.numbers()
    faults[where] = np.where(microseconds_of(time, numbers)[1], FINE, NOT_A_TIME)
    if time.kind == "timestamp":
        where, texts = column.texts()
        faults[where] = np.where(np.isnan(_written_seconds(texts, time.times)), NOT_A_TIME, FINE)
    return faults


def faults_of_own_ids(values: Values) -> Faults:
    """Mark what `service.columns.values.own_id` refuses.

    Examples
    --------
    >>> faults_of_own_ids(["ride-1", 17, 17.0, None, "", 1.5, True]).tolist() == [FINE, FINE, FINE, FINE, TYPE, TYPE, TYPE]
    True
    """
    if isinstance(values, Coded):
        return faults_of_own_ids(list(values.values))[values.codes]
    column = _Sorted(values)
    faults = column.refused((*_NUMBERS, _TEXT), nullable=True)
    where, numbers = column.numbers()
    with np.errstate(invalid="ignore"):
        faults[where] = np.where((numbers == np.floor(numbers)) & (numbers > -(2.0**63)) & (numbers < 2.0**64), FINE, TYPE)
    if isinstance(values, np.ndarray):
        return np.zeros(len(values), dtype=np.uint8) if values.dtype.kind in "iu" else faults
    where, wholes = column.wholes()
    faults[where] = [FINE if -(2**63) <= number < 2**64 else TYPE for number in wholes]
    where, texts = column.texts()
    n_letters = np.fromiter(map(len, texts), np.intp, len(texts))
    is_printable = np.fromiter(map(str.isprintable, texts), np.bool_, len(texts))
    faults[where] = np.where(is_printable & (n_letters > 0) & (n_letters <= OWN_ID_LETTERS), FINE, TYPE)
    return faults


def _faults_of_numbers(feature: Feature, numbers: npt.NDArray[np.float64]) -> Faults:
    faults = np.zeros(len(numbers), dtype=np.uint8)
    if feature.out_of_range == "error":
        faults[feature.outside(numbers)] = OUT_OF_RANGE
    if feature.kind == "integer":
        faults[np.abs(numbers) > MOST_WHOLE] = OUT_OF_RANGE
        faults[numbers != np.floor(numbers)] = NOT_AN_INTEGER
    faults[np.isinf(numbers)] = NOT_FINITE
    unknown = ~np.isfinite(numbers) if feature.drops_infinite else np.isnan(numbers)
    faults[unknown] = FINE if feature.nullable else MISSING
    return faults


def _faults_of_seconds(feature: Feature, numbers: npt.NDArray[np.float64]) -> Faults:
    scaled, is_time = feature.times.numbers_us(numbers)
    faults = np.where(is_time, FINE, NOT_A_TIME).astype(np.uint8)
    if feature.out_of_range == "error":
        faults[(faults == FINE) & feature.outside(scaled / 1e6)] = OUT_OF_RANGE
    faults[np.isnan(numbers)] = FINE if feature.nullable else MISSING
    return faults


def _faults_of_written_times(feature: Feature, texts: list[str]) -> Faults:
    seconds = _written_seconds(texts, feature.times)
    faults = np.where(np.isnan(seconds), NOT_A_TIME, FINE).astype(np.uint8)
    if feature.out_of_range == "error":
        faults[feature.outside(seconds)] = OUT_OF_RANGE
    return faults


def _faults_of_texts(feature: Feature, max_letters: int, texts: list[str]) -> Faults:
    faults = np.zeros(len(texts), dtype=np.uint8)
    if feature.unknown == "error" and feature.categories is not None:
        known = frozenset(feature.categories)
        faults[~np.fromiter(map(known.__contains__, texts), np.bool_, len(texts))] = UNKNOWN
    faults[np.fromiter(map(len, texts), np.intp, len(texts)) > max_letters] = TOO_LONG
    return faults


def _written_seconds(texts: list[str], times: TimeFormat) -> npt.NDArray[np.float64]:
    """Read each different text once; NaN for what is no time."""
    known = dict.fromkeys(texts, np.nan)
    for text in known:
        try:
            known[text] = instant_us(text, times) / 1e6
        except ValueError:
            continue
    return np.fromiter(map(known.__getitem__, texts), np.float64, len(texts))


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
