"""Rows with their labels, in the order of time, and which of them to weigh members by (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]

NEWEST_ROWS, NEWEST_SLOTS, OLDEST_SLOTS = 1000, 2, 8


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Matured rows, in the order of time.

    Attributes
    ----------
    time_us
        Model time of each, shape (n,), microseconds.
    y
        Labels, shape (n,).
    weights
        How many rows each stands for, shape (n,), where labels were drawn; None where each stands for itself.

    Raises
    ------
    ValueError
        Lengths differ, or a row is earlier than the one before it.
    """

    time_us: Times
    y: Labels
    weights: Floats | None = None

    def __post_init__(self) -> None:
        lengths = [len(each) for each in (self.y, self.time_us, self.weights) if each is not None]
        if len(set(lengths)) > 1:
            raise ValueError(f"labels, times and weights of {lengths} rows, wanted as many of each")
        if len(bad := np.flatnonzero(np.diff(self.time_us) < 0)):
            raise ValueError(f"row {bad[0] + 1} is earlier than the row before it, wanted rows in the order of time")

    def __len__(self) -> int:
        return len(self.y)

    @property
    def counts(self) -> Floats:
        """How many rows each stands for, shape (n,)."""
        return np.ones(len(self)) if self.weights is None else self.weights

    def after(self, time_us: int) -> slice:
        """Return where the rows are that are later than a time."""
        return slice(int(np.searchsorted(self.time_us, time_us, side="right")), len(self))

    def take(self, part: slice) -> LabelledRows:
        """Return some of the rows."""
        return LabelledRows(self.time_us[part], self.y[part], None if self.weights is None else self.weights[part])


def newest_rows(time_us: Times, every_us: int) -> slice:
    """Return which rows to weigh by: the newest 1,000, or two slots if those are more; none eight slots older than the newest.

    Parameters
    ----------
    time_us
        Of matured rows, in order.
    every_us
        From one slot to the next.

    Examples
    --------
    >>> times = np.arange(5000)
    >>> newest_rows(times, every_us=800), newest_rows(times, every_us=200), newest_rows(times, every_us=100)
    (slice(3400, 5000, None), slice(4000, 5000, None), slice(4200, 5000, None))
    """
    n = len(time_us)
    if not n:
        return slice(0, 0)
    two, eight = (int(np.searchsorted(time_us, time_us[-1] - slots * every_us, side="right")) for slots in (NEWEST_SLOTS, OLDEST_SLOTS))
    return slice(max(min(n - NEWEST_ROWS, two), eight, 0), n)
