"""What is wrong with the rows of a request: every bad value counted, the first hundred in words.

All counting is done a column at a time (`service.columns.bad_values`); only what is shown is looked at value by value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter, methodcaller
from typing import Any, NamedTuple, Protocol

import marshmallow as ma
import numpy as np
import numpy.typing as npt

from service.columns.bad_values import CODES, LEFT_OUT, Faults, faults_of_feature, faults_of_own_ids, faults_of_time
from service.columns.fields import FeatureField, OwnIdField, TimeField, row_fields
from service.columns.near_names import LETTERS_COMPARED, NearNames
from service.columns.values import OWN_ID, Values, shown
from service.errors import InvalidRowsError, Problem
from training.schema.rows import Coded
from training.schema.schema import Schema

MAX_LISTED = 100
EXTRA = "(extra)"
_MOST_NEAR = 3


class Sent(Protocol):
    """What was sent, asked by columns and by single values."""

    @property
    def n_rows(self) -> int:
        """The number of rows, right or wrong."""

    @property
    def objects(self) -> npt.NDArray[np.intp] | None:
        """The places of rows that have columns at all; None: all have."""

    def column(self, name: str) -> Values | None:
        """Return a column of these rows, `marshmallow.missing` where a row leaves it out; None when all do."""

    def value(self, row: int, name: str) -> Any:
        """Return one value."""

    def names(self, row: int) -> Iterable[str]:
        """Return what a row names."""

    def n_extras(self, known: frozenset[str | None]) -> int:
        """Count the values of names that are not known."""

    def extras(self, known: frozenset[str | None]) -> Iterator[tuple[int, str]]:
        """Return their rows and names, row by row."""


class SentRows:
    """Rows as objects; what is none has no columns."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows
        self.n_rows = len(rows)
        self.objects = None
        self._objects = rows
        if set(map(type, rows)) != {dict}:
            is_object = np.fromiter((isinstance(row, dict) for row in rows), np.bool_, len(rows))
            self.objects = np.flatnonzero(is_object)
            self._objects = [row for row in rows if isinstance(row, dict)]
        self.present = Counter(chain.from_iterable(self._objects))

    def column(self, name: str, left_out: Any = ma.missing) -> list[Any] | None:
        """Return a column of the rows that are objects, `left_out` where a row leaves it out; None when all do."""
        n_present = self.present.get(name, 0)
        if n_present == 0:
            return None
        if n_present == len(self._objects):
            return list(map(itemgetter(name), self._objects))
        return list(map(methodcaller("get", name, left_out), self._objects))

    def value(self, row: int, name: str) -> Any:
        """Return one value, `marshmallow.missing` where the row leaves it out; the row itself where it is no object."""
        content = self._rows[row]
        return content.get(name, ma.missing) if isinstance(content, dict) else content

    def names(self, row: int) -> Iterable[str]:
        """Return what a row names."""
        names: dict[str, Any] = self._rows[row]
        return names

    def n_extras(self, known: frozenset[str | None]) -> int:
        """Count the values of names that are not known."""
        return sum(count for name, count in self.present.items() if name not in known)

    def extras(self, known: frozenset[str | None]) -> Iterator[tuple[int, str]]:
        """Return their rows and names, row by row."""
        places = range(self.n_rows) if self.objects is None else self.objects.tolist()
        for row, is_known in zip(places, map(known.issuperset, self._objects), strict=True):
            if not is_known:
                yield from ((row, name) for name in self._rows[row] if name not in known)


@dataclass(frozen=True, slots=True)
class SentColumns:
    """Columns of equal length; of those the schema does not know the first `MAX_LISTED` values are enough."""

    columns: Mapping[str, Values]
    n_rows: int
    objects: None = None

    def column(self, name: str) -> Values | None:
        """Return a column, None when it was not sent."""
        return self.columns.get(name)

    def value(self, row: int, name: str) -> Any:
        """Return one value, `marshmallow.missing` when the column was not sent."""
        values = self.columns.get(name)
        if values is None:
            return ma.missing
        if isinstance(values, Coded):
            return values.values[values.codes[row]]
        return values[row].item() if isinstance(values, np.ndarray) else values[row]

    def names(self, row: int) -> Iterable[str]:
        """Return the names of all columns: each row has them."""
        return iter(self.columns)

    def n_extras(self, known: frozenset[str | None]) -> int:
        """Count the values of names that are not known."""
        return self.n_rows * sum(name not in known for name in self.columns)

    def extras(self, known: frozenset[str | None]) -> Iterator[tuple[int, str]]:
        """Return their rows and names, row by row."""
        names = [name for name in self.columns if name not in known]
        return ((row, name) for row in range(self.n_rows) for name in names)


class _Place(NamedTuple):
    """Where a bad value stands; in the order in which they are shown."""

    row: int
    suspect: int
    within: int
    name: str
    fault: int


