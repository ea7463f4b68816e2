"""The key file of the HTTP service: made, listed, shortened. Only hashes are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monitoring.errors import ApiKeyError
from service.web.api_keys import HIGHEST_RATE, LARGEST_BURST, LOWEST_RATE, Key, load_keys, new_key
from service.web.rate_limits import Rate


def add_key(
    path: Path, name: str, scopes: Sequence[str], models: Sequence[str] = (), *, rate: float | None = None, burst: int | None = None
) -> str:
    """Make a key, add its hash to the file (made with mode 0600 when there is none), and return its text.

    Parameters
    ----------
    rate, burst
        Requests per second, and how many may come at once (by default what two seconds bring); None for no limit.

    Raises
    ------
    ApiKeyError
        There is a key of this name, or the rate or the burst is none.
    """
    keys = _known(path)
    if any(key.id == name for key in keys):
        raise ApiKeyError(f"there is a key {name!r} already; revoke it first or choose another name")
    text, digest = new_key()
    _write(path, [*keys, Key(name, digest, frozenset(scopes), frozenset(models or ("*",)), _rate(rate, burst))])
    return text


def list_keys(path: Path) -> list[dict[str, Any]]:
    """Return name, scopes, models, and rate of each key."""
    return [{"name": key.id, "scopes": sorted(key.scopes), "models": sorted(key.models), **_limits(key)} for key in _known(path)]


def _rate(rate: float | None, burst: int | None) -> Rate | None:
    if rate is None:
        if burst is not None:
            raise ApiKeyError(f"a burst of {burst} needs a rate beside it")
        return None
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ApiKeyError(f"the rate is {rate:g}; it must be from {LOWEST_RATE:g} to {HIGHEST_RATE:g} requests a second")
    if burst is not None and not 1 <= burst <= LARGEST_BURST:
        raise ApiKeyError(f"the burst is {burst}; it must be from 1 to {LARGEST_BURST} requests")
    return Rate(rate, burst or 0)


def _limits(key: Key) -> dict[str, float | int]:
    return {} if key.rate is None else {"rate": key.rate.per_second, "burst": key.rate.burst}


def revoke(path: Path, name: str) -> None:
    """Take a key out of the file.

    Raises
    ------
    ApiKeyError
        There is no such key, or it is the last one: a service without keys would answer everybody on this machine.
    """
    keys = _known(path)
    rest = [key for key in keys if key.id != name]
    if len(rest) == len(keys):
        raise ApiKeyError(f"there is no key {name!r}; there is {', '.join(key.id for key in keys) or 'none'}")
    if not rest:
        raise ApiKeyError(
            f"{name!r} is the last key; create another one first, or delete {path} and restart the service to run without keys on loopback"
        )
    _write(path, rest)


def _known(path: Path) -> list[Key]:
    return load_keys(path) if path.exists() else []


def _write(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file in one step."""
    listed = [
        {"id": key.id, "sha256": key.sha256, "scopes": sorted(key.scopes), "models": sorted(key.models), **_limits(key)} for key in keys
    ]
    text = json.dumps({"keys": listed}, indent=1) + "\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(partial, path)
