"""Quarters in which nothing changes: in how many of them is there an alarm?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.monitoring.streams import Stream, make_world
from benchmarks.monitoring.table import Row, markdown, spread
from benchmarks.monitoring.watching import Watch

DAYS, QUARTERS, MOST_WITH_ALARM = 90, 20, 3
MILLISECONDS = 2.0
IN_A_RUN = {"reference_rows": 200.0, "reference_checks": 500}
SCENARIOS = {
    "independent rows": Stream(),
    "daily ±.05 sd": Stream(daily=0.05),
    "daily ±.3 sd": Stream(daily=0.3),
    "weekend +.3 sd": Stream(weekend=0.3),
    "AR(1) .3": Stream(neighbours=0.3, **IN_A_RUN),
    "AR(1) .6": Stream(neighbours=0.6, **IN_A_RUN),
    "reference of 2,000 rows": Stream(reference_rows=2000 / 4032),
    "32 categories, Zipf 2, reference of 500": Stream(numbers=0, categories=20, levels=32, zipf=2.0, missing={}, reference_rows=500 / 4032),
}


@dataclass(frozen=True)
class Quarter:
    """What one quarter brought: checks with an alarm, the largest evidence, and processor milliseconds a check."""

    alarms: int
    log10_largest: float
    milliseconds: float


def quarter(name: str, seed: int, days: int = DAYS) -> Quarter:
    """Watch a quarter without a change."""
    stream = SCENARIOS[name]
    generator = np.random.default_rng([*name.encode(), seed])
    world = make_world(generator, stream)
    watch = Watch.of(world)
    checks = days * stream.checks_a_day
    alarms, largest, spent = 0, -np.inf, 0.0
    begin = time.process_time()
    drawn = list(world.live(generator, 0, checks))
    spent -= time.process_time() - begin
    for _, seen in watch.looks(watch.begin(), drawn, 0):
        alarms += seen.is_alarm
        largest = max(largest, seen.log10_evidence)
    spent += time.process_time() - begin
    return Quarter(alarms, float(largest), 1000 * spent / checks)


def promise(quick: bool, processes: int, only: str = "") -> Iterator[str]:
    """Yield the table: quarters of each scenario with an alarm, with their bar."""
    seeds = range(2 if quick else QUARTERS)
    days = 7 if quick else DAYS
    quarters = spread({name: [partial(quarter, name, seed, days) for seed in seeds] for name in SCENARIOS if only in name}, processes)
    rows = [
        Row(
            name,
            f"{sum(q.alarms > 0 for q in some)} of {len(some)}",
            f"≤ {MOST_WITH_ALARM}",
            sum(q.alarms > 0 for q in some) <= MOST_WITH_ALARM,
            (
                f"{sum(q.alarms for q in some)}",
                f"{max(q.log10_largest for q in some):.1f}",
                f"{np.median([q.milliseconds for q in some]):.1f}",
            ),
        )
        for name, some in quarters
    ]
    yield from markdown(
        ("stream without a change", f"spans of {days} days with an alarm"), rows, ("alarms", "largest log10 evidence", "ms a check")
    )
