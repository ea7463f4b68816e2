"""Rows of the log as a request would carry them: what somebody must see to label them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from service.label_requests.drawing import DrawnPrediction, DrawRule
from training.clock import duration_us, from_us
from training.model_file.model_spec import ModelSpec
from training.schema.feature import Feature
from training.schema.schema import Schema


def rule_of(spec: ModelSpec) -> DrawRule:
    """Return what may be drawn of a model, by its model file."""
    too_late_us = duration_us(spec.labels.too_late) if spec.labels.too_late > timedelta() else None
    return DrawRule(duration_us(spec.watching.window), too_late_us, lambda at_us: written_time(spec.schema, at_us))


def written_time(schema: Schema, at_us: int) -> str | float | int:
    """Return a model time as a row carries it; that of an arrival in ISO 8601.

    Examples
    --------
    >>> written_time(Schema((Feature("x", "numeric"),), "y", "regression"), 1_000_000)
    '1970-01-01T00:00:01+00:00'
    """
    return from_us(at_us).isoformat() if schema.event_time is None else schema.event_time.from_us(at_us)


def written_row(schema: Schema, drawn: DrawnPrediction) -> dict[str, Any]:
    """Return a drawn prediction as a JSON object: its id and time, what was answered and of what, and whether it has its label."""
    answered: dict[str, Any] = {"value": drawn.output} if drawn.probabilities is None else {"label": drawn.output}
    if drawn.probabilities is not None:
        answered["probabilities"] = drawn.probabilities
    own_id = {} if drawn.own_id is None else {"own_id": drawn.own_id}
    return {
        "id": drawn.id,
        **own_id,
        "time": written_time(schema, drawn.event_us),
        "version": drawn.version,
        **answered,
        "features": written_features(schema, drawn.features),
    }


def written_features(schema: Schema, features: Mapping[str, Any]) -> dict[str, Any]:
    """Return logged features as they are written in a request; those the schema does not know (any more) as they are logged.

    Examples
    --------
    >>> schema = Schema((Feature("open", "boolean"), Feature("size", "integer"), Feature("since", "datetime")), "y", "regression")
    >>> written_features(schema, {"open": 1.0, "size": None, "since": 86400.0, "gone": 2.5})
    {'open': True, 'size': None, 'since': '1970-01-02T00:00:00+00:00', 'gone': 2.5}
    """
    return {name: _written(schema.by_name.get(name), value) for name, value in features.items()}


def _written(feature: Feature | None, value: Any) -> Any:
    if feature is None or value is None or isinstance(value, str):
        return value
    match feature.kind:
        case "boolean":
            return bool(value)
        case "integer":
            return int(value)
        case "datetime":
            return feature.times.write(round(value * 1e6))
        case _:
            return value
