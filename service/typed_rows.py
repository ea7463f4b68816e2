"""The short way for rows with nothing wrong in them: read straight into typed records, all numbers in one matrix.

msgspec reads JSON into records of a type made from the schema, checking as it goes, in less time than it takes to read it into
dictionaries. It takes less than `service.columns` does and never explains: whatever is not plainly right goes the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from service.feature_columns import event_us_of, listed_column
from service.number_rules import NumberRules
from service.payloads import OWN_ID, own_id
from training.rows import BlockColumns
from training.schema import Feature, Schema, TimeColumn

_TYPES: dict[str, Any] = {"numeric": float, "integer": float, "boolean": bool, "categorical": str, "datetime": str | int | float}
_TIMES: dict[str, Any] = {"timestamp": str | int | float, "ordinal": int | float}
_NUMBERS, _WORDS = ("numeric", "integer"), ("categorical",)
_Get = Callable[[Any], tuple[Any, ...]]


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
    >>> rows = TypedRows(Schema((Feature("x", "numeric"), Feature("c", "categorical")), target="y", task="regression"), None, None, 100)
    >>> rows.decode(b'{"rows": [{"x": 1, "c": "a"}]}', max_rows=10).columns["x"].tolist()
    [1.0]
    >>> rows.decode(b'{"rows": [{"x": null, "c": "a"}]}', max_rows=10) is None, rows.convert([{"x": 1}]) is None
    (True, True)
    """

    def __init__(self, schema: Schema, time: TimeColumn | None, silent: str | None, max_letters: int) -> None:
        self._max_letters = max_letters
        self._time = time
        numbers = [feature for feature in schema.features if feature.kind in _NUMBERS]
        words = [feature for feature in schema.features if feature.kind in _WORDS]
        others = [feature for feature in schema.features if feature.kind not in (*_NUMBERS, *_WORDS)]
        fields: dict[str, Any] = {OWN_ID: (str | int | float | None, None)}
        if silent is not None:
            fields[silent] = (str | int | float | bool | None, None)
        if time is not None:
            fields[time.column] = (_TIMES[time.kind],)
        for feature in schema.features:
            wanted = _TYPES[feature.kind]
            fields[feature.name] = (wanted | None, None) if feature.nullable else (wanted,)
        names = {name: f"f{place}" for place, name in enumerate(fields)}
        row = msgspec.defstruct(
            "Row",
            [(names[name], *told) for name, told in fields.items()],
            rename={ours: name for name, ours in names.items()},
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        self._rows = list[row]  # type: ignore[valid-type]
        envelope = msgspec.defstruct("Envelope", [("rows", self._rows)], forbid_unknown_fields=True, gc=False)
        self._decoder: Any = msgspec.json.Decoder(envelope)
        self._rules = NumberRules(numbers)
        self._number_names = tuple(feature.name for feature in numbers)
        self._get_numbers, self._get_words = _getter(numbers, names), _getter(words, names)
        self._others = [(feature, attrgetter(names[feature.name])) for feature in others]
        self._get_time = None if time is None else attrgetter(names[time.column])
        self._get_own_id = attrgetter(names[OWN_ID])
        self._words = words
        closed = [feature.categories if feature.unknown == "error" else None for feature in words]
        self._known = [(place, frozenset(known)) for place, known in enumerate(closed) if known is not None]
        found = [feature.name for feature in (*numbers, *words, *others)]
        self._names = [feature.name for feature in schema.features]
        self._places = [found.index(name) for name in self._names]

    def decode(self, body: bytes, max_rows: int) -> ReadRows | None:
        """Read ``{"rows": [...]}``; None when it is something else, or a value or the number of rows is not plainly right."""
        try:
            rows = self._decoder.decode(body).rows
        except (ValueError, RecursionError):
            return None
        return self._read(rows) if 0 < len(rows) <= max_rows else None

    def convert(self, rows: Sequence[Any]) -> ReadRows | None:
        """Read rows that are dictionaries already; None as for `decode`."""
        try:
            return self._read(msgspec.convert(rows, self._rows)) if rows else None
        except (ValueError, RecursionError):
            return None

    def _read(self, rows: Sequence[Any]) -> ReadRows | None:
        numbers = self._read_numbers(rows)
        words = None if numbers is None else self._read_words(rows)
        if numbers is None or words is None:
            return None
        columns: list[Any] = [*numbers, *words]
        for feature, get in self._others:
            columns.append(listed_column(feature, list(map(get, rows)), self._max_letters))
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
        return ReadRows(BlockColumns(named, self._number_names, numbers), event_us, own_ids)

    def _read_own_ids(self, rows: Sequence[Any]) -> list[str | None] | None:
        sent = list(map(self._get_own_id, rows))
        return None if sent.count(None) == len(sent) else [own_id(value) for value in sent]

    def _read_numbers(self, rows: Sequence[Any]) -> npt.NDArray[np.float64] | None:
        if not self._number_names:
            return np.empty((0, len(rows)))
        values = np.array(list(map(self._get_numbers, rows)), dtype=np.float64).T
        return self._rules.taken(values if len(rows) == 1 else np.ascontiguousarray(values))

    def _read_words(self, rows: Sequence[Any]) -> npt.NDArray[Any] | None:
        block: npt.NDArray[Any] = np.empty((len(self._words), len(rows)), dtype=object)
        if not self._words:
            return block
        sent = list(map(self._get_words, rows))
        columns = list(zip(*sent, strict=True))
        longest = max(map(len, filter(None, chain.from_iterable(sent))), default=0)
        if longest > self._max_letters or any(not known.issuperset(filter(_is_there, columns[place])) for place, known in self._known):
            return None
        block[:] = columns
        return block


def _is_there(value: object) -> bool:
    return value is not None


def _getter(features: Sequence[Feature], names: dict[str, str]) -> _Get:
    ours = [names[feature.name] for feature in features]
    if len(ours) == 1:
        get = attrgetter(ours[0])
        return lambda row: (get(row),)
    return attrgetter(*ours) if ours else (lambda row: ())
