"""The keys of ``watching:`` in a model file, and what of them means nothing for a schema."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from training import policies
from training.clock import format_duration, parse_duration
from training.errors import DurationError
from training.model_file.fields import Duration, Keys, choice, count, share, tuples
from training.profiles.bins import DISTANCE, MISSING, OUTPUTS, PRODUCT, RESIDUAL
from training.schema.schema import Schema as RowSchema

_MOST_NAMES = 8


class ReferenceField(fields.Field[Any]):
    """``training``, a duration, or where a table lies."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Literal["training"] | timedelta | Path:
        text = str(value)
        if text == "training":
            return "training"
        try:
            return parse_duration(text)
        except DurationError as error:
            if isinstance(value, str) and "://" not in text and ("/" in text or Path(text).suffix):
                return Path(text)
            raise ValidationError(f"{value!r} is none of: training, a duration such as 14d, a file of rows such as calm.csv") from error


class ColumnKeys(Keys):
    """How one column is watched for drift."""

    makes = policies.ColumnPolicy
    weight = fields.Float(validate=validate.Range(min=0, min_inclusive=False))
    floor = fields.Float(validate=validate.Range(min=0))
    watch = fields.Boolean()

    @validates_schema
    def _fits_together(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        if loaded.get("watch") is False and (idle := [key for key in ("weight", "floor") if key in loaded]):
            raise ValidationError({key: ["means nothing for a column that is not watched"] for key in idle})


class DriftKeys(Keys):
    """When inputs moved."""

    level = share()
    psi_floor = fields.Float(validate=validate.Range(min=0))
    rule = choice("sequential", "classic")
    floor = fields.Float(validate=validate.Range(min=0))
    reference = ReferenceField()
    columns = fields.Dict(fields.String(), fields.Nested(ColumnKeys))

    @validates_schema
    def _fits_its_rule(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        rule = _rule_of(loaded)
        other = "sequential" if rule == "classic" else "classic"
        why = "" if "rule" in loaded or rule == "sequential" else " (level and psi_floor are those of the classic one)"
        errors: dict[str, Any] = {
            key: [f"means something for rule: {other} only{why}"]
            for key in (_CLASSIC if rule == "sequential" else _SEQUENTIAL)
            if loaded.get(key, "training") != "training"
        }
        if rule == "classic" and (weighed := _weighed(loaded.get("columns") or {}, other)):
            errors["columns"] = weighed
        if errors:
            raise ValidationError(errors)

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> policies.DriftPolicy:
        return policies.DriftPolicy(**loaded | {"rule": _rule_of(loaded)})


_CLASSIC, _SEQUENTIAL = ("level", "psi_floor"), ("floor", "reference")


def _rule_of(loaded: dict[str, Any]) -> Any:
    """Return the rule that is named, or the one whose keys are set."""
    return loaded.get("rule") or ("classic" if any(key in loaded for key in _CLASSIC) else "sequential")


def _weighed(columns: dict[str, policies.ColumnPolicy], rule: str) -> dict[str, Any]:
    plain = policies.ColumnPolicy()
    message = [f"means something for rule: {rule} only"]
    return {
        name: {key: message for key in ("weight", "floor") if getattr(column, key) != getattr(plain, key)}
        for name, column in columns.items()
        if (column.weight, column.floor) != (plain.weight, plain.floor)
    }


class RuleKeys(Keys):
    """What a number must be."""

    between = fields.List(fields.Float(allow_nan=False), required=True, validate=validate.Length(equal=2))
    share = share()

    @validates_schema
    def _is_a_range(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        low, high = loaded["between"]
        if low > high:
            raise ValidationError({"between": [f"{low:g} is above {high:g}"]})

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> policies.ColumnRule:
        return policies.ColumnRule(**tuples(loaded))


class FaultKeys(Keys):
    """When inputs broke."""

    makes = policies.FaultPolicy
    null_share = share()
    out_of_range_share = share()
    new_category_share = share()
    reject_share = share()
    minimum_rows = count()


class PerformanceKeys(Keys):
    """When the model got worse."""

    makes = policies.PerformancePolicy
    level = share()
    tolerance = fields.Float(validate=validate.Range(min=0))
    minimum_rows = count()


class WatchingKeys(Keys):
    """How to look."""

    makes = policies.WatchingPolicy
    every = Duration()
    window = Duration()
    bucket = Duration()
    drift = fields.Nested(DriftKeys)
    faults = fields.Nested(FaultKeys)
    performance = fields.Nested(PerformanceKeys)
    clock_bound = Duration()
    promise = Duration()
    segments = fields.List(fields.String())
    rules = fields.Dict(fields.String(), fields.Nested(RuleKeys))

    @validates_schema
    def _buckets_fill_windows(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        default = policies.WatchingPolicy()
        bucket = loaded.get("bucket", default.bucket)
        errors = {
            key: [f"{format_duration(span)} is no whole number of buckets ({format_duration(bucket)})"]
            for key in ("every", "window")
            if (span := loaded.get(key, getattr(default, key))) % bucket
        }
        if errors:
            raise ValidationError(errors)

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> policies.WatchingPolicy:
        return policies.WatchingPolicy(**tuples(loaded))


def unfit_watching(watching: policies.WatchingPolicy, schema: RowSchema) -> dict[str, Any]:
    """Return the names under ``watching:`` that mean nothing for the schema."""
    answers = () if not schema.is_classification else OUTPUTS[1:2] if schema.task == "multiclass" else OUTPUTS[1:]
    watched = (*schema.names, OUTPUTS[0], *answers, MISSING, RESIDUAL, DISTANCE)
    columns = {
        name: [f"is no column that is watched; {_nearest(name, watched)}"]
        for name in watching.drift.columns
        if name not in watched and not _is_product(name, schema)
    }
    numbers = [feature.name for feature in schema.features if feature.kind in ("numeric", "integer")]
    rules = {name: [f"is no numeric or integer feature; {_nearest(name, numbers)}"] for name in watching.rules if name not in numbers}
    twice = {str(place): ["is named twice"] for place, name in enumerate(watching.segments) if name in watching.segments[:place]}
    unclear = {
        str(place): ["its name holds '=', which parts the name of a segment from its value"]
        for place, name in enumerate(watching.segments)
        if "=" in name
    }
    segments = wrong_segments(watching.segments, schema) | twice | unclear
    errors = {"drift": {"columns": columns} if columns else {}, "rules": rules, "segments": segments}
    return {key: wrong for key, wrong in errors.items() if wrong}


def wrong_segments(names: Iterable[str], schema: RowSchema) -> dict[str, list[str]]:
    """Return the places of names that no rows can be counted apart by."""
    able = [feature.name for feature in schema.features if feature.kind in ("categorical", "boolean", "integer")]
    return {
        str(place): [f"is no categorical, boolean or integer feature; {_nearest(name, able)}"]
        for place, name in enumerate(names)
        if name not in able
    }


def _is_product(name: str, schema: RowSchema) -> bool:
    """Return whether a name is that of the product of two features, whose own names may hold the sign."""
    if not name.startswith(PRODUCT):
        return False
    pair = name.removeprefix(PRODUCT)
    return any(pair.startswith(f"{first}*") and pair[len(first) + 1 :] in schema.by_name for first in schema.names)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "there is none"
    return f"there are {', '.join(names[:_MOST_NAMES])}" + (", ..." if len(names) > _MOST_NAMES else "")
