"""What a row costs the drain: decoded, counted and committed to SQLite, in this process, by how many rows a request has and a commit takes.

``python -m benchmarks.drain`` (``--derived``: with derived columns; ``--segments``: with ten segments too)
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from benchmarks.serving.places import say
from service.prediction_log.ids import IdMinter
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import AnsweredRequest, encode_body
from service.prediction_log.watermark import ClockRule
from service.recording.drain import Drain
from service.recording.spool import Spool
from service.recording.version_facts import VersionCache, VersionFacts
from service.telemetry.metrics import ServiceMetrics
from training.clock import duration_us
from training.policies import WatchingPolicy
from training.profiles.measures import Measures
from training.profiles.reference import Answered, learn_measures
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema
from training.storage.database import open_database

NUMBERS, TEXTS, REFERENCE_ROWS = 15, 5, 5000
DECIMALS = 3  # as numbers are written, so that finer ones are counted too
BUCKET = timedelta(minutes=10)
CLASSES = ("no", "yes")
TOWNS = np.array([f"town {number}" for number in range(12)], object)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SCHEMA = Schema(
    (
        *(Feature(f"number{place}", "numeric", nullable=True) for place in range(NUMBERS)),
        *(Feature(f"text{place}", "categorical") for place in range(TEXTS)),
    ),
    target="late",
    task="binary",
)


@dataclass(frozen=True, slots=True)
class Load:
    """How many rows a request has, how many requests a commit, and how many commits are timed."""

    rows: int
    requests: int
    commits: int


LOADS = (Load(1, 1, 200), Load(1, 20, 50), Load(1, 300, 12), Load(20, 20, 12), Load(1000, 5, 8))


def columns_of(rng: np.random.Generator, n_rows: int) -> Columns:
    """Return some rows."""
    return {f.name: rng.normal(size=n_rows).round(DECIMALS) if f.is_number else rng.choice(TOWNS, n_rows) for f in SCHEMA.features}


def prediction_of(rng: np.random.Generator, n_rows: int) -> Prediction:
    """Return what was answered for some rows."""
    chance = rng.random(n_rows)
    return Prediction(np.where(chance > 0.5, "yes", "no").astype(object), np.stack([1 - chance, chance], 1), CLASSES)


def measures_of(rng: np.random.Generator, *, derived: bool, segments: bool) -> Measures:
    """Learn what is counted of a row."""
    rows = Rows(columns_of(rng, REFERENCE_ROWS), None, np.arange(REFERENCE_ROWS) * duration_us(BUCKET))
    answered = Answered(prediction_of(rng, REFERENCE_ROWS), np.arange(REFERENCE_ROWS))
    measures = learn_measures(rows, SCHEMA, WatchingPolicy(bucket=BUCKET, segments=("text0",) if segments else ()), answered)
    return measures if derived or segments else measures.without_derived()


def cost(folder: Path, measures: Measures, load: Load, rng: np.random.Generator) -> tuple[float, float]:
    """Return the median of the processor's time and of the time that passes, in microseconds a row."""
    (folder / "spool").mkdir(parents=True)
    database = open_database(f"sqlite:///{folder}/evergreen.db")
    facts = VersionFacts(measures, duration_us(BUCKET), ClockRule(10**15))
    spool = Spool(folder / "spool", IdMinter(b"k"))
    drain = Drain(
        folder=folder / "spool",
        log=PredictionLog(database),
        versions=VersionCache(lambda model, version: facts),
        metrics=ServiceMetrics(CollectorRegistry()),
        clock=lambda: NOW,
    )
    spent: list[tuple[float, float]] = []
    for commit in range(load.commits + 1):
        for request in range(load.requests):
            event_us = commit * 10**7 + request * 10**4 + np.arange(load.rows)
            columns, prediction = columns_of(rng, load.rows), prediction_of(rng, load.rows)
            answered = AnsweredRequest("trips", "v1", measures.id, 10**15, event_us, None, columns, prediction)
            spool.append(encode_body(answered), n_rows=load.rows, time_ms=1)
        began, began_processor = time.perf_counter(), time.process_time()
        drain.run_once()
        spent.append((time.process_time() - began_processor, time.perf_counter() - began))
    spool.close()
    database.close()
    each = 1e6 / (load.rows * load.requests)
    return statistics.median(s for s, _ in spent[1:]) * each, statistics.median(s for _, s in spent[1:]) * each


def main() -> None:
    """Print a line for each load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--derived", action="store_true", help="count derived columns too")
    parser.add_argument("--segments", action="store_true", help="count ten segments and the rest apart too")
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    measures = measures_of(rng, derived=chosen.derived, segments=chosen.segments)
    say("rows a request x requests a commit: processor, time that passes (microseconds a row)")
    with tempfile.TemporaryDirectory(prefix="evergreen-drain-") as folder:
        for number, load in enumerate(LOADS):
            processor, passed = cost(Path(folder) / str(number), measures, load, rng)
            say(f"{load.rows} x {load.requests}: {processor:.1f}, {passed:.1f}")


if __name__ == "__main__":
    main()
