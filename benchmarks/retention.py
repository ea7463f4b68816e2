"""What deleting a million old rows costs others: how long each slice holds the write lock, and how long labels wait meanwhile.

``python -m benchmarks.retention``
"""

from __future__ import annotations

import argparse
import bisect
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import sqlalchemy as sa

from benchmarks.serving.figures import short
from benchmarks.serving.places import say
from service.prediction_log.forgetting import forget
from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import LabelItem, LabelRules
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import Record
from service.prediction_log.tables import clocks, predictions
from service.prediction_log.writing import DrainedBatch
from training.errors import DatabaseUnavailableError
from training.storage.database import Database, open_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BATCH, COLUMNS = 10_000, 20
LABELS, EVERY_SECONDS, FIRST = 10, 0.05, 100
BOUND_SECONDS, TICK_SECONDS = 0.05, 0.002
Span = tuple[float, float]
MODEL = "model"
MINTER = IdMinter(b"k")
RULES = LabelRules("regression")


class TimedDatabase:
    """A database that notes from when until when each write transaction holds the lock, its commit included."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.held: list[Span] = []

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a write transaction."""
        with self._database.write() as connection:
            began = time.perf_counter()
            yield connection
        self.held.append((began, time.perf_counter()))


class Standstills:
    """Notes, from a process that only sleeps, when nobody could run it: the machine stood still, or others had both processors."""

    def __init__(self) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._ours, theirs = spawning.Pipe()
        self._process = spawning.Process(target=note_late, args=(theirs,))
        self._process.start()
        self._ours.recv()

    def end(self) -> list[Span]:
        """Stop, and return the times in which it should have run and did not."""
        self._ours.send(None)
        late: list[Span] = self._ours.recv()
        self._process.join()
        return late


def note_late(pipe: Connection) -> None:
    """Sleep until told to stop, then send when that took longer than it should."""
    pipe.send(None)
    late, last = list[Span](), time.perf_counter()
    while not pipe.poll(TICK_SECONDS):
        now = time.perf_counter()
        if now - last > 2 * TICK_SECONDS:
            late.append((last + TICK_SECONDS, now))
        last = now
    pipe.send(late)


def lengths(held: Sequence[Span], late: Sequence[Span]) -> list[float]:
    """Return how long each span is without what of it lies within others, which come one after the other.

    Examples
    --------
    >>> lengths([(1.0, 2.0), (3.0, 9.0)], [(0.0, 1.25), (4.0, 5.0), (6.0, 7.0)])
    [0.75, 4.0]
    """
    ends = [end for _, end in late]
    own = []
    for began, end in held:
        waited, place = 0.0, bisect.bisect(ends, began)
        while place < len(late) and late[place][0] < end:
            first, last = late[place]
            waited, place = waited + min(end, last) - max(began, first), place + 1
        own.append(end - began - waited)
    return own


def fill(database: Database, log: PredictionLog, rows: int, event_us: int) -> str:
    """Store rows from an event time on, a microsecond apart: a request as the drain does, then copies of it; return its id prefix."""
    prefix = MINTER.mint(event_us, spool=f"{event_us:010}", seq=0, n_rows=BATCH)
    values = [0.1 * row for row in range(BATCH)]
    times = [event_us + row for row in range(BATCH)]
    made = Record(prefix, MODEL, "v1", "bins", 1, times, None, {f"number_{i}": values for i in range(COLUMNS)}, values, None, None)
    log.commit_drained(DrainedBatch(f"{event_us:010}", 0, 10, 0, [made]), machine_now=NOW)
    table = predictions.c
    for number in range(1, -(-rows // BATCH)):
        other = {"id_prefix": table.id_prefix + f".{number}", "event_us": table.event_us + number * BATCH}
        copied = sa.select(*(other.get(column.name, column) for column in table)).where(table.id_prefix == prefix)
        with database.write() as connection:
            connection.execute(sa.insert(predictions).from_select([column.name for column in table], copied))
            connection.execute(sa.update(clocks).where(clocks.c.model == MODEL).values(rows=clocks.c.rows + BATCH))
    return prefix


@dataclass
class Labels:
    """Sends ten labels every 50 ms, as a request does, and notes how long each took; of those that were refused none."""

    log: PredictionLog
    prefix: str
    taken: list[float] = field(default_factory=list)
    refused: int = 0

    def send(self) -> None:
        """Send ten labels of rows that were not labelled yet."""
        first = (len(self.taken) + self.refused) * LABELS % BATCH
        items = [LabelItem(1.0, id=MINTER.parse(f"{self.prefix}-{row}")) for row in range(first, first + LABELS)]
        began = time.perf_counter()
        try:
            self.log.label(MODEL, items, NOW, rules=RULES)
        except DatabaseUnavailableError:
            self.refused += 1
        else:
            self.taken.append(time.perf_counter() - began)

    def until(self, ended: threading.Event) -> None:
        """Go on until it is over."""
        while not ended.wait(EVERY_SECONDS):
            self.send()


def measure(url: str, rows: int) -> tuple[list[Span], list[Span], float, list[float], Labels]:
    """Return the slices, the times nobody ran, the seconds of all together, of labels before, and what came of the labels meanwhile."""
    ours, theirs = open_database(url), open_database(url)
    log = PredictionLog(ours)
    log.prepare()
    before_us = rows + BATCH
    fill(ours, log, rows, 1)
    prefix = fill(ours, log, BATCH, before_us)
    alone, beside = Labels(PredictionLog(theirs), prefix), Labels(PredictionLog(theirs), prefix)
    for _ in range(FIRST):
        alone.send()
    timed, ended = TimedDatabase(ours), threading.Event()
    labelling = threading.Thread(target=beside.until, args=(ended,))
    labelling.start()
    standstills = Standstills()
    began = time.perf_counter()
    gone = sum(forget(timed, MODEL, before_us, NOW))  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    late = standstills.end()
    ended.set()
    labelling.join()
    assert gone >= rows, f"{gone} of {rows} rows are gone"
    ours.close()
    theirs.close()
    return timed.held, late, seconds, alone.taken, beside


def of(values: Sequence[float], share: float) -> str:
    """Return a quantile in milliseconds."""
    return short(sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1e3)


def above(seconds: Sequence[float]) -> int:
    """Return how many are above the bound."""
    return sum(each > BOUND_SECONDS for each in seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        held, late, seconds, alone, beside = measure(f"sqlite:///{Path(folder) / 'log.db'}", options.rows)
    slices, own = lengths(held, []), lengths(held, late)
    labels = beside.refused + len(beside.taken)
    say(f"{options.rows:,} rows of {COLUMNS} columns: {seconds:.0f} s in {len(held):,} slices, {above(slices)} of them above 50 ms.")
    say(
        f"A process that only sleeps was kept from running {len(late):,} times, at most for {of(lengths(late, []) or [0.0], 1)} ms; "
        f"without these times {above(own)} slices are above 50 ms."
    )
    say(f"{beside.refused} of {labels:,} requests of labels were refused.\n")
    say("| ms | median | p99 | longest |\n|---|--:|--:|--:|")
    slice_rows = (("a slice holds the lock", slices), ("without standstills", own))
    for name, values in (*slice_rows, ("labels before", alone), ("labels meanwhile", beside.taken)):
        say(f"| {name} | {of(values, 0.5)} | {of(values, 0.99)} | {of(values, 1)} |")


if __name__ == "__main__":
    main()
