"""The application over HTTP: answers, errors, limits; one error body for everything."""

from __future__ import annotations

import gzip
import io
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from service.app import create_app, draining, service_of
from service.recording.database_damage import DamageNote
from service.recording.spool import FULL_FLAG
from tests.properties import few

Row = dict[str, Any]


def assert_is_an_error(answer: Any, status: int, code: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(answer.data)
    assert (answer.status_code, content["code"], answer.headers["Content-Type"]) == (status, code, "application/json")
    assert {"error", "error_code", "message", "code", "fields", "request_id"} <= content.keys()
    assert isinstance(content["error"], str)
    assert "Traceback" not in answer.text
    return content


def send_chunked(app: Flask, path: str, body: bytes, content_type: str) -> Any:
    """Send a body without a length, as a server hands it on that has undone the chunks."""
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    return app.test_client().post(path, input_stream=io.BytesIO(body), content_type=content_type, environ_overrides=environ)


def test_a_prediction_has_an_id_a_label_and_probabilities(app: Flask, place: Any, ride: Row) -> None:
    answer = app.test_client().post("/models/bikes/predict", json={"rows": [ride, {**ride, "_id": "ride-2"}]})

    content = answer.json
    assert (answer.status_code, content["model"], content["version"]) == (200, "bikes", place.bikes[0].version)
    first, second = content["predictions"]
    assert first["id"].endswith("-0")
    assert first["id"][:-2] == second["id"][:-2]
    assert (second["own_id"], "own_id" in first) == ("ride-2", False)
    assert first["label"] in ("true", "false")
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert content["warnings"] == []


def test_a_regression_gives_values(app: Flask) -> None:
    answer = app.test_client().post("/models/fares/predict", json={"rows": [{"distance": 5}]})

    assert answer.json["predictions"][0]["value"] == pytest.approx(17, abs=1)


def test_an_unknown_column_is_ignored_with_a_warning(app: Flask, ride: Row) -> None:
    answer = app.test_client().post("/models/bikes/predict", json={"rows": [{**ride, "distrikt": "x"}]})

    assert answer.json["warnings"] == ["column 'distrikt' is not known and was ignored in 1 rows; did you mean 'district'?"]


def test_the_example_of_a_model_is_a_request_it_takes(app: Flask) -> None:
    client = app.test_client()

    shown = client.get("/models/bikes").json
    answer = client.post("/models/bikes/predict", json=shown["example"])

    assert answer.status_code == 200
    assert shown["schema"]["target"] == "empty"
    assert [model["model"] for model in client.get("/models").json["models"]] == ["bikes", "fares"]


def test_all_bad_values_of_all_rows_are_named(app: Flask, ride: Row, until: Callable[..., Any]) -> None:
    answer = app.test_client().post("/models/bikes/predict", json={"rows": [ride, {**ride, "temp": 99, "docks": "3"}, {}]})

    content = assert_is_an_error(answer, 422, "schema.invalid")
    assert [(field["row"], field["field"], field["code"]) for field in content["fields"]] == [
        (1, "temp", "out_of_range"),
        (1, "docks", "type"),
        (2, "docks", "missing_field"),
        (2, "workday", "missing_field"),
        (2, "at", "missing_field"),
    ]
    assert content["fields_total"] == 5
    assert content["error_code"] == "INVALID_PARAMETER_VALUE"
    log = service_of(app).log
    until(lambda: log.rejected("bikes", 0, 2**62).get(("docks", "missing_field")) == 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("GET", "/nowhere", None, 404, "http.not_found", id="path"),
        pytest.param("GET", "/models/bikes/predict", None, 405, "http.method_not_allowed", id="method"),
        pytest.param("GET", "/models//bikes", None, 404, "http.not_found", id="two slashes"),
        pytest.param("POST", "/models//bikes/predict", b"{}", 404, "http.not_found", id="two slashes in a POST"),
        pytest.param("GET", "/models/", None, 404, "http.not_found", id="a slash behind"),
        pytest.param("GET", "/v2//", None, 404, "http.not_found", id="slashes behind"),
        pytest.param("GET", "/docs//docs.js", None, 404, "http.not_found", id="slashes before an asset"),
        pytest.param("POST", "/models/cars/predict", b'{"rows":[{}]}', 404, "model.unknown", id="model"),
        pytest.param("POST", "/models/..%2f..%2fetc/predict", b"{}", 404, "http.not_found", id="traversal"),
        pytest.param("POST", "/models/%2e%2e/predict", b"{}", 404, "model.unknown", id="dots"),
        pytest.param("POST", "/models/BIKES/predict", b"{}", 404, "model.unknown", id="capitals"),
        pytest.param("POST", "/models/bikes/predict", b"{", 400, "body.unreadable", id="json"),
        pytest.param("POST", "/models/bikes/predict", b'{"rows":[{}' + b",{}" * 20 + b"]}", 413, "limit.rows", id="rows"),
        pytest.param("POST", "/models/bikes/predict", b" " * 5000, 413, "limit.body", id="body"),
        pytest.param("POST", "/models/bikes/labels", b'{"labels":[3]}', 422, "schema.shape", id="label shape"),
    ],
)
def test_every_failure_has_the_same_body(place: Any, method: str, path: str, body: bytes | None, status: int, code: str) -> None:
    limited = create_app(place.settings(max_rows=20, max_body_bytes=4096))
    service_of(limited).follower.refresh()

    answer = limited.test_client().open(path, method=method, data=body)

    assert_is_an_error(answer, status, code)
    service_of(limited).stop()


