"""Old counts are added up to hours and days: what a year takes stays small, and no sum between bounds that are kept changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.count_ledger.counted_measures import read_states
from service.count_ledger.counts import KEY, Counts, put_counts, read_counts, remove_keys
from service.count_ledger.tables import bucket_counts
from service.prediction_log.forgetting import in_slices
from service.prediction_log.tables import clocks, hold_tables, lock_clock
from training.clock import duration_us
from training.storage.database import Database

LEVELS = ((timedelta(days=14), timedelta(days=1)), (timedelta(days=2), timedelta(hours=1)))
"""From which age on, in model time, buckets are added up to which width; the widest first."""
_BUCKET, _WIDTH, _KNOWN = (KEY.index(name) for name in ("bucket_us", "width_us", "known_us"))


@dataclass(frozen=True, slots=True)
class RollUp:
    """What may be added up.

    Attributes
    ----------
    bound_us
        Multiples of this are bounds of what is read: no bucket becomes wider or lies across one, and as of each of them sums stay the same.
    width_us
        The width of buckets that were counted without it.
    apart
        Ranges of model time that are set aside: a bucket that such a range cuts is left as it is.
    until_us
        How far buckets have been read one by one; None where nobody does.
    """

    bound_us: int
    width_us: int
    apart: Sequence[tuple[int, int]] = ()
    until_us: int | None = None


class _Group(NamedTuple):
    """The counts of one segment and version that become those of one bucket; known from moments of one range as wide as it."""

    bins_id: str
    start_us: int
    end_us: int
    known_us: int
    segment: str
    version: str


def widest_us(bound_us: int) -> int:
    """Return the width that the oldest buckets get at most.

    Examples
    --------
    >>> widest_us(7 * 86_400_000_000), widest_us(6 * 3_600_000_000)
    (86400000000, 21600000000)
    """
    return math.gcd(duration_us(LEVELS[0][1]), bound_us)


def roll_up(
    database: Database,
    model: str,
    rule: RollUp,
    *,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[int]:
    """Add up the old counts of a model; yields after each slice how many rows of the table went.

    Measures under which rows are being counted anew are left alone.
    """
    with database.read() as connection:
        groups = _groups(connection, model, rule)

    def some(connection: sa.Connection, most: int) -> tuple[int, bool]:
        """Add up groups until `most` rows are gone; return how many went, and whether there are more."""
        hold_tables(connection)
        lock_clock(connection, model)
        left, gone = _left_alone(connection, model), 0
        while groups and gone < most:
            group = groups.pop()
            if group.bins_id not in left:
                gone += _add_up(connection, model, group, rule)
        return gone, bool(groups)

    if groups:
        yield from in_slices(database, some, pause, clock)


def _groups(connection: sa.Connection, model: str, rule: RollUp) -> list[_Group]:
    """Find what can be added up, newest first."""
    watermark_us = connection.scalar(sa.select(clocks.c.watermark_us).where(clocks.c.model == model))
    if watermark_us is None:
        return []
    now_us = watermark_us if rule.until_us is None else min(watermark_us, rule.until_us)
    table, sizes = bucket_counts.c, dict[_Group, int]()
    youngest_us = now_us - duration_us(LEVELS[-1][0])
    chosen = sa.select(table.bins_id, table.bucket_us, table.width_us, table.known_us, table.segment, table.version)
    for bins_id, bucket_us, width_us, known_us, *of in connection.execute(
        chosen.where(table.model == model, table.bucket_us < youngest_us)
    ):
        bounds = _bounds(bucket_us, width_us or rule.width_us, now_us, rule)
        if bounds is not None:
            group = _Group(bins_id, *bounds, _floor(known_us, bounds), *of)
            sizes[group] = sizes.get(group, 0) + 1
    left = _left_alone(connection, model)
    return sorted((group for group, size in sizes.items() if size > 1 and group.bins_id not in left), key=lambda g: -g.start_us)


def _bounds(bucket_us: int, width_us: int, now_us: int, rule: RollUp) -> tuple[int, int] | None:
    """Return the bucket that some bucket becomes part of; None for none.

    Examples
    --------
    >>> hour, day = 3_600_000_000, 86_400_000_000
    >>> rule = RollUp(bound_us=day, width_us=hour)
    >>> [_bounds(at * day + hour, hour // 6, 30 * day, rule) for at in (10, 20, 29)] == [
    ...     (10 * day, 11 * day),
    ...     (20 * day + hour, 20 * day + 2 * hour),
    ...     None,
    ... ]
    True
    """
    for age, level in LEVELS:
        wide_us = math.gcd(duration_us(level), rule.bound_us)
        start_us = bucket_us // wide_us * wide_us
        end_us = start_us + wide_us
        if end_us <= now_us - duration_us(age):
            is_cut = any(a < end_us and b > start_us and not (a <= start_us and b >= end_us) for a, b in rule.apart)
            return None if is_cut or bucket_us + width_us > end_us else (start_us, end_us)
    return None


def _floor(known_us: int, bounds: tuple[int, int]) -> int:
    width_us = bounds[1] - bounds[0]
    return known_us // width_us * width_us


def _left_alone(connection: sa.Connection, model: str) -> set[str]:
    return {counted.bins_id for counted in read_states(connection, model) if counted.state == "counting"}


def _add_up(connection: sa.Connection, model: str, group: _Group, rule: RollUp) -> int:
    """Put one row in the place of those of a group; return how many are less."""
    stored = read_counts(connection, model, group.bins_id, group.start_us, group.end_us, of=(group.segment, group.version))
    parts = Counts({key: profile for key, profile in stored.items() if _belongs(key, group, rule)})
    if len(parts) < 2:
        return 0
    keys = list(parts)
    whole = parts[keys[0]]
    for key in keys[1:]:
        whole = whole.merge(parts[key])
    place = dict(zip(KEY, keys[0], strict=True)) | {
        "bucket_us": group.start_us,
        "width_us": group.end_us - group.start_us,
        "known_us": max(key[_KNOWN] for key in keys),
    }
    remove_keys(connection, keys)
    put_counts(connection, [(tuple(place.values()), whole)])
    return len(keys) - 1


def _belongs(key: tuple[Any, ...], group: _Group, rule: RollUp) -> bool:
    is_within = key[_BUCKET] + (key[_WIDTH] or rule.width_us) <= group.end_us
    return bool(is_within and _floor(key[_KNOWN], (group.start_us, group.end_us)) == group.known_us)
