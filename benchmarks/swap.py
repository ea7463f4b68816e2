"""What a swap costs those who ask meanwhile: 500 requests a second over keep-alive connections, champions moved back and forth.

    python -m benchmarks.swap [--model logistic forest] [--swaps 6] [--per-second 500] [--connections 32]

A request's delay runs from the moment it had to leave (open loop) to the last byte of its answer. *Extra* is the worst delay within
5 s of a swap less the worst of a span of the same length without one. The client shares the cores with the service; what it needs
is printed. *Everywhere* is the time from the promotion to a worker's last answer with the old version, of each worker.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.compiled import make_rows
from tests.end_to_end.arena import Arena
from tests.end_to_end.conftest import free_port
from tests.end_to_end.load import Load, Sent
from tests.end_to_end.wire import request
from training.fitting.preprocessing import build_pipeline
from training.schema.rows import Rows
from training.schema.schema import Schema, frame

SPAN_SECONDS = 5.0
FEWEST_CONNECTIONS = 3
BOUNDS_MS = {"logistic": 50.0, "forest": 250.0}
SPEC = "model: bench\nschema:\n  target: target\n  task: binary\n  positive: 'yes'\n  features:\n"


def fitted(name: str, seed: int, schema: Schema, rows: Rows) -> Any:
    """Return one of two models that answer differently."""
    estimator: Any = LogisticRegression(C=1.0 + seed, max_iter=500)
    if name == "forest":
        estimator = RandomForestClassifier(100, max_leaf_nodes=256, random_state=seed, n_jobs=1)
    pipeline = build_pipeline(schema, estimator, scale=name == "logistic", encode="onehot")
    return pipeline.fit(frame(rows.columns, schema), rows.labels)


def delays(sent: list[Sent]) -> np.ndarray[Any, Any]:
    """Return milliseconds, by the time a request had to leave."""
    return np.array([(each.done - each.due) * 1e3 for each in sorted(sent, key=lambda each: each.due)])


def line(name: str, values: np.ndarray[Any, Any]) -> str:
    """Return a row of the table."""
    middle, most, worst = (np.quantile(values, q) for q in (0.5, 0.99, 1.0))
    return f"| {name} | {len(values):,} | {middle:.1f} | {most:.1f} | {worst:.1f} |"


def measure(name: str, folder: Path, *, swaps: int, per_second: float, connections: int, size: int) -> str:
    """Start the service, load it, swap, and return the figures."""
    schema, rows = make_rows(size)
    kinds = "".join(f"    {f.name}: {{kind: {f.kind}, nullable: true}}\n" for f in schema.features)
    table = frame(rows.columns, schema).assign(target=rows.labels)
    requests = [request("/models/bench/predict", {"rows": [row]}) for row in wire_rows(rows, schema)]
    with threadpool_limits(1):
        pipelines = [fitted(name, seed, schema, rows) for seed in (0, 1)]
    with Arena(folder, free_port(), pipelines, SPEC + kinds, table) as served:
        served.start()
        while True:
            with Load(served.port, requests, per_second=per_second, connections=connections) as load:
                load.wait_for(int(per_second * 2))
                workers = {pid: served.ports_of(pid) for pid in served.workers()}
                if min(map(len, workers.values())) < FEWEST_CONNECTIONS:
                    continue  # too few to see that worker by; connections fall where they fall
                calm = _span(load)
                moves = [_move(served, (n + 1) % 2) for n in range(swaps)]
            break
        around = [each for began, _ in moves for each in load.sent if began <= each.due < began + SPAN_SECONDS]
        versions = {each.content.get("version", "?") for each in load.sent if each.status == 200}
        everywhere = [_seconds_until(began, version, ports, load) for began, version in moves for ports in workers.values()]
    still, moved = delays(calm), delays(around)
    return "\n".join(
        [
            f"\n## {name}, {swaps} swaps, {per_second:.0f} requests/s, {connections} connections\n",
            "| | requests | median ms | p99 ms | worst ms |\n|--|--:|--:|--:|--:|",
            line(f"{SPAN_SECONDS:.0f} s without a swap", still),
            line(f"within {SPAN_SECONDS:.0f} s of a swap", moved),
            f"\nextra: median {median(moved) - median(still):+.1f} ms, worst {moved.max() - still.max():+.1f} ms"
            f" (bound {BOUNDS_MS[name]:.0f} ms)",
            f"failed: {len(load.failures())} of {len(load.sent):,}; versions seen: {len(versions)}",
            f"everywhere after: median {median(everywhere):.2f} s, worst {max(everywhere):.2f} s (bound 2 s)",
            f"the client took {load.cpu_seconds / len(load.sent) * 1e6:.0f} µs of processor time a request",
        ]
    )


def wire_rows(rows: Rows, schema: Schema, count: int = 200) -> list[dict[str, Any]]:
    columns = {f.name: rows.columns[f.name][:count].tolist() for f in schema.features}
    made = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [{name: None if value != value else value for name, value in row.items()} for row in made]


def _span(load: Load) -> list[Sent]:
    began = time.perf_counter()
    time.sleep(SPAN_SECONDS)
    return [each for each in load.sent if began <= each.due < began + SPAN_SECONDS]


def _move(served: Arena, place: int) -> tuple[float, str]:
    """Promote, let the span pass, and return when it was and what was promoted."""
    began = time.perf_counter()
    version = served.promote(place)
    time.sleep(SPAN_SECONDS + 0.5)
    return began, version


def _seconds_until(began: float, version: str, ports: set[int], load: Load) -> float:
    """Return how long after a promotion one worker last answered with another version."""
    span = [each for each in load.sent if began <= each.done < began + SPAN_SECONDS and each.port in ports]
    assert span[-1].content["version"] == version
    return max((each.done - began for each in span if each.content["version"] != version), default=0.0)


def main() -> None:
    """Print the figures of each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=list(BOUNDS_MS), default=list(BOUNDS_MS))
    parser.add_argument("--swaps", type=int, default=6)
    parser.add_argument("--per-second", type=float, default=500.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rows", type=int, default=8_000, help="training rows of each model")
    options = parser.parse_args()
    for name in options.model:
        with tempfile.TemporaryDirectory(prefix="evergreen-swap-") as folder:
            figures = measure(
                name, Path(folder), swaps=options.swaps, per_second=options.per_second, connections=options.connections, size=options.rows
            )
        sys.stdout.write(figures + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
