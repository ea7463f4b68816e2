"""The bins of a column, learned from its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from training.profiles.bins import ColumnBins
from training.profiles.occurrences import occurrences

QUANTILES = 10
POINT_MASS = 0.08
FEW_VALUES = 12
TOP_CATEGORIES = 30
_HOURS = tuple(float(h) for h in range(0, 25, 2))


def learn_bins(name: str, values: npt.NDArray[Any], *, is_time: bool = False) -> ColumnBins:
    """Return the bins of a column of numbers or texts; of times (epoch seconds) two hours of the day each."""
    if values.dtype == object:
        return ColumnBins(name, "categorical", categories=_top_categories(values))
    return ColumnBins(name, "numeric", edges=_HOURS, part="hour") if is_time else ColumnBins(name, "numeric", edges=numeric_edges(values))


def _top_categories(values: npt.NDArray[Any]) -> tuple[str, ...]:
    counted = occurrences(values)
    counted.pop(None, None)
    top = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:TOP_CATEGORIES]
    return tuple(category for category, _ in top)


def numeric_edges(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return bin edges for a numeric column: a bin a value when there are few, else tenths; heavy values stand alone.

    Examples
    --------
    >>> numeric_edges(np.array([0.0, 1.0, 1.0]))[:2]
    (0.0, 0.5)
    >>> len(numeric_edges(np.arange(1000.0)))
    11
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ()
    distinct, counts = np.unique(finite, return_counts=True)
    last = float(np.nextafter(distinct[-1], np.inf))
    if len(distinct) <= FEW_VALUES:
        middles = (distinct[:-1] + distinct[1:]) / 2
        return tuple(sorted({float(distinct[0]), *middles.tolist(), last}))
    heavy = distinct[counts >= POINT_MASS * len(finite)]
    light = finite[~np.isin(finite, heavy)]  # more than FEW_VALUES cannot all be heavy
    pieces = round(QUANTILES * len(light) / len(finite))
    inner = np.quantile(light, np.linspace(0, 1, pieces + 1)[1:-1], method="higher")
    own = [edge for v in heavy.tolist() for edge in (v, float(np.nextafter(v, np.inf)))]
    return tuple(sorted({float(distinct[0]), *inner.tolist(), *own, last}))
