"""Estimates for numbers: a model of the loss, and all that was learned beside it from the same labelled rows (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.judging.estimating.bands import (
    FEWEST_BLOCKS,
    LEAST_OF_BUCKET,
    LEAST_REFERENCE,
    LONGER,
    Estimate,
    Expected,
    Restlessness,
    band,
    blocks_of,
    excess,
    jackknife_variance,
)
from monitoring.judging.estimating.loss_model import BinnedRows, LossModel, learn_losses, mean_shares
from training.evaluation.losses import METRICS

Floats = npt.NDArray[np.float64]
OF_VALUES = ("mae", "rmse")
"""The metrics that are means of losses, or the root of one."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueEstimator:
    """What the error of a regression comes to without labels, by direct loss estimation (DLE).

    Attributes
    ----------
    metric
        `mae` or `rmse`.
    model
        Of the absolute, or squared, errors.
    restless
        How restless the reference's buckets were.
    """

    metric: str
    model: LossModel
    restless: Restlessness
    is_held_out: bool = False

    def mean_loss(self, counts: Mapping[str, npt.NDArray[np.int64]]) -> float:
        """Return the mean absolute, or squared, error that rows are expected to have; NaN where a column was not counted."""
        shares = self.model.shares(counts)
        return math.nan if shares is None else max(float(self.model.means(shares)[0, 0]), 0.0)

    def estimate(self, counts: Mapping[str, npt.NDArray[np.int64]], n: int, buckets: int = 1, block: int | None = None) -> Estimate | None:
        """Return what the metric of some rows is expected to be, with its band; see `ClassEstimator.estimate`.

        Parameters
        ----------
        counts
            Rows by bin, by column, as the ledger counts them.
        n
            How many rows they are.

        Returns
        -------
        None where a column was not counted, or in other bins.
        """
        shares = self.model.shares(counts)
        if shares is None or not n:
            return None
        expected = expected_error(self.metric, self.model, shares, n)
        if block is not None:
            expected = expected._replace(value=float(expected.left_out[block]))
        low, high = band(expected, self.restless.of(buckets), METRICS[self.metric])
        return Estimate(
            self.metric, "DLE", expected.value, low, high, n, self.model.n, self.model.outside(shares), is_held_out=self.is_held_out
        )


def expected_error(metric: str, model: LossModel, shares: Floats, n: float) -> Expected:
    """Return the mean absolute error, or root of the mean square, of rows by the shares of their bins."""
    means = model.means(shares)
    loss = np.maximum(means[:, 0], 0.0)
    variance = model.unexplained * max(float(means[0, 1]) - float(loss[0]) ** 2, 0.0) / n  # what columns explain is no chance
    if metric == "rmse":
        root = np.sqrt(loss)
        return Expected(float(root[0]), root[1:], variance / (4 * loss[0]) if loss[0] else 0.0)
    return Expected(float(loss[0]), loss[1:], variance)


def learn_value_estimator(metric: str, rows: BinnedRows) -> ValueEstimator | str:
    """Learn from matured labelled rows of one version; or say why nothing can be estimated.

    Examples
    --------
    >>> rows = BinnedRows({"x": np.zeros(40, np.intp)}, {"x": 1}, np.ones(40), np.arange(40))
    >>> learn_value_estimator("mae", rows)
    'no estimate: 40 of 500 labelled rows of this version have matured'
    """
    if metric not in OF_VALUES:
        return f"no estimate: {metric} is no mean of the rows' errors"
    n = len(rows.error)
    if n < LEAST_REFERENCE:
        return f"no estimate: {n} of {LEAST_REFERENCE} labelled rows of this version have matured"
    starts = np.flatnonzero(np.diff(rows.bucket, prepend=-1))
    sizes = np.diff(np.append(starts, n))
    of_bucket = blocks_of(sizes.tolist())
    if int(of_bucket.max()) + 1 < FEWEST_BLOCKS:
        return f"no estimate: the matured labelled rows lie in {int(of_bucket.max()) + 1} buckets, and {FEWEST_BLOCKS} are the fewest"
    loss = rows.error if metric == "mae" else rows.error**2
    model = learn_losses(rows, loss, np.repeat(of_bucket, sizes))
    return ValueEstimator(metric, model, _restlessness(metric, model, rows, loss, of_bucket))


def _restlessness(metric: str, model: LossModel, rows: BinnedRows, loss: Floats, block: npt.NDArray[np.intp]) -> Restlessness:
    shares, starts = mean_shares(rows)
    sizes = np.diff(np.append(starts, len(loss))).astype(np.float64)
    means = np.add.reduceat(loss, starts) / sizes
    of_bucket = _excess(metric, model, shares, means, sizes, block)
    blocks = int(block.max()) + 1
    if len(starts) < LONGER * blocks:
        return Restlessness(of_bucket, of_bucket)
    totals = np.asarray(np.bincount(block, sizes), dtype=np.float64)
    joined = np.stack([np.bincount(block, column * sizes) for column in shares.T], axis=1) / totals[:, None]
    of_block = _excess(metric, model, joined, np.bincount(block, means * sizes) / totals, totals, np.arange(blocks, dtype=np.intp))
    return Restlessness(of_bucket, of_block, len(starts) / blocks)


def _excess(metric: str, model: LossModel, shares: Floats, means: Floats, sizes: Floats, block: npt.NDArray[np.intp]) -> float:
    realised, guessed, variances = [], [], []
    for own, mean, n, number in zip(shares, means.tolist(), sizes.tolist(), block.tolist(), strict=True):
        if n >= LEAST_OF_BUCKET:
            expected = expected_error(metric, model, own, n)
            realised.append(math.sqrt(mean) if metric == "rmse" else mean)
            guessed.append(float(expected.left_out[number]))
            variances.append(expected.variance + jackknife_variance(expected.left_out))
    return excess(realised, guessed, variances)