@pytest.mark.parametrize(
    ("path", "status"),
    [("//models", 200), ("///", 200), ("//evil.example/models", 404), ("/models//bikes", 404), ("/docs//", 404)],
)
def test_no_path_is_answered_with_another_place_to_go_to(app: Flask, path: str, status: int) -> None:
    answer = app.test_client().get("/", environ_overrides={"PATH_INFO": path})

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
    assert "Location" not in answer.headers


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 413)])
def test_a_chunked_body_is_read_up_to_the_limit_and_refused_beyond_it(place: Any, ride: Row, extra: int, status: int) -> None:
    limited = create_app(place.settings(max_body_bytes=4096))
    service_of(limited).follower.refresh()
    body = json.dumps({"rows": [ride]}).ljust(4096 + extra).encode()

    answer = send_chunked(limited, "/models/bikes/predict", body, "application/json")

    assert answer.status_code == status
    service_of(limited).stop()


@pytest.mark.parametrize("path", ["/models/bikes/predict", "/models/bikes/labels"])
def test_a_chunked_body_that_is_too_large_is_never_answered_in_part(place: Any, ride: Row, path: str) -> None:
    limited = create_app(place.settings(max_body_bytes=4096))
    service_of(limited).follower.refresh()
    line = ",".join(str(value) for value in ride.values()) + "\n"
    body = (",".join(ride) + "\n" + line * (4096 // len(line) + 2)).encode()

    answer = send_chunked(limited, path, body, "text/csv")

    assert_is_an_error(answer, 413, "limit.body")
    service_of(limited).stop()


def test_a_crash_inside_is_500_without_a_trace(app: Flask) -> None:
    def crash() -> None:
        raise ZeroDivisionError("secret")

    app.view_functions["health.livez"] = crash

    answer = app.test_client().get("/livez")

    assert "secret" not in assert_is_an_error(answer, 500, "internal")["error"]


@pytest.mark.parametrize(("sent", "is_echoed"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False)])
def test_the_request_id_is_echoed_when_it_is_one(app: Flask, sent: str, is_echoed: bool) -> None:
    answer = app.test_client().get("/models", headers={"X-Request-Id": sent})

    assert (answer.headers["X-Request-Id"] == sent) is is_echoed
    assert answer.headers["X-Request-Id"]


names = st.sampled_from(["rows", "temp", "docks", "at", "_id"]) | st.text()


@few(80)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )
)
def test_no_json_makes_it_stumble(app: Flask, content: Any) -> None:
    client = app.test_client()

    bodies = [json.dumps(body) for body in (content, {"rows": [content]}, {"labels": [content]})]
    answers = [client.post(f"/models/bikes/{verb}", data=body) for verb in ("predict", "labels") for body in bodies]

    assert {answer.status_code for answer in answers} <= {200, 400, 422}


