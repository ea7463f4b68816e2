"""The features of a row as strict marshmallow fields: the explaining path of `service.columns`, value by value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import fields

from service.payloads import own_id, shown
from training.clock import duration_us, to_us
from training.schema import Feature, Schema, TimeColumn

EARLIEST_US = to_us(datetime(1, 1, 1, tzinfo=UTC))
LATEST_US = to_us(datetime.max.replace(tzinfo=UTC))
MAX_LETTERS = 10_000
TIME_WANTED = {"timestamp": "a time (ISO 8601, or seconds since 1970)", "ordinal": "a finite number"}


def refusal(code: str, value: object, want: str) -> ma.ValidationError:
    """Make the error of one value, in the parts an answer needs."""
    return ma.ValidationError({"code": code, "got": shown(value), "want": want})


def instant_us(value: object) -> int:
    """Read a timestamp: ISO 8601 text (naive means UTC) or seconds since 1970; in microseconds.

    Raises
    ------
    ValueError
        It is neither, or out of the years 1 to 9999.

    Examples
    --------
    >>> instant_us("1970-01-01T01:00:00+01:00"), instant_us(1.5)
    (0, 1500000)
    """
    if isinstance(value, str):
        try:
            return to_us(datetime.fromisoformat(value))
        except OverflowError as error:
            raise ValueError("out of range") from error
    return _in_range(_finite(value) * 1e6)


def ordinal_us(value: object, time: TimeColumn) -> int:
    """Read an ordinal time; ValueError as for `instant_us`."""
    moved = _finite(value) * duration_us(time.step)
    if math.isinf(moved):
        raise ValueError("out of range")
    return _in_range(to_us(time.origin) + round(moved))


class FeatureField(fields.Field):
    """One feature, strict: no text for numbers, no numbers for text, no truth values for either."""

    def __init__(self, feature: Feature, max_letters: int = MAX_LETTERS) -> None:
        self.feature = feature
        self.max_letters = max_letters
        missing = {"code": "missing_field", "got": "nothing", "want": feature.wanted}
        null = {"code": "missing", "got": "null", "want": feature.wanted}
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
        if self.feature.kind == "boolean":
            return float(self._typed(value, bool))
        number = self._time(value) if self.feature.kind == "datetime" else self._number(value)
        return None if number is None else self._bounded(number, value)

    def _typed(self, value: Any, kind: type) -> Any:
        if type(value) is not kind:
            raise self._refusal("type", value)
        return value

    def _category(self, value: Any) -> str:
        text: str = self._typed(value, str)
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
            raise self._refusal("not_finite", value)
        if self.feature.kind == "integer" and number != math.floor(number):
            raise self._refusal("not_an_integer", value)
        return number

    def _time(self, value: Any) -> float | None:
        if type(value) not in (str, int, float):
            raise self._refusal("type", value)
        if value != value:
            self._refuse_missing(value)
            return None
        try:
            return instant_us(value) / 1e6
        except ValueError:
            raise self._refusal("not_a_time", value) from None

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
        return refusal(code, value, self.feature.wanted)


class TimeField(fields.Field):
    """The time column of a row; gives microseconds."""

    def __init__(self, time: TimeColumn) -> None:
        self.time = time
        self.wanted = TIME_WANTED[time.kind]
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
            return ordinal_us(value, self.time) if self.time.kind == "ordinal" else instant_us(value)
        except ValueError:
            raise refusal("not_a_time", value, self.wanted) from None


class OwnIdField(fields.Field):
    """The caller's own id of a row."""

    def __init__(self, name: str) -> None:
        super().__init__(data_key=name, allow_none=True, load_default=None)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str | None:
        try:
            return own_id(value)
        except ValueError as error:
            raise refusal("type", value, str(error)) from None


def row_fields(schema: Schema, own_id_name: str, max_letters: int = MAX_LETTERS) -> dict[str, FeatureField | TimeField | OwnIdField]:
    """Give the fields of a row by the name they carry in JSON: features, event time, own id."""
    found: dict[str, FeatureField | TimeField | OwnIdField] = {own_id_name: OwnIdField(own_id_name)}
    found |= {feature.name: FeatureField(feature, max_letters) for feature in schema.features}
    time = schema.event_time
    if time is not None and time.column not in found:
        found[time.column] = TimeField(time)
    return found


def row_schema(schema: Schema, own_id_name: str, max_letters: int = MAX_LETTERS) -> type[ma.Schema]:
    """Generate the marshmallow schema of a row.

    Examples
    --------
    >>> Row = row_schema(Schema((Feature("x", "numeric"),), target="y", task="regression"), "_id")
    >>> Row().validate({"x": "1_000"})
    {'x': {'code': 'type', 'got': "'1_000'", 'want': 'a number'}}
    """
    known = row_fields(schema, own_id_name, max_letters).values()
    generated = ma.Schema.from_dict({f"f{n}": field for n, field in enumerate(known)}, name="Row")

    class Row(generated):  # type: ignore[valid-type, misc]
        class Meta:
            unknown = ma.RAISE if schema.extra == "error" else ma.EXCLUDE

    return Row


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
    if not EARLIEST_US <= microseconds <= LATEST_US:
        raise ValueError("out of range")
    return round(microseconds)


__all__ = ["FeatureField", "OwnIdField", "TimeField", "instant_us", "ordinal_us", "refusal", "row_fields", "row_schema"]
