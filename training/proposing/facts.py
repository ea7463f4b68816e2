"""What is known of the cells of one column after all of them were looked at; memory does not grow with the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MOST_COUNTED = 5_000
_MOST_LETTERS = 4 << 20


class Signs(NamedTuple):
    """How numbers are written: the sign before decimals, and the one between groups of three digits (None: no groups)."""

    decimal: str
    thousands: str | None


PLAIN_SIGNS = Signs(".", None)
SIGNS = tuple(
    Signs(decimal, group) for group in (None, ".", ",", " ", "'", "\u00a0", "\u202f", "\u2019") for decimal in ".," if decimal != group
)
"""All ways to write numbers that are looked for, the plain one first."""


@dataclass(slots=True)
class Span:
    """How far some numbers go (microseconds, for times), their sum, and whether all are whole."""

    count: int = 0
    low: float = np.inf
    high: float = -np.inf
    total: float = 0.0
    is_whole: bool = True

    def add(self, values: npt.NDArray[np.float64]) -> Span:
        """Take in more numbers, all finite."""
        if len(values):
            self.count += len(values)
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
            self.total += float(values.sum())
            self.is_whole = self.is_whole and bool((values == np.floor(values)).all())
        return self

    @property
    def values(self) -> tuple[float, float, float]:
        """What two ways to read the same cells are compared by."""
        return self.low, self.high, self.total


@dataclass(slots=True)
class Levels:
    """How often each different text occurs, as long as there are not too many.

    Attributes
    ----------
    is_full
        Whether there are more than could be counted.
    all_differ
        Whether none occurred twice, as far as they were counted and within each part of the table.
    longest
        The letters of the longest of all.
    """

    counts: Counter[str] = field(default_factory=Counter)
    is_full: bool = False
    all_differ: bool = True
    longest: int = 0
    _letters: int = 0

    def add(self, counted: Iterable[tuple[str, int]]) -> None:
        """Take in the different texts of one part of the table."""
        for text, count in counted:
            self.longest = max(self.longest, len(text))
            if count > 1 or text in self.counts:
                self.all_differ = False
            elif self.is_full:
                continue
            if text in self.counts or not self.is_full:
                self._letters += 0 if text in self.counts else len(text)
                self.counts[text] += count
            self.is_full = self.is_full or len(self.counts) > MOST_COUNTED or self._letters > _MOST_LETTERS

    def shown(self) -> str:
        """Return how many there are, in words."""
        return f"more than {len(self.counts) - 1:,}" if self.is_full else f"{len(self.counts):,}"


@dataclass(slots=True)
class Facts:
    """What is known of one column.

    Attributes
    ----------
    n_empty
        Empty cells and nulls.
    words, infinite
        Texts that may mean missing, and those that stand for an infinite number, as they are written.
    levels
        The texts of all other cells.
    numbers
        How far the numbers go under each way to write numbers that fits every other cell.
    number_format
        ``percent`` or a currency, where that stands at some of the other cells and may be taken away.
    n_numbers
        How many of the other cells are plain numbers.
    decimals
        How many cells tell by themselves which sign stands before decimals, by that sign: of ``0.912`` and ``1.5`` the point, of ``1.234``
        none. Under None those of digits and signs that are a number in no way, such as ``1.2.3``.
    times
        The same as `numbers` for each way to write times; None before the first cell.
    outside
        Times outside the years that are taken, by way to write them; `sample_outside` is one of them.
    other
        In the plural, what a typed column holds that is no feature, such as lists.
    """

    name: str
    n_rows: int = 0
    n_empty: int = 0
    words: Counter[str] = field(default_factory=Counter)
    infinite: Counter[str] = field(default_factory=Counter)
    levels: Levels = field(default_factory=Levels)
    numbers: dict[Signs, Span] = field(default_factory=lambda: {signs: Span() for signs in SIGNS})
    n_numbers: int = 0
    decimals: Counter[str | None] = field(default_factory=Counter)
    number_format: str | None = None
    has_leading_zeros: bool = False
    has_large: bool = False
    times: dict[str | None, Span] | None = None
    outside: Counter[str | None] = field(default_factory=Counter)
    sample_outside: str = ""
    other: str | None = None
    is_boolean: bool = False
    is_text: bool = False
    sample_group: str = ""

    @property
    def n_words(self) -> int:
        """Cells with a text that may mean missing."""
        return self.words.total()

    @property
    def n_known(self) -> int:
        """Cells that hold something else."""
        return self.n_rows - self.n_empty - self.n_words

    @property
    def is_constant(self) -> bool:
        """Whether every row holds the same."""
        return len(self.levels.counts) == 1 and self.n_known == self.n_rows and not self.infinite
