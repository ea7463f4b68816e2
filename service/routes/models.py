"""``GET /models`` and ``GET /models/<model>``: what is served here, and what a request looks like."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint, Response, g

from service.models.deployments import Deployments
from service.models.served_model import Deployment
from service.openapi.examples import made_up_rows
from service.web.responses import json_response
from training.artifacts.artifact import LoadedArtifact
from training.artifacts.manifest import generation_of
from training.artifacts.members import ALL, Member, shown
from training.clock import to_us
from training.schema.schema import Schema


def blueprint(deployments: Deployments) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("models", __name__)

    @routes.get("/models")
    def list_models() -> Response:
        return json_response({"models": [_short(deployment) for deployment in deployments.all() if g.visible.includes(deployment.model)]})

    @routes.get("/models/<model>")
    def show_model(model: str) -> Response:
        return json_response(_long(deployments.current(model)))

    return routes


def _short(deployment: Deployment) -> dict[str, Any]:
    return {
        "model": deployment.model,
        "version": deployment.version,
        "task": deployment.artifact.schema.task,
        "target": deployment.artifact.schema.target,
        "degraded": deployment.is_degraded,
        **_answering(deployment.artifact),
    }


def _answering(artifact: LoadedArtifact) -> dict[str, Any]:
    """Return which members answer, by which weights, maps and threshold; of a version with a fitted model of its own that."""
    manifest = artifact.manifest
    itself = Member(artifact.version, artifact.digest, ALL, manifest.trained_through_us, 1.0)
    return shown(
        manifest.members or (itself,),
        generation=generation_of(artifact.version),
        weighed_through_us=manifest.weighed_through_us,
        threshold=manifest.threshold,
        schema=artifact.schema,
    )


def _long(deployment: Deployment) -> dict[str, Any]:
    manifest, schema = deployment.artifact.manifest, deployment.artifact.schema
    return {
        **_short(deployment),
        "digest": deployment.artifact.digest,
        "algorithm": manifest.algorithm,
        "trained": manifest.created.isoformat(),
        "data_start": _shown(manifest.data_start, schema),
        "data_end": _shown(manifest.data_end, schema),
        "classes": None if deployment.classes is None else list(deployment.classes),
        "metrics": dict(manifest.metrics),
        "schema": deployment.artifact.schema.to_dict(),
        "warnings": list(deployment.artifact.warnings),
        "example": {"rows": made_up_rows(deployment.artifact.schema, manifest.data_end, 1)},
    }


def _shown(moment: datetime, schema: Schema) -> str | None:
    return moment.isoformat() if schema.is_dated(to_us(moment)) else None
