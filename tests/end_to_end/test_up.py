"""`evergreen up` as a person runs it: real processes, pasted curls, Ctrl-C; and the verbs that ask the running monitor."""

from __future__ import annotations

import importlib.util
import json
import os
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

from tests.ports import free_port

SPELLS = re.compile(r"^(curl -s .*)\n(\{.*\})$", re.MULTILINE)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="NOT CHECKED: no curl here, so nothing to paste into")


@dataclass(frozen=True)
class Running:
    """A running `evergreen up` and what it printed until it was ready."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    said: str
    seconds: float

    def evergreen(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monitoring.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("up")
    spec = importlib.util.spec_from_file_location("stream_of_up", repository / "examples" / "bikes" / "stream.py")
    assert spec is not None
    assert spec.loader is not None
    stream = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stream)
    stream.history(seed=0, days=60).to_csv(folder / "history.csv.gz", index=False)
    text = (repository / "examples" / "bikes" / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text.replace("budget: 12 fits", "budget: 2 fits"))
    return folder / "model.yaml"


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
    """The first run: trains, serves."""
    running = begin(model_file, environment)
    yield running
    finish(running)


def test_the_first_run_trains_a_champion_and_shows_real_answers(first: Running) -> None:
    answers = [json.loads(answer) for _, answer in SPELLS.findall(first.said)]

    assert "is the first champion" in first.said
    assert answers[0]["predictions"][0]["label"] in {"true", "false"}
    assert answers[1]["counts"] == {"matched": 1}


@needs_curl
def test_the_printed_curls_work_when_pasted(first: Running) -> None:
    predict, label = (spell for spell, _ in SPELLS.findall(first.said))

    predicted, labelled = (json.loads(subprocess.check_output(["bash", "-c", spell], text=True)) for spell in (predict, label))

    assert predicted["version"] == json.loads(SPELLS.findall(first.said)[0][1])["version"]
    assert labelled["counts"] == {"duplicate": 1}


def test_a_second_one_is_told_that_the_port_is_taken(first: Running, model_file: Path, environment: dict[str, str]) -> None:
    said = first.evergreen("up", str(model_file))

    assert said.returncode == 1
    assert f"cannot listen on {environment['EVERGREEN_BIND']}" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_monitor_looks_when_asked(first: Running) -> None:
    answered = first.evergreen("check", "--json")

    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["verdict"] in {"keep", "watch"}
    assert any("asked for by" in reason for reason in json.loads(answered.stdout)["reasons"])


def test_the_monitor_does_not_retrain_on_nothing_even_when_asked(first: Running) -> None:
    answered = first.evergreen("retrain", "--why", "just because", "--json")

    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["done"] == ""
    assert any("the gate needs" in reason for reason in json.loads(answered.stdout)["reasons"])


def test_the_doctor_finds_a_running_home_in_order(first: Running) -> None:
    examined = first.evergreen("doctor", "--json")

    assert [check for check in json.loads(examined.stdout) if check["state"] == "broken"] == []


def test_ctrl_c_stops_everything_and_the_next_start_trains_nothing(first: Running, model_file: Path, environment: dict[str, str]) -> None:
    family = psutil.Process(first.process.pid).children(recursive=True)

    code = first.stop()
    left = [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    (model_file.parent / "history.csv.gz").write_bytes(b"no table any more")
    again = begin(model_file, environment)
    stopped = again.stop(signal.SIGTERM)
    finish(again)

    assert (code, stopped) == (0, 0)
    assert len(family) >= 3
    assert left == []
    assert "is the first champion" not in again.said
    assert again.said.count("not sent: the log has rows") == again.said.count("curl -s ") == 2


def begin(model_file: Path, environment: dict[str, str]) -> Running:
    command = [sys.executable, "-u", "-m", "monitoring.cli", "up", str(model_file)]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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
