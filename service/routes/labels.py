"""``POST /models/<model>/labels``: the truth, when it arrives."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flask import Blueprint, Response, request

from service.answers import json_answer
from service.bodies import sent_bytes
from service.deployments import Deployments
from service.encodings import Limits
from service.errors import InvalidRowsError
from service.label_log import LabelResult
from service.labelling import Labelling
from service.payloads import LabelPayload, label_payloads


def blueprint(deployments: Deployments, labelling: Labelling, limits: Limits) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("labels", __name__)

    @routes.post("/models/<model>/labels")
    def label(model: str) -> Response:
        """Take the truth of some rows; tell of each whether it was matched."""
        deployment = deployments.current(model)
        payloads, problems = label_payloads(sent_bytes(request), limits.max_rows, limits.max_depth)
        if problems:
            raise InvalidRowsError(problems[:100], len(problems))
        results = labelling.join(deployment, payloads)
        return json_answer(
            {
                "results": [_content(payload, result) for payload, result in zip(payloads, results, strict=True)],
                "counts": dict(Counter(result.status for result in results)),
            }
        )

    return routes


def _content(payload: LabelPayload, result: LabelResult) -> dict[str, Any]:
    name = {"id": payload.id} if payload.id is not None else {"own_id": payload.own_id}
    reason = {"reason": result.reason} if result.reason else {}
    return {**name, "status": result.status, **reason}