def test_made_up_model_names_make_no_series(app: Flask) -> None:
    client = app.test_client()
    client.get("/models/cars-0")
    before = client.get("/metrics").text.count("\n")

    for n in range(300):
        client.post(f"/models/cars-{n}/predict", json={"rows": [{}]})
        client.get(f"/cars-{n}")

    assert client.get("/metrics").text.count("\n") - before < 120


def test_labels_by_both_kinds_of_id_are_joined(app: Flask, ride: Row, until: Callable[..., Any]) -> None:
    client = app.test_client()
    ours = client.post("/models/bikes/predict", json={"rows": [ride, {**ride, "_id": "ride-2"}]}).json["predictions"][0]["id"]

    theirs = [{"own_id": "ride-2", "label": "true"}, {"own_id": "ride-3", "label": "true"}]
    by_own = client.post("/models/bikes/labels", json={"labels": theirs})
    by_ours = client.post("/models/bikes/labels", json={"labels": [{"id": ours, "label": False}, {"id": ours, "label": 3}]})

    assert by_own.json["counts"] == {"matched": 1, "unknown": 1}
    came = {(one.result, one.labels) for one in app.extensions["evergreen"].log.arrivals("bikes", None, 1 << 62)}
    assert came == {("matched", 2), ("unknown", 1), ("invalid", 1)}
    assert [result["status"] for result in by_ours.json["results"]] == ["matched", "invalid"]
    assert by_ours.json["results"][1]["reason"] == "want one of false, true"


def test_a_label_of_a_regression_that_is_no_json_number_is_refused_with_a_sentence(app: Flask) -> None:
    wrong = ["12.5", "", "nan", True, None, [1.5], {"value": 1}]

    answered = app.test_client().post("/models/fares/labels", json={"labels": [{"id": "made-up", "label": label} for label in [*wrong, 3]]})

    *refused, number = answered.get_json()["results"]
    assert (answered.status_code, number["status"]) == (200, "unknown")
    assert [each["reason"][:20] for each in refused] == ["want a finite number"] * len(wrong)
    assert refused[0]["reason"] == "want a finite number, got the text '12.5'"


@pytest.mark.parametrize(("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"])
def test_labels_may_come_compressed(app: Flask, ride: Row, encoding: str, squeeze: Callable[[bytes], bytes]) -> None:
    client = app.test_client()
    client.post("/models/bikes/predict", json={"rows": [{**ride, "_id": "ride-7"}]})
    body = squeeze(json.dumps({"labels": [{"own_id": "ride-7", "label": True}]}).encode())

    answer = client.post("/models/bikes/labels", data=body, headers={"Content-Encoding": encoding})

    assert answer.json["counts"] == {"matched": 1}


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b'{"labels": []}')[:-9]], ids=["no gzip", "cut off"])
def test_labels_that_are_not_compressed_as_told_are_refused(app: Flask, body: bytes) -> None:
    answer = app.test_client().post("/models/bikes/labels", data=body, headers={"Content-Encoding": "gzip"})

    assert_is_an_error(answer, 400, "body.unreadable")


def test_compressed_labels_are_bounded_as_rows_are(place: Any) -> None:
    limited = create_app(place.settings(max_decompressed_bytes=4096))
    service_of(limited).follower.refresh()

    answer = limited.test_client().post("/models/bikes/labels", data=gzip.compress(b" " * 4097), headers={"Content-Encoding": "gzip"})

    assert_is_an_error(answer, 413, "limit.body")
    service_of(limited).stop()


