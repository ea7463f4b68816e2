"""Changes: how many checks until the alarm, and is it dated right?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np

from benchmarks.monitoring.correlation import NAMES, WIDTH_US, PairedRows
from benchmarks.monitoring.promise import IN_A_RUN
from benchmarks.monitoring.streams import MONDAY_US, Stream, make_world
from benchmarks.monitoring.table import Row, markdown, spread
from benchmarks.monitoring.watching import Watch
from monitoring.drift.e_detector import Look
from monitoring.drift.watch_state import State, advance

RUNS, BEFORE, MOST = 20, 300, 1000
FIVE = dict.fromkeys(range(5), 0.1)


@dataclass(frozen=True)
class Change:
    """A stream, what is added to means and shares of missing by column, and within how many checks the median alarm must come."""

    bar: int
    stream: Stream = field(default_factory=Stream)
    shifts: dict[int, float] = field(default_factory=dict)
    missing: dict[int, float] = field(default_factory=dict)


QUARTER_SD = {0: 0.25}
CHANGES = {
    ".25 sd in one column": Change(6, shifts=QUARTER_SD),
    ".25 sd, daily ±.05 sd": Change(6, Stream(daily=0.05), QUARTER_SD),
    ".25 sd, daily ±.3 sd": Change(6, Stream(daily=0.3), QUARTER_SD),
    ".25 sd, weekend +.3 sd": Change(6, Stream(weekend=0.3), QUARTER_SD),
    ".25 sd in one of 200 columns": Change(6, Stream(numbers=120, categories=80), QUARTER_SD),
    ".25 sd, reference of 2,000 rows": Change(10, Stream(reference_rows=2000 / 4032), QUARTER_SD),
    ".25 sd, AR(1) .6": Change(30, Stream(neighbours=0.6, **IN_A_RUN), QUARTER_SD),
    ".1 sd in five columns": Change(20, shifts=FIVE),
    "missing 2 → 7 %": Change(5, missing={1: 0.07}),
    "missing 0 → 5 %": Change(2, missing={0: 0.05}),
}
PAIRS, PAIRS_BAR = "correlation .5 → .25 in six pairs", 2


@dataclass(frozen=True)
class Alarm:
    """The first alarm after a change.

    Attributes
    ----------
    checks
        How many it took, infinite without one.
    dated
        Its age in checks by the alarm's own date.
    is_right
        Whether the column it names first is one that changed.
    """

    checks: float
    dated: float
    is_right: bool


def of_columns(name: str, seed: int) -> Alarm:
    """Watch a stream that changes at check `BEFORE`, two days after it began."""
    change = CHANGES[name]
    stream = change.stream
    generator = np.random.default_rng([*name.encode(), seed])
    world = make_world(generator, stream)
    watch = Watch.of(world)
    state = advance(watch.begin(), MONDAY_US + BEFORE * stream.width_us, watch.rows(world.live(generator, 0, BEFORE), 0))
    after = world.live(generator, BEFORE, MOST, stream.changed(change.shifts, change.missing))
    return first_alarm(watch.looks(state, after, BEFORE), stream.width_us, {f"number{j}" for j in change.shifts | change.missing})


def of_pairs(seed: int) -> Alarm:
    """Watch rows in correlated pairs whose correlation changes at check `BEFORE`."""
    generator = np.random.default_rng([*PAIRS.encode(), seed])
    watch = PairedRows.make(generator)
    derived = set(watch.reference.measures.watched) - set(NAMES)
    return first_alarm(islice(watch.looks(generator, BEFORE, 0.25), MOST), WIDTH_US, derived)


def first_alarm(looks: Iterable[tuple[State, Look]], width_us: int, changed: set[str]) -> Alarm:
    """Return the first alarm of looks after a change of some columns."""
    for checks, (state, seen) in enumerate(looks, start=1):
        if seen.is_alarm:
            first = seen.columns[0]
            since = state.slot_us if first.since_us is None else first.since_us
            return Alarm(checks, (state.slot_us - since) / width_us, first.key in changed)
    return Alarm(np.inf, np.nan, False)


def is_dated(alarm: Alarm) -> bool:
    """Return whether the date is within a quarter of the true age, or a check."""
    return abs(alarm.dated - alarm.checks) <= max(1.0, alarm.checks / 4)


def delay(quick: bool, processes: int, only: str = "") -> Iterator[str]:
    """Yield the table: checks to the alarm, with their bar."""
    seeds = range(2 if quick else RUNS)
    work: dict[str, list[Callable[[], Alarm]]] = {name: [partial(of_columns, name, seed) for seed in seeds] for name in CHANGES}
    work[PAIRS] = [partial(of_pairs, seed) for seed in seeds]
    rows = []
    for name, some in spread({name: calls for name, calls in work.items() if only in name}, processes):
        checks = [a.checks for a in some]
        median, bar = float(np.median(checks)), CHANGES[name].bar if name in CHANGES else PAIRS_BAR
        more = (f"{max(checks):g}", f"{sum(map(is_dated, some))} of {len(some)}", f"{sum(a.is_right for a in some)} of {len(some)}")
        rows.append(Row(name, f"{median:g}", f"≤ {bar}", median <= bar, more))
    yield from markdown(("change", f"checks to the alarm, median of {len(seeds)}"), rows, ("longest", "dated right", "right column"))
