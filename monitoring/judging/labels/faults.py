"""Labels broken: constant, conflicting, there and back, against what the stream did before; and labels that come later, or no more (pure).

What is judged are groups: neighbouring mature buckets of enough rows, by the time of their prediction. Of each kind of fault a group is
called broken where what is seen has less than a chance under the worst group before it, so little that of all groups of a stream without
fault at most one in `PROMISE_YEARS` is. A level that moved and stays is a change of the target, and no fault: what jumped is held back
until it has come back, then it was a fault, or until it stayed for a week, then it counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from monitoring.judging.data_faults import Span
from monitoring.judging.label_delays import plain_duration
from monitoring.judging.labels.agreement import NO_LABELS, Agreement
from monitoring.judging.labels.unlearnable import UNLEARNABLE, Broken
from monitoring.judging.usual_ranges import DEVIATIONS
from training.clock import from_us

LabelFaultKind = Literal["labels_constant", "labels_conflicting", "labels_jumping", "labels_unlearnable"]
KINDS = 3
PROMISE_YEARS = 20.0
LEAST_BEFORE = 20  # groups that teach what is usual
LEVEL = 8  # of them that make the level a group is held against
BEYOND = 1.5  # times the farthest any group before was from its level
HELD_US = 7 * 86_400_000_000
HELD_GROUPS = 3
SLACK = 0.02  # a share of 0 in few rows is not proof of 0
_YEAR_US = 365.25 * 86_400_000_000

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring mature buckets; half-open, model time.

    Attributes
    ----------
    due, in_time
        Rows that no label request drew, and how many of them had a label within the time labels were measured to take.
    values
        Labels by class, of a regression by third.
    is_one_value
        Whether all labels are equal.
    conflicts
        Rows for which another label came too.
    is_covered
        Whether enough of them have a label for the labels to be a sample of all.
    is_trusted
        Whether a person let them go: they are as they are, and teach what is usual.
    agreement
        Of what was answered with the labels.
    """

    start_us: int
    end_us: int
    due: int
    values: Mapping[str, int]
    is_one_value: bool = False
    in_time: int = 0
    conflicts: int = 0
    is_covered: bool = True
    is_trusted: bool = False
    agreement: Agreement = NO_LABELS

    @property
    def labelled(self) -> int:
        """How many have a label."""
        return sum(self.values.values())


@dataclass(frozen=True, slots=True)
class LabelFault:
    """The labels of some groups are not what they were: `share` of `rows`, `usual` at most before.

    Of labels that cannot be learned these are the correlation of answers and labels, and that of the groups before.
    """

    kind: LabelFaultKind
    start_us: int
    end_us: int
    rows: int
    share: float
    usual: float
    detail: str

    @classmethod
    def unlearnable(cls, one: Broken) -> LabelFault:
        """Return labels that nothing can be learned from as a fault."""
        return cls(UNLEARNABLE, one.start_us, one.end_us, one.rows, one.agreement, one.usual, one.detail)

    def sentence(self) -> str:
        """Say what is wrong, when, of how many."""
        when = f"labels of rows from {from_us(self.start_us):%Y-%m-%d %H:%M} to {from_us(self.end_us):%Y-%m-%d %H:%M}"
        says = {
            "labels_constant": f"{when}: all {self.rows} are {self.detail}, at most {self.usual:.0%} of any bucket before",
            "labels_conflicting": f"{when}: of {self.share:.0%} of {self.rows} another came too, at most {self.usual:.0%} before",
            "labels_jumping": f"{when}: {self.share:.0%} of {self.rows} are {self.detail}, {self.usual:.0%} before and after",
            "labels_unlearnable": f"{when}: answers agree with {self.rows} by {self.share:.2f}, by {self.usual:.2f} before; {self.detail}",
        }
        return says[self.kind]

    @property
    def span(self) -> Span:
        """Whose labels do not count."""
        return Span(self.start_us, self.end_us, self.kind)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class LabelFindings:
    """What is wrong with the labels as of a slot.

    Attributes
    ----------
    faults
        What is broken, in order.
    held
        Jumped, and not yet known whether it stays.
    notices
        Sentences on what is held, on labels that come later than usual, or no more.
    aside
        Ranges whose labels were found broken before, and set aside.
    accepted
        Ranges that were set aside and count again, with the reason: as these labels are is how it is now.
    """

    faults: tuple[LabelFault, ...] = ()
    held: tuple[LabelFault, ...] = ()
    notices: tuple[str, ...] = ()
    aside: tuple[Span, ...] = ()
    accepted: tuple[Span, ...] = ()

    @property
    def spans(self) -> tuple[Span, ...]:
        """The ranges whose labels do not count now."""
        return (*self.aside, *(one.span for one in (*self.faults, *self.held)))


