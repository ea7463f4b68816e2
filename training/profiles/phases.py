"""Phases of the day and the week, and widths of time that are multiples of each other."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Phase = Literal["none", "hour", "weekday", "hour_of_week"]
Integers = npt.NDArray[np.int64]

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
CELLS: dict[Phase, int] = {"none": 1, "hour": 24, "weekday": 7, "hour_of_week": 168}


def nested_widths(width_us: int, longest_us: int) -> list[int]:
    """Return ever wider widths, each a multiple of the one before, that pass by whole hours and whole days.

    Examples
    --------
    >>> [w // 60_000_000 for w in nested_widths(10 * 60_000_000, 2 * DAY_US)]
    [10, 20, 60, 120, 240, 480, 1440, 2880]
    """
    widths = [width_us]
    for whole in (HOUR_US, DAY_US):
        rest = int(np.lcm(widths[-1], whole)) // widths[-1]
        while rest > 1:
            factor = next(f for f in range(2, rest + 1) if rest % f == 0)
            widths.append(widths[-1] * factor)
            rest //= factor
    while widths[-1] * 2 <= longest_us:
        widths.append(widths[-1] * 2)
    return [w for w in widths if w <= longest_us or w == width_us]


def hour_of_week(time_us: Integers) -> Integers:
    """Return the hour since Monday, UTC, of times in microseconds since 1970 (a Thursday).

    Examples
    --------
    >>> hour_of_week(np.array([0, 4 * DAY_US])).tolist()
    [72, 0]
    """
    return (time_us // HOUR_US + 72) % 168


def cell_of(hours: Integers, phase: Phase) -> Integers:
    """Return the phase that each hour of the week belongs to.

    Examples
    --------
    >>> cell_of(np.array([25]), "hour").tolist(), cell_of(np.array([25]), "weekday").tolist()
    ([1], [1])
    """
    if phase == "none":
        return np.zeros_like(hours)
    if phase == "hour_of_week":
        return hours
    return hours % 24 if phase == "hour" else hours // 24
