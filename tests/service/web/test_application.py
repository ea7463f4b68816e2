"""What happens to every request: ids that reach the record, refusals counted in one place whatever the protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from monitoring.admin.api_keys import add_key
from service.app import Service, create_app, service_of
from service.prediction_log.records import decode
from service.recording.frames import read_frames
from service.recording.spool import FULL_FLAG, open_segment

TRACE = "0af7651916cd43dd8448eb211c80319c"
BAD_ROWS = [
    pytest.param("/models/fares/predict", {"rows": [{"distance": "x"}, {}]}, id="rows"),
    pytest.param("/models/fares/predict", {"columns": {"distance": ["x", None]}}, id="columns"),
    pytest.param("/v1/models/fares:predict", {"instances": [{"distance": "x"}, {}]}, id="KServe v1"),
    pytest.param(
        "/v2/models/fares/infer",
        {"inputs": [{"name": "distance", "datatype": "BYTES", "shape": [2], "data": ["x", "y"]}]},
        id="Open Inference",
    ),
    pytest.param("/invocations", {"dataframe_split": {"columns": ["distance"], "data": [["x"], [None]]}}, id="MLflow, the default model"),
]


@pytest.fixture
def service(place: Any) -> Iterator[tuple[FlaskClient, Service]]:
    """A client of an application whose background threads do not run, and its parts."""
    app = create_app(place.settings(default_model="fares"), drains=False)
    service_of(app).follower.refresh()
    yield app.test_client(), service_of(app)
    service_of(app).stop()


@pytest.mark.parametrize(("path", "content"), BAD_ROWS)
def test_bad_values_are_counted_and_kept_for_the_log_under_their_model(
    service: tuple[FlaskClient, Service], path: str, content: Any
) -> None:
    client, parts = service

    answer = client.post(path, json=content)

    parts.background.run_once()
    codes = Counter(field["code"] for field in answer.json["fields"])
    scrape = client.get("/metrics").text.splitlines()
    assert (answer.status_code, codes.total()) == (422, 2)
    assert 'evergreen_rejected_requests_total{reason="InvalidRows"} 1.0' in scrape
    assert {line for line in scrape if line.startswith("evergreen_rejected_values_total{")} == {
        f'evergreen_rejected_values_total{{code="{code}",model="fares"}} {count:.1f}' for code, count in codes.items()
    }
    assert parts.log.rejected("fares", 0, 2**62) == {("distance", code): count for code, count in codes.items()}


def test_labels_that_are_wrong_are_no_bad_values_of_rows(service: tuple[FlaskClient, Service]) -> None:
    client, parts = service

    answer = client.post("/models/fares/labels", json={"labels": [3]})

    parts.background.run_once()
    scrape = client.get("/metrics").text
    assert answer.status_code == 422
    assert 'evergreen_rejected_requests_total{reason="InvalidRows"} 1.0' in scrape
    assert "evergreen_rejected_values_total{" not in scrape
    assert parts.log.rejected("fares", 0, 2**62) == {}


@pytest.mark.parametrize(("path", "content"), BAD_ROWS)
def test_a_full_log_is_told_before_rows_are_looked_at(service: tuple[FlaskClient, Service], place: Any, path: str, content: Any) -> None:
    (place.home.spool / FULL_FLAG).touch()

    answer = service[0].post(path, json=content)

    assert (answer.status_code, answer.json["code"]) == (503, "log_full")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/models/fares/predict", {"rows": [{"distance": 5}]}),
        ("/v1/models/fares:predict", {"instances": [{"distance": 5}]}),
        ("/v2/models/fares/infer", {"inputs": [{"name": "distance", "datatype": "FP64", "shape": [1], "data": [5]}]}),
        ("/invocations", {"dataframe_split": {"columns": ["distance"], "data": [[5]]}}),
    ],
    ids=["rows", "KServe v1", "Open Inference", "MLflow"],
)
def test_the_ids_of_a_request_reach_its_record(service: tuple[FlaskClient, Service], path: str, content: Any) -> None:
    client, parts = service

    answer = client.post(path, json=content, headers={"X-Request-Id": "r-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})

    segment = open_segment(parts.spool.path)
    assert segment is not None
    [frame] = read_frames(segment.fd, segment.form, 0, 0)
    segment.close()
    assert frame.payload is not None
    record = decode(frame.payload)
    assert record.key is None
    assert answer.headers["X-Request-Id"] == "r-1"
    assert (record.prefix, record.request_id, record.trace_id) == (answer.headers["X-Evergreen-Prediction-Id"], "r-1", TRACE)
    assert record.event_us == [record.arrived_us]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/models/fares/predict", {"rows": [{"distance": 5, "_id": "fare-1"}]}),
        ("/v1/models/fares:predict", {"instances": [{"distance": 5, "_id": "fare-1"}]}),
        ("/v2/models/fares/infer", {"inputs": [{"name": "distance", "datatype": "FP64", "shape": [1], "data": [5]}]}),
        ("/invocations", {"dataframe_split": {"columns": ["distance"], "data": [[5]]}}),
    ],
    ids=["rows", "KServe v1", "Open Inference", "MLflow"],
)
def test_the_name_of_the_key_reaches_the_record(place: Any, path: str, content: Any) -> None:
    text = add_key(place.home.api_keys, "shop", ["predict"])
    app = create_app(place.settings(default_model="fares", keys_file=place.home.api_keys), drains=False)
    parts = service_of(app)
    parts.follower.refresh()

    answer = app.test_client().post(path, json=content, headers={"X-API-Key": text})

    segment = open_segment(parts.spool.path)
    assert segment is not None
    [frame] = read_frames(segment.fd, segment.form, 0, 0)
    segment.close()
    parts.stop()
    assert answer.status_code == 200
    assert decode(frame.payload or b"").key == "shop"


def test_a_stranger_s_rows_take_no_label_from_the_rows_they_pretend_to_be(place: Any, until: Any) -> None:
    texts = {name: {"X-API-Key": add_key(place.home.api_keys, name, ["predict", "label", "read"])} for name in ("shop", "stranger")}
    app = create_app(place.settings(keys_file=place.home.api_keys, drain_interval_seconds=0.01))
    parts, client = service_of(app), app.test_client()
    parts.start()
    client.post("/models/fares/predict", json={"rows": [{"distance": 5, "_id": "fare-1"}]}, headers=texts["shop"])
    until(lambda: parts.log.count("fares") == 1)
    client.post("/models/fares/predict", json={"rows": [{"distance": 9, "_id": "fare-1"}] * 50}, headers=texts["stranger"])
    until(lambda: parts.log.count("fares") == 51)

    answer = client.post("/models/fares/labels", json={"labels": [{"own_id": "fare-1", "label": 17}]}, headers=texts["shop"])

    scrape = client.get("/metrics", headers=texts["shop"]).text
    labelled = parts.log.size("fares").labelled
    parts.stop()
    assert answer.json["counts"] == {"matched": 1}
    assert labelled == 1
    assert 'evergreen_own_ids_lost_total{model="fares"} 50.0' in scrape
