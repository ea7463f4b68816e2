"""Label requests over HTTP: drawn once a key, with all that is needed to label; the answer is what the document says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.app import service_of

PATH = "/models/bikes/label-requests"


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def predicted(app: Flask, client: FlaskClient, ride: dict[str, Any], until: Callable[..., Any]) -> list[str]:
    """The ids of twenty rides, an hour apart, that are in the log."""
    rides = [{**ride, "at": f"2026-01-11T{hour:02}:00:00Z", "_id": f"ride-{hour}"} for hour in range(20)]
    answer = client.post("/models/bikes/predict", json={"rows": rides})
    until(lambda: service_of(app).log.count("bikes") == len(rides))
    return [each["id"] for each in answer.json["predictions"]]


def assert_is_described(client: FlaskClient, name: str, content: Any) -> None:
    components = client.get("/openapi.json").json["components"]
    jsonschema.validate(content, {"$ref": f"#/components/schemas/{name}", "components": components})


def test_what_is_drawn_comes_with_what_is_needed_to_label_it(client: FlaskClient, place: Any, predicted: list[str]) -> None:
    answer = client.post(PATH, json={"k": 5, "key": "week-2"})

    drawn = answer.json["predictions"]
    assert answer.status_code == 200
    assert_is_described(client, "LabelRequest", answer.json)
    assert {name: answer.json[name] for name in ("model", "key", "k", "rows", "eligible", "drawn", "probability", "to")} == {
        "model": "bikes", "key": "week-2", "k": 5, "rows": 20, "eligible": 20, "drawn": 5, "probability": 0.25,
        "to": "2026-01-11T19:00:00.000001+00:00",
    }  # fmt: skip
    assert {each["id"] for each in drawn} < set(predicted)
    assert {each["own_id"] for each in drawn} == {f"ride-{int(each['id'].rpartition('-')[2])}" for each in drawn}
    assert drawn[0]["features"] == {"temp": 12.5, "docks": 3, "workday": True, "district": "north"}
    assert drawn[0]["time"] == f"2026-01-11T{int(drawn[0]['own_id'][5:]):02}:00:00+00:00"
    assert (drawn[0]["version"], sum(drawn[0]["probabilities"].values())) == (place.bikes[0].version, pytest.approx(1))


def test_its_labels_are_seen_coming_and_the_draw_stays_what_it_was(client: FlaskClient, predicted: list[str]) -> None:
    first = client.post(PATH, json={"k": 5, "key": "week-2"})
    drawn = [each["id"] for each in first.json["predictions"]]

    client.post("/models/bikes/labels", json={"labels": [{"id": identity, "label": "true"} for identity in drawn[:2]]})

    shown = client.get(f"{PATH}/week-2").json
    assert_is_described(client, "LabelRequestProgress", shown)
    assert (shown["answered"], shown["open"], shown["forgotten"]) == (2, 3, 0)
    assert [each["id"] for each in shown["predictions"]] == drawn[2:]
    assert client.post(PATH, json={"k": 5, "key": "week-2"}).json == first.json


def test_the_window_is_written_as_rows_write_their_time(client: FlaskClient, predicted: list[str]) -> None:
    window = {"from": "2026-01-11T05:00:00Z", "to": "2026-01-11T09:00:00+01:00"}

    answer = client.post(PATH, json={"k": 10_000, "key": "morning", **window}).json

    assert [each["own_id"] for each in answer["predictions"]] == ["ride-5", "ride-6", "ride-7"]
    assert (answer["from"], answer["to"]) == ("2026-01-11T05:00:00+00:00", "2026-01-11T08:00:00+00:00")


@pytest.mark.parametrize(
    ("body", "status", "code", "names"),
    [
        ({"k": 6, "key": "week-2"}, 409, "label_request.conflict", "drawn with k = 5, .*; got k = 6"),
        (
            {"k": 5, "key": "week-2", "from": "2026-01-11T02:00:00Z"}, 409, "label_request.conflict",
            r"from 2026-01-11T02:00:00\+00:00 to \(the default\)",
        ),
        ({"k": 5, "key": "x", "to": "2025-01-01"}, 409, "label_request.nothing_to_draw", "is over: labels of predictions older than 2026"),
        ({"k": 0, "key": "x"}, 422, "schema.out_of_range", "field 'k': got 0, want a whole number from 1 to 10000"),
        ({"k": 10_001, "key": "x"}, 422, "schema.out_of_range", "field 'k': got 10001"),
        ({"k": True, "key": "x"}, 422, "schema.out_of_range", "field 'k': got True"),
        ({"k": "5", "key": "x"}, 422, "schema.out_of_range", "field 'k': got '5'"),
        ({"k": 5, "key": "a/b"}, 422, "schema.type", "field 'key': got 'a/b', want 1 to 64 of the letters"),
        ({"k": 5, "key": "x\n"}, 422, "schema.type", "field 'key'"),
        ({"k": 5, "key": ""}, 422, "schema.type", "field 'key'"),
        ({"k": 5, "key": "x", "to": "soon"}, 422, "schema.not_a_time", "field 'to': got 'soon', want a time"),
        ({"k": 0, "key": 5, "from": []}, 422, "schema.invalid", "field 'k': got 0, .* [(]and 2 more[)]"),
        ({"k": 5}, 400, "body.unreadable", "key: Missing data"),
        ({"k": 5, "key": "x", "n": 1}, 400, "body.unreadable", "n: Unknown field"),
        ([], 400, "body.unreadable", "must be a JSON object"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_by_name(
    client: FlaskClient, predicted: list[str], body: Any, status: int, code: str, names: str
) -> None:
    client.post(PATH, json={"k": 5, "key": "week-2"})

    answer = client.post(PATH, json=body)

    assert (answer.status_code, answer.json["code"]) == (status, code)
    with pytest.raises(AssertionError, match=names):
        raise AssertionError(answer.json["error"])


def test_a_model_without_predictions_and_what_nobody_drew_have_their_answer(client: FlaskClient) -> None:
    answers = [
        client.post("/models/fares/label-requests", json={"k": 5, "key": "x"}),
        client.post("/models/cars/label-requests", json={"k": 5, "key": "x"}),
        client.get(f"{PATH}/week-9"),
        client.get("/models/cars/label-requests/week-9"),
    ]

    codes = ["label_request.nothing_to_draw", "model.unknown", "label_request.unknown", "model.unknown"]
    assert [(each.status_code, each.json["code"]) for each in answers] == list(zip((409, 404, 404, 404), codes, strict=True))
