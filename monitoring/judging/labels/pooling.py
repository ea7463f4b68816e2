"""Neighbouring buckets put together (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt


def runs(*flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the longest stretches of neighbours in which no flag changes, as half-open ranges of places.

    Examples
    --------
    >>> runs(np.array([True, True, False]), np.array([True, False, False]))
    [(0, 1), (1, 2), (2, 3)]
    """
    changes = np.logical_or.reduce([flag[1:] != flag[:-1] for flag in flags])
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(flags[0])]
    return [(first, stop) for first, stop in pairwise(edges) if first < stop]


def firsts(rows: Iterable[int], begin: int, least: int) -> list[int]:
    """Return where groups of at least so many rows begin, counted from a place on; fewer at the end belong to the last group.

    Examples
    --------
    >>> firsts([40, 40, 60, 10, 39], 7, 50)
    [7, 9]
    """
    places, together = [begin], 0
    for place, n in enumerate(rows, begin):
        if together >= least:
            places, together = [*places, place], 0
        together += n
    return places[:-1] if together < least and len(places) > 1 else places


def joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges, in order, with those that touch or overlap made one.

    Examples
    --------
    >>> joined([(0, 5), (5, 9), (8, 10), (11, 12)])
    [(0, 10), (11, 12)]
    """
    together: list[tuple[int, int]] = []
    for start, end in spans:
        if together and together[-1][1] >= start:
            together[-1] = (together[-1][0], max(together[-1][1], end))
        else:
            together.append((start, end))
    return together
