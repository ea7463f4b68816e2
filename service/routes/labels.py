"""``POST /models/<model>/labels``: the true outcome, when it arrives; ``/label-requests``: predictions drawn to be labelled."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flask import Blueprint, Response, request

from service.codecs.label_bodies import SentLabels, read_labels
from service.codecs.label_request_bodies import read_label_request
from service.label_requests.drawing import DrawnPrediction, LabelRequest, LabelRequests
from service.label_requests.written import rule_of, written_row, written_time
from service.labelling import Labelling
from service.models.deployments import Deployments
from service.prediction_log.labels import LabelResult
from service.routes.reading import Limits
from service.web.responses import json_response
from training.schema.schema import Schema


def blueprint(deployments: Deployments, labelling: Labelling, requests: LabelRequests, limits: Limits) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("labels", __name__)

    @routes.post("/models/<model>/labels")
    def label(model: str) -> Response:
        """Store the true outcomes of some rows; say of each whether it was matched."""
        deployment = deployments.current(model)
        with limits.readers:
            sent = read_labels(limits.body(request), limits.max_rows, limits.max_depth)
        results = labelling.join(deployment, sent)
        counts = dict(Counter([result.status for result in results]))
        return json_response({"results": _contents(sent, results), "counts": counts})

    @routes.post("/models/<model>/label-requests")
    def draw(model: str) -> Response:
        """Draw predictions to be labelled, once a key."""
        deployment = deployments.current(model)
        with limits.readers:
            wanted = read_label_request(limits.body(request), deployment.spec.schema, limits.max_depth)
        drawn = requests.draw(model, wanted, rule_of(deployment.spec))
        rows = [written_row(deployment.spec.schema, each) for each in requests.predictions(drawn)]
        return json_response({**_facts(drawn, deployment.spec.schema), "predictions": rows})

    @routes.get("/models/<model>/label-requests/<key>")
    def progress(model: str, key: str) -> Response:
        """Show how far the labels of a request have come, and which are still open."""
        schema = deployments.current(model).spec.schema
        drawn = requests.find(model, key)
        return json_response({**_facts(drawn, schema), **_progress(drawn, requests.predictions(drawn), schema)})

    return routes


def _facts(drawn: LabelRequest, schema: Schema) -> dict[str, Any]:
    return {
        "model": drawn.model,
        "key": drawn.key,
        "k": drawn.k,
        "from": written_time(schema, drawn.start_us),
        "to": written_time(schema, drawn.end_us),
        "rows": drawn.rows,
        "eligible": drawn.eligible,
        "drawn": drawn.drawn,
        "probability": drawn.probability,
    }


def _progress(drawn: LabelRequest, predictions: list[DrawnPrediction], schema: Schema) -> dict[str, Any]:
    open_ones = [each for each in predictions if each.label is None]
    return {
        "answered": len(predictions) - len(open_ones),
        "open": len(open_ones),
        "forgotten": drawn.drawn - len(predictions),
        "predictions": [written_row(schema, each) for each in open_ones],
    }


def _contents(sent: SentLabels, results: list[LabelResult]) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = [
        {"own_id": own_id, "status": result.status} if identity is None else {"id": identity, "status": result.status}
        for identity, own_id, result in zip(sent.ids, sent.own_ids, results, strict=True)
    ]
    for content, result in zip(contents, results, strict=True):
        if result.reason:
            content["reason"] = result.reason
    return contents
