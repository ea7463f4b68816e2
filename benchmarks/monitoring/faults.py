"""How many faults are found, and how many are called that are none: `python -m benchmarks.monitoring faults`.

Each kind is put into twenty places of each stream, and held against the product's own fault finder with the product's own counts. Nothing
is refused by the schema here: what a schema refuses is found as refused, which is not counted.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.monitoring.fault_drift import is_called_drift, watched_us
from benchmarks.monitoring.fault_streams import CHANGED, KINDS, REAL, Stream, broken_rows, changed_share, eligible, example, real
from monitoring.judging.data_faults import Fault, Known, find, learn
from monitoring.judging.usual_ranges import grouped
from training.clock import duration_us
from training.schema.rows import Rows

PLACES = 20
CLEAN_BEFORE = 1  # buckets that are judged before the fault begins
HELD_OUT = 3000  # the first seed of places; 0, 1000 to 1002 and 2000 to 2002 were looked at while thresholds were chosen
MOST_TRIES = 200
LEAST_FOUND, MOST_FALSE = 0.9, 0.001
OUTSIDE_THE_BAR = "times 1.6, rounded"
OUTCOMES = ("found", "called drift", "missed")


@dataclass(frozen=True, slots=True)
class Placed:
    """A fault that was put somewhere: what came of it, and how many places were drawn before, at which next to nothing changes."""

    kind: str
    column: str
    outcome: str
    drawn_before: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A fault of a column that begins at row `first` of a stream, with the rows around it, as they are and broken, from row `start` on."""

    column: str
    first: int
    start: int
    as_they_are: Rows
    broken: Rows

    @property
    def changes_enough(self) -> bool:
        """Whether a quarter of the column's values are others."""
        before, after = (rows.columns[self.column][self.first - self.start :] for rows in (self.as_they_are, self.broken))
        return changed_share(before, after) >= CHANGED


def place(stream: Stream, known: Known, kind: str, rng: np.random.Generator, columns: Sequence[str]) -> Placed:
    """Let a fault begin at some row, and look at the group of rows it begins in and at the next."""
    least = known.policy.minimum_rows
    for tries in range(MOST_TRIES):
        drawn = _draw(stream, least, kind, rng, columns)
        if kind not in ("nulls", "duplicates") and not drawn.changes_enough:
            continue
        buckets, begun = stream.buckets(drawn.broken), stream.rows.time_us[drawn.first]
        ends = sorted(end for _, end, _ in grouped(buckets, stream.bucket_us, least) if end > begun)
        findings = [fault for fault in find(known, buckets, stream.bucket_us) if begun < fault.end_us <= ends[:2][-1]]
        if any(fault.column == drawn.column for fault in findings):
            return Placed(kind, drawn.column, "found", tries)
        return Placed(kind, drawn.column, "called drift" if _is_called_drift(stream, drawn, kind, rng) else "missed", tries)
    raise RuntimeError(f"{MOST_TRIES} places of {stream.name} for {kind} were drawn, and none changes a quarter of the values")


def _draw(stream: Stream, least: int, kind: str, rng: np.random.Generator, columns: Sequence[str]) -> Drawn:
    column = str(rng.choice(np.array(columns)))
    first = int(rng.integers(3 * least, len(stream.rows) - 5 * least))
    begin = stream.rows.time_us[first] // stream.bucket_us - CLEAN_BEFORE
    start = int(np.searchsorted(stream.rows.time_us, begin * stream.bucket_us))
    as_they_are = stream.rows.slice(start, _end_of_groups(stream, first, least))
    return Drawn(column, first, start, as_they_are, broken_rows(as_they_are, first - start, kind, column, rng))


def _is_called_drift(stream: Stream, drawn: Drawn, kind: str, rng: np.random.Generator) -> bool:
    begun = int(stream.rows.time_us[drawn.first])
    start, stop = np.searchsorted(stream.rows.time_us, watched_us(stream, begun)).tolist()
    as_they_are = stream.rows.slice(start, stop)
    broken = broken_rows(as_they_are, drawn.first - start, kind, drawn.column, rng)
    return is_called_drift(stream, drawn.column, as_they_are, broken, begun)


def _end_of_groups(stream: Stream, first: int, least: int) -> int:
    """Return a row at which a bucket ends, with a whole group after the one `first` is in."""
    stop = first
    for _ in range(3):
        stop = _end_of_bucket(stream, min(stop + least, len(stream.rows) - 1))
    return stop


