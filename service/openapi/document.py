"""The OpenAPI 3.1 document of what is served now, generated from the schemas of the loaded versions.

Bodies are described as far as JSON Schema can: that the columns of a table have one length, it cannot say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.codecs.open_inference import datatypes_of
from service.models.served_model import Deployment
from service.openapi.examples import made_up_rows
from service.openapi.schemas import (
    ERROR,
    LABEL_REQUEST,
    LABEL_REQUEST_PROGRESS,
    LABELS_ANSWER,
    PREDICTIONS,
    REQUEST_KEY,
    SERVED,
    Described,
    instances_schema,
    label_request_schema,
    labels_schema,
    row_schema_of,
    rows_schema,
    tensors_schema,
)
from service.telemetry.release import release
from service.web.responses import TABLE

Document = dict[str, Any]
_TABLES = (
    'Rows as JSON. The same path reads columns (`{"columns": {name: [...]}}`), `text/csv`, `application/vnd.apache.arrow.stream` and '
    "`application/vnd.apache.parquet`; gzip and deflate are undone. With `Accept: application/vnd.apache.arrow.stream` it answers in Arrow."
)
_ALIVE: Document = {"application/json": {"schema": {"type": "object"}}, "text/html": {"schema": {"type": "string"}}}
_SERVED: Document = {"$ref": "#/components/schemas/Served"}
_MODELS: Document = {"type": "object", "properties": {"models": {"type": "array", "items": _SERVED}}, "required": ["models"]}
_TEXT = {"text/plain": {"schema": {"type": "string"}}}


def document(deployments: Sequence[Deployment], default_model: str | None, max_rows: int) -> Document:
    """Describe the service.

    Parameters
    ----------
    deployments
        What is loaded.
    default_model
        The model of ``/invocations``; None when it cannot be told.
    max_rows
        The most rows or labels of one request.

    Examples
    --------
    >>> sorted(document([], None, 100)["paths"])[:3]
    ['/', '/health', '/livez']
    """
    paths: Document = dict(_plain_paths())
    for deployment in deployments:
        paths |= _model_paths(deployment, max_rows)
        if deployment.model == default_model:
            paths["/invocations"] = _invocations(deployment, max_rows)
    if deployments:
        paths |= _shown_paths(deployments)
    schemas = {"Error": ERROR, "Labels": labels_schema(max_rows), "LabelsAnswer": LABELS_ANSWER, "Predictions": PREDICTIONS}
    schemas |= {"Served": SERVED, "LabelRequest": LABEL_REQUEST, "LabelRequestProgress": LABEL_REQUEST_PROGRESS}
    schemas |= {f"Row.{d.model}": row_schema_of(d.artifact.schema, d.reader.max_letters) for d in deployments}
    keys = {"bearer": {"type": "http", "scheme": "bearer"}, "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Evergreen", "version": release(), "description": "Predictions, and their labels when they arrive."},
        "paths": paths,
        "components": {"schemas": schemas, "responses": _refusals(), "securitySchemes": keys},
        "security": [{}, {"bearer": []}, {"key": []}],
    }


def _plain_paths() -> Document:
    return {
        "/": {"get": _get("alive", "Whether the process works (KServe); a page of links where Accept names text/html.", _ALIVE)},
        "/livez": {"get": _get("livez", "Whether the process works.")},
        "/readyz": {"get": _get("readyz", "Whether every expected model answers.")},
        "/ping": {"get": _get("ping", "Whether every expected model answers (MLflow, SageMaker).", {"application/json": {}})},
        "/health": {"get": _get("health", "The same.", {"application/json": {}})},
        "/version": {"get": _get("version", "The version of Evergreen.", _TEXT)},
        "/metrics": {"get": _get("metrics", "Counters and histograms for Prometheus.", _TEXT)},
        "/openapi.json": {"get": _get("openapi", "This document.")},
        "/models": {"get": _get("list_models", "What is served, and which members answer in it.", _json(_MODELS))},
        "/v1/models": {"get": _get("v1_models", "The names of the models (KServe).")},
        "/v2": {"get": _get("v2_server", "The server and its extensions.")},
        "/v2/models": {"get": _get("v2_models", "The names of the models.")},
        "/v2/models/stats": {"get": _get("v2_statistics", "How much each version has answered.")},
        "/v2/health/live": {"get": _get("v2_live", "Whether the process works.")},
        "/v2/health/ready": {"get": _get("v2_ready", "Whether every expected model answers.")},
        "/v2/repository/index": {"post": _post("v2_index", "Models and their states.", _INDEX, {"type": "array"}, is_required=False)},
    }


def _model_paths(deployment: Deployment, max_rows: int) -> Document:
    name = deployment.model
    rows = _rows_of(deployment, max_rows)
    instances = instances_schema(deployment.artifact.schema, rows, deployment.reader.max_letters)
    predictions = {"$ref": "#/components/schemas/Predictions"}
    example = _example(deployment)
    labels = _post(
        f"label_{name}",
        "The labels of predictions, when they arrive.",
        {"$ref": "#/components/schemas/Labels"},
        {"$ref": "#/components/schemas/LabelsAnswer"},
        {"labels": [{"own_id": "17", "label": deployment.classes[-1] if deployment.classes else 1.0}]},
    )
    return {
        f"/models/{name}/predict": {"post": _post(f"predict_{name}", _TABLES, _wrapped("rows", rows), predictions, {"rows": example})},
        f"/models/{name}/labels": {"post": labels},
        **_label_request_paths(deployment),
        f"/v1/models/{name}:predict": {
            "post": _post(
                f"v1_predict_{name}",
                "KServe V1, TensorFlow Serving, Vertex AI.",
                _open("instances", instances),
                _PREDICTED,
                {"instances": example},
            )
        },
        f"/v2/models/{name}/infer": {
            "post": _post(
                f"v2_infer_{name}",
                "Open Inference Protocol: a tensor a column, or one matrix in the order of the metadata. Raw tensors may follow the JSON "
                "(binary tensor extension).",
                tensors_schema(),
                {"type": "object", "required": ["model_name", "outputs"]},
                _tensors_example(deployment, example[:1]),
            )
        },
    }


def _label_request_paths(deployment: Deployment) -> Document:
    name, path = deployment.model, f"/models/{deployment.model}/label-requests"
    text = (
        "Draws predictions that have no label, each with the same probability, for somebody to label; the same key gives the same answer."
    )
    draw = _post(
        f"draw_label_request_{name}",
        text,
        label_request_schema(deployment.artifact.schema),
        {"$ref": "#/components/schemas/LabelRequest"},
        {"k": 50, "key": "week-10"},
    )
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/LabelRequestProgress"}}}
    progress = _get(f"label_request_{name}", "How many labels of a request have come, and which predictions still have none.", answer)
    key: Document = {"name": "key", "in": "path", "required": True, "schema": REQUEST_KEY}
    return {path: {"post": draw}, f"{path}/{{key}}": {"get": {**progress, "parameters": [key]}}}


def _rows_of(deployment: Deployment, max_rows: int) -> Described:
    return rows_schema({"$ref": f"#/components/schemas/Row.{deployment.model}"}, max_rows)


def _invocations(deployment: Deployment, max_rows: int) -> Document:
    body = {
        "type": "object",
        "properties": {"dataframe_records": _rows_of(deployment, max_rows), "params": {}},
        "required": ["dataframe_records"],
        "additionalProperties": False,
    }
    text = "MLflow and SageMaker: dataframe_records as below; also dataframe_split, instances, inputs, CSV, Parquet and Arrow."
    return {"post": _post("invocations", text, body, _PREDICTED, {"dataframe_records": _example(deployment)})}


def _example(deployment: Deployment) -> list[Document]:
    return made_up_rows(deployment.artifact.schema, deployment.artifact.manifest.data_end)


def _shown_paths(deployments: Sequence[Deployment]) -> Document:
    model = _parameter("model", [deployment.model for deployment in deployments])
    one_version = _parameter("version", [deployment.version for deployment in deployments])
    paths: Document = {}
    text = "Version, members, metrics, schema and an example of a model."
    paths["/models/{model}"] = {"get": {**_get("show_model", text, _json(_SERVED)), "parameters": [model]}}
    for prefix, operation, text in (
        ("/v1/models/{model}", "v1_model", "Whether a model answers (KServe)."),
        ("/v2/models/{model}", "v2_model", "Inputs and outputs of a model."),
        ("/v2/models/{model}/ready", "v2_model_ready", "Whether a model answers."),
        ("/v2/models/{model}/stats", "v2_model_statistics", "How much a model has answered."),
    ):
        paths[prefix] = {"get": {**_get(operation, text), "parameters": [model]}}
    paths["/v2/models/{model}/versions/{version}"] = {
        "get": {**_get("v2_version", "The same of a version; only the one that answers is there."), "parameters": [model, one_version]}
    }
    return paths


def _tensors_example(deployment: Deployment, rows: Sequence[Mapping[str, Any]]) -> Document:
    datatypes = datatypes_of(deployment.artifact.schema)
    inputs = []
    for name in rows[0]:
        data = [row[name] for row in rows]
        datatype = datatypes.get(name, "BYTES" if isinstance(data[0], str) else "FP64")
        if datatype == "INT64":
            data = [int(value) for value in data]
        inputs.append({"name": name, "datatype": datatype, "shape": [len(data)], "data": data})
    return {"inputs": inputs}


def _parameter(name: str, values: list[str]) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}


def _get(operation: str, text: str, content: Document | None = None) -> Document:
    answer = content if content is not None else {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": operation,
        "summary": text,
        "responses": {"200": {"description": "It is.", "content": answer}, "default": _REFUSED},
    }


def _post(
    operation: str, text: str, body: Document, answer: Document, example: Document | None = None, *, is_required: bool = True
) -> Document:
    content: Document = {"schema": body} if example is None else {"schema": body, "example": example}
    return {
        "operationId": operation,
        "summary": text,
        "requestBody": {"required": is_required, "content": {"application/json": content}},
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}},
            **{status: {"$ref": f"#/components/responses/{name}"} for status, name in _NAMES.items()},
            "default": _REFUSED,
        },
    }


def _wrapped(name: str, content: Document) -> Document:
    return {**_open(name, content), "additionalProperties": False}


def _open(name: str, content: Document) -> Document:
    return {"type": "object", "properties": {name: content}, "required": [name]}


def _refusals() -> Document:
    retry = {
        "description": "Seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
    return {
        "TooLarge": _refusal(413, "More rows or bytes than one request may have"),
        "TooOften": _refusal(429, "The key has asked more often than its rate allows") | {"headers": {"Retry-After": retry}},
        "Unavailable": _refusal(503, "Not now, but worth another try", "worker.replaced") | {"headers": {"Retry-After": retry}},
        "TooLate": _refusal(504, "No answer within the deadline; whether something was recorded is not known", "deadline.exceeded"),
    }


def _refusal(status: int, text: str, *codes_of_the_worker: str) -> Document:
    codes = dict.fromkeys([*(code for _, answered, code in TABLE if answered == status), *codes_of_the_worker])
    return {**_REFUSED, "description": f"{text}. `code` is one of: {', '.join(codes)}."}


_NAMES = {"413": "TooLarge", "429": "TooOften", "503": "Unavailable", "504": "TooLate"}
_REFUSED = {
    "description": "One error object for every failure; `fields` names every bad value.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_PREDICTED = {"type": "object", "properties": {"predictions": {"type": "array", "minItems": 1}}, "required": ["predictions"]}
_INDEX = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
