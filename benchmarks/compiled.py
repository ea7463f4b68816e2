"""Microseconds a call, plain scikit-learn against the compiled predictor, on one thread.

    python -m benchmarks.compiled [--rows 1 8 32 100 1000 10000] [--seconds 1.0]

Rows rotate from call to call (one row repeated would keep its paths through the trees in the cache). The plain form is
``FittedModel.predict`` on the same columns: a table is built and goes through the fitted pipeline. Medians.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from threadpoolctl import threadpool_limits

from training.compiled.compiled_model import CompiledModel
from training.compiling.compiling import compile_model
from training.fitting.calibration import CalibratedPipeline
from training.fitting.candidates import Candidate
from training.fitting.fitted_model import FittedModel
from training.fitting.preprocessing import build_pipeline
from training.fitting.search import fit
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows, count_rows
from training.schema.schema import Schema, frame

LEVELS = (3, 5, 8, 12, 20, 50)
NUMBERS = 14


def make_rows(count: int, seed: int = 0) -> tuple[Schema, Rows]:
    """Return rows of 14 numbers and 6 categories with a target of two classes."""
    rng = np.random.default_rng(seed)
    columns: Columns = {f"number_{i}": rng.normal(size=count) for i in range(NUMBERS)}
    for i, levels in enumerate(LEVELS):
        names = np.array([f"value {v}" for v in range(levels)], dtype=object)
        columns[f"category_{i}"] = names[rng.integers(levels, size=count)]
    columns["number_0"][rng.random(count) < 0.05] = np.nan
    signal = columns["number_1"] + columns["number_2"] * columns["number_3"] + (columns["category_1"] == "value 1")
    target = np.where(signal + rng.normal(size=count) > 0, "yes", "no").astype(object)
    features = tuple(Feature(n, "numeric" if n.startswith("number") else "categorical", nullable=True) for n in columns)
    return Schema(features, "target", "binary", positive="yes"), Rows(columns, target, np.arange(count))


def make_models(schema: Schema, rows: Rows) -> Iterator[tuple[str, FittedModel]]:
    """Yield the models with their names."""
    forest = {"algorithm": "random", "max_leaf_nodes": 256, "min_samples_leaf": 5, "max_features": 0.5}
    linear = fit(Candidate("linear", {"C": 1.0}), rows, schema)
    yield "logistic regression", linear
    yield "the same, calibrated", FittedModel.of(CalibratedPipeline(linear.pipeline, 1.1, 0.1), schema)
    yield "boosting, 80 trees", fit(Candidate("boosting", {"max_iter": 80, "max_leaf_nodes": 15}), rows, schema)
    yield "boosting, 100 trees of 31 leaves", fit(Candidate("boosting", {"max_iter": 100}), rows, schema)
    yield "forest, 60 trees of 256 leaves", fit(Candidate("forest", forest), rows, schema)
    full: Any = RandomForestClassifier(100, random_state=0, n_jobs=1)
    pipeline = build_pipeline(schema, full, scale=False, encode="onehot").fit(frame(rows.columns, schema), rows.labels)
    yield "forest, 100 full-depth trees, one-hot", FittedModel.of(pipeline, schema)


def microseconds(predict: Callable[[Columns], Prediction], columns: Columns, size: int, seconds: float) -> float:
    """Return the median time of a call with `size` rows, which rotate."""
    count = count_rows(columns)
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(taken) < 3:
        at = (len(taken) * size) % max(count - size, 1)
        batch = {name: values[at : at + size] for name, values in columns.items()}
        began = time.thread_time()
        predict(batch)
        taken.append(time.thread_time() - began)
    return median(taken) * 1e6


def report(name: str, model: FittedModel, held: Rows, sizes: list[int], seconds: float) -> Iterator[str]:
    """Yield the lines of one model's table."""
    began = time.perf_counter()
    compiled = compile_model(model, held)
    yield f"\n## {name}\n\n{compiled.sentence} ({time.perf_counter() - began:.1f} s to compile and prove)\n"
    if not isinstance(compiled, CompiledModel):
        return
    yield f"one call up to {getattr(compiled.engine, 'crossover', 'any')} rows\n"
    yield "| rows | plain us | compiled us | times |\n|--:|--:|--:|--:|"
    for size in sizes:
        plain, fast = (microseconds(m.predict, held.columns, size, seconds) for m in (model, compiled))
        yield f"| {size:,} | {plain:,.1f} | {fast:,.1f} | {plain / fast:.1f} |"


def main() -> None:
    """Print a table a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32, 100, 1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each cell")
    options = parser.parse_args()
    schema, rows = make_rows(50_000)
    with threadpool_limits(1):
        for name, model in make_models(schema, rows.slice(0, 38_000)):
            for line in report(name, model, rows.slice(38_000, 50_000), options.rows, options.seconds):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
