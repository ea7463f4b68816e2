"""The features of a request, converted and checked a whole column at a time: all numbers in one matrix, texts by their few values.

Nothing is explained here: a column with a value that breaks a rule is named, and `service.columns.fields` says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from service.columns.dictionary import listed_numbers, listed_texts
from service.columns.fields import instant_us
from service.columns.values import Values, uncoded
from training.clock import duration_us, to_us
from training.schema.feature import Feature
from training.schema.rows import BlockColumns, Coded
from training.schema.schema import Schema
from training.schema.spellings import MOST_WHOLE, is_missing_word, is_too_large
from training.schema.time_column import TimeColumn
from training.schema.times import TimeFormat

_NUMBERS = {int, float}
_NULL = type(None)
_FALSE = b"\0"  # a search in the bytes of a mask finds it in a tenth of the time that `all` takes for a few values
_TRUE = b"\1"
_LARGEST = float(np.finfo(np.float64).max)


class NumberRules:
    """The rules of the ``numeric`` and ``integer`` features of a schema, checked on one matrix at once.

    Parameters
    ----------
    all_exact
        Whether a number is broken as soon as a whole one beside it would have become the same float64.

    Attributes
    ----------
    names
        Of these features, in the order of the schema.

    Examples
    --------
    >>> rules = NumberRules([Feature("x", "numeric", nullable=True), Feature("n", "integer", minimum=0, out_of_range="error")])
    >>> rules.broken(np.array([[np.nan], [2.0]])), rules.broken(np.array([[np.inf], [2.5]])), rules.broken(np.array([[1.0], [-1.0]]))
    ([], ['x', 'n'], ['n'])
    """

    def __init__(self, features: Sequence[Feature], *, all_exact: bool = False) -> None:
        numbers = [feature for feature in features if feature.kind in ("numeric", "integer")]
        self.names = tuple(feature.name for feature in numbers)
        most = [MOST_WHOLE - 1 if all_exact else MOST_WHOLE if feature.kind == "integer" else _LARGEST for feature in numbers]
        bounds = list(zip(numbers, most, strict=True))
        self._low = np.array([[max(_bound(feature, feature.minimum, -_LARGEST), -limit)] for feature, limit in bounds])
        self._high = np.array([[min(_bound(feature, feature.maximum, _LARGEST), limit)] for feature, limit in bounds])
        self._nullable = np.array([[feature.nullable] for feature in numbers], dtype=bool)
        self._integers = np.array([place for place, feature in enumerate(numbers) if feature.kind == "integer"], dtype=np.intp)
        self._drops_infinite = [place for place, feature in enumerate(numbers) if feature.drops_infinite]
        self._clipped = [(place, feature) for place, feature in enumerate(numbers) if feature.out_of_range == "clip"]

    def broken(self, values: npt.NDArray[np.float64]) -> list[str]:
        """Clip and drop infinite values in place where features say so, and return the names of those of which some value breaks a rule.

        Parameters
        ----------
        values
            Shape (n_features, n_rows); NaN is a missing value.
        """
        if not len(values):
            return []
        for place in self._drops_infinite:
            values[place][np.isinf(values[place])] = np.nan
        places: set[int] = set()
        fits = (values >= self._low) & (values <= self._high)
        if _FALSE in fits.tobytes():
            fits |= np.isnan(values) & self._nullable
        if _FALSE in fits.tobytes():
            places.update(np.flatnonzero(~fits.all(axis=1)).tolist())
        if len(self._integers):
            integers = values[self._integers]
            is_broken = (integers != np.floor(integers)) & (integers == integers)
            if is_broken.any():
                places.update(self._integers[is_broken.any(axis=1)].tolist())
        for place, feature in self._clipped:
            values[place] = feature.clipped(values[place])
        return [self.names[place] for place in sorted(places)] if places else []


def _bound(feature: Feature, bound: float | None, without: float) -> float:
    return bound if bound is not None and feature.out_of_range == "error" else without


@dataclass(frozen=True, slots=True)
class TextRules:
    """The rules of a ``categorical`` feature: whether it may be missing, its longest text, and all its texts if they are known."""

    nullable: bool
    max_letters: int
    categories: frozenset[str] | None
    missing: frozenset[str]

    @classmethod
    def of(cls, feature: Feature, max_letters: int) -> TextRules:
        """Return the rules of a feature."""
        is_closed = feature.unknown == "error" and feature.categories is not None
        return cls(feature.nullable, max_letters, frozenset(feature.categories or ()) if is_closed else None, feature.missing_texts)

    def without_missing(self, column: Coded) -> Coded:
        """Return a column with None for the words that mean missing.

        Examples
        --------
        >>> rules = TextRules.of(Feature("c", "categorical", missing=("?",)), max_letters=3)
        >>> rules.without_missing(Coded(np.array([0, 1, 2], np.int32), ("a", "?", None)))
        Coded(codes=array([0, 1, 1], dtype=int32), values=('a', None))
        """
        if self.missing.isdisjoint(column.values):
            return column
        blanked = [None if value in self.missing else value for value in column.values]
        places = {value: place for place, value in enumerate(dict.fromkeys(blanked))}
        return Coded(np.array([places[value] for value in blanked], dtype=np.int32)[column.codes], tuple(places))

    def take(self, values: Collection[str | None]) -> bool:
        """Return whether none of the different values of a column breaks a rule.

        Examples
        --------
        >>> rules = TextRules.of(Feature("c", "categorical", nullable=True), max_letters=3)
        >>> rules.take({None, "abc"}), rules.take({"abcd"})
        (True, False)
        """
        texts = [value for value in values if value is not None]
        is_known = self.categories is None or self.categories.issuperset(texts)
        return is_known and (self.nullable or len(texts) == len(values)) and max(map(len, texts), default=0) <= self.max_letters


class FeatureColumns:
    """Reads the features of one schema.

    Parameters
    ----------
    max_letters
        The longest text value of a feature.

    Examples
    --------
    >>> columns = FeatureColumns(Schema((Feature("x", "numeric"), Feature("c", "categorical")), target="y", task="regression"), 100)
    >>> taken, broken = columns.read({"x": np.array([1, 2]), "c": ["a", "a"]}, 2)
    >>> taken["x"].tolist(), taken.coded["c"].values, broken
    ([1.0, 2.0], ('a',), [])
    >>> columns.read({"x": [None], "c": [3]}, 1)
    (None, ['x', 'c'])
    """

    def __init__(self, schema: Schema, max_letters: int) -> None:
        self._features = schema.features
        self._numbers = NumberRules(schema.features)
        self._means_missing = {feature.name: feature.means_missing for feature in schema.features}
        self._texts = {feature.name: TextRules.of(feature, max_letters) for feature in schema.features if feature.kind == "categorical"}

    def read(self, sent: Mapping[str, Values], n_rows: int) -> tuple[BlockColumns | None, list[str]]:
        """Return columns in schema order, or None and the names of those in which some value breaks a rule.

        Parameters
        ----------
        sent
            By name, each of `n_rows` values; a feature that was left out is missing in every row.
        """
        numbers, broken = self._read_numbers(sent, n_rows)
        columns: dict[str, npt.NDArray[Any]] = dict(zip(self._numbers.names, numbers, strict=True))
        coded: dict[str, Coded] = {}
        for feature in self._features:
            name = feature.name
            if feature.kind == "categorical":
                texts = _coded(sent.get(name), n_rows)
                if texts is not None:
                    texts = self._texts[name].without_missing(texts)
                if texts is None or not self._texts[name].take(texts.values):
                    broken.add(name)
                else:
                    coded[name], columns[name] = texts, texts.column()
            elif name not in columns:
                column = flag_or_time_column(feature, sent.get(name, [None] * n_rows))
                if column is None:
                    broken.add(name)
                else:
                    columns[name] = column
        if broken:
            return None, [feature.name for feature in self._features if feature.name in broken]
        return BlockColumns([(feature.name, columns[feature.name]) for feature in self._features], self._numbers.names, numbers, coded), []

    def _read_numbers(self, sent: Mapping[str, Values], n_rows: int) -> tuple[npt.NDArray[np.float64], set[str]]:
        matrix = np.full((len(self._numbers.names), n_rows), np.nan)
        broken = {
            name
            for name, row in zip(self._numbers.names, matrix, strict=True)
            if (values := sent.get(name)) is not None and not _fill(row, values, self._means_missing[name])
        }
        is_large = np.abs(matrix) >= MOST_WHOLE
        if _TRUE in is_large.tobytes():
            broken.update(
                name for name, places in zip(self._numbers.names, is_large, strict=True) if _any_too_large(sent.get(name), places)
            )
        return matrix, broken.union(self._numbers.broken(matrix))


def _fill(row: npt.NDArray[np.float64], values: Values, means_missing: Callable[[str], bool]) -> bool:
    """Write numbers, NaN for null; return whether they are nothing else."""
    numbers = listed_numbers(values) if isinstance(values, list) else values
    if numbers is None and isinstance(values, list):
        numbers = listed_numbers(without_words(values, means_missing))
    if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in "iuf":
        return False
    row[:] = numbers
    return True


def _any_too_large(values: Values | None, places: npt.NDArray[np.bool_]) -> bool:
    """Return whether at some of the places a whole number was sent that a float64 does not tell from the next."""
    if isinstance(values, np.ndarray):
        return values.dtype.kind in "iu" and any(map(is_too_large, values[places].tolist()))
    return values is not None and not isinstance(values, Coded) and any(is_too_large(values[place]) for place in np.flatnonzero(places))


def without_words(values: list[Any], means_missing: Callable[[str], bool] = is_missing_word) -> list[Any]:
    """Return a column with None for the texts that mean missing.

    Examples
    --------
    >>> without_words([1, "NA", "x"])
    [1, None, 'x']
    """
    return [None if type(value) is str and means_missing(value) else value for value in values]


def _coded(values: Values | None, n_rows: int) -> Coded | None:
    if values is None:
        return Coded(np.zeros(n_rows, dtype=np.int32), (None,))
    return listed_texts(values) if isinstance(values, list) else values if isinstance(values, Coded) else None


def flag_or_time_column(feature: Feature, values: Values) -> npt.NDArray[np.float64] | None:
    """Return the column of a ``boolean`` or ``datetime`` feature; None when some value breaks its rules.

    Examples
    --------
    >>> flag_or_time_column(Feature("b", "boolean", nullable=True), [True, None]).tolist()
    [1.0, nan]
    >>> flag_or_time_column(Feature("t", "datetime"), ["1970-01-01T00:00:01", 2.5]).tolist()
    [1.0, 2.5]
    >>> flag_or_time_column(Feature("b", "boolean"), [1]) is None
    True
    """
    column = _flags(uncoded(values)) if feature.kind == "boolean" else _seconds(uncoded(values), feature.times)
    return None if column is None or feature.violations(column) else feature.clipped(column)


def _flags(values: list[Any] | npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64) if values.dtype.kind == "b" else None
    types = set(map(type, values))
    if str in types:
        values = without_words(values)
        types = set(map(type, values))
    return np.array(values, dtype=np.float64) if types <= {bool, _NULL} else None


def _seconds(values: list[Any] | npt.NDArray[Any], times: TimeFormat) -> npt.NDArray[np.float64] | None:
    """Return seconds since 1970, in whole microseconds."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iuf":
            return None
        numbers = values.astype(np.float64)
        scaled, is_time = times.numbers_us(numbers)
        is_time |= np.isnan(numbers)
        return np.where(np.isnan(numbers), np.nan, scaled / 1e6 + 0.0) if bool(is_time.all()) else None  # no negative zero
    if not set(map(type, values)) <= {str, *_NUMBERS, _NULL}:
        return None
    try:
        seconds = _read_once(values, times)
    except ValueError:
        if (without := without_words(values)) == values:
            return None
        return _seconds(without, times)
    return np.array([seconds[value] for value in values], dtype=np.float64)


