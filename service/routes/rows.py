"""``POST /models/<model>/predict``: rows as JSON objects."""

from __future__ import annotations

import math
from typing import Any

import orjson
from flask import Blueprint, Response, g, request

from service.answering import Answer, Answering
from service.failpoints import Failpoint
from service.payloads import predict_rows


def blueprint(answering: Answering, *, max_rows: int, failpoint: Failpoint) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("rows", __name__)

    @routes.post("/models/<model>/predict")
    def predict(model: str) -> Response:
        rows = predict_rows(request.get_data(cache=False), max_rows)
        answer = answering.answer_rows(model, rows)
        response = Response(orjson.dumps(answer_content(answer, g.request_id)))
        response.headers["Content-Type"] = "application/json"
        failpoint("answer")
        return response

    return routes


def answer_content(answer: Answer, request_id: str) -> dict[str, Any]:
    """Give the JSON content of an answer."""
    return {
        "model": answer.deployment.model,
        "version": answer.deployment.version,
        "predictions": _with_own_ids(_predictions(answer), answer.table.own_ids),
        "request_id": request_id,
        "warnings": [
            f"column {name[:100]!r} is not known and was ignored in {rows} rows{answer.deployment.reader.hint(name)}"
            for name, rows in list(answer.table.ignored.items())[:20]
        ],
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
