"""How much work something is, counted: the same on every machine, however busy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from tests.service.counting import calls_of


def steps(job: Callable[[], Any]) -> int:
    """Do a job and return how many functions were called for it, Python's and C's."""
    return calls_of(job)[1]


def growth(costs: list[int]) -> list[float]:
    """Return by how much each cost is more than the one before."""
    return [after / before for before, after in itertools.pairwise(costs)]


class Counted(bytearray):
    """Bytes that count how many of them were searched or copied.

    A search with a pattern sees the bytes themselves and is not counted; those are bounded by what is searched here beside.
    """

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        place = super().find(sub, start, len(self) if end is None else end)
        stop = place + len(sub) if place >= 0 else min(len(self), len(self) if end is None else end)
        self.looked_at += max(0, stop - start)
        return place

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        self.looked_at += len(part) if isinstance(place, slice) else 1
        return part