def _end_of_bucket(stream: Stream, row: int) -> int:
    end = (stream.rows.time_us[row] // stream.bucket_us + 1) * stream.bucket_us
    return int(np.searchsorted(stream.rows.time_us, end))


def clean_faults(stream: Stream, known: Known) -> tuple[int, list[Fault]]:
    """Judge all rows slot by slot as they are; return how many buckets there were, and what was found."""
    every = duration_us(stream.watching.every)
    slots = defaultdict(list)
    buckets = stream.buckets(stream.rows)
    for bucket in buckets:
        slots[bucket[0] // every].append(bucket)
    return len(buckets), [fault for slot in slots.values() for fault in find(known, slot, stream.bucket_us)]


def measure(stream: Stream, seed: int) -> tuple[dict[str, list[Placed]], int, list[Fault]]:
    """Measure one stream."""
    known = learn(stream.reference, stream.watching.faults, stream.watching.rules)
    placed: dict[str, list[Placed]] = {}
    for number, kind in enumerate(KINDS):
        columns = eligible(stream, known, kind)
        rng = np.random.default_rng([seed, number])
        placed[kind] = [place(stream, known, kind, rng, columns) for _ in range(PLACES)] if columns else []
    return placed, *clean_faults(stream, known)


def measure_faults(quick: bool, processes: int) -> list[str]:
    """Return the lines of the table; the real streams lie in the folder `EVERGREEN_TEST_DATA`."""
    seeds = (HELD_OUT,) if quick else (HELD_OUT, HELD_OUT + 1, HELD_OUT + 2)
    del processes  # it takes minutes with one
    folder = Path(os.environ.get("EVERGREEN_TEST_DATA", "data"))
    placed: dict[str, dict[str, list[Placed]]] = {}
    clean = []
    for name in ("example", *REAL):
        placed[name] = defaultdict(list)
        buckets, starts = 0, set()
        for seed in seeds:
            stream = example(seed, events=False) if name == "example" else real(name, folder)
            some, more, as_they_are = measure(stream, seed)
            for kind in KINDS:
                placed[name][kind] += some[kind]
            starts |= {(seed if name == "example" else 0, fault.start_us) for fault in as_they_are}  # a real stream is always the same
            buckets = buckets + more if name == "example" else more
        clean.append(f"{name} {_of_clean(len(starts), buckets)}")
    outage = example(HELD_OUT, events=True)
    known = learn(outage.reference, outage.watching.faults, outage.watching.rules)
    events = Counter(f"{f.kind} {f.column}" for f in clean_faults(outage, known)[1])
    drawn = {kind: sum(p.drawn_before for of_stream in placed.values() for p in of_stream[kind]) for kind in KINDS}
    again = ", ".join(f"{kind} {n}" for kind, n in drawn.items() if n)
    return [
        *_table(placed),
        "",
        f"Places drawn again because less than {CHANGED:.0%} of the values change there: {again}.",
        "",
        f"Faults in buckets as they are (bar: {MOST_FALSE:.1%}): {', '.join(clean)}.",
        "",
        f"Example with its events: {', '.join(f'{what} ({n} days)' for what, n in events.items())}.",
    ]


def _table(placed: Mapping[str, Mapping[str, Sequence[Placed]]]) -> list[str]:
    lines = [f"| {' / '.join(OUTCOMES)} | {' | '.join(placed)} | all | found |", "|---|" + "---|" * (len(placed) + 2)]
    for kind in KINDS:
        every = [p for of_stream in placed.values() for p in of_stream[kind]]
        share = _count(every, "found") / len(every)
        is_met = share >= LEAST_FOUND or kind == OUTSIDE_THE_BAR
        figure = f"{share:.0%}" if is_met else f"**{share:.0%}, missed**"
        cells = [_cell(of_stream[kind]) for of_stream in placed.values()]
        lines.append(f"| {kind} | {' | '.join(cells)} | {_cell(every)} | {figure} |")
    return lines


def _cell(placed: Sequence[Placed]) -> str:
    return " / ".join(str(_count(placed, outcome)) for outcome in OUTCOMES) if placed else "-"


def _count(placed: Sequence[Placed], outcome: str) -> int:
    return sum(p.outcome == outcome for p in placed)


def _of_clean(false: int, buckets: int) -> str:
    figure = f"{false} in {buckets:,}"
    return figure if false <= MOST_FALSE * buckets else f"**{figure}**"
