"""Columns of tables to values: text cells, typed columns and mixed ones, by the one table of spellings; each distinct value once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.schema.rows import object_column
from training.schema.schema import normalise_label
from training.schema.spellings import (
    ACCOUNTING,
    INFINITE,
    MISSING_WORDS,
    MOST_WHOLE,
    PLAIN,
    FileFormat,
    as_float,
    currency_of,
    has_decimal_comma,
    is_accounting,
    is_infinite_word,
    is_missing_word,
    is_too_large,
    number_of,
    plain_minus,
    read_boolean,
    read_number,
)
from training.schema.times import EARLIEST_US, LATEST_US, PART, YEARS, RefusedTimeError, TimeFormat

Values = npt.NDArray[Any]
Column: TypeAlias = pa.ChunkedArray | pd.Series
"""Text cells, or a typed column."""
PLAIN_WORDS = pa.array(sorted({cased for word in MISSING_WORDS for cased in (word, word.upper(), word.title())} | {"NaN", "NaT"}))
"""The words that mean missing, as most tables write them; all other ways to write them are looked up one by one."""


class Converted(NamedTuple):
    """Values as `Columns` has them, and which of them could not be read."""

    values: Values
    bad: npt.NDArray[np.bool_]


def numbers(column: Column, written: str | None = None, files: FileFormat = PLAIN, *, drops_infinite: bool = False) -> Converted:
    """Read numbers: NaN where nothing is known, and on request where one is infinite."""

    def read(value: object) -> float:
        if drops_infinite and (is_infinite_word(value) if isinstance(value, str) else isinstance(value, float) and np.isinf(value)):
            return np.nan
        return _number(value, written, files)

    if isinstance(column, pa.ChunkedArray):
        fast = _plain_numbers(column, files) if written is None else None
        return fast or _each(column, read, np.nan)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        is_bad = np.isinf(values)
        if drops_infinite:
            values, is_bad = np.where(is_bad, np.nan, values), np.zeros(len(values), dtype=bool)
        if pd.api.types.is_integer_dtype(column):
            is_bad |= np.abs(values) > MOST_WHOLE
            edge = np.flatnonzero(np.abs(values) == MOST_WHOLE)
            is_bad[edge] = [is_too_large(int(number)) for number in column.iloc[edge]]
        return Converted(values, is_bad)
    return _each(column, read, np.nan)


def _plain_numbers(column: pa.ChunkedArray, files: FileFormat) -> Converted | None:
    """Read plain numbers at the speed of C; None where one is written in any other way or is very large."""
    if files.thousands is not None:
        return None
    if files.decimal != PLAIN.decimal:
        if pc.any(pc.match_substring(column, ".")).as_py():
            return None
        column = pc.replace_substring(column, files.decimal, ".")
    known = pc.if_else(pc.is_in(column, value_set=PLAIN_WORDS), None, column)
    try:
        read = pc.cast(known, pa.float64())
    except pa.ArrowInvalid:
        return None
    values = read.to_numpy()
    n_unknown = known.null_count
    is_plain = np.abs(values) < MOST_WHOLE  # at the edge the next one reads the same
    return Converted(values, np.zeros(len(values), dtype=bool)) if int(is_plain.sum()) == len(values) - n_unknown else None


def _checked(number: float | None) -> float:
    value = as_float(number)
    if number is not None and (is_too_large(number) or not np.isfinite(value)):
        raise ValueError("a number that cannot be kept")
    return value


def _number(value: object, written: str | None, files: FileFormat) -> float:
    if isinstance(value, str):
        return _checked(read_number(value, written, files))
    if isinstance(value, (bool, np.bool_)):
        raise ValueError("a boolean")
    if isinstance(value, (int, np.integer)):
        return _checked(int(value))
    if isinstance(value, Decimal):
        return _checked(number_of(value))
    if isinstance(value, (float, np.floating)):
        return _checked(float(value))
    raise ValueError("no number")


def booleans(column: Column) -> Converted:
    """Read booleans: 1, 0 and NaN."""
    return _each(column, _boolean, np.nan)


def _boolean(value: object) -> float:
    if isinstance(value, str):
        return as_float(read_boolean(value))
    if isinstance(value, (bool, np.bool_, int, float, np.number, Decimal)) and value in (0, 1):
        return float(value)
    raise ValueError("no boolean")


def times(column: Column, times: TimeFormat) -> Converted:
    """Read times as UTC epoch seconds."""
    if isinstance(column, pa.ChunkedArray):
        fast = _plain_times(column) if times.written is None and times.zone is None else None
        return fast or _each(column, lambda text: np.nan if text.strip().casefold() in MISSING_WORDS else times.cell_us(text) / 1e6, np.nan)
    if pd.api.types.is_datetime64_any_dtype(column):
        return _stamps(column, times)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        scaled, is_time = times.numbers_us(numbers)
        return Converted(np.where(is_time, scaled / 1e6 + 0.0, np.nan), ~is_time & ~np.isnan(numbers))
    return _each(column, lambda value: _time(value, times), np.nan)


def _plain_times(column: pa.ChunkedArray) -> Converted | None:
    """Read the plain forms of ISO 8601 at the speed of C; None where one is written in any other way."""
    known = pc.if_else(pc.is_in(column, value_set=PLAIN_WORDS), None, column)
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            read = pc.cast(known, kind)
        except pa.ArrowInvalid:
            continue
        microseconds = pc.fill_null(pc.cast(read, pa.int64()), 0).to_numpy()
        is_missing = pc.is_null(known).to_numpy()
        is_bad = (microseconds < EARLIEST_US) | (microseconds > LATEST_US)
        return Converted(np.where(is_missing | is_bad, np.nan, microseconds / 1e6), is_bad & ~is_missing)
    return None


def _stamps(column: pd.Series, times: TimeFormat) -> Converted:
    if times.unit is None or (column.dt.tz is None and times.zone is not None):
        return _each(column, lambda value: _time(value, times), np.nan)
    microseconds = (column if column.dt.tz is None else column.dt.tz_convert("UTC").dt.tz_localize(None)).dt.as_unit("us")
    whole = microseconds.astype("int64").to_numpy()
    is_missing = column.isna().to_numpy()
    is_bad = ~is_missing & ((whole < EARLIEST_US) | (whole > LATEST_US))
    return Converted(np.where(is_missing | is_bad, np.nan, whole / 1e6), is_bad)


def _time(value: object, times: TimeFormat) -> float:
    if isinstance(value, str):
        return np.nan if value.strip().casefold() in MISSING_WORDS else times.cell_us(value) / 1e6
    if isinstance(value, (bool, np.bool_)):
        raise ValueError("a boolean")
    if isinstance(value, Decimal):
        return times.number_us(number_of(value)) / 1e6
    if isinstance(value, (int, float, np.number)):
        return times.number_us(value.item() if isinstance(value, np.number) else value) / 1e6
    if isinstance(value, (date, datetime)):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001 - of the zone
        return times.moment_us(moment.to_pydatetime() if isinstance(moment, pd.Timestamp) else moment) / 1e6
    raise ValueError("no time")


def why_no_time(times: TimeFormat, wanted: str) -> Callable[[object], str]:
    """Return what says of a value that is written as a time why it is not taken, if `wanted` does not; empty for all else."""

    def why(value: object) -> str:
        try:
            _time(value, times)
        except RefusedTimeError as error:
            return "" if YEARS in wanted and YEARS in str(error) else f": {error}"
        except (ValueError, TypeError, OverflowError):
            pass
        return ""

    return why


def joined_times(columns: list[Column], times: TimeFormat) -> Converted:
    """Read times of which each of some columns has a part."""
    parts = [column if isinstance(column, pa.ChunkedArray) else _texts(column) for column in columns]
    joined = pc.binary_join_element_wise(*parts, PART)
    return _each(joined, lambda text: times.joined_us(text) / 1e6, np.nan)


def _texts(column: pd.Series) -> pa.ChunkedArray:
    values = _each(column, lambda value: value if isinstance(value, str) else normalise_label(value), "").values
    return pa.chunked_array([pa.array(["" if value is None else value for value in values.tolist()], pa.string())])


def categories(column: Column, missing: tuple[str, ...] = ()) -> Converted:
    """Read categories as texts; None for an empty cell and for the listed words."""
    words = {"", *missing}
    return _each(column, lambda value: None if (text := _category(value)) in words else text, None)


def _category(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return normalise_label(number_of(value))
    if isinstance(value, (bool, int, float, np.bool_, np.number)):
        return normalise_label(value)
    raise ValueError("no text")


def labels(column: Column, missing: tuple[str, ...] = ()) -> Converted:
    """Read classes, each in its one spelling; None for an empty cell and for the listed words."""
    words = {"", *missing}
    return _each(column, lambda value: None if value in words else normalise_label(value), None)


def amounts(column: Column, missing: tuple[str, ...], files: FileFormat) -> Converted:
    """Read a numeric target: as `numbers`, but only an empty cell and the listed words are missing."""
    if not isinstance(column, pa.ChunkedArray) and pd.api.types.is_numeric_dtype(column):
        return numbers(column)
    words = {"", *missing}

    def read(value: object) -> float:
        if isinstance(value, str) and value.strip() in words:
            return np.nan
        number = _number(value, None, files)
        if isinstance(value, str) and np.isnan(number):
            raise ValueError("a word that is not listed")
        return number

    fast = _plain_numbers(column, files) if isinstance(column, pa.ChunkedArray) and not missing and not _has_words(column) else None
    return fast or _each(column, read, np.nan)


def _has_words(column: pa.ChunkedArray) -> bool:
    is_word = pc.and_(pc.is_in(column, value_set=PLAIN_WORDS), pc.not_equal(column, ""))
    return bool(pc.any(is_word).as_py())


def _each(column: Column, convert: Callable[[Any], Any], missing: object) -> Converted:
    """Convert each distinct value once; what raises ValueError is bad."""
    codes, distinct = _coded(column)
    values = object_column([missing] * (len(distinct) + 1))
    is_bad = np.zeros(len(distinct) + 1, dtype=bool)
    for place, value in enumerate(distinct):
        try:
            values[place] = convert(value)
        except (ValueError, TypeError, OverflowError):
            is_bad[place] = True
    kept = values if missing is None or isinstance(missing, str) else values.astype(np.float64)
    return Converted(kept[codes], is_bad[codes])


def _coded(column: Column) -> tuple[npt.NDArray[np.intp], list[Any]]:
    """Return codes into distinct values; -1, the last, for what is not there."""
    if isinstance(column, pa.ChunkedArray):
        encoded = column.dictionary_encode().unify_dictionaries()
        if not encoded.num_chunks:
            return np.zeros(0, dtype=np.intp), []
        parts = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
        return np.concatenate(parts).astype(np.intp), encoded.chunk(0).dictionary.to_pylist()
    try:
        codes, distinct = pd.factorize(column)
    except TypeError:  # lists and the like
        listed = column.tolist()
        return np.arange(len(listed), dtype=np.intp), listed
    return codes.astype(np.intp), list(distinct)


def hint_for(column: Column, rows: Values, kind: str, files: FileFormat) -> str:
    """Say how to write in the model file what is written in another way than it says; empty when nobody knows."""
    first = [column[int(row)].as_py() if isinstance(column, pa.ChunkedArray) else column.iloc[int(row)] for row in rows[:20]]
    texts = [value for value in first if isinstance(value, str)]
    if kind == "datetime":
        return _hint_for_times(first)
    if kind not in ("numeric", "integer", "target") or not first:
        return ""
    if texts and files.decimal == "." and all(map(has_decimal_comma, texts)):
        return "; with decimal commas, write read: {decimal: ','}"
    if texts and all(text.strip().endswith("%") for text in texts):
        return "; with signs of percent, write format: percent"
    if texts and all(map(is_infinite_word, texts)):
        return f"; for infinite values to be missing, write missing: [{INFINITE}]"
    if texts and len(currencies := set(map(currency_of, texts))) == 1 and (currency := currencies.pop()):
        return f"; with signs of a currency, write format: '{currency}'"
    if kind != "target" and texts and all(map(is_accounting, texts)):
        return f"; if brackets, or a minus behind, mean a negative number, write format: {ACCOUNTING}"
    if kind == "target" and texts and all(map(is_missing_word, texts)):
        return "; if these words mean not known, list them as missing: beside target:"
    if all(_is_large(value) for value in first):
        return f" up to {MOST_WHOLE}, beyond which digits are lost; make it categorical to keep them"
    return ""


def _is_large(value: object) -> bool:
    try:
        return abs(_number(value, None, PLAIN)) > MOST_WHOLE
    except ValueError:
        return isinstance(value, (str, int, np.integer)) and plain_minus(str(value).strip()).lstrip("+-").isdigit()


def _hint_for_times(values: list[Any]) -> str:
    for written in ("epoch_ms", "epoch_us", "epoch_ns"):
        if values and not any(np.isnan(_seconds_or_nan(value, TimeFormat(written))) for value in values):
            return f"; if these are numbers since 1970, write format: {written}"
    return ""


def _seconds_or_nan(value: object, times: TimeFormat) -> float:
    try:
        return _time(value, times)
    except (ValueError, TypeError, OverflowError):
        return np.nan
