"""Where labels were drawn and answered: rows that are known by a sample of them, whatever else has a label (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitoring.judging.labels.pooling import joined

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Requested:
    """The answered label requests of a model as of a slot.

    Attributes
    ----------
    windows
        Half-open ranges of model time that they drew from, in order, none touching another.
    answered_us
        The model times of the drawn rows that have their label, in order.
    newest
        The window that ends last, by itself.

    Examples
    --------
    >>> requested = Requested.of([(0, 20), (10, 30), (50, 60)], [np.array([25, 3]), np.array([55])])
    >>> requested.windows, requested.answered_us.tolist()
    (((0, 30), (50, 60)), [3, 25, 55])
    >>> requested.cover(np.array([0, 20, 40, 50]), 10).tolist()
    [True, True, False, True]
    >>> requested.until(35, 10), requested.count(0, 30)
    (60, 2)
    """

    windows: tuple[tuple[int, int], ...] = ()
    answered_us: Times = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    newest: tuple[int, int] | None = None

    @classmethod
    def of(cls, windows: Iterable[tuple[int, int]], answered_us: Iterable[Times]) -> Requested:
        """Join windows that touch, and all that was answered in them."""
        each = sorted(windows)
        answers = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *answered_us]))
        return cls(tuple(joined(each)), answers, max(each, key=lambda window: window[1], default=None))

    def seen_until(self, end_us: int, slot_us: int, every_us: int) -> int:
        """Return the end of what a slot can have seen: no later than the newest window, while the next one may be waited for.

        That is for twice as long as it is, or as two slots are apart: who asks once a week has the labels of a week when the next is over.
        """
        if self.newest is None or slot_us - self.newest[1] > 2 * max(every_us, self.newest[1] - self.newest[0]):
            return end_us
        return min(end_us, self.newest[1])

    def cover(self, starts: Times, bucket_us: int) -> npt.NDArray[np.bool_]:
        """Return which buckets lie within a window as a whole."""
        is_within = np.zeros(len(starts), dtype=bool)
        for start_us, end_us in self.windows:
            is_within |= (starts >= start_us) & (starts + bucket_us <= end_us)
        return is_within

    def until(self, end_us: int | None, bucket_us: int) -> int | None:
        """Return the later one of an end and that of the last bucket that lies within a window as a whole; None stays None."""
        if end_us is None:
            return None
        ends = [end // bucket_us * bucket_us for start, end in self.windows if end // bucket_us > -(-start // bucket_us)]
        return max([end_us, *ends])

    def count(self, start_us: int, end_us: int) -> int:
        """Count the answers of a range."""
        first, last = np.searchsorted(self.answered_us, [start_us, end_us])
        return int(last - first)


NO_REQUESTS = Requested()