def _read_once(values: list[Any], times: TimeFormat) -> dict[Any, float]:
    return {value: np.nan if value is None or value != value else instant_us(value, times) / 1e6 for value in set(values)}


def as_booleans(values: list[Any] | npt.NDArray[Any]) -> list[Any] | npt.NDArray[Any]:
    """Read numbers as booleans where the form leaves no other way: 0, 1 and NaN (missing); others stay what they are.

    Examples
    --------
    >>> as_booleans(np.array([0, 1])).tolist(), as_booleans(np.array([1.0, np.nan])), as_booleans([1.0, 2.0, "1"])
    ([False, True], [True, None], [True, 2.0, '1'])
    """
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "b":
            return values
        if bool(((values == 0) | (values == 1)).all()):
            return values.astype(bool)
        values = values.tolist()
    return [_boolean(value) if type(value) in _NUMBERS else value for value in values]


def _boolean(number: float) -> Any:
    return bool(number) if number in (0, 1) else None if number != number else number


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
        known = {value: instant_us(value, time.times) for value in set(values)}
    except ValueError:
        return None
    return np.array([known[value] for value in values], dtype=np.int64)


def _event_us_of_numbers(time: TimeColumn, values: list[Any] | npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    scaled, is_time = microseconds_of(time, numbers)
    return scaled.astype(np.int64) if bool(is_time.all()) else None


def microseconds_of(time: TimeColumn, numbers: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Read numbers as event times in microseconds, and return beside them which are times.

    Examples
    --------
    >>> scaled, is_time = microseconds_of(TimeColumn("at", "timestamp"), np.array([1.5, 1e300]))
    >>> scaled[0].item(), is_time.tolist()
    (1500000.0, [True, False])
    """
    if time.kind == "timestamp":
        return time.times.numbers_us(numbers)
    with np.errstate(over="ignore", invalid="ignore"):
        return to_us(time.origin) + np.rint(numbers * duration_us(time.step)), time.can_map(numbers)
