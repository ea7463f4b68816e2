"""What the drift of one slot takes: its counts read from the log, the state read, the look, and the state written, on SQLite."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks.monitoring.streams import MONDAY_US, Stream, make_world
from benchmarks.monitoring.watching import BINS, RULE, Watch
from benchmarks.serving.places import say
from monitoring.drift.e_detector import look
from monitoring.drift.watch_state import State, advance
from service.count_ledger.counts import CountedRows, add_counts
from service.prediction_log.prediction_log import PredictionLog
from training.storage.database import Database, open_database, upsert

MODEL, VERSION = "simulated", "one"
LONGEST = 20.0  # ms at 20 columns
WIDE = 30.0  # times as long at 500 columns
TRAFFIC = 1.5  # times as long at ten times the rows is the same, on a machine with others
CHECKS, WARM = 400, 100
METADATA = sa.MetaData()
STATES = sa.Table(
    "states",
    METADATA,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("slot_us", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
NARROW = Stream()
STREAMS = {
    "20 columns, 200 rows a slot": NARROW,
    "20 columns, 2,000 rows a slot": replace(NARROW, rows=2000),
    "500 columns, 200 rows a slot": replace(NARROW, numbers=300, categories=200),
}


@dataclass(frozen=True)
class Slots:
    """One model's log and state, as the monitor meets them slot by slot."""

    database: Database
    log: PredictionLog
    watch: Watch

    def judge(self, from_us: int, slot_us: int) -> None:
        """Do what a slot does about drift."""
        rows = self.log.ledger(MODEL, BINS, from_us, slot_us)
        with self.database.read() as connection:
            stored = connection.scalar(sa.select(STATES.c.content).where(STATES.c.model == MODEL))
        state = advance(self.watch.begin() if stored is None else State.from_bytes(stored), slot_us, rows)
        look(state, self.watch.variation, RULE)
        with self.database.write() as connection:
            values = {"slot_us": slot_us, "content": state.to_bytes()}
            upsert(connection, STATES, {"model": MODEL, **values}, ["model"], values)

    def add(self, checks: Iterator[tuple[np.ndarray, ...]]) -> None:
        """Write the counts of the checks that came, as the drain does."""
        with self.database.write() as connection:
            add_counts(
                connection,
                [
                    CountedRows(MODEL, VERSION, start, profile.rows, profile, width)
                    for start, width, _, profile in self.watch.rows(checks, 0)
                ],
            )


def slot(quick: bool, processes: int | None = None) -> list[str]:
    """Time slots of each stream; return the lines of a table. It is one process, however many are given."""
    checks, warm = (40, 10) if quick else (CHECKS, WARM)
    middle = {}
    for name, stream in STREAMS.items():
        with tempfile.TemporaryDirectory() as folder:
            times = measure(stream, Path(folder), checks)[warm:]
        middle[name] = (statistics.median(times), float(np.quantile(times, 0.95)))
        say(f"# {name}: {middle[name]}")
    narrow, busy, wide = (one[0] for one in middle.values())
    bars = (f"at most {LONGEST:.0f} ms", f"as with 200: {busy / narrow:.1f} times", f"at most {WIDE:.0f} times: {wide / narrow:.1f} times")
    is_met = (narrow <= LONGEST, busy <= TRAFFIC * narrow, wide <= WIDE * narrow)
    lines = ["| | median, ms | 95 % of slots within, ms | bar |", "|---|---|---|---|"]
    for (name, (median, most)), bar, met in zip(middle.items(), bars, is_met, strict=True):
        lines.append(f"| {name} | {median:.1f} | {most:.1f} | {bar if met else f'**{bar}, missed**'} |")
    return lines


def measure(stream: Stream, folder: Path, checks: int) -> list[float]:
    """Return the milliseconds of each slot."""
    generator = np.random.default_rng(0)
    watch = Watch.of(make_world(generator, stream))
    database = open_database(f"sqlite:///{folder / 'log.db'}", create=True)
    slots = Slots(database, PredictionLog(database), watch)
    slots.log.prepare()
    with database.write() as connection:
        METADATA.create_all(connection)
    slots.add(watch.world.live(generator, 0, checks))
    times = []
    for number in range(checks):
        begin_us = MONDAY_US + number * stream.width_us
        began = time.perf_counter()
        slots.judge(begin_us, begin_us + stream.width_us)
        times.append(1000 * (time.perf_counter() - began))
    database.close()
    return times
