"""How the labels of a stream come: a line of words that says it, and for each row when its label comes and what it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from training.clock import duration_us

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
IN_TIME = (0.05, 0.15)  # of labels.delay: how late a label is that comes in time; it is handed in up to a whole one later
SPREAD = (0.85, 1.15)  # of the mean of a late one
TIMES_LIKELIER = 8.0  # of an early label that of the slow class is late, as against the others


@dataclass(frozen=True, slots=True)
class Feed:
    """One way of labels to come.

    Attributes
    ----------
    kind
        A key of `KINDS`.
    factor
        How many times `labels.delay` the late ones take.
    slow
        The share of the class that is slow: the stream is thinned until it is so; of a regression that part of the target. 0: as it is,
        the rarest class of at least 2 %, or the highest third.
    early
        The share of labels that are early, where the others are late.
    at, until
        The part of the live stream from where, and until where, labels stop or conflict.
    share
        Of labels that come wrong first and are contradicted.
    snapshot
        Whether the history is a table as of the first live row: labels that were still to come are not in it, and never come.
    """

    kind: str
    factor: float = 10.0
    slow: float = 0.0
    early: float = 0.12
    at: float = 0.5
    until: float = 1.0
    share: float = 0.3
    snapshot: bool = False

    @classmethod
    def parse(cls, text: str) -> Feed:
        """Read `KIND [key=value ...]`.

        Examples
        --------
        >>> Feed.parse("class factor=5 slow=0.05 snapshot=1")
        Feed(kind='class', factor=5.0, slow=0.05, early=0.12, at=0.5, until=1.0, share=0.3, snapshot=True)
        """
        kind, *words = text.split()
        known = sorted({one.name for one in fields(cls)} - {"kind"})
        pairs = [word.partition("=") for word in words]
        if kind not in KINDS or any(name not in known for name, _, _ in pairs):
            raise ValueError(f"feed {text!r}: want one of {', '.join(KINDS)}, then any of {', '.join(f'{name}=' for name in known)}")
        numbers = {name: float(value) for name, _, value in pairs if name != "snapshot"}
        return cls(kind, snapshot=("snapshot", "=", "1") in pairs, **numbers)

    @property
    def brings_all(self) -> bool:
        """Whether every label comes once, and right: then the loop is held to what it would gain with all of them at maturity."""
        return self.kind not in ("stops", "conflicts", "too-late")


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """When the label of each row comes, shape (n,): microseconds after the row, infinite where it does not; and which come wrong first."""

    delay_us: Floats
    is_wrong_first: Mask


def labels_of(feed: Feed, delay: timedelta, too_late: timedelta, time_us: npt.NDArray[np.int64], is_slow: Mask, rank: Floats) -> Labels:
    """Return how the labels of a stream come, by its times, its slow class, and the rank (0 to 1) of its scores."""
    rng = np.random.default_rng([*feed.kind.encode(), round(100 * feed.factor)])
    came = KINDS[feed.kind](feed, rng, is_slow, rank)
    part = (time_us - time_us[0]) / max(1, int(time_us[-1] - time_us[0]))
    is_within = (part >= feed.at) & (part < feed.until)
    in_us = came * duration_us(delay)
    if feed.kind == "stops":
        in_us = np.where(is_within, math.inf, in_us)
    if feed.kind == "too-late":
        in_us = np.full(len(in_us), duration_us(too_late) * 1.05 + duration_us(delay))
    is_wrong = is_within & (rng.random(len(in_us)) < feed.share) if feed.kind == "conflicts" else np.zeros(len(in_us), dtype=bool)
    return Labels(in_us, is_wrong)


def maturity_us(labels: Labels, delay: timedelta, is_slow: Mask) -> int:
    """Return after how long labels are in: the longest delay within which 95 % of those of a class come, in whole `labels.delay`."""
    of_class = [labels.delay_us[part & np.isfinite(labels.delay_us)] for part in (is_slow, ~is_slow)]
    longest = max(int(np.quantile(each, 0.95)) if len(each) else 0 for each in of_class)
    return max(1, -(-longest // duration_us(delay))) * duration_us(delay)


def _in_time(rng: np.random.Generator, rows: int) -> Floats:
    return rng.uniform(*IN_TIME, rows)


def _all_in_time(feed: Feed, rng: np.random.Generator, is_slow: Mask, rank: Floats) -> Floats:
    return _in_time(rng, len(rank))


def _by_class(feed: Feed, rng: np.random.Generator, is_slow: Mask, rank: Floats) -> Floats:
    return np.where(is_slow, feed.factor * rng.uniform(*SPREAD, len(rank)), _in_time(rng, len(rank)))


def _by_others(feed: Feed, rng: np.random.Generator, is_slow: Mask, rank: Floats) -> Floats:
    return _by_class(feed, rng, ~is_slow, rank)


def _by_score(feed: Feed, rng: np.random.Generator, is_slow: Mask, rank: Floats) -> Floats:
    return _in_time(rng, len(rank)) + feed.factor * rank**2 * rng.uniform(*SPREAD, len(rank))


def _some_early(feed: Feed, rng: np.random.Generator, is_slow: Mask, rank: Floats) -> Floats:
    others = min(1.0, feed.early / max(1e-9, TIMES_LIKELIER * is_slow.mean() + 1 - is_slow.mean()))
    of_slow = min(1.0, TIMES_LIKELIER * others)
    is_early = rng.random(len(rank)) < np.where(is_slow, of_slow, others)
    return np.where(is_early, _in_time(rng, len(rank)), feed.factor * rng.uniform(*SPREAD, len(rank)))


KINDS: dict[str, Callable[[Feed, np.random.Generator, Mask, Floats], Floats]] = {
    "in-time": _all_in_time,
    "class": _by_class,
    "others": _by_others,
    "score": _by_score,
    "early": _some_early,
    "stops": _all_in_time,
    "conflicts": _all_in_time,
    "too-late": _all_in_time,
}
