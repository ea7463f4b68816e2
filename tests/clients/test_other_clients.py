"""Clients whose pins do not go with ours, unchanged, each in an environment of its own, made on the fly.

With ``EVERGREEN_CAPTURE=1`` what they send is written to ``captured/``; `test_captured_requests` sends it again in every run.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients.recording import Recorder
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).with_name("scripts")
Bin = Callable[..., Path]
Address = Callable[[str], str]
Row = dict[str, Any]
KINDS = {"temp": "FP64", "docks": "INT64", "workday": "BOOL", "district": "BYTES", "at": "BYTES"}


@pytest.fixture(scope="session")
def environment() -> Bin:
    """Make an environment with some requirements, once a machine; skip loudly when they cannot be fetched."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evergreen-clients"

    def make(*requirements: str) -> Path:
        folder = cache / hashlib.sha256(" ".join([sys.version, *requirements]).encode()).hexdigest()[:16]
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            done = subprocess.run(pip, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode != 0:
                pytest.skip(f"SKIPPED: {requirements[0]} cannot be installed here: {done.stderr[-300:]}")
            (folder / "ready").touch()
        return folder / "bin"

    return make


@pytest.fixture
def rides(ride: Row) -> list[Row]:
    return [{name: ride[name] for name in KINDS}, {**{name: ride[name] for name in KINDS}, "docks": 25}]


@pytest.fixture
def expected(live: Any, rides: list[Row]) -> list[str]:
    return [row["label"] for row in live.predict(*rides).json()["predictions"]]


@pytest.fixture
def address(live: Any) -> Iterator[Address]:
    """Return a function that gives the address for a client by its name: the service's own, or of a proxy that writes down."""
    with ExitStack() as stack:

        def give(client: str) -> str:
            port = live.client.base_url.port
            if os.environ.get("EVERGREEN_CAPTURE"):
                port = stack.enter_context(Recorder(port, client)).port
            return f"127.0.0.1:{port}"

        yield give


def run(python: Path, script: str, address: str, rides: list[Row]) -> dict[str, Any]:
    """Run a script and read what it says."""
    command = [str(python / "python"), str(SCRIPTS / script), f"http://{address}", json.dumps(rides)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_client_of_kserve_speaks_both_protocols(environment: Bin, address: Address, rides: list[Row], expected: list[str]) -> None:
    result = run(environment("kserve==0.21.0"), "kserve_client.py", address("kserve"), rides)

    assert result["up"] == [True] * 5
    assert result["v1"] == result["v2 False"] == result["v2 True"] == expected
    assert "field 'temp': got 99" in result["error"]


def test_the_client_of_mlflow_reads_its_answers(environment: Bin, address: Address, rides: list[Row], expected: list[str]) -> None:
    python = environment("mlflow-skinny==3.17.2", "pandas==3.1.1", "requests", "scipy")
    result = run(python, "mlflow_client.py", address("mlflow"), rides)

    assert result["up"] == [True, True]
    assert result["frame"] == result["lists"] == expected
    assert result["missing"] == 2
    assert "field 'temp': got 99" in result["error"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("mlserver", [], id="JSON"),
        pytest.param("mlserver-raw", ["-b"], id="raw"),
        pytest.param("mlserver-two-lines", ["-s", "2"], id="two lines in one request"),
    ],
)
def test_the_batch_client_of_mlserver_reads_its_answers(
    environment: Bin, address: Address, rides: list[Row], expected: list[str], tmp_path: Path, name: str, options: list[str]
) -> None:
    lines = [
        json.dumps({"inputs": [{"name": n, "datatype": kind, "shape": [1], "data": [row[n]]} for n, kind in KINDS.items()]})
        for row in rides
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    mlserver = environment("mlserver==1.7.1", "tritonclient[http]==2.73.0") / "mlserver"
    paths = ["-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl")]

    done = subprocess.run(
        [str(mlserver), "infer", "-u", address(name), "-m", "bikes", "-w", "1", *paths, *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    by_place = sorted(answers, key=lambda answer: answer["parameters"]["batch_index"])
    assert [answer["outputs"][0]["data"] for answer in by_place] == [[label] for label in expected], done.stderr[-2000:]
