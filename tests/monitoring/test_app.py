"""The watching process itself: it starts, tells of itself, and ends cleanly."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitoring.settings import from_environment
from tests.ports import free_port
from training.errors import SettingsError

PATIENCE = 60.0


@pytest.fixture
def bind() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def start(tmp_path: Path, bind: str) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    environment = {**os.environ, "EVERGREEN_HOME": str(tmp_path / "home"), "EVERGREEN_MONITOR_BIND": bind, "EVERGREEN_TICK_SECONDS": "0.1"}
    started: list[subprocess.Popen[bytes]] = []

    def one() -> subprocess.Popen[bytes]:
        started.append(
            subprocess.Popen([sys.executable, "-m", "monitoring"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.communicate()


def get(bind: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{bind}{path}", timeout=5) as response:
        return str(response.read().decode())


def eventually(bind: str, path: str, word: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            text = get(bind, path)
        except (urllib.error.URLError, ConnectionError):
            text = ""
        if word in text:
            return text
        time.sleep(0.05)
    raise AssertionError(f"{path} never said {word!r}")


def test_it_tells_of_itself_and_ends_cleanly(start: Callable[[], subprocess.Popen[bytes]], bind: str) -> None:
    process = start()

    metrics = eventually(bind, "/metrics", "evergreen_scheduler_is_leader 1.0")
    live = json.loads(get(bind, "/livez"))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE)

    assert "evergreen_scheduler_last_tick_timestamp_seconds" in metrics
    assert live == {"live": True}
    assert process.returncode == 0, output.decode()


def test_the_next_one_need_not_wait_for_the_lease(start: Callable[[], subprocess.Popen[bytes]], bind: str) -> None:
    first = start()
    eventually(bind, "/metrics", "evergreen_scheduler_is_leader 1.0")
    first.terminate()
    first.communicate(timeout=PATIENCE)

    began = time.monotonic()
    start()
    eventually(bind, "/metrics", "evergreen_scheduler_is_leader 1.0")

    assert time.monotonic() - began < PATIENCE


def test_a_taken_port_is_a_sentence(start: Callable[[], subprocess.Popen[bytes]], bind: str) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, _, port = bind.rpartition(":")
        taken.bind((host, int(port)))
        taken.listen()
        process = start()
        output, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert f"cannot listen on {bind}" in output.decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVERGREEN_MONITOR_BIND", "8001"),
        ("EVERGREEN_TICK_SECONDS", "often"),
        ("EVERGREEN_LEASE_SECONDS", "0"),
        ("EVERGREEN_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment({name: value})
