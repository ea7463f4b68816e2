"""Processes are started, watched, started again, and leave nothing behind. The modules run here are small stand-ins, really run."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from monitoring.errors import ProcessError
from monitoring.local.processes import Processes
from service.errors import SettingsError
from tests.patience import LONGER_SECONDS, PATIENCE_SECONDS, until
from tests.ports import free_port

SERVER = """
import http.server, pathlib, subprocess, sys
pathlib.Path("pids").open("a").write("x")
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        live = self.path == "/livez" and not pathlib.Path("hangs").exists()
        pathlib.Path("answers").open("a").write("y" if live else "n")
        self.send_response(200 if live else 503); self.end_headers()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
http.server.HTTPServer(("127.0.0.1", int(open("port").read())), Answer).serve_forever()
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the modules `stub` (serves) and `broken` (ends at once)."""
    (tmp_path / "stub.py").write_text(SERVER)
    (tmp_path / "broken.py").write_text("raise SystemExit('no such luck')")
    (tmp_path / "port").write_text(str(port))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def processes(folder: Path) -> Iterator[Processes]:
    with Processes({**os.environ, "PYTHONPATH": str(folder)}, folder / "logs", too_short_seconds=LONGER_SECONDS) as running:
        yield running


def test_a_part_is_ready_when_it_answers_and_gone_with_its_children_when_stopped(processes: Processes, port: int) -> None:
    before = set(psutil.Process().children(recursive=True))
    processes.start("stub", f"127.0.0.1:{port}")
    processes.wait_ready("stub", "/livez", seconds=PATIENCE_SECONDS)
    started = set(psutil.Process().children(recursive=True)) - before

    processes.stop()

    assert len(started) == 2
    until(lambda: not any(alive(child) for child in started))


def test_a_taken_port_is_named_before_anything_starts(processes: Processes, port: int) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()

        with pytest.raises(SettingsError, match=rf"127\.0\.0\.1:{port}: .*EVERGREEN_BIND"):
            processes.start("service", f"127.0.0.1:{port}")


def test_a_part_that_ends_at_once_is_reported_with_its_last_words(processes: Processes, port: int) -> None:
    processes.start("broken", f"127.0.0.1:{port}")

    with pytest.raises(ProcessError, match=r"ended with code 1(.|\n)*no such luck"):
        processes.wait_ready("broken", "/livez", seconds=PATIENCE_SECONDS)


def test_a_part_that_is_never_ready_is_reported(processes: Processes, port: int) -> None:
    processes.start("stub", f"127.0.0.1:{port}")
    processes.wait_ready("stub", "/livez", seconds=PATIENCE_SECONDS)

    with pytest.raises(ProcessError, match="not ready"):
        processes.wait_ready("stub", "/readyz", seconds=0.2)


def test_a_part_that_dies_soon_after_its_start_is_not_started_again(processes: Processes, port: int) -> None:
    processes.start("stub", f"127.0.0.1:{port}")
    processes.wait_ready("stub", "/livez", seconds=PATIENCE_SECONDS)
    processes.signal("stub", signal.SIGKILL)

    with pytest.raises(ProcessError, match="right after its start"):
        processes.watch(lambda text: None)


def test_a_part_that_dies_later_is_started_again(folder: Path, port: int) -> None:
    heard: list[str] = []
    with Processes({**os.environ, "PYTHONPATH": str(folder)}, folder / "logs", too_short_seconds=0.0) as processes:
        processes.start("stub", f"127.0.0.1:{port}")
        processes.wait_ready("stub", "/livez", seconds=PATIENCE_SECONDS)
        processes.signal("stub", signal.SIGKILL)

        until(lambda: bool(processes.look(heard.append) or heard))
        processes.wait_ready("stub", "/livez", seconds=PATIENCE_SECONDS)

    assert heard == ["stub ended with code -9; starting it again"]
    assert (folder / "pids").read_text() == "xx"


def test_a_part_that_runs_and_does_not_say_that_it_lives_is_started_again_and_later_each_time(folder: Path, port: int) -> None:
    heard: list[str] = []
    with Processes({**os.environ, "PYTHONPATH": str(folder)}, folder / "logs", look_seconds=0.1) as processes:
        processes.start("stub", f"127.0.0.1:{port}")
        hang_once(processes, folder, heard)
        hang_once(processes, folder, heard)
        processes.wait_ready("stub", "/livez", seconds=PATIENCE_SECONDS)

    sentences = [f"stub runs, but its /livez did not answer 200 for {seconds} s; starting it again" for seconds in (1, 2)]
    assert heard == sentences
    assert (folder / "pids").read_text() == "xxx"
    assert [len(silence) for silence in (folder / "answers").read_text().replace("y", " ").split()] == [12, 24]


def hang_once(processes: Processes, folder: Path, heard: list[str]) -> None:
    """Let the stub live for a look, and then hang until it is started again."""
    processes.wait_ready("stub", "/livez", seconds=PATIENCE_SECONDS)
    before, heard_before = len((folder / "answers").read_text()), len(heard)
    until(lambda: bool(processes.look(heard.append)) or len((folder / "answers").read_text()) > before)
    (folder / "hangs").touch()
    until(lambda: bool(processes.look(heard.append)) or len(heard) > heard_before)
    (folder / "hangs").unlink()


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
