"""Times and durations: aware UTC for people, int64 microseconds since the epoch for storage."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from training.errors import DurationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_UNITS = {"w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")


def to_us(moment: datetime) -> int:
    """Return microseconds since the epoch; a naive `moment` is taken as UTC.

    Examples
    --------
    >>> to_us(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Return the aware UTC time of `microseconds` since the epoch.

    Examples
    --------
    >>> from_us(86400000000).isoformat()
    '1970-01-02T00:00:00+00:00'
    """
    return EPOCH + timedelta(microseconds=int(microseconds))


def duration_us(duration: timedelta) -> int:
    """Return a duration in microseconds.

    Examples
    --------
    >>> duration_us(timedelta(seconds=2))
    2000000
    """
    return duration // MICROSECOND


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``14d``, ``6h``, ``30m``, ``45s``, ``2w`` or ``1d12h``.

    Raises
    ------
    DurationError
        When `text` is not a sequence of numbers with the units w, d, h, m, s, or is zero.

    Examples
    --------
    >>> parse_duration("1d12h")
    datetime.timedelta(days=1, seconds=43200)
    """
    compact = text.strip().replace(" ", "")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise DurationError(f"{text!r} is not a duration; write a number and a unit such as 30s, 15m, 6h, 14d or 2w")
    total = sum(round(float(number) * _UNITS[unit]) for number, unit in parts)
    if total == 0:
        raise DurationError(f"{text!r} lasts no time; a duration must be longer than zero")
    try:
        return timedelta(microseconds=total)
    except OverflowError:
        raise DurationError(f"{text!r} is longer than a calendar can hold") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it, and model files write it: in days at the most.

    Examples
    --------
    >>> format_duration(timedelta(days=14))
    '14d'
    >>> format_duration(timedelta(hours=36))
    '1d12h'
    """
    rest = duration_us(duration)
    sign, rest = ("-", -rest) if rest < 0 else ("", rest)
    parts = []
    for unit in "dhm":
        count, rest = divmod(rest, _UNITS[unit])
        parts += [f"{count}{unit}"] if count else []
    if rest or not parts:
        parts.append(f"{rest // 1_000_000}{f'.{rest % 1_000_000:06}'.rstrip('.0')}s")
    return sign + "".join(parts)
