"""A second model that says what errors to expect of a regression: its mean over any rows follows from their counts by bin (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.profiles.bins import HOUR, SCORE, Bins, is_derived
from training.schema.rows import Columns

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
MOST_BINS = 64  # of one column
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # times the rows: from next to none to next to a constant


@dataclass(frozen=True, slots=True, eq=False)
class BinnedRows:
    """Labelled rows as the ledger counts them, in order of time.

    Attributes
    ----------
    places
        By column the bin of each row, shape (n,).
    sizes
        By column how many bins there are.
    error
        Absolute errors, shape (n,).
    bucket
        The number of each row's bucket, not falling.
    """

    places: dict[str, Places]
    sizes: dict[str, int]
    error: Floats
    bucket: Places


@dataclass(frozen=True, slots=True, eq=False)
class LossModel:
    """An additive model of the loss of a row and of its square: a constant, and a term for the bin of each column.

    Attributes
    ----------
    sizes
        By column, in order, how many terms it has.
    constant, terms
        Shapes (blocks + 1, 2) and (blocks + 1, 2, terms): learned from all rows, then without each block; of the loss and its square.
    has_rows
        Which bins had any row, shape (terms,).
    unexplained
        The share of the losses' variance that the models without a block leave in that block, 0 to 1.
    penalty
        The chosen one of `PENALTIES`.
    """

    n: int
    sizes: dict[str, int]
    constant: Floats
    terms: Floats
    has_rows: npt.NDArray[np.bool_]
    unexplained: float
    penalty: float

    def shares(self, counts: Mapping[str, npt.NDArray[np.int64]]) -> Floats | None:
        """Return the shares of rows by bin, in the order of `terms`; None where a column was not counted, or in other bins."""
        parts = []
        for name, size in self.sizes.items():
            counted = counts.get(name)
            if counted is None or len(counted) != size or not counted.sum():
                return None
            parts.append(counted / counted.sum())
        return np.concatenate(parts)

    def means(self, shares: Floats) -> Floats:
        """Return the mean loss, and mean squared loss, of rows: shape (blocks + 1, 2)."""
        return np.asarray(self.constant + self.terms @ shares)

    def outside(self, shares: Floats) -> float:
        """Return the share of rows in bins that no row of the reference was in, of the column that has most of them."""
        ends = np.cumsum(list(self.sizes.values()))
        return max(float(part.sum()) for part in np.split(shares * ~self.has_rows, ends[:-1]))


def binned(bins: Bins, computed: Columns, error: Floats, bucket: Places) -> BinnedRows:
    """Return rows as `learn_losses` wants them: features, what was answered and the hour, each in its bins."""
    names = [
        c.name for c in bins.columns if c.name in computed and c.size <= MOST_BINS and (c.name in (SCORE, HOUR) or _is_feature(c.name))
    ]
    columns = {name: bins.column(name) for name in names}
    return BinnedRows(
        {name: one.places(computed[name]) for name, one in columns.items()}, {n: c.size for n, c in columns.items()}, error, bucket
    )


def _is_feature(name: str) -> bool:
    return not name.startswith("@") and not is_derived(name)


def learn_losses(rows: BinnedRows, loss: Floats, block: Places) -> LossModel:
    """Fit by ridge regression; the penalty is the one whose models without a block say most about that block.

    Parameters
    ----------
    loss
        Of each row, shape (n,).
    block
        The number of each row's block, 0 to the number of blocks - 1.

    References
    ----------
    Hastie, Tibshirani, "Generalized additive models" (1990); NannyML's "Direct loss estimation" (docs, "How it works"), which fits gradient
    boosting to the loss: that must be asked row by row.

    Examples
    --------
    >>> place = np.arange(400) % 2
    >>> rows = BinnedRows({"x": place}, {"x": 2}, 1.0 + place, np.arange(400) // 20)
    >>> model = learn_losses(rows, rows.error, np.arange(400) // 80)
    >>> [round(float(model.means(np.array(shares))[0, 0]), 2) for shares in ([1.0, 0.0], [0.5, 0.5])]
    [1.0, 1.5]
    """
    n, blocks = len(loss), int(block.max()) + 1
    design = _design(rows)
    targets = np.stack([loss, loss**2], axis=1)
    parts = [block == number for number in range(blocks)]
    grams = np.array([design[part].T @ design[part] for part in parts])
    sides = np.array([design[part].T @ targets[part] for part in parts])
    left_grams, left_sides = grams.sum(axis=0) - grams, sides.sum(axis=0) - sides
    chosen, least = PENALTIES[-1], np.inf
    for penalty in PENALTIES:
        without = _solve(left_grams, left_sides, penalty * n)
        own = without[..., 0]
        errors = float((np.einsum("bp,bpq,bq->b", own, grams, own) - 2 * np.einsum("bp,bp->b", own, sides[..., 0])).sum())
        if errors < least:
            chosen, least = penalty, errors
    spread = float(((loss - loss.mean()) ** 2).sum())
    unexplained = min(1.0, max(0.0, (float(loss @ loss) + least) / spread)) if spread else 0.0
    every = np.concatenate([grams.sum(axis=0)[None], left_grams]), np.concatenate([sides.sum(axis=0)[None], left_sides])
    fitted = _solve(*every, chosen * n)
    return LossModel(
        n, rows.sizes, fitted[:, 0], np.swapaxes(fitted[:, 1:], 1, 2), np.asarray(design[:, 1:].sum(axis=0) > 0), unexplained, chosen
    )


def _design(rows: BinnedRows) -> Floats:
    """Return a column of ones, then one a bin."""
    bounds = np.cumsum([1, *rows.sizes.values()])
    design = np.zeros((len(rows.error), int(bounds[-1])))
    design[:, 0] = 1.0
    for start, places in zip(bounds.tolist(), rows.places.values(), strict=False):
        design[np.arange(len(places)), start + places] = 1.0
    return design


def mean_shares(rows: BinnedRows) -> tuple[Floats, Places]:
    """Return the shares of rows by bin in each bucket, shape (buckets, terms), and at which row each bucket begins."""
    starts = np.flatnonzero(np.diff(rows.bucket, prepend=-1))
    design = _design(rows)[:, 1:]
    return np.add.reduceat(design, starts, axis=0) / np.diff(np.append(starts, len(design)))[:, None], starts


def _solve(grams: Floats, sides: Floats, penalty: float) -> Floats:
    ridge = np.full(grams.shape[-1], penalty)
    ridge[0] = 0.0
    return np.asarray(np.linalg.solve(grams + np.diag(ridge), sides), dtype=np.float64)
