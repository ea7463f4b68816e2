"""JSON Schemas of bodies: of a model's rows, generated from its schema, and of what is the same for all models."""

from __future__ import annotations

from typing import Any

from service.codecs.tensors import DTYPES
from service.columns.values import OWN_ID, OWN_ID_LETTERS
from service.label_requests.drawing import KEY_LETTERS, MOST_DRAWN
from training.clock import duration_us, to_us
from training.schema.feature import MAX_LETTERS, Feature
from training.schema.schema import Schema
from training.schema.spellings import MOST_WHOLE
from training.schema.time_column import FIRST_US, LAST_US, TimeColumn
from training.schema.times import EARLIEST_US, LATEST_US, YEARS, TimeFormat

Described = dict[str, Any]
_TEXT_TIME: Described = {"type": "string", "format": "date-time", "description": f"a time in the years {YEARS}"}
_OWN_ID: Described = {
    "description": f"The caller's own id of a row: text of 1 to {OWN_ID_LETTERS} printable letters, or a whole number.",
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": OWN_ID_LETTERS, "format": "printable"},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1},
    ],
}
_PLAIN = {"numeric": "number", "integer": "integer", "boolean": "boolean", "categorical": "string"}


def feature_schema(feature: Feature, max_letters: int = MAX_LETTERS) -> Described:
    """Describe the values of a feature, texts of at most `max_letters` among them.

    Examples
    --------
    >>> feature_schema(Feature("temp", "numeric", nullable=True, minimum=-40, out_of_range="error"))
    {'type': ['number', 'null'], 'minimum': -40}
    >>> feature_schema(Feature("size", "categorical", categories=("s", "m"), unknown="error"))
    {'type': 'string', 'enum': ['s', 'm']}
    >>> feature_schema(Feature("town", "categorical"), max_letters=80)
    {'type': 'string', 'maxLength': 80}
    """
    if feature.kind == "datetime":
        described = instant_schema(feature.times)
        return {"anyOf": [*described["anyOf"], {"type": "null"}]} if feature.nullable else described
    kind = _PLAIN[feature.kind]
    described = {"type": [kind, "null"] if feature.nullable else kind}
    if feature.kind == "integer":
        described |= {"minimum": -MOST_WHOLE, "maximum": MOST_WHOLE}
    if feature.out_of_range == "error":
        bounds = {"minimum": feature.minimum, "maximum": feature.maximum}
        described |= {name: bound for name, bound in bounds.items() if bound is not None}
    if feature.kind == "categorical" and feature.categories and feature.unknown == "error":
        described["enum"] = [*feature.categories, *([None] if feature.nullable else [])]
    elif feature.kind == "categorical":
        described["maxLength"] = max_letters
    return described


def instant_schema(times: TimeFormat) -> Described:
    """Describe a time as it is written.

    Examples
    --------
    >>> instant_schema(TimeFormat("%d/%m/%Y"))
    {'anyOf': [{'type': 'string', 'description': 'a time (%d/%m/%Y)'}]}
    """
    if times.unit is None:
        return {"anyOf": [{"type": "string", "description": times.wanted}]}
    number = {"type": "number", "minimum": round(EARLIEST_US / times.unit), "exclusiveMaximum": round((LATEST_US + 1) / times.unit)}
    return {"anyOf": [*([_TEXT_TIME] if times.written is None else []), number]}


def row_schema_of(schema: Schema, max_letters: int = MAX_LETTERS) -> Described:
    """Describe a row as an object: features, the time column where requests carry one, the caller's own id."""
    properties = {feature.name: feature_schema(feature, max_letters) for feature in schema.features}
    required = [feature.name for feature in schema.features if not feature.nullable]
    time = schema.event_time
    if time is not None:
        properties.setdefault(time.column, _time_schema(time))
        required = [*required, *([] if time.column in required else [time.column])]
    elif schema.time is not None:
        properties.setdefault(schema.time.column, {})
    properties[OWN_ID] = {**_OWN_ID, "anyOf": [*_OWN_ID["anyOf"], {"type": "null"}]}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": schema.extra == "ignore"}


def rows_schema(row: Described, max_rows: int) -> Described:
    """Describe a list of 1 to `max_rows` rows.

    Examples
    --------
    >>> rows_schema({"type": "object"}, 9)
    {'type': 'array', 'items': {'type': 'object'}, 'minItems': 1, 'maxItems': 9}
    """
    return {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}


def instances_schema(schema: Schema, rows: Described, max_letters: int = MAX_LETTERS) -> Described:
    """Describe ``instances``: rows as objects (`rows`); of a model with one column also as many bare values, or lists of one."""
    if len(schema.request_names) > 1:
        return rows
    value = feature_schema(schema.features[0], max_letters)
    if schema.features[0].kind == "boolean":
        value = {"anyOf": [value, {"enum": [0, 1]}]}
    return {"anyOf": [rows, *({**rows, "items": item} for item in (value, rows_schema(value, 1)))]}


def tensors_schema() -> Described:
    """Describe the JSON of an inference request."""
    size = {"type": "integer", "minimum": 0}
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"enum": list(DTYPES)},
            "shape": {"type": "array", "items": size, "minItems": 1, "maxItems": 2},
            "data": {"type": "array"},
            "parameters": {"type": ["object", "null"]},
        },
        "required": ["name", "datatype", "shape"],
    }
    output = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": {"type": ["object", "null"]},
            "inputs": {"type": "array", "items": tensor, "minItems": 1},
            "outputs": {"type": ["array", "null"], "items": output},
        },
        "required": ["inputs"],
    }


