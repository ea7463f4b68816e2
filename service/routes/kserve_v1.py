"""KServe's first protocol, which TensorFlow Serving's and Vertex AI's clients speak too: instances in, predictions out."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request
from werkzeug.routing import BaseConverter

from service.answering import Answer, Answering
from service.answers import json_answer
from service.columns import Table
from service.deployment import Deployment
from service.deployments import Deployments
from service.encodings import Limits, judge, stamped
from service.errors import UnreadableBodyError
from service.tables import from_instances


class _Name(BaseConverter):
    """What may stand before ``:predict``."""

    regex = "[^/:]+"


def blueprint(deployments: Deployments, answering: Answering, limits: Limits) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("kserve_v1", __name__)
    routes.record_once(lambda state: state.app.url_map.converters.update(name=_Name))

    @routes.get("/")
    def alive() -> Response:
        return json_answer({"status": "alive"})

    @routes.get("/v1/models")
    def models() -> Response:
        return json_answer({"models": [deployment.model for deployment in deployments.all()]})

    @routes.get("/v1/models/<name:model>")
    def model(model: str) -> Response:
        deployment = deployments.current(model)
        state = {"version": deployment.version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return json_answer({"name": deployment.model, "ready": True, "model_version_status": [state]})

    @routes.post("/v1/models/<name:model>:predict")
    def predict(model: str) -> Response:
        body = limits.body(request)
        answer = answering.answer(model, lambda deployment: _table(deployment, body, limits))
        return stamped(predictions_answer(answer), answer)

    return routes


def predictions_answer(answer: Answer) -> Response:
    """Give ``{"predictions": [...]}``: labels or values, and for classes their probabilities beside them."""
    prediction = answer.prediction
    content: dict[str, Any] = {"predictions": prediction.label.tolist()}
    if prediction.probability is not None:
        content |= {"probabilities": prediction.probability.tolist(), "classes": prediction.classes}
    content |= {"model_name": answer.deployment.model, "model_version": answer.deployment.version, "prediction_id": answer.prefix}
    response = Response(orjson.dumps(content))
    response.headers["Content-Type"] = "application/json"
    return response


def _table(deployment: Deployment, body: bytes, limits: Limits) -> Table:
    content = limits.json(body)
    given = [name for name in ("instances", "inputs") if isinstance(content, dict) and name in content]
    if len(given) != 1:
        raise UnreadableBodyError('the body must be a JSON object with "instances" (or "inputs", not both)')
    return judge(deployment.reader, from_instances(content[given[0]], deployment.artifact.schema, limits.max_rows))
