"""The OpenAPI document follows the models that are loaded; its examples are requests that are taken; the page needs nobody else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.access import POLICY
from service.json_schemas import feature_schema, row_schema_of
from service.routes.documents import PAGES
from training.schema import Feature, Schema, TimeColumn


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_each_model_has_its_own_paths(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]

    assert {"/models/bikes/predict", "/v2/models/fares/infer", "/v1/models/bikes:predict", "/models/fares/labels"} <= paths.keys()
    assert "/invocations" not in paths


def test_every_example_is_a_request_that_is_taken(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]
    bodies = {
        path: verbs["post"]["requestBody"]["content"]["application/json"].get("example") for path, verbs in paths.items() if "post" in verbs
    }
    examples = {path: example for path, example in bodies.items() if example is not None}

    answers = {path: client.post(path, json=example).status_code for path, example in examples.items()}

    assert len(answers) == 8
    assert set(answers.values()) == {200}


def test_every_path_of_the_document_is_there(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    version = client.get("/models").json["models"][0]["version"]
    reads = [path.format(model="bikes", version=version) for path, verbs in document["paths"].items() if "get" in verbs]

    assert {path: client.get(path).status_code for path in reads if client.get(path).status_code != 200} == {}
    assert document["openapi"] == "3.1.0"


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


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (Feature("n", "integer"), {"type": "integer"}),
        (Feature("n", "boolean", nullable=True), {"type": ["boolean", "null"]}),
        (Feature("n", "numeric", minimum=0, maximum=1, out_of_range="clip"), {"type": "number"}),
        (Feature("n", "categorical", nullable=True, categories=("a",), unknown="error"), {"type": ["string", "null"], "enum": ["a", None]}),
    ],
    ids=["integer", "nullable", "clipped", "categories"],
)
def test_a_feature_is_described_by_what_is_taken(feature: Feature, expected: dict[str, Any]) -> None:
    assert feature_schema(feature) == expected


def test_the_time_column_is_required_where_requests_carry_it() -> None:
    stamped = Schema((Feature("x", "numeric"),), target="y", task="regression", time=TimeColumn("at"), extra="error")
    arriving = Schema((Feature("x", "numeric"),), target="y", task="regression", time=TimeColumn("at", clock="arrival"))

    assert row_schema_of(stamped)["required"] == ["x", "at"]
    assert row_schema_of(stamped)["additionalProperties"] is False
    assert row_schema_of(arriving)["required"] == ["x"]
