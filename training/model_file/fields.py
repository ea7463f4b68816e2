"""The kinds of values a model file holds, and what all its mappings have in common (marshmallow)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate, validates_schema

from training.clock import parse_duration
from training.errors import DurationError
from training.schema.schema import normalise_label


class Duration(fields.Field[timedelta]):
    """A duration such as ``14d``."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta:
        try:
            return parse_duration(str(value))
        except DurationError as error:
            raise ValidationError(str(error)) from error


class Window(Duration):
    """A duration, or ``all`` for no bound."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta | None:  # type: ignore[override]
        return None if value == "all" else super()._deserialize(value, attr, data, **kwargs)


class DurationOrCount(fields.Field[Any]):
    """A duration (timedelta), or ``N rows`` / ``N fits`` (int)."""

    def __init__(self, unit: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unit = unit

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta | int:
        words = str(value).split()
        if len(words) == 2 and words[1] in (self.unit, self.unit[:-1]):
            if words[0].isdigit() and int(words[0]) > 0:
                return int(words[0])
            raise ValidationError(f"{value!r} must start with a whole number above zero")
        try:
            return parse_duration(str(value))
        except DurationError as error:
            if "is not a duration" not in str(error):  # one that lasts no time, or longer than there is time
                raise ValidationError(str(error)) from error
            raise ValidationError(
                f"{value!r} is neither a duration such as 30s or 14d nor a number of {self.unit} such as '12 {self.unit}'"
            ) from error


class Cost(DurationOrCount):
    """What a search may cost: a duration, ``N fits``, or ``all`` (None)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("fits", **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta | int | None:  # type: ignore[override]
        return None if value == "all" else super()._deserialize(value, attr, data, **kwargs)


class Moment(fields.Field[datetime]):
    """An ISO 8601 time; without an offset it is UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise ValidationError(f"{value!r} is not a time; write 2024-05-17 or 2024-05-17T12:00:00Z") from error
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Label(fields.Field[str]):
    """A class or category: any scalar, in its one spelling."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, (dict, list)) or value is None:
            raise ValidationError("must be a single value")
        return normalise_label(value)


class Word(fields.Field[str]):
    """A text that stands in a table, as it is written there; a number or boolean stands for its digits."""

    def __init__(self, **kwargs: Any) -> None:
        null = "is YAML's null; write the word in quotes, such as 'NULL' (empty cells are missing anyway)"
        super().__init__(error_messages={"null": null}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, (dict, list)):
            raise ValidationError("must be a single value")
        return normalise_label(value) if isinstance(value, bool) else str(value)


class Keys(Schema):
    """Refuse unknown keys with the nearest known one; build the value `makes` out of the given ones."""

    class Meta:
        unknown = EXCLUDE

    makes: ClassVar[Any] = None

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _refuse_unknown(self, loaded: Any, written: Any, **kwargs: Any) -> None:
        if isinstance(written, Mapping):
            unknown = {key: [self._advice(key)] for key in written if key not in self.fields}
            if unknown:
                raise ValidationError(unknown)

    def _advice(self, key: str) -> str:
        near = get_close_matches(key, list(self.fields), n=1)
        return "is no known key; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(self.fields)}")

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> Any:
        return self.makes(**loaded) if self.makes else loaded


def share(**kwargs: Any) -> fields.Float:
    """A number between 0 and 1, both excluded."""
    return fields.Float(validate=validate.Range(0, 1, min_inclusive=False, max_inclusive=False), **kwargs)


def count(least: int = 1, most: int | None = None) -> fields.Integer:
    """A whole number of at least `least`, and at most `most`."""
    return fields.Integer(strict=True, validate=validate.Range(min=least, max=most))


def choice(*names: str, **kwargs: Any) -> fields.String:
    """One of some names."""
    return fields.String(validate=validate.OneOf(names, error="{input!r} is none of: {choices}"), **kwargs)


def section(keys: type[Schema]) -> fields.Nested:
    """A part of the file; written empty it is as good as absent."""
    return fields.Nested(keys, allow_none=True)


def tuples(loaded: dict[str, Any]) -> dict[str, Any]:
    """Return loaded values with tuples where they are lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in loaded.items()}