def find(before: Sequence[Group], groups: Sequence[Group], *, needed_us: int) -> LabelFindings:
    """Look for faults in the labels of groups, each against those before it that have none.

    Parameters
    ----------
    before
        Groups of rows that were learned from, in order; they teach what is usual and are not judged.
    groups
        The mature rows, in order; without those that are set aside.
    needed_us
        How long labels were measured to take.
    """
    judged = [one for one in groups if one.is_covered and one.labelled]
    constant = _constant(before, judged)
    conflicting = _conflicting(judged)
    broken = {one.start_us for one in (*constant, *conflicting)}
    jumping, held = _jumping(before, [one for one in judged if one.start_us not in broken])
    faults = tuple(sorted((*constant, *conflicting, *jumping), key=lambda one: (one.start_us, one.kind)))
    notices = [f"{one.sentence().rsplit(' and ', 1)[0]}: held back until it is seen whether that stays" for one in held]
    late = _later(groups, needed_us)
    return LabelFindings(faults, held, (*notices, *([] if late is None else [late])))


def chance_of(groups: Sequence[Group]) -> float:
    """Return how unlikely a group must be, of any one kind: of all groups of `PROMISE_YEARS` at most one is called broken.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> f"{chance_of([Group(n * day, (n + 1) * day, 50, {'yes': 9}) for n in range(5)]):.1e}"
    '4.6e-05'
    """
    width_us = float(np.median([one.end_us - one.start_us for one in groups])) if groups else _YEAR_US
    return min(0.01, width_us / (PROMISE_YEARS * _YEAR_US * KINDS))


def _constant(before: Sequence[Group], judged: Sequence[Group]) -> list[LabelFault]:
    names = {name for one in (*before, *judged) for name in one.values}
    chance, known, faults = chance_of(judged), {name: _Usual() for name in names}, list[LabelFault]()
    for place, one in enumerate((*before, *judged)):
        value, number = max(one.values.items(), key=lambda each: each[1])
        usual, is_judged = known[value].share(), place >= max(len(before), LEAST_BEFORE) and not one.is_trusted
        if is_judged and one.is_one_value and number == one.labelled and usual < 1 and usual**number < chance:
            faults.append(LabelFault("labels_constant", one.start_us, one.end_us, number, 1.0, usual, f"one value, {value}"))
        else:
            for name in names:
                known[name].learn(one.values.get(name, 0), one.labelled)
    return faults


def _conflicting(judged: Sequence[Group]) -> list[LabelFault]:
    chance, known, faults = chance_of(judged), _Usual(), list[LabelFault]()
    for one in judged:
        usual = known.share()
        is_judged = known.groups >= LEAST_BEFORE and not one.is_trusted
        if one.conflicts and is_judged and _tail(one.conflicts, one.labelled, usual) < chance:
            share = one.conflicts / one.labelled
            faults.append(LabelFault("labels_conflicting", one.start_us, one.end_us, one.labelled, share, usual, ""))
        else:
            known.learn(one.conflicts, one.labelled)
    return faults


def _jumping(before: Sequence[Group], judged: Sequence[Group]) -> tuple[list[LabelFault], tuple[LabelFault, ...]]:
    names = sorted({name for one in (*before, *judged) for name in one.values})
    level, chance = _Level(names), chance_of(judged) / max(1, len(names))
    for one in before:
        level.learn(one)
    faults, run = list[LabelFault](), list[Group]()
    for one in judged:
        if one.is_trusted:
            level.learn(one)
            continue
        if run and level.is_back(one, run):
            faults.append(level.fault(run))
            run = []
        if run or level.is_far(one, chance):
            run.append(one)
            if run[-1].end_us - run[0].start_us >= HELD_US and len(run) >= HELD_GROUPS:
                level.move_to(run)
                run = []
        else:
            level.learn(one)
    return faults, (level.fault(run),) if run else ()


class _Usual:
    """The largest share of any group so far, as far as groups differ by more than chance: `usual_ranges` one group at a time."""

    def __init__(self) -> None:
        self.groups = self.rows = self.number = 0
        self.most = self.shares = self.squares = self.parts = 0.0

    def learn(self, number: int, rows: int) -> None:
        """Count a group."""
        share = number / rows
        self.groups, self.rows, self.number = self.groups + 1, self.rows + rows, self.number + number
        self.most, self.shares, self.squares = max(self.most, share), self.shares + share, self.squares + share**2
        self.parts += 1 / rows

    def share(self) -> float:
        """Return the share; 0 before the first group."""
        if not self.groups:
            return 0.0
        mean = self.number / self.rows
        by_chance = mean * (1 - mean) * self.parts / self.groups
        spread = self.squares / self.groups - 2 * mean * self.shares / self.groups + mean**2
        beyond = math.sqrt(max(0.0, spread - by_chance))
        return min(self.most, mean + DEVIATIONS * beyond) if beyond < math.sqrt(by_chance) / 2 else self.most


