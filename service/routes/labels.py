"""``POST /models/<model>/labels``: the true outcome, when it arrives."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flask import Blueprint, Response, request

from service.codecs.label_bodies import SentLabels, read_labels
from service.labelling import Labelling
from service.models.deployments import Deployments
from service.prediction_log.labels import LabelResult
from service.routes.reading import Limits
from service.web.responses import json_response


def blueprint(deployments: Deployments, labelling: Labelling, limits: Limits) -> Blueprint:
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

    return routes


def _contents(sent: SentLabels, results: list[LabelResult]) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = [
        {"own_id": own_id, "status": result.status} if identity is None else {"id": identity, "status": result.status}
        for identity, own_id, result in zip(sent.ids, sent.own_ids, results, strict=True)
    ]
    for content, result in zip(contents, results, strict=True):
        if result.reason:
            content["reason"] = result.reason
    return contents
