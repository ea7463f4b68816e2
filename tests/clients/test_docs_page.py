"""The page at /docs in a real browser: it shows every operation, sends examples, and needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitoring.admin.api_keys import add_key
from tests.clients.browser import CHROMIUM, Page

pytestmark = [
    pytest.mark.xdist_group("docs page"),
    pytest.mark.skipif(CHROMIUM is None, reason="SKIPPED: no Chromium here; install Debian's package chromium to run this test"),
]
SHOWN = "document.querySelectorAll('#operations > details').length"
BOX = "[...document.querySelectorAll('#operations > details')].find((box) => box.querySelector('summary').textContent === {!r})"
SEND_ALL = """(async () => {
  const boxes = [...document.querySelectorAll("#operations > details")];
  boxes.forEach((box) => box.querySelector("button").click());
  const shown = (box) => box.querySelector(":scope > pre").textContent;
  while (boxes.some((box) => !shown(box))) await new Promise((next) => setTimeout(next, 20));
  return Object.fromEntries(boxes.map((box) => [box.querySelector("summary").textContent, shown(box).slice(0, 3)]));
})()"""


@pytest.fixture
def page(live: Any, tmp_path: Path) -> Iterator[Page]:
    """The page, loaded and filled."""
    with Page(tmp_path / "profile") as made:
        made.go(str(live.client.base_url.join("/docs")))
        made.until(f"document.readyState === 'complete' && {SHOWN} > 0")
        yield made


@pytest.fixture
def operations(live: Any) -> dict[str, Any]:
    """The operations of the document, by what the page calls them."""
    paths = live.client.get("/openapi.json").json()["paths"]
    return {f"{verb.upper()} {path}": content for path, verbs in paths.items() for verb, content in verbs.items()}


def has_example(operation: dict[str, Any]) -> bool:
    """Whether nothing is to be filled in by hand."""
    body = operation.get("requestBody", {"content": {}})["content"].get("application/json")
    return body is None or "example" in body


def test_where_keys_exist_the_page_asks_for_one_and_then_shows_the_document(place: Any, serve: Any, tmp_path: Path) -> None:
    key = add_key(place.home.api_keys, "reader", ["read", "predict"])

    with serve(place) as running, Page(tmp_path / "profile") as made:
        made.go(str(running.client.base_url.join("/docs")))
        asked = made.until("document.getElementById('operations')?.textContent.includes('scope read') && document.body.textContent")
        made.say(f"(box => {{ box.value = {key!r}; box.dispatchEvent(new Event('change')); }})(document.getElementById('key'))")
        made.until(f"{SHOWN} > 0")
        box = BOX.format("POST /models/bikes/predict")
        made.say(f"{box}.querySelector('button').click()")
        shown = made.until(f"{box}.querySelector(':scope > pre')?.textContent")

    assert "Enter a key" in asked
    assert shown.startswith("200 in ")


def test_every_operation_of_the_document_is_shown(page: Page, operations: dict[str, Any]) -> None:
    shown = page.say("[...document.querySelectorAll('#operations > details > summary')].map((it) => it.textContent)")

    assert shown == list(operations)
    assert "POST /models/bikes/predict" in shown


def test_the_example_of_a_prediction_is_sent_and_answered(page: Page) -> None:
    box = BOX.format("POST /models/bikes/predict")

    page.say(f"{box}.querySelector('button').click()")
    shown = page.until(f"{box}.querySelector(':scope > pre')?.textContent")

    assert shown.startswith("200 in ")
    assert '"predictions"' in shown


def test_the_example_of_every_operation_is_answered(page: Page, operations: dict[str, Any]) -> None:
    shown = page.say(SEND_ALL)

    assert shown.keys() == operations.keys()
    # nobody made the label request of the example, and there may be nothing to draw
    wanted = {name: {"200", "404", "409"} if "label-requests" in name else {"200"} for name in operations}
    assert {name: shown[name] for name, operation in operations.items() if has_example(operation) and shown[name] not in wanted[name]} == {}


def test_the_page_asks_no_other_host_and_complains_of_nothing(page: Page, live: Any) -> None:
    here = str(live.client.base_url).rstrip("/")

    page.say("document.title")

    assert page.complaints == []
    assert [url for url in page.fetched if not url.startswith((here, "data:"))] == []
    assert {f"{here}/docs", f"{here}/docs/docs.js", f"{here}/docs/docs.css", f"{here}/openapi.json"} <= set(page.fetched)
