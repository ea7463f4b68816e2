"""The candidates of a model file: families by name, and a user's own; a factory is only spelled here, never imported."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from training import policies
from training.model_file.fields import Keys

OWN_NAME = r"^[a-z][a-z0-9_-]{0,30}$"
TAKEN = (*policies.CANDIDATES, "baseline", policies.ORIGINAL)
OURS = ("training", "service", "monitoring")
CALLED_WITH = ("schema", "seed")
LARGEST = 2**53
_FACTORY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class OwnKeys(Keys):
    """A candidate of one's own."""

    makes = policies.OwnCandidate
    name = fields.String(
        required=True,
        validate=validate.Regexp(OWN_NAME, error="{input!r} is no name of a candidate: a letter a to z, then at most 30 of a-z 0-9 _ -"),
    )
    factory = fields.String(required=True)
    params = fields.Dict(fields.String())
    tune = fields.Dict(fields.String(), fields.List(fields.Raw(allow_none=True), validate=validate.Length(min=1)))

    @validates_schema
    def _can_be_called(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        errors: dict[str, Any] = {}
        if loaded["name"] in TAKEN:
            errors["name"] = [f"{loaded['name']!r} is a family of Evergreen's; give yours another name"]
        if message := wrong_factory(loaded["factory"]):
            errors["factory"] = [message]
        for key in ("params", "tune"):
            if wrong := {name: [why] for name, value in loaded.get(key, {}).items() if (why := _wrong_argument(name, value))}:
                errors[key] = wrong
        if errors:
            raise ValidationError(errors)


def wrong_factory(factory: str, what: str = "factory") -> str | None:
    """Return why a text cannot name a function of a user's; None when it can."""
    if not _FACTORY.fullmatch(factory):
        return f"{factory!r} is no {what}; write package.module:function"
    top = factory.partition(":")[0].partition(".")[0]
    if top in OURS:
        return f"{top!r} is a package of Evergreen's; yours needs another name"
    if top == "__main__":
        return "'__main__' is no module that another process can import"
    return None


def _wrong_argument(name: str, value: Any) -> str | None:
    if name in CALLED_WITH:
        return f"{name!r} is given by Evergreen"
    if not name.isidentifier():
        return f"{name!r} is no name of a parameter"
    return _wrong_value(value)


def _wrong_value(value: Any) -> str | None:
    """Return why a manifest cannot hold a value; None when it can."""
    if isinstance(value, Mapping):
        return next((why for inner in value.values() if (why := _wrong_value(inner))), None)
    if isinstance(value, list):
        return next((why for inner in value if (why := _wrong_value(inner))), None)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no finite number"
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"{value} is beyond 2^53"
    return None


class CandidateField(fields.Field[Any]):
    """A family by its name, or the keys of a user's own."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> policies.CandidateName | policies.OwnCandidate:
        if isinstance(value, Mapping):
            keys = OwnKeys()
            if errors := keys.validate(dict(value)):
                raise ValidationError(errors)
            own: policies.OwnCandidate = keys.load(dict(value))
            return own
        if value not in policies.CANDIDATES:
            known = ", ".join(policies.CANDIDATES)
            raise ValidationError(f"{value!r} is none of: {known}; one of your own is a mapping with name: and factory:")
        name: policies.CandidateName = value
        return name


def refuse_twice(candidates: list[Any]) -> None:
    """Raise ValidationError where two candidates of one's own have the same name."""
    names = [c.name for c in candidates if isinstance(c, policies.OwnCandidate)]
    if twice := {str(i): ["another candidate has this name"] for i, c in enumerate(candidates) if names.count(getattr(c, "name", "")) > 1}:
        raise ValidationError(twice)
