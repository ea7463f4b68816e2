"""The reference laid out beside the windows of a watch: phases mixed as they are, both sides divided by how restless they are (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.drift.bets import PRIOR, Ragged, tilts
from monitoring.drift.watch_state import Place, State
from training.profiles.bins import rank_scores
from training.profiles.phases import Phase
from training.profiles.variation import ColumnVariation, Variation, key_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST_ROWS = 0.5  # what a phase without reference rows is worth
_FOR_EVER_US = 10**18
_CACHED = 30_000
_ONE_THREAD = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Phased:
    """The columns of one segment that have one kind of phase, with the reference's shares and rows by phase.

    Attributes
    ----------
    shares
        Shape (phases, bins).
    rows
        Shape (phases, columns).
    """

    phase: Phase
    segment: int
    columns: Integers
    bins: Integers
    shares: Floats
    rows: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The reference laid out as the state is: the bins of all columns one after another.

    Attributes
    ----------
    segment
        Number of each column's segment.
    phased, has_phase
        The columns that have phases, and whether one has, shape (columns,).
    total, seen
        Shares of the reference, and whether a bin was seen, shape (bins,).
    tilted
        See `bets.References`.
    lengths_us, excess_a_row, freedom
        By column, padded with 0, shape (columns, lengths).
    own_effect
        Design effect of the reference itself, shape (columns,).
    keys_of_all
        The keys, each with that of the same column in all rows.
    """

    keys: tuple[str, ...]
    columns: Ragged
    segment: Integers
    is_ordered: npt.NDArray[np.bool_]
    phased: tuple[Phased, ...]
    has_phase: npt.NDArray[np.bool_]
    rows: Floats
    total: Floats
    seen: npt.NDArray[np.bool_]
    tilted: Floats
    lengths_us: Integers
    excess_a_row: Floats
    freedom: Floats
    own_effect: Floats
    keys_of_all: tuple[tuple[str, str], ...]
    segments: tuple[str, ...]


@lru_cache(maxsize=16)
def panel_of(variation: Variation, places: tuple[Place, ...]) -> Panel:
    """Return what the reference says of the columns of a state, in their order; the last few are kept."""
    by_key = {(c.segment, c.name): c for c in variation.columns}
    columns = [by_key[p.segment, p.name] for p in places]
    size = np.array([p.size for p in places], dtype=np.int64)
    begin = np.array([p.offset for p in places], dtype=np.int64)
    totals = [c.total.astype(float) for c in columns]
    rows = np.array([t.sum() for t in totals])
    shares = [shares_of(t, unseen(t, c.is_ordered)) for c, t in zip(columns, totals, strict=True)]
    scores = [rank_scores(s) if c.is_ordered else np.zeros((len(s), 2)) for c, s in zip(columns, shares, strict=True)]
    lengths = np.zeros((len(columns), max((len(c.excess) for c in columns), default=0)), dtype=np.int64)
    a_row, freedom = np.zeros(lengths.shape), np.full(lengths.shape, math.inf)
    for i, c in enumerate(columns):
        lengths[i, : len(c.excess)] = [_FOR_EVER_US if e.lasts else e.length_us for e in c.excess]
        a_row[i, : len(c.excess)] = [e.a_row for e in c.excess]
        freedom[i, : len(c.excess)] = [e.freedom for e in c.excess]
    segments = tuple(dict.fromkeys(p.segment for p in places))
    total = np.concatenate(totals)
    segment = np.array([segments.index(p.segment) for p in places])
    return Panel(
        keys=tuple(p.key for p in places),
        columns=Ragged(begin, size),
        segment=segment,
        is_ordered=np.array([c.is_ordered for c in columns]),
        phased=tuple(_phased(columns, segment, Ragged(begin, size), shares)),
        has_phase=np.array([c.phase != "none" for c in columns]),
        rows=rows,
        total=np.concatenate(shares),
        seen=total > 0,
        tilted=tilts(np.concatenate(scores)),
        lengths_us=lengths,
        excess_a_row=a_row,
        freedom=freedom,
        own_effect=1 + np.array([max((e.ratio for e in c.excess), default=0.0) for c in columns]),
        keys_of_all=tuple((p.key, key_of(p.name, "")) for p in places),
        segments=segments,
    )


def unseen(total: Floats, is_ordered: bool) -> Floats:
    """Return rows to add to bins that are empty because the bins were made of these rows.

    Nothing of the reference lies beyond its own extremes, where 1 in n + 1 of any rows is expected: with `PRIOR` that is half a row. Nor
    has it categories but its own: what it has not seen is expected as often as what it has seen once.

    References
    ----------
    Good, "The population frequencies of species and the estimation of population parameters" (1953).

    Examples
    --------
    >>> unseen(np.array([7.0, 1.0, 1.0, 0.0, 0.0]), False).tolist()
    [0.0, 0.0, 0.0, 2.0, 0.0]
    >>> unseen(np.array([5.0, 5.0, 0.0, 0.0, 1.0]), True).tolist()
    [0.0, 0.0, 0.5, 0.5, 0.0]
    """
    extra = np.zeros(len(total))
    if is_ordered:
        extra[-3:-1] = np.where(total[-3:-1] == 0, PRIOR, 0.0)
    elif total[-2] == 0:
        extra[-2] = np.count_nonzero(total[:-2] == 1)
    return extra


def shares_of(counts: Floats, extra: Floats) -> Floats:
    """Return the shares of counts with what is unseen, along the last axis; equal ones where there is nothing."""
    whole = (counts + extra).sum(axis=-1, keepdims=True)
    return np.asarray(np.where(whole > 0, (counts + extra) / np.maximum(whole, 1e-12), 1 / counts.shape[-1]))


