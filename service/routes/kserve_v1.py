"""KServe's first protocol, which TensorFlow Serving's and Vertex AI's clients speak too: instances in, predictions out."""

from __future__ import annotations

from flask import Blueprint, Response, g, request
from werkzeug.routing import BaseConverter

from service.codecs.tables import from_instances
from service.columns.reader import Table
from service.errors import UnreadableBodyError
from service.models.deployments import Deployments
from service.models.served_model import Deployment
from service.predicting import Predicting
from service.routes.front_page import front_page, wants_page
from service.routes.prediction_json import predictions_response
from service.routes.reading import Limits, judge
from service.web.responses import json_response


class _Name(BaseConverter):
    """What may stand before ``:predict``."""

    regex = "[^/:]+"


def blueprint(deployments: Deployments, predicting: Predicting, limits: Limits) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("kserve_v1", __name__)
    routes.record_once(lambda state: state.app.url_map.converters.update(name=_Name))

    @routes.get("/")
    def alive() -> Response:
        """Return what KServe's clients ask for, to a browser a page."""
        seen = (deployment for deployment in deployments.all() if g.visible.includes(deployment.model))
        response = front_page(seen) if wants_page(request) else json_response({"status": "alive"})
        response.headers["Vary"] = "Accept"
        return response

    @routes.get("/v1/models")
    def models() -> Response:
        return json_response({"models": [deployment.model for deployment in deployments.all() if g.visible.includes(deployment.model)]})

    @routes.get("/v1/models/<name:model>")
    def model(model: str) -> Response:
        deployment = deployments.current(model)
        state = {"version": deployment.version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return json_response({"name": deployment.model, "ready": True, "model_version_status": [state]})

    @routes.post("/v1/models/<name:model>:predict")
    def predict(model: str) -> Response:
        with limits.readers:
            body = limits.body(request)
            deployment = predicting.deployment(model)
            table = _table(deployment, body, limits)
        return predictions_response(predicting.predict(deployment, table, g.request_id, g.trace.trace_id, g.key))

    return routes


def _table(deployment: Deployment, body: bytes, limits: Limits) -> Table:
    content = limits.json(body)
    given = [name for name in ("instances", "inputs") if isinstance(content, dict) and name in content]
    if len(given) != 1:
        raise UnreadableBodyError('the body must be a JSON object with "instances" (or "inputs", not both)')
    schema = deployment.artifact.schema
    return judge(deployment.reader, from_instances(content[given[0]], schema, limits.rows_of(schema)))
