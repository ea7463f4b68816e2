"""What the HTTP front alone does: a constant Flask route under each worker, also among slow clients; and how near we come to it."""

from __future__ import annotations

import ast
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.serving.encodings import BUILD, Body
from benchmarks.serving.load import measured, settle, wrk
from benchmarks.serving.places import APPS, ROOT, is_installed, python_of, say, work
from benchmarks.serving.processes import Tree, free_port, pin
from benchmarks.serving.starting import clean_environment, running

CONNECTIONS = (1, 16, 64)
SLOW, DRIP_SECONDS = 60, 1.0
PORT = 28_100
HALVES = {
    "half heads": b"POST /read HTTP/1.1\r\nHost: slow\r\nX-Slow: ",
    "half bodies": b"POST /read HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
}
CONFIGURATION = ROOT / "service" / "gunicorn.conf.py"


def our_worker() -> str:
    """Return the worker class that Evergreen names in its configuration, read without running it."""
    for node in ast.parse(CONFIGURATION.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "worker_class":
            return str(ast.literal_eval(node.value))
    return "sync"


def run_fronts(rounds: int, seconds: float, out: Path) -> int:
    """Measure every worker and the ceiling in turn; the file is whole after each."""
    if not is_installed("fronts"):
        say("NOT MEASURED: the environment 'fronts' is missing (python -m benchmarks.serving setup fronts)")
        return 1
    if not (work() / "prepared" / "logistic.home").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.serving.prepare"], check=True, cwd=ROOT)
    pin()
    out.parent.mkdir(parents=True, exist_ok=True)
    ours = our_worker()
    turns = list(dict.fromkeys(["gthread", "gevent", ours]))
    document: dict[str, Any] = {"meta": {"fronts": {"ours": ours, "seconds": seconds, "slow": SLOW}}, "fronts": [], "ceiling": []}
    for number in range(rounds):
        for worker in turns[:: -1 if number % 2 else 1]:
            result = {"round": number, "worker": worker, **_front(worker, free_port(PORT), seconds)}
            _keep(document, "fronts", result, out)
        _keep(document, "ceiling", {"round": number, **_ceiling(free_port(PORT), seconds)}, out)
    return 0


def _keep(document: dict[str, Any], kind: str, result: dict[str, Any], out: Path) -> None:
    document[kind].append(result)
    out.write_text(json.dumps(document, indent=1))
    rates = ", ".join(f"{name} {cell['rate']:,.0f}/s" for name, cell in result.items() if isinstance(cell, dict))
    say(f"round {result['round']}, {kind}, {result.get('worker', 'ours')}: {rates}")


def _front(worker: str, port: int, seconds: float) -> dict[str, Any]:
    command = [str(python_of("fronts")), "-m", "gunicorn", "--config", str(APPS / "front.conf.py")]
    home = work() / "running-fronts"
    shutil.rmtree(home, ignore_errors=True)
    environment = _environment(home, port) | {"FRONT_WORKER": worker}
    body, bodies = _row()
    cells = {}
    with running(command, environment, ROOT, "fronts", (port, "/constant", body)) as (tree, _):
        for connections in CONNECTIONS:
            cells[f"c{connections}"] = _cell(tree, port, "/constant", bodies, connections, seconds)
        for name, half in HALVES.items():
            with slow_clients(port, half):
                cells[name] = _cell(tree, port, "/read", bodies, 16, seconds)
    return cells


def _ceiling(port: int, seconds: float) -> dict[str, Any]:
    """Measure the prediction route, a constant in the same application, and a constant in a bare one, on our worker."""
    home = work() / "running-fronts"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(work() / "prepared" / "logistic.home", home)
    environment = _environment(home, port)
    command = [sys.executable, "-m", "gunicorn", "--config", str(APPS / "ceiling.conf.py")]
    body, bodies = _row()
    cells = {}
    with running(command, environment, ROOT, "ceiling", (port, "/models/bench/predict", body)) as (tree, _):
        for connections in CONNECTIONS:
            for route in ("constant", "predict"):
                cells[f"{route} c{connections}"] = _cell(tree, port, f"/models/bench/{route}", bodies, connections, seconds)
    shutil.rmtree(home, ignore_errors=True)
    return cells


def _environment(home: Path, port: int) -> dict[str, str]:
    own = {"HOME": str(home), "BIND": f"127.0.0.1:{port}", "LOG_LEVEL": "WARNING", "WORKERS": "2", "THREADS": "4"}
    return clean_environment() | {f"EVERGREEN_{name}": value for name, value in own.items()}


def _row() -> tuple[Body, Path]:
    """Return one row as it is sent, and a file of 64 of them for wrk."""
    rows = json.loads((work() / "prepared" / "rows.json").read_text())
    bodies = work() / "fronts-bodies"
    bodies.write_bytes(b"".join(BUILD["rows"]([row]).content + b"\n" for row in rows[:64]))
    return BUILD["rows"](rows[:1]), bodies


def _cell(tree: Tree, port: int, path: str, bodies: Path, connections: int, seconds: float) -> dict[str, Any]:
    wrk(port, path, bodies, connections, 1.0)
    settle(tree)
    return measured(tree, lambda: wrk(port, path, bodies, connections, seconds))


@contextlib.contextmanager
def slow_clients(port: int, half: bytes) -> Iterator[None]:
    """Keep 60 clients connected that have sent half a request and add one byte a second."""
    sockets, ended = [], threading.Event()
    for _ in range(SLOW):
        client = socket.create_connection(("127.0.0.1", port), timeout=5.0)
        client.sendall(half)
        sockets.append(client)

    def drip() -> None:
        while not ended.wait(DRIP_SECONDS):
            for client in sockets:
                with contextlib.suppress(OSError):
                    client.send(b"a")

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    try:
        yield
    finally:
        ended.set()
        dripping.join()
        for client in sockets:
            client.close()
