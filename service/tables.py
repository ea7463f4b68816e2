"""Tables in their many encodings (CSV, split, columnar JSON, lists of lists) to columns as `ColumnReader` takes them.

Nothing is judged here: text becomes what its column wants where it can, and stays what it is where it cannot.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import InvalidRowsError, Problem, TooManyRowsError, UnreadableBodyError
from service.feature_columns import Values, as_truth, uncoded
from service.payloads import shown
from training.schema import Schema

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DAY = re.compile(r"\d{8}", re.ASCII)
_ODD_NUMBERS = {"nan": float("nan"), "inf": float("inf"), "infinity": float("inf"), "-inf": -float("inf"), "-infinity": -float("inf")}
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


@dataclass(frozen=True, slots=True)
class SentTable:
    """Columns of equal length, by name, as they were sent."""

    columns: dict[str, Values]
    n_rows: int


def from_lists(rows: Sequence[Any], names: Sequence[str] | None, schema: Schema, max_rows: int) -> SentTable:
    """Read rows that are lists, in the order of `names` (else in that of `Schema.request_names`).

    Without names a truth value may be 0 or 1, as numpy writes it.

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
        columns |= {name: as_truth(uncoded(columns[name])) for name in wanted if _kind(name, schema) == "boolean"}
    return SentTable(columns, len(rows))


def from_instances(content: Any, schema: Schema, max_rows: int) -> SentTable | list[Any]:
    """Read what ``instances`` and ``inputs`` may hold: rows as objects or lists, one value a row, or a list a column.

    Returns
    -------
    SentTable or list
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
        told = ", ".join(f"{name[:100]!r} has {len(values)}" for name, values in list(content.items())[:20])
        raise UnreadableBodyError(f"all columns must have the same number of values: {told}")
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
    >>> from training.schema import Feature
    >>> schema = Schema((Feature("n", "numeric"), Feature("code", "categorical")), target="y", task="regression")
    >>> from_csv(b"code,n\\n001,1.5\\n,x\\n", schema, 10).columns
    {'code': ['001', None], 'n': [1.5, 'x']}
    """
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        rows = []
        for line in lines:
            if line:
                rows.append(line)
                _check_count(len(rows), max_rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableBodyError(f"the body is not CSV in UTF-8: {str(error)[:200]}") from None
    table = from_lists(rows, header, schema, max_rows)
    columns: dict[str, Values] = {name: typed_text([cell or None for cell in cells], name, schema) for name, cells in table.columns.items()}
    return SentTable(columns, table.n_rows)


def typed_text(values: Sequence[Any], name: str, schema: Schema) -> list[Any]:
    """Turn text into what its column wants; what cannot be turned stays text, for the reader to refuse by name."""
    turn = _TURN.get(_kind(name, schema))
    return [turn(value) if isinstance(value, str) else value for value in values] if turn else list(values)


def unique(names: list[str]) -> list[str]:
    """Give the names back; UnreadableBodyError when one stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) != len(names) else []
    if twice:
        raise UnreadableBodyError(f"two columns are called {str(twice[0])[:100]!r}")
    return names


def _check_count(n_rows: int, max_rows: int) -> None:
    if n_rows == 0:
        raise UnreadableBodyError("there are no rows in this request")
    if n_rows > max_rows:
        raise TooManyRowsError(f"more than {max_rows} rows in one request; that is the limit")


def _kind(name: str, schema: Schema) -> str:
    if name in schema.by_name:
        return schema.feature(name).kind
    time = schema.event_time
    if time is None or name != time.column:
        return "text"
    return "datetime" if time.kind == "timestamp" else "numeric"


def _number(text: str) -> Any:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else _ODD_NUMBERS.get(text.lower(), text)


def _instant(text: str) -> Any:
    return text if _DAY.fullmatch(text) else _number(text)


def _truth(text: str) -> Any:
    return _TRUTH.get(text.lower(), text)


_TURN = {"numeric": _number, "integer": _number, "boolean": _truth, "datetime": _instant}
