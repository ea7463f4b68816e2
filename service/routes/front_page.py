"""What a browser gets at ``/``: a page that links to what is here; of models only those the caller may be told of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from flask import Request, Response

from service.models.served_model import Deployment
from service.routes.docs import page_response

_HTML = "text/html"
_LINKS = (
    ("docs", "every route, and a place to try it"),
    ("openapi.json", "the same as OpenAPI 3.1"),
    ("models", "the models that are served"),
    ("readyz", "whether every model answers"),
    ("livez", "whether the process works"),
    ("metrics", "what Prometheus reads"),
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evergreen</title>
<link rel="stylesheet" href="docs/docs.css">
<link rel="icon" href="data:,">
</head>
<body>
<header><h1>Evergreen</h1><p>A service of models. Where keys are needed, these ask for one.</p></header>
<ul>
{links}
</ul>
{models}</body>
</html>
"""


def wants_page(request: Request) -> bool:
    """Return whether ``Accept`` names HTML: a browser's does, no client's of KServe does, and ``*/*`` does not."""
    return any(kind.lower() == _HTML and quality > 0 for kind, quality in request.accept_mimetypes)


def front_page(seen: Iterable[Deployment]) -> Response:
    """Return the page; `seen` are the deployments that the caller may be told of."""
    models = "".join(
        f'<li><a href="models/{quote(deployment.model, safe="")}"><code>{escape(deployment.model)}</code></a> '
        f"answers with <code>{escape(deployment.version)}</code></li>\n"
        for deployment in seen
    )
    links = "\n".join(f'<li><a href="{path}"><code>/{path}</code></a> {text}</li>' for path, text in _LINKS)
    listed = f"<h2>Models</h2>\n<ul>\n{models}</ul>\n" if models else ""
    return page_response(_PAGE.format(links=links, models=listed).encode(), f"{_HTML}; charset=utf-8")