class _Level:
    """What share each value has lately, and how far groups usually are from that."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.lately: list[npt.NDArray[np.int64]] = []
        self.groups = 0
        self.squares, self.farthest = np.zeros(len(names)), np.zeros(len(names))

    def learn(self, one: Group) -> None:
        """Count a group among those that are as usual."""
        counts = self._counts(one)
        if len(self.lately) >= LEVEL:
            squares = self._distance(counts) ** 2
            self.groups, self.squares, self.farthest = self.groups + 1, self.squares + squares, np.maximum(self.farthest, squares)
        self.lately = [*self.lately, counts][-LEVEL:]

    def is_far(self, one: Group, chance: float) -> bool:
        """Return whether a group is farther from the level than any before, beyond what these varied by and chance."""
        if self.groups < LEAST_BEFORE:
            return False
        wobble, farthest = np.sqrt(np.maximum(1.0, self.squares / self.groups)), np.sqrt(self.farthest)
        distance = np.abs(self._distance(self._counts(one)))
        is_unlikely = 2 * special.ndtr(-distance / wobble) < chance
        return bool((is_unlikely & (distance > BEYOND * farthest)).any())

    def is_back(self, one: Group, run: Sequence[Group]) -> bool:
        """Return whether a group is nearer to the level than to those that jumped."""
        shares = _shares(self._counts(one))
        jumped = _shares(np.sum([self._counts(each) for each in run], axis=0))
        return bool(np.abs(shares - self._shares()).sum() < np.abs(shares - jumped).sum())

    def move_to(self, run: Sequence[Group]) -> None:
        """Make those that jumped, and stayed, the level."""
        self.lately = [self._counts(each) for each in run][-LEVEL:]

    def fault(self, run: Sequence[Group]) -> LabelFault:
        """Return what jumped: the value whose share did most."""
        jumped, usual = _shares(np.sum([self._counts(each) for each in run], axis=0)), self._shares()
        most = int(np.argmax(np.abs(jumped - usual)))
        rows = sum(each.labelled for each in run)
        place = run[0].start_us, run[-1].end_us
        return LabelFault("labels_jumping", *place, rows, float(jumped[most]), float(usual[most]), self.names[most])

    def _counts(self, one: Group) -> npt.NDArray[np.int64]:
        return np.array([one.values.get(name, 0) for name in self.names], dtype=np.int64)

    def _shares(self) -> Shares:
        return _shares(np.sum(self.lately, axis=0))

    def _distance(self, counts: npt.NDArray[np.int64]) -> Shares:
        """Return how many standard errors each share is from the level; half a label more of each keeps a share off 0 and 1."""
        known = np.sum(self.lately, axis=0)
        pooled = (known + counts + 0.5) / (known.sum() + counts.sum() + 1)
        variance = pooled * (1 - pooled) * (1 / max(1, counts.sum()) + 1 / max(1, known.sum()))
        return np.asarray((_shares(counts) - _shares(known)) / np.sqrt(variance), dtype=np.float64)


def _later(groups: Sequence[Group], needed_us: int) -> str | None:
    """Say that of the newest group fewer rows had their label in time than of any before: labels come later, or no more."""
    if len(groups) <= LEAST_BEFORE:
        return None
    *others, one = groups
    known = _Usual()
    for each in others:
        known.learn(each.due - each.in_time, each.due)
    usual, now = known.share(), one.due - one.in_time
    if not now or usual + SLACK >= 1 or _tail(now, one.due, usual) >= chance_of(groups):
        return None
    when = f"of {one.due} rows from {from_us(one.start_us):%Y-%m-%d %H:%M} to {from_us(one.end_us):%Y-%m-%d %H:%M}"
    before = f"at least {1 - usual:.0%} of any before"
    if not one.labelled:
        return f"labels stopped: {when} none has one after {plain_duration(needed_us)}, {before}"
    return f"labels come later than usual: {when} {one.in_time / one.due:.0%} had one within {plain_duration(needed_us)}, {before}"


def _tail(k: int, n: int, usual: float) -> float:
    """Return the chance of k > 0 or more in n where the share is the usual one, and some slack."""
    return float(special.betainc(k, n - k + 1, min(1.0, usual + SLACK))) if k <= n else 0.0


def _shares(counts: npt.NDArray[np.int64]) -> Shares:
    shares: Shares = counts / max(1, int(counts.sum()))
    return shares
