"""The key `data:` of a model file: a path or an address, or a query of a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from training.model_file.fields import Keys
from training.schema.sources import Query, has_password


def refuse_password(address: str) -> None:
    """Raise ValidationError for an address with a password, which would be stored with every version."""
    if has_password(address):
        raise ValidationError("has a password in it, which belongs into the environment: EVERGREEN_DATA_PASSWORD for a database")


class QueryKeys(Keys):
    """A question to a database."""

    makes = Query
    sql = fields.String(required=True, validate=validate.Regexp(r"\s*\S", error="is empty"))
    url = fields.String(
        required=True,
        validate=[
            validate.Regexp(r"[a-z0-9+]+://", error="is no address such as postgresql://me@host/rides"),
            refuse_password,
        ],
    )


class DataField(fields.Field[Any]):
    """Where the history lies."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str | Query:
        if isinstance(value, Mapping):
            query: Query = QueryKeys().load(value)
            return query
        if not isinstance(value, str):
            raise ValidationError("is neither a path, nor an address, nor {sql: ..., url: ...}")
        refuse_password(value)
        return value
