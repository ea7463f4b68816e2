"""Keys and scopes: what is not allowed is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from flask import Flask

from service.access import POLICY, Access, Key, load_keys, new_key, presented_key, refuse_open_bind
from service.app import create_app
from service.errors import ForbiddenError, SettingsError, UnauthenticatedError


def key(identity: str, *scopes: str, models: tuple[str, ...] = ("*",)) -> Key:
    """A key whose text is its id."""
    return Key(identity, hashlib.sha256(identity.encode()).hexdigest(), frozenset(scopes), frozenset(models))


ACCESS = Access([key("asker", "predict"), key("teacher", "label", "read", models=("bikes",))])


def test_every_endpoint_stands_in_the_policy_and_nothing_else_does(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(POLICY)


def test_an_endpoint_that_nobody_thought_of_is_refused() -> None:
    with pytest.raises(ForbiddenError):
        Access(None).check("rows.delete_everything", "bikes", None)


@pytest.mark.parametrize(("authorization", "api_key"), [("Bearer asker", None), ("bearer asker", None), (None, "asker")])
def test_a_known_key_with_the_scope_passes(authorization: str | None, api_key: str | None) -> None:
    assert ACCESS.check("rows.predict", "bikes", presented_key(authorization, api_key)) == "asker"


@pytest.mark.parametrize(
    ("authorization", "api_key"), [(None, None), ("Basic asker", None), (None, "Asker"), (None, "\udcff"), ("Bearer ", None)]
)
def test_without_a_known_key_nothing_passes(authorization: str | None, api_key: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        ACCESS.check("rows.predict", "bikes", presented_key(authorization, api_key))


@pytest.mark.parametrize(
    ("identity", "endpoint", "model"),
    [
        ("asker", "labels.label", "bikes"),
        ("asker", "health.metrics", None),
        ("teacher", "labels.label", "fares"),
        ("teacher", "rows.predict", "bikes"),
    ],
)
def test_a_key_is_good_for_its_scopes_and_models_only(identity: str, endpoint: str, model: str | None) -> None:
    with pytest.raises(ForbiddenError):
        ACCESS.check(endpoint, model, identity)


@pytest.mark.parametrize("endpoint", ["health.livez", "health.readyz"])
def test_probes_need_no_key(endpoint: str) -> None:
    assert ACCESS.check(endpoint, None, None) is None


def test_a_key_file_is_read(tmp_path: Path) -> None:
    text, digest = new_key()
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [{"id": "ci", "sha256": digest, "scopes": ["predict"]}]}))

    assert Access(load_keys(path)).check("rows.predict", "bikes", text) == "ci"


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"keys": []}', '{"keys": [{"id": "a", "sha256": "short", "scopes": []}]}', '{"keys": [{"id": "a", "scopes": ["fly"]}]}'],
)
def test_a_wrong_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)

    with pytest.raises(SettingsError, match=r"keys\.json"):
        load_keys(path)


def test_without_keys_only_loopback_may_be_bound() -> None:
    refuse_open_bind(is_loopback=True, bind="127.0.0.1:8000", has_keys=False)
    refuse_open_bind(is_loopback=False, bind="0.0.0.0:8000", has_keys=True)

    with pytest.raises(SettingsError, match=r"refusing to listen on 0\.0\.0\.0:8000 without a key file"):
        refuse_open_bind(is_loopback=False, bind="0.0.0.0:8000", has_keys=False)


def test_over_http_a_missing_key_is_401_and_a_weak_one_403(place, ride) -> None:  # type: ignore[no-untyped-def]
    path = place.home.keys / "api_keys.json"
    digest = hashlib.sha256(b"reader").hexdigest()
    path.write_text(json.dumps({"keys": [{"id": "r", "sha256": digest, "scopes": ["read"]}]}))
    client = create_app(place.settings(keys_file=path)).test_client()

    answers = [
        client.post("/models/bikes/predict", json={"rows": [ride]}),
        client.post("/models/bikes/predict", json={"rows": [ride]}, headers={"X-API-Key": "reader"}),
        client.get("/metrics", headers={"X-API-Key": "reader"}),
        client.get("/livez"),
    ]

    assert [answer.status_code for answer in answers] == [401, 403, 200, 200]
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"
