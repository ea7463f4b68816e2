"""The OpenAPI document follows the models that are loaded; its examples are requests that are taken; the page needs nobody else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from service.app import create_app, service_of
from service.columns.reader import ColumnReader
from service.openapi.examples import made_up_rows
from service.openapi.schemas import feature_schema, row_schema_of
from service.routes.docs import PAGES
from service.web.api_keys import POLICY
from service.web.environ_keys import OVERLOADED
from service.web.responses import TABLE
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

ASKED = (
    "/models/bikes/predict",
    "/v1/models/bikes:predict",
    "/v2/models/bikes/infer",
    "/models/bikes/labels",
    "/invocations",
    "/models/bikes/label-requests",
)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def asking(place: Any) -> Iterator[Callable[..., FlaskClient]]:
    """Make a client of a service with settings of its own."""
    made = []

    def make(**settings: Any) -> FlaskClient:
        made.append(create_app(place.settings(default_model="bikes", **settings)))
        service_of(made[-1]).follower.refresh()
        return made[-1].test_client()

    yield make
    for each in made:
        service_of(each).stop()


def described(document: dict[str, Any], path: str, status: int) -> dict[str, Any]:
    """The answer that the document names for a POST."""
    named = document["paths"][path]["post"]["responses"][str(status)]
    answer: dict[str, Any] = document["components"]["responses"][named["$ref"].rpartition("/")[2]]
    return answer


def assert_is_described(answer: Any, document: dict[str, Any], path: str, status: int) -> None:
    """Assert that a refusal is what the document says of it: body, code and headers."""
    response = described(document, path, status)
    schema = response["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json, {**schema, "components": document["components"]})
    assert answer.status_code == status
    assert answer.json["code"] in response["description"]
    assert {name for name in response.get("headers", {}) if int(answer.headers.get(name, 0)) < 1} == set()


def test_each_model_has_its_own_paths(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]

    assert {"/models/bikes/predict", "/v2/models/fares/infer", "/v1/models/bikes:predict", "/models/fares/labels"} <= paths.keys()
    assert "/invocations" not in paths


def test_no_example_is_a_training_row(app: Flask, client: FlaskClient) -> None:
    shown = json.dumps([client.get(path).json for path in ("/openapi.json", "/models/bikes", "/models/fares", "/v2/models/bikes")])

    golden = [row for deployment in service_of(app).deployments.all() for row in deployment.artifact.golden.rows]
    values = {json.dumps(value) for row in golden for value in row.values() if isinstance(value, float) and not value.is_integer()}
    assert len(values) > 10
    assert [value for value in values if value in shown] == []


@pytest.mark.parametrize("feature", [
    Feature("x", "numeric"), Feature("x", "numeric", minimum=-40, maximum=60), Feature("x", "numeric", minimum=0.1, maximum=0.10001),
    Feature("x", "numeric", minimum=-1.7e308, maximum=1.7e308), Feature("x", "numeric", maximum=-5), Feature("x", "numeric", minimum=1e300),
    Feature("x", "integer", minimum=3, maximum=3), Feature("x", "integer", minimum=0.5), Feature("x", "integer", maximum=-7.5),
    Feature("x", "boolean"), Feature("x", "categorical"), Feature("x", "categorical", nullable=True),
    Feature("x", "categorical", categories=("only",)), Feature("x", "datetime"), Feature("x", "datetime", minimum=1.9e9),
    Feature("x", "datetime", maximum=1e9),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("time", [None, TimeColumn("at"), TimeColumn("at", "ordinal"), TimeColumn("at", clock="arrival")])
def test_a_made_up_row_is_one_that_its_schema_takes(feature: Feature, time: TimeColumn | None) -> None:
    strict = replace(feature, unknown="error" if feature.categories else "encode", out_of_range="error")
    schema = Schema((strict,), "y", "regression", time=time, extra="error")

    rows = made_up_rows(schema, datetime(2026, 3, 1, 17, 5, 3, tzinfo=UTC))

    assert ColumnReader(schema).read(rows).n_rows == 2


@pytest.mark.parametrize("kind", ["numeric", "integer", "datetime"])
def test_a_made_up_time_that_is_a_feature_too_is_taken(kind: Any) -> None:
    schema = Schema((Feature("at", kind),), "y", "regression", time=TimeColumn("at"))

    rows = made_up_rows(schema, datetime(2026, 3, 1, 17, 5, 3, tzinfo=UTC))

    assert ColumnReader(schema).read(rows).n_rows == 2


def test_every_example_is_a_request_that_is_taken(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]
    bodies = {
        path: verbs["post"]["requestBody"]["content"]["application/json"].get("example") for path, verbs in paths.items() if "post" in verbs
    }
    examples = {path: example for path, example in bodies.items() if example is not None}

    answers = {path: client.post(path, json=example).status_code for path, example in examples.items()}

    drawing = {path: answers.pop(path) for path in examples if path.endswith("/label-requests")}
    assert len(answers) == 8
    assert set(answers.values()) == {200}
    assert len(drawing) == 2
    assert set(drawing.values()) <= {200, 409}  # there may be nothing in the log yet


def test_every_path_of_the_document_is_there(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    version = client.get("/models").json["models"][0]["version"]
    reads = [path.format(model="bikes", version=version, key="none") for path, verbs in document["paths"].items() if "get" in verbs]

    unknown = {f"/models/{model}/label-requests/none" for model in ("bikes", "fares")}
    assert {path for path in reads if client.get(path).status_code != 200} == unknown
    assert {client.get(path).json["code"] for path in unknown} == {"label_request.unknown"}
    assert document["openapi"] == "3.1.0"


def test_which_members_answer_is_described(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json

    for path, asked in (("/models", "/models"), ("/models/{model}", "/models/bikes")):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(client.get(asked).json, {**schema, "components": document["components"]})
    shown = client.get("/models/bikes").json
    [member] = shown["members"]
    assert (member["version"], member["digest"], member["weight"], member["map"]) == (shown["version"], shown["digest"], 1.0, None)
    assert (shown["generation"], shown["threshold"]) == (shown["version"], None)


def test_every_endpoint_has_a_line_in_the_policy(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(POLICY)


def test_the_page_and_its_assets_are_served_from_here(client: FlaskClient) -> None:
    page = client.get("/docs")

    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert page.status_code == 200
    assert "'self'" in page.headers["Content-Security-Policy"]
    assert [client.get(f"/{name}").status_code for name in named if not name.startswith("data:")] == [200, 200, 200]
    assert client.get("/docs/../access.py").status_code == 404


@pytest.mark.parametrize("name", ["docs.html", "docs.js", "docs.css"])
def test_the_page_asks_nobody_else(name: str) -> None:
    assert re.findall(r"https?://|//cdn", (PAGES / name).read_text()) == []


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize(("status", "waits"), [(413, False), (429, True), (503, True), (504, False)])
def test_a_refusal_has_its_own_answer_in_the_document(asking: Callable[..., FlaskClient], path: str, status: int, waits: bool) -> None:
    response = described(asking().get("/openapi.json").json, path, status)

    assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert ("Retry-After" in response.get("headers", {})) == waits


def test_every_code_of_these_refusals_is_told(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json

    codes = {(status, code) for _, status, code in TABLE if status in (413, 429, 503)}
    codes |= {(503, "worker.replaced"), (504, "deadline.exceeded")}

    response = {status: described(document, "/models/bikes/predict", status)["description"] for status in (413, 429, 503, 504)}
    assert {(status, code) for status, code in codes if code not in response[status]} == set()


@pytest.mark.parametrize(
    ("path", "form"), [(ASKED[0], "rows"), (ASKED[1], "instances"), (ASKED[3], "labels"), (ASKED[4], "dataframe_records")]
)
def test_the_most_rows_are_those_of_the_settings(asking: Callable[..., FlaskClient], ride: dict[str, Any], path: str, form: str) -> None:
    client = asking(max_rows=2)
    document = client.get("/openapi.json").json
    row = {"own_id": "1", "label": "true"} if form == "labels" else ride

    taken, refused = [client.post(path, json={form: [row] * n_rows}) for n_rows in (2, 3)]

    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body = document["components"]["schemas"]["Labels"] if form == "labels" else body
    assert body["properties"][form]["maxItems"] == 2
    assert taken.status_code == 200
    assert_is_described(refused, document, path, 413)


def test_the_longest_text_is_that_of_the_settings(asking: Callable[..., FlaskClient], ride: dict[str, Any]) -> None:
    client = asking(max_string_letters=12)
    row = client.get("/openapi.json").json["components"]["schemas"]["Row.bikes"]["properties"]

    statuses = [client.post(ASKED[0], json={"rows": [{**ride, "district": "\N{BICYCLE}" * n}]}).status_code for n in (12, 13)]

    assert {name: described["maxLength"] for name, described in row.items() if "maxLength" in described} == {"district": 12}
    assert statuses == [200, 422]


@pytest.mark.parametrize("path", ASKED)
def test_a_key_beyond_its_rate_is_told_what_the_document_says(asking: Callable[..., FlaskClient], tmp_path: Path, path: str) -> None:
    key = {"id": "shop", "sha256": hashlib.sha256(b"secret").hexdigest(), "scopes": ["predict", "label"], "rate": 0.001, "burst": 1}
    keys_file = tmp_path / "keys.json"
    reader = {"id": "reader", "sha256": hashlib.sha256(b"reads").hexdigest(), "scopes": ["read"]}
    keys_file.write_text(json.dumps({"keys": [key, reader]}))
    client = asking(keys_file=keys_file)

    answers = [client.post(path, json={}, headers={"X-API-Key": "secret"}) for _ in range(2)]

    assert_is_described(answers[1], client.get("/openapi.json", headers={"X-API-Key": "reads"}).json, path, 429)


@pytest.mark.parametrize("path", ASKED)
def test_too_many_in_flight_are_told_what_the_document_says(asking: Callable[..., FlaskClient], path: str) -> None:
    client = asking()

    answer = client.post(path, json={}, environ_overrides={OVERLOADED: True})

    assert_is_described(answer, client.get("/openapi.json").json, path, 503)


@pytest.mark.parametrize("path", ASKED[:3] + ASKED[4:5])
def test_a_full_spool_is_told_as_the_document_says(asking: Callable[..., FlaskClient], path: str) -> None:
    client = asking(spool_max_bytes=1)
    document = client.get("/openapi.json").json
    example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]

    answer = client.post(path, json=example)

    assert_is_described(answer, document, path, 503)
    assert answer.json["code"] == "spool_full"


def test_a_worker_that_gives_up_says_what_the_document_says(client: FlaskClient) -> None:
    body = client.application.error_body(504, "deadline.exceeded", "no answer within 1 seconds")  # type: ignore[attr-defined]

    answer = Response(body, status=504, content_type="application/json")
    assert_is_described(answer, client.get("/openapi.json").json, ASKED[0], 504)


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (Feature("n", "integer"), {"type": "integer", "minimum": -(2**53), "maximum": 2**53}),
        (Feature("n", "categorical", nullable=True, categories=("a",)), {"type": ["string", "null"], "maxLength": 10_000}),
        (Feature("n", "boolean", nullable=True), {"type": ["boolean", "null"]}),
        (Feature("n", "numeric", minimum=0, maximum=1, out_of_range="clip"), {"type": "number"}),
        (Feature("n", "categorical", nullable=True, categories=("a",), unknown="error"), {"type": ["string", "null"], "enum": ["a", None]}),
    ],
    ids=["integer", "texts", "nullable", "clipped", "categories"],
)
def test_a_feature_is_described_by_what_is_taken(feature: Feature, expected: dict[str, Any]) -> None:
    assert feature_schema(feature) == expected


def test_the_time_column_is_required_where_requests_carry_it() -> None:
    stamped = Schema((Feature("x", "numeric"),), target="y", task="regression", time=TimeColumn("at"), extra="error")
    arriving = Schema((Feature("x", "numeric"),), target="y", task="regression", time=TimeColumn("at", clock="arrival"))

    assert row_schema_of(stamped)["required"] == ["x", "at"]
    assert row_schema_of(stamped)["additionalProperties"] is False
    assert row_schema_of(arriving)["required"] == ["x"]


def test_an_input_has_the_same_datatype_in_the_metadata_and_in_the_example(client: FlaskClient) -> None:
    metadata = {entry["name"]: entry["datatype"] for entry in client.get("/v2/models/bikes").json["inputs"]}
    path = client.get("/openapi.json").json["paths"]["/v2/models/bikes/infer"]["post"]

    example = path["requestBody"]["content"]["application/json"]["example"]

    assert {entry["name"]: entry["datatype"] for entry in example["inputs"]}.items() <= metadata.items()
    assert "INT64" in metadata.values()
