"""Some labels and an estimate of all rows joined: prediction-powered inference with a tuned weight (pure)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
LEAST_LABELS = 50
"""Labels from which on they are joined with the estimate."""
FEWEST_STRETCHES = 5  # with labels: of fewer, left out one at a time, no error is known


class Powered(NamedTuple):
    """A mean loss from labels and estimates.

    Attributes
    ----------
    weight
        What the estimate counts, 0 (labels alone) to 1.
    apart
        By how many standard errors what was estimated of labelled rows differs from what was estimated of the others.
    """

    value: float
    half: float
    weight: float
    apart: float


def powered_mean(labelled: Floats, loss: Floats, guess: Floats, others: Floats, guess_of_others: Floats) -> Powered | None:
    """Return the mean loss of all rows of some neighbouring buckets, with half the width of its 95 % interval.

    ``L + w (F - f)``: L is the mean loss of labelled rows, f what was estimated of them, F what was estimated of the others. The weight is
    the one of least variance, ``w = -cov(L, F - f) / var(F - f)``, cut to 0 and 1. Variances are those of a jackknife that leaves out one
    bucket at a time, since rows of one bucket are alike: rows that are all independent give the weight of the paper.

    Parameters
    ----------
    labelled, others
        Rows with and without a label by bucket, shape (buckets,).
    loss, guess, guess_of_others
        Of each bucket the mean loss of its labelled rows, what was estimated of these, and of the others; anything where there are none.

    Returns
    -------
    None with fewer than 50 labels, or five buckets that have some, or where no row lacks a label.

    References
    ----------
    Angelopoulos, Duchi, Zrnic, "PPI++: efficient prediction-powered inference" (2023), sections 2 and 6 (power tuning).

    Examples
    --------
    >>> n, loss = np.full(8, 25.0), np.tile([0.1, 0.3], 4)
    >>> both = powered_mean(n, loss, loss + 0.1, np.full(8, 400.0), np.full(8, 0.3))
    >>> round(both.value, 3), round(both.weight, 3), round(both.half, 3)
    (0.2, 1.0, 0.0)
    """
    has_labels = labelled > 0
    if labelled.sum() < LEAST_LABELS or has_labels.sum() < FEWEST_STRETCHES or not others.sum():
        return None
    own, of_estimate = _left_out(labelled, loss), _left_out(others, guess_of_others) - _left_out(labelled, guess)
    both = np.stack([own, of_estimate])[:, 1:]
    stretches = int((has_labels | (others > 0)).sum())
    away = both[:, has_labels | (others > 0)]
    away = away - away.mean(axis=1, keepdims=True)
    covariance = (stretches - 1) / stretches * (away @ away.T)
    weight = float(np.clip(-covariance[0, 1] / covariance[1, 1], 0.0, 1.0)) if covariance[1, 1] > 0 else 1.0
    variance = covariance[0, 0] + 2 * weight * covariance[0, 1] + weight**2 * covariance[1, 1]
    freedom = int(has_labels.sum()) - 2  # one is spent on the weight
    half = float(special.stdtrit(freedom, 0.975)) * math.sqrt(max(float(variance), 0.0))
    apart = abs(float(of_estimate[0])) / math.sqrt(covariance[1, 1]) if covariance[1, 1] > 0 else 0.0
    return Powered(float(own[0] + weight * of_estimate[0]), half, weight, apart)


def _left_out(rows: Floats, means: Floats) -> Floats:
    """Return the mean over all buckets, then over all but each, shape (buckets + 1,)."""
    sums = np.where(rows > 0, rows * np.where(rows > 0, means, 0.0), 0.0)
    n, total = float(rows.sum()), float(sums.sum())
    left = np.maximum(n - rows, 1e-12)
    return np.concatenate([[total / n], (total - sums) / left])