def labels_schema(max_rows: int) -> Described:
    """Describe the body of a label request."""
    return {
        "type": "object",
        "properties": {"labels": rows_schema({"oneOf": _LABEL_FORMS}, max_rows)},
        "required": ["labels"],
        "additionalProperties": False,
    }


def label_request_schema(schema: Schema) -> Described:
    """Describe the body that draws predictions to be labelled."""
    time = _TIME if schema.event_time is None else _time_schema(schema.event_time)
    window = {name: {**either(time), "description": text} for name, text in _WINDOW.items()}
    return {
        "type": "object",
        "properties": {
            "k": {"type": "integer", "minimum": 1, "maximum": MOST_DRAWN, "description": "How many predictions."},
            "key": {**REQUEST_KEY, "description": "Names the request: the same key gives the same answer."},
            **window,
        },
        "required": ["k", "key"],
        "additionalProperties": False,
    }


def either(described: Described) -> Described:
    """Return the description of a value that may be null as well.

    Examples
    --------
    >>> either({"type": "number"})
    {'anyOf': [{'type': 'number'}, {'type': 'null'}]}
    """
    return {"anyOf": [*described.get("anyOf", [described]), {"type": "null"}]}


def _time_schema(time: TimeColumn) -> Described:
    if time.kind == "timestamp":
        return instant_schema(time.times)
    origin, step = to_us(time.origin), duration_us(time.step)
    return {"type": "number", "minimum": (FIRST_US - origin) // step + 1, "maximum": (LAST_US - origin) // step - 1}


_LABEL: Described = {"description": "A class, or a finite number; anything else is told to be invalid."}
_LABEL_FORMS: list[Described] = [
    {
        "type": "object",
        "properties": {name: kind, "label": _LABEL},
        "required": [name, "label"],
        "additionalProperties": False,
    }
    for name, kind in (("id", {"type": "string"}), ("own_id", _OWN_ID))
]
_TIME: Described = instant_schema(TimeFormat())
_WINDOW = {
    "from": "Where the window begins, a model time; by default `watching.window` before its end.",
    "to": "Where the window ends, exclusive; by default after the newest row up to model time.",
}
REQUEST_KEY: Described = {"type": "string", "pattern": f"^[A-Za-z0-9._-]{{1,{KEY_LETTERS}}}$"}
_COUNT: Described = {"type": "integer", "minimum": 0}
_REQUESTED: Described = {
    **{name: {"type": "string"} for name in ("model", "key")},
    **{name: {"type": ["string", "number"]} for name in ("from", "to")},
    **dict.fromkeys(("k", "rows", "eligible", "drawn"), _COUNT),
    "probability": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "With which each eligible row was drawn."},
    "predictions": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "own_id": {"type": "string"},
                "time": {"type": ["string", "number"]},
                "version": {"type": "string"},
                "value": {"type": ["number", "null"]},
                "label": {"type": "string"},
                "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
                "features": {"type": "object"},
            },
            "required": ["id", "time", "version", "features"],
        },
    },
}
LABEL_REQUEST: Described = {"type": "object", "properties": _REQUESTED, "required": list(_REQUESTED)}
_LEFT = {**_REQUESTED, "answered": _COUNT, "open": _COUNT, "forgotten": _COUNT}
LABEL_REQUEST_PROGRESS: Described = {"type": "object", "properties": _LEFT, "required": list(_LEFT)}
_MOMENT = {"type": ["string", "null"], "format": "date-time", "description": "null where the model has no time."}
_MAP = {
    "type": ["object", "null"],
    "properties": {"slope": {"type": "number"}, "intercept": {"type": "number"}},
    "required": ["slope", "intercept"],
    "description": "Of probabilities softmax(slope * log p + intercept), of numbers intercept + slope * y; null leaves them as they are.",
}
_MEMBER: Described = {
    **{name: {"type": "string"} for name in ("version", "digest")},
    "family": {"type": "string", "description": "Which share of the history it was trained on."},
    "trained_through": _MOMENT,
    "weight": {"type": "number", "minimum": 0, "maximum": 1},
    "map": _MAP,
}
_ANSWERING: Described = {
    **{name: {"type": "string"} for name in ("model", "version", "task", "target")},
    "degraded": {"type": "boolean"},
    "generation": {"type": "string", "description": "The first version with these members."},
    "weighed_through": _MOMENT,
    "threshold": {
        "type": ["number", "null"],
        "description": "The positive class is answered from this probability on; null: the likelier.",
    },
    "members": {"type": "array", "items": {"type": "object", "properties": _MEMBER, "required": list(_MEMBER)}, "minItems": 1},
}
SERVED: Described = {"type": "object", "properties": _ANSWERING, "required": list(_ANSWERING)}
LABELS_ANSWER: Described = {
    "type": "object",
    "properties": {"results": {"type": "array", "items": {"type": "object", "required": ["status"]}}, "counts": {"type": "object"}},
    "required": ["results", "counts"],
}
PREDICTIONS: Described = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "string"},
        "request_id": {"type": "string"},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "predictions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "own_id": {"type": "string"},
                    "value": {"type": ["number", "null"]},
                    "label": {"type": "string"},
                    "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
                },
                "required": ["id"],
            },
        },
    },
    "required": ["model", "version", "predictions", "request_id", "warnings"],
}
ERROR: Described = {
    "type": "object",
    "properties": {
        "error": {"type": "string"},
        "error_code": {"type": "string"},
        "message": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "fields_total": {"type": "integer"},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": ["integer", "null"]},
                    **{name: {"type": "string"} for name in ("field", "code", "got", "want")},
                },
                "required": ["row", "field", "code", "got", "want"],
            },
        },
    },
    "required": ["error", "error_code", "message", "code", "fields", "request_id"],
}
