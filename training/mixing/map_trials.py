"""A map on trial: one that does worse than none on later labels, slot after slot, is laid aside until it does not (pure).

While it is, maps are learned and judged on as if they were used, so that the first one that would have done is used again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from training.evaluation.losses import Metric
from training.evaluation.weighted import weighted
from training.mixing.labelled_rows import Floats, Labels
from training.mixing.maps import Map, mapped
from training.schema.prediction import Prediction

RUNNING = 3
"""Slots in a row of which each finds a map worse than none, after which it is laid aside."""
WORSE = 0.05
"""By more than this share of the loss without it a map is worse; by any, chance alone lays it aside where it is good on the whole."""
GROSSLY = 1.0
"""By more than this share of the loss without it, it is laid aside at once."""
FEWEST_LATER_ROWS = 50
"""Later labels a slot needs, or it says nothing of the map."""


@dataclass(frozen=True, slots=True)
class MapTrial:
    """How a member's maps have done on labels that came after they were learned.

    Attributes
    ----------
    learned
        The newest map that was learned, whether it is used or not; None for none.
    worse
        For how many slots in a row the map did worse than none.
    is_off
        Whether the member answers without a map.

    Examples
    --------
    >>> trial = MapTrial(learned=(2.0, 0.0))
    >>> [trial := trial.judged(with_map=0.6, without=0.5) for _ in range(3)][-1].is_off
    True
    >>> MapTrial.from_dict(trial.to_dict()) == trial
    True
    """

    learned: Map | None = None
    worse: int = 0
    is_off: bool = False

    @property
    def used(self) -> Map | None:
        """The map the member answers with; None for its plain answers."""
        return None if self.is_off else self.learned

    def judged(self, with_map: float, without: float) -> Self:
        """Return the trial after a slot whose later labels gave these mean losses; one that is no number says nothing."""
        if not (math.isfinite(with_map) and math.isfinite(without)):
            return self
        if with_map <= (1 + WORSE) * without:
            return replace(self, worse=0, is_off=False)
        is_off = self.is_off or self.worse + 1 >= RUNNING or with_map > (1 + GROSSLY) * without
        return replace(self, worse=self.worse + 1, is_off=is_off)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"learned": None if self.learned is None else list(self.learned), "worse": self.worse, "is_off": self.is_off}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        learned = stored["learned"]
        return cls(None if learned is None else (float(learned[0]), float(learned[1])), stored["worse"], stored["is_off"])


def judge_map(trial: MapTrial, answers: Prediction, y: Labels, metric: Metric, weights: Floats | None = None) -> MapTrial:
    """Return the trial after a slot.

    Parameters
    ----------
    answers
        What the member answers without a map to rows whose labels came after the map was learned.
    y, weights
        Their labels, and how many rows each stands for.
    metric
        A mean over rows of which less is better.
    """
    if trial.learned is None or len(y) < FEWEST_LATER_ROWS:
        return trial
    shares = np.ones(len(y)) if weights is None else weights
    with_map, without = (weighted(metric, y, each, shares) for each in (mapped(answers, trial.learned), answers))
    return trial.judged(with_map, without)
