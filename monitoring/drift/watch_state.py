"""What the watch keeps between slots: counts of the windows since each kept start, and their rows by hour of the week (pure).

The state is whole numbers that are added, so it does not depend on the order in which rows come, and what is made anew
from the count ledger is equal to what was advanced slot by slot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import BinsMismatchError
from training.profiles.bins import Profile, is_derived
from training.profiles.phases import DAY_US, HOUR_US, hour_of_week, nested_widths
from training.profiles.variation import Variation, key_of

Integers = npt.NDArray[np.int64]
Row = tuple[int, int, str, Profile]
"""A bucket: its start and width in microseconds, the segment, its counts."""

MOST_BYTES = 4_000_000
MOST_STARTS = 80  # kept starts of ten minutes' slots over four years
HOURS = 168
_FAR_US = 10**17  # three thousand years
FINE_FOR_US, HOURLY_FOR_US = 2 * DAY_US, 14 * DAY_US  # older buckets are rolled up to hours, then to days
_WORD = np.dtype("<u4")
_WIDE = np.dtype("<u8")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the counts of one column of one segment stand in a row of the state."""

    segment: str
    name: str
    size: int
    offset: int

    @property
    def key(self) -> str:
        """The name people read."""
        return key_of(self.name, self.segment)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The windows since each kept start, as of a slot.

    Attributes
    ----------
    bins_id
        Of the measures counted.
    begin_us, every_us, slot_us
        The first start, the distance of slots, and the slot that was judged last.
    places
        The columns, in order.
    left_out
        Columns there was no room for: segments first, then derived columns.
    starts_us, weights_us
        Kept starts, ascending, and the model time from each to the slot after it; shape (starts,).
    counts
        Of all buckets that begin at a start or later, shape (starts, bins of all columns).
    hours
        Rows of the same by segment and hour of the week from Monday, UTC, shape (starts, segments, 168).
    """

    bins_id: str
    begin_us: int
    every_us: int
    slot_us: int
    places: tuple[Place, ...]
    left_out: tuple[str, ...]
    starts_us: Integers
    weights_us: Integers
    counts: Integers
    hours: Integers

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments watched, in order."""
        return tuple(dict.fromkeys(p.segment for p in self.places))

    @classmethod
    def begin(cls, variation: Variation, begin_us: int, every_us: int) -> State:
        """Return a state without rows that watches from `begin_us`, the bound before the first slot."""
        kept, left_out = _fitting(variation)
        sizes = [size for _, _, size in kept]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist()
        places = tuple(Place(segment, name, size, offset) for (segment, name, size), offset in zip(kept, offsets, strict=False))
        none = np.zeros(0, dtype=np.int64)
        segments = len({p.segment for p in places})
        counts, hours = np.zeros((0, offsets[-1]), np.int64), np.zeros((0, segments, HOURS), np.int64)
        return cls(variation.bins_id, begin_us, every_us, begin_us, places, left_out, none, none, counts, hours)

    def to_bytes(self) -> bytes:
        """Return all of it, at most 4 MB; equal states give equal bytes."""
        numbers = np.concatenate([self.counts.ravel(), self.hours.ravel()])
        word = _WORD if numbers.max(initial=0) <= np.iinfo(_WORD).max else _WIDE
        facts = {
            "bins_id": self.bins_id,
            "times": [self.begin_us, self.every_us, self.slot_us],
            "places": [[p.segment, p.name, p.size] for p in self.places],
            "left_out": self.left_out,
            "starts_us": self.starts_us.tolist(),
            "weights_us": self.weights_us.tolist(),
            "word": word.itemsize,
        }
        return json.dumps(facts, separators=(",", ":")).encode() + b"\n" + numbers.astype(word).tobytes()

    @classmethod
    def from_bytes(cls, stored: bytes) -> State:
        """Read what `to_bytes` wrote."""
        head, _, body = stored.partition(b"\n")
        facts: dict[str, Any] = json.loads(head)
        numbers = np.frombuffer(body, _WORD if facts["word"] == _WORD.itemsize else _WIDE).astype(np.int64)
        places, offset = [], 0
        for segment, name, size in facts["places"]:
            places.append(Place(segment, name, size, offset))
            offset += size
        starts = np.array(facts["starts_us"], dtype=np.int64)
        counts = numbers[: len(starts) * offset].reshape(len(starts), offset)
        hours = numbers[counts.size :].reshape(len(starts), len({p.segment for p in places}), HOURS)
        weights = np.array(facts["weights_us"], dtype=np.int64)
        begin_us, every_us, slot_us = facts["times"]
        return cls(facts["bins_id"], begin_us, every_us, slot_us, tuple(places), tuple(facts["left_out"]), starts, weights, counts, hours)


def _fitting(variation: Variation) -> tuple[list[tuple[str, str, int]], tuple[str, ...]]:
    """Return segment, name and size of the columns there is room for, in the order of `variation`, and the keys of the others."""

    def rank(place: int) -> tuple[bool, bool, int]:
        column = variation.columns[place]
        return bool(column.segment), is_derived(column.name), place

    room, kept, segments = MOST_BYTES // (MOST_STARTS * _WORD.itemsize), set(), set()
    for place in sorted(range(len(variation.columns)), key=rank):
        column = variation.columns[place]
        needed = column.cells.shape[1] + (0 if column.segment in segments else HOURS)
        if needed <= room:
            room -= needed
            kept.add(place)
            segments.add(column.segment)
    chosen = [(c.segment, c.name, c.cells.shape[1]) for i, c in enumerate(variation.columns) if i in kept]
    return chosen, tuple(c.key for i, c in enumerate(variation.columns) if i not in kept)


