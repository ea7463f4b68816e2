"""MLflow's scoring protocol: /invocations in its many shapes, /ping, /version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.app import create_app, service_of
from tests.service.encodings import split

Row = dict[str, Any]


@pytest.fixture
def client(place: Any) -> Iterator[FlaskClient]:
    made = create_app(place.settings(default_model="bikes"))
    service_of(made).follower.refresh()
    yield made.test_client()
    service_of(made).stop()


@pytest.fixture
def only_fares(place: Any) -> Iterator[FlaskClient]:
    made = create_app(place.settings(models=("fares",)))
    service_of(made).follower.refresh()
    yield made.test_client()
    service_of(made).stop()


def test_the_probes_answer_as_its_client_wants(client: FlaskClient) -> None:
    assert [(client.get(path).status_code, client.get(path).data) for path in ("/ping", "/health")] == [(200, b"\n")] * 2
    assert client.get("/version").status_code == 200
    assert '"' not in client.get("/version").text


def test_the_probes_say_when_no_model_answers(place: Any) -> None:
    empty = create_app(place.settings(models=("cars",)))
    service_of(empty).follower.refresh()

    assert empty.test_client().get("/ping").status_code == 503
    assert empty.test_client().post("/invocations", json={"inputs": [1]}).status_code == 503
    service_of(empty).stop()


@pytest.mark.parametrize("data", [{"inputs": [5, 6]}, {"inputs": [[5.0], [6.0]]}, {"instances": {"distance": [5, 6]}}])
def test_the_only_model_needs_no_name(only_fares: FlaskClient, data: dict[str, Any]) -> None:
    answer = only_fares.post("/invocations", json=data)

    assert answer.json["predictions"] == pytest.approx([17, 20], abs=1)
    assert answer.headers["X-Evergreen-Prediction-Id"]


def test_of_several_models_one_must_be_named(app: Flask) -> None:
    answer = app.test_client().post("/invocations", json={"inputs": [5]})

    assert answer.status_code == 404
    assert "EVERGREEN_DEFAULT_MODEL" in answer.json["message"]


def test_a_split_without_names_is_in_the_order_of_the_schema(client: FlaskClient, ride: Row) -> None:
    named = client.post("/invocations", json={"dataframe_split": split([ride])}).json["probabilities"]

    unnamed = client.post("/invocations", json={"dataframe_split": {"data": split([ride])["data"]}}).json["probabilities"]

    assert named == unnamed


def test_a_nan_of_a_data_frame_is_a_missing_value(client: FlaskClient) -> None:
    body = b'{"dataframe_split": {"columns": ["temp", "docks", "workday", "at"], "data": [[NaN, 3, true, "2026-01-11"]]}}'

    assert client.post("/invocations", data=body, content_type="application/json").status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        pytest.param({"dataframe_records": [{"docks": "3", "workday": True, "at": 1}]}, 422, (0, "docks"), id="records"),
        pytest.param({"dataframe_split": {"columns": ["docks"], "data": [[1], [2, 3]]}}, 422, (1, ""), id="ragged split"),
        pytest.param({"dataframe_split": {"columns": ["docks"], "data": [[1]]}}, 422, (0, "workday"), id="missing"),
        pytest.param({"inputs": {"docks": [1, "x"], "workday": [True, True], "at": [1, 1]}}, 422, (1, "docks"), id="columns"),
        pytest.param({"dataframe_split": {"columns": ["docks", "docks"], "data": [[1, 2]]}}, 400, None, id="twice"),
        pytest.param({"dataframe_split": {"columns": ["docks"]}}, 400, None, id="no data"),
        pytest.param({"dataframe_split": {"data": [[1]], "extra": 1}}, 400, None, id="extra key"),
        pytest.param({"dataframe_split": {"columns": [1], "data": [[1]]}}, 400, None, id="numbers for names"),
        pytest.param({"dataframe_records": {}}, 400, None, id="records that are none"),
        pytest.param({"inputs": [1], "instances": [1]}, 400, None, id="two forms"),
        pytest.param({"params": {}}, 400, None, id="no form"),
        pytest.param([1], 400, None, id="a list"),
        pytest.param(3, 400, None, id="a number"),
    ],
)
def test_bad_input_is_refused_by_name(client: FlaskClient, content: Any, status: int, field: tuple[int, str] | None) -> None:
    answer = client.post("/invocations", json=content)

    assert (answer.status_code, answer.json["error_code"]) == (status, "INVALID_PARAMETER_VALUE")
    assert field is None or field in [(problem["row"], problem["field"]) for problem in answer.json["fields"]]


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=latin-1", "text/csv; charset=utf-16"])
def test_other_content_types_are_refused_but_none_at_all_is_json(client: FlaskClient, ride: Row, content_type: str) -> None:
    refused = client.post("/invocations", data=b"{}", content_type=content_type)
    taken = client.post("/invocations", data=json.dumps({"instances": [ride]}))

    assert (refused.status_code, refused.json["code"], taken.status_code) == (415, "http.415", 200)


def test_a_key_for_another_model_may_not_call_it(place: Any, tmp_path: Any) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"id": "k", "sha256": digest, "scopes": ["predict"], "models": ["fares"]}]}))
    guarded = create_app(place.settings(default_model="bikes", keys_file=keys))
    service_of(guarded).follower.refresh()

    answers = [
        guarded.test_client().post("/invocations", json={"inputs": [5]}, headers=headers).status_code
        for headers in ({}, {"X-API-Key": "secret"})
    ]

    assert answers == [401, 403]
    service_of(guarded).stop()