def test_a_full_spool_is_refused_with_a_sentence_and_a_time_to_wait(place: Any, ride: Row) -> None:
    small = create_app(place.settings(spool_max_bytes=65536))
    service_of(small).follower.refresh()
    client = small.test_client()

    answers = [client.post("/models/bikes/predict", json={"rows": [ride] * 200}) for _ in range(20)]

    content = assert_is_an_error(answers[-1], 503, "spool_full")
    assert "65536 bytes" in content["error"]
    assert answers[-1].headers["Retry-After"] == "5"
    assert answers[0].status_code == 200
    service_of(small).stop()


def test_a_full_log_is_refused_with_a_sentence(place: Any, ride: Row) -> None:
    (place.home.spool / FULL_FLAG).touch()
    app = create_app(place.settings(), drains=False)
    service_of(app).follower.refresh()

    answer = app.test_client().post("/models/bikes/predict", json={"rows": [ride]})

    assert_is_an_error(answer, 503, "log_full")


def test_readiness_tells_the_versions(app: Flask, place: Any) -> None:
    content = app.test_client().get("/readyz").json

    assert content == {
        "status": "ready",
        "reason": None,
        "degraded": False,
        "models": {"bikes": place.bikes[0].version, "fares": place.fares.version},
    }


def test_readiness_tells_that_a_champion_was_refused(app: Flask, place: Any) -> None:
    (place.bikes_path(1) / "model.joblib").write_bytes(b"something else")
    place.promote(1, 0)
    service_of(app).follower.refresh()

    answer = app.test_client().get("/readyz")

    assert (answer.status_code, answer.json["degraded"]) == (200, True)
    assert f"bikes: champion {place.bikes[1].version} was refused" in answer.json["reason"]


def test_readiness_tells_that_the_database_is_damaged(app: Flask, place: Any) -> None:
    DamageNote(place.home.spool).note("the database is damaged: disk image is malformed")
    damaged = app.test_client().get("/readyz")
    DamageNote(place.home.spool).forget()
    again = app.test_client().get("/readyz")

    assert (damaged.status_code, damaged.json["degraded"], again.json["degraded"]) == (200, True, False)
    assert "disk image is malformed" in damaged.json["reason"]


def test_a_service_without_models_is_alive_but_not_ready(tmp_path: Any, place: Any) -> None:
    empty = create_app(place.settings(models=("cars",)))
    service_of(empty).follower.refresh()
    client = empty.test_client()

    assert client.get("/livez").status_code == 200
    assert (client.get("/readyz").status_code, client.get("/readyz").json["reason"]) == (503, "cars: it has no champion yet")
    assert_is_an_error(client.post("/models/cars/predict", json={"rows": [{}]}), 503, "model.not_ready")
    service_of(empty).stop()


def test_a_label_by_own_id_is_pending_while_the_drain_stands_still(place: Any, ride: Row) -> None:
    still = create_app(place.settings(log_patience_seconds=0.1))
    service_of(still).follower.refresh()
    client = still.test_client()
    client.post("/models/bikes/predict", json={"rows": [{**ride, "_id": "ride-1"}]})
    ours = client.post("/models/bikes/predict", json={"rows": [ride]}).json["predictions"][0]["id"]

    answer = client.post("/models/bikes/labels", json={"labels": [{"own_id": "ride-1", "label": True}, {"id": ours, "label": True}]})

    assert answer.json["counts"] == {"pending": 2}
    service_of(still).stop()


def test_who_drains_for_all_closes_up_whatever_happens_meanwhile(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(place.home.path))
    before = {thread.name for thread in threading.enumerate()}

    context = draining()
    context.__enter__()
    during = {thread.name for thread in threading.enumerate()}
    is_swallowed = context.__exit__(ZeroDivisionError, ZeroDivisionError(), None)

    assert not is_swallowed
    assert during > before
    assert {thread.name for thread in threading.enumerate()} == before
