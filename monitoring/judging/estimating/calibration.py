"""How often a class came true where it was said to be so likely: learned from labelled rows, whole and without each block (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from monitoring.judging.performance.outcome_sums import SCORE_BINS, OutcomeSums

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The share of rows of a class, by bin of its probability.

    Attributes
    ----------
    n
        Labelled rows it was learned from.
    classes
        The classes of the model, in its order.
    shares
        By class, shape (blocks + 1, 200): learned from all rows, then without each block.
    seen
        By class the first and the last bin with rows; beyond them shares are those of the outermost ones.
    """

    n: int
    classes: tuple[str, ...]
    shares: dict[str, Floats]
    seen: dict[str, tuple[int, int]]

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(next(iter(self.shares.values()))) - 1


def learn_calibration(blocks: Sequence[OutcomeSums], classes: tuple[str, ...]) -> Calibration:
    """Return the calibration that rows of one version show.

    Parameters
    ----------
    blocks
        Sums of neighbouring buckets, at least two with rows; each is left out once.

    References
    ----------
    Zadrozny, Elkan, "Transforming classifier scores into accurate multiclass probability estimates" (KDD 2002): isotonic regression, one
    class against the rest.

    Examples
    --------
    >>> block = OutcomeSums(4, ("no", "yes"), scores={"yes": ({20: 2, 90: 1}, {90: 1})})
    >>> learned = learn_calibration([block, block], ("no", "yes"))
    >>> learned.shares["yes"].shape, learned.shares["yes"][0, [0, 20, 90, 199]].tolist(), learned.seen["yes"]
    ((3, 200), [0.0, 0.0, 0.5, 0.5], (20, 90))
    """
    shares, seen = {}, {}
    for name in classes[-1:] if len(classes) == 2 else classes:
        counts = np.zeros((2, len(blocks), SCORE_BINS))
        for number, block in enumerate(blocks):
            for side, cells in enumerate(block.scores.get(name, ({}, {}))):
                counts[side, number, list(cells)] = list(cells.values())
        whole = counts.sum(axis=1)
        others, own = np.concatenate([whole[:, None], whole[:, None] - counts], axis=1)
        if not (others[0].any() or own[0].any()):
            continue
        shares[name] = np.array([_monotone(*both) for both in zip(others, own, strict=True)])
        known = np.flatnonzero(others[0] + own[0])
        seen[name] = int(known[0]), int(known[-1])
    return Calibration(sum(block.n for block in blocks), classes, shares, seen)


def _monotone(others: Floats, own: Floats) -> Floats:
    """Return the shares that never fall from bin to bin and are nearest to the counts; between bins with rows they lie on a line."""
    rows = others + own
    known = np.flatnonzero(rows)
    if not len(known):
        return np.zeros(SCORE_BINS)
    fitted = isotonic_regression(own[known] / rows[known], weights=rows[known]).x
    return np.asarray(np.interp(np.arange(SCORE_BINS), known, fitted), dtype=np.float64)
