"""A web page cannot use a service that needs no key: what a browser sends for it is refused, and nobody else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from service.app import create_app, service_of
from service.errors import ForbiddenError, UnsupportedTypeError
from service.web.foreign_pages import ForeignPages

HERE = "127.0.0.1:8000"
EVIL = "https://evil.example"
ROWS = b'{"rows": [{"distance": 5, "_id": "evil-1"}]}'
LABELS = b'{"labels": [{"own_id": "evil-1", "label": 3}]}'
WRITES = ["/models/fares/predict", "/models/fares/labels", "/v1/models/fares:predict", "/v2/models/fares/infer", "/invocations",
          "/v2/repository/index", "/v2/repository/models/fares/load", "/nowhere"]  # fmt: skip
READS = ["/livez", "/readyz", "/models", "/metrics", "/openapi.json", "/docs", "/nowhere", "/"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1:8000", "127.0.0.2", "127.255.255.254:80", "[::1]", "[::1]:8000", "lab.test:9",
     "Other.Test"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_this_machine_s_own_names_are_answered_whatever_the_port(host: str, method: str) -> None:
    ForeignPages(["lab.test", "other.test:443"]).check({"REQUEST_METHOD": method, "HTTP_HOST": host})


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost.", "0.0.0.0:8000",
     "[::]:8000",
     "192.168.1.7", "[fe80::1]:8000", "evil@127.0.0.1:8000", "127.0.0.1:8000@evil.example", "127.0.0.1:8000:evil", "[::1]evil", "", ":8000",
     "[evil", "lab.test.evil"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_another_name_is_refused_whatever_is_asked(host: str, method: str) -> None:
    with pytest.raises(ForbiddenError, match="EVERGREEN_HOSTS"):
        ForeignPages(["lab.test"]).check({"REQUEST_METHOD": method, "HTTP_HOST": host})


def asked(headers: dict[str, str], method: str = "POST") -> dict[str, Any]:
    """The environment of a request with these headers."""
    return EnvironBuilder(method=method, headers={"Host": HERE, **headers}).get_environ()


@pytest.mark.parametrize(
    "headers",
    [{"Origin": EVIL}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:3000"}, {"Origin": "http://localhost:8000"}, {"Origin": ""},
     {"Origin": f"http://{HERE}.evil.example"}, {"Origin": f"ftp://{HERE}"}, {"Origin": f"http://{HERE}", "Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "Cross-Site"}, {"Sec-Fetch-Site": ""},
     {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"}, {"Origin": HERE}, {"Origin": f"http://{HERE}, {EVIL}"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "post"])
def test_a_page_from_elsewhere_sends_nothing(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(ForbiddenError):
        ForeignPages().check({**asked(headers), "REQUEST_METHOD": method})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_from_elsewhere_may_ask_for_what_it_cannot_read(method: str) -> None:
    ForeignPages().check(asked({"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, method))


@pytest.mark.parametrize("kind", ["text/plain", "Text/Plain; charset=utf-8", " text/plain ", "application/x-www-form-urlencoded",
                                  "multipart/form-data; boundary=x", "multipart/mixed"])  # fmt: skip
@pytest.mark.parametrize("headers", [{"Origin": f"http://{HERE}"}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Mode": "navigate"},
                                     {"Sec-Fetch-Dest": "document"}, {"Sec-Fetch-User": "?1"}], ids=str)  # fmt: skip
def test_a_browser_sends_no_type_for_which_it_asks_nobody(headers: dict[str, str], kind: str) -> None:
    with pytest.raises(UnsupportedTypeError):
        ForeignPages().check(asked({**headers, "Content-Type": kind}))


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
def test_who_is_no_browser_may_leave_the_type_as_it_is(kind: str) -> None:
    ForeignPages().check(asked({"Content-Type": kind}))


@pytest.mark.parametrize("host", [HERE, "localhost:8000", "[::1]:8000", "lab.test"])
@pytest.mark.parametrize("kind", ["application/json", "text/csv", ""])
def test_our_own_pages_go_on(host: str, kind: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Content-Type": kind}

    ForeignPages(["lab.test"]).check(asked(headers))


def test_over_http_a_page_sends_and_reads_nothing_whatever_the_path(app: Flask) -> None:
    client = app.test_client()

    answers = [
        *(client.post(path, data=ROWS, content_type="application/json", headers={"Host": HERE, "Origin": EVIL}) for path in WRITES),
        *(client.get(path, headers={"Host": "evil.example:8000"}) for path in READS),
    ]
    typed = [client.post(path, data=ROWS, content_type="text/plain", headers={"Host": HERE, "Sec-Fetch-Site": "none"}) for path in WRITES]

    assert {(answer.status_code, answer.json["code"]) for answer in answers} == {(403, "access.forbidden")}
    assert {(answer.status_code, answer.json["code"]) for answer in typed} == {(415, "http.415")}
    assert [name for answer in answers for name, _ in answer.headers if name.startswith("Access-Control")] == []


def test_over_http_a_command_line_goes_on(app: Flask) -> None:
    client = app.test_client()

    answers = [
        client.post("/models/fares/predict", data=ROWS, content_type=kind, headers={"Host": HERE})
        for kind in ("application/x-www-form-urlencoded", None)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_page_teaches_nothing(app: Flask, until: Any) -> None:
    client, evil = app.test_client(), {"Host": HERE, "Origin": EVIL, "Content-Type": "text/plain"}
    client.post("/models/fares/predict", data=ROWS, headers={"Host": HERE})
    until(lambda: client.post("/models/fares/labels", data=LABELS, headers=evil).status_code == 403)

    answer = client.post("/models/fares/labels", data=LABELS, headers={"Host": HERE})

    assert answer.json["counts"] == {"matched": 1}


def test_a_name_of_the_setting_is_answered(place: Any) -> None:
    app = create_app(place.settings(hosts=("lab.test",)), drains=False)

    answers = [app.test_client().get("/livez", headers={"Host": host}) for host in ("lab.test:8443", "evil.example")]

    assert [answer.status_code for answer in answers] == [200, 403]
    service_of(app).stop()


def test_with_keys_the_key_decides(place: Any) -> None:
    place.home.api_keys.write_text(json.dumps({"keys": [{"id": "a", "sha256": "0" * 64, "scopes": ["read"]}]}))
    app = create_app(place.settings(keys_file=place.home.api_keys), drains=False)
    headers = {"Host": "models.example", "Origin": EVIL}

    answers = [
        app.test_client().get("/livez", headers=headers),
        app.test_client().post("/models/fares/predict", data=ROWS, headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [200, 401]
    service_of(app).stop()
