"""Counts of refused rows, gathered in memory until the drain writes them down: an early sign of a broken sender."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

MOST_KINDS = 500


class Rejects:
    """Count refused values by model, field and code; what is not written yet dies with the process.

    Examples
    --------
    >>> rejects = Rejects()
    >>> rejects.add("bikes", {("temp", "type"): 2}); rejects.add("bikes", {("temp", "type"): 1})
    >>> rejects.take()
    {'bikes': {('temp', 'type'): 3}}
    >>> rejects.take()
    {}
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[tuple[str, str]]] = {}

    def add(self, model: str, counts: Mapping[tuple[str, str], int]) -> None:
        """Add refused values of one request."""
        with self._lock:
            kept = self._counts.setdefault(model, Counter())
            for kind, rows in counts.items():
                if kind in kept or len(kept) < MOST_KINDS:
                    kept[kind] += rows

    def take(self) -> dict[str, dict[tuple[str, str], int]]:
        """Return what was gathered, and start again."""
        with self._lock:
            taken, self._counts = self._counts, {}
        return {model: dict(counts) for model, counts in taken.items()}
