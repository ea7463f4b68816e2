"""``POST /models/<model>/predict``: rows or columns as JSON, CSV, Arrow or Parquet; answers as JSON or Arrow."""

from __future__ import annotations

import math
from typing import Any

import orjson
from flask import Blueprint, Response, g, request

from service.answering import Answer, Answering
from service.arrow import to_arrow
from service.bodies import ARROW, JSON, kind_of
from service.columns import Table
from service.deployment import Deployment
from service.encodings import Limits, judge, read_encoded, stamped, warnings_of
from service.failpoints import Failpoint
from service.payloads import columns_in, parse_json, rows_in
from service.tables import SentTable, from_columns


def blueprint(answering: Answering, *, limits: Limits, failpoint: Failpoint) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("rows", __name__)

    @routes.post("/models/<model>/predict")
    def predict(model: str) -> Response:
        body, kind = limits.body(request), kind_of(request)
        answer = answering.answer(model, lambda deployment: _table(deployment, kind, body, limits))
        wants_arrow = request.accept_mimetypes.best_match([JSON, ARROW], default=JSON) == ARROW
        content = _arrow(answer, g.request_id) if wants_arrow else orjson.dumps(answer_content(answer, g.request_id))
        response = Response(content)
        response.headers["Content-Type"] = ARROW if wants_arrow else JSON
        failpoint("answer")
        return stamped(response, answer)

    return routes


def _table(deployment: Deployment, kind: str, body: bytes, limits: Limits) -> Table:
    sent: SentTable | list[Any] | None = read_encoded(kind, body, deployment.artifact.schema, limits)
    if sent is None:
        content = parse_json(body)
        is_columnar = isinstance(content, dict) and "columns" in content and "rows" not in content
        sent = from_columns(columns_in(content), limits.max_rows) if is_columnar else rows_in(content, limits.max_rows)
    return judge(deployment.reader, sent)


def _arrow(answer: Answer, request_id: str) -> bytes:
    facts = {"model": answer.deployment.model, "version": answer.deployment.version, "request_id": request_id}
    return to_arrow(answer.prediction, answer.ids, answer.table.own_ids, facts)


def answer_content(answer: Answer, request_id: str) -> dict[str, Any]:
    """Give the JSON content of an answer."""
    return {
        "model": answer.deployment.model,
        "version": answer.deployment.version,
        "predictions": _with_own_ids(_predictions(answer), answer.table.own_ids),
        "request_id": request_id,
        "warnings": warnings_of(answer),
    }


def _predictions(answer: Answer) -> list[dict[str, Any]]:
    prefix, prediction = answer.prefix, answer.prediction
    labels = prediction.label.tolist()
    if prediction.probability is None:
        return [{"id": f"{prefix}-{row}", "value": value if math.isfinite(value) else None} for row, value in enumerate(labels)]
    classes = prediction.classes or ()
    return [
        {"id": f"{prefix}-{row}", "label": label, "probabilities": dict(zip(classes, numbers, strict=True))}
        for row, (label, numbers) in enumerate(zip(labels, prediction.probability.tolist(), strict=True))
    ]


def _with_own_ids(predictions: list[dict[str, Any]], own_ids: list[str | None] | None) -> list[dict[str, Any]]:
    for prediction, own_id in zip(predictions, own_ids or (), strict=bool(own_ids)):
        if own_id is not None:
            prediction["own_id"] = own_id
    return predictions
