"""Numbers and times to positions on a drawing, with round ticks and what stands beside them (pure)."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MINUTE, _HOUR, _DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
_MONDAY = 4 * _DAY  # 1970-01-05
_WIDTHS = (
    *(n * _SECOND for n in (1, 5, 15, 30)),
    *(n * _MINUTE for n in (1, 5, 15, 30)),
    *(n * _HOUR for n in (1, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 7, 14)),
)
_MONTHS = (1, 3, 6, *(12 * n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)))
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_000_000  # the years 1 to 9999
LARGEST = sys.float_info.max
_LEAST_SPAN = 1e-300
_WIDENED = 0.05


@dataclass(frozen=True, slots=True)
class Scale:
    """From values between `low` and `high` to positions between `start` and `end`, which may run down; values outside go to the ends.

    Examples
    --------
    >>> Scale(0.0, 10.0, 100.0, 0.0).place(2.5), Scale(-1e308, 1e308, 0.0, 1.0).place(0.0)
    (75.0, 0.5)
    """

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the position of a finite value."""
        if value <= self.low:
            return self.start
        if value >= self.high:
            return self.end
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # halves: the span of two floats may be none
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def spread(values: Iterable[float], *, least: float | None = None, most: float | None = None) -> tuple[float, float]:
    """Return bounds that hold all finite values, wider than nothing; 0 and 1 without any.

    Parameters
    ----------
    least, most
        What the bounds include anyway.

    Examples
    --------
    >>> spread([2.0, float("nan"), 3.0]), spread([]), spread([4.0], least=0.0)
    ((2.0, 3.0), (0.0, 1.0), (0.0, 4.0))
    """
    known = [float(v) for v in values if math.isfinite(v)] + [bound for bound in (least, most) if bound is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if high / 2 - low / 2 > max(_LEAST_SPAN, 1e-12 * max(abs(low), abs(high))):
        return low, high
    more = max(abs(low), abs(high)) * _WIDENED or 1.0
    if more < _LEAST_SPAN:
        more = 1.0
    return max(low - more, -LARGEST), min(high + more, LARGEST)


def round_ticks(low: float, high: float, most: int = 5) -> tuple[float, ...]:
    """Return up to `most` multiples of 1, 2 or 5 times a power of ten between two bounds.

    Examples
    --------
    >>> round_ticks(0.21, 0.93), round_ticks(0, 100, 3)
    ((0.4, 0.6, 0.8), (0.0, 50.0, 100.0))
    """
    rough = high / most - low / most
    if not (math.isfinite(rough) and rough > 0):
        return ()
    exponent = math.floor(math.log10(rough))
    for step in (factor * 10.0 ** min(power, 308) for power in range(exponent, exponent + 3) for factor in (1, 2, 5)):
        if not 0 < step < LARGEST:
            continue
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            decimals = 1 - math.floor(math.log10(step))
            ticks = (round(place * step, decimals) for place in range(first, last + 1))
            return tuple(dict.fromkeys(min(max(tick, low), high) + 0.0 for tick in ticks))
    return ()


def number(value: float, digits: int = 3) -> str:
    """Return a number as people write it, to some digits; of what is none, a dash.

    Examples
    --------
    >>> number(1234567.8), number(0.40712), number(float("nan")), number(12.0), number(1e20), number(99999.6)
    ('1,234,568', '0.407', '–', '12', '1e+20', '100,000')
    """
    if not math.isfinite(value):
        return "–"
    if 10**digits <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def tick_labels(ticks: Iterable[float]) -> tuple[str, ...]:
    """Return what stands beside ticks: as many digits as part them, the same for all.

    Examples
    --------
    >>> tick_labels((0.0, 0.5, 1.0)), tick_labels((0.0, 500_000.0)), tick_labels((1e12, 2e12)), tick_labels((3.0,))
    (('0', '0.5', '1.0'), ('0', '500,000'), ('1e+12', '2e+12'), ('3',))
    """
    known = tuple(ticks)
    step = min((b - a for a, b in pairwise(known)), default=0.0)
    largest = max((abs(tick) for tick in known), default=0.0)
    if step <= 0 or largest >= 1e9 or step < 1e-6:
        return tuple(f"{tick:.6g}" for tick in known)
    decimals = max(0, -math.floor(math.log10(step * 1.0001)))
    return tuple("0" if tick == 0 else f"{tick:,.{decimals}f}" for tick in known)


def moment(time_us: float) -> str:
    """Return a time to the minute, UTC; of what no calendar has, its microseconds.

    Examples
    --------
    >>> moment(90_000_000), moment(10**18)
    ('1970-01-01 00:01', '1000000000000000000 µs')
    """
    if not _FIRST_US <= time_us <= _LAST_US:
        return f"{time_us:.0f} µs"
    at = _EPOCH + timedelta(microseconds=int(time_us))
    return f"{at.year:04}-{at:%m-%d %H:%M}"


def time_ticks(start_us: float, end_us: float, most: int = 8) -> tuple[tuple[float, str], ...]:
    """Return round UTC times between two, with what to write at each: the first says the year, or of which day it is.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> [label for _, label in time_ticks(0, 3 * day, 4)], [label for _, label in time_ticks(10 * day, 200 * day, 8)]
    (['1 Jan 1970', '2 Jan', '3 Jan', '4 Jan'], ['Feb 1970', 'Mar', 'Apr', 'May', 'Jun', 'Jul'])
    """
    start, end = max(start_us, _FIRST_US), min(end_us, _LAST_US)
    if not start < end:
        return ()
    for width in _WIDTHS:
        shift = _MONDAY if width % (7 * _DAY) == 0 else 0
        first, last = math.ceil((start - shift) / width), math.floor((end - shift) / width)
        if last - first + 1 <= most:
            return _labelled([place * width + shift for place in range(first, last + 1)], width)
    begin, until = (_EPOCH + timedelta(microseconds=int(bound)) for bound in (start, end))
    for months in _MONTHS:
        first, last = -(-_month(begin) // months), _month(until) // months
        if last - first > most:
            continue
        places = [place * months for place in range(first, last + 1) if 12 <= place * months < 12 * 10_000]
        times = [time for time in (_time_of(place) for place in places) if start <= time <= end]
        if len(times) <= most:
            return _labelled(times, months * 31 * _DAY)
    return ()


def _month(at: datetime) -> int:
    return 12 * at.year + at.month - 1


def _time_of(month: int) -> int:
    return (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def _labelled(times: list[int], width: int) -> tuple[tuple[float, str], ...]:
    out = []
    for place, time in enumerate(times):
        at = _EPOCH + timedelta(microseconds=time)
        year = f" {at.year}" if place == 0 else ""
        if width >= 365 * _DAY or (width > 14 * _DAY and at.month == 1):
            label = str(at.year)
        elif width > 14 * _DAY:
            label = f"{at:%b}{year}"
        elif width >= _DAY or (at.hour, at.minute, at.second) == (0, 0, 0):
            label = f"{at.day} {at:%b}{year if width >= _DAY else ''}"
        else:
            clock = f"{at:%H:%M:%S}" if width < _MINUTE else f"{at:%H:%M}"
            label = f"{at.day} {at:%b} {clock}" if place == 0 else clock
        out.append((float(time), label))
    return tuple(out)
