"""Labels that nothing can be learned from: answers agree with them less than lately, and a model of their own finds less in them (pure).

Where the world moved, what was answered is off, and yet the new labels can be learned as well as the old ones could: that is drift, and
counts. Where labels are exchanged at random, belong to other rows or are made up, both are lost at once. Labels that say the contrary of
what was answered can be learned; they are taken for exchanged ones until they have stayed.

Answers and labels are compared by their correlation, which a map, a level that moved or a rarer class leave much as it is. Of two classes,
a share of f of which is the other one at random, it keeps 1 - 2 f.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from monitoring.judging.data_faults import Span
from monitoring.judging.labels.agreement import Agreement

UNLEARNABLE: Final = "labels_unlearnable"
LEAST_ROWS = 200  # of a batch: half of them are what a quick model can learn from
LEVEL = 8  # batches that make the level a batch is held against, or all of
LEVEL_US = 8 * 86_400_000_000  # if those are more: nights and weekends are among them
LEAST_LEVEL = 3
LEAST_BEFORE = 11  # batches before the first that is judged
LOST = 1 / 4  # of the agreement: one label in eight of another class
MOST_LEARNED = 1_000  # rows that a quick model is fitted on; of more each k-th
SURE = 3.0  # standard errors below the median of those before, as far as they differ by no more than chance
BELOW = 2.0  # standard errors of their difference below the least of them
LASTING_BATCHES = 3  # at least, after which labels are as they are

Learnable = Callable[["Batch", "Batch"], float | None]
"""The correlation with the labels of a batch (the second) that a quick model fitted on another reaches, or on one half of the same where
both are the same; None where there is none."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Neighbouring labelled rows, enough for a quick model; half-open, model time.

    Attributes
    ----------
    agreement
        Of what was answered with the labels.
    is_trusted
        Whether a person, or the loop, let them go: as they are is how it is now.
    aside_rows
        How many of them are set aside for this reason.
    """

    start_us: int
    end_us: int
    agreement: Agreement
    is_trusted: bool = False
    aside_rows: int = 0

    @property
    def rows(self) -> int:
        """How many."""
        return self.agreement.n

    @property
    def is_aside(self) -> bool:
        """Whether all of them are set aside."""
        return 0 < self.rows <= self.aside_rows

    @property
    def sure(self) -> float:
        """One over the standard error of what a model reaches on its rows, and so or less that of the agreement, by Fisher's transform."""
        return math.sqrt(max(1, min(self.rows, MOST_LEARNED) - 3))


@dataclass(frozen=True, slots=True)
class Broken:
    """A batch of which nothing can be learned.

    Attributes
    ----------
    agreement, usual
        Correlation of answers and labels, and that of the batches before.
    learned, usually_learned
        What a model of their own reaches, and what it did in the batches before; None where the labels say the contrary of the answers.
    """

    start_us: int
    end_us: int
    rows: int
    agreement: float
    usual: float
    learned: float | None = None
    usually_learned: float | None = None

    @property
    def detail(self) -> str:
        """What else is known of it, in words."""
        if self.learned is None or self.usually_learned is None:
            return "the contrary of what was answered"
        return f"of which a model of their own learns {max(0.0, self.learned):.2f} in place of {self.usually_learned:.2f}"


@dataclass(frozen=True, slots=True)
class Screened:
    """What is broken and was not known to be, and the ranges set aside that count again, each with the reason."""

    broken: tuple[Broken, ...] = ()
    accepted: tuple[Span, ...] = ()


