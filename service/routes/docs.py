"""``/openapi.json`` and a page that shows it; every asset is ours and served from here."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, g
from werkzeug.exceptions import NotFound

from service.models.deployments import Deployments
from service.openapi.document import document
from service.web.responses import json_response

MOST_WRITTEN = 16
PAGES = Path(__file__).parents[1] / "openapi" / "pages"
ASSETS = {"docs.css": "text/css; charset=utf-8", "docs.js": "text/javascript; charset=utf-8"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)


def blueprint(deployments: Deployments, default_model: str | None, max_rows: int) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("docs", __name__)
    written: dict[tuple[tuple[str, str], ...], bytes] = {}  # by what is seen of what is served: anybody may ask, and often

    @routes.get("/openapi.json")
    def openapi() -> Response:
        """Return the document of the models that the key may see."""
        loaded = [deployment for deployment in deployments.all() if g.visible.includes(deployment.model)]
        seen = tuple((deployment.model, deployment.version) for deployment in loaded)
        content = written.get(seen)
        if content is None:
            only = loaded[0].model if len(loaded) == 1 else None
            content = json_response(document(loaded, default_model or only, max_rows)).get_data()
            if len(written) >= MOST_WRITTEN:
                written.clear()
            written[seen] = content
        return Response(content, content_type="application/json")

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
    return page_response((PAGES / name).read_bytes(), content_type)


def page_response(content: bytes, content_type: str) -> Response:
    """Return a page or an asset of one, which may load only what is ours."""
    response = Response(content, content_type=content_type)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