def _phased(columns: list[ColumnVariation], segment: Integers, places: Ragged, shares: list[Floats]) -> Iterator[Phased]:
    """Group the columns by segment and kind of phase; where the reference has no rows of a phase, its shares are those of all."""
    kinds = sorted({(int(s), c.phase) for s, c in zip(segment, columns, strict=True) if c.phase != "none"})
    for number, phase in kinds:
        own = np.array([i for i, c in enumerate(columns) if c.phase == phase and segment[i] == number])
        cells = [columns[i].cells.astype(float) for i in own]
        rows = np.stack([c.sum(axis=1) for c in cells], axis=1)
        by_cell = [
            np.where(n[:, None] > 0, shares_of(c, unseen(c.sum(axis=0), columns[i].is_ordered) * n[:, None] / max(n.sum(), 1.0)), shares[i])
            for i, c, n in zip(own, cells, rows.T, strict=True)
        ]
        bins = np.concatenate([np.arange(places.begin[i], places.begin[i] + places.size[i]) for i in own])
        yield Phased(phase, number, own, bins, np.concatenate(by_cell, axis=1), np.maximum(rows, LEAST_ROWS))


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows since each start, divided by their design effects, and the reference as it is for them.

    Shapes are (starts, bins) or (starts, columns).

    Attributes
    ----------
    freedom
        Degrees of freedom of the design effect: by Satterthwaite's rule, as the part of independent rows is known.
    """

    counts: Floats
    rows: Floats
    alpha: Floats
    reference_rows: Floats
    freedom: Floats
    is_seen: npt.NDArray[np.bool_]


def parts_of(state: State) -> Iterator[slice]:
    """Cut the starts so that what is computed of a part stays in the processor's cache."""
    step = max(1, _CACHED // max(state.counts.shape[1], 1))
    return (slice(start, start + step) for start in range(0, len(state.starts_us), step))


def windows_of(state: State, panel: Panel, part: slice) -> Windows:
    """Divide both sides by how restless the reference's own blocks are, for some of the starts.

    A window of m rows in `age` is as uncertain as 1 + max over lengths L of excess(L) m(L) / rows(L) times fewer independent
    ones, where m(L) are its rows in a block of that length, or in all of it where it is shorter or the excess lasts.
    """
    counts = state.counts[part]
    rows = np.add.reduceat(counts, panel.columns.begin, axis=1)
    age = (state.slot_us - state.starts_us[part])[:, None]
    excess, freedom = np.zeros(rows.shape), np.full(rows.shape, math.inf)
    for length, a_row, degrees in zip(panel.lengths_us.T, panel.excess_a_row.T, panel.freedom.T, strict=True):
        of_length = a_row * rows * (np.minimum(length, age) / age)
        freedom = np.where(of_length > excess, degrees, freedom)
        excess = np.maximum(excess, of_length)
    effect = 1 + excess
    shares = np.broadcast_to(panel.total, counts.shape)
    worth = np.broadcast_to(np.maximum(panel.rows, LEAST_ROWS), rows.shape)
    if panel.phased:
        shares, worth = shares.copy(), worth.copy()
        for phased in panel.phased:
            _mix(state.hours[part, phased.segment].astype(float), phased, shares, worth)
    reference_rows = worth / panel.own_effect
    size = panel.columns.size
    return Windows(
        counts=counts / np.repeat(effect, size, axis=1),
        rows=rows / effect,
        alpha=shares * np.repeat(reference_rows, size, axis=1) + PRIOR,
        reference_rows=reference_rows,
        freedom=freedom * (effect / np.maximum(excess, 1e-9)) ** 2,
        is_seen=(counts > 0) | panel.seen,
    )


def _mix(hours: Floats, phased: Phased, shares: Floats, worth: Floats) -> None:
    """Mix the phases of the reference, in place, as they are mixed in each window.

    What is mixed of n_h rows in parts w_h is worth 1 / sum(w_h^2 / n_h).
    """
    has_rows = hours.any(axis=1)
    weeks = hours[has_rows].reshape(-1, 7, 24)
    parts = {"hour": weeks.sum(axis=1), "weekday": weeks.sum(axis=2)}.get(phased.phase, hours[has_rows])
    parts /= parts.sum(axis=1, keepdims=True)
    shares[np.ix_(has_rows, phased.bins)] = _product(parts, phased.shares)
    worth[np.ix_(has_rows, phased.columns)] = 1 / _product(parts**2, 1 / phased.rows)


def _product(a: Floats, b: Floats) -> Floats:
    """Multiply matrices in pieces for which no threads are started: waking them takes longer than the product where others compute."""
    step = max(1, _ONE_THREAD // max(a.size, 1))
    return np.concatenate([a @ b[:, at : at + step] for at in range(0, b.shape[1], step)], axis=1)


def stability(windows: Windows, panel: Panel) -> Floats:
    """Return the population stability index of each window and column, less what chance adds; minus infinity without rows."""
    begin, size = panel.columns

    def sums(values: Any) -> Floats:
        return np.asarray(np.add.reduceat(values, begin, axis=1, dtype=float))

    seen = windows.is_seen
    k = sums(seen)
    expected = windows.alpha / np.repeat(windows.reference_rows + PRIOR * k, size, axis=1)
    current = (windows.counts + PRIOR) / np.repeat(np.maximum(windows.rows + PRIOR * k, PRIOR), size, axis=1)
    index = sums(np.where(seen, (current - expected) * np.log(current / expected), 0.0))
    chance = (k - 1) * (1 / windows.reference_rows + 1 / np.maximum(windows.rows, 1e-9))
    return np.where(windows.rows > 0, index - chance, -math.inf)
