"""Rows of a request to columns: a whole column at a time, and explained only when something is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from service.columns.explaining import EXTRA, Explainer, SentColumns, SentRows
from service.columns.fast_rows import ReadRows, TypedRows
from service.columns.feature_columns import FeatureColumns, event_us_of
from service.columns.values import OWN_ID, Values, own_id, uncoded
from service.errors import InvalidRowsError
from training.schema.feature import MAX_LETTERS
from training.schema.rows import Columns, count_rows
from training.schema.schema import Schema


class Table(NamedTuple):
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
    >>> from training.schema.feature import Feature
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
        self._explainer = Explainer(schema, max_letters, frozenset([self._silent]))
        self._fields = self._explainer.fields
        self._typed = TypedRows(schema, self._time, self._silent, max_letters)
        self._features = FeatureColumns(schema, max_letters)
        self._known = self._explainer.known

    def read(self, rows: Sequence[Any], *, was_tried: bool = False) -> Table:
        """Turn rows into columns in schema order.

        Parameters
        ----------
        was_tried
            Whether `read_json` has found already that they are not plainly right.

        Raises
        ------
        InvalidRowsError
            Naming every bad value (the first 100; all are counted).
        """
        table, suspects = self.try_read(rows, was_tried=was_tried)
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
        ignored = {name: n_rows for name in sent if name not in self._known}
        table, suspects = self._table(sent, n_rows, ignored)
        if table is None:
            raise self._explainer.explain(SentColumns(sent, n_rows), suspects)
        return table

    def try_read(self, rows: Sequence[Any], *, was_tried: bool = False) -> tuple[Table | None, list[str]]:
        """Turn rows into columns, or return the names of the fields in which something is wrong; `was_tried` as for `read`."""
        if set(map(type, rows)) != {dict}:
            return None, [*self._fields, EXTRA] if self._schema.extra == "error" else list(self._fields)
        plain = None if was_tried else self._typed.convert(rows)
        if plain is not None:
            return _table_of(plain), []
        sent = SentRows(rows)
        ignored = {name: count for name, count in sent.present.items() if name not in self._known}
        columns = {name: values for name in self._fields if (values := sent.column(name, None)) is not None}
        return self._table(columns, len(rows), ignored)

    def _table(self, sent: Mapping[str, Values], n_rows: int, ignored: dict[str, int]) -> tuple[Table | None, list[str]]:
        columns, suspects = self._features.read(sent, n_rows)
        event_us = None
        if self._time is not None:
            times = sent.get(self._time.column)
            event_us = None if times is None else event_us_of(self._time, times)
            if event_us is None and self._time.column not in suspects:
                suspects.append(self._time.column)
        own_ids = _own_ids(sent.get(OWN_ID))
        if own_ids is None:
            suspects.append(OWN_ID)
        if ignored and self._schema.extra == "error":
            suspects.append(EXTRA)
        if columns is None or suspects:
            return None, suspects
        return Table(columns, event_us, own_ids if own_ids and any(own_ids) else None, ignored, n_rows), []

    def explain(self, rows: Sequence[Any], suspects: Sequence[str]) -> InvalidRowsError:
        """Count every bad value in the suspected fields, and name the first."""
        return self._explainer.explain(SentRows(rows), suspects)

    def hint(self, name: str) -> str:
        """Suggest the column that an unknown name may stand for."""
        return self._explainer.hint(name)


def _table_of(plain: ReadRows) -> Table:
    n_rows = count_rows(plain.columns)
    return Table(plain.columns, plain.event_us, plain.own_ids, {}, n_rows)


def _own_ids(values: Values | None) -> list[str | None] | None:
    try:
        return [] if values is None else [own_id(value) for value in _listed(values)]
    except ValueError:
        return None


def _listed(values: Values) -> list[Any]:
    plain = uncoded(values)
    return plain if isinstance(plain, list) else plain.tolist()
