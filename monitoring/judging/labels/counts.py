"""Rows and labels of buckets of model time, counted (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitoring.judging.labels.agreement import NO_LABELS, Agreement

THIRDS = ("lowest", "middle", "highest")
CELLS = len(THIRDS) + 1  # rows whose third is not known are the last

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """The rows of one bucket of model time as of a slot.

    Attributes
    ----------
    due, labelled
        Rows, and those with a label, by third of the score; shape (4,), the last for rows whose third is not known.
    delays
        Labels by class (of a regression: by third) and bin of their delay.
    extremes
        The least and the largest label, where labels are numbers.
    agreement
        Of what was answered with the labels.
    """

    due: Counts
    labelled: Counts
    delays: Mapping[tuple[str, int], int] = field(default_factory=dict)
    extremes: tuple[float, float] | None = None
    agreement: Agreement = NO_LABELS

    def plus(self, other: LabelCounts) -> LabelCounts:
        """Return the counts of both."""
        delays = {key: self.delays.get(key, 0) + other.delays.get(key, 0) for key in self.delays.keys() | other.delays.keys()}
        known = [one for one in (self.extremes, other.extremes) if one is not None]
        extremes = (min(low for low, _ in known), max(high for _, high in known)) if known else None
        return LabelCounts(self.due + other.due, self.labelled + other.labelled, delays, extremes, self.agreement.plus(other.agreement))


@dataclass(frozen=True, slots=True)
class CountedLabels:
    """The counts of a model by bucket, as of a slot.

    Attributes
    ----------
    how
        By what they are counted: another way begins anew.
    """

    how: tuple[object, ...]
    slot_us: int
    counts: Mapping[int, LabelCounts]
