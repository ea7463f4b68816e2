"""What a call of a model costs: measured once, when a version is made, so that the service knows without measuring."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from training.schema.prediction import Prediction
from training.schema.rows import Columns, count_rows

MANY = 32
EXPENSIVE_SECONDS = 0.0005
_WORTH = 0.5
_CALLS = 15
_BUDGET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one thread's processor time that a call takes with one row and with 32.

    Examples
    --------
    >>> pipeline, compiled = Cost(0.0080, 0.0096), Cost(0.00003, 0.00009)
    >>> pipeline.is_expensive, pipeline.is_shared_with_gain, compiled.is_expensive
    (True, True, False)
    >>> round(pipeline.seconds(320), 4)
    0.0245
    """

    one_seconds: float
    many_seconds: float

    @property
    def is_expensive(self) -> bool:
        """Return whether even one row takes half a millisecond: long enough that others must not be kept waiting behind it."""
        return self.one_seconds >= EXPENSIVE_SECONDS

    @property
    def is_shared_with_gain(self) -> bool:
        """Return whether 32 rows together cost at most half of what they cost one by one."""
        return self.many_seconds <= _WORTH * MANY * self.one_seconds

    def seconds(self, n_rows: int) -> float:
        """Estimate a call with so many rows, on a straight line through the two that were measured."""
        each = max(0.0, self.many_seconds - self.one_seconds) / (MANY - 1)
        return self.one_seconds + each * (n_rows - 1)

    @classmethod
    def total(cls, costs: Sequence[Self | None]) -> Self | None:
        """Return what calls cost that are made after each other; None where one was not measured.

        Examples
        --------
        >>> Cost.total([Cost(0.25, 0.5), Cost(0.5, 1.0)]), Cost.total([Cost(0.25, 0.5), None])
        (Cost(one_seconds=0.75, many_seconds=1.5), None)
        """
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs):
            return None
        return cls(sum(cost.one_seconds for cost in known), sum(cost.many_seconds for cost in known))

    @property
    def sentence(self) -> str:
        """One sentence, for the card."""
        each = f"{self.many_seconds / MANY * 1e6:.3g} µs a row"
        figures = f"1 row takes {self.one_seconds * 1e3:.3g} ms, {MANY} rows take {self.many_seconds * 1e3:.3g} ms ({each})"
        if not self.is_expensive:
            return figures
        return f"{figures}; requests that wait together are predicted {'together' if self.is_shared_with_gain else 'one after the other'}"

    def to_dict(self) -> dict[str, float]:
        """Return a JSON object for metadata."""
        return {"one_row_seconds": self.one_seconds, f"rows_{MANY}_seconds": self.many_seconds}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """Read what `to_dict` wrote; None where nothing was measured."""
        try:
            return None if stored is None else cls(float(stored["one_row_seconds"]), float(stored[f"rows_{MANY}_seconds"]))
        except (KeyError, TypeError, ValueError):
            return None


def measure_cost(predict: Callable[[Columns], Prediction], columns: Columns, *, clock: Callable[[], float] = time.thread_time) -> Cost:
    """Time calls with one row and with 32, as a worker of the service makes them: with one thread, each time with other rows.

    Parameters
    ----------
    columns
        At least one row; fewer than 32 are repeated.
    clock
        Gives the seconds this thread has computed.
    """
    present = count_rows(columns)
    every = {name: np.resize(values, max(present, MANY)) for name, values in columns.items()}
    with threadpool_limits(1), joblib.parallel_config(backend="sequential"):
        one, many = (_median_seconds(predict, every, size, clock) for size in (1, MANY))
    return Cost(one, many)


def _median_seconds(predict: Callable[[Columns], Prediction], columns: Columns, size: int, clock: Callable[[], float]) -> float:
    present = count_rows(columns)
    taken: list[float] = []
    for call in range(_CALLS + 1):
        start = call * size % (present - size + 1)
        some = {name: values[start : start + size] for name, values in columns.items()}
        began = clock()
        predict(some)
        taken.append(clock() - began)
        if sum(taken) > _BUDGET_SECONDS:
            break
    return median(taken[1:] or taken)  # the first call pays for what is made once
