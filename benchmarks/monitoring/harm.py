"""Streams of labels, twenty a check: quarters in which losses stay as they were, and rises of them, fed to the product's own detector."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.monitoring.streams import MONDAY_US
from benchmarks.monitoring.table import Row, markdown, spread
from monitoring.judging.performance.baseline import BucketLoss, learn_baseline
from monitoring.judging.performance.bets import Null, null_of, null_of_segment
from monitoring.judging.performance.harm import DISPARITY_SHARE, HARM_SHARE, HarmState, Rule, advance, look
from monitoring.judging.performance.watch import HarmWatch
from training.profiles.phases import DAY_US

Floats = npt.NDArray[np.float64]
Parted = tuple[list[BucketLoss], dict[int, BucketLoss]]
LABELS, CHECKS_A_DAY = 20, 144
WIDTH_US = DAY_US // CHECKS_A_DAY
WRONG, OF_SEGMENT = 0.20, 0.25
SHARPNESS = 1.5  # standard deviation of the log-odds of a score
DAYS, QUARTERS, MOST_WITH_ALARM = 90, 20, 3
BEFORE, MOST_CHECKS, MOST_LABELS = 200, 4320, 8000
MOST_ENDS = 0.2  # a year while harm stands


@dataclass(frozen=True)
class Losses:
    """What rows lose.

    Attributes
    ----------
    kind
        Whether they are wrong (.20 are), the log loss of a calibrated score, or the distance to a number.
    baseline
        Rows in a run from which the baseline is known.
    wobble
        Standard deviation, from day to day, of the share that is wrong.
    segment
        Share of rows of a segment, of which .25 are wrong; 0 watches all rows.
    rise
        By how much more are wrong after a change, of the segment where there is one; of a score, by which part its log-odds are too far
        from 0; of distances, by which part they are larger.
    tolerance
        Of the share that is wrong; of other losses, a part of the baseline.
    """

    kind: Literal["miss", "log_loss", "absolute_error"] = "miss"
    baseline: int = 5000
    wobble: float = 0.0
    segment: float = 0.0
    rise: float = 0.0
    tolerance: float = 0.01

    @property
    def rule(self) -> Rule:
        """The numbers behind an alarm."""
        return Rule(WIDTH_US, share=DISPARITY_SHARE if self.segment else HARM_SHARE)

    def draw(self, generator: np.random.Generator, first: int, checks: int) -> Parted:
        """Return what rows of checks from the number `first` on lose: those watched in order, the others by their start."""
        days = np.arange(first, first + checks) // CHECKS_A_DAY
        wrong = np.clip(WRONG + self.wobble * generator.standard_normal(days[-1] - days[0] + 1), 0.02, 0.6)[days - days[0]]
        is_in = generator.random((checks, LABELS)) < (self.segment or 1.0)
        losses = self._losses(generator, wrong[:, None], is_in)
        starts = range(MONDAY_US + first * WIDTH_US, MONDAY_US + (first + checks) * WIDTH_US, WIDTH_US)
        watched, others = (
            [_bucket(start, row[chosen]) for start, row, chosen in zip(starts, losses, mask, strict=True) if chosen.any()]
            for mask in (is_in, ~is_in)
        )
        return watched, {one.bucket_us: one for one in others}

    def _losses(self, generator: np.random.Generator, wrong: Floats, is_in: npt.NDArray[np.bool_]) -> Floats:
        if self.kind == "miss":
            more = self.rise + (OF_SEGMENT - WRONG if self.segment else 0.0)
            return np.asarray(generator.random(is_in.shape) < wrong + more * is_in, dtype=float)
        if self.kind == "absolute_error":
            return np.abs(generator.standard_normal(is_in.shape)) * (1 + self.rise)
        odds = SHARPNESS * generator.standard_normal(is_in.shape)
        is_one = generator.random(is_in.shape) < 1 / (1 + np.exp((self.rise - 1) * odds))
        return np.logaddexp(0.0, np.where(is_one, -odds, odds))

    def null(self, generator: np.random.Generator) -> Null:
        """Draw a baseline, and return what is bet against."""
        checks = self.baseline // LABELS
        watched, others = replace(self, rise=0.0).draw(generator, -checks, checks)
        length = timedelta(microseconds=watched[-1].bucket_us + WIDTH_US - watched[0].bucket_us)
        if self.segment:
            null = null_of_segment(watched, others, self.kind, WIDTH_US, self.tolerance, length=length)
        else:
            baseline = learn_baseline(watched, self.kind, WIDTH_US, length=length, least_rows=self.baseline)
            part = 1.0 if self.kind == "miss" or baseline is None else baseline.mean
            null = None if baseline is None else null_of(baseline, self.tolerance * part)
        if null is None:
            raise ValueError(f"{self.baseline} rows are too few for a baseline")
        return null


def _bucket(start_us: int, losses: Floats) -> BucketLoss:
    return BucketLoss(start_us, len(losses), float(losses.mean()), float(losses.var()))


A_MONTH = 28 * CHECKS_A_DAY * LABELS
AS_IT_WAS = {
    "error .20, baseline of 400 rows": Losses(baseline=400),
    "error .20, baseline of 1,500": Losses(baseline=1500),
    "error .20, baseline of 5,000": Losses(),
    "error .20 ± .02 a day, baseline of 28 days": Losses(baseline=A_MONTH, wobble=0.02),
    "log loss, baseline of 5,000": Losses("log_loss", tolerance=0.02),
    "absolute error, baseline of 5,000": Losses("absolute_error", tolerance=0.02),
    "disparity: .25 of a fifth, .20 of the rest, ± .02 a day": Losses(baseline=A_MONTH, wobble=0.02, segment=0.2),
}
RISES = {
    "error .20 + .05, baseline of 5,000": Losses(rise=0.05),
    "log loss + 12 %, baseline of 5,000": Losses("log_loss", rise=0.25, tolerance=0.02),
    "absolute error + 10 %, baseline of 5,000": Losses("absolute_error", rise=0.1, tolerance=0.02),
    "disparity: .25 + .10 of a fifth, .20 of the rest, baseline of 5,000": Losses(segment=0.2, rise=0.1),
}

STAYS = {
    **RISES,
    "error .20 + .10, baseline of 5,000": Losses(rise=0.10),
    "error .20 + .05 ± .02 a day, baseline of 28 days": Losses(baseline=A_MONTH, wobble=0.02, rise=0.05),
}


@dataclass(frozen=True)
class Quarter:
    """What one quarter brought: whether an alarm, the largest evidence at the end of a day, and processor milliseconds a check."""

    is_alarm: bool
    log10_largest: float
    milliseconds: float


@dataclass(frozen=True)
class Alarm:
    """The alarm after a rise: the labels it took, infinite where there is none, or one before; its age in labels by its own date."""

    labels: float
    dated: float


@dataclass(frozen=True)
class Return:
    """What became of a rise: how often it was taken for over in how many days, and the labels until it was, once it was over."""

    ends: int
    days: int
    labels: float


def quarter(name: str, seed: int, days: int = DAYS) -> Quarter:
    """Watch a quarter without a change."""
    losses = AS_IT_WAS[name]
    generator = np.random.default_rng([*name.encode(), seed])
    null, rule, state, largest = losses.null(generator), losses.rule, HarmState(MONDAY_US), -np.inf
    drawn = [losses.draw(generator, day * CHECKS_A_DAY, CHECKS_A_DAY) for day in range(days)]
    begin = time.process_time()
    for watched, others in drawn:
        state = advance(state, null, rule, watched, others)
        largest = max(largest, look(state, rule).log10_evidence)
    spent = time.process_time() - begin
    return Quarter(state.alarm_us is not None, float(largest), 1000 * spent / (days * CHECKS_A_DAY))


def rise(name: str, seed: int) -> Alarm:
    """Watch losses that rise at check `BEFORE`."""
    losses = RISES[name]
    generator = np.random.default_rng([*name.encode(), seed])
    null, rule = losses.null(generator), losses.rule
    watched, others = replace(losses, rise=0.0).draw(generator, 0, BEFORE)
    state = advance(HarmState(MONDAY_US), null, rule, watched, others)
    if state.alarm_us is not None:
        return Alarm(np.inf, np.nan)
    begin_us = MONDAY_US + BEFORE * WIDTH_US
    for first in range(BEFORE, BEFORE + MOST_CHECKS, CHECKS_A_DAY):
        watched, others = losses.draw(generator, first, CHECKS_A_DAY)
        for bucket in watched:
            state = advance(state, null, rule, [bucket], others)
            if state.alarm_us is not None:
                since_us = look(state, rule).since_us or state.alarm_us
                checks, age = ((state.alarm_us - from_us) / WIDTH_US for from_us in (begin_us, since_us))
                return Alarm(checks * LABELS, age * LABELS)
    return Alarm(np.inf, np.nan)


def goes_back(name: str, seed: int, days: int = DAYS) -> Return:
    """Watch losses that rise for some days, and are then what they were."""
    losses = STAYS[name]
    generator = np.random.default_rng([*name.encode(), seed, 1])
    harm, ends, since = HarmWatch(losses.null(generator), HarmState(MONDAY_US)), 0, 0
    for day in range(days):
        watched, others = losses.draw(generator, day * CHECKS_A_DAY, CHECKS_A_DAY)
        harm = harm.after(watched, losses.rule, others)
        ends, since = ends + len(harm.ended), since + harm.is_open
    before = replace(losses, rise=0.0)
    for day in range(days, days + MOST_CHECKS // CHECKS_A_DAY * 3):
        watched, others = before.draw(generator, day * CHECKS_A_DAY, CHECKS_A_DAY)
        harm = harm.after(watched, losses.rule, others)
        if harm.ended:
            end_us = harm.ended[0].back.alarm_us or 0
            return Return(ends, since, (end_us - MONDAY_US - days * DAY_US) / WIDTH_US * LABELS)
    return Return(ends, since, np.inf if harm.is_open else np.nan)


def keeps_its_promise(quick: bool, processes: int, only: str = "") -> Iterator[str]:
    """Yield the table: quarters of each scenario with an alarm, with their bar."""
    seeds, days = range(2 if quick else QUARTERS), 7 if quick else DAYS
    names = [name for name in AS_IT_WAS if only in name]
    rows = []
    for name, some in spread({name: [partial(quarter, name, seed, days) for seed in seeds] for name in names}, processes):
        alarms = sum(q.is_alarm for q in some)
        more = f"{max(q.log10_largest for q in some):.1f}", f"{np.median([q.milliseconds for q in some]):.2f}"
        rows.append(Row(name, f"{alarms} of {len(some)}", f"≤ {MOST_WITH_ALARM}", alarms <= MOST_WITH_ALARM, more))
    yield from markdown(
        ("losses that stay as they were", f"spans of {days} days with an alarm"), rows, ("largest log10 evidence", "ms a check")
    )


def sees_rises(quick: bool, processes: int, only: str = "") -> Iterator[str]:
    """Yield the table: labels to the alarm, with their bar."""
    seeds = range(2 if quick else QUARTERS)
    names = [name for name in RISES if only in name]
    rows = []
    for name, some in spread({name: [partial(rise, name, seed) for seed in seeds] for name in names}, processes):
        median = float(np.median([a.labels for a in some]))
        dated = sum(abs(a.dated - a.labels) <= max(LABELS, a.labels / 4) for a in some)
        more = f"{max(a.labels for a in some):,.0f}", f"{dated} of {len(some)}"
        rows.append(Row(name, f"{median:,.0f}", f"≤ {MOST_LABELS:,}", median <= MOST_LABELS, more))
    yield from markdown(("rise of losses", f"labels to the alarm, median of {len(seeds)}"), rows, ("longest", "dated right"))


def sees_returns(quick: bool, processes: int, only: str = "") -> Iterator[str]:
    """Yield the table: how often harm that stands is taken for over, and labels to the end of what is over, with their bars."""
    seeds, days = range(2 if quick else QUARTERS), 7 if quick else DAYS
    names = [name for name in STAYS if only in name]
    rows = []
    for name, some in spread({name: [partial(goes_back, name, seed, days) for seed in seeds] for name in names}, processes):
        stood, ends = sum(one.days for one in some), sum(one.ends for one in some)
        labels = [one.labels for one in some if not np.isnan(one.labels)]
        median = float(np.median(labels)) if labels else np.nan
        most = MOST_LABELS * (4 if STAYS[name].wobble else 1)  # days that differ say less than their labels
        over = [one for one in labels if np.isfinite(one)]
        more = f"{ends} in {stood / 365:.1f} years", f"{max(over, default=np.nan):,.0f}", f"{len(over)} of {len(labels)}"
        rows.append(Row(name, f"{median:,.0f}", f"≤ {most:,}", ends <= MOST_ENDS * stood / 365 and median <= most, more))
    head = "losses that were back", f"labels to the end, median of {len(seeds)}"
    yield from markdown(head, rows, ("ends while harm stood", "longest", "ended in 90 days"))