def batches_of(parts: Sequence[Batch], every_us: int) -> list[Batch]:
    """Join neighbours of one slot to batches of `LEAST_ROWS`, and slots that have fewer rows; what is left at the end waits for more.

    Examples
    --------
    >>> parts = [Batch(n * 10, n * 10 + 10, Agreement(150)) for n in range(5)]
    >>> [(one.start_us, one.end_us, one.rows) for one in batches_of(parts, 30)]
    [(0, 30, 450), (30, 50, 300)]
    """
    joined: list[Batch] = []
    openly: list[Batch] = []
    for place, part in enumerate(parts):
        openly.append(part)
        rows = sum(one.rows for one in openly)
        left = _left_of_slot(parts, place, every_us)
        if rows >= LEAST_ROWS and (left == 0 or left >= LEAST_ROWS):
            joined.append(_joined(openly))
            openly = []
    return joined


def screen(batches: Sequence[Batch], learnable: Learnable, *, lasting_us: int) -> Screened:
    """Look for batches that nothing can be learned from, each against those before it.

    A run of such batches ends with one whose answers agree as before: then it was broken, and stays aside. Where what comes after it can
    be learned together with it, or it has gone on for `lasting_us`, that is how it is now, and it counts. A batch of which a part is
    aside, the rest not being mature then, is judged again.

    Parameters
    ----------
    batches
        In order, those that are set aside for this reason among them.
    learnable
        Asked of a batch that answers agree less with, and then of those of the level.
    lasting_us
        Labels that have been so for so long are as they are. Batches so much older than the newest are not judged: they were when they were
        new.
    """
    since_us = batches[-1].end_us - lasting_us if batches else 0
    level, broken, accepted = _Level(), list[Broken](), list[Span]()
    run: list[Batch] = []
    for one in batches:
        value = one.agreement.correlation
        if value is None:
            continue
        if one.is_trusted:
            level.move_to(one, value)
            run = []
            continue
        if run and not one.aside_rows and level.is_back(value, run):
            run = []
        if not one.is_aside:
            verdict = level.judge(one, value, learnable, goes_on=bool(run)) if one.end_us > since_us else None
            if verdict is None and not one.aside_rows:
                if run and level.has_learned(run, one, learnable):
                    accepted.append(_span(run, "what came after it can be learned together with it"))
                    broken = [each for each in broken if each.start_us < run[0].start_us]
                run = []
                level.learn(one, value)
                continue
            broken += [] if verdict is None else [verdict]
        run.append(one)
        if one.end_us - run[0].start_us >= lasting_us and len(run) >= LASTING_BATCHES:
            accepted.append(_span(run, "it has stayed"))
            broken = [each for each in broken if each.start_us < run[0].start_us]
            for each in run:
                level.move_to(each, each.agreement.correlation or 0.0)
            run = []
    return Screened(tuple(broken), tuple(accepted))


