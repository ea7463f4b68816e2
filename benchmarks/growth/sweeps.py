"""Serve each point and time it: start, memory, and the median time of a request by encoding and size."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.growth.points import Point, points
from benchmarks.serving.encodings import Body, difference, read
from benchmarks.serving.load import measured, post, repeat, settle
from benchmarks.serving.places import ROOT, commit, say, work
from benchmarks.serving.processes import Tree, free_port, pin
from benchmarks.serving.starting import clean_environment, running

PORT, TOLERANCE = 28_700, 1e-9
Measured = dict[str, Any]


def run(sweeps: list[str], seconds: float, out: Path) -> None:
    """Measure some sweeps; those that are in the file already and not asked for stay in it."""
    document = json.loads(out.read_text()) if out.exists() else {"points": []}
    for sweep in sweeps:
        subprocess.run([sys.executable, "-m", "benchmarks.growth.make", sweep], check=True, cwd=ROOT)
    pin()
    out.parent.mkdir(parents=True, exist_ok=True)
    for sweep in sweeps:
        document["points"] = [p for p in document["points"] if p["sweep"] != sweep]
        for point in points(sweep):
            document["points"] += _measured(point, free_port(PORT), seconds)
            document["about"] = f"Measured {datetime.now(UTC):%Y-%m-%d} at {commit()}, {seconds:g} s a cell."
            out.write_text(json.dumps(document, indent=1))
            say(f"{sweep}: {point.series}, {point.at or 'all sizes'}")


def _measured(point: Point, port: int, seconds: float) -> Iterator[Measured]:
    home = work() / "running-growth"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(point.folder / "home", home)
    names = ",".join(f"bench-{i}" for i in range(point.models))
    environment = clean_environment() | {"EVERGREEN_HOME": str(home), "EVERGREEN_BIND": f"127.0.0.1:{port}", "EVERGREEN_MODELS": names}
    environment["EVERGREEN_LOG_LEVEL"] = "WARNING"
    first = (port, _path(point, point.encodings[0]), _body(point, point.encodings[0], point.sizes[0]))
    with running([sys.executable, "-m", "service"], environment, ROOT, f"growth-{point.home}", first) as (tree, taken):
        settle(tree)
        yield from _cost(point, tree, taken)
        for encoding in point.encodings:
            for size in point.sizes:
                yield _timed(point, tree, port, encoding, size, seconds)
    shutil.rmtree(home, ignore_errors=True)


def _cost(point: Point, tree: Tree, taken: float) -> Iterator[Measured]:
    """Yield start and memory, before the requests that grow with the point."""
    cell = {"sweep": point.sweep, "at": point.at, "series": point.series}
    yield {**cell, "what": "start", "value": taken * 1e3}
    yield {**cell, "what": "memory", "value": tree.megabytes()}


def _timed(point: Point, tree: Tree, port: int, encoding: str, size: int, seconds: float) -> Measured:
    body, path = _body(point, encoding, size), _path(point, encoding)
    status, content, headers = post(port, path, body)
    if status != 200:
        raise RuntimeError(f"{path} answers {status}: {content[:200]!r}")
    expected = json.loads((point.folder / "expected.json").read_text())[:size]
    if difference(read(content, headers)[: len(expected)], expected) > TOLERANCE:
        raise RuntimeError(f"{point.home}, {encoding}: the answer is not scikit-learn's")
    settle(tree)
    figures = measured(tree, lambda: repeat(port, path, body, size, seconds))
    at = size if point.sweep == "rows" else point.at
    return {
        "sweep": point.sweep,
        "at": at,
        "series": point.series,
        "what": encoding,
        "rows": size,
        "value": figures["p50"],
        "foreign": figures["foreign"],
    }


def _path(point: Point, encoding: str) -> str:
    """Return the path of the model that was loaded last."""
    model = f"bench-{point.models - 1}"
    return f"/v2/models/{model}/infer" if encoding == "raw tensors" else f"/models/{model}/predict"


def _body(point: Point, encoding: str, size: int) -> Body:
    path = point.folder / f"{encoding} {size}"
    return Body(path.read_bytes(), json.loads(path.with_name(path.name + ".headers").read_text()))