def thin(starts_us: Integers, slot_us: int, every_us: int) -> Integers:
    """Return the starts that are kept as of a slot: the farther back, the farther apart.

    The distance of starts is about an eighth to a quarter of their age, and starts that are kept now were kept at each slot
    before: widths are nested. Those older than two days lie on whole hours, than fourteen on whole days, as what was rolled up.

    Examples
    --------
    >>> hours = thin(np.arange(24) * HOUR_US, 24 * HOUR_US, HOUR_US) // HOUR_US
    >>> hours.tolist()
    [0, 4, 8, 10, 12, 14, 16, 17, 18, 19, 20, 21, 22, 23]
    """
    ages = slot_us - starts_us
    widths, hourly, daily = _widths(every_us)
    wide = widths[np.maximum(np.searchsorted(widths, ages // 4, side="right") - 1, 0)]
    least = np.where(ages > HOURLY_FOR_US, daily, np.where(ages > FINE_FOR_US, hourly, every_us))
    kept: Integers = starts_us[starts_us % np.maximum(wide, least) == 0]
    return kept


@lru_cache(maxsize=64)
def _widths(every_us: int) -> tuple[Integers, int, int]:
    """Return the nested widths of a distance of slots, and the first of them that are whole hours and whole days."""
    widths = nested_widths(every_us, _FAR_US)
    hourly, daily = (next(w for w in widths if w % whole == 0) for whole in (HOUR_US, DAY_US))
    return np.array(widths, dtype=np.int64), hourly, daily


def advance(state: State, slot_us: int, rows: Iterable[Row], removed: Iterable[Row] = ()) -> State:
    """Return the state as of a later slot.

    Parameters
    ----------
    slot_us
        One slot on, or several: all rows of the ledger at once make the state anew.
    rows
        Buckets that became known since the state's slot; a late one is counted in the windows of all starts up to it.
    removed
        Buckets counted before that count no more.

    Raises
    ------
    BinsMismatchError
        A bucket was counted under other bins.
    ValueError
        The slot is not after the state's, a bucket begins after it, or rows were removed that were not counted.
    """
    if slot_us <= state.slot_us:
        raise ValueError(f"slot {slot_us} is not after the state's, {state.slot_us}")
    new = np.arange(state.slot_us, slot_us, state.every_us, dtype=np.int64)
    kept = thin(np.concatenate([state.starts_us, new]), slot_us, state.every_us)
    old = np.searchsorted(state.starts_us, kept)
    is_old = kept < state.slot_us
    counts = np.zeros((len(kept), state.counts.shape[1]), dtype=np.int64)
    hours = np.zeros((len(kept), *state.hours.shape[1:]), dtype=np.int64)
    counts[is_old], hours[is_old] = state.counts[old[is_old]], state.hours[old[is_old]]
    for sign, some in ((1, rows), (-1, removed)):
        _add(replace(state, slot_us=slot_us, starts_us=kept, counts=counts, hours=hours), sign, some)
    if min(counts.min(initial=0), hours.min(initial=0)) < 0:
        raise ValueError("more rows were removed from a window than it holds")
    return replace(
        state, slot_us=slot_us, starts_us=kept, weights_us=np.minimum(state.every_us, slot_us - kept), counts=counts, hours=hours
    )


def _add(state: State, sign: int, rows: Iterable[Row]) -> None:
    """Add buckets, in place, to the windows of all starts at or before them."""
    places = {s: (i, [p for p in state.places if p.segment == s]) for i, s in enumerate(state.segments)}
    by_last: dict[int, tuple[Integers, Integers]] = {}
    for bucket_us, width_us, segment, profile in rows:
        if profile.bins_id != state.bins_id:
            raise BinsMismatchError(f"a bucket counted under bins {profile.bins_id} cannot be added to a watch of bins {state.bins_id}")
        if bucket_us >= state.slot_us:
            raise ValueError(f"a bucket of {bucket_us} is not known at slot {state.slot_us}")
        last = int(np.searchsorted(state.starts_us, bucket_us, side="right")) - 1
        if last < 0 or segment not in places:
            continue
        if last not in by_last:
            by_last[last] = np.zeros(state.counts.shape[1], np.int64), np.zeros(state.hours.shape[1:], np.int64)
        counts, hours = by_last[last]
        number, columns = places[segment]
        for place in columns:
            if place.name in profile.counts:
                counts[place.offset : place.offset + place.size] += profile.counts[place.name]
        hours[number] += hours_of(bucket_us, width_us, profile)
    _add_from_the_last(state, sign, by_last)


def _add_from_the_last(state: State, sign: int, by_last: dict[int, tuple[Integers, Integers]]) -> None:
    """Add what was counted by the last start whose window holds it: windows of earlier starts hold it too."""
    lasts = sorted(by_last, reverse=True)
    counts, hours = np.zeros(state.counts.shape[1], np.int64), np.zeros(state.hours.shape[1:], np.int64)
    for last, before in pairwise([*lasts, -1]):
        counts += by_last[last][0]
        hours += by_last[last][1]
        state.counts[before + 1 : last + 1] += sign * counts
        state.hours[before + 1 : last + 1] += sign * hours


def hours_of(bucket_us: int, width_us: int, profile: Profile) -> Integers:
    """Return the rows of a bucket by hour of the week, shape (168,).

    The hour is counted in ``@hour`` where buckets are shorter than a day; without it all rows are of the bucket's first.
    """
    out = np.zeros(HOURS, dtype=np.int64)
    first = int(hour_of_week(np.array([bucket_us]))[0])
    if "@hour" in profile.counts and width_us <= DAY_US:
        hour = np.arange(24)
        out[(first + (hour - first) % 24) % HOURS] = profile.counts["@hour"][:24]
    else:
        out[first] = profile.rows
    return out
