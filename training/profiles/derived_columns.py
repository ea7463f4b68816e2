"""Columns that are computed of a row and counted beside its features: what changes of one feature alone do not show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from training.policies import ColumnRule
from training.profiles.bins import DECIMALS, DISTANCE, HOUR, MISSING, PRODUCT, RESIDUAL, ROW, RULE
from training.profiles.decimals import count_finer, learn_decimals
from training.profiles.main_directions import MainDirections
from training.profiles.occurrences import is_none
from training.profiles.row_cells import TIME, cells_of, learn_identity
from training.schema.rows import Columns
from training.schema.schema import Schema

PAIRS, LEAST_CORRELATION = 10, 0.1
MOST_COLUMNS = 2000  # of more numbers the matrix of their correlations is too large
FARTHEST = 10.0  # standard deviations; what lies farther is taken to lie there
_SAMPLE, _LEAST_ROWS = 20_000, 50
_LEAST_SPREAD = 1e-10  # of the mean: what varies less varies by its last digits
_PARTS, _RUNS = 10, 50  # a part is every tenth of fifty runs, so that all have rows of all seasons
_CHUNK = 1 << 13  # rows at a time stay in the faster memory
_HOUR_US, _DAY_HOURS = 3_600_000_000, 24


@dataclass(frozen=True)
class DerivedColumns:
    """How the derived columns are computed, learned once from the reference.

    Attributes
    ----------
    nullable
        The features whose missing values are counted a row (``@missing``); empty for none.
    numbers, mean, scale
        The features that are standardised, with what is their mean and standard deviation; a missing value is the mean.
    directions
        Gives ``@residual`` and ``@distance``; None where there are fewer than two numbers.
    pairs
        The most correlated pairs of numbers: of each the product (``@product:a*b``).
    rules
        The bounds set by hand: 1 where a value lies outside of them, 0 where inside (``@rule:a``).
    has_hour
        Whether the hour of the day (UTC) of a row is counted (``@hour``).
    decimals
        Numbers that have so many decimals at most: how many of them have more is counted a row (``@decimals``).
    identity
        The features, and maybe the time, by which rows are told apart, or known for the same (``@row``).
    """

    nullable: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    directions: MainDirections | None = None
    pairs: tuple[tuple[str, str], ...] = ()
    rules: tuple[tuple[str, float, float], ...] = ()
    has_hour: bool = False
    decimals: tuple[tuple[str, int], ...] = ()
    identity: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns that are computed, in order."""
        first = [MISSING] if self.nullable else []
        first += [] if self.directions is None else [RESIDUAL, DISTANCE]
        last = [HOUR] if self.has_hour else []
        last += ([DECIMALS] if self.decimals else []) + ([ROW] if self.identity else [])
        return (*first, *self._products, *(RULE + name for name, _, _ in self.rules), *last)

    @cached_property
    def _products(self) -> dict[str, tuple[str, str]]:
        return {product_of(a, b): (a, b) for a, b in self.pairs}

    def is_computed_of(self, name: str, features: Collection[str]) -> bool:
        """Return whether a derived column moves where some features do: a product of one of them, or what is computed of all.

        Examples
        --------
        >>> derived = DerivedColumns(pairs=(("rain", "wind"), ("rain*wind", "cloud")))
        >>> names = ("@product:rain*wind", "@product:rain*wind*cloud", "@distance", "wind")
        >>> [derived.is_computed_of(name, {"wind"}) for name in names]
        [True, False, True, False]
        """
        pair = self._products.get(name)
        return name in (MISSING, RESIDUAL, DISTANCE) if pair is None else not set(features).isdisjoint(pair)

    def compute(self, columns: Mapping[str, npt.NDArray[Any]], time_us: npt.NDArray[np.int64]) -> Columns:
        """Return the derived columns of some rows, float64; those whose features are not all there are left out.

        What is returned of a row does not depend on the rows it comes with.
        """
        out: Columns = {}
        if self.nullable and all(name in columns for name in self.nullable):
            out[MISSING] = count_missing(columns[name] for name in self.nullable)
        if self.numbers and all(name in columns for name in self.numbers):
            out |= self._of_numbers(columns, len(time_us))
        for name, low, high in self.rules:
            if name in columns:
                values = columns[name]
                out[RULE + name] = np.where(np.isnan(values), np.nan, (values < low) | (values > high))
        if self.has_hour:
            out[HOUR] = (time_us // _HOUR_US % _DAY_HOURS).astype(np.float64)
        if self.decimals and all(name in columns for name, _ in self.decimals):
            out[DECIMALS] = count_finer(columns, self.decimals)
        identity = {**columns, TIME: time_us.astype(np.float64)} if TIME in self.identity else columns
        if self.identity and all(name in identity for name in self.identity):
            out[ROW] = cells_of([identity[name] for name in self.identity])
        return out

    def held_out(self, columns: Columns, time_us: npt.NDArray[np.int64]) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
        """Yield the derived columns of the rows they were learned from, all of them, in their order; each is computed when it is asked for.

        Directions lie nearer to the rows they were learned from than to any to come, the more columns there are for the rows: such
        rows would be a reference that nothing later is like. So what lies off them, and how far from the middle, is measured for each
        tenth of the rows by the directions of the others; runs of neighbours stay together.

        Examples
        --------
        >>> from training.schema.feature import Feature
        >>> names = [f"x{place}" for place in range(10)]
        >>> draw = np.random.default_rng(0).normal
        >>> few, many = ({name: draw(size=n) for name in names} for n in (200, 20_000))
        >>> schema = Schema(tuple(Feature(name, "numeric") for name in names), "y", "regression")
        >>> derived = DerivedColumns.learn(few, np.zeros(200, np.int64), schema, names, {}, has_hour=False)
        >>> later, learned = (derived.compute(some, some["x0"])["@residual"].mean() for some in (many, few))
        >>> held = dict(derived.held_out(few, few["x0"]))["@residual"].mean()
        >>> f"{learned / later:.1f} {held / later:.1f}"
        '0.8 1.0'
        """
        for one in self._apart():
            own = one.directions
            yield from (one.compute(columns, time_us) if own is None else one._held_out(own, columns, time_us)).items()

    def _apart(self) -> Iterator[DerivedColumns]:
        """Yield what gives these columns one after another; those of the directions together."""
        yield DerivedColumns(nullable=self.nullable)
        yield DerivedColumns(numbers=self.numbers, mean=self.mean, scale=self.scale, directions=self.directions)
        known = {name: (mean, scale) for name, mean, scale in zip(self.numbers, self.mean, self.scale, strict=True)}
        for pair in self.pairs:
            (mean, scale), (other_mean, other_scale) = known[pair[0]], known[pair[1]]
            yield DerivedColumns(numbers=pair, mean=(mean, other_mean), scale=(scale, other_scale), pairs=(pair,))
        yield from (DerivedColumns(rules=(rule,)) for rule in self.rules)
        yield from (DerivedColumns(has_hour=self.has_hour), DerivedColumns(decimals=self.decimals), DerivedColumns(identity=self.identity))

    def _held_out(self, own: MainDirections, columns: Columns, time_us: npt.NDArray[np.int64]) -> Columns:
        """Return what is measured by directions learned from other rows; `own` are those of all."""
        n_rows = len(time_us)
        out: Columns = {name: np.empty(n_rows) for name in (RESIDUAL, DISTANCE)}
        part, chosen = np.arange(n_rows) * _RUNS // n_rows % _PARTS, _sampled(n_rows)
        z = self._standardised({name: columns[name][chosen] for name in self.numbers}, slice(0, len(chosen)))
        learned = MainDirections.learn_without(z, part[chosen], _PARTS, own.n_residual)
        for number, directions in enumerate(learned):
            rows = part == number
            only = DerivedColumns(numbers=self.numbers, mean=self.mean, scale=self.scale, directions=directions)
            measured = only.compute({name: columns[name][rows] for name in self.numbers}, time_us[rows])
            for name in (RESIDUAL, DISTANCE):
                out[name][rows] = measured[name]
        return out

    def _of_numbers(self, columns: Mapping[str, npt.NDArray[Any]], n_rows: int) -> Columns:
        places = {name: place for place, name in enumerate(self.numbers)}
        pairs = [(places[a], places[b]) for a, b in self.pairs]
        residual, distance, products = np.empty(n_rows), np.empty(n_rows), np.empty((len(pairs), n_rows))
        for start in range(0, n_rows, _CHUNK):
            rows = slice(start, min(start + _CHUNK, n_rows))
            z = self._standardised(columns, rows)
            if self.directions is not None:
                residual[rows], distance[rows] = self.directions.measure(z)
            for product, (a, b) in zip(products, pairs, strict=True):
                np.multiply(z[a], z[b], out=product[rows])
        out = {} if self.directions is None else {RESIDUAL: _rounded(residual), DISTANCE: _rounded(distance)}
        return out | {product_of(a, b): product for (a, b), product in zip(self.pairs, products, strict=True)}

    def _standardised(self, columns: Mapping[str, npt.NDArray[Any]], rows: slice) -> npt.NDArray[np.float64]:
        """Return some rows of the standardised numbers, shape (n_numbers, n_rows)."""
        z = np.empty((len(self.numbers), rows.stop - rows.start))
        with np.errstate(over="ignore"):  # what is beyond all numbers lies farthest as well
            for values, name, mean, scale in zip(z, self.numbers, self.mean, self.scale, strict=True):
                np.subtract(columns[name][rows], mean, out=values)
                values *= 1 / scale
                np.minimum(values, FARTHEST, out=values)
                np.maximum(values, -FARTHEST, out=values)
                missing = np.isnan(values)
                if missing.any():
                    values[missing] = 0.0
        return z

    @classmethod
    def learn(
        cls,
        columns: Columns,
        time_us: npt.NDArray[np.int64],
        schema: Schema,
        still: Collection[str],
        rules: Mapping[str, ColumnRule],
        *,
        has_hour: bool,
        lasting: Collection[str] = (),
    ) -> DerivedColumns:
        """Learn from rows in time order, of many rows 20,000 spread over all.

        Parameters
        ----------
        still
            The features that do not move by themselves.
        lasting
            Those among them whose levels come and stay: they are not standardised.
        """
        nullable = tuple(f.name for f in schema.features if f.nullable and f.name in columns)
        whole = cls(
            nullable=nullable if len(nullable) > 1 else (),  # of one feature its own bin of missing values says the same
            rules=tuple((name, *rule.between) for name, rule in rules.items() if name in columns),
            has_hour=has_hour,
            decimals=learn_decimals(columns, schema, still),
            identity=learn_identity(columns, time_us, schema),
        )
        among = set(still) - set(lasting)
        names = [f.name for f in schema.features if f.kind in ("numeric", "integer", "boolean") and f.name in among and f.name in columns]
        chosen = _sampled(len(next(iter(columns.values()))))
        if len(chosen) < _LEAST_ROWS:
            return whole
        known = {name: values for name in names if (values := _spread_of(columns[name][chosen])) is not None}
        if not 2 <= len(known) <= MOST_COLUMNS:
            return whole
        numbers = tuple(known)
        standard = cls(numbers=numbers, mean=tuple(m for m, _ in known.values()), scale=tuple(s for _, s in known.values()))
        z = standard._standardised({name: columns[name][chosen] for name in numbers}, slice(0, len(chosen)))
        correlation = np.asarray(np.corrcoef(z))
        correlated = [(numbers[a], numbers[b]) for a, b in _most_correlated(correlation, len(chosen))]
        pairs = tuple({product_of(*pair): pair for pair in reversed(correlated)}.values())[::-1]  # of two with one name the stronger
        parts = (numbers, standard.mean, standard.scale, MainDirections.learn(correlation), pairs)
        return cls(whole.nullable, *parts, whole.rules, has_hour, whole.decimals, whole.identity)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object, without what there is none of."""
        whole = {f.name: getattr(self, f.name) for f in fields(self)}
        whole |= {name: [list(part) for part in whole[name]] for name in ("pairs", "rules", "decimals")}
        whole |= {name: list(whole[name]) for name in ("nullable", "numbers", "mean", "scale", "identity")}
        whole["directions"] = None if self.directions is None else self.directions.to_dict()
        return {name: value for name, value in whole.items() if value}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> DerivedColumns:
        """Read what `to_dict` wrote."""
        directions = stored.get("directions")
        return cls(
            nullable=tuple(stored.get("nullable", ())),
            numbers=tuple(stored.get("numbers", ())),
            mean=tuple(stored.get("mean", ())),
            scale=tuple(stored.get("scale", ())),
            directions=None if directions is None else MainDirections.from_dict(directions),
            pairs=tuple((a, b) for a, b in stored.get("pairs", ())),
            rules=tuple((name, low, high) for name, low, high in stored.get("rules", ())),
            has_hour=stored.get("has_hour", False),
            decimals=tuple((name, digits) for name, digits in stored.get("decimals", ())),
            identity=tuple(stored.get("identity", ())),
        )


def product_of(first: str, second: str) -> str:
    """Return how the product of two features is called."""
    return f"{PRODUCT}{first}*{second}"


def _sampled(n_rows: int) -> npt.NDArray[np.intp]:
    """Return the positions of the rows that derived columns are learned from: 20,000 of more, spread over all."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _SAMPLE)).astype(np.intp))


def count_missing(columns: Iterable[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """Return how many of some columns have no value, a row.

    Examples
    --------
    >>> count_missing([np.array([1.0, np.nan]), np.array(["a", None], object)]).tolist()
    [0.0, 2.0]
    """
    total: npt.NDArray[Any] = np.zeros(1)
    for place, values in enumerate(columns):
        missing = np.isnan(values) if values.dtype.kind == "f" else is_none(values)
        total = missing.astype(np.float64) if place == 0 else np.add(total, missing, out=total)
    return total


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values with the digits of 32 bits: so that equal rows are equal on other processors too, as far as can be."""
    return values.astype(np.float32).astype(np.float64)


def _spread_of(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Return mean and standard deviation of what is known; None where it does not vary."""
    finite = values[np.isfinite(values)]
    if len(finite) < _LEAST_ROWS:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(finite.mean()), float(finite.std())
    return (mean, deviation) if _LEAST_SPREAD * max(abs(mean), 1e-200) < deviation < np.inf else None


def _most_correlated(correlation: npt.NDArray[np.float64], n_rows: int) -> list[tuple[int, int]]:
    """Return the places of the most correlated pairs, without those that would be among so many if none was correlated."""
    first, second = np.triu_indices(len(correlation), 1)
    strength = np.abs(correlation[first, second])
    by_chance = (np.sqrt(2 * np.log(len(strength))) + 1) / np.sqrt(n_rows)
    order = np.argsort(-strength, kind="stable")[: min(PAIRS, int(np.count_nonzero(strength >= max(LEAST_CORRELATION, by_chance))))]
    return list(zip(first[order].tolist(), second[order].tolist(), strict=True))
