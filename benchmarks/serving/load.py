"""Load by wrk on one thread, with the processor time it cost, and the time others took from the cores meanwhile."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.serving.encodings import Body
from benchmarks.serving.places import HERE
from benchmarks.serving.processes import Tree, busy_seconds, own_seconds

QUIET = 0.15
"""Cores that others may use during a cell; above, it is repeated."""
TRIES = 3
LEAST_BIG, BIG_TIMEOUT = 3, 120.0
REST_LOOK, REST_SHARE, REST_AT_MOST = 0.25, 0.1, 15.0
Figures = dict[str, Any]


def wrk(port: int, path: str, bodies: Path, connections: int, seconds: float) -> Figures:
    """Run wrk once; times are in milliseconds.

    Raises
    ------
    RuntimeError
        It said nothing that can be read.
    """
    length = f"{max(1, round(seconds))}s"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{length}", "--timeout", "15s", "-s", str(HERE / "rotate.lua")]
    command += [f"http://127.0.0.1:{port}{path}", "--", str(bodies), "application/json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"wrk: {done.stdout[-300:]} {done.stderr[-300:]}")
    figures: Figures = json.loads(lines[-1])
    figures["rate"] = figures["count"] / figures["seconds"]
    return figures


def measured(tree: Tree, run: Callable[[], Figures], tries: int = TRIES) -> Figures:
    """Run a cell; repeat it while others were busy on the cores, and keep the quietest.

    The processor time is counted until the server has come to rest: what it puts off (a log to be written) is a cost, too.
    """
    kept: Figures | None = None
    for _ in range(tries):
        busy, own, server, began = busy_seconds(), own_seconds(), tree.cpu_seconds(), time.perf_counter()
        figures = run()
        load, ended = own_seconds() - own, time.perf_counter()
        foreign = busy_seconds() - busy - load - (tree.cpu_seconds() - server)
        figures["foreign"] = max(0.0, foreign) / (ended - began)
        figures["rest_s"] = settle(tree)
        used = load + tree.cpu_seconds() - server - tree.idle_share * figures["rest_s"]
        figures["cpu_ms"] = used / max(figures["count"], 1) * 1e3
        if kept is None or figures["foreign"] < kept["foreign"]:
            kept = figures
        if kept["foreign"] <= QUIET:
            break
    assert kept is not None
    return kept


def settle(tree: Tree) -> float:
    """Wait until a server uses no more than when nobody asks it anything, 15 s at most; give how long that took."""
    began, used = time.perf_counter(), tree.cpu_seconds()
    while time.perf_counter() - began < REST_AT_MOST:
        time.sleep(REST_LOOK)
        before, used = used, tree.cpu_seconds()
        if used - before < (tree.idle_share + REST_SHARE) * REST_LOOK:
            break
    return time.perf_counter() - began


def repeat(port: int, path: str, body: Body, rows: int, seconds: float) -> Figures:
    """Send one large body again and again over one connection; the figures hold the median time of an answer, in milliseconds."""
    taken = list(_times(port, path, body, seconds))
    middle = sorted(taken)[len(taken) // 2]
    return {
        "count": len(taken),
        "p50": middle * 1e3,
        "least": min(taken) * 1e3,
        "rows_rate": rows / middle,
        "megabytes": len(body.content) / 1e6,
    }


def _times(port: int, path: str, body: Body, seconds: float) -> Iterator[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BIG_TIMEOUT)
    ends, sent = time.perf_counter() + seconds, 0
    while sent < LEAST_BIG or time.perf_counter() < ends:
        began = time.perf_counter()
        status, content, _ = ask(connection, path, body)
        yield time.perf_counter() - began
        if status != 200:
            raise RuntimeError(f"{path} answers {status}: {content[:200]!r}")
        sent += 1
    connection.close()


def ask(connection: http.client.HTTPConnection, path: str, body: Body) -> tuple[int, bytes, Mapping[str, str]]:
    """Send a body; give status, content and headers."""
    connection.request("POST", path, body.content, dict(body.headers))
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers  # type: ignore[return-value]


def post(port: int, path: str, body: Body, timeout: float = BIG_TIMEOUT) -> tuple[int, bytes, Mapping[str, str]]:
    """Send a body over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        return ask(connection, path, body)
    finally:
        connection.close()
