"""`evergreen up` as a person runs it: real processes, pasted curls, Ctrl-C; and the verbs that ask the running monitor."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.bikes import write_small_example
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("up")

SPELLS = re.compile(r"^(curl -s .*)\n(\{.*\})$", re.MULTILINE)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="NOT CHECKED: no curl here, so nothing to paste into")


@dataclass(frozen=True)
class Running:
    """A running `evergreen up` and what it printed until it was ready."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    printed: str
    seconds: float

    def evergreen(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monitoring.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_example(tmp_path_factory.mktemp("up"), history_days=60)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
        "PYTHONPATH": str(repository),
        "EVERGREEN_HOME": str(tmp_path_factory.mktemp("homes") / "home"),
        "EVERGREEN_BIND": f"127.0.0.1:{free_port()}",
        "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{free_port()}",
        "EVERGREEN_TICK_SECONDS": "0.1",
    }


@pytest.fixture(scope="module")
def first(model_file: Path, environment: dict[str, str]) -> Iterator[Running]:
    """The first run: trains, serves. Its terminal may go away."""
    running = begin(model_file, environment, "nohup")
    yield running
    finish(running)


def test_the_first_run_trains_a_champion_and_shows_what_it_answers(first: Running) -> None:
    [(_, answer)] = SPELLS.findall(first.printed)

    assert "is the first champion" in first.printed
    assert json.loads(answer)["predictions"][0]["label"] == "false"


@needs_curl
def test_the_printed_curls_work_when_pasted(first: Running) -> None:
    predict, label = re.findall(r"^curl -s .*$", first.printed, re.MULTILINE)

    predicted = json.loads(subprocess.check_output(["bash", "-c", predict], text=True))
    label = label.replace("THE-ID-FROM-THE-ANSWER", predicted["predictions"][0]["id"])
    labelled = until(lambda: json.loads(subprocess.check_output(["bash", "-c", label], text=True)).get("counts"), "the log takes a label")

    shown = json.loads(SPELLS.findall(first.printed)[0][1])
    assert predicted["version"] == shown["version"]
    assert predicted["predictions"][0]["probabilities"] == pytest.approx(shown["predictions"][0]["probabilities"])
    assert set(labelled) <= {"matched", "pending"}


@pytest.mark.slow
def test_under_nohup_a_hang_up_stops_nothing(first: Running) -> None:
    family = psutil.Process(first.process.pid).children(recursive=True)

    first.process.send_signal(signal.SIGHUP)
    examined = first.evergreen("doctor", "--json")  # which takes longer than to end would

    ports = [check["detail"] for check in json.loads(examined.stdout) if check["check"].startswith("port")]
    assert first.process.poll() is None
    assert len(family) >= 3
    assert all(process.is_running() for process in family)
    assert [port.partition(" is in use")[1] for port in ports] == [" is in use"] * 2


@pytest.mark.slow
def test_a_second_one_is_told_that_the_home_is_served(first: Running, model_file: Path, environment: dict[str, str]) -> None:
    second = first.evergreen("up", str(model_file))

    assert second.returncode == 1
    assert f"serves from {environment['EVERGREEN_HOME']} and did not end in 15 s" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_monitor_looks_when_asked(first: Running) -> None:
    def answer() -> subprocess.CompletedProcess[str] | None:
        asked = first.evergreen("check", "--json")
        return None if "no row was logged yet" in asked.stderr else asked

    answered = until(answer, "the row that was answered is logged")

    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["verdict"] == "keep"
    assert any("asked for by" in reason for reason in json.loads(answered.stdout)["reasons"])


def test_the_monitor_does_not_retrain_on_nothing_even_when_asked(first: Running) -> None:
    answered = first.evergreen("retrain", "--why", "just because", "--json")

    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["done"] == ""
    assert any("the gate needs" in reason for reason in json.loads(answered.stdout)["reasons"])


def test_the_doctor_finds_a_running_home_in_order(first: Running) -> None:
    examined = first.evergreen("doctor", "--json")

    assert [check for check in json.loads(examined.stdout) if check["state"] == "broken"] == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["a hang-up", "a closed terminal", "a kill"])
def test_a_hang_up_a_closed_terminal_and_a_kill_leave_nothing_running(model_file: Path, environment: dict[str, str], how: str) -> None:
    own = {
        **environment,
        "EVERGREEN_HOME": f"{environment['EVERGREEN_HOME']}-of-its-own",
        "EVERGREEN_BIND": f"127.0.0.1:{free_port()}",
        "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{free_port()}",
    }
    terminal, inside = pty.openpty()
    running = begin(model_file, own, *in_terminal(inside) if how == "a closed terminal" else ())
    os.close(inside)
    family = psutil.Process(running.process.pid).children(recursive=True)

    os.close(terminal)
    code = (
        running.process.wait(PATIENCE_SECONDS)
        if how == "a closed terminal"
        else running.stop(signal.SIGHUP if how == "a hang-up" else signal.SIGKILL)
    )
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    finish(running)

    assert len(family) >= 3
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert code == (-signal.SIGKILL if how == "a kill" else 0)


def test_ctrl_c_stops_everything_and_the_next_start_trains_nothing(first: Running, model_file: Path, environment: dict[str, str]) -> None:
    family = psutil.Process(first.process.pid).children(recursive=True)

    code = first.stop()
    _, left = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    (model_file.parent / "history.csv.gz").write_bytes(b"no table any more")
    again = begin(model_file, environment)
    stopped = again.stop(signal.SIGTERM)
    finish(again)

    assert (code, stopped) == (0, 0)
    assert len(family) >= 3
    assert left == []
    assert "is the first champion" not in again.printed
    assert again.printed.count("curl -s ") == 2


def in_terminal(inside: int) -> tuple[str, ...]:
    """Return the words before a command that make a terminal its own, so that it is hung up when that is closed."""
    take = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(os.open(sys.argv[1], os.O_RDWR), termios.TIOCSCTTY, 0)"
    return sys.executable, "-c", f"{take}; os.execvp(sys.argv[2], sys.argv[2:])", os.ttyname(inside)


def begin(model_file: Path, environment: dict[str, str], *before: str) -> Running:
    command = [*before, sys.executable, "-u", "-m", "monitoring.cli", "up", str(model_file)]
    began = time.monotonic()
    for name in ("training.py", "service.py", "numpy.py", "queue.py"):  # modules of other people, where it is started
        (model_file.parent / name).write_text("raise SystemExit('not ours')")
    process = subprocess.Popen(command, cwd=model_file.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    return Running(process, environment, "".join(lines), time.monotonic() - began)


def finish(running: Running) -> None:
    if running.process.poll() is None:
        running.stop()
    assert running.process.stdout is not None
    running.process.stdout.close()
