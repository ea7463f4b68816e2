"""The image's HEALTHCHECK, run as it stands in the Dockerfile: it follows the addresses that are configured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from monitoring.local.alive import is_alive
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
SERVICE = ["/usr/bin/python", "-m", "gunicorn", "--config", "/opt/evergreen/service/gunicorn.conf.py"]
MONITOR = ["python", "-m", "monitoring"]
UP = ["sh", "-c", "python -m monitoring.cli --home /tmp/home up /job/model.yaml"]
NOBODY = "127.0.0.1:1"


class Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def somebody() -> Iterator[str]:
    """The address of something alive."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Alive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def addresses(service: str, monitor: str) -> dict[str, str]:
    return {"EVERGREEN_BIND": service, "EVERGREEN_MONITOR_BIND": monitor}


@pytest.mark.parametrize("command", [SERVICE, ["docker-init", "--", "python", "-m", "service"]], ids=["started", "under an init"])
def test_a_container_of_the_service_is_as_alive_as_the_service(command: list[str], somebody: str) -> None:
    assert is_alive(command, addresses(somebody, NOBODY))
    assert not is_alive(command, addresses(NOBODY, somebody))


def test_a_container_of_the_monitor_is_as_alive_as_the_monitor(somebody: str) -> None:
    assert is_alive(MONITOR, addresses(NOBODY, somebody))
    assert not is_alive(MONITOR, addresses(somebody, NOBODY))


def test_a_container_of_both_wants_both(somebody: str) -> None:
    assert is_alive(UP, addresses(somebody, somebody))
    assert not is_alive(UP, addresses(somebody, NOBODY))
    assert not is_alive(UP, addresses(NOBODY, somebody))


@pytest.mark.parametrize("words", ["training /job/model.yaml", "monitoring.cli train /job/model.yaml"])
def test_a_container_that_only_trains_is_not_asked(words: str) -> None:
    assert is_alive(["python", "-m", *words.split()], addresses(NOBODY, NOBODY))


def test_of_a_first_process_that_is_none_of_ours_one_answer_is_enough(somebody: str) -> None:
    assert is_alive(["/sbin/init"], addresses(NOBODY, somebody))
    assert not is_alive(["/sbin/init"], addresses(NOBODY, NOBODY))


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost"])
def test_a_service_that_listens_everywhere_or_on_a_name_is_found(host: str, somebody: str) -> None:
    assert is_alive(SERVICE, addresses(f"{host}:{somebody.rpartition(':')[2]}", NOBODY))


def test_the_healthcheck_of_the_image_follows_the_address_past_any_proxy(somebody: str) -> None:
    command = json.loads(re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0])
    proxied = {**os.environ, "http_proxy": f"http://{NOBODY}", "no_proxy": "", "NO_PROXY": ""}
    environment = {**proxied, "PYTHONPATH": str(ROOT), **addresses(somebody, NOBODY)}

    codes = [
        subprocess.run(
            [sys.executable, *command[1:]], env={**environment, "EVERGREEN_BIND": bind}, timeout=PATIENCE_SECONDS, check=False
        ).returncode
        for bind in (somebody, NOBODY)
    ]

    assert command[0] == "python"
    assert codes == [0, 1]
