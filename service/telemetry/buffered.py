"""Counts kept in memory and brought into the shared metrics files once a second: there each would cost a few microseconds.

What has not been brought there yet dies with the process: a second's counts of a killed worker.
"""

from __future__ import annotations

from bisect import bisect_left
from threading import Lock

from prometheus_client import Counter, Histogram


class BufferedCounter:
    """Adds up for a counter.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> buffered = BufferedCounter(Counter("asked_total", "Asked.", registry=registry))
    >>> buffered.inc(2); buffered.inc(); registry.get_sample_value("asked_total")
    0.0
    >>> buffered.flush(); registry.get_sample_value("asked_total")
    3.0
    """

    __slots__ = ("_counter", "_lock", "_pending")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._lock = Lock()
        self._pending = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count."""
        with self._lock:
            self._pending += amount

    def flush(self) -> None:
        """Bring it into the counter."""
        with self._lock:
            pending, self._pending = self._pending, 0.0
        if pending:
            self._counter.inc(pending)


class BufferedHistogram:
    """Adds up for a histogram.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry
    >>> registry = CollectorRegistry()
    >>> buffered = BufferedHistogram(Histogram("took_seconds", "Took.", registry=registry, buckets=(1, 2)))
    >>> buffered.observe(1.0); buffered.observe(1.5); buffered.observe(9.0); buffered.flush()
    >>> [registry.get_sample_value("took_seconds_bucket", {"le": le}) for le in ("1.0", "2.0", "+Inf")]
    [1.0, 2.0, 3.0]
    >>> registry.get_sample_value("took_seconds_sum")
    11.5
    """

    __slots__ = ("_bounds", "_counts", "_histogram", "_lock", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._bounds: list[float] = histogram._upper_bounds
        self._lock = Lock()
        self._counts: dict[int, int] = {}
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value, or several equal ones."""
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._sum += value * count
            self._counts[place] = self._counts.get(place, 0) + count

    def flush(self) -> None:
        """Bring the values into the histogram: what `Histogram.observe` does for one, done for many."""
        with self._lock:
            counts, self._counts = self._counts, {}
            total, self._sum = self._sum, 0.0
        if counts:
            self._histogram._sum.inc(total)
            for place, count in counts.items():
                self._histogram._buckets[place].inc(count)
