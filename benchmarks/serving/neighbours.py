"""Probes of a good model, alone and beside trouble: slow readers, slow writers, requests for a model that raises or hangs."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.serving.brittle import COLUMN, HANGS, RAISES
from benchmarks.serving.checks import Sample
from benchmarks.serving.encodings import BUILD, Body
from benchmarks.serving.figures import Spread, short
from benchmarks.serving.load import ask, measured
from benchmarks.serving.measure import started
from benchmarks.serving.places import ROOT, commit, say, work
from benchmarks.serving.processes import Tree, free_port, pin
from benchmarks.serving.report import replace_between
from benchmarks.serving.servers import OURS, Server, installed
from benchmarks.serving.trouble import bad_requests, slow_readers, slow_writers

PORT = 28_400
MODEL, BAD_PATH = "brittle", "/models/bad/predict"
EVERY_SECONDS, LOST_SECONDS, MOST_WAITING = 0.02, 5.0, 300
LARGE_ROWS = 30_000
HANG_CELL_SECONDS = 40.0
ALONE = "undisturbed"
CELLS = (ALONE, "slow readers", "slow writers", "one bad model: raises", "one bad model: hangs")
BEGIN, END = "<!-- neighbours: begin -->", "<!-- neighbours: end -->"
Figures = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """How often, how long each cell, and how often at most while others are busy on the cores."""

    rounds: int
    seconds: float
    tries: int


def run_neighbours(effort: Effort, peers: list[str], out: Path, into: Path | None) -> int:
    """Measure Evergreen and each installed peer in turn; the file is whole after each. Print the table, or write it into a page."""
    servers, absent = installed(peers)
    subprocess.run([sys.executable, "-m", "benchmarks.serving.prepare", "--brittle"], check=True, cwd=ROOT)
    pin()
    sample = Sample(json.loads((work() / "prepared" / "rows.json").read_text()), [])
    document: Figures = {"commit": commit(), "absent": absent, "seconds": effort.seconds, "rounds": effort.rounds, "results": []}
    for number in range(effort.rounds):
        for server in servers[:: -1 if number % 2 else 1]:
            result = {"server": server.name, "round": number, **_one(server, sample, effort)}
            document["results"].append(result)
            out.write_text(json.dumps(document, indent=1))
            say(f"round {number}, {server.name}: {result.get('error') or ', '.join(f'{c} {_in_short(result[c])}' for c in CELLS)}")
    text = "\n".join(table(document))
    if into is None:
        say(text)
    else:
        replace_between(into, BEGIN, END, text)
    return int(any("error" in result for result in document["results"]))


def _one(server: Server, sample: Sample, effort: Effort) -> Figures:
    scratch = work() / "running-neighbours"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    if server.checkout is not None:
        shutil.copytree(work() / "prepared" / f"{MODEL}.home", scratch / "home")
    importing = replace(server, environment={**server.environment, "PYTHONPATH": str(ROOT)})
    port = free_port(PORT)
    try:
        tree, _ = started(importing, MODEL, port, sample, scratch)
    except RuntimeError as error:
        return {"error": str(error)[:400]}
    try:
        tree.learn_idle()
        return {cell: _cell(tree, server, port, sample, cell, effort) for cell in CELLS}
    finally:
        tree.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def _cell(tree: Tree, server: Server, port: int, sample: Sample, cell: str, effort: Effort) -> Figures:
    path, row = server.paths[server.main], BUILD[server.main](list(sample.rows[:1]))
    seconds = max(effort.seconds, HANG_CELL_SECONDS) if cell == CELLS[-1] else effort.seconds
    with _trouble(server, port, sample, cell):
        return measured(tree, lambda: probe(port, path, row, seconds), effort.tries)


def _trouble(server: Server, port: int, sample: Sample, cell: str) -> AbstractContextManager[None]:
    build, path = BUILD[server.main], server.paths[server.main]
    one = dict(sample.rows[0])
    if cell == "slow readers":
        rows = list(sample.rows)
        return slow_readers(port, path, build((rows * (LARGE_ROWS // len(rows) + 1))[:LARGE_ROWS]))
    if cell == "slow writers":
        return slow_writers(port, path, build([one]))
    if cell == ALONE:
        return nullcontext()
    bad = build([{**one, COLUMN: RAISES if cell.endswith("raises") else HANGS}])
    return bad_requests(port, BAD_PATH if server.name == OURS else path, bad)


def probe(port: int, path: str, body: Body, seconds: float) -> Figures:
    """Ask every 20 ms over a new connection, whatever became of those before; times are in milliseconds from when each was due.

    One that has no good answer after 5 s is lost.
    """
    began, count = time.perf_counter(), round(seconds / EVERY_SECONDS)
    with ThreadPoolExecutor(MOST_WAITING) as clients:
        answers = [clients.submit(_answered, port, path, body, due) for due in _when_due(began, count)]
        times = sorted(taken for each in answers if (taken := each.result()) is not None)
    figures: Figures = {"count": count, "lost": count - len(times), "seconds": time.perf_counter() - began}
    if times:
        figures |= {"p50": times[len(times) // 2] * 1e3, "p99": times[len(times) * 99 // 100] * 1e3}
    return figures


def _when_due(began: float, count: int) -> Iterator[float]:
    for number in range(count):
        due = began + number * EVERY_SECONDS
        time.sleep(max(0.0, due - time.perf_counter()))
        yield due


def _answered(port: int, path: str, body: Body, due: float) -> float | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LOST_SECONDS)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        status, _, _ = ask(connection, path, body)
        taken = time.perf_counter() - due
        return taken if status == 200 and taken <= LOST_SECONDS else None
    return None


def _in_short(figures: Figures) -> str:
    return f"{figures.get('p50', 0):.1f}/{figures.get('p99', 0):.1f} ms, {figures['lost']} of {figures['count']} lost"


# ---- the table ----------------------------------------------------------------------------------------------------------


def table(document: Figures) -> Iterator[str]:
    """Yield the lines: a row a server, a column a trouble; what is not measured is named."""
    yield f"Measured at {document['commit']}: {document['rounds']} rounds of {document['seconds']:g} s a cell."
    yield "\nMedian and p99 in ms, each with its ratio to the undisturbed probes of the same round, and how many were lost.\n"
    yield f"| server | {' | '.join(CELLS)} |\n|---|{'---|' * len(CELLS)}"
    results = document["results"]
    for server in dict.fromkeys(result["server"] for result in results):
        mine = [result for result in results if result["server"] == server and "error" not in result]
        yield f"| {server} | {' | '.join(_text(mine, cell) for cell in CELLS)} |"
    for server in document["absent"]:
        yield f"| {server} | {' | '.join(['not measured'] * len(CELLS))} |"


def _text(results: list[Figures], cell: str) -> str:
    parts = []
    for name in ("p50", "p99"):
        value = Spread.of(result[cell][name] for result in results if name in result[cell])
        if value is None:
            continue
        both = [result for result in results if name in result[cell] and name in result[ALONE]]
        ratio = Spread.of(result[cell][name] / result[ALONE][name] for result in both)
        parts.append(short(value.middle) if cell == ALONE or ratio is None else f"{short(value.middle)} ({short(ratio.middle)} x)")
    lost, count = (sum(result[cell][name] for result in results) for name in ("lost", "count"))
    return f"{' / '.join(parts) or 'no answer'}; {lost:,} of {count:,} lost"
