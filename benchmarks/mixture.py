"""What a version of boosted members costs beside one member: the compiled predictor alone, and over HTTP.

    python -m benchmarks.mixture [--seconds 20] [--rows 8000]

Alone: median processor time of a call, each member with a map. Over HTTP: two services, one with a member, the other with four; a
client on one keep-alive connection to each asks them in turn, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.compiled import make_rows, microseconds
from benchmarks.swap import SPEC, wire_rows
from tests.end_to_end.arena import CAUSE, NOW, Arena
from tests.end_to_end.conftest import free_port
from tests.end_to_end.wire import Wire, request
from training.artifacts.artifact import load_verified
from training.artifacts.mixtures import save_mixture
from training.artifacts.signing import load_or_make_key
from training.compiled.mixture import Mixture, Part
from training.compiling.compiling import read_pipeline
from training.fitting.candidates import Candidate
from training.fitting.fitted_model import FittedModel
from training.fitting.search import fit
from training.registry.registry import Registry
from training.schema.rows import Rows
from training.schema.schema import Schema, frame
from training.storage.database import open_database

MEMBERS, MAP = 4, (1.1, 0.1)
COUNTS, SIZES = (1, 2, 4, 8), (1, 1_000)
BARS = {1: 1.35, 1_000: 4.2}


def fitted(schema: Schema, rows: Rows, count: int) -> list[FittedModel]:
    """Fit boosted members on windows that overlap."""
    step = len(rows) // (2 * count)
    candidate = Candidate("boosting", {"max_iter": 100})
    return [fit(candidate, rows.slice(place * step, place * step + len(rows) // 2), schema) for place in range(count)]


def alone(models: Sequence[FittedModel], rows: Rows, seconds: float) -> Iterator[str]:
    """Yield the table of the compiled predictor alone."""
    compiled = [read_pipeline(model)[0] for model in models]
    yield "| compiled, alone | " + " | ".join(f"{count} member{'s' if count > 1 else ''}" for count in COUNTS) + " |"
    yield "|---|" + "--:|" * len(COUNTS)
    for size in SIZES:
        cells = []
        for count in COUNTS:
            parts = tuple(Part(model, 1 / count, MAP) for model in compiled[:count])
            mixture = compiled[0].mapped(*MAP) if count == 1 else Mixture(parts, compiled[0].classes)
            cells.append(f"{microseconds(mixture.predict, rows.columns, size, seconds):,.0f} us")
        yield f"| {size:,} row{'s' if size > 1 else ''} | " + " | ".join(cells) + " |"


def mix(served: Arena) -> None:
    """Make all fitted versions of a home one version, and promote it."""
    home = served.home
    key = load_or_make_key(home.signing_key)
    loaded = [load_verified(home.artifacts / served.model / version, home.cache, key) for version in served.versions]
    database = open_database(f"sqlite:///{home.database}")
    registry = Registry(database)
    artifact = save_mixture(
        [replace(each.manifest.as_member("window"), weight=1 / len(loaded), map=MAP) for each in loaded],
        {each.digest: each for each in loaded},
        spec_text=registry.get_model(served.model).spec_text,
        parent=served.versions[0],
        generation=None,
        weighed_through_us=None,
        home_artifacts=home.artifacts,
        key=key,
        now=NOW + timedelta(days=1),
    )
    registry.register(artifact, cause=CAUSE, now=NOW)
    registry.promote(served.model, artifact.version, expected=served.versions[0], cause=CAUSE, now=NOW)
    database.close()


def over_http(ports: Sequence[int], rows: Sequence[dict[str, Any]], size: int, seconds: float) -> list[float]:
    """Return the median milliseconds of a request with so many rows, for each port; they are asked in turn."""
    bodies = [request("/models/bench/predict", {"rows": list(rows[at : at + size])}) for at in range(0, len(rows) - size + 1, size)][:64]
    taken: list[list[float]] = [[] for _ in ports]
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(port)) for port in ports]
        ends, turn = time.perf_counter() + seconds, 0
        while time.perf_counter() < ends or turn < 8:
            for wire, times in zip(wires, taken, strict=True):
                began = time.perf_counter()
                reply = wire.ask(bodies[turn % len(bodies)])
                times.append((time.perf_counter() - began) * 1e3)
                assert reply.status == 200, reply.body
            turn += 1
    return [median(times[len(times) // 10 :]) for times in taken]


def served(folder: Path, models: Sequence[FittedModel], schema: Schema, rows: Rows, seconds: float) -> Iterator[str]:
    """Yield the table of both services."""
    kinds = "".join(f"    {f.name}: {{kind: {f.kind}, nullable: true}}\n" for f in schema.features)
    some = rows.slice(0, 2_000)
    table = frame(some.columns, schema).assign(target=some.labels)
    pipelines = [model.pipeline for model in models[:MEMBERS]]
    with ExitStack() as stack:
        arenas = [
            stack.enter_context(Arena(folder / name, free_port(), wanted, SPEC + kinds, table))
            for name, wanted in (("one", pipelines[:1]), ("four", pipelines))
        ]
        mix(arenas[1])
        for arena in arenas:
            arena.start()
        asked = wire_rows(rows, schema, 2_000)
        yield f"\n| over HTTP, median | one member | {MEMBERS} members | times | bar |\n|---|--:|--:|--:|--:|"
        for size in SIZES:
            one, four = over_http([arena.port for arena in arenas], asked, size, seconds)
            yield f"| {size:,} row{'s' if size > 1 else ''} | {one:.3f} ms | {four:.3f} ms | {four / one:.2f} | {BARS[size]} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each line over HTTP; a tenth of it of each cell alone")
    parser.add_argument("--rows", type=int, default=8_000, help="of which the members see windows")
    options = parser.parse_args()
    schema, rows = make_rows(options.rows)
    with threadpool_limits(1), tempfile.TemporaryDirectory(prefix="evergreen-mixture-") as folder:
        models = fitted(schema, rows, max(COUNTS))
        for line in (*alone(models, rows, options.seconds / 10), *served(Path(folder), models, schema, rows, options.seconds)):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
