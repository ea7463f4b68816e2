"""What a label request costs in a log of a million rows: how long a draw takes, and how long it holds the write lock.

``python -m benchmarks.label_requests``
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from benchmarks.retention import MODEL, NOW, TimedDatabase, fill
from benchmarks.serving.places import say
from service.label_requests.drawing import MOST_DRAWN, DrawRule, LabelRequests, Wanted
from service.prediction_log.prediction_log import PredictionLog
from training.storage.database import Database, open_database


class Watched(TimedDatabase):
    """A database that notes how long each write transaction holds the lock."""

    def prepare(self, *arguments: object) -> None:
        """Do nothing: the tables are there."""

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a read transaction."""
        with self._database.read() as connection:
            yield connection


def measure(database: Database, k: int, times: int) -> tuple[float, float, float]:
    """Return the median seconds of some draws, of the processor's work for them, and the longest that the lock was held."""
    watched = Watched(database)
    requests = LabelRequests(watched, lambda: NOW)  # type: ignore[arg-type]
    seconds, worked = [], []
    for number in range(times):
        began, before = time.perf_counter(), time.process_time()
        requests.draw(MODEL, Wanted(f"k{k}-{number}", k), DrawRule(1 << 60))
        seconds.append(time.perf_counter() - began)
        worked.append(time.process_time() - before)
    return median(seconds), median(worked), max(end - began for began, end in watched.held)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'log.db'}")
        log = PredictionLog(database)
        log.prepare()
        fill(database, log, options.rows, 1)
        log.set_watermark(MODEL, options.rows + 1)
        say(f"A log of {options.rows:,} rows of one model, all without a label, medians of {options.times}.\n")
        say("| drawn | s | of the processor, s | lock held at most, ms |\n|--:|--:|--:|--:|")
        for k in (50, 1_000, MOST_DRAWN):
            seconds, worked, held = measure(database, k, options.times)
            say(f"| {k:,} | {seconds:.2f} | {worked:.2f} | {held * 1e3:.0f} |")
        database.close()


if __name__ == "__main__":
    main()
