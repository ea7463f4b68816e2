"""Calendar parts of epoch seconds (UTC, or by the clock of a zone) in integer arithmetic: what DateParts says, without a table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

_FARTHEST_S = 2e11
_DAY_S = 86_400
_SLOT_S = 900


def calendar_parts(seconds: Floats, parts: tuple[str, ...]) -> list[Floats]:
    """Return one float64 array a part, shape (n,) each; missing and absurd times give NaN.

    Examples
    --------
    >>> [p.tolist() for p in calendar_parts(np.array([0.0, -1.0, np.nan]), ("hour", "weekday", "year"))]
    [[0.0, 23.0, nan], [3.0, 2.0, nan], [1970.0, 1969.0, nan]]
    """
    known = np.isfinite(seconds) & (np.abs(seconds) < _FARTHEST_S)
    whole = np.where(known, seconds, 0.0).astype(np.int64)
    days = whole // _DAY_S
    return [np.where(known, _PARTS[part](whole - days * _DAY_S, days).astype(np.float64), np.nan) for part in parts]


def _start(days: Whole, unit: str) -> Whole:
    """Return the first day of each day's month or year."""
    return days.astype("M8[D]").astype(f"M8[{unit}]").astype("M8[D]").astype(np.int64)


def _count(days: Whole, unit: str) -> Whole:
    """Return months or years since 1970."""
    return days.astype("M8[D]").astype(f"M8[{unit}]").astype(np.int64)


def _weekday(days: Whole) -> Whole:
    return (days + 3) % 7


def _week(days: Whole) -> Whole:
    """Return the ISO week: that of its Thursday, counted in the Thursday's year."""
    thursday = days - _weekday(days) + 3
    return (thursday - _start(thursday, "Y")) // 7 + 1


_PARTS: dict[str, Callable[[Whole, Whole], Whole]] = {
    "hour": lambda second, days: second // 3600,
    "minute": lambda second, days: second // 60 % 60,
    "weekday": lambda second, days: _weekday(days),
    "day": lambda second, days: days - _start(days, "M") + 1,
    "dayofyear": lambda second, days: days - _start(days, "Y") + 1,
    "week": lambda second, days: _week(days),
    "month": lambda second, days: _count(days, "M") % 12 + 1,
    "quarter": lambda second, days: _count(days, "M") % 12 // 3 + 1,
    "year": lambda second, days: _count(days, "Y") + 1970,
}


def local_seconds(seconds: Floats, zone: str | None) -> Floats:
    """Return what a clock of that zone shows, as epoch seconds of a clock in UTC that shows the same.

    Examples
    --------
    >>> calendar_parts(local_seconds(np.array([0.0, 15_552_000.0]), "Europe/Paris"), ("hour",))[0].tolist()
    [1.0, 1.0]
    >>> calendar_parts(local_seconds(np.array([1_750_000_000.0]), "Europe/Paris"), ("hour",))[0].tolist()
    [17.0]
    """
    if zone is None:
        return seconds
    slots, place = np.unique(seconds // _SLOT_S, return_inverse=True)  # clocks are put forward and back on quarters of an hour
    clock = ZoneInfo(zone)
    ahead = [_offset(clock, slot * _SLOT_S) for slot in slots.tolist()]
    return seconds + np.array(ahead, dtype=np.float64)[place]


def _offset(clock: ZoneInfo, seconds: float) -> float:
    """Return how many seconds a clock is ahead of UTC."""
    shown = datetime.fromtimestamp(seconds, clock).utcoffset()
    return 0.0 if shown is None else shown.total_seconds()