class _Level:
    """What agreement is lately, and whether a batch has lost it, for answers and for a model of its own."""

    def __init__(self) -> None:
        self.lately: list[tuple[Batch, float]] = []
        self.batches, self.begin_us = 0, 1 << 62

    def learn(self, one: Batch, value: float) -> None:
        """Count a batch among those that are as usual."""
        self.batches += 1
        self.begin_us = min(self.begin_us, one.start_us)
        begin_us, whole = one.end_us - LEVEL_US, [*self.lately, (one, value)]
        self.lately = [each for place, each in enumerate(whole, start=1) if len(whole) - place < LEVEL or each[0].start_us >= begin_us]

    def move_to(self, one: Batch, value: float) -> None:
        """Make a batch that was let go the level, with others that were before it."""
        self.lately = [each for each in self.lately if each[0].is_trusted]
        self.learn(replace(one, is_trusted=True), value)

    @property
    def usual(self) -> float:
        """The median of the batches lately."""
        return float(np.median([value for _, value in self.lately]))

    def is_back(self, value: float, run: Sequence[Batch]) -> bool:
        """Return whether a batch is nearer to the level than to those that lost it."""
        lost = float(np.median([one.agreement.correlation or 0.0 for one in run]))
        return abs(_z(value) - _z(self.usual)) < abs(_z(value) - _z(lost))

    def has_fallen(self, one: Batch, value: float, *, goes_on: bool) -> bool:
        """Return whether answers agree with a batch less than with nearly all lately, or one goes on, materially and beyond chance."""
        least = float(np.quantile([each for _, each in self.lately], 1 / LEVEL, method="higher"))
        is_less = value < (1 - LOST) * self.usual and (goes_on or value < least)
        return is_less and (_z(self.usual) - _z(value)) * one.sure > SURE

    def is_contrary(self, one: Batch, value: float) -> bool:
        """Return whether a batch says the contrary of what was answered, which was better than chance."""
        return min(_z(self.usual), -_z(value)) * one.sure > SURE and value < -LOST * self.usual

    def has_learned(self, run: Sequence[Batch], one: Batch, learnable: Learnable) -> bool:
        """Return whether a model of a later batch answers those that were set aside as well as models of their own usually do."""
        usual = [each for _, each in self.learned(learnable)]
        learned = [each for each in (learnable(one, each) for each in run) if each is not None]
        return len(usual) >= LEAST_LEVEL and len(learned) > 0 and float(np.median(learned)) >= (1 - LOST) * float(np.median(usual))

    def learned(self, learnable: Learnable) -> list[tuple[Batch, float]]:
        """Return what models of their own reach of the batches lately, of the hardest of them where they are many."""
        hardest = sorted(self.lately, key=lambda each: each[1])[:LEVEL]
        reached = ((batch, learnable(batch, batch)) for batch, _ in hardest)
        return [(batch, each) for batch, each in reached if each is not None]

    def judge(self, one: Batch, value: float, learnable: Learnable, *, goes_on: bool) -> Broken | None:
        """Return what is wrong with a batch; None where nothing is, or nobody can tell."""
        is_known = self.batches >= LEAST_BEFORE and len(self.lately) >= LEAST_LEVEL and one.start_us - self.begin_us >= LEVEL_US
        if not is_known or not self.has_fallen(one, value, goes_on=goes_on):
            return None
        if self.is_contrary(one, value):
            return Broken(one.start_us, one.end_us, one.rows, value, self.usual)
        learned = learnable(one, one)
        if learned is None or (_z(learned) - _z(abs(value))) * one.sure > SURE:
            return None
        before = self.learned(learnable)
        if len(before) < LEAST_LEVEL:
            return None
        usual = float(np.median([each for _, each in before]))
        spread = [(_z(each) - _z(usual)) * batch.sure for batch, each in before]
        wobble = max(1.0, math.sqrt(float(np.mean(np.square(spread)))))
        is_less = learned < (1 - LOST) * usual and (_z(usual) - _z(learned)) * one.sure > SURE * wobble
        is_lost = is_less and (_z(min(each for _, each in before)) - _z(learned)) * one.sure / math.sqrt(2) > BELOW
        return Broken(one.start_us, one.end_us, one.rows, value, self.usual, learned, usual) if is_lost else None


def _z(correlation: float) -> float:
    """Return Fisher's transform of a correlation, of which 1 / sqrt(n - 3) is the standard error."""
    return math.atanh(max(-0.999, min(0.999, correlation)))


def _span(run: Sequence[Batch], why: str) -> Span:
    return Span(run[0].start_us, run[-1].end_us, why)


def _joined(parts: Sequence[Batch]) -> Batch:
    whole = parts[0].agreement
    for one in parts[1:]:
        whole = whole.plus(one.agreement)
    return Batch(parts[0].start_us, parts[-1].end_us, whole, any(one.is_trusted for one in parts), sum(one.aside_rows for one in parts))


def _left_of_slot(parts: Sequence[Batch], place: int, every_us: int) -> int:
    """Return how many rows of the slot of a part come after it."""
    slot = parts[place].start_us // every_us
    rows = 0
    for one in parts[place + 1 :]:
        if one.start_us // every_us != slot:
            break
        rows += one.rows
    return rows
