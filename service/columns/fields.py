"""The features of a row as strict marshmallow fields: the explaining path of `service.columns.reader`, value by value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields

from service.columns.values import OWN_ID_WANTED, own_id, shown
from training.clock import duration_us, to_us
from training.schema.feature import MAX_LETTERS, Feature
from training.schema.schema import Schema
from training.schema.spellings import MOST_WHOLE, is_too_large
from training.schema.time_column import FIRST_US, LAST_US, TimeColumn
from training.schema.times import RefusedTimeError, TimeFormat, time_format

ISO = time_format(None, None)
WHOLE_WANTED = f"a whole number from -{MOST_WHOLE} to {MOST_WHOLE}, beyond which digits are lost"


def time_wanted(time: TimeColumn) -> str:
    """Say in words what an event time must look like."""
    return "a finite number" if time.kind == "ordinal" else time.times.wanted


def refusal(code: str, value: object, want: str) -> ma.ValidationError:
    """Make the error of one value, in the parts an answer needs."""
    return ma.ValidationError({"code": code, "got": shown(value), "want": want})


def instant_us(value: object, times: TimeFormat = ISO) -> int:
    """Read a timestamp of a JSON body as it is written: by default ISO 8601 text (naive means UTC) or seconds since 1970.

    Raises
    ------
    ValueError
        It is neither, or out of the years 1900 to 2200.

    Examples
    --------
    >>> instant_us("1970-01-01T01:00:00+01:00"), instant_us(1.5)
    (0, 1500000)
    """
    return times.text_us(value) if isinstance(value, str) else times.number_us(_finite(value))


def ordinal_us(value: object, time: TimeColumn) -> int:
    """Read an ordinal time; ValueError as for `instant_us`."""
    moved = _finite(value) * duration_us(time.step)
    if math.isinf(moved):
        raise ValueError("out of range")
    return _in_range(to_us(time.origin) + round(moved))


class FeatureField(fields.Field):
    """One feature, strict: no text for numbers, no numbers for text, no booleans for either."""

    def __init__(self, feature: Feature, max_letters: int = MAX_LETTERS) -> None:
        self.feature = feature
        self.wanted = feature.wanted
        self.max_letters = max_letters
        missing = {"code": "missing_field", "got": "nothing", "want": self.wanted}
        null = {"code": "missing", "got": "null", "want": self.wanted}
        super().__init__(
            data_key=feature.name,
            required=not feature.nullable,
            allow_none=feature.nullable,
            load_default=None if feature.nullable else ma.missing,
            error_messages={"required": missing, "null": null},
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if self.feature.kind == "categorical":
            return self._category(value)
        if type(value) is str and self.feature.means_missing(value):
            self._refuse_missing(value)
            return None
        if self.feature.kind == "boolean":
            return float(self._typed(value, bool))
        number = self._time(value) if self.feature.kind == "datetime" else self._number(value)
        return None if number is None else self._bounded(number, value)

    def _typed(self, value: Any, kind: type) -> Any:
        if type(value) is not kind:
            raise self._refusal("type", value)
        return value

    def _category(self, value: Any) -> str | None:
        text: str = self._typed(value, str)
        if self.feature.means_missing(text):
            self._refuse_missing(value)
            return None
        if len(text) > self.max_letters:
            raise refusal("too_long", value, f"a string of at most {self.max_letters} letters, not {len(text)}")
        known = self.feature.categories
        if self.feature.unknown == "error" and known is not None and text not in known:
            raise self._refusal("unknown_category", value)
        return text

    def _number(self, value: Any) -> float | None:
        if type(value) not in (int, float):
            raise self._refusal("type", value)
        if value != value:
            self._refuse_missing(value)
            return None
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            if self.feature.drops_infinite and type(value) is float:
                self._refuse_missing(value)
                return None
            raise self._refusal("not_finite", value)
        if self.feature.kind == "integer" and number != math.floor(number):
            raise self._refusal("not_an_integer", value)
        if is_too_large(value) or (self.feature.kind == "integer" and abs(number) > MOST_WHOLE):
            raise refusal("out_of_range", value, WHOLE_WANTED)
        return number

    def _time(self, value: Any) -> float | None:
        if type(value) not in (str, int, float):
            raise self._refusal("type", value)
        if value != value:
            self._refuse_missing(value)
            return None
        try:
            return instant_us(value, self.feature.times) / 1e6
        except ValueError as error:
            raise refusal("not_a_time", value, self.wanted + _why(error)) from None

    def _refuse_missing(self, value: Any) -> None:
        if not self.feature.nullable:
            raise self._refusal("missing", value)

    def _bounded(self, number: float, value: Any) -> float:
        low, high = self.feature.minimum, self.feature.maximum
        is_outside = (low is not None and number < low) or (high is not None and number > high)
        if is_outside and self.feature.out_of_range == "error":
            raise self._refusal("out_of_range", value)
        if is_outside and self.feature.out_of_range == "clip":
            return float(min(max(number, number if low is None else low), number if high is None else high))
        return number

    def _refusal(self, code: str, value: Any) -> ma.ValidationError:
        return refusal(code, value, self.wanted)


class TimeField(fields.Field):
    """The time column of a row; gives microseconds."""

    def __init__(self, time: TimeColumn) -> None:
        self.time = time
        self.wanted = time_wanted(time)
        missing = {"code": "missing_field", "got": "nothing", "want": self.wanted}
        null = {"code": "missing", "got": "null", "want": self.wanted}
        super().__init__(
            data_key=time.column,
            required=True,
            error_messages={"required": missing, "null": null},
        )

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        kinds = (int, float) if self.time.kind == "ordinal" else (str, int, float)
        if type(value) not in kinds:
            raise refusal("type", value, self.wanted)
        try:
            return ordinal_us(value, self.time) if self.time.kind == "ordinal" else instant_us(value, self.time.times)
        except ValueError as error:
            raise refusal("not_a_time", value, self.wanted + _why(error)) from None


class OwnIdField(fields.Field):
    """The caller's own id of a row."""

    wanted = OWN_ID_WANTED

    def __init__(self, name: str) -> None:
        super().__init__(data_key=name, allow_none=True, load_default=None)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str | None:
        try:
            return own_id(value)
        except ValueError as error:
            raise refusal("type", value, str(error)) from None


def row_fields(schema: Schema, own_id_name: str, max_letters: int = MAX_LETTERS) -> dict[str, FeatureField | TimeField | OwnIdField]:
    """Return the fields of a row by the name they carry in JSON: features, event time, own id."""
    fields: dict[str, FeatureField | TimeField | OwnIdField] = {own_id_name: OwnIdField(own_id_name)}
    fields |= {feature.name: FeatureField(feature, max_letters) for feature in schema.features}
    time = schema.event_time
    if time is not None and time.column not in fields:
        fields[time.column] = TimeField(time)
    return fields


def _why(error: ValueError) -> str:
    return f": {error}" if isinstance(error, RefusedTimeError) else ""


def _finite(value: object) -> float:
    if not isinstance(value, int | float):
        raise ValueError("not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _in_range(microseconds: float) -> int:
    if not FIRST_US <= microseconds <= LAST_US:
        raise ValueError("out of range")
    return round(microseconds)
