"""Labels that come late, by class, by score, in part, broken or no more: what is judged by, how far that is from all, and what is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.monitoring.table import Row, markdown, spread
from monitoring.judging.cohorts import Cohorts, measured_maturity, where_complete
from monitoring.judging.label_delays import DelayBins, class_delays, not_measured
from monitoring.judging.labels.arrivals import Arrivals, Received
from monitoring.judging.labels.counts import CELLS, LabelCounts
from monitoring.judging.labels.coverage import CoverageRule
from monitoring.judging.labels.faults import Group, find
from training.policies import LabelPolicy, RetentionPolicy, WatchingPolicy

DAY_US, YEAR = 86_400_000_000, 365
A_DAY, DAYS, EVERY = 200, 400, 7
YEARS, STREAMS, PROMISED_YEARS = 20, 5, 20
Floats = npt.NDArray[np.float64]
Delays = Callable[[np.random.Generator, npt.NDArray[np.bool_], Floats], Floats]


@dataclass(frozen=True)
class Feed:
    """How labels come.

    Attributes
    ----------
    delays
        The delay of each row's label in days, by its class and score; infinite where none comes.
    slow
        The share of the class that a delay may go by.
    labels
        What the model file says of them.
    blind
        The share of slots that may, and must, be blind.
    """

    delays: Delays
    blind: tuple[float, float]
    slow: float = 0.3
    labels: LabelPolicy = field(default_factory=LabelPolicy)


def _around(days: float | Floats, rng: np.random.Generator, rows: int) -> Floats:
    return days * rng.gamma(4.0, 0.25, rows)


def _by_class(quick_days: float, slow_days: float) -> Delays:
    return lambda rng, is_slow, score: _around(np.where(is_slow, slow_days, quick_days), rng, len(score))


def _by_score(rng: np.random.Generator, is_slow: npt.NDArray[np.bool_], score: Floats) -> Floats:
    return _around(1 + 40 * score**2, rng, len(score))


def _an_eighth_early(rng: np.random.Generator, is_slow: npt.NDArray[np.bool_], score: Floats) -> Floats:
    return np.where(rng.random(len(score)) < np.where(is_slow, 0.02, 0.165), 1.0, 60.0)


def _lost(share: float) -> Delays:
    return lambda rng, is_slow, score: np.where(rng.random(len(score)) < share, np.inf, 0.5)


def _weekly(rng: np.random.Generator, is_slow: npt.NDArray[np.bool_], score: Floats) -> Floats:
    event = np.arange(len(score)) / A_DAY
    return np.asarray(np.floor(event / EVERY + 1) * EVERY - event - 1e-3, dtype=np.float64)


def _stops(rng: np.random.Generator, is_slow: npt.NDArray[np.bool_], score: Floats) -> Floats:
    return np.where(np.arange(len(score)) / A_DAY > DAYS / 2, np.inf, 0.5)


FEEDS = {
    "in half a day": Feed(_by_class(0.5, 0.5), (0.0, 0.02)),
    "a tenth missing evenly, coverage: 0.8": Feed(_lost(0.1), (0.0, 0.02), labels=LabelPolicy(coverage=0.8)),
    "a snapshot a week": Feed(_weekly, (0.0, 0.02)),
    "in 20 days, labels.delay: 1d": Feed(_by_class(20, 20), (0.0, 0.1)),
    "a class of 2 % in 50 days, others in 5": Feed(_by_class(5, 50), (0.0, 0.2), slow=0.02),
    "a class of 5 % in 50 days, others in 5": Feed(_by_class(5, 50), (0.0, 0.2), slow=0.05),
    "a class of 40 % in 50 days, others in 5": Feed(_by_class(5, 50), (0.0, 0.35), slow=0.4),  # mature after 97: 14 slots see none
    "an eighth early, the rest in 60 days": Feed(_an_eighth_early, (0.0, 0.25)),
    "by score, 1 to 41 days": Feed(_by_score, (0.0, 0.2)),
    "a third never": Feed(_lost(0.33), (0.9, 1.0)),
    "all too late (120 days, too_late: 90d)": Feed(_by_class(120, 120), (0.6, 1.0)),
    "no more after half of the time": Feed(_stops, (0.4, 0.5)),
}


@dataclass(frozen=True)
class Watched:
    """What a feed came to: blind slots of those judged; how far the share of the slow class was from all rows', by what is covered, and by
    whatever had come when `labels.delay` was over; the last reason of blindness.
    """

    slots: int
    blind: int
    error: float
    early_error: float
    reason: str


def watch(name: str, seed: int) -> Watched:
    """Look at a feed slot by slot, as the monitor does."""
    feed = FEEDS[name]
    rng = np.random.default_rng([seed, 17])
    n = DAYS * A_DAY
    event = np.arange(n) / A_DAY
    is_slow = rng.random(n) < feed.slow
    score = np.clip(rng.normal(np.where(is_slow, 0.6, 0.4), 0.2), 0, 1)
    delay = feed.delays(rng, is_slow, score)
    is_late = delay > feed.labels.too_late / timedelta(days=1)
    third = np.searchsorted(np.quantile(score, (1 / 3, 2 / 3)), score, side="right")
    bins, rule = DelayBins.of(feed.labels.delay), CoverageRule.of(feed.labels, WatchingPolicy())
    blind, slots, errors, early, reason = 0, 0, [0.0], [0.0], ""
    for slot in range(2 * EVERY, DAYS + 1, EVERY):
        is_in, has = event < slot, (event + delay < slot) & ~is_late
        counts = _counts(event[is_in], third[is_in], is_slow[is_in], np.where(has, delay, np.nan)[is_in], bins)
        delays = class_delays(((slot * DAY_US - start, one.delays) for start, one in counts.items()), bins)
        usual = {"slow": round(1000 * feed.slow), "quick": round(1000 * (1 - feed.slow))}
        missing = not_measured(usual, delays, int((event < slot - 2).sum()))
        maturity = measured_maturity(slot * DAY_US, delays, feed.labels, missing)
        maturity = where_complete(maturity, counts, feed.labels, DAY_US, ())
        cohorts = Cohorts.of(counts, maturity, rule, (), _received(event + delay, delay, is_late, slot, feed.labels, has_labels=has.any()))
        slots, blind = slots + 1, blind + (cohorts.blind is not None)
        reason = cohorts.blind or reason
        judged = np.zeros(n, dtype=bool)
        for one in cohorts.cohorts:
            if one.is_covered:
                judged |= (event >= one.start_us / DAY_US) & (event < one.end_us / DAY_US)
        if (judged & has).sum() >= rule.minimum_rows and cohorts.blind is None:
            errors.append(abs(float(is_slow[judged & has].mean() - is_slow[judged].mean())))
        old = is_in & (event < slot - (feed.labels.delay or timedelta()) / timedelta(days=1))
        if (old & has).sum() >= rule.minimum_rows:
            early.append(abs(float(is_slow[old & has].mean() - is_slow[old].mean())))
    return Watched(slots, blind, max(errors), max(early), reason)


def _counts(
    event: Floats, third: npt.NDArray[np.intp], is_slow: npt.NDArray[np.bool_], delay: Floats, bins: DelayBins
) -> dict[int, LabelCounts]:
    day, has = event.astype(np.int64), ~np.isnan(delay)
    size = (int(day[-1]) + 1) * CELLS
    due = np.bincount(day * CELLS + third, minlength=size).reshape(-1, CELLS)
    labelled = np.bincount((day * CELLS + third)[has], minlength=size).reshape(-1, CELLS)
    places = bins.places((delay[has] * DAY_US).astype(np.int64))
    delays: dict[int, dict[tuple[str, int], int]] = {}
    came = Counter(zip(day[has].tolist(), is_slow[has].tolist(), places.tolist(), strict=True))
    for (at, slow, place), number in came.items():
        delays.setdefault(at, {})["slow" if slow else "quick", place] = number
    return {at * DAY_US: LabelCounts(due[at], labelled[at], delays.get(at, {})) for at in range(len(due))}


def _received(came: Floats, delay: Floats, is_late: npt.NDArray[np.bool_], slot: int, labels: LabelPolicy, *, has_labels: bool) -> Received:
    recent = (came < slot) & (came >= (slot - 14 if has_labels else -np.inf))
    arrived = [(0, "matched", 0, int((recent & ~is_late).sum()))]
    arrived += [(0, "too_late", int(each * DAY_US), 1) for each in delay[recent & is_late].tolist()]
    lately = Arrivals.of(None, [one for one in arrived if one[3]])
    return Received.of(lately, lately, labels, RetentionPolicy())


def _logistic(level: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-level)), dtype=np.float64)


def _waves(rng: np.random.Generator, days: int, keeps: float, width: float) -> Floats:
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = keeps * level[day - 1] + rng.normal(0, width * np.sqrt(1 - keeps**2))
    return level


CLEAN: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "a class of 30 %": lambda rng, days: np.full(days, 0.3),
    "of 3 %": lambda rng, days: np.full(days, 0.03),
    "of .3 %": lambda rng, days: np.full(days, 0.003),
    "restless by the day (AR(1) .5, one logit)": lambda rng, days: _logistic(-1 + _waves(rng, days, 0.5, 1.0)),
    "restless by the week (AR(1) .9, half a logit)": lambda rng, days: _logistic(-1 + _waves(rng, days, 0.9, 0.5)),
    "a walk": lambda rng, days: _logistic(-1 + np.cumsum(rng.normal(0, 0.02, days))),
    "weekends": lambda rng, days: _logistic(-1 + 0.8 * (np.arange(days) % 7 > 4)),
    "seasons": lambda rng, days: _logistic(-1 + 1.5 * np.sin(np.arange(days) * 2 * np.pi / YEAR)),
    "moves by ten points a year, at once": lambda rng, days: 0.3 + 0.1 * (np.arange(days) // YEAR % 3),
    "days like no other (t with 3 degrees, .3 logits)": lambda rng, days: _logistic(-1 + 0.3 * rng.standard_t(3, days)),
}
BROKEN = {"one value for a day": (0.0, 1), "30 % is 80 % for 3 days": (0.8, 3), "30 % is 60 % for a day": (0.6, 1)}


def faults_of(name: str, seed: int, years: int) -> int:
    """Return how many label faults are found in years that have none."""
    rng = np.random.default_rng([*name.encode(), seed])
    return len(find((), _groups(CLEAN[name](rng, years * YEAR), rng), needed_us=DAY_US).faults)


def seen(name: str, seed: int) -> int:
    """Return of a hundred days after which labels break how many buckets too many or too few are set aside."""
    share, days = BROKEN[name]
    rng = np.random.default_rng([*name.encode(), seed])
    shares = np.full(150, 0.3)
    shares[100 : 100 + days] = share
    faults = find((), _groups(shares, rng), needed_us=DAY_US).faults
    aside = {day for one in faults for day in range(one.start_us // DAY_US, one.end_us // DAY_US)}
    return len(aside ^ set(range(100, 100 + days)))


def _groups(shares: Floats, rng: np.random.Generator, rows: int = 100) -> list[Group]:
    groups = []
    for day, yes in enumerate(rng.binomial(rows, shares).tolist()):
        values = {name: number for name, number in (("no", rows - yes), ("yes", yes)) if number}
        groups.append(Group(day * DAY_US, (day + 1) * DAY_US, rows, values, len(values) == 1, rows))
    return groups


def measure_labels(quick: bool, processes: int) -> Iterator[str]:
    """Yield the tables: feeds that are late or broken, and faults that are none."""
    feeds = {name: [partial(watch, name, 0)] for name in FEEDS}
    yield f"{A_DAY} rows a day, {DAYS} days, a look a week; `labels.delay: 1d` where nothing else stands there."
    yield ""
    rows = []
    for name, (one,) in spread(feeds, processes):
        least, most = FEEDS[name].blind
        blind = one.blind / one.slots
        is_met = least <= blind <= most and one.error <= 0.02
        figure, bar = f"{blind:.0%} of {one.slots} slots blind", f"{least:.0%} to {most:.0%}"
        rows.append(Row(name, figure, bar, is_met, (f"{100 * one.error:.1f}", f"{100 * one.early_error:.1f}", one.reason or "-")))
    points = "share of the slow class among covered labels, points off at worst (bar: 2)"
    yield from markdown(("labels come", "blind"), rows, (points, "among all that had come after `labels.delay`", "last reason"))
    years, streams = (2, 1) if quick else (YEARS, STREAMS)
    clean = {name: [partial(faults_of, name, seed, years) for seed in range(streams)] for name in CLEAN}
    most = max(1, years * streams // PROMISED_YEARS)
    yield ""
    yield f"Buckets of a day of 100 labels, {streams} streams of {years} years each: label faults found where there is none."
    yield ""
    alarms = [(name, sum(numbers)) for name, numbers in spread(clean, processes)]
    yield from markdown(("stream", "faults"), [Row(name, str(n), f"at most {most}", n <= most) for name, n in alarms])
    tried = {name: [partial(seen, name, seed) for seed in range(4 if quick else 50)] for name in BROKEN}
    yield ""
    yield "Fifty streams that break after 100 days: in how many exactly the broken days are set aside."
    yield ""
    exact = [(name, sum(not n for n in numbers), len(numbers)) for name, numbers in spread(tried, processes)]
    yield from markdown(("labels", "exact"), [Row(name, f"{n} of {of}", "90 %", n >= 0.9 * of) for name, n, of in exact])
