"""Probes and metrics: alive, ready (honestly), and what Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry

from service.answers import json_answer
from service.deployments import Deployments
from service.metrics import DeploymentInfo, scrape


def blueprint(deployments: Deployments, registry: CollectorRegistry, metrics_folder: Path | None, flush: Callable[[], None]) -> Blueprint:
    """Make the routes; `flush` brings in what this worker has counted in memory."""
    routes = Blueprint("health", __name__)
    info = DeploymentInfo(deployments.facts)

    @routes.get("/livez")
    def livez() -> Response:
        return json_answer({"status": "alive"})

    @routes.get("/readyz")
    def readyz() -> Response:
        """Say whether every model is served; 503 with the reason when not."""
        reason = deployments.why_not_ready()
        content = {
            "status": "ready" if reason is None else "not ready",
            "reason": reason or deployments.why_degraded(),
            "degraded": deployments.is_degraded(),
            "models": {deployment.model: deployment.version for deployment in deployments.all()},
        }
        return json_answer(content, 200 if reason is None else 503)

    @routes.get("/metrics")
    def metrics() -> Response:
        flush()
        return Response(scrape(registry, metrics_folder, info), content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
