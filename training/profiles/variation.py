"""What the reference teaches of its own movements: phases of the day and the week, and how restless its blocks of time are.

Rows of a stream are not drawn one by one from one urn. Where the hours of the day or the days of the week differ, a
window must be compared with reference rows of its own phase; where rows of one block resemble each other beyond that,
a window says less than its number of rows. Both are learned from the reference, once, at training.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training.profiles.bins import Bins, Profile, rank_scores
from training.profiles.phases import CELLS, DAY_US, HOUR_US, Phase, cell_of, hour_of_week, nested_widths

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_WHERE = " where "
LONGEST_US = 28 * DAY_US
MOST_BLOCKS = 36_000
FEWEST_BLOCKS = 8
FEWEST_DAYS, FEWEST_WEEKS = 8, 4
LEVEL = 0.001  # what chance does in fewer than this share of columns is not called chance
_STAYS = 0.7  # of the excess a row that is still there in blocks twice as long; of independent levels, half
FEWEST_ROWS = 8  # a bin with fewer rows in the reference says nothing of how restless it is


@dataclass(frozen=True, slots=True, eq=False)
class ColumnBlocks:
    """Counts of one column in blocks of time.

    Attributes
    ----------
    segment
        The rows counted: "" for all, else such as "district=centre".
    is_ordered
        Whether the bins have an order: those of numbers (then below, above, missing), not categories.
    start_us
        Start of each block, a multiple of `width_us`, ascending, shape (n,); blocks without rows may be left out.
    counts
        Whole numbers, shape (n, size).
    """

    name: str
    segment: str
    is_ordered: bool
    start_us: Integers
    width_us: int
    counts: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Excess:
    """How restless blocks of one length are.

    Attributes
    ----------
    ratio
        Variance of a block's mean over that of as many independent rows, less one.
    rows
        Rows of such a block.
    lasts
        Whether longer blocks are no steadier, as far as the reference is long enough to tell: levels that come and stay.
    freedom
        Degrees of freedom of `ratio`: about the number of levels it was learned from.
    """

    length_us: int
    ratio: float
    rows: float
    lasts: bool = False
    freedom: float = 1e9

    @property
    def a_row(self) -> float:
        """The excess for each row: the same for all lengths over which a level stays."""
        return self.ratio / self.rows


@dataclass(frozen=True, slots=True, eq=False)
class ColumnVariation:
    """The reference of one column, by phase, with its restlessness.

    Attributes
    ----------
    cells
        Counts by phase, shape (1, size), (24, size) by hour, (7, size) from Monday, or (168, size); UTC.
    excess
        By length of block, what chance does not explain; empty where it explains all.
    """

    name: str
    segment: str
    is_ordered: bool
    phase: Phase
    cells: Integers
    excess: tuple[Excess, ...] = ()

    @property
    def key(self) -> str:
        """The name people read, with the segment where it is not all rows."""
        return key_of(self.name, self.segment)

    @property
    def total(self) -> Integers:
        """Counts of all phases together, shape (size,)."""
        return np.asarray(self.cells.sum(axis=0), dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "name": self.name,
            "segment": self.segment,
            "is_ordered": self.is_ordered,
            "phase": self.phase,
            "cells": self.cells.tolist(),
            "excess": [[e.length_us, e.ratio, e.rows, e.lasts, e.freedom] for e in self.excess],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ColumnVariation:
        """Read what `to_dict` wrote."""
        cells = np.array(stored["cells"], dtype=np.int64)
        excess = tuple(Excess(*values) for values in stored["excess"])
        return cls(stored["name"], stored["segment"], stored["is_ordered"], stored["phase"], cells, excess)


@dataclass(frozen=True, slots=True, eq=False)
class Variation:
    """What is watched, with its reference.

    Attributes
    ----------
    is_enough
        Whether there were blocks of time enough to learn from; without them nothing can be called drift.
    """

    bins_id: str
    columns: tuple[ColumnVariation, ...]
    is_enough: bool

    def with_columns(self, columns: Iterable[ColumnVariation]) -> Variation:
        """Replace columns by others of the same name and segment."""
        new = {c.key: c for c in columns}
        return replace(self, columns=tuple(new.get(c.key, c) for c in self.columns))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {"bins_id": self.bins_id, "is_enough": self.is_enough, "columns": [c.to_dict() for c in self.columns]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Variation:
        """Read what `to_dict` wrote."""
        return cls(stored["bins_id"], tuple(ColumnVariation.from_dict(c) for c in stored["columns"]), stored["is_enough"])


def key_of(name: str, segment: str) -> str:
    """Return how a column of a segment is called; a name that would be read as another one stands in quotes, as JSON writes it.

    Examples
    --------
    >>> key_of("wind", ""), key_of("wind", "district=centre"), key_of("wind where place=hill", "")
    ('wind', 'wind where district=centre', '"wind where place=hill"')
    """
    is_plain = not name.startswith('"') and (name + _WHERE).index(_WHERE) == len(name)
    spelled = name if is_plain else json.dumps(name, ensure_ascii=False)
    return f"{spelled}{_WHERE}{segment}" if segment else spelled


def parts_of_key(key: str) -> tuple[str, str]:
    """Return the column and the segment that `key_of` made a key of.

    Examples
    --------
    >>> parts_of_key("wind"), parts_of_key("wind where district=centre"), parts_of_key('"wind where place=hill"')
    (('wind', ''), ('wind', 'district=centre'), ('wind where place=hill', ''))
    """
    if key.startswith('"'):
        try:
            quoted, end = json.JSONDecoder().raw_decode(key)
        except json.JSONDecodeError:
            end = -1
        if key[end:].startswith(_WHERE) or end == len(key):
            return str(quoted), key[end + len(_WHERE) :]  # else of a release that put nothing in quotes
    name, _, segment = key.partition(_WHERE)
    return name, segment


def base_width_us(bucket_us: int, span_us: int) -> int:
    """Return the width of the blocks to learn from: that of a bucket, or wider where that would make too many.

    Examples
    --------
    >>> base_width_us(60_000_000, 28 * DAY_US) // 60_000_000, base_width_us(60_000_000, 365 * DAY_US) // 60_000_000
    (2, 60)
    """
    wide_enough = span_us / MOST_BLOCKS
    return next(w for w in nested_widths(bucket_us, max(2 * span_us, bucket_us)) if w >= wide_enough)


def learn_variation(bins_id: str, columns: Iterable[ColumnBlocks], known: Variation | None = None) -> Variation:
    """Learn from columns one at a time; an iterator may make each only when it is asked for.

    Parameters
    ----------
    known
        What is known of the same columns: for lengths of which these blocks are too few, its excess holds.
    """
    excess = {} if known is None else {(c.segment, c.name): c.excess for c in known.columns}
    learned, most = [], 0
    for blocks in columns:
        learned.append(learn_column(blocks, excess.get((blocks.segment, blocks.name), ())))
        most = max(most, len(blocks.start_us))
    return Variation(bins_id, tuple(learned), most >= FEWEST_BLOCKS)


def column_blocks(bins: Bins, blocks: Sequence[tuple[int, Profile]], width_us: int, segment: str = "") -> Iterator[ColumnBlocks]:
    """Yield the columns of profiles of blocks, each profile with its start in ascending order; pseudo columns of the clock are left out."""
    for column in bins.columns:
        own = [(start, profile.counts[column.name]) for start, profile in blocks if column.name in profile.counts]
        if own and column.name != "@hour":
            starts = np.array([start for start, _ in own], dtype=np.int64)
            yield ColumnBlocks(column.name, segment, column.kind == "numeric", starts, width_us, np.array([c for _, c in own]))


def learn_column(blocks: ColumnBlocks, known: Sequence[Excess] = ()) -> ColumnVariation:
    """Learn the phase of one column, its counts by phase, and the excess of its blocks' variance after the phase.

    Parameters
    ----------
    known
        Excess of the column in other rows, which holds for lengths of which these blocks are too few.
    """
    counts = np.asarray(blocks.counts, dtype=float)
    contrasts = _contrasts(counts.sum(axis=0), blocks.is_ordered)
    phase = _phase(counts, blocks, contrasts)
    cell = cell_of(hour_of_week(blocks.start_us), phase)
    cells = np.zeros((CELLS[phase], counts.shape[1]), dtype=np.int64)
    np.add.at(cells, cell, np.asarray(blocks.counts, dtype=np.int64))
    excess, tested_us = _excess(counts, cell, cells, blocks, contrasts) if len(counts) >= FEWEST_BLOCKS else ((), 0)
    if rows := float(counts.sum()):  # a segment may have none
        excess += tuple(_of_these_rows(e, rows, _span_us(blocks)) for e in known if e.length_us > tested_us)
    return ColumnVariation(blocks.name, blocks.segment, blocks.is_ordered, phase, cells, excess)


def _span_us(blocks: ColumnBlocks) -> int:
    return int(blocks.start_us[-1] - blocks.start_us[0]) + blocks.width_us


def _of_these_rows(known: Excess, rows: float, span_us: int) -> Excess:
    """Return the excess of other rows for these: the same a row, in a block of as many as come in its length here."""
    of_block = rows * min(1.0, known.length_us / span_us)
    return replace(known, ratio=known.a_row * of_block, rows=of_block)


def _contrasts(total: Floats, is_ordered: bool) -> Floats:
    """Return the directions in which a window may differ: location, scale, each bin; shape (size, directions)."""
    single = np.eye(len(total))[:, (total >= FEWEST_ROWS) & (total < total.sum())]
    if not is_ordered or not total.sum():
        return single
    return np.concatenate([rank_scores(total / total.sum()), single], axis=1)


def _phase(counts: Floats, blocks: ColumnBlocks, contrasts: Floats) -> Phase:
    """Find which cycles show: hours of the day over at least eight days, days of the week over at least four weeks."""
    rows = counts.sum(axis=1)
    if blocks.width_us > DAY_US or not rows.any() or not contrasts.shape[1]:
        return "none"
    residual = counts @ contrasts - rows[:, None] * (counts.sum(axis=0) @ contrasts / rows.sum())
    has_hours = blocks.width_us <= HOUR_US and _is_cycle(residual, rows, blocks.start_us // HOUR_US, (24, FEWEST_DAYS, 6))
    has_days = _is_cycle(residual, rows, blocks.start_us // DAY_US, (7, FEWEST_WEEKS, 3))
    if has_hours and has_days:
        return "hour_of_week"
    return "hour" if has_hours else ("weekday" if has_days else "none")


def _is_cycle(residual: Floats, rows: Floats, time: Integers, shape: tuple[int, int, int]) -> bool:
    """Test whether places within a turn differ in the same way turn after turn.

    Each whole turn (a day of 24 places, a week of 7) from the first block on gives one amplitude and phase a harmonic; a cycle
    is what they agree on, against how much they differ. Rows that resemble their neighbours, and levels that differ from
    turn to turn, make amplitudes, but none that agree: what a test of independent rows would call a cycle.

    Parameters
    ----------
    time
        Of each block, in places.
    shape
        Places of a turn, fewest turns, harmonics looked at.

    References
    ----------
    Thomson, "Spectrum estimation and harmonic analysis" (1982), the F-test of a line: with n amplitudes it has 2 and
    2 (n - 1) degrees of freedom, and P(F > f) = (1 + f / (n - 1)) ** -(n - 1).
    """
    places, fewest, harmonics = shape
    time = time - time[0]
    is_whole = time < (time[-1] + 1) // places * places
    turns, turn = np.unique(time[is_whole] // places, return_inverse=True)
    n = len(turns)
    if n < fewest:
        return False
    where = turn * places + time[is_whole] % places
    sums = np.zeros((n * places, residual.shape[1]))
    np.add.at(sums, where, residual[is_whole])
    weight = np.bincount(where, rows[is_whole], minlength=n * places)
    means = (sums / np.maximum(weight, 1.0)[:, None]).reshape(n, places, -1)
    amplitudes = np.fft.fft(means, axis=1)[:, 1 : harmonics + 1]
    common = amplitudes.mean(axis=0)
    spread = (np.abs(amplitudes - common) ** 2).sum(axis=0)
    f = n * np.abs(common) ** 2 / np.maximum(spread / (n - 1), 1e-300)
    log_p = -(n - 1) * np.log1p(f / (n - 1))
    return bool(log_p.min() < np.log(LEVEL / log_p.size))


def _excess(counts: Floats, cell: Integers, cells: Integers, blocks: ColumnBlocks, contrasts: Floats) -> tuple[tuple[Excess, ...], int]:
    """Compare the variance of blocks, around the reference of their phase, with that of independent rows.

    A block of m rows, of a phase with n, has variance m v (1 - m / n) along a contrast of variance v, as it is part of
    the reference it is compared with. The level is shared among the lengths and directions of the column. Where a level
    stays for longer than a block, the number of levels is that of the longest blocks over which it stays.

    Returns
    -------
    What chance does not explain, and the longest length of which there are blocks enough, 0 for none.
    """
    rows = counts.sum(axis=1)
    n = np.maximum(cells.sum(axis=1), 1).astype(float)
    shares = cells / n[:, None]
    mean = shares @ contrasts
    centred = [(contrasts - m) for m in mean]
    variance = np.array([p @ c**2 for p, c in zip(shares, centred, strict=True)])
    fourth = np.array([p @ c**4 for p, c in zip(shares, centred, strict=True)]) - 3 * variance**2
    apart = (rows * (1 - rows / n[cell]))[:, None]
    x = counts @ contrasts - rows[:, None] * mean[cell]
    v, tails = apart * variance[cell], apart * np.maximum(fourth, 0.0)[cell]
    lengths = nested_widths(blocks.width_us, min(LONGEST_US, _span_us(blocks) // FEWEST_BLOCKS))
    level = LEVEL / max(len(lengths) * contrasts.shape[1], 1)
    excesses = [_excess_at(length, blocks.start_us, x, v, tails, rows, level) for length in lengths]
    tested = [e for e in excesses if e is not None]
    if not tested:
        return (), 0
    kept = [e for e in tested if e.ratio > 0]
    kept = [replace(e, freedom=min(f.freedom for f in kept[i:] if f.a_row >= _STAYS * e.a_row)) for i, e in enumerate(kept)]
    if tested[-1].ratio > 0:
        kept[-1] = replace(kept[-1], lasts=len(kept) == 1 or kept[-1].a_row >= _STAYS * kept[-2].a_row)
    return tuple(kept), tested[-1].length_us


def _excess_at(length_us: int, start_us: Integers, x: Floats, v: Floats, tails: Floats, rows: Floats, level: float) -> Excess | None:
    """Return the largest excess of any direction at a length, 0 where chance explains it; None with too few blocks of that length.

    Under independent rows the sum of squares is about a gamma variable, with the variance its fourth cumulants give; k
    blocks of that variance are worth d degrees of freedom, and the mean of the true ratio given what was seen is
    d / (d - 2) times as large as what was seen.
    """
    from scipy import special  # here, since the service reads this module and needs no scipy

    first = np.flatnonzero(np.append(True, np.diff(start_us // length_us) != 0))
    squares = np.add.reduceat(x, first) ** 2
    expected = np.add.reduceat(v, first)
    sizes = np.add.reduceat(rows, first)
    total = expected.sum(axis=0)
    usable = (total > 0) & (total**2 >= FEWEST_BLOCKS * (expected**2).sum(axis=0))
    if not usable.any():
        return None
    total = np.where(usable, total, 1.0)
    seen = squares.sum(axis=0) / total
    freedom = 2 / np.maximum((2 * expected**2 + np.add.reduceat(tails, first)).sum(axis=0) / total**2, 1e-12)
    is_excess = usable & (freedom > 2) & (special.gammaincc(freedom / 2, freedom / 2 * seen) < level)
    if not is_excess.any():
        return Excess(length_us, 0.0, 1.0)
    ratio = np.where(is_excess, seen * freedom / np.maximum(freedom - 2, 1e-9), 0.0)
    largest = int(ratio.argmax())
    return Excess(length_us, float(ratio[largest]) - 1, float((sizes**2).sum() / sizes.sum()), freedom=float(freedom[largest]))
