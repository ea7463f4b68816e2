"""Boosted models that read the same columns, asked together: for a few rows numpy's calls cost more than the walk of the trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from training.compiled.preparation import Floats, Lookup, Numbers, all_finite
from training.compiled.tree_walk import BoostingWalker
from training.compiled.trees import TreeEngine
from training.schema.rows import Columns


@dataclass(frozen=True)
class JointBoosting:
    """What some boosted models answer to a few rows: columns are read once, and each array operation is done for all models.

    The numbers are those of `TreeEngine.answer`, to the bit: the same operations on the same values in the same order.

    Attributes
    ----------
    engines
        The m models; `joins` holds of them.
    lookups
        For each categorical column the m numbers of a value.
    fences, fill
        Low and high ones, infinite where there are none, and what stands for a missing value; shape (m, n_numbers, 1) each.
    most_columns
        Of the matrix that the trees of a model see, the number of the tree with it.
    turns
        The most trees one output of a model has.
    start
        Shape (m, n_outputs, 1): what the sums begin with.
    crossover
        Up to so many rows.
    """

    engines: tuple[TreeEngine, ...]
    walkers: tuple[BoostingWalker, ...]
    lookups: tuple[Lookup, ...]
    fences: tuple[Floats, Floats]
    fill: Floats
    most_columns: int
    turns: int
    start: Floats
    crossover: int

    @classmethod
    def of(cls, engines: Sequence[TreeEngine]) -> JointBoosting:
        """Join models, each two of which can be joined."""
        first = engines[0]
        columns = zip(*(engine.categories.lookups for engine in engines), strict=True)
        walkers = tuple(engine.walker for engine in engines if isinstance(engine.walker, BoostingWalker))
        outputs = len(first.start)
        return cls(
            tuple(engines),
            walkers,
            tuple(_joint_lookup(each) for each in columns),
            _joint_fences([engine.numbers for engine in engines]),
            np.stack([engine.numbers.fill for engine in engines]),
            max(engine.width for engine in engines) + 1,
            max(engine.trees for engine in engines) // outputs,
            np.stack([engine.start for engine in engines])[:, :, None],
            min(engine.crossover for engine in engines),
        )

    def answer(self, columns: Columns, count: int) -> Floats:
        """Return probabilities of n rows at most `crossover`, shape (m, n, k), or values, shape (m, n)."""
        models, outputs, first = len(self.engines), self.start.shape[1], self.engines[0]
        total = self._sums(self._matrices(columns, count), count).reshape(models, outputs, count).transpose(0, 2, 1)
        return first.linked(total.reshape(-1, outputs)).reshape(models, count, *(() if first.is_value else (-1,)))

    def _matrices(self, columns: Columns, count: int) -> Floats:
        """Return what the trees see, shape (m, n, most_columns); of a model that has fewer columns the others are not looked at."""
        first, models = self.engines[0], len(self.engines)
        out = np.zeros((models, count, self.most_columns))
        names, height = first.categories.names, len(first.numbers.fill)
        if names:
            values = (map(lookup.__getitem__, columns[name].tolist()) for name, lookup in zip(names, self.lookups, strict=True))
            flat = np.fromiter(chain.from_iterable(chain.from_iterable(values)), np.float64, len(names) * count * models)
            out[:, :, : len(names)] = flat.reshape(len(names), count, models).T
        numbers = np.empty((models, height, count))
        numbers[:] = raw = first.numbers.raw(columns, count)
        np.maximum(numbers, self.fences[0], out=numbers)
        np.minimum(numbers, self.fences[1], out=numbers)
        if not all_finite(numbers):
            missing = np.isnan(raw)
            np.copyto(numbers, self.fill, where=missing)
            for engine, rows in zip(self.engines, out, strict=True):
                rows[:, len(names) + height : engine.width] = missing[engine.numbers.flagged].T
            if np.isinf(numbers).any():
                raise ValueError("a value is infinite")
        out[:, :, len(names) : len(names) + height] = numbers.transpose(0, 2, 1)
        return out

    def _sums(self, matrices: Floats, count: int) -> Floats:
        """Return the sums over trees, taken tree after tree, shape (m, n_outputs * n); trees that a model has not add nothing."""
        models, outputs, width = len(self.engines), self.start.shape[1], self.most_columns
        trees = self.turns * outputs
        every, numbers = np.empty((models, trees, count, width)), np.arange(trees)[:, None]
        every[:] = matrices[:, None]
        terms = np.zeros((models, 1 + self.turns, outputs * count))
        terms[:, 0].reshape(models, outputs, count)[:] = self.start
        for engine, walker, rows, leaves in zip(self.engines, self.walkers, every, terms, strict=True):
            rows[:, :, engine.width] = numbers
            walker.walk_into(rows[: engine.trees].reshape(-1, width), leaves[1 : 1 + engine.trees // outputs].reshape(-1))
        return np.asarray(np.add.accumulate(terms, axis=1)[:, -1])


def joins(engine: Any, other: Any) -> bool:
    """Return whether two engines are boosted models that read the same columns in the same way."""
    both = (engine, other)
    if not all(isinstance(each, TreeEngine) and _is_plain(each) for each in both):
        return False
    same = [(e.categories.names, e.numbers.sources, e.numbers.times, len(e.start), e.link) for e in both]
    return bool(same[0] == same[1])


def _is_plain(engine: TreeEngine) -> bool:
    """Return whether trees ask for the levels of categories, and numbers are not scaled, as boosting leaves them."""
    return isinstance(engine.walker, BoostingWalker) and engine.tables is None and engine.numbers.scaling is None


def _joint_lookup(lookups: Sequence[Lookup]) -> Lookup:
    known: dict[Any, None] = {}
    for lookup in lookups:
        known.update(dict.fromkeys(lookup))
    return Lookup({key: tuple(lookup[key] for lookup in lookups) for key in known}, tuple(lookup.unknown for lookup in lookups))


def _joint_fences(numbers: Sequence[Numbers]) -> tuple[Floats, Floats]:
    none = np.full(numbers[0].fill.shape, np.inf)
    fences = [(-none, none) if each.fences is None else each.fences for each in numbers]
    low, high = (np.stack([each[side] for each in fences]) for side in (0, 1))
    return low, high
