"""How much each row counts when a model is fitted: by the share of its class, by its age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import has_fit_parameter

from training.clock import duration_us
from training.policies import Weighing
from training.schema.rows import Rows

WEIGHT = "sample_weight"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of some rows.

    Attributes
    ----------
    rows
        Shape (n,), 1 in the mean, so that a setting such as a penalty means what it means without weights.
    classes
        How many times as much each class counts as by its share; empty where classes are not weighed.
    """

    rows: Floats
    classes: Mapping[str, float] = field(default_factory=dict)


def weigh(rows: Rows, weighing: Weighing) -> Weights:
    """Return what labelled rows weigh for a fit on them.

    A row that is `half_life` older than the newest of them counts half; ``balanced`` classes weigh the same in sum, ages included.

    Examples
    --------
    >>> rows = Rows({}, np.array(["a", "a", "a", "b"], object), np.zeros(4, np.int64))
    >>> weigh(rows, Weighing("balanced")).rows.round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    weights = np.ones(len(rows))
    if weighing.half_life is not None:
        ages = (rows.time_us.max() - rows.time_us) / duration_us(weighing.half_life)
        weights = np.exp2(-np.minimum(ages, 1000.0))  # beyond, it is nothing
    classes: dict[str, float] = {}
    if weighing.class_weight is not None:
        names, place = np.unique(rows.labels.astype(str), return_inverse=True)
        factors = weights.sum() / (len(names) * np.maximum(np.bincount(place, weights), np.finfo(np.float64).tiny))
        weights = weights * factors[place]
        classes = dict(zip(names.tolist(), factors.tolist(), strict=True))
    return Weights(weights / weights.mean(), classes)


def weight_argument(estimator: Any) -> str | None:
    """Return the name by which an estimator's ``fit`` takes weights: its own, or that of the last step of a pipeline; None for none.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from sklearn.pipeline import make_pipeline
    >>> weight_argument(Ridge()), weight_argument(make_pipeline(Ridge())), weight_argument(KNeighborsRegressor())
    ('sample_weight', 'ridge__sample_weight', None)
    """
    if has_fit_parameter(estimator, WEIGHT):
        return WEIGHT
    if not getattr(estimator, "steps", None):
        return None
    name, last = estimator.steps[-1]
    inner = weight_argument(last) if hasattr(last, "fit") else None
    return None if inner is None else f"{name}__{inner}"
