"""Simulated streams of counts: rows of a check in the bins of each column, with cycles, resemblance of neighbours, and changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.stats import norm

from training.profiles.phases import DAY_US
from training.profiles.variation import ColumnBlocks

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MONDAY_US = 19723 * DAY_US  # 1 January 2024
REFERENCE_DAYS = 28
TENTHS = norm.ppf(np.linspace(0, 1, 11))
CHUNK = 288


@dataclass(frozen=True)
class Stream:
    """Columns of standard normal numbers in ten bins, and of categories.

    Attributes
    ----------
    numbers, categories
        How many columns of each; those of categories have `levels` of them, the k-th as frequent as k ** -`zipf`.
    missing
        Share of missing values, by column.
    daily, weekend
        Amplitude of a sine of the day in the numbers' mean, and what it is more at weekends, in standard deviations.
    neighbours
        Correlation of each row's numbers with those of the row before.
    shifts
        Added to the mean of numbers, by column, in standard deviations.
    rows, checks_a_day
        Of a check live; of the day.
    reference_rows
        Rows of a check in the reference, on average.
    reference_checks
        Checks of the reference: 28 days, or a shorter run.
    """

    numbers: int = 12
    categories: int = 8
    levels: int = 10
    zipf: float = 0.8
    missing: dict[int, float] = field(default_factory=lambda: {1: 0.02, 5: 0.02, 15: 0.02, 18: 0.02})
    daily: float = 0.0
    weekend: float = 0.0
    neighbours: float = 0.0
    shifts: dict[int, float] = field(default_factory=dict)
    rows: int = 200
    checks_a_day: int = 144
    reference_rows: float = 50.0
    reference_checks: int | None = None

    @property
    def width_us(self) -> int:
        """Model time of a check."""
        return DAY_US // self.checks_a_day

    def changed(self, shifts: dict[int, float] | None = None, missing: dict[int, float] | None = None) -> Stream:
        """Return the stream after a change."""
        return replace(self, shifts=self.shifts | (shifts or {}), missing=self.missing | (missing or {}))

    def means(self, checks: Integers) -> Floats:
        """Return the mean of each number at checks counted from the Monday the live rows begin, shape (checks, numbers)."""
        column = np.arange(self.numbers)
        day, a_day = checks // self.checks_a_day, self.checks_a_day
        of_day = self.daily * np.sin(2 * np.pi * (checks[:, None] + column * 7 * a_day / 144) / a_day)
        of_week = self.weekend * ((day % 7 >= 5) - 2 / 7)
        shifted = np.array([self.shifts.get(j, 0.0) for j in range(self.numbers)])
        return np.asarray(of_day + of_week[:, None] + shifted)


@dataclass(frozen=True)
class World:
    """A stream as its reference sees it: what lies beyond the reference's extremes, and which categories it holds."""

    stream: Stream
    beyond: Floats
    known: tuple[npt.NDArray[np.bool_], ...]
    reference: tuple[ColumnBlocks, ...]

    @property
    def names(self) -> list[str]:
        """The columns."""
        return [b.name for b in self.reference]

    def live(self, generator: np.random.Generator, first: int, checks: int, stream: Stream | None = None) -> Iterator[tuple[Integers, ...]]:
        """Yield the counts of each check, a column each, from the check `first` on."""
        stream = stream or self.stream
        draw = _chains(stream) if stream.neighbours else _independent
        for start in range(first, first + checks, CHUNK):
            at = np.arange(start, min(start + CHUNK, first + checks))
            yield from zip(*draw(generator, stream, self, at, np.full(len(at), stream.rows)), strict=True)


Draw = Callable[[np.random.Generator, Stream, World, Integers, Integers], list[Integers]]


