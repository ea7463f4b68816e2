"""The promise in days, and the delay of alarms, on simulated streams of hourly checks with the product's defaults."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks.monitoring.streams import MONDAY_US, Stream, World, make_world
from benchmarks.monitoring.watching import Watch
from monitoring.drift.watch_state import advance
from training.profiles.variation import ColumnVariation

DAYS, SPANS = 14, 8
HOURLY = Stream(numbers=6, categories=2, missing={1: 0.02, 6: 0.02}, checks_a_day=24)
STREAMS = {
    "independent": HOURLY,
    "day": replace(HOURLY, daily=0.3),
    "week": replace(HOURLY, weekend=0.3),
    "neighbours": replace(HOURLY, neighbours=0.6, reference_rows=200.0, reference_checks=500),
    "few reference rows": replace(HOURLY, reference_rows=2000 / 672),
}


QUICK = ("week", "neighbours")


def world(kind: str, seed: int) -> tuple[World, np.random.Generator]:
    generator = np.random.default_rng([*kind.encode(), seed])
    return make_world(generator, STREAMS[kind]), generator


def has_alarm(watch: Watch, generator: np.random.Generator) -> bool:
    checks = watch.world.live(generator, 0, DAYS * 24)
    return any(report.is_alarm for _, report in watch.looks(watch.begin(), checks, 0))


def is_kept(alarms: int) -> bool:
    """Return whether the promise, one alarm in 3,600 days, may have brought so many spans with an alarm: exact, at one in a thousand."""
    return stats.binomtest(alarms, SPANS, DAYS / 3600, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in STREAMS])
def test_streams_that_do_not_change_keep_the_promise(kind: str) -> None:
    alarms = sum(has_alarm(Watch.of(made), generator) for made, generator in (world(kind, seed) for seed in range(SPANS)))

    assert is_kept(alarms)


def without_excess(column: ColumnVariation) -> ColumnVariation:
    return replace(column, excess=())


def without_phase(column: ColumnVariation) -> ColumnVariation:
    return replace(column, phase="none", cells=column.total[None], excess=())


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [("neighbours", without_excess), ("day", without_phase), ("week", without_phase)],
    ids=["no design effect", "no phase of the day", "no phase of the week"],
)
def test_without_what_the_reference_teaches_the_promise_is_broken(kind: str, spoil: object) -> None:
    alarms = 0

    for seed in range(SPANS):
        made, generator = world(kind, seed)
        watch = Watch.of(made)
        spoiled = watch.variation.with_columns(spoil(c) for c in watch.variation.columns)  # type: ignore[operator]
        alarms += has_alarm(replace(watch, variation=spoiled), generator)

    assert not is_kept(alarms)


@pytest.mark.parametrize(
    ("kind", "shifts", "missing", "most"),
    [
        ("independent", {0: 0.25}, {}, 6),
        ("day", {0: 0.25}, {}, 6),
        ("week", {0: 0.25}, {}, 6),
        ("few reference rows", {0: 0.25}, {}, 10),
        ("neighbours", {0: 0.25}, {}, 30),
        ("independent", dict.fromkeys(range(5), 0.1), {}, 20),
        ("independent", {}, {1: 0.07}, 5),
        ("independent", {}, {0: 0.05}, 2),
    ],
    ids=["one column", "in days", "in weeks", "few reference rows", "neighbours", "five a little", "more missing", "first missing"],
)
def test_changes_are_seen_within_their_bar_and_dated(kind: str, shifts: dict[int, float], missing: dict[int, float], most: int) -> None:
    checks, dated = [], []

    for seed in range(5):
        made, generator = world(kind, seed)
        watch = Watch.of(made)
        state = advance(watch.begin(), MONDAY_US + 60 * 3_600_000_000, watch.rows(made.live(generator, 0, 60), 0))
        changed = made.live(generator, 60, 100, made.stream.changed(shifts, missing))
        age, (now, report) = next((i, x) for i, x in enumerate(watch.looks(state, changed, 60), 1) if x[1].is_alarm)
        checks.append(age)
        dated.append(bool(abs((now.slot_us - report.columns[0].since_us) / 3_600_000_000 - age) <= max(1, age / 4)))

    assert np.median(checks) <= most
    assert stats.binomtest(sum(dated), len(dated), 0.8, alternative="less").pvalue > 0.01
