"""Bets against the reference: how much likelier the counts of a window are under a change than without one (pure).

Null: the rows of a window are drawn as those of the reference, of which only so many are known: Dirichlet-multinomial with the
reference's counts and a half. Alternatives, averaged: the reference's shares tilted in location and in scale, each bin alone
more or less often, and a Dirichlet mixture around them. The ratio of the two is an e-value: without a change it is at most 1 on
average, so it is large by chance seldom (Markov), and the average of e-values is one whatever their dependence.

A window of several phases: let m_h of its m rows be of phase h, with shares p_h, and let t_k >= 0 be a tilt with
sum_k q_k t_k = 1 under the mixture q = sum_h (m_h / m) p_h. The bet prod_k t_k ** W_k has the mean
prod_h (sum_k p_hk t_k) ** m_h <= (sum_h (m_h / m) sum_k p_hk t_k) ** m = 1, as a geometric mean is at most the arithmetic.
So counts are betted on as if each row were of the mixture, though each is of its own phase.

References
----------
Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022); Shin, Ramdas and Rinaldo, "E-detectors" (2024).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CONCENTRATIONS = np.array([30.0, 200.0, 1500.0, 10000.0])
TILTS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
FACTORS = np.array([0.5, 1.5, 3.0, 10.0])
_LEAST = -600.0
PRIOR = 0.5  # rows added to each bin of the reference: Jeffreys
ORDERED, UNORDERED = (0.25, 0.5, 0.25), (0.5, 0.0, 0.5)
"""What is put on the Dirichlet mixture, on the tilts, on single bins."""


class Ragged(NamedTuple):
    """Columns of different numbers of bins one after another: where each begins, and how many it has."""

    begin: Integers
    size: Integers

    @classmethod
    def of(cls, size: Integers) -> Ragged:
        """Return columns of some sizes, each behind the one before."""
        return cls(np.cumsum(size) - size, size)

    def sums(self, values: Floats) -> Floats:
        """Return the sum over each column's bins, along the last axis."""
        return np.add.reduceat(values, self.begin, axis=-1)

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a value a column for each of its bins, along the last axis."""
        return np.repeat(values, self.size, axis=-1)

    def places(self, columns: Integers) -> Integers:
        """Return where the bins of some columns lie, one column after another.

        Examples
        --------
        >>> Ragged.of(np.array([2, 3])).places(np.array([1, 0, 1])).tolist()
        [2, 3, 4, 0, 1, 2, 3, 4]
        """
        chosen = Ragged.of(self.size[columns])
        return np.asarray(np.arange(chosen.size.sum()) + chosen.spread(self.begin[columns] - chosen.begin))

    def log_sums(self, values: Floats) -> Floats:
        """Return the logarithm of the sum over each column's bins, and over n, of exp(values), shape (n, bins) to (columns,)."""
        top = np.maximum.reduceat(values.max(axis=0), self.begin)
        return np.log(self.sums(_exp(values - self.spread(top)).sum(axis=0))) + top


class Compared(NamedTuple):
    """Which windows are compared with which references.

    Attributes
    ----------
    of
        The reference of each window.
    windows
        The bins of the windows, one after another.
    at
        For each of these bins, where that of its reference lies.
    """

    of: Integers
    windows: Ragged
    at: Integers

    @classmethod
    def with_references(cls, references: Ragged, of: Integers) -> Compared:
        """Compare a window with each of these references, of which one may come often."""
        return cls(of, Ragged.of(references.size[of]), references.places(of))


class References(NamedTuple):
    """What windows are bet on against: the reference of one column after another.

    Attributes
    ----------
    alpha
        Expected shares times the rows the reference is worth, plus `PRIOR`, shape (bins,).
    tilted
        Log weights of the tilts, shape (tilts, bins).
    is_ordered
        Whether a column's tilts mean something, shape (columns,).
    """

    columns: Ragged
    alpha: Floats
    tilted: Floats
    is_ordered: npt.NDArray[np.bool_]


def tilts(scores: Floats) -> Floats:
    """Return the log weights of bins of all tilts, up and down, in location and scale; shape (tilts, bins)."""
    return np.concatenate([sign * TILTS[:, None] * scores[:, i] for i in (0, 1) for sign in (1, -1)])


