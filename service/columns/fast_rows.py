"""The short way for rows with nothing wrong in them: read straight into typed records, all numbers in one matrix.

msgspec reads JSON into records of a type made from the schema, checking as it goes, in less time than it takes to read it into
dictionaries. It takes less than `service.columns.reader` does and never explains: whatever is not plainly right goes the long way.
So do all rows of a schema with a name that JSON must escape, which msgspec knows no record for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from service.columns.feature_columns import NumberRules, TextRules, event_us_of, flag_or_time_column
from service.columns.values import OWN_ID, own_id
from training.schema.rows import BlockColumns
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

_TYPES: dict[str, Any] = {"numeric": float, "integer": float, "boolean": bool, "categorical": str, "datetime": str | int | float}
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_TIMES: dict[str, Any] = {"timestamp": str | int | float, "ordinal": int | float}


class ReadRows(NamedTuple):
    """Valid rows: columns in schema order, event times where the schema has them, the callers' own ids where there are any."""

    columns: BlockColumns
    event_us: npt.NDArray[np.int64] | None
    own_ids: list[str | None] | None


class TypedRows:
    """Reads rows of one schema.

    Parameters
    ----------
    time
        The column of event times; None when rows have none.
    silent
        A column that is neither used nor complained of.
    max_letters
        The longest text value of a feature.

    Examples
    --------
    >>> from training.schema.feature import Feature
    >>> rows = TypedRows(Schema((Feature("x", "numeric"), Feature("c", "categorical")), target="y", task="regression"), None, None, 100)
    >>> rows.decode(b'{"rows": [{"x": 1, "c": "a"}]}', max_rows=10).columns["x"].tolist()
    [1.0]
    >>> rows.decode(b'{"rows": [{"x": null, "c": "a"}]}', max_rows=10) is None, rows.convert([{"x": 1}]) is None
    (True, True)
    """

    def __init__(self, schema: Schema, time: TimeColumn | None, silent: str | None, max_letters: int) -> None:
        self._time = time
        fields: dict[str, Any] = {OWN_ID: (str | int | float | None, None)}
        if silent is not None:
            fields[silent] = (str | int | float | bool | None, None)
        if time is not None:
            fields[time.column] = (_TIMES[time.kind],)
        for feature in schema.features:
            wanted = _TYPES[feature.kind]
            fields[feature.name] = (wanted | None, None) if feature.nullable else (wanted,)
        names = {name: f"f{place}" for place, name in enumerate(fields)}
        self._rows: Any = None
        self._decoder: Any = None
        if not any(map(_ESCAPED.search, names)):
            self._rows = list[_record_type(fields, names)]  # type: ignore[misc]
            envelope = msgspec.defstruct("Envelope", [("rows", self._rows)], forbid_unknown_fields=True, gc=False)
            self._decoder = msgspec.json.Decoder(envelope)
        self._numbers = NumberRules(schema.features, all_exact=True)
        texts = [feature for feature in schema.features if feature.kind == "categorical"]
        others = [feature for feature in schema.features if feature.kind in ("boolean", "datetime")]
        self._max_letters = max_letters
        self._n_texts = len(texts)
        closed = ((place, TextRules.of(feature, max_letters).categories) for place, feature in enumerate(texts))
        self._closed = [(place, categories) for place, categories in closed if categories is not None]
        self._missing = [(place, feature.missing_texts) for place, feature in enumerate(texts) if feature.missing]
        self._get_numbers = _getter([names[name] for name in self._numbers.names])
        self._get_texts = _getter([names[feature.name] for feature in texts])
        self._others = [(feature, attrgetter(names[feature.name])) for feature in others]
        self._get_time = None if time is None else attrgetter(names[time.column])
        self._get_own_id = attrgetter(names[OWN_ID])
        order = [*self._numbers.names, *(feature.name for feature in (*texts, *others))]
        self._names = [feature.name for feature in schema.features]
        self._places = [order.index(name) for name in self._names]

    def decode(self, body: bytes, max_rows: int) -> ReadRows | None:
        """Read ``{"rows": [...]}``; None when it is something else, or a value or the number of rows is not plainly right."""
        if self._decoder is None:
            return None
        try:
            rows = self._decoder.decode(body).rows
        except (ValueError, RecursionError):
            return None
        return self._read(rows) if 0 < len(rows) <= max_rows else None

    def convert(self, rows: Sequence[Any]) -> ReadRows | None:
        """Read rows that are dictionaries already; None as for `decode`."""
        try:
            return self._read(msgspec.convert(rows, self._rows)) if rows and self._rows is not None else None
        except (ValueError, RecursionError):
            return None

    def _read(self, rows: Sequence[Any]) -> ReadRows | None:
        numbers = self._read_numbers(rows)
        texts = None if numbers is None else self._read_texts(rows)
        if numbers is None or texts is None:
            return None
        columns: list[Any] = [*numbers, *texts]
        for feature, get in self._others:
            columns.append(flag_or_time_column(feature, list(map(get, rows))))
            if columns[-1] is None:
                return None
        event_us = None
        if self._time is not None and self._get_time is not None:
            event_us = event_us_of(self._time, list(map(self._get_time, rows)))
            if event_us is None:
                return None
        try:
            own_ids = self._read_own_ids(rows)
        except ValueError:
            return None
        named = zip(self._names, [columns[place] for place in self._places], strict=True)
        return ReadRows(BlockColumns(named, self._numbers.names, numbers), event_us, own_ids)

    def _read_own_ids(self, rows: Sequence[Any]) -> list[str | None] | None:
        sent = list(map(self._get_own_id, rows))
        return None if sent.count(None) == len(sent) else [own_id(value) for value in sent]

    def _read_numbers(self, rows: Sequence[Any]) -> npt.NDArray[np.float64] | None:
        if not self._numbers.names:
            return np.empty((0, len(rows)))
        values = np.array(list(map(self._get_numbers, rows)), dtype=np.float64).T
        matrix = values if len(rows) == 1 else np.ascontiguousarray(values)
        return None if self._numbers.broken(matrix) else matrix

    def _read_texts(self, rows: Sequence[Any]) -> npt.NDArray[Any] | None:
        block: npt.NDArray[Any] = np.empty((self._n_texts, len(rows)), dtype=object)
        if not self._n_texts:
            return block
        texts = list(map(self._get_texts, rows))
        if max(map(len, filter(None, chain.from_iterable(texts))), default=0) > self._max_letters:
            return None
        columns: list[Any] = list(zip(*texts, strict=True))
        if "" in chain.from_iterable(texts) or any(not words.isdisjoint(columns[place]) for place, words in self._missing):
            return None
        if not all(categories.issuperset(set(columns[place]) - {None}) for place, categories in self._closed):
            return None
        block[:] = columns
        return block


def _record_type(fields: Mapping[str, tuple[Any, ...]], names: Mapping[str, str]) -> Any:
    return msgspec.defstruct(
        "Row",
        [(names[name], *field) for name, field in fields.items()],
        rename={field: name for name, field in names.items()},
        kw_only=True,
        forbid_unknown_fields=True,
        gc=False,
    )


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        get = attrgetter(names[0])
        return lambda row: (get(row),)
    return attrgetter(*names) if names else (lambda row: ())
