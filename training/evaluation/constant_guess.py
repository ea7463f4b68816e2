"""What somebody who knows only the labels would answer: the same for every row (pure)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.losses import Floats, class_index
from training.schema.costs import Costs, decide
from training.schema.prediction import Prediction
from training.schema.rows import object_column


def constant_guess(
    y: npt.NDArray[Any], classes: tuple[str, ...] | None, weights: Floats | None = None, costs: Costs | None = None
) -> Prediction:
    """Return the best constant answer to some rows, in hindsight: the shares of the classes, or the median.

    Parameters
    ----------
    y
        The labels, shape (n,), n at least 1.
    classes
        Those that a model knows, in its order; None for a regression. Labels that are none of them are left out of the shares.
    weights
        How many rows each stands for; by default one.
    costs
        What wrong decisions cost, for the class that is decided.

    Examples
    --------
    >>> constant_guess(np.array([1.0, 2.0, 9.0]), None).label.tolist()
    [2.0, 2.0, 2.0]
    >>> constant_guess(np.array(["no", "no", "no", "yes"], object), ("no", "yes")).probability[0].tolist()
    [0.75, 0.25]
    """
    each = np.ones(len(y)) if weights is None else weights
    if classes is None:
        values = np.asarray(y, np.float64)
        order = np.argsort(values, kind="stable")
        reached = each[order].cumsum()
        median = float(values[order][int(np.searchsorted(reached, reached[-1] / 2))])
        return Prediction(np.full(len(y), median))
    place = class_index(y, classes)
    shares = np.bincount(place[place >= 0], each[place >= 0], len(classes))
    shares = shares / shares.sum() if shares.sum() else np.full(len(classes), 1 / len(classes))
    probability = np.tile(shares, (len(y), 1))
    table = None if costs is None else costs.ordered(classes)
    return Prediction(object_column(classes)[decide(probability, table)], probability, classes)
