"""``GET /models`` and ``GET /models/<model>``: what is served here, and what a request looks like."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from service.answers import json_answer
from service.deployment import Deployment
from service.deployments import Deployments


def blueprint(deployments: Deployments) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("models", __name__)

    @routes.get("/models")
    def list_models() -> Response:
        return json_answer({"models": [_short(deployment) for deployment in deployments.all()]})

    @routes.get("/models/<model>")
    def show_model(model: str) -> Response:
        return json_answer(_long(deployments.current(model)))

    return routes


def _short(deployment: Deployment) -> dict[str, Any]:
    return {
        "model": deployment.model,
        "version": deployment.version,
        "task": deployment.artifact.schema.task,
        "target": deployment.artifact.schema.target,
        "degraded": deployment.is_degraded,
    }


def _long(deployment: Deployment) -> dict[str, Any]:
    manifest = deployment.artifact.manifest
    return {
        **_short(deployment),
        "digest": deployment.artifact.digest,
        "algorithm": manifest.algorithm,
        "trained": manifest.created.isoformat(),
        "data_start": manifest.data_start.isoformat(),
        "data_end": manifest.data_end.isoformat(),
        "classes": None if deployment.classes is None else list(deployment.classes),
        "metrics": dict(manifest.metrics),
        "schema": deployment.artifact.schema.to_dict(),
        "warnings": list(deployment.artifact.warnings),
        "example": {"rows": [dict(row) for row in deployment.artifact.golden.rows[:1]]},
    }
