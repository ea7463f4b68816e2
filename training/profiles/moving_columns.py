"""Features that move by themselves: functions of a part of model time, and numbers that run with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.profiles.occurrences import is_none
from training.schema.calendar import calendar_parts, local_seconds
from training.schema.rows import Columns
from training.schema.schema import Schema

PARTS = {"quarter": "Y", "weekday": "W", "month": "Y", "hour": "D", "day": "M", "week": "Y", "dayofyear": "Y", "year": ""}
"""The parts a feature may be a function of, the coarsest first, each with the unit of time in which it comes round."""
AGREEING = 0.99
"""The least share of rows that are as a function of time has them."""
NO_PART = -1
_NAMED = {"day": "day of the month", "dayofyear": "day of the year"}
_LEAST_ROWS, _SAMPLE, _MOST_VALUES = 50, 50_000, 400
_PLAIN_OFFSETS = (0.0, -1.0)  # parts counted from one or from zero
_LEAST_FOR_AN_OFFSET = 4  # so many values in step with the time are no accident, whatever the distance
_BETTER = 0.1  # of the rows that always guessing the commonest value misses, a function misses at most this share
_RUNNING, _RUNNING_PART, _LEAST_RUNNING = 0.999, 0.95, 100
_ONE_WAY, _LEAST_STEPS = 0.98, 6
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class CalendarColumn:
    """A feature whose value follows from the time of its row; counted as the rows that differ from that.

    Attributes
    ----------
    part
        The part of the time: a key of `PARTS`.
    offset
        The value is the part and this; None where it is looked up.
    values
        The value by part. A part that the reference never had says nothing: no value of it differs.
    zone
        The clock the part is read from; None for UTC.

    Examples
    --------
    >>> month = CalendarColumn("m", "month", offset=0.0)
    >>> month.differs(np.array([1.0, 1.0, np.nan]), np.array([0, 31 * 86_400_000_000, 0])).tolist()
    [0.0, 1.0, nan]
    """

    name: str
    part: str
    offset: float | None = None
    values: tuple[tuple[int, float | str | None], ...] = ()
    zone: str | None = None

    @property
    def remark(self) -> str:
        """Say in a few words what it is."""
        part, clock = _NAMED.get(self.part, self.part), "" if self.zone is None else f" in {self.zone}"
        return f"follows from the {part} of a row's time{clock}: watched by the rows that differ from it"

    @property
    def sentence(self) -> str:
        """Say what it is."""
        return f"{self.name} {self.remark}"

    def differs(self, column: npt.NDArray[Any], time_us: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return 1 where a row is not as its time says, else 0, and NaN where nothing is known, shape (n,)."""
        part = part_of(time_us, self.part, self.zone)
        if self.offset is not None:
            return np.where(np.isnan(column), np.nan, (column != part + self.offset) & (part != NO_PART))
        is_text = column.dtype == object
        n_parts = max(part.max(initial=0), *(key for key, _ in self.values)) + 1
        table = np.full(n_parts + 1, None if is_text else np.nan, dtype=column.dtype)  # the last is for times without a part
        for key, value in self.values:
            table[key] = value
        expected = table[part]
        missing, silent = (is_none(column), is_none(expected)) if is_text else (np.isnan(column), np.isnan(expected))
        return np.where(missing, np.nan, (column != expected) & ~silent)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        values = [list(pair) for pair in self.values]
        return {"name": self.name, "part": self.part, "offset": self.offset, "values": values, "zone": self.zone}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CalendarColumn:
        """Read what `to_dict` wrote."""
        values = tuple((int(key), value) for key, value in stored["values"])
        return cls(stored["name"], stored["part"], stored["offset"], values, stored["zone"])


RUNS = "runs with time: counted, but not watched"


def running_sentence(name: str) -> str:
    """Say what a running column is."""
    return f"{name} {RUNS}"


def moving_remarks(columns: Columns, time_us: npt.NDArray[np.int64], schema: Schema) -> dict[str, str]:
    """Say in a few words of each feature that moves by itself how it does; parameters as `learn_moving`."""
    calendar, running = learn_moving(columns, time_us, schema)
    return {column.name: column.remark for column in calendar} | dict.fromkeys(running, RUNS)


