"""A map on trial: one that does worse than none on what was answered with it, slot after slot, is laid aside until it does not (pure).

A map is learned from mature labels, and answers rows whose labels come a maturity later: with labels that take a year, those of another
season. So each map is kept until the rows that it answered are labelled, and judged on these. While maps are laid aside they are learned
and judged on as if they were used, so that the first one that would have done is used again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np

from training.evaluation.losses import Metric
from training.evaluation.weighted import weighted
from training.mixing.labelled_rows import LabelledRows
from training.mixing.maps import Map, mapped
from training.schema.prediction import Prediction

RUNNING = 3
"""Slots in a row of which each finds a map worse than none, after which it is laid aside."""
WORSE = 0.05
"""By more than this share of the loss without it a map is worse; by any, chance alone lays it aside where it is good on the whole."""
GROSSLY = 1.0
"""By more than this share of the loss without it, it is laid aside at once."""
FEWEST_LATER_ROWS = 50
"""New labels of rows answered with maps that are needed to say anything of these; of fewer the next slot says it."""


@dataclass(frozen=True, slots=True)
class LearnedMap:
    """A map, and from when it answers.

    Attributes
    ----------
    from_us
        Model time of the slot in which it was learned, microseconds: it answers what is later, until the next one does.
    """

    from_us: int
    by: Map


@dataclass(frozen=True, slots=True)
class MapTrial:
    """How a member's maps have done on what was answered with them.

    Attributes
    ----------
    learned
        The maps whose answers are not all judged, whether they are used or not, in the order of time; the last is the newest.
    worse
        For how many slots in a row the maps did worse than none.
    is_off
        Whether the member answers without a map.
    judged_through_us
        Model time of the newest row that was judged by; None before the first.

    Examples
    --------
    >>> trial = MapTrial((LearnedMap(0, (2.0, 0.0)),))
    >>> [trial := trial.judged(with_map=0.6, without=0.5) for _ in range(3)][-1].is_off
    True
    >>> MapTrial.from_dict(trial.to_dict()) == trial
    True
    """

    learned: tuple[LearnedMap, ...] = ()
    worse: int = 0
    is_off: bool = False
    judged_through_us: int | None = None

    @property
    def newest(self) -> Map | None:
        """The newest map, whether it is used or not."""
        return self.learned[-1].by if self.learned else None

    @property
    def used(self) -> Map | None:
        """The map the member answers with; None for its plain answers."""
        return None if self.is_off else self.newest

    def judged(self, with_map: float, without: float) -> Self:
        """Return the trial after labels that gave these mean losses; one that is no number says nothing."""
        if not (math.isfinite(with_map) and math.isfinite(without)):
            return self
        if with_map <= (1 + WORSE) * without:
            return replace(self, worse=0, is_off=False)
        is_off = self.is_off or self.worse + 1 >= RUNNING or with_map > (1 + GROSSLY) * without
        return replace(self, worse=self.worse + 1, is_off=is_off)

    def with_learned(self, by: Map, from_us: int) -> Self:
        """Return the trial with another map, and without those whose answers are all judged."""
        judged = -math.inf if self.judged_through_us is None else self.judged_through_us
        maps = [*(one for one in self.learned if one.from_us < from_us), LearnedMap(from_us, by)]
        awaited = [one for one, after in pairwise(maps) if after.from_us > judged]
        return replace(self, learned=(*awaited, maps[-1]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        learned = [[one.from_us, *one.by] for one in self.learned]
        return {"learned": learned, "worse": self.worse, "is_off": self.is_off, "judged_through_us": self.judged_through_us}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; of an earlier release, which kept no times, what the maps came to."""
        if "judged_through_us" not in stored:
            return cls((), stored["worse"], stored["is_off"])
        learned = tuple(LearnedMap(int(at), (float(slope), float(intercept))) for at, slope, intercept in stored["learned"])
        return cls(learned, stored["worse"], stored["is_off"], stored["judged_through_us"])


def judge_maps(trial: MapTrial, answers: Prediction, rows: LabelledRows, metric: Metric) -> MapTrial:
    """Return the trial after the labels that are new in a slot.

    Parameters
    ----------
    answers
        What the member answers to the rows without a map.
    rows
        Mature rows with their labels. Judged by are those that are later than the last time, and were answered with one of the maps.
    metric
        A mean over rows of which less is better.
    """
    if not trial.learned:
        return trial
    first_us = trial.learned[0].from_us
    new = rows.after(first_us if trial.judged_through_us is None else max(first_us, trial.judged_through_us))
    answers, part = answers.take(new), rows.take(new)
    if len(part) < FEWEST_LATER_ROWS:
        return trial
    starts = [*np.searchsorted(part.time_us, [one.from_us for one in trial.learned], side="right"), len(part)]
    answered = [mapped(answers.take(slice(starts[at], starts[at + 1])), one.by) for at, one in enumerate(trial.learned)]
    with_map, without = (weighted(metric, part.y, each, part.counts) for each in (Prediction.concat(answered), answers))
    return replace(trial, judged_through_us=int(part.time_us[-1])).judged(with_map, without)
