"""``/openapi.json`` and a page that shows it; every asset is ours and served from here."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from service.answers import json_answer
from service.deployments import Deployments
from service.openapi import document

PAGES = Path(__file__).parents[1] / "pages"
ASSETS = {"docs.css": "text/css; charset=utf-8", "docs.js": "text/javascript; charset=utf-8"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)


def blueprint(deployments: Deployments, default_model: str | None, max_rows: int) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("documents", __name__)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        loaded = deployments.all()
        only = loaded[0].model if len(loaded) == 1 else None
        return json_answer(document(loaded, default_model or only, max_rows))

    @routes.get("/docs", strict_slashes=False)
    def docs() -> Response:
        return _page("docs.html", "text/html; charset=utf-8")

    @routes.get("/docs/<asset>")
    def asset(asset: str) -> Response:
        if asset not in ASSETS:
            raise NotFound
        return _page(asset, ASSETS[asset])

    return routes


def _page(name: str, content_type: str) -> Response:
    response = Response((PAGES / name).read_bytes(), content_type=content_type)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
