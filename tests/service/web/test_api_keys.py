"""Keys and scopes: what is not allowed is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask

from service.app import create_app, service_of
from service.errors import ForbiddenError, RateLimitedError, SettingsError, UnauthenticatedError
from service.web.api_keys import POLICY, ApiKeys, Key, load_keys, new_key, presented_key, rate_counts
from service.web.rate_limits import Rate
from service.web.responses import error_response


def key(identity: str, *scopes: str, models: tuple[str, ...] = ("*",)) -> Key:
    """A key whose text is its id."""
    return Key(identity, hashlib.sha256(identity.encode()).hexdigest(), frozenset(scopes), frozenset(models))


SHOP = {"Authorization": "Bearer shop"}
READ, BOUND = {"Authorization": "Bearer reader"}, {"Authorization": "Bearer bound"}
BLIND = {"Authorization": "Bearer asker"}
API_KEYS = ApiKeys([key("asker", "predict"), key("teacher", "label", "read", models=("bikes",))])


def test_every_endpoint_stands_in_the_policy_and_nothing_else_does(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(POLICY)


def test_an_endpoint_that_nobody_thought_of_is_refused() -> None:
    with pytest.raises(ForbiddenError):
        ApiKeys(None).check("predict.delete_everything", "bikes", None)


@pytest.mark.parametrize(("authorization", "api_key"), [("Bearer asker", None), ("bearer asker", None), (None, "asker")])
def test_a_known_key_with_the_scope_passes(authorization: str | None, api_key: str | None) -> None:
    assert API_KEYS.check("predict.predict", "bikes", presented_key(authorization, api_key)) == "asker"


@pytest.mark.parametrize(
    ("authorization", "api_key"), [(None, None), ("Basic asker", None), (None, "Asker"), (None, "\udcff"), ("Bearer ", None)]
)
def test_without_a_known_key_nothing_passes(authorization: str | None, api_key: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        API_KEYS.check("predict.predict", "bikes", presented_key(authorization, api_key))


@pytest.mark.parametrize(
    ("identity", "endpoint", "model"),
    [
        ("asker", "labels.label", "bikes"),
        ("asker", "health.metrics", None),
        ("teacher", "labels.label", "fares"),
        ("teacher", "predict.predict", "bikes"),
    ],
)
def test_a_key_is_good_for_its_scopes_and_models_only(identity: str, endpoint: str, model: str | None) -> None:
    with pytest.raises(ForbiddenError):
        API_KEYS.check(endpoint, model, identity)


@pytest.mark.parametrize("endpoint", ["health.livez", "health.readyz"])
def test_probes_need_no_key(endpoint: str) -> None:
    assert API_KEYS.check(endpoint, None, None) is None


def test_a_key_file_is_read(tmp_path: Path) -> None:
    text, digest = new_key()
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [{"id": "ci", "sha256": digest, "scopes": ["predict"]}]}))

    assert ApiKeys(load_keys(path)).check("predict.predict", "bikes", text) == "ci"


@pytest.mark.parametrize(
    "content",
    [
        "", "{}", '{"keys": []}', '{"keys": [{"id": "a", "sha256": "short", "scopes": []}]}', '{"keys": [{"id": "a", "scopes": ["fly"]}]}',
        *('{"keys": [{"id": "a", "sha256": "' + "0" * 64 + f'", "scopes": [], {more}}}]}}' for more in (
            '"rate": 0', '"rate": -1', '"rate": 1e9', '"rate": "fast"', '"rate": 1, "burst": 0', '"rate": 1, "burst": 1.5', '"burst": 3')),
    ],
)  # fmt: skip
def test_a_wrong_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)

    with pytest.raises(SettingsError, match=r"keys\.json"):
        load_keys(path)


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


def rated(identity: str, rate: Rate) -> Key:
    """A key for predictions that may ask so often."""
    return Key(identity, hashlib.sha256(identity.encode()).hexdigest(), frozenset({"predict"}), frozenset({"bikes"}), rate)


def test_a_key_that_asks_too_often_is_told_when_to_come_again() -> None:
    api_keys = ApiKeys([rated("shop", Rate(0.3, burst=2)), key("asker", "predict")], clock=lambda: 0)
    [api_keys.check("predict.predict", "bikes", "shop") for _ in range(2)]

    with pytest.raises(RateLimitedError, match=r"key 'shop' has asked too often: its limit is 0.3 requests a second, 2 at once") as refused:
        api_keys.check("predict.predict", "bikes", "shop")

    answer = error_response(refused.value, "r1")
    assert (answer.status_code, answer.headers["Retry-After"], json.loads(answer.data)["code"]) == (429, "4", "limit.rate")
    assert api_keys.check("predict.predict", "bikes", "asker") == "asker"


def test_what_is_refused_for_another_reason_does_not_count() -> None:
    api_keys = ApiKeys([rated("shop", Rate(1, burst=1))], clock=lambda: 0)

    with pytest.raises(ForbiddenError):
        api_keys.check("predict.predict", "fares", "shop")

    assert api_keys.check("predict.predict", "bikes", "shop") == "shop"


def test_two_workers_of_one_machine_share_the_limit_of_a_key(tmp_path: Path) -> None:
    keys = [rated("shop", Rate(1, burst=3)), key("asker", "predict")]
    workers = [ApiKeys(keys, rate_counts(keys, tmp_path), clock=lambda: 7) for _ in range(2)]

    [worker.check("predict.predict", "bikes", "shop") for worker in [*workers, workers[0]]]

    with pytest.raises(RateLimitedError):
        workers[1].check("predict.predict", "bikes", "shop")


def test_no_file_is_made_where_no_key_has_a_rate(tmp_path: Path) -> None:
    assert rate_counts([key("asker", "predict")], tmp_path) is None
    assert rate_counts(None, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_rate_in_the_key_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    common = {"sha256": "0" * 64, "scopes": ["predict"]}
    path.write_text(
        json.dumps({"keys": [{"id": "a", **common, "rate": 5}, {"id": "b", **common, "rate": 0.5, "burst": 7}, {"id": "c", **common}]})
    )

    assert [key.rate for key in load_keys(path)] == [Rate(5, 10), Rate(0.5, 7), None]


def test_a_limit_holds_for_all_workers_together_whichever_a_connection_landed_on(place: Any, serve: Any, ride: dict[str, Any]) -> None:
    common = {"id": "shop", "sha256": hashlib.sha256(b"shop").hexdigest(), "scopes": ["predict"]}
    place.home.api_keys.write_text(json.dumps({"keys": [{**common, "rate": 0.001, "burst": 10}]}))

    each_anew = httpx.Limits(max_keepalive_connections=0)
    with serve(place, WORKERS="3") as running, httpx.Client(base_url=running.client.base_url, limits=each_anew) as client:
        # Each of these opens a connection of its own, and which worker takes it is up to the kernel.
        answers = [client.post("/models/bikes/predict", json={"rows": [ride]}, headers=SHOP) for _ in range(30)]

    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 20
    assert int(answers[-1].headers["Retry-After"]) > 900
    assert answers[-1].json()["code"] == "limit.rate"


@pytest.fixture
def kept(place: Any) -> Any:
    """A client of a service with a key that reads all, one that reads `bikes`, and one that only predicts; `cars` is missing."""
    keys = [key("reader", "read"), key("bound", "read", models=("bikes",)), key("asker", "predict")]
    listed = [{"id": k.id, "sha256": k.sha256, "scopes": sorted(k.scopes), "models": sorted(k.models)} for k in keys]
    place.home.api_keys.write_text(json.dumps({"keys": listed}))
    app = create_app(place.settings(keys_file=place.home.api_keys, models=("bikes", "fares", "cars")), drains=False)
    service_of(app).follower.refresh()
    yield app.test_client()
    service_of(app).stop()


@pytest.mark.parametrize("headers", [{}, BLIND, {"X-API-Key": "unknown"}], ids=["no key", "without the scope", "unknown"])
def test_without_the_scope_readiness_is_status_and_counts(kept: Any, headers: dict[str, str]) -> None:
    answers = {path: kept.get(path, headers=headers) for path in ("/readyz", "/ping", "/health", "/v2/health/ready")}

    assert answers["/readyz"].json == {"status": "not ready", "degraded": False, "counts": {"ready": 2, "not_ready": 1}}
    assert {answer.status_code for answer in answers.values()} == {503}
    assert [name for answer in answers.values() for name in ("bikes", "fares", "cars", "2026") if name in answer.text] == []


def test_with_the_scope_readiness_has_names_and_reasons_of_the_key_s_models(kept: Any, place: Any) -> None:
    whole, part = (kept.get("/readyz", headers=headers).json for headers in (READ, BOUND))

    assert (whole["reason"], set(whole["models"])) == ("cars: it has no champion yet", {"bikes", "fares"})
    assert (part["status"], part["reason"], part["models"]) == ("not ready", None, {"bikes": place.bikes[0].version})
    assert "cars: it has no champion yet" in kept.get("/ping", headers=READ).json["error"]


@pytest.mark.parametrize("path", ["/models", "/v1/models", "/v2/models", "/v2/models/stats", "/metrics", "/openapi.json", "/readyz"])
def test_a_key_for_one_model_sees_no_other(kept: Any, path: str) -> None:
    shown = [kept.get(path, headers=headers).text for headers in (READ, BOUND)]

    assert [("bikes" in text, "fares" in text) for text in shown] == [(True, True), (True, False)]


def test_a_key_for_one_model_sees_no_other_in_the_repository(kept: Any) -> None:
    index = kept.post("/v2/repository/index", headers=BOUND).json

    assert [entry["name"] for entry in index] == ["bikes"]
    assert kept.get("/models/fares", headers=BOUND).status_code == 403
    assert kept.get("/v2/models/fares", headers=BOUND).status_code == 403


def test_the_document_wants_a_key_where_there_are_keys(kept: Any) -> None:
    answers = [kept.get("/openapi.json", headers=headers) for headers in ({}, BLIND, READ)]

    assert [answer.status_code for answer in answers] == [401, 403, 200]
    assert kept.get("/docs").status_code == 200
