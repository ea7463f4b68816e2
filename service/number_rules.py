"""The rules of all numeric columns of a schema, checked on one matrix at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.feature import Feature

_NO = b"\0"  # a search in the bytes of a mask finds it in a tenth of the time that `all` takes for a few values
_LARGEST = float(np.finfo(np.float64).max)


class NumberRules:
    """The rules of some ``numeric`` and ``integer`` features.

    Examples
    --------
    >>> rules = NumberRules([Feature("x", "numeric", nullable=True), Feature("n", "integer", minimum=0, out_of_range="error")])
    >>> rules.taken(np.array([[np.nan], [2.0]])).tolist()
    [[nan], [2.0]]
    >>> rules.taken(np.array([[np.inf], [2.0]])), rules.taken(np.array([[1.0], [2.5]])), rules.taken(np.array([[1.0], [-1.0]]))
    (None, None, None)
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self._low = np.array([[_bound(feature, feature.minimum, -_LARGEST)] for feature in features])
        self._high = np.array([[_bound(feature, feature.maximum, _LARGEST)] for feature in features])
        self._nullable = np.array([[feature.nullable] for feature in features], dtype=bool)
        self._integers = np.array([place for place, feature in enumerate(features) if feature.kind == "integer"], dtype=np.intp)
        self._clipped = [(place, feature) for place, feature in enumerate(features) if feature.out_of_range == "clip"]

    def taken(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        """Give the same matrix, clipped in place where features say so; None when some value breaks a rule.

        Parameters
        ----------
        values
            Shape (n_features, n_rows); NaN is a missing value.
        """
        if not len(values):
            return values
        fits = (values >= self._low) & (values <= self._high)
        if _NO in fits.tobytes() and not (fits | (np.isnan(values) & self._nullable)).all():
            return None
        if len(self._integers):
            whole = values[self._integers]
            if ((whole != np.floor(whole)) & (whole == whole)).any():
                return None
        for place, feature in self._clipped:
            values[place] = feature.clipped(values[place])
        return values


def _bound(feature: Feature, bound: float | None, without: float) -> float:
    return bound if bound is not None and feature.out_of_range == "error" else without
