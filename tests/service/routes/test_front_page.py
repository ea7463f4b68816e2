"""``GET /``: a page for browsers, the bytes of always for everybody else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask import Flask

from service.app import create_app, service_of
from service.web.api_keys import new_key

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "text/*", "text/html;q=0", "text/htmlx"], ids=lambda accept: accept or "nothing"
)
def test_who_does_not_name_html_gets_the_bytes_that_kserve_needs(app: Flask, accept: str | None) -> None:
    answer = app.test_client().get("/", headers={} if accept is None else {"Accept": accept})

    assert (answer.status_code, answer.data, answer.headers["Content-Type"]) == (200, b'{"status":"alive"}', "application/json")
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "application/json, text/html;q=0.1", "TEXT/HTML"])
def test_a_browser_gets_a_page_whose_links_all_lead_somewhere(app: Flask, accept: str) -> None:
    client = app.test_client()

    answer = client.get("/", headers={"Accept": accept})

    links = re.findall(r'href="([^":]+)"', answer.text)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Vary"] == "Accept"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert {"docs", "openapi.json", "models", "models/bikes", "models/fares", "readyz", "metrics"} <= set(links)
    assert {client.get(f"/{link}").status_code for link in links} == {200}


@pytest.mark.parametrize(
    ("scopes", "models", "named"),
    [
        (None, ["*"], set()),
        (["predict"], ["*"], set()),
        (["read"], ["*"], {"models/bikes", "models/fares"}),
        (["read"], ["fares"], {"models/fares"}),
    ],
    ids=["no key", "a key that may not read", "a key for all", "a key for one"],
)
def test_models_are_named_only_to_those_who_may_read_them(place: Any, scopes: list[str] | None, models: list[str], named: set[str]) -> None:
    text, digest = new_key()
    path = place.home.keys / "api_keys.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"keys": [{"id": "r", "sha256": digest, "scopes": scopes or ["read"], "models": models}]}))
    app = create_app(place.settings(keys_file=path))
    service_of(app).follower.refresh()

    answer = app.test_client().get("/", headers={"Accept": BROWSER} | ({} if scopes is None else {"X-API-Key": text}))

    assert answer.status_code == 200
    assert set(re.findall(r'href="(models/[^"]+)"', answer.text)) == named
    assert ("bikes" in answer.text, "fares" in answer.text) == ("models/bikes" in named, "models/fares" in named)
    service_of(app).stop()
