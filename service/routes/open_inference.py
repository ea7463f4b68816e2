"""The Open Inference Protocol (V2) over REST, with raw tensors, the repository and statistics."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, g, request

from service.answering import Answer, Answering
from service.answers import json_answer
from service.bodies import sent_bytes
from service.deployment import Deployment
from service.deployments import Deployments
from service.encodings import Limits, judge, stamped, warnings_of
from service.errors import ModelNotReadyError, UnknownModelError, UnreadableBodyError, UnsupportedError
from service.inference import LENGTH_HEADER, InferRequest, read_request, tensors_of, write_answer
from service.statistics import Statistics

EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics")


def blueprint(
    deployments: Deployments, answering: Answering, limits: Limits, statistics: Statistics, release: Callable[[], str]
) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("open_inference", __name__, url_prefix="/v2")

    @routes.get("", strict_slashes=False)
    def server() -> Response:
        return json_answer({"name": "evergreen", "version": release(), "extensions": EXTENSIONS})

    @routes.get("/health/live")
    def live() -> Response:
        return json_answer({"live": True})

    @routes.get("/health/ready")
    def ready() -> Response:
        reason = deployments.why_not_ready()
        if reason is not None:
            raise ModelNotReadyError(reason)
        return json_answer({"ready": True, "live": True})

    @routes.get("/models")
    def models() -> Response:
        return json_answer({"models": [deployment.model for deployment in deployments.all()]})

    @routes.get("/models/<model>")
    @routes.get("/models/<model>/versions/<version>")
    def model(model: str, version: str | None = None) -> Response:
        return json_answer(_metadata(_chosen(deployments.current(model), version)))

    @routes.get("/models/<model>/ready")
    @routes.get("/models/<model>/versions/<version>/ready")
    def model_ready(model: str, version: str | None = None) -> Response:
        return json_answer({"name": _chosen(deployments.current(model), version).model, "ready": True})

    @routes.post("/models/<model>/infer")
    @routes.post("/models/<model>/versions/<version>/infer")
    def infer(model: str, version: str | None = None) -> Response:
        """Answer tensors."""
        body, header = limits.body(request), request.headers.get(LENGTH_HEADER)
        sent: list[InferRequest] = []

        def read(deployment: Deployment) -> Any:
            schema = _chosen(deployment, version).artifact.schema
            sent.append(read_request(body, header, schema, limits.max_rows, limits.max_depth))
            return judge(deployment.reader, sent[0].table)

        answer = answering.answer(model, read)
        return _inferred(answer, sent[0])

    @routes.get("/models/stats")
    @routes.get("/models/<model>/stats")
    @routes.get("/models/<model>/versions/<version>/stats")
    def model_statistics(model: str | None = None, version: str | None = None) -> Response:
        chosen = deployments.all() if model is None else [_chosen(deployments.current(model), version)]
        return json_answer({"model_stats": [statistics.of(deployment.model, deployment.version) for deployment in chosen]})

    _add_repository(routes, deployments, limits)
    return routes


def _add_repository(routes: Blueprint, deployments: Deployments, limits: Limits) -> None:
    @routes.post("/repository/index")
    def index() -> Response:
        """List the models, on request only those that are ready."""
        body = sent_bytes(request)
        content = limits.json(body) if body else {}
        if not isinstance(content, dict) or not isinstance(content.get("ready", False), bool):
            raise UnreadableBodyError('the body must be empty or {"ready": true | false}')
        entries = [{"name": d.model, "version": d.version, "state": "READY", "reason": ""} for d in deployments.all()]
        if not content.get("ready"):
            waiting = deployments.unready()
            entries += [{"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason} for name, reason in waiting.items()]
        return json_answer(entries)

    @routes.post("/repository/models/<model>/load")
    def load(model: str) -> Response:
        """Look at the aliases now instead of in a moment; which version answers, the registry says."""
        deployments.refresh()
        return json_answer({"name": model, "version": deployments.current(model).version, "state": "READY", "reason": ""})

    @routes.post("/repository/models/<model>/unload")
    def unload(model: str) -> Response:
        deployments.current(model)
        raise UnsupportedError("models are not unloaded by request: what is served follows the registry and EVERGREEN_MODELS")


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
