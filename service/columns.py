"""Rows of a request to columns: a whole column at a time, explained value by value only when something is wrong."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import marshmallow as ma
import numpy as np
import numpy.typing as npt

from service.column_block import FEW, ColumnBlock
from service.errors import InvalidRowsError, Problem
from service.feature_columns import Values, event_us_of, listed_column, sent_column, uncoded
from service.payloads import OWN_ID, own_id, shown
from service.row_fields import MAX_LETTERS, row_fields
from service.typed_rows import ReadRows, TypedRows
from training.rows import Columns
from training.schema import Schema

MAX_LISTED = 100
EXTRA = "(extra)"


@dataclass(frozen=True, slots=True)
class Table:
    """Valid rows in columns.

    `event_us` is None when model time is the time of arrival; `ignored` counts values of columns the schema does not
    know, by name.
    """

    columns: Columns
    event_us: npt.NDArray[np.int64] | None
    own_ids: list[str | None] | None
    ignored: dict[str, int]
    n_rows: int


class ColumnReader:
    """Reads rows of one schema.

    Parameters
    ----------
    max_letters
        The longest text value of a feature.

    Examples
    --------
    >>> from training.schema import Feature
    >>> reader = ColumnReader(Schema((Feature("x", "numeric", nullable=True),), target="y", task="regression"))
    >>> reader.read([{"x": 1}, {}]).columns["x"].tolist()
    [1.0, nan]
    >>> reader.read([{"x": "1"}])
    Traceback (most recent call last):
    service.errors.InvalidRowsError: row 0, field 'x': got '1', want a number or null
    """

    def __init__(self, schema: Schema, max_letters: int = MAX_LETTERS) -> None:
        self._schema = schema
        self.max_letters = max_letters
        self._time = schema.event_time
        self._silent = schema.time.column if schema.time is not None and schema.time.clock == "arrival" else None
        self._fields = row_fields(schema, OWN_ID, max_letters)
        self._typed = TypedRows(schema, self._time, self._silent, max_letters)
        self._column_block = ColumnBlock(schema, max_letters)
        self._features = [(feature, itemgetter(feature.name)) for feature in schema.features]

    def read(self, rows: Sequence[Any]) -> Table:
        """Turn rows into columns in schema order.

        Raises
        ------
        InvalidRowsError
            Naming every bad value (the first 100; all are counted).
        """
        table, suspects = self.try_read(rows)
        if table is None:
            raise self.explain(rows, suspects)
        return table

    def read_json(self, body: bytes, max_rows: int) -> Table | None:
        """Read the JSON ``{"rows": [...]}`` if nothing at all is wrong with it; else None: read it the long way and see."""
        plain = self._typed.decode(body, max_rows)
        return None if plain is None else _table_of(plain)

    def read_columns(self, sent: Mapping[str, Values], n_rows: int) -> Table:
        """Turn columns of equal length, in any order, into columns in schema order.

        Takes and refuses what `read` does for the same table written as rows, with the same words.

        Raises
        ------
        InvalidRowsError
            As for `read`.
        """
        suspects: list[str] = []
        columns: Columns | None = self._column_block.read(sent, n_rows) if n_rows > FEW else None
        if columns is None:
            columns = self._each_column(sent, n_rows, suspects)
        event_us = self._sent_time(sent, suspects)
        own_ids = _sent_own_ids(sent.get(OWN_ID))
        if own_ids is None:
            suspects.append(OWN_ID)
        ignored = {name: n_rows for name in sent if name not in self._fields and name != self._silent}
        if ignored and self._schema.extra == "error":
            suspects.append(EXTRA)
        if suspects:
            needed = {name: values for name, values in sent.items() if name in suspects or name not in self._fields}
            raise self.explain(_rows_of(needed, n_rows), suspects)
        return Table(columns, event_us, own_ids if own_ids and any(own_ids) else None, ignored, n_rows)

    def _each_column(self, sent: Mapping[str, Values], n_rows: int, suspects: list[str]) -> Columns:
        """Read column by column, noting the names of those in which something is wrong."""
        columns: Columns = {}
        for feature, _ in self._features:
            column = sent_column(feature, sent.get(feature.name), n_rows, self.max_letters)
            if column is None:
                suspects.append(feature.name)
            else:
                columns[feature.name] = column
        return columns

    def _sent_time(self, sent: Mapping[str, Values], suspects: list[str]) -> npt.NDArray[np.int64] | None:
        if self._time is None:
            return None
        values = sent.get(self._time.column)
        event_us = None if values is None else event_us_of(self._time, values)
        if event_us is None and self._time.column not in suspects:
            suspects.append(self._time.column)
        return event_us

    def try_read(self, rows: Sequence[Any]) -> tuple[Table | None, list[str]]:
        """Turn rows into columns, or give the names of the fields in which something is wrong."""
        if set(map(type, rows)) != {dict}:
            return None, [*self._fields, EXTRA] if self._schema.extra == "error" else list(self._fields)
        plain = self._typed.convert(rows)
        if plain is not None:
            return _table_of(plain), []
        suspects: list[str] = []
        columns, present = self._read_each(rows, suspects)
        event_us, found = self._read_time(rows, suspects)
        own_ids, ignored = self._read_rest(rows, present + found, suspects)
        if suspects:
            return None, suspects
        return Table(columns, event_us, own_ids, ignored, len(rows)), []

    def _read_each(self, rows: Sequence[Any], suspects: list[str]) -> tuple[Columns, int]:
        """Read column by column, noting the names of those in which something is wrong; give how many values there were, too."""
        columns: Columns = {}
        present = 0
        for feature, get in self._features:
            values, found = _values(rows, feature.name, get, feature.nullable)
            present += found
            column = None if values is None else listed_column(feature, values, self.max_letters)
            if column is None:
                suspects.append(feature.name)
            else:
                columns[feature.name] = column
        return columns, present

    def explain(self, rows: Sequence[Any], suspects: Sequence[str]) -> InvalidRowsError:
        """Name every bad value in the suspected fields."""
        problems: list[Problem] = []
        counts: Counter[tuple[str, str]] = Counter()
        for problem in self._problems(rows, suspects):
            kind = (problem.field if problem.code != "extra_field" else EXTRA, problem.code)
            counts[kind] += 1
            if counts[kind] <= MAX_LISTED:
                problems.append(problem)
        problems.sort(key=lambda problem: -1 if problem.row is None else problem.row)
        return InvalidRowsError(problems[:MAX_LISTED], counts.total(), dict(counts))

    def _problems(self, rows: Sequence[Any], suspects: Sequence[str]) -> Any:
        for row, content in enumerate(rows):
            if not isinstance(content, dict):
                yield Problem(row, "", "type", shown(content), "an object: name to value")
        for name in suspects:
            if name == EXTRA:
                yield from self._extra_problems(rows)
                continue
            field = self._fields[name]
            for row, content in enumerate(rows):
                if isinstance(content, dict):
                    try:
                        field.deserialize(content.get(name, ma.missing))
                    except ma.ValidationError as error:
                        yield Problem(row, name, **self._with_hint(error.messages, content))

    def _with_hint(self, parts: Any, content: dict[str, Any]) -> dict[str, str]:
        if parts["code"] != "missing_field":
            return dict(parts)
        near = [name for name in content if name not in self._fields]
        return {**parts, "got": f"nothing, but {', '.join(map(shown, near[:3]))}"} if near else dict(parts)

    def _extra_problems(self, rows: Sequence[Any]) -> Any:
        for row, content in enumerate(rows):
            if isinstance(content, dict):
                for name in content:
                    if name not in self._fields and name != self._silent:
                        yield Problem(row, name[:MAX_LISTED], "extra_field", shown(content[name]), f"no such column{self.hint(name)}")

    def hint(self, name: str) -> str:
        """Suggest the column that an unknown name may stand for."""
        near = difflib.get_close_matches(name[:MAX_LISTED], list(self._fields), n=1, cutoff=0.6)
        return f"; did you mean {near[0]!r}?" if near else ""

    def _read_time(self, rows: Sequence[Any], suspects: list[str]) -> tuple[npt.NDArray[np.int64] | None, int]:
        if self._time is None:
            return None, 0
        name = self._time.column
        is_feature = name in self._schema.by_name
        values, found = _values(rows, name, itemgetter(name), nullable=False)
        event_us = None if values is None else event_us_of(self._time, values)
        if event_us is None and name not in suspects:
            suspects.append(name)
        return event_us, 0 if is_feature else found

    def _read_rest(self, rows: Sequence[Any], present: int, suspects: list[str]) -> tuple[list[str | None] | None, dict[str, int]]:
        """Read own ids and count what nobody asked for; nothing to do when every key is accounted for."""
        if sum(map(len, rows)) == present:
            return None, {}
        own_ids = _own_ids(rows)
        if own_ids is None:
            suspects.append(OWN_ID)
        ignored = Counter(name for row in rows for name in row if name not in self._fields and name != self._silent)
        if ignored and self._schema.extra == "error":
            suspects.append(EXTRA)
        return own_ids if own_ids and any(own_ids) else None, dict(ignored)


def _table_of(plain: ReadRows) -> Table:
    n_rows = len(next(iter(plain.columns.values())))
    return Table(plain.columns, plain.event_us, plain.own_ids, {}, n_rows)


def _values(rows: Sequence[Any], name: str, get: Any, nullable: bool) -> tuple[list[Any] | None, int]:
    """Give one value a row and how many rows have it; None when one lacks it and must not."""
    try:
        return list(map(get, rows)), len(rows)
    except KeyError:
        found = sum(name in row for row in rows)
        return ([row.get(name) for row in rows] if nullable else None), found


def _own_ids(rows: Sequence[Any]) -> list[str | None] | None:
    try:
        return [own_id(row.get(OWN_ID)) for row in rows]
    except ValueError:
        return None


def _sent_own_ids(values: Values | None) -> list[str | None] | None:
    try:
        return [] if values is None else [own_id(value) for value in _listed(values)]
    except ValueError:
        return None


def _rows_of(sent: Mapping[str, Values], n_rows: int) -> list[dict[str, Any]]:
    columns = [_listed(values) for values in sent.values()]
    return [dict(zip(sent, row, strict=True)) for row in zip(*columns, strict=True)] or [{} for _ in range(n_rows)]


def _listed(values: Values) -> list[Any]:
    plain = uncoded(values)
    return plain if isinstance(plain, list) else plain.tolist()