class Explainer:
    """Explains the rows of one schema.

    Parameters
    ----------
    known
        Names that are not complained of, beside those of the schema's fields.

    Attributes
    ----------
    fields
        What is asked of a value, by the names of a row: features, event time, own id.
    known
        These names, and those not complained of.
    """

    def __init__(self, schema: Schema, max_letters: int, known: frozenset[str | None] = frozenset()) -> None:
        self._schema = schema
        self._max_letters = max_letters
        self._time = schema.event_time
        fields = row_fields(schema, OWN_ID, max_letters)
        self.fields: dict[str, tuple[FeatureField | TimeField | OwnIdField, ...]] = {name: (field,) for name, field in fields.items()}
        if self._time is not None and self._time.column in schema.by_name:  # a feature that is model time as well
            self.fields[self._time.column] += (TimeField(self._time),)
        self.known = known.union(fields)
        self._names = NearNames(list(fields))

    def explain(self, sent: Sent, suspects: Sequence[str]) -> InvalidRowsError:
        """Count every bad value in the suspected fields, and name the first."""
        counts: Counter[tuple[str, str]] = Counter()
        first: list[_Place] = []
        if sent.objects is not None and len(sent.objects) < sent.n_rows:
            is_object = np.zeros(sent.n_rows, dtype=bool)
            is_object[sent.objects] = True
            counts["", "type"] = sent.n_rows - len(sent.objects)
            first = [_Place(row, -1, 0, "", 0) for row in np.flatnonzero(~is_object)[:MAX_LISTED].tolist()]
        for suspect, name in enumerate(suspects):
            if name == EXTRA:
                counts[EXTRA, "extra_field"] += sent.n_extras(self.known)
                extras = islice(sent.extras(self.known), MAX_LISTED)
                more = [_Place(row, suspect, within, extra, 0) for within, (row, extra) in enumerate(extras)]
            else:
                before = first[-1].row if len(first) == MAX_LISTED else sent.n_rows
                rows, faults = self._count(sent, name, counts)
                shown_rows = rows[rows < before]
                more = [_Place(row, suspect, 0, name, fault) for row, fault in zip(shown_rows.tolist(), faults.tolist(), strict=False)]
            if more:
                first = sorted(first + more)[:MAX_LISTED]
        problems = [self._problem(sent, place, is_extra=place.suspect >= 0 and suspects[place.suspect] == EXTRA) for place in first]
        return InvalidRowsError(problems, counts.total(), {kind: count for kind, count in counts.items() if count})

    def _count(self, sent: Sent, name: str, counts: Counter[tuple[str, str]]) -> tuple[npt.NDArray[np.intp], Faults]:
        """Add the bad values of one field to the counts, and return the rows and the faults of the first."""
        n_objects = sent.n_rows if sent.objects is None else len(sent.objects)
        values = sent.column(name)
        if values is None:
            if not any(field.required for field in self.fields[name]):
                return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.uint8)
            counts[name, CODES[LEFT_OUT]] += n_objects
            places = np.arange(min(n_objects, MAX_LISTED))
            faults = np.full(len(places), LEFT_OUT, dtype=np.uint8)
        else:
            faults = self._faults(name, values)
            for fault, count in enumerate(np.bincount(faults, minlength=len(CODES)).tolist()[1:], start=1):
                if count:
                    counts[name, CODES[fault]] += count
            places = np.flatnonzero(faults)[:MAX_LISTED]
        return places if sent.objects is None else sent.objects[places], faults[places]

    def _faults(self, name: str, values: Values) -> Faults:
        if name == OWN_ID and name not in self._schema.by_name:
            return faults_of_own_ids(values)
        if name not in self._schema.by_name:
            assert self._time is not None
            return faults_of_time(self._time, values)
        faults = faults_of_feature(self._schema.feature(name), self._max_letters, values)
        if self._time is not None and self._time.column == name:
            faults = np.where(faults == 0, faults_of_time(self._time, values), faults)
        return faults

    def _problem(self, sent: Sent, place: _Place, *, is_extra: bool) -> Problem:
        row, name = place.row, place.name
        if is_extra:
            return Problem(row, name[:LETTERS_COMPARED], "extra_field", shown(sent.value(row, name)), f"no such column{self.hint(name)}")
        if place.suspect < 0:
            return Problem(row, "", "type", shown(sent.value(row, name)), "an object: name to value")
        value = sent.value(row, name)
        for field in self.fields[name]:
            try:
                field.deserialize(value)
            except ma.ValidationError as error:
                return Problem(row, name, **self._with_near(error.messages, sent, row))
        # Times at the ends of the calendar: columns are computed in floats, one value is exact.
        return Problem(row, name, CODES[place.fault], shown(value), self.fields[name][-1].wanted)

    def _with_near(self, parts: Any, sent: Sent, row: int) -> dict[str, str]:
        """Add to what is missing which unknown names are there instead."""
        if parts["code"] != CODES[LEFT_OUT]:
            return dict(parts)
        near = list(islice((name for name in sent.names(row) if name not in self.fields), _MOST_NEAR))
        return {**parts, "got": f"nothing, but {', '.join(map(shown, near))}"} if near else dict(parts)

    def hint(self, name: str) -> str:
        """Suggest the column that an unknown name may stand for."""
        near = self._names.nearest(name)
        return f"; did you mean {near!r}?" if near else ""
