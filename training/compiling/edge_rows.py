"""Rows made to part a compiled model from scikit-learn's: every edge the schema and the fitted pipeline have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.compiled.preparation import Floats, Numbers, Preparation
from training.schema.feature import Feature
from training.schema.rows import Columns, object_column
from training.schema.schema import Schema

MOST_EDGES = 160
MIXED_ROWS = 512
MOST_ROWS = 20_000
_ODD_CATEGORIES = ("", " ", "(missing)", "nan", "None", "0", "never seen", "\x00", "é" * 50)
_ODD_NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e-30, 16777217.0, -16777217.0, np.nan)
_ODD_TIMES = (
    0.0,
    -0.5,
    -1.0,
    0.999999,
    86399.999,
    86400.0,
    -86400.0,
    951782400.0,
    951868800.0,
    1230768000.0,
    1293839999.0,
    1609459199.0,
    1735689600.0,
    4102444800.0,
    -2208988800.0,
    1.99e11,
    -1.99e11,
    2e11,
    -2e11,
    np.nan,
)
_HUGE = (3.4e38, 3.5e38, -3.5e38, 1e39, 1e300, -1e300, 1.7e308, -1.7e308)


def edge_rows(
    schema: Schema, preparation: Preparation, thresholds: Mapping[int, Floats], base: Columns | None, seed: int
) -> list[tuple[str, Columns]]:
    """Return named groups of rows: one edge at a time, edges in all columns at once, huge values.

    Parameters
    ----------
    thresholds
        Where the estimator's answer jumps, of each column of the prepared matrix.
    base
        Rows the edges are put into; some of the edges themselves when None.

    Examples
    --------
    >>> none = np.zeros(0, int)
    >>> numbers = Numbers(("x",), (), None, np.zeros((1, 1)), none, None, np.array([0]))
    >>> schema = Schema((Feature("x", "numeric", minimum=2.0),), "y", "regression")
    >>> groups = dict(edge_rows(schema, Preparation((), numbers, 1), {}, None, seed=0))
    >>> list(groups), 2.0 in groups["edges"]["x"]
    (['edges', 'mixed edges', 'huge values'], True)
    """
    rng = np.random.default_rng(seed)
    edges = {f.name: _edges(f, preparation, thresholds, rng) for f in schema.features}
    mixed = {name: values[rng.integers(len(values), size=MIXED_ROWS)] for name, values in edges.items()}
    start = mixed if base is None or not len(next(iter(base.values()))) else {f.name: base[f.name] for f in schema.features}
    none = {f.name: _column(f, [np.nan if f.is_number else None]) for f in schema.features}
    share = max(MOST_ROWS // len(edges), len(_ODD_TIMES))
    one = [_vary(start, n, v if len(v) <= share else rng.permutation(v)[:share], rng) for n, v in edges.items()]
    groups = [("edges", _join([*one, none])), ("mixed edges", mixed)]
    huge = [_vary(start, f.name, _column(f, list(_HUGE)), rng) for f in schema.features if f.is_number]
    return [*groups, ("huge values", _join(huge))] if huge else groups


def _edges(feature: Feature, preparation: Preparation, thresholds: Mapping[int, Floats], rng: np.random.Generator) -> npt.NDArray[Any]:
    if not feature.is_number:
        known = [v for c in preparation.categories if c.name == feature.name for v in c.levels]
        return _column(feature, [*_some([*(feature.categories or ()), *known], rng), None, *_ODD_CATEGORIES])
    if feature.kind == "datetime":
        return np.array(_ODD_TIMES)
    points = [b for b in (feature.minimum, feature.maximum) if b is not None]
    wanted = np.array([*points, *_learned(preparation.numbers, feature.name)])
    jumps = _in_column(preparation, feature.name, thresholds, rng)
    values: Floats = np.concatenate([*_neighbours(jumps), *_neighbours(wanted), _ODD_NUMBERS])
    return np.asarray(values[~np.isinf(values)])


def _learned(numbers: Numbers, name: str) -> list[float]:
    """Return the fences, fill value and mean of a column."""
    if name not in numbers.sources:
        return []
    at = numbers.sources.index(name)
    known = [*(numbers.fences or ()), numbers.fill, *(numbers.scaling or ())[:1]]
    points = [float(v[at, 0]) for v in known]
    return [v for v in points if np.isfinite(v)]


def _in_column(preparation: Preparation, name: str, thresholds: Mapping[int, Floats], rng: np.random.Generator) -> Floats:
    """Return thresholds on a column in its own unit, the scaling undone."""
    numbers = preparation.numbers
    if name not in numbers.sources:
        return np.zeros(0)
    at = numbers.sources.index(name)
    jumps = thresholds.get(sum(c.table.shape[1] for c in preparation.categories) + at, np.zeros(0))
    some = np.array(_some(jumps.tolist(), rng))
    return some if numbers.scaling is None else some * numbers.scaling[1][at, 0] + numbers.scaling[0][at, 0]


def _neighbours(points: Floats) -> list[Floats]:
    """Return the points and the floats next to them, in float64 and in float32."""
    with np.errstate(over="ignore"):
        single = points.astype(np.float32)
    near = [np.nextafter(single, np.float32(side)).astype(np.float64) for side in (-np.inf, np.inf)]
    halfway = [(single.astype(np.float64) + n) / 2 for n in near]
    return [
        points,
        np.nextafter(points, -np.inf),
        np.nextafter(points, np.inf),
        single.astype(np.float64),
        *near,
        *halfway,
        *(np.nextafter(h, side) for h in halfway for side in (-np.inf, np.inf)),
    ]


def _some(values: list[Any], rng: np.random.Generator) -> list[Any]:
    """Return all values, or as many as are allowed, evenly chosen."""
    if len(values) <= MOST_EDGES:
        return list(values)
    return [values[int(i)] for i in np.sort(rng.choice(len(values), MOST_EDGES, replace=False))]


def _column(feature: Feature, values: list[Any]) -> npt.NDArray[Any]:
    if feature.is_number:
        return np.array(values, dtype=np.float64)
    return object_column(values)


def _vary(base: Columns, name: str, values: npt.NDArray[Any], rng: np.random.Generator) -> Columns:
    """Return rows of the base, each with one of the values in the column `name`."""
    at = rng.integers(len(base[name]), size=len(values))
    return {other: values if other == name else column[at] for other, column in base.items()}


def _join(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
