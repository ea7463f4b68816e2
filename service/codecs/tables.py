"""Tables in their many encodings (CSV, split, columnar JSON, lists of lists) to columns as `ColumnReader` takes them.

Nothing is judged here: text becomes what its column wants where it can, and stays what it is where it cannot.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.columns.feature_columns import as_booleans
from service.columns.values import Values, shown, uncoded
from service.errors import InvalidRowsError, Problem, TooManyRowsError, UnreadableBodyError
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.spellings import PLAIN, is_missing_word, other_delimiter, read_boolean, read_number
from training.schema.times import TimeFormat

NO_ROWS = "there are no rows in this request"
_FEW = 20  # of which looking up what was seen costs more than reading it again
_ENDLESS = {f"{sign}{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in ("inf", "infinity")}


@dataclass(frozen=True, slots=True)
class SentTable:
    """Columns of equal length, by name, as they were sent."""

    columns: dict[str, Values]
    n_rows: int


def from_lists(rows: Sequence[Any], names: Sequence[str] | None, schema: Schema, max_rows: int) -> SentTable:
    """Read rows that are lists, in the order of `names` (else in that of `Schema.request_names`).

    Without names a boolean may be 0 or 1, as numpy writes it.

    Raises
    ------
    InvalidRowsError
        Rows that are no list or of another length, each named.
    UnreadableBodyError
        There are no rows, or two columns have one name.
    TooManyRowsError
        More rows than `max_rows`.
    """
    wanted = unique(list(schema.request_names if names is None else names))
    _check_count(len(rows), max_rows)
    width = len(wanted)
    wrong = [row for row, content in enumerate(rows) if not isinstance(content, list) or len(content) != width]
    if wrong:
        want = f"a list of {width}: {', '.join(wanted)[:300]}"
        problems = [Problem(row, "", "type", shown(rows[row]), want) for row in wrong[:100]]
        raise InvalidRowsError(problems, len(wrong), {("", "type"): len(wrong)})
    columns: dict[str, Values] = {name: list(values) for name, values in zip(wanted, zip(*rows, strict=True), strict=True)}
    if names is None:
        columns |= {name: as_booleans(uncoded(columns[name])) for name in wanted if _kind(name, schema) == "boolean"}
    return SentTable(columns, len(rows))


def from_instances(content: Any, schema: Schema, max_rows: int) -> SentTable | list[Any]:
    """Read what ``instances`` and ``inputs`` may hold: rows as objects or lists, one value a row, or a list a column.

    Returns
    -------
    A list when the rows are objects; errors are those of `from_lists` and `from_columns`.
    """
    if isinstance(content, dict):
        return from_columns(content, max_rows)
    if not isinstance(content, list):
        raise UnreadableBodyError(f"the instances must be a list of rows, or an object of columns, got {shown(content)}")
    _check_count(len(content), max_rows)
    if isinstance(content[0], dict):
        return content
    is_flat = len(schema.request_names) == 1 and not isinstance(content[0], list)
    return from_lists([[value] for value in content] if is_flat else content, None, schema, max_rows)


def from_columns(content: Mapping[str, Any], max_rows: int) -> SentTable:
    """Read columnar JSON: a list a column.

    Raises
    ------
    UnreadableBodyError
        A column is no list, or they differ in length, or there are no rows.
    TooManyRowsError
        More rows than `max_rows`.
    """
    for name, values in content.items():
        if not isinstance(values, list):
            raise UnreadableBodyError(f"column {name[:100]!r} must be a list, got {shown(values)}")
    lengths = {len(values) for values in content.values()}
    if len(lengths) > 1:
        listing = ", ".join(f"{name[:100]!r} has {len(values)}" for name, values in list(content.items())[:20])
        raise UnreadableBodyError(f"all columns must have the same number of values: {listing}")
    n_rows = lengths.pop() if lengths else 0
    _check_count(n_rows, max_rows)
    return SentTable(dict(content), n_rows)


def from_csv(body: bytes, schema: Schema, max_rows: int) -> SentTable:
    """Read CSV in UTF-8 with a header; an empty cell is a missing value.

    Raises
    ------
    UnreadableBodyError
        It is not that.
    InvalidRowsError
        Rows with more or fewer cells than the header.
    TooManyRowsError
        More rows than `max_rows`.

    Examples
    --------
    >>> from training.schema.feature import Feature
    >>> schema = Schema((Feature("n", "numeric"), Feature("code", "categorical")), target="y", task="regression")
    >>> from_csv(b"code,n\\n001,1.5\\n,x\\n", schema, 10).columns
    {'code': ['001', None], 'n': [1.5, 'x']}
    """
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(filter(None, lines), [])
        rows = []
        for line in lines:
            if line:
                rows.append(line)
                _check_count(len(rows), max_rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableBodyError(f"the body is not CSV in UTF-8: {str(error)[:200]}") from None
    _refuse_other_delimiter(header, schema)
    table = from_lists(rows, header, schema, max_rows)
    columns: dict[str, Values] = {name: typed_text([cell or None for cell in cells], name, schema) for name, cells in table.columns.items()}
    return SentTable(columns, table.n_rows)


def _refuse_other_delimiter(header: list[str], schema: Schema) -> None:
    other = other_delimiter(header, PLAIN.delimiter, schema.request_names)
    if other is not None:
        raise UnreadableBodyError(f"the cells of this body are separated by {other[1]}; send commas")


def typed_text(values: Sequence[Any], name: str, schema: Schema) -> list[Any]:
    """Turn text cells into what their column wants, each distinct one once; what cannot be turned stays text, to be refused by name."""
    turn = _turn(name, schema)
    if turn is None:
        return list(values)
    if len(values) < _FEW:
        return [_turned(value, turn) if type(value) is str else value for value in values]
    known = {text: _turned(text, turn) for text in {value for value in values if type(value) is str}}
    return [known[value] if type(value) is str else value for value in values]


def _turned(text: str, turn: Callable[[str], Any]) -> Any:
    try:
        return turn(text)
    except ValueError:
        return _ENDLESS.get(text.strip().casefold(), text)


def unique(names: list[str]) -> list[str]:
    """Return the names back; UnreadableBodyError when one stands twice."""
    if len(set(names)) != len(names):
        twice = min(name for name, times in Counter(names).items() if times > 1)
        raise UnreadableBodyError(f"two columns are called {str(twice)[:100]!r}")
    return names


def _check_count(n_rows: int, max_rows: int) -> None:
    if n_rows == 0:
        raise UnreadableBodyError(NO_ROWS)
    if n_rows > max_rows:
        raise TooManyRowsError(f"more than {max_rows} rows in one request; that is the limit")


def _kind(name: str, schema: Schema) -> str:
    return schema.feature(name).kind if name in schema.by_name else "text"


def _turn(name: str, schema: Schema) -> Callable[[str], Any] | None:
    """Return how the text cells of a column are read; None when they stay text."""
    feature, time = schema.by_name.get(name), schema.event_time
    if feature is None and time is not None and name == time.column:
        return read_number if time.kind == "ordinal" else partial(_time_cell, time.times)
    match feature and feature.kind:
        case "numeric" | "integer":
            return partial(_number_cell, feature) if feature and (feature.format or feature.missing) else read_number
        case "boolean":
            return read_boolean
        case "datetime":
            return partial(_time_cell, feature.times) if feature else None
        case _:
            return None


def _number_cell(feature: Feature, text: str) -> Any:
    number = None if feature.means_missing(text) else read_number(text, feature.format)
    if feature.drops_infinite and isinstance(number, float) and math.isinf(number):
        raise ValueError("a number that cannot be kept, which is not an infinite one")
    return number


def _time_cell(times: TimeFormat, text: str) -> Any:
    """Return a time as the text or the number that JSON would have; a word that means missing as null."""
    if is_missing_word(text):
        return None
    number = times.number_in(text)
    return text if number is None else number