def part_of(time_us: npt.NDArray[np.int64], part: str, zone: str | None) -> npt.NDArray[np.int64]:
    """Return a part of times as whole numbers, shape (n,); `NO_PART` of times that are too far away to have one."""
    seconds = local_seconds((time_us // 1_000_000).astype(np.float64), zone)
    parts = calendar_parts(seconds, (part,))[0]
    whole: npt.NDArray[np.int64] = np.where(np.isnan(parts), NO_PART, parts).astype(np.int64)
    return whole


def learn_moving(columns: Columns, time_us: npt.NDArray[np.int64], schema: Schema) -> tuple[tuple[CalendarColumn, ...], tuple[str, ...]]:
    """Find the features that move by themselves in rows in time order, of many rows in 50,000 spread over all.

    Parameters
    ----------
    time_us
        Where these are no times but the order of a file, no feature is one of the calendar.

    Returns
    -------
    Those of the calendar, and the names of the running ones. Features of the kind ``datetime`` are neither: of them the hour of the day
    is counted.

    Notes
    -----
    A feature is of the calendar where 99 % of its rows are as one function of a part of the time has them, always guessing its
    commonest value misses ten times as many, and at least half of the rows lie in parts that came round, 99 % of them with the same
    value each time; a number that is a part and a constant need not have come round. It runs where its rank correlation with the
    time is at least .999, and .95 in each quarter of the rows, or where it goes one way over at least six values (2 % of the way back).
    """
    chosen = np.unique(np.linspace(0, len(time_us) - 1, min(len(time_us), _SAMPLE)).astype(np.intp))
    times = _Times(time_us[chosen], None if schema.time is None else schema.time.zone) if schema.is_dated(int(time_us[0])) else None
    calendar: list[CalendarColumn] = []
    running: list[str] = []
    for feature in schema.features:
        if feature.kind == "datetime" or feature.name not in columns:
            continue
        values = columns[feature.name][chosen]
        follows = None if times is None else _calendar(feature.name, values, times)
        if follows is not None:
            calendar.append(follows)
        elif feature.is_number and _is_running(values):
            running.append(feature.name)
    return tuple(calendar), tuple(running)


class _Times:
    """The parts of some times, each computed once."""

    def __init__(self, time_us: npt.NDArray[np.int64], zone: str | None) -> None:
        self._time_us, self.zone = time_us, zone
        self._parts: dict[str, npt.NDArray[np.int64]] = {}

    def part(self, part: str) -> npt.NDArray[np.int64]:
        if part not in self._parts:
            self._parts[part] = part_of(self._time_us, part, self.zone)
        return self._parts[part]

    def round_of(self, unit: str) -> npt.NDArray[np.int64]:
        """Return which day, week (from Monday), month or year it is."""
        if unit in "DW":
            local = local_seconds((self._time_us // 1_000_000).astype(np.float64), self.zone) * 1e6
            days = np.floor(local / _DAY_US).astype(np.int64)
            return days if unit == "D" else (days + 3) // 7
        return self.part("year") * 12 + (self.part("month") if unit == "M" else 0)


def _calendar(name: str, values: npt.NDArray[Any], times: _Times) -> CalendarColumn | None:
    is_text = values.dtype == object
    known = ~is_none(values) if is_text else np.isfinite(values)
    present = values[known]
    if len(present) < _LEAST_ROWS or _has_many(present):
        return None
    distinct, code = _coded(present)
    if len(distinct) > _MOST_VALUES:
        return None
    for part, unit in PARTS.items():
        of_part = times.part(part)[known]
        if of_part.min() == NO_PART:
            continue
        if not is_text and (offset := _offset(present, of_part, part)) is not None:
            return CalendarColumn(name, part, offset, (), times.zone)
        if unit and len(distinct) > 1 and _is_function(of_part, code, times.round_of(unit)[known]):
            table = tuple(_commonest(of_part, code, distinct))
            return CalendarColumn(name, part, None, table, times.zone)
    return None


def _has_many(values: npt.NDArray[Any]) -> bool:
    """Return whether some of the rows have more values already than a calendar has days."""
    return len(set(values[:: max(len(values) // 2000, 1)].tolist())) > _MOST_VALUES


def _offset(values: npt.NDArray[np.float64], part: npt.NDArray[np.int64], name: str) -> float | None:
    """Return the constant by which a number differs from a part of the time; None where it is another number."""
    away = values - part
    constant = float(np.median(away))
    if np.count_nonzero(away == constant) < AGREEING * len(away):
        return None
    n_parts = len(np.unique(part))
    if name == "year":
        return constant if constant == 0 or n_parts > 1 else None
    return constant if n_parts >= (2 if constant in _PLAIN_OFFSETS else _LEAST_FOR_AN_OFFSET) else None


def _is_function(part: npt.NDArray[np.int64], code: npt.NDArray[np.intp], of_round: npt.NDArray[np.int64]) -> bool:
    n_codes, rows = int(code.max()) + 1, len(code)
    table = np.bincount(part * n_codes + code, minlength=(int(part.max()) + 1) * n_codes).reshape(-1, n_codes)
    missed = rows - int(table.max(axis=1).sum())
    if missed > (1 - AGREEING) * rows or missed > _BETTER * (rows - int(table.sum(axis=0).max())):
        return False
    cells, cell = np.unique(of_round * 400 + part, return_inverse=True)  # one time a part came round
    pairs, n = np.unique(cell * n_codes + code, return_counts=True)
    order = np.lexsort((-n, pairs // n_codes))
    first = order[np.append(True, np.diff(pairs[order] // n_codes) != 0)]
    commonest, part_of_cell = pairs[first] % n_codes, cells % 400
    came_round = np.bincount(part_of_cell, minlength=len(table))[part_of_cell] > 1
    if np.bincount(cell)[came_round].sum() < rows / 2:
        return False
    same = commonest == table.argmax(axis=1)[part_of_cell]
    return bool(same[came_round].mean() >= AGREEING)


def _coded(values: npt.NDArray[Any]) -> tuple[list[Any], npt.NDArray[np.intp]]:
    """Return the different values, in order, and the place of each row's among them."""
    listed = values.tolist()
    distinct = sorted(set(listed))
    places = {value: place for place, value in enumerate(distinct)}
    return distinct, np.fromiter((places[value] for value in listed), np.intp, len(listed))


def _commonest(
    part: npt.NDArray[np.int64], code: npt.NDArray[np.intp], distinct: Sequence[Any]
) -> Iterator[tuple[int, float | str | None]]:
    table = np.bincount(part * len(distinct) + code, minlength=(int(part.max()) + 1) * len(distinct)).reshape(-1, len(distinct))
    for key in np.flatnonzero(table.sum(axis=1)).tolist():
        yield key, distinct[int(table[key].argmax())]


def _is_running(values: npt.NDArray[np.float64]) -> bool:
    present = values[np.isfinite(values)]
    if len(present) < _LEAST_RUNNING:
        return False
    if _goes_one_way(present):
        return True
    if abs(_rank_correlation(present[:: len(present) // _LEAST_RUNNING])) < _RUNNING_PART:  # so most columns are told quickly
        return False
    whole = _rank_correlation(present)
    quarters = np.array_split(present, 4)
    return abs(whole) >= _RUNNING and all(_rank_correlation(part) * np.sign(whole) >= _RUNNING_PART for part in quarters)


def _goes_one_way(values: npt.NDArray[np.float64]) -> bool:
    """Return whether values go up or down step by step and hardly ever back, over so many that it is no accident."""
    with np.errstate(over="ignore"):
        way, net = float(np.abs(np.diff(values)).sum()), abs(float(values[-1] - values[0]))
    return 0 < way < np.inf and net >= _ONE_WAY * way and len(np.unique(values)) >= _LEAST_STEPS


def _rank_correlation(values: npt.NDArray[np.float64]) -> float:
    """Return Spearman's correlation of values with their order; 0 where they do not vary."""
    distinct, place, n = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) < 2:
        return 0.0
    ranks = (np.cumsum(n) - n / 2)[place]
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])
