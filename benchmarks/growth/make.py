"""``python -m benchmarks.growth.make SWEEP``: fit and import what a sweep serves, write the bodies it sends.

A process of its own, for the reason given in `benchmarks.serving.prepare`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pyarrow as pa
from sklearn.ensemble import RandomForestClassifier
from threadpoolctl import threadpool_limits

from benchmarks.growth.points import MODELS, Point, points
from benchmarks.serving.data import make_table
from benchmarks.serving.encodings import ARROW, BUILD, Body
from benchmarks.serving.estimators import ESTIMATORS, fitted
from benchmarks.serving.homes import make_home
from benchmarks.serving.places import say

TRAINING, SMALL = 10_000, 2_000


def make(sweep: str) -> None:
    """Make the folders of a sweep anew."""
    made = set()
    for point in points(sweep):
        if point.home not in made:
            shutil.rmtree(point.folder, ignore_errors=True)
            point.folder.mkdir(parents=True)
            _make(point)
            made.add(point.home)
            say(f"made {point.home}")


def _make(point: Point) -> None:
    numbers, categories = _width(point)
    count = SMALL if point.sweep in ("models", "features") else TRAINING
    table, labels = make_table(count, 7, numbers, categories)
    estimator: Any = ESTIMATORS[point.series]() if point.sweep != "trees" else RandomForestClassifier(point.at, random_state=0)
    with threadpool_limits(1):
        pipeline = fitted(estimator, table, labels)
        pipeline_file = point.folder / "model.joblib"
        joblib.dump(pipeline, pipeline_file)
        names = [f"bench-{i}" for i in range(max(MODELS) if point.sweep == "models" else 1)]
        make_home(point.folder / "home", dict.fromkeys(names, pipeline_file), table, labels)
        table_sent, _ = make_table(max(point.sizes), 11, numbers, categories)
        (point.folder / "expected.json").write_text(json.dumps(pipeline.predict_proba(table_sent[:100])[:, 1].tolist()))
    pipeline_file.unlink()
    _write_bodies(point, table_sent)


def _width(point: Point) -> tuple[int, int]:
    """Return how many numbers and categories a row has: of every ten features seven are numbers."""
    return (point.at * 7 // 10, point.at - point.at * 7 // 10) if point.sweep == "features" else (14, 6)


def _write_bodies(point: Point, table_sent: pd.DataFrame) -> None:
    for size in point.sizes:
        part = table_sent.head(size)
        rows = part.to_dict("records")
        for encoding in point.encodings:
            _write(point.folder / f"{encoding} {size}", _arrow(part) if encoding == "arrow" else BUILD[encoding](rows))


def _arrow(table: pd.DataFrame) -> Body:
    sent, sink = pa.Table.from_pandas(table, preserve_index=False), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, sent.schema) as writer:
        writer.write_table(sent)
    return Body(sink.getvalue().to_pybytes(), {"Content-Type": ARROW, "Accept": ARROW})


def _write(path: Path, body: Body) -> None:
    path.write_bytes(body.content)
    path.with_name(path.name + ".headers").write_text(json.dumps(dict(body.headers)))


if __name__ == "__main__":
    make(sys.argv[1])
