"""The whole run: every server in turn, round after round, in a file that is whole after each cell."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.serving.checks import Sample
from benchmarks.serving.estimators import ESTIMATORS
from benchmarks.serving.measure import ALL_CELLS, Effort, Result, measure
from benchmarks.serving.places import CPUS, commit, say, work
from benchmarks.serving.processes import free_port, pin
from benchmarks.serving.servers import Server, before, installed

PORT, STEP, LAST_PORT = 18_100, 7, 28_000
"""Below 32768, where the ports of outgoing connections begin."""
MODELS = ("logistic", "forest", "boosting")


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    rounds: int
    effort: Effort
    peers: list[str]
    models: list[str]
    out: Path
    before: Path | None = None
    is_resumed: bool = False

    def turns(self, servers: list[Server]) -> Iterator[tuple[int, str, Server]]:
        """Yield round, model and server; the servers in reversed order every other round."""
        for number in range(self.rounds):
            for model in self.models:
                for server in servers[:: -1 if number % 2 else 1]:
                    yield number, model, server


def run(plan: Plan) -> int:
    """Measure everything; give 1 when a server failed, 0 otherwise."""
    servers, absent = installed(plan.peers)
    servers += [before(plan.before)] if plan.before is not None else []
    maker = servers[-1] if plan.before is not None else servers[0]  # the newer checkout reads homes of the older one
    for name in absent:
        say(f"NOT MEASURED: {name} is not installed (python -m benchmarks.serving setup)")
    document: dict[str, Any] = {"meta": {}, "results": []}
    if plan.is_resumed and plan.out.exists():
        document = json.loads(plan.out.read_text())
    if not plan.is_resumed or not (work() / "prepared" / "facts.json").exists():
        subprocess.run([str(maker.python), "-m", "benchmarks.serving.prepare", *plan.models], check=True, cwd=maker.checkout)
    pin()
    document["meta"] = {**_about(servers), **document["meta"], "absent": absent}
    document["meta"]["plan"] = {"rounds": plan.rounds, "seconds": plan.effort.seconds, "models": plan.models, "cells": plan.effort.cells}
    _walk(plan, servers, document)
    return int(any("error" in result for result in document["results"]))


def _walk(plan: Plan, servers: list[Server], document: dict[str, Any]) -> None:
    known = {(r["round"], r["model"], r["server"]) for r in document["results"] if r.get("done")}
    samples = {model: _sample(model) for model in plan.models}
    turns = list(plan.turns(servers))
    for place, (number, model, server) in enumerate(turns):
        if (number, model, server.name) in known:
            continue
        document["results"] = [r for r in document["results"] if (r["round"], r["model"], r["server"]) != (number, model, server.name)]
        results, began = document["results"], time.perf_counter()

        def keep(result: Result, number: int = number, results: list[Result] = results) -> None:
            result["round"] = number
            if result not in results:
                results.append(result)
            _write(plan.out, document)

        port = free_port(PORT + STEP * place % (LAST_PORT - PORT))
        result = measure(server, model, port, samples[model], plan.effort, keep)
        say(f"[{place + 1}/{len(turns)}] round {number}, {model}, {server.name}, {time.perf_counter() - began:.0f} s: {_in_short(result)}")


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".part")
    whole.write_text(json.dumps(document, indent=1))
    os.replace(whole, path)


def _sample(model: str) -> Sample:
    prepared = work() / "prepared"
    return Sample(json.loads((prepared / "rows.json").read_text()), json.loads((prepared / f"{model}.expected.json").read_text()))


def _in_short(result: Result) -> str:
    if "error" in result:
        return result["error"]
    cells = [f"{name} {result[name]['rate']:,.0f}/s" for name in ("c1", "c16", "c64", "rows100") if name in result]
    cells += [
        f"{name.partition(' ')[2]} {figures['rows_rate']:,.0f} rows/s" for name, figures in result.items() if name.startswith("rows10000 ")
    ]
    return ", ".join([f"start {result['start_s']:.2f} s", f"{result['load_mb']:.0f} MB", *cells])


def _about(servers: list[Server]) -> dict[str, Any]:
    """Return what a reader must know to judge the figures."""
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split(" [")[0]
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": f"{names[0] if names else platform.machine()}, {len(names)} cores, {memory:.0f} GB; Linux {platform.release()}",
        "cpus": list(CPUS),
        "python": platform.python_version(),
        "wrk": wrk,
        "command": "python -m benchmarks.serving " + " ".join(sys.argv[1:]),
        "models": json.loads((work() / "prepared" / "facts.json").read_text()),
        "servers": {s.name: {"versions": _versions(s), "note": s.note, "is_batching": s.is_batching} for s in servers},
    }


def _versions(server: Server) -> dict[str, str]:
    code = "import sys, json, importlib.metadata as m; sys.stdout.write(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    command = [str(server.python), "-c", code, *server.dists]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def plan_of(options: Any) -> Plan:
    """Read the command line."""
    cells = tuple(options.cells.split(",")) if options.cells else ALL_CELLS
    peers = options.peers.split(",") if options.peers else []
    models = options.models.split(",")
    for chosen, known in ((cells, ALL_CELLS), (models, ESTIMATORS)):
        if unknown := [name for name in chosen if name not in known]:
            raise SystemExit(f"there is no {', '.join(unknown)}; there is {', '.join(known)}")
    effort = Effort(cells, options.seconds, options.tries)
    return Plan(options.rounds, effort, peers, models, Path(options.out), options.before, options.resume)
