"""KServe's first protocol: instances in, predictions out."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

PREDICT = "/v1/models/bikes:predict"
Row = dict[str, Any]


def test_health_and_models_are_told_as_its_clients_read_them(app: Flask, place: Any) -> None:
    client = app.test_client()

    shown = client.get("/v1/models/bikes").json
    assert client.get("/").json == {"status": "alive"}
    assert client.get("/v1/models").json == {"models": ["bikes", "fares"]}
    assert (shown["name"], shown["ready"], shown["model_version_status"][0]["version"]) == ("bikes", True, place.bikes[0].version)
    assert client.get("/v1/models/cars").status_code == 404


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_an_answer_holds_predictions_and_their_id(app: Flask, ride: Row, key: str) -> None:
    answer = app.test_client().post(PREDICT, json={key: [ride, ride], "parameters": {}})

    assert answer.json["predictions"][0] in ("true", "false")
    assert len(answer.json["probabilities"]) == 2
    assert answer.headers["X-Evergreen-Prediction-Id"] == answer.json["prediction_id"]


def test_a_regression_gives_values_for_lists_and_for_bare_numbers(app: Flask) -> None:
    client = app.test_client()

    of_lists, of_numbers = (client.post("/v1/models/fares:predict", json={"instances": given}) for given in ([[5], [6]], [5, 6]))

    assert of_lists.json["predictions"] == of_numbers.json["predictions"] == pytest.approx([17, 20], abs=1)


@pytest.mark.parametrize(
    ("instances", "status", "field"),
    [
        pytest.param([{"temp": 99}], 422, (0, "at"), id="rows"),
        pytest.param([[1.0, "x", True, "north", "2026-01-01"]], 422, (0, "docks"), id="list"),
        pytest.param([[1.0, 2]], 422, (0, ""), id="short list"),
        pytest.param([1, 2], 422, (0, ""), id="numbers"),
        pytest.param([], 400, None, id="none"),
        pytest.param("x", 400, None, id="text"),
        pytest.param({"temp": [1], "docks": [1, 2]}, 400, None, id="ragged columns"),
    ],
)
def test_bad_instances_are_refused_by_name(app: Flask, instances: Any, status: int, field: tuple[int, str] | None) -> None:
    answer = app.test_client().post(PREDICT, json={"instances": instances})

    named = [(problem["row"], problem["field"]) for problem in answer.json["fields"]]
    assert answer.status_code == status
    assert field is None or field in named


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"instances": [], "inputs": []}'])
def test_other_bodies_are_refused(app: Flask, body: bytes) -> None:
    assert app.test_client().post(PREDICT, data=body).status_code == 400
