"""What Prometheus reads: clean by its own tool, and of a size that does not depend on what callers send."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from flask import Flask

from service.app import create_app, service_of

PROMTOOL = shutil.which("promtool")
MADE_UP = 200
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: metrics are not linted (apt-get install prometheus)"
)


def lint(exposition: str) -> tuple[int, str]:
    """What `promtool check metrics` says: 0 when it has no complaint."""
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=exposition, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def series(client: Any) -> int:
    """How many series a scrape has."""
    return sum(not line.startswith("#") for line in client.get("/metrics").text.splitlines())


def use_everything(client: Any, ride: dict[str, Any]) -> None:
    """Predict, be refused, label, in more than one protocol."""
    answer = client.post("/models/bikes/predict", json={"rows": [{**ride, "more": 1}, {**ride, "_id": "r-1"}]})
    client.post("/models/bikes/predict", json={"rows": [{**ride, "docks": "many"}]})
    client.post("/models/fares/predict", json={"rows": [{"distance": 3}]})
    client.post("/v1/models/bikes:predict", json={"instances": [ride]})
    client.post("/models/bikes/labels", json={"labels": [{"id": "nobody-0", "label": True}]})
    client.get("/nowhere")
    assert answer.status_code == 200


@needs_promtool
def test_a_scrape_of_one_process_is_clean(app: Flask, ride: dict[str, Any]) -> None:
    use_everything(app.test_client(), ride)

    assert lint(app.test_client().get("/metrics").text) == (0, "")


@needs_promtool
def test_a_scrape_of_a_real_service_is_clean(place: Any, serve: Any, ride: dict[str, Any]) -> None:
    with serve(place, WORKERS="1") as running:
        use_everything(running.client, ride)

        answer = running.client.get("/metrics")

    assert "evergreen_predictions_total" in answer.text
    assert lint(answer.text) == (0, "")


def test_made_up_names_make_no_series_however_many(place: Any, ride: dict[str, Any]) -> None:
    app = create_app(place.settings())
    service_of(app).follower.refresh()
    client = app.test_client()

    def make_up(n: int) -> None:
        client.post(f"/models/cars-{n}/predict", json={"rows": [{f"column-{n}": n}]})
        client.post(f"/v2/models/bikes/versions/v{n}/infer", json={})
        client.get(f"/models/cars-{n}")
        client.get(f"/cars-{n}", headers={"X-Request-Id": f"r-{n}"})
        client.open("/models", method=f"BREW{n}")

    use_everything(client, ride)
    make_up(0)
    client.get("/metrics")  # counts itself, for the first time
    before = series(client)

    for n in range(1, MADE_UP + 1):
        make_up(n)

    assert series(client) == before
    service_of(app).stop()