def log_multinomial(counts: Floats, alpha: Floats, references: Ragged, compared: Compared) -> Floats:
    """Return the log likelihood of windows under a Dirichlet-multinomial, without the multinomial coefficient.

    Parameters
    ----------
    counts
        Of the windows' bins.
    alpha
        Of the references' bins, shape (bins,), or of n alternatives, shape (n, bins).

    Returns
    -------
    A value a window, shape (windows,) or (n, windows).

    Examples
    --------
    >>> one = Ragged.of(np.array([2]))
    >>> compared = Compared.with_references(one, np.array([0]))
    >>> round(float(np.exp(log_multinomial(np.array([1.0, 0.0]), np.array([3.0, 1.0]), one, compared))[0]), 3)
    0.75
    """
    of, windows, at = compared
    gained = alpha.take(at, axis=-1)
    gained += counts  # in place, as all of it takes a third less where it stays in the processor's cache
    special.gammaln(gained, out=gained)
    gained -= special.gammaln(alpha).take(at, axis=-1)
    whole = references.sums(alpha)
    lost = special.gammaln(whole.take(of, axis=-1) + windows.sums(counts))
    return np.asarray(windows.sums(gained) + special.gammaln(whole).take(of, axis=-1) - lost)


def log_e_values(counts: Floats, references: References, of: Integers) -> Floats:
    """Return the log e-value of each window; what is of its reference alone is computed once for all that share it.

    Parameters
    ----------
    counts
        Of the windows' bins, one window after another, divided by the design effect.
    of
        The reference of each window.
    """
    columns, alpha = references.columns, references.alpha
    compared = Compared.with_references(columns, of)
    windows, at = compared.windows, compared.at
    shares = alpha / columns.spread(columns.sums(alpha))
    base, rows = windows.sums(counts * np.log(shares)[at]), windows.sums(counts)
    likelihoods = log_multinomial(counts, np.stack([alpha, *(shares * c for c in CONCENTRATIONS)]), columns, compared)
    lost = np.log1p(shares * (FACTORS[:, None] - 1))
    single = counts * np.log(FACTORS)[:, None] - windows.spread(rows) * lost.take(at, axis=1)
    with np.errstate(divide="ignore"):
        of_mixture, of_tilts, of_single = np.log(np.where(references.is_ordered[of, None], ORDERED, UNORDERED)).T
    bets = np.stack(
        [
            _log_sum(likelihoods[1:]) + of_mixture - np.log(len(CONCENTRATIONS)),
            _log_tilted(counts, shares, references, compared) + of_tilts + base,
            windows.log_sums(single) + of_single - np.log(len(FACTORS) * windows.size) + base,
        ]
    )
    return np.asarray(_log_sum(bets) - likelihoods[0])


def _log_tilted(counts: Floats, shares: Floats, references: References, compared: Compared) -> Floats:
    """Return the log of what the tilts win on average; 0 where the bins have no order."""
    is_ordered = references.is_ordered[compared.of]
    out = np.zeros(len(is_ordered))
    if not is_ordered.any():
        return out
    is_asked = compared.windows.spread(is_ordered)
    windows, counts = Ragged.of(compared.windows.size[is_ordered]), counts[is_asked]
    lost = np.log(references.columns.sums(shares * np.exp(references.tilted))).take(compared.of[is_ordered], axis=1)
    gains = windows.sums(counts * references.tilted.take(compared.at[is_asked], axis=1)) - windows.sums(counts) * lost
    out[is_ordered] = _log_sum(gains) - np.log(len(gains))
    return out


def less_sure(log_e: Floats, freedom: Floats) -> Floats:
    """Return log e-values as they are when the variance behind them is not known but estimated, with some degrees of freedom.

    Where z is normal a deviation is worth z^2 / 2; divided by an estimated variance it is Student's, whose tails are powers,
    and worth a power: s log(1 + z^2 / 2 s) with s = freedom / 2 - 1, short of the t-statistic's own likelihood ratio so that
    its mean is finite. With the mean of the variance given the estimate, freedom / (freedom - 2) times it, bets on normal
    levels win 1 on average, or less, and at most a twentieth more. What is below 0 stays.

    References
    ----------
    Wang and Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance" (2023).

    Examples
    --------
    >>> less_sure(np.array([20.0, 20.0, -1.0]), np.array([8.0, np.inf, 8.0])).round(1).tolist()
    [6.1, 20.0, -1.0]
    """
    half = np.clip(freedom / 2 - 1, 0.5, 1e12)
    return np.where(log_e > 0, half * np.log1p(np.maximum(log_e, 0.0) / half), log_e)


def _log_sum(values: Floats) -> Floats:
    """Return the log of the sum of exp(values) over the first axis, one of which is finite."""
    top = values.max(axis=0)
    return np.asarray(np.log(_exp(values - top).sum(axis=0)) + top)


def _exp(values: Floats) -> Floats:
    """Return exp(values), which are added to at least 1: what underflows would take ten times as long, and adds nothing either way."""
    return np.exp(np.maximum(values, _LEAST))
