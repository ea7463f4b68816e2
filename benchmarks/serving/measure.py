"""One server, one model, once: started, verified, loaded, weighed, stopped."""

from __future__ import annotations

import http.client
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.checks import Sample, check_all, check_small
from benchmarks.serving.encodings import BUILD
from benchmarks.serving.load import measured, repeat, settle, wrk
from benchmarks.serving.places import work
from benchmarks.serving.processes import Tree
from benchmarks.serving.servers import Server
from benchmarks.serving.starting import clean_environment, start

CELLS: dict[str, tuple[int, int]] = {"c1": (1, 1), "c16": (16, 1), "c64": (64, 1), "rows100": (4, 100)}
"""Name to connections and rows a request."""
BIG = "rows10000"
ALL_CELLS = (*CELLS, BIG)
BODIES = {1: 64, 100: 8}
WARM_SECONDS, BIG_SECONDS, SETTLE_SECONDS = 1.0, 2.0, 0.5
Result = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """Which cells, how long each, and how often at most while others are busy on the cores."""

    cells: tuple[str, ...]
    seconds: float
    tries: int


def measure(server: Server, model: str, port: int, sample: Sample, effort: Effort, keep: Callable[[Result], None]) -> Result:
    """Measure one server with one model.

    Parameters
    ----------
    keep
        Called with what is known so far after each step, so that an interrupted run still reports.

    Returns
    -------
    dict
        With ``error`` when it did not start or answered wrongly.
    """
    result: Result = {"server": server.name, "model": model}
    try:
        _measure(server, model, port, sample, effort, result, keep)
        result["done"] = True
    except (OSError, http.client.HTTPException, RuntimeError, ValueError, LookupError) as error:
        result["error"] = f"{type(error).__name__}: {error}"[:400]
    keep(result)
    return result


def _measure(
    server: Server,
    model: str,
    port: int,
    sample: Sample,
    effort: Effort,
    result: Result,
    keep: Callable[[Result], None],
) -> None:
    scratch = work() / "running"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    if server.checkout is not None:
        shutil.copytree(work() / "prepared" / f"{model}.home", scratch / "home")
        tree, result["first_start_s"] = started(server, model, port, sample, scratch)
        tree.stop()
    tree, result["start_s"] = started(server, model, port, sample, scratch)
    try:
        time.sleep(SETTLE_SECONDS)
        tree.learn_idle()
        result["idle_mb"], result["processes"] = tree.megabytes(), len(tree.pids())
        result["difference"] = check_small(server, port, sample)
        keep(result)
        for cell in (c for c in CELLS if c in effort.cells):
            result[cell] = _small(server, port, sample, tree, scratch, cell, effort)
            keep(result)
        for encoding in server.paths if BIG in effort.cells else ():
            result[f"{BIG} {encoding}"] = _big(server, port, sample, tree, encoding, effort)
            keep(result)
        result["load_mb"] = tree.megabytes()
    finally:
        tree.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def started(server: Server, model: str, port: int, sample: Sample, scratch: Path) -> tuple[Tree, float]:
    """Start a server with a model; give its processes, and the seconds until the first good answer.

    Raises
    ------
    RuntimeError
        It went away or did not answer in time.
    """
    prepared = work() / "prepared"
    environment = clean_environment()
    own = server.filled("{bin}", port, model, scratch, prepared)
    environment |= {"MODEL_PATH": str(prepared / f"{model}.joblib"), "NO_COLOR": "1", "PATH": f"{own}:{environment['PATH']}"}
    environment |= {"OMP_NUM_THREADS": "1"} if model == "boosting" else {}
    environment |= {name: server.filled(value, port, model, scratch, prepared) for name, value in server.environment.items()}
    command = [server.filled(word, port, model, scratch, prepared) for word in server.command]
    folder = server.checkout or scratch
    first = (port, server.paths[server.main], BUILD[server.main](list(sample.rows[:1])))
    return start(command, environment, folder, f"{server.name}-{model}", first, server.patience)


def _small(server: Server, port: int, sample: Sample, tree: Tree, scratch: Path, cell: str, effort: Effort) -> Result:
    connections, rows = CELLS[cell]
    path, bodies = server.paths[server.main], scratch / f"bodies-{rows}"
    if not bodies.exists():
        parts = (list(sample.rows[i * rows : (i + 1) * rows]) for i in range(BODIES[rows]))
        bodies.write_bytes(b"".join(BUILD[server.main](part).content + b"\n" for part in parts))
    wrk(port, path, bodies, connections, WARM_SECONDS)
    settle(tree)
    return measured(tree, lambda: wrk(port, path, bodies, connections, effort.seconds), effort.tries)


def _big(server: Server, port: int, sample: Sample, tree: Tree, encoding: str, effort: Effort) -> Result:
    difference = check_all(server, encoding, port, sample)
    body = BUILD[encoding](list(sample.rows))
    settle(tree)
    figures = measured(tree, lambda: repeat(port, server.paths[encoding], body, len(sample.rows), BIG_SECONDS), effort.tries)
    return {**figures, "difference": difference}
