"""Probes and metrics: alive, ready (honestly), and what Prometheus reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response, g
from prometheus_client import CollectorRegistry

from service.models.deployments import Deployments
from service.routes.readiness import readiness
from service.telemetry.metrics import DeploymentInfo, scrape
from service.web.api_keys import VisibleModels
from service.web.responses import json_response

_MODEL = re.compile(rb'[{,]model="([^"]*)"')


def blueprint(
    deployments: Deployments,
    registry: CollectorRegistry,
    metrics_folder: Path | None,
    flush: Callable[[], None],
    why_degraded: Callable[[], str | None],
) -> Blueprint:
    """Return the routes.

    Parameters
    ----------
    flush
        Brings in what this worker has counted in memory.
    why_degraded
        A sentence when predictions have waited for the log too long, or the database is damaged; None while all is well.
    """
    routes = Blueprint("health", __name__)
    info = DeploymentInfo(deployments.facts)

    @routes.get("/livez")
    def livez() -> Response:
        return json_response({"status": "alive"})

    @routes.get("/readyz")
    def readyz() -> Response:
        """Return whether every model is served; 503 when not, with the reason for who may read it."""
        content = readiness(deployments, g.visible, why_degraded())
        return json_response(content, 200 if content["status"] == "ready" else 503)

    @routes.get("/metrics")
    def metrics() -> Response:
        flush()
        text = scrape(registry, metrics_folder, info)
        return Response(text if g.visible.is_all else _seen(text, g.visible), content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _seen(text: bytes, visible: VisibleModels) -> bytes:
    """Leave the series of models out that a key is not for; what counts for all models together stays."""

    def is_shown(line: bytes) -> bool:
        model = _MODEL.search(line)
        return line.startswith(b"#") or model is None or not model[1] or visible.includes(model[1].decode())

    return b"".join(line for line in text.splitlines(keepends=True) if is_shown(line))
