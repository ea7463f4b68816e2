"""Hostile bodies against every route that reads one: the answer is always the caller's error in the one shape, never ours."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from service.app import create_app, service_of
from service.telemetry.json_logs import JsonFormatter
from tests.service.attacks import BODIES, DEAF, NUMBERS, READERS, TEXTS, Harmless, cuts, filled, with_text
from tests.service.conftest import Trained, make_place

LIMIT = 1 << 20
LONGEST_LINE = 2048
SHAPE = {"error", "error_code", "message", "code", "fields", "request_id"}
Problem = tuple[str, str, int, str]


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """What the service logs while it is attacked."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="module")
def attacked(trained: Trained, tmp_path_factory: pytest.TempPathFactory, log: io.StringIO) -> Iterator[Flask]:
    """One service for all attacks: what one of them broke, the next would meet."""
    with ExitStack() as stack:
        place = stack.enter_context(contextmanager(make_place)(trained, tmp_path_factory.mktemp("attacked") / "home"))
        app = create_app(place.settings(max_body_bytes=LIMIT, max_decompressed_bytes=LIMIT, default_model="bikes"))
        service_of(app).start()
        yield app
        service_of(app).stop()


def paths(app: Flask) -> dict[str, list[str]]:
    """By endpoint, the paths that are called by POST."""
    version = service_of(app).deployments.current("bikes").version
    paths: dict[str, list[str]] = {}
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()):
            path = rule.rule.replace("<name:model>", "bikes").replace("<model>", "bikes").replace("<version>", version)
            paths.setdefault(rule.endpoint, []).append(path)
    return paths


def forms(app: Flask) -> list[tuple[str, bytes]]:
    """Every path that reads a body, with every form of it."""
    known = paths(app)
    return [(path, form) for endpoint, all_forms in READERS.items() for path in known[endpoint] for form in all_forms.values()]


def post(app: Flask, path: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
    return app.test_client().post(path, data=body, headers=headers or {"Content-Type": "application/json"})


def fault(answer: Any) -> str | None:
    """What is wrong with a refusal; None when it is one as it should be."""
    if not 400 <= answer.status_code < 500:
        return f"{answer.status_code}: {answer.text[:300]}"
    content = json.loads(answer.data)
    if answer.headers["Content-Type"] != "application/json" or not content.keys() >= SHAPE or not isinstance(content["error"], str):
        return f"another shape: {answer.text[:300]}"
    return "a long or telling answer" if len(answer.data) > 20_000 or "Traceback" in answer.text else None


def faults(answers: dict[tuple[str, bytes], Any]) -> dict[str, str]:
    return {f"{path} {form[:60]!r}": reason for (path, form), answer in answers.items() if (reason := fault(answer)) is not None}


def test_every_route_that_is_called_by_post_is_attacked_or_reads_nothing(attacked: Flask) -> None:
    assert set(paths(attacked)) == {*READERS, *DEAF}


def test_the_bodies_are_good_ones_as_long_as_nothing_hostile_is_in_them(attacked: Flask) -> None:
    answers = {
        (path, form): post(attacked, path, filled(form, number=b"true" if b"ready" in form else b"3")) for path, form in forms(attacked)
    }

    refused = {form: answer.text[:300] for (_, form), answer in answers.items() if answer.status_code != 200}
    assert refused.keys() == {READERS["predict.predict"]["columns"]}  # it lacks columns, so that what is hostile stands alone


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_a_hostile_number_is_refused_wherever_it_can_stand(attacked: Flask, number: bytes) -> None:
    answers = {(path, form): post(attacked, path, filled(form, number=number)) for path, form in forms(attacked)}

    assert faults(answers) == {}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_hostile_text_is_refused_wherever_it_can_stand(attacked: Flask, text: bytes) -> None:
    answers = {(path, form): post(attacked, path, with_text(form, text)) for path, form in forms(attacked)}

    assert faults(answers) == {}


@pytest.mark.parametrize("sent", BODIES.values(), ids=BODIES)
def test_a_hostile_body_is_refused_by_every_route(attacked: Flask, sent: Any) -> None:
    known = paths(attacked)

    answers = {(path, endpoint.encode()): post(attacked, path, sent.body, sent.headers) for endpoint in READERS for path in known[endpoint]}

    takes_nothing = {key: answer for key, answer in answers.items() if key[1] != b"open_inference.index" or sent.body}
    assert faults(takes_nothing) == {}  # the index of the repository may be asked for without a body
    assert Harmless.made == []


def test_a_body_that_breaks_off_anywhere_is_refused(attacked: Flask) -> None:
    answers = {(path, body): post(attacked, path, body) for path, form in forms(attacked) for body in cuts(filled(form))}

    assert len(answers) > 150
    assert faults(answers) == {}


def test_a_name_that_stands_twice_is_refused_in_labels_and_the_last_one_counts_in_rows(attacked: Flask) -> None:
    label = post(attacked, "/models/bikes/labels", b'{"labels": [{"own_id": "a", "own_id": "b", "label": true}]}')
    row = READERS["predict.predict"]["rows"].replace(b"<number>", b'"x", "docks": 3').replace(b"<text>", b'"north"')

    assert fault(label) is None
    assert post(attacked, "/models/bikes/predict", row).status_code == 200


@settings(max_examples=150)
@given(st.data())
def test_no_change_of_a_body_makes_the_service_stumble(attacked: Flask, data: st.DataObject) -> None:
    path, form = data.draw(st.sampled_from(forms(attacked)))
    body = filled(form)
    start = data.draw(st.integers(0, len(body)))
    length = data.draw(st.integers(0, 5))
    put = data.draw(st.binary(max_size=5) | st.sampled_from([b"[" * 70, b"\\ud800", b"NaN", b"\xff", b'"', b"1e999", b"null", b"-"]))

    answer = post(attacked, path, body[:start] + put + body[start + length :])

    assert answer.status_code < 500
    assert isinstance(json.loads(answer.data), dict | list)


def test_no_line_of_the_log_is_longer_than_two_kilobytes_or_tells_what_was_sent(attacked: Flask, log: io.StringIO) -> None:
    post(attacked, "/models/bikes/predict", b'{"rows": [{"' + b"secret" * 1000 + b'": 1}]}')

    lines = log.getvalue().splitlines()

    assert [line[:200] for line in lines if len(line.encode()) > LONGEST_LINE or "secret" in line] == []
    assert [line for line in lines if json.loads(line)["level"] in ("ERROR", "CRITICAL")] == []
