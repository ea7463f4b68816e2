"""The Open Inference Protocol (V2) over REST, with raw tensors, the repository and statistics."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, g, request

from service.codecs.open_inference import LENGTH_HEADER, InferRequest, read_request, tensors_of, write_answer
from service.errors import UnknownModelError, UnreadableBodyError, UnsupportedError
from service.models.deployments import Deployments
from service.models.served_model import Deployment
from service.predicting import Answer, Predicting
from service.routes.prediction_json import stamped, warnings_of
from service.routes.readiness import refuse_unless_ready
from service.routes.reading import Limits, judge
from service.telemetry.statistics import Statistics
from service.web.bodies import sent_bytes
from service.web.responses import json_response

EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics")


def blueprint(
    deployments: Deployments,
    predicting: Predicting,
    limits: Limits,
    statistics: Statistics,
    *,
    refresh: Callable[[], None],
    release: Callable[[], str],
) -> Blueprint:
    """Return the routes; `refresh` looks at the registry's aliases."""
    routes = Blueprint("open_inference", __name__, url_prefix="/v2")

    @routes.get("", strict_slashes=False)
    def server() -> Response:
        return json_response({"name": "evergreen", "version": release(), "extensions": EXTENSIONS})

    @routes.get("/health/live")
    def live() -> Response:
        return json_response({"live": True})

    @routes.get("/health/ready")
    def ready() -> Response:
        refuse_unless_ready(deployments, g.visible)
        return json_response({"ready": True, "live": True})

    @routes.get("/models")
    def models() -> Response:
        return json_response({"models": [deployment.model for deployment in _shown(deployments)]})

    @routes.get("/models/<model>")
    @routes.get("/models/<model>/versions/<version>")
    def model(model: str, version: str | None = None) -> Response:
        return json_response(_metadata(_chosen(deployments.current(model), version)))

    @routes.get("/models/<model>/ready")
    @routes.get("/models/<model>/versions/<version>/ready")
    def model_ready(model: str, version: str | None = None) -> Response:
        return json_response({"name": _chosen(deployments.current(model), version).model, "ready": True})

    @routes.post("/models/<model>/infer")
    @routes.post("/models/<model>/versions/<version>/infer")
    def infer(model: str, version: str | None = None) -> Response:
        """Predict tensors."""
        with limits.readers:
            body, header = limits.body(request), request.headers.get(LENGTH_HEADER)
            deployment = _chosen(predicting.deployment(model), version)
            schema = deployment.artifact.schema
            sent = read_request(body, header, schema, limits.rows_of(schema), limits.max_depth)
            table = judge(deployment.reader, sent.table)
        answer = predicting.predict(deployment, table, g.request_id, g.trace.trace_id, g.key)
        return _inferred(answer, sent)

    @routes.get("/models/stats")
    @routes.get("/models/<model>/stats")
    @routes.get("/models/<model>/versions/<version>/stats")
    def model_statistics(model: str | None = None, version: str | None = None) -> Response:
        chosen = _shown(deployments) if model is None else [_chosen(deployments.current(model), version)]
        return json_response({"model_stats": [statistics.of(deployment.model, deployment.version) for deployment in chosen]})

    _add_repository(routes, deployments, limits, refresh)
    return routes


def _add_repository(routes: Blueprint, deployments: Deployments, limits: Limits, refresh: Callable[[], None]) -> None:
    @routes.post("/repository/index")
    def index() -> Response:
        """List the models, on request only those that are ready."""
        with limits.readers:
            body = sent_bytes(request)
            content = limits.json(body) if body else {}
        if not isinstance(content, dict) or not isinstance(content.get("ready", False), bool):
            raise UnreadableBodyError('the body must be empty or {"ready": true | false}')
        entries = [{"name": d.model, "version": d.version, "state": "READY", "reason": ""} for d in _shown(deployments)]
        if not content.get("ready"):
            waiting = {name: reason for name, reason in deployments.unready().items() if g.visible.includes(name)}
            entries += [{"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason} for name, reason in waiting.items()]
        return json_response(entries)

    @routes.post("/repository/models/<model>/load")
    def load(model: str) -> Response:
        """Look at the aliases now instead of in a moment; which version answers, the registry says."""
        refresh()
        return json_response({"name": model, "version": deployments.current(model).version, "state": "READY", "reason": ""})

    @routes.post("/repository/models/<model>/unload")
    def unload(model: str) -> Response:
        deployments.current(model)
        raise UnsupportedError("models are not unloaded by request: what is served follows the registry and EVERGREEN_MODELS")


def _shown(deployments: Deployments) -> list[Deployment]:
    return [deployment for deployment in deployments.all() if g.visible.includes(deployment.model)]


def _chosen(deployment: Deployment, version: str | None) -> Deployment:
    if version is not None and version != deployment.version:
        raise UnknownModelError(f"version {version[:80]!r} of {deployment.model} does not answer here; {deployment.version} does")
    return deployment


def _metadata(deployment: Deployment) -> dict[str, Any]:
    inputs, outputs = tensors_of(deployment.artifact.schema, deployment.classes)
    return {
        "name": deployment.model,
        "versions": [deployment.version],
        "platform": "scikit-learn",
        "inputs": inputs,
        "outputs": outputs,
    }


def _inferred(answer: Answer, sent: InferRequest) -> Response:
    parameters = {"prediction_id": answer.prefix}
    if answer.prediction.classes is not None:
        parameters["classes"] = json.dumps(answer.prediction.classes)
    warnings = "; ".join(warnings_of(answer))
    head = {
        "model_name": answer.deployment.model,
        "model_version": answer.deployment.version,
        "id": g.request_id if sent.id is None else sent.id,
        "parameters": {**parameters, "warnings": warnings} if warnings else parameters,
    }
    content, json_bytes = write_answer(answer.prediction, sent.outputs, head, answer.prefix)
    response = Response(content)
    response.headers["Content-Type"] = "application/json" if json_bytes is None else "application/octet-stream"
    if json_bytes is not None:
        response.headers[LENGTH_HEADER] = str(json_bytes)
    return stamped(response, answer)
