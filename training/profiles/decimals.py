"""How many decimals numbers are written with: a unit that changed on the way leaves digits that were never there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.schema.rows import Columns
from training.schema.schema import Schema

MOST_DECIMALS, FEWEST_DECIMALS = 6, -3
AGREEING = 0.999
"""The least share of the values that have as many decimals as a column is said to have, or fewer."""
STRETCHES, STRAYING = 100, 0.05
"""Of so many stretches of time this part may have more: a feed that once came otherwise says little of how numbers are written."""
_SAMPLE, _LEAST_ROWS, _LEAST_STRETCH = 20_000, 50, 20
_TOLERANCE = 1e-3  # of the last digit; what floats cannot tell is not called finer
_NOTHING = 1e-12  # is zero, as sums of floats come out
_LARGEST = 1e11  # beyond it a float has no digit to spare


def learn_decimals(columns: Columns, schema: Schema, among: Collection[str]) -> tuple[tuple[str, int], ...]:
    """Return the numbers among some features that are written with at most six decimals, each with how many.

    The newer half of the rows says it, of many 20,000 of them: how numbers were written long ago says little of how they are now.
    Numbers that are all whole tens, hundreds or thousands have -1, -2 or -3. Nothing is said of a column with fewer than 50 values
    there that are not zero.
    """
    findings = []
    for feature in schema.features:
        if feature.kind not in ("numeric", "integer") or feature.name not in columns or feature.name not in among:
            continue
        values = columns[feature.name]
        values = values[len(values) // 2 :]
        values = values[np.unique(np.linspace(0, max(len(values) - 1, 0), min(len(values), _SAMPLE)).astype(np.intp))]
        values = values[np.isfinite(values)]
        is_one_value = len(values) == 0 or bool(np.all(values == values[0]))
        values = values[values != 0]  # which has any number of decimals
        digits = None if is_one_value or len(values) < _LEAST_ROWS else _digits(values)
        if digits is not None:
            findings.append((feature.name, digits))
    return tuple(findings)


def is_finer(values: npt.NDArray[np.float64], digits: int) -> npt.NDArray[np.bool_]:
    """Return which values have more decimals than `digits`; a missing one has none.

    Examples
    --------
    >>> is_finer(np.array([0.3, 0.25, np.nan, np.inf, 4e30]), 1).tolist()
    [False, True, False, False, False]
    >>> is_finer(np.array([300.0, 160.0]), -2).tolist()  # whole hundreds
    [False, True]
    """
    scaled = np.abs(values) * 10.0**digits
    with np.errstate(invalid="ignore"):
        is_between = (np.abs(scaled - np.rint(scaled)) > _TOLERANCE) & (scaled < _LARGEST)
        return is_between | ((scaled < 0.5) & (scaled > _NOTHING))


def count_finer(columns: Mapping[str, npt.NDArray[Any]], decimals: Iterable[tuple[str, int]]) -> npt.NDArray[np.float64]:
    """Return of how many of its numbers a row has more decimals than usual, shape (n_rows,)."""
    finer: npt.NDArray[np.float64] = np.sum([is_finer(columns[name], digits) for name, digits in decimals], axis=0, dtype=np.float64)
    return finer


def _digits(values: npt.NDArray[np.float64]) -> int | None:
    return next((d for d in range(FEWEST_DECIMALS, MOST_DECIMALS + 1) if _are_written(is_finer(values, d))), None)


def _are_written(finer: npt.NDArray[np.bool_]) -> bool:
    """Return whether next to no value in time order is finer, or only those of a few stretches of time."""
    stretches = np.array_split(finer, min(STRETCHES, max(1, len(finer) // _LEAST_STRETCH)))
    straying = np.mean([stretch.mean() > 1 - AGREEING for stretch in stretches])
    return bool(finer.mean() <= 1 - AGREEING or straying <= STRAYING)