def make_world(generator: np.random.Generator, stream: Stream) -> World:
    """Draw a reference: the last `reference_checks` before the Monday on which live rows begin."""
    checks = stream.reference_checks or REFERENCE_DAYS * stream.checks_a_day
    at = np.arange(-checks, 0)
    whole = round(stream.reference_rows * checks)
    rows = generator.multinomial(whole, np.full(checks, 1 / checks)) if stream.reference_rows < 1 else np.full(checks, whole // checks)
    known = tuple(np.ones(stream.levels, bool) for _ in range(stream.categories))
    inside = World(stream, np.zeros((stream.numbers, 2)), known, ())
    draw = _chains(stream) if stream.neighbours else _independent
    counts = draw(generator, stream, inside, at, rows)
    beyond = generator.exponential(1 / whole, (stream.numbers, 2))
    for j in range(stream.categories):
        drawn = counts[stream.numbers + j]
        top = np.argsort(-drawn.sum(axis=0)[:-2], kind="stable")[:30]
        known[j][:] = np.isin(np.arange(stream.levels), top) & (drawn.sum(axis=0)[:-2] > 0)
        counts[stream.numbers + j] = _as_known(drawn, known[j])
    start_us = MONDAY_US + at[rows > 0] * stream.width_us
    names = [f"number{j}" for j in range(stream.numbers)] + [f"category{j}" for j in range(stream.categories)]
    blocks = tuple(
        ColumnBlocks(name, "", j < stream.numbers, start_us, stream.width_us, c[rows > 0])
        for j, (name, c) in enumerate(zip(names, counts, strict=True))
    )
    return World(stream, beyond, known, blocks)


def _as_known(counts: Integers, known: npt.NDArray[np.bool_]) -> Integers:
    """Return counts of categories with those the reference does not hold in "other"."""
    inner, other, missing = counts[:, :-2], counts[:, -2:-1], counts[:, -1:]
    return np.concatenate([inner[:, known], other + inner[:, ~known].sum(axis=1, keepdims=True), missing], axis=1)


def _independent(generator: np.random.Generator, stream: Stream, world: World, at: Integers, rows: Integers) -> list[Integers]:
    means, out = stream.means(at), []
    for j in range(stream.numbers):
        inner = np.diff(norm.cdf(TENTHS - means[:, j, None]), axis=1)
        inner[:, [0, -1]] -= world.beyond[j]
        missing = stream.missing.get(j, 0.0)
        shares = np.concatenate([inner, np.broadcast_to(world.beyond[j], (len(at), 2))], axis=1) * (1 - missing)
        out.append(generator.multinomial(rows, np.append(shares, np.full((len(at), 1), missing), axis=1)))
    return out + _categories(generator, stream, world, rows)


def _categories(generator: np.random.Generator, stream: Stream, world: World, rows: Integers) -> list[Integers]:
    shares = np.arange(1, stream.levels + 1) ** -stream.zipf
    shares /= shares.sum()
    out = []
    for j in range(stream.categories):
        missing = stream.missing.get(stream.numbers + j, 0.0)
        drawn = generator.multinomial(rows, np.concatenate([shares * (1 - missing), [0.0, missing]]))
        out.append(_as_known(drawn, world.known[j]) if not world.known[j].all() else drawn)
    return out


def _chains(stream: Stream) -> Draw:
    """Return a draw of rows each of which resembles the one before; it remembers the last. All checks have as many rows."""
    last: list[Floats] = []
    correlation = stream.neighbours

    def draw(generator: np.random.Generator, stream: Stream, world: World, at: Integers, rows: Integers) -> list[Integers]:
        if not last:
            last.append(generator.standard_normal((1, stream.numbers)))
        noise = generator.standard_normal((int(rows.sum()), stream.numbers)) * np.sqrt(1 - correlation**2)
        values, _ = lfilter([1.0], [1.0, -correlation], noise, axis=0, zi=correlation * last[0])
        last[0] = values[-1:]
        values = values.reshape(len(at), -1, stream.numbers) + stream.means(at)[:, None]
        missing = generator.random(values.shape) < np.array([stream.missing.get(j, 0.0) for j in range(stream.numbers)])
        values[missing] = np.nan
        numbers = [_binned(np.ascontiguousarray(values[:, :, j]), world.beyond[j]) for j in range(stream.numbers)]
        return numbers + _categories(generator, stream, world, rows)

    return draw


def _binned(values: Floats, beyond: Floats) -> Integers:
    """Count values of shape (checks, rows) in tenths, below and above what the reference holds, and missing."""
    low, high = norm.ppf(beyond[0]), -norm.ppf(beyond[1])
    edges = [low, *TENTHS[1:-1], high]
    at_least = np.stack([np.count_nonzero(values >= edge, axis=1) for edge in edges], axis=1)
    known = values.shape[1] - np.count_nonzero(np.isnan(values), axis=1)
    inner = at_least[:, :-1] - at_least[:, 1:]
    return np.column_stack([inner, known - at_least[:, 0], at_least[:, -1], values.shape[1] - known])
