"""The Open Inference Protocol over HTTP: metadata, health, versions, outputs, raw tensors, the repository, errors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.app import create_app, service_of
from service.codecs.tensors import to_bytes
from tests.properties import few
from tests.service.encodings import raw_tensors, send, tensors

INFER = "/v2/models/bikes/infer"
Row = dict[str, Any]


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def empty(place: Any) -> Any:
    made = create_app(place.settings(models=("cars",)))
    service_of(made).follower.refresh()
    yield made.test_client()
    service_of(made).stop()


def infer(client: FlaskClient, content: Any, path: str = INFER) -> Any:
    return client.post(path, data=json.dumps(content))


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_names_its_extensions_with_and_without_a_slash(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.json["name"] == "evergreen"
    assert {"binary_tensor_data", "model_repository"} <= set(answer.json["extensions"])


def test_live_and_ready_carry_the_keys_that_clients_read(client: FlaskClient, place: Any) -> None:
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True, "live": True}
    assert client.get("/v2/models/bikes/ready").json == {"name": "bikes", "ready": True}
    assert client.get(f"/v2/models/bikes/versions/{place.bikes[0].version}/ready").status_code == 200


def test_without_a_model_it_is_live_but_not_ready(empty: FlaskClient) -> None:
    assert empty.get("/v2/health/live").status_code == 200
    assert empty.get("/v2/health/ready").status_code == 503
    assert empty.get("/v2/models/cars/ready").status_code == 503
    assert empty.post("/v2/repository/index").json == [
        {"name": "cars", "version": "", "state": "UNAVAILABLE", "reason": "it has no champion yet"}
    ]
    assert empty.post("/v2/repository/index", json={"ready": True}).json == []


def test_the_metadata_of_a_model_come_from_its_schema(client: FlaskClient, place: Any) -> None:
    metadata = client.get("/v2/models/bikes").json

    assert metadata["versions"] == [place.bikes[0].version]
    assert [(tensor["name"], tensor["datatype"]) for tensor in metadata["inputs"]] == [
        ("temp", "FP64"), ("docks", "INT64"), ("workday", "BOOL"), ("district", "BYTES"), ("at", "BYTES"),
    ]  # fmt: skip
    assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in metadata["outputs"]] == [
        ("predict", "BYTES", [-1]), ("predict_proba", "FP64", [-1, 2]),
    ]  # fmt: skip
    assert client.get(f"/v2/models/bikes/versions/{place.bikes[0].version}").json == metadata


def test_another_version_than_the_one_that_answers_is_not_found(client: FlaskClient, place: Any, ride: Row) -> None:
    other = place.bikes[1].version

    assert client.get(f"/v2/models/bikes/versions/{other}").status_code == 404
    assert infer(client, tensors([ride]), f"/v2/models/bikes/versions/{other}/infer").status_code == 404
    assert infer(client, tensors([ride]), f"/v2/models/bikes/versions/{place.bikes[0].version}/infer").status_code == 200


def test_an_answer_echoes_the_id_and_carries_all_outputs_and_prediction_ids(client: FlaskClient, place: Any, ride: Row) -> None:
    answer = infer(client, tensors([ride, ride]) | {"model_name": "bikes", "parameters": {"content_type": "pd"}})

    content = answer.json
    assert (content["id"], content["model_name"], content["model_version"]) == ("t-1", "bikes", place.bikes[0].version)
    assert [(output["name"], output["shape"]) for output in content["outputs"]] == [("predict", [2]), ("predict_proba", [2, 2])]
    assert content["parameters"]["prediction_id"] == answer.headers["X-Evergreen-Prediction-Id"]


def test_every_prediction_is_recorded(client: FlaskClient, app: Flask, ride: Row, until: Any) -> None:
    sent = tensors([ride])
    sent["inputs"].append({"name": "_id", "datatype": "BYTES", "shape": [1], "data": ["ride-9"]})
    infer(client, sent)

    def label() -> Any:
        answer = client.post("/models/bikes/labels", json={"labels": [{"own_id": "ride-9", "label": True}]})
        return answer.json["counts"] == {"matched": 1}

    assert until(label)


@pytest.mark.parametrize("name", ["predict", "output-0", "predict_proba", "prediction_id"])
def test_an_output_is_selected_by_its_name(client: FlaskClient, ride: Row, name: str) -> None:
    answer = infer(client, tensors([ride]) | {"outputs": [{"name": name}]})

    assert [output["name"] for output in answer.json["outputs"]] == [name]


@pytest.mark.parametrize(
    ("overall", "of_predict", "is_raw"), [(True, None, True), (True, False, False), (False, True, True), (None, None, False)]
)
def test_an_output_says_itself_whether_it_is_raw_before_the_request_does(
    client: FlaskClient, ride: Row, overall: bool | None, of_predict: bool | None, is_raw: bool
) -> None:
    parameters = {} if overall is None else {"binary_data_output": overall}
    output = {"name": "predict", "parameters": {} if of_predict is None else {"binary_data": of_predict}}

    answer = infer(client, tensors([ride]) | {"parameters": parameters, "outputs": [output]})

    assert ("Inference-Header-Content-Length" in answer.headers) is is_raw
    assert answer.headers["Content-Type"] == ("application/octet-stream" if is_raw else "application/json")


def test_a_body_of_raw_numbers_alone_is_a_matrix_and_answered_raw(client: FlaskClient) -> None:
    answer = client.post("/v2/models/fares/infer", data=to_bytes(np.array([5.0, 6.0])), headers={"Inference-Header-Content-Length": "0"})

    length = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.data[:length])["outputs"][0]["shape"] == [2]
    assert np.frombuffer(answer.data[length:]) == pytest.approx([17, 20], abs=1)


@pytest.mark.parametrize("data", [[[5.0], [6.0]], [5.0, 6.0]])
def test_a_matrix_may_have_any_name_and_its_data_be_flat_or_nested(client: FlaskClient, data: list[Any]) -> None:
    sent = {"inputs": [{"name": "input-0", "shape": [2, 1], "datatype": "FP32", "data": data}]}

    assert infer(client, sent, "/v2/models/fares/infer").json["outputs"][0]["data"] == pytest.approx([17, 20], abs=1)


def test_a_nan_in_a_request_is_missing_and_an_answer_never_holds_one(client: FlaskClient, ride: Row) -> None:
    answer = infer(client, tensors([{**ride, "temp": float("nan")}]))

    assert answer.status_code == 200
    assert "NaN" not in answer.text


def test_an_unknown_column_is_told_in_the_parameters(client: FlaskClient, ride: Row) -> None:
    sent = tensors([ride])
    sent["inputs"].append({"name": "distrikt", "datatype": "FP64", "shape": [1], "data": [1.0]})

    assert "did you mean 'district'?" in infer(client, sent).json["parameters"]["warnings"]


def changed(sent: dict[str, Any], place: int, **changes: Any) -> dict[str, Any]:
    """A request with one of its inputs (at, district, workday, docks, temp) changed."""
    return {**sent, "inputs": [tensor | (changes if n == place else {}) for n, tensor in enumerate(sent["inputs"])]}


@pytest.mark.parametrize(
    ("which", "changes", "status", "field"),
    [
        pytest.param(4, {"data": [12.5, 99.0]}, 422, (1, "temp", "out_of_range"), id="out of range"),
        pytest.param(4, {"data": [12.5, "abc"]}, 422, (1, "temp", "type"), id="text"),
        pytest.param(3, {"data": [3, None]}, 422, (1, "docks", "missing"), id="null"),
        pytest.param(2, {"datatype": "INT64", "data": [1, 2]}, 422, (1, "workday", "type"), id="boolean"),
        pytest.param(0, {"data": ["2026-01-01", "soon"]}, 422, (1, "at", "not_a_time"), id="time"),
        pytest.param(0, {"name": "att"}, 422, (0, "at", "missing_field"), id="missing time"),
        pytest.param(4, {"shape": [3]}, 400, None, id="shape"),
        pytest.param(4, {"shape": [1, 2]}, 400, None, id="two columns in one"),
        pytest.param(4, {"datatype": "BF16"}, 400, None, id="datatype"),
        pytest.param(4, {"name": 3}, 400, None, id="name"),
        pytest.param(4, {"name": "docks"}, 400, None, id="twice"),
        pytest.param(4, {"parameters": {"binary_data_size": 16}}, 400, None, id="raw data that are not there"),
        pytest.param(4, {"parameters": []}, 400, None, id="parameters"),
    ],
)
def test_bad_input_is_refused_by_name(
    client: FlaskClient, ride: Row, which: int, changes: dict[str, Any], status: int, field: tuple[Any, ...] | None
) -> None:
    answer = infer(client, changed(tensors([ride, ride]), which, **changes))

    named = [(problem["row"], problem["field"], problem["code"]) for problem in answer.json["fields"]]
    assert (answer.status_code, named[:1]) == (status, [] if field is None else [field])
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(answer.json["error"], str)


@pytest.mark.parametrize(
    "content",
    [[], {}, {"inputs": []}, {"inputs": [3]}, {"inputs": {}}, {"inputs": [{"name": "x"}]}, 3, None],
)
def test_an_envelope_without_tensors_is_refused(client: FlaskClient, content: Any) -> None:
    assert infer(client, content).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [{"outputs": [{"name": "secret"}]}, {"outputs": 3}, {"outputs": [3]}, {"id": 3}, {"parameters": {"binary_data_output": "yes"}}],
)
def test_wishes_that_cannot_be_met_are_refused(client: FlaskClient, ride: Row, changes: dict[str, Any]) -> None:
    assert infer(client, tensors([ride]) | changes).status_code == 400


@few(60)
@given(st.data())
def test_no_damaged_raw_request_makes_it_stumble(client: FlaskClient, ride: Row, data: st.DataObject) -> None:
    good = raw_tensors([ride, ride], INFER)
    cut = data.draw(st.integers(0, len(good.data)))
    header = data.draw(st.sampled_from([*good.headers.values(), "0", "-1", "x", "", "9" * 30, str(cut)]))

    answer = client.post(INFER, data=good.data[:cut], headers={"Inference-Header-Content-Length": header})

    assert answer.status_code in {200, 400, 422}


def test_loading_looks_at_the_registry_now_and_unloading_is_not_offered(client: FlaskClient, place: Any) -> None:
    assert client.post("/v2/repository/models/bikes/load").json["version"] == place.bikes[0].version
    assert client.post("/v2/repository/models/bikes/unload").status_code == 501
    assert client.post("/v2/repository/models/cars/load").status_code == 404
    assert [entry["state"] for entry in client.post("/v2/repository/index").json] == ["READY", "READY"]


@pytest.mark.parametrize("path", ["/v2/models/bikes/stats", "/v2/models/stats"])
def test_statistics_count_rows_and_calls(client: FlaskClient, ride: Row, path: str) -> None:
    infer(client, tensors([ride, ride]))

    statistics = client.get(path).json["model_stats"][0]

    assert (statistics["name"], statistics["inference_count"], statistics["execution_count"]) == ("bikes", 2, 1)


def test_the_matrix_of_a_bad_request_names_the_column(client: FlaskClient, ride: Row) -> None:
    matrix = {"name": "x", "shape": [1, 1], "datatype": "FP64", "data": ["five"]}

    answer = infer(client, {"inputs": [matrix]}, "/v2/models/fares/infer")

    assert [(problem["row"], problem["field"]) for problem in answer.json["fields"]] == [(0, "distance")]


def test_the_answer_to_a_raw_request_can_be_sent_again(client: FlaskClient, ride: Row) -> None:
    first, second = (send(client, raw_tensors([ride], INFER)).json["outputs"] for _ in range(2))

    assert first == second
