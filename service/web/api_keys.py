"""Who may do what: keys with scopes, checked before anything else; what is not named here is refused."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import marshmallow as ma
from marshmallow import fields, validate

from service.codecs.json_bodies import parse_strict
from service.errors import ForbiddenError, RateLimitedError, SettingsError, UnauthenticatedError, UnreadableBodyError
from service.web.rate_limits import Rate, RateCounts

logger = logging.getLogger(__name__)

Scope = Literal["predict", "label", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("predict", "label", "read", "admin")
LOWEST_RATE, HIGHEST_RATE, LARGEST_BURST = 0.001, 1e6, 1_000_000
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)

POLICY: Mapping[str, Scope | None] = {
    "health.livez": None,
    "health.readyz": None,
    "health.metrics": "read",
    "models.list_models": "read",
    "models.show_model": "read",
    "predict.predict": "predict",
    "labels.label": "label",
    "labels.draw": "label",
    "labels.progress": "label",
    "docs.openapi": "read",
    "docs.docs": None,
    "docs.asset": None,
    "open_inference.server": None,
    "open_inference.live": None,
    "open_inference.ready": None,
    "open_inference.models": "read",
    "open_inference.model": "read",
    "open_inference.model_ready": "read",
    "open_inference.index": "read",
    "open_inference.model_statistics": "read",
    "open_inference.load": "admin",
    "open_inference.unload": "admin",
    "open_inference.infer": "predict",
    "kserve_v1.alive": None,
    "kserve_v1.models": "read",
    "kserve_v1.model": "read",
    "kserve_v1.predict": "predict",
    "mlflow.ping": None,
    "mlflow.health": None,
    "mlflow.version": None,
    "mlflow.invocations": "predict",
}
"""Endpoint to scope; None means that no key is needed. An endpoint that is missing here is refused to everybody."""


@dataclass(frozen=True, slots=True)
class Key:
    """One API key: the SHA-256 of its text, what it may do, with which models (``*``: all), and how often (None: any)."""

    id: str
    sha256: str
    scopes: frozenset[str]
    models: frozenset[str]
    rate: Rate | None = None

    def may_use(self, model: str) -> bool:
        """Return whether the key is good for a model."""
        return "*" in self.models or model in self.models


@dataclass(frozen=True, slots=True)
class VisibleModels:
    """The models that a caller may be told of (``*``: all).

    Examples
    --------
    >>> bikes = VisibleModels(frozenset({"bikes"}))
    >>> bikes.includes("bikes"), bikes.includes("fares"), EVERYTHING.includes("fares")
    (True, False, True)
    """

    models: frozenset[str]

    @property
    def is_all(self) -> bool:
        """Whether these are all models."""
        return "*" in self.models

    def includes(self, model: str) -> bool:
        """Return whether a model may be told of."""
        return self.is_all or model in self.models


EVERYTHING, NOTHING = VisibleModels(frozenset({"*"})), VisibleModels(frozenset())


class ApiKeys:
    """The keys of this service, which decide whether a request may go on.

    Parameters
    ----------
    keys
        The known keys; None when the service runs without keys (on loopback only).
    counts
        Where the requests of keys with a rate are counted: see `rate_counts`; by default for this process alone.
    clock
        Returns monotonic time, nanoseconds.

    Examples
    --------
    >>> text = "correct horse"
    >>> key = Key("ci", hashlib.sha256(text.encode()).hexdigest(), frozenset({"predict"}), frozenset({"*"}))
    >>> api_keys = ApiKeys([key])
    >>> api_keys.check("predict.predict", "bikes", presented_key(None, text))
    'ci'
    """

    def __init__(self, keys: Sequence[Key] | None, counts: RateCounts | None = None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._keys = keys
        self._counts = counts or RateCounts.in_memory(_rated(keys))
        self._clock = clock

    def replace(self, keys: Sequence[Key], counts: RateCounts | None = None) -> None:
        """Let other keys hold from the next request on."""
        self._counts = counts or RateCounts.in_memory(_rated(keys))  # first: every key that can be found has its count
        self._keys = keys

    @property
    def exist(self) -> bool:
        """Whether there are keys, so that most endpoints need one."""
        return self._keys is not None

    def check(self, endpoint: str | None, model: str | None, presented: str | None) -> str | None:
        """Let a request pass, or refuse it.

        Returns
        -------
        The id of its key; None where no key is needed.

        Raises
        ------
        UnauthenticatedError
            No key, or none that is known.
        ForbiddenError
            The key has not the scope or not the model, or nobody may call the endpoint.
        RateLimitedError
            The key has asked too often; a request that is refused for another reason is not counted.
        """
        if endpoint is None or endpoint not in POLICY:
            raise ForbiddenError("nobody may call this")
        scope = POLICY[endpoint]
        if scope is None or self._keys is None:
            return None
        key = self._find(presented)
        if key is None:
            raise UnauthenticatedError("this needs a known key: send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'")
        if scope not in key.scopes:
            raise ForbiddenError(f"key {key.id!r} has not the scope {scope!r}")
        if model is not None and not key.may_use(model):
            raise ForbiddenError(f"key {key.id!r} is not for this model")
        if key.rate is not None:
            self._count(key, key.rate)
        return key.id

    def visible_models(self, presented: str | None) -> VisibleModels:
        """Return what may be shown to a caller, by the key that it presents."""
        if self._keys is None:
            return EVERYTHING
        key = self._find(presented)
        return VisibleModels(key.models) if key is not None and "read" in key.scopes else NOTHING

    def _count(self, key: Key, rate: Rate) -> None:
        wait_ns = self._counts.wait_ns(key.sha256, rate, self._clock())
        if wait_ns:
            limit = f"{rate.per_second:g} requests a second, {rate.burst} at once"
            raise RateLimitedError(f"key {key.id!r} has asked too often: its limit is {limit}", wait_ns / 1e9)

    def _find(self, presented: str | None) -> Key | None:
        if presented is None or self._keys is None:
            return None
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        match = None
        for key in self._keys:  # all of them, so that time tells nothing
            if hmac.compare_digest(key.sha256, digest):
                match = key
        return match


def rate_counts(keys: Sequence[Key] | None, folder: Path) -> RateCounts | None:
    """Return the counts that all workers of this machine share, by a file in `folder`; None without rates, or without a file."""
    digests = _rated(keys)
    try:
        return RateCounts.shared(folder / "rates", digests) if digests else None
    except OSError as error:
        logger.warning("%s/rates cannot be written (%s): each worker counts by itself how often a key asks", folder, error.strerror)
        return None


def _rated(keys: Sequence[Key] | None) -> list[str]:
    return [key.sha256 for key in keys or () if key.rate is not None]


class _KeySchema(ma.Schema):
    id = fields.String(required=True, validate=validate.Regexp(r"^[A-Za-z0-9._-]{1,64}$"))
    sha256 = fields.String(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}$"))
    scopes = fields.List(fields.String(validate=validate.OneOf(SCOPES)), required=True)
    models = fields.List(fields.String(), load_default=lambda: ["*"])
    rate = fields.Float(load_default=None, allow_none=True, validate=validate.Range(LOWEST_RATE, HIGHEST_RATE))
    burst = fields.Integer(load_default=None, allow_none=True, strict=True, validate=validate.Range(1, LARGEST_BURST))

    @ma.validates_schema
    def _burst_needs_a_rate(self, content: dict[str, Any], **_: Any) -> None:
        if content.get("burst") is not None and content.get("rate") is None:
            raise ma.ValidationError("a burst needs a rate", "burst")


class _KeyFileSchema(ma.Schema):
    keys = fields.List(fields.Nested(_KeySchema), required=True, validate=validate.Length(min=1))


def load_keys(path: Path) -> list[Key]:
    """Read a key file: ``{"keys": [{"id", "sha256", "scopes": [...], "models": ["*"], "rate": 5, "burst": 10}]}``.

    Raises
    ------
    SettingsError
        The file is missing or says something else; the message names the field.
    """
    try:
        return keys_in(path.read_bytes(), path.name)
    except OSError as error:
        raise SettingsError(f"the key file {path.name} cannot be read: {error.strerror}") from error


def keys_in(content: bytes, name: str) -> list[Key]:
    """Read what stands in the key file of this name; errors as of `load_keys`."""
    try:
        read: Any = _KeyFileSchema().load(parse_strict(content))
    except (ma.ValidationError, UnreadableBodyError) as error:
        raise SettingsError(f"the key file {name} is wrong: {error}") from error
    return [
        Key(k["id"], k["sha256"], frozenset(k["scopes"]), frozenset(k["models"]), k["rate"] and Rate(k["rate"], k["burst"] or 0))
        for k in read["keys"]
    ]


def presented_key(authorization: str | None, api_key: str | None) -> str | None:
    """Return the key that a request shows in ``Authorization: Bearer`` or in ``X-API-Key``.

    Examples
    --------
    >>> presented_key("Bearer abc", None), presented_key("Basic abc", "xyz"), presented_key(None, None)
    ('abc', 'xyz', None)
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return api_key or None


def new_key() -> tuple[str, str]:
    """Make a key of 256 random bits: its text (show it once) and its SHA-256 (for the key file)."""
    text = f"eg_{secrets.token_urlsafe(32)}"
    return text, hashlib.sha256(text.encode()).hexdigest()
