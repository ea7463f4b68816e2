"""How a time is written: ISO 8601, a pattern, or a number in a named unit; in UTC or a named zone. Read the same everywhere."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from training.clock import from_us, to_us
from training.schema.spellings import plain_minus

UNITS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1, "epoch_ns": 0.001}
"""Formats that are numbers since 1970, each with the microseconds of its unit."""
YYYYMMDD = "yyyymmdd"
EARLIEST_US = to_us(datetime(1900, 1, 1, tzinfo=UTC))
LATEST_US = to_us(datetime(2201, 1, 1, tzinfo=UTC)) - 1
YEARS = "1900 to 2200"
"""The years a time may lie in: a sentinel such as 9999-12-31 would end the time of a model for good."""

_PROBE = datetime(2023, 11, 28, 21, 56, 43, 123456, tzinfo=UTC)
_MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)
_DAY = re.compile(r"\d{8}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"0\d{7}", re.ASCII)
_WRITTEN_AS_FLOAT = re.compile(r"\d+\.0*", re.ASCII)
_DAYS = (19_000_000, 22_010_000)
"""From the first to the last of them, whole numbers begin with a year and are days; nobody means a summer's month of 1970 by them."""
_DIGITS_ONLY = re.compile(r"%Y(%[mdHMSj])*", re.ASCII)
_PARTS = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)
PART = "\x1f"
"""What stands between the parts of a time that files have in several columns."""


def problem_with(written: str | None, zone: str | None) -> tuple[str, str] | None:
    """Return the key (``format`` or ``zone``) of a way to write times that makes no sense, and why; None when all is well.

    Examples
    --------
    >>> problem_with("%d/%m/%Y", "Europe/Berlin"), problem_with("%d/%m", None)
    (None, ('format', "'%d/%m' names no year"))
    """
    if written is not None and written not in UNITS and written != YYYYMMDD:
        if "%" not in written:
            return "format", f"{written!r} is none of: {', '.join(UNITS)}, {YYYYMMDD}, and no pattern such as '%d/%m/%Y'"
        try:
            read = datetime.strptime(_PROBE.strftime(written), written).replace(tzinfo=UTC)
        except ValueError as error:
            return "format", f"{written!r} is no pattern that can be read: {error}"
        if read.year != _PROBE.year:
            return "format", f"{written!r} names no year"
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (LookupError, ValueError, OSError):
            return "zone", f"{zone!r} is no zone of the time zone database, such as Europe/Berlin"
        if written in UNITS:
            return "zone", f"means nothing for {written}, which counts from 1970 in UTC"
    return None


class RefusedTimeError(ValueError):
    """A time that is written well and is none that is taken; the message is the reason."""


class TimeFormat:
    """One way to write times.

    Parameters
    ----------
    written
        None for ISO 8601 and seconds since 1970, but a whole number such as 20260131 is a day, written as text or not; else a key of
        `UNITS`, ``yyyymmdd``, or a pattern of `datetime.strptime`.
    zone
        Where the clock of times without an offset stood; None for UTC.

    Examples
    --------
    >>> TimeFormat().text_us("1970-01") == TimeFormat().text_us("1970-01-01T01:00+01:00") == TimeFormat().number_us(0) == 0
    True
    >>> TimeFormat().number_us(20260131) == TimeFormat().cell_us("20260131") == TimeFormat().text_us("2026-01-31")
    True
    >>> TimeFormat("%d/%m/%Y", "Europe/Berlin").text_us("02/01/1970") // 3_600_000_000
    23
    >>> TimeFormat(zone="Europe/Berlin").text_us("2026-03-29T02:30")
    Traceback (most recent call last):
    training.schema.times.RefusedTimeError: this hour does not exist in Europe/Berlin
    """

    __slots__ = ("_is_digits", "_is_plain", "unit", "written", "zone")

    def __init__(self, written: str | None = None, zone: str | None = None) -> None:
        self.written = written
        self.unit = UNITS.get(written or "epoch_s")
        self.zone = None if zone is None else ZoneInfo(zone)
        self._is_plain = written is None and zone is None
        self._is_digits = written is not None and (written == YYYYMMDD or _DIGITS_ONLY.fullmatch(written) is not None)

    @property
    def wanted(self) -> str:
        """Say in words how a time is written."""
        if self.written is None:
            return "a time (ISO 8601, or seconds since 1970)"
        return f"a time ({self.written})"

    def text_us(self, text: str) -> int:
        """Read a JSON string, in microseconds; ValueError when it is none or outside the years."""
        if self._is_plain:  # the short way of nearly all
            try:
                microseconds = to_us(datetime.fromisoformat(text))
            except (ValueError, OverflowError):
                pass
            else:
                if EARLIEST_US <= microseconds <= LATEST_US:
                    return microseconds
        return self._checked(self._moment(text))

    def moment_us(self, moment: datetime) -> int:
        """Read a time of a typed column, of the zone if it has none, as far as it could be written; ValueError as for `text_us`."""
        microseconds = self._checked(moment)
        return microseconds if self.unit is not None else self.text_us(self.write(microseconds))  # type: ignore[arg-type]

    def cell_us(self, text: str) -> int:
        """Read a text cell: as `text_us`, and numbers where numbers are taken."""
        number = self.number_in(text)
        return self.text_us(text) if number is None else self.number_us(number)

    def number_in(self, text: str) -> float | None:
        """Return the number that a text cell stands for; None where it is text in JSON as well."""
        text = plain_minus(text.strip())
        if self.unit is None:
            is_number = self._is_digits and _WRITTEN_AS_FLOAT.fullmatch(text) is not None
        else:
            is_day_of_no_year = self.written is None and _LEADING_ZERO.fullmatch(text) is not None
            is_number = _NUMBER.fullmatch(text) is not None and not is_day_of_no_year
        return float(text) if is_number else None

    def number_us(self, number: float) -> int:
        """Read a number, in microseconds; ValueError when numbers are no such times or it is outside the years."""
        if self.unit is None or self._is_day(number):
            return self.text_us(self._digits(number))
        try:
            scaled = float(number) * self.unit
        except OverflowError:
            scaled = math.inf
        if not math.isfinite(scaled) or not EARLIEST_US <= round(scaled) <= LATEST_US:
            raise RefusedTimeError(f"the year is not in {YEARS}")
        return round(scaled)

    def numbers_us(self, numbers: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Read numbers, and return beside their microseconds which of them are times."""
        if self.unit is None:
            return self._each_us(numbers)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.rint(numbers * self.unit)
        is_time = (scaled >= EARLIEST_US) & (scaled <= LATEST_US)
        is_day = self.are_days(numbers)
        if is_day.any():
            scaled[is_day], is_time[is_day] = self._each_us(numbers[is_day])
        return scaled, is_time

    def are_days(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which numbers are days and no seconds since 1970, where both are taken."""
        if self.written is not None:
            return np.zeros(len(numbers), dtype=bool)
        are_days: npt.NDArray[np.bool_] = (numbers >= _DAYS[0]) & (numbers < _DAYS[1]) & (numbers == np.floor(numbers))
        return are_days

    def _each_us(self, numbers: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        distinct, places = np.unique(numbers, return_inverse=True)
        known = np.full(len(distinct), np.nan)
        for place, number in enumerate(distinct.tolist()):
            try:
                known[place] = self.number_us(number)
            except ValueError:
                continue
        microseconds = known[places.reshape(-1)]
        return microseconds, ~np.isnan(microseconds)

    def joined_us(self, text: str) -> int:
        """Read the parts of a time, joined by `PART`: by the pattern, or year, month, day, hour, minute, second; or a date and a time."""
        parts = [part.strip() for part in text.split(PART)]
        if self.written is not None:
            return self.cell_us(" ".join(parts))
        if all(map(_PARTS.fullmatch, parts)):
            year, month, day, *clock = [*(int(part.partition(".")[0]) for part in parts), *([1] if len(parts) == 2 else [])]
            hour, minute, second = [*clock, 0, 0, 0][:3]
            return self._checked(datetime(year, month, day, hour, minute, second))  # noqa: DTZ001 - `_checked` gives it the zone
        return self.text_us("T".join(parts))

    def is_repeated(self, microseconds: int) -> bool:
        """Return whether the clock of the zone shows this time twice; it was read as the first."""
        if self.zone is None:
            return False
        local = from_us(microseconds).astimezone(self.zone)
        return local.utcoffset() != local.replace(fold=1).utcoffset()

    def write(self, microseconds: int) -> str | float | int:
        """Write a time the way it is read."""
        if self.written is not None and self.unit is not None:
            if self.unit < 1:
                return microseconds * round(1 / self.unit)
            number = microseconds / self.unit
            return int(number) if number.is_integer() else number
        moment = from_us(microseconds)
        if self.written is None:
            return moment.isoformat()
        local = moment if self.zone is None else moment.astimezone(self.zone)
        return local.strftime("%Y%m%d" if self.written == YYYYMMDD else self.written)

    def _moment(self, text: str) -> datetime:
        if self.written is None:
            try:
                return datetime.fromisoformat(text)
            except ValueError:
                text = plain_minus(text.strip())
                return datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text)
        if self.unit is not None:
            raise ValueError("a number is wanted")
        text = text.strip()
        if self.written == YYYYMMDD:
            if not _DAY.fullmatch(text):
                raise ValueError("eight digits are wanted")
            return datetime.fromisoformat(text)
        return datetime.strptime(text, self.written)  # noqa: DTZ007 - `_checked` gives it the zone

    def _checked(self, moment: datetime) -> int:
        try:
            if self.zone is not None and moment.tzinfo is None:
                moment = self._located(moment, self.zone)
            microseconds = to_us(moment)
        except OverflowError:
            raise RefusedTimeError(f"the year is not in {YEARS}") from None
        if not EARLIEST_US <= microseconds <= LATEST_US:
            raise RefusedTimeError(f"the year is not in {YEARS}")
        return microseconds

    @staticmethod
    def _located(moment: datetime, zone: ZoneInfo) -> datetime:
        local = moment.replace(tzinfo=zone)
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
            raise RefusedTimeError(f"this hour does not exist in {zone.key}")
        return local

    def _is_day(self, number: float) -> bool:
        return self.written is None and _DAYS[0] <= number < _DAYS[1] and number == int(number)

    def _digits(self, number: float) -> str:
        """Return the digits of a whole number, where a time is written in digits that start with the year."""
        if not (self._is_digits or self._is_day(number)) or not math.isfinite(number) or number != int(number):
            raise ValueError("a text is wanted")
        return str(int(number))


@lru_cache(maxsize=256)
def time_format(written: str | None, zone: str | None) -> TimeFormat:
    """Return the way to write times of that ``format`` and ``zone``, made once."""
    return TimeFormat(written, zone)
