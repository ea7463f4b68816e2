"""The main directions in which numbers vary together: how far a row lies off them, and how far from the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST = 16
EXPLAINED = 0.65  # of the variance, by the directions a residual is measured from
_LEAST_VARIANCE = 1e-3
_LEAST_SQUARE = 1e-12
_BLOCK_VALUES, _LEAST_BLOCK = 1 << 13, 32


@dataclass(frozen=True)
class MainDirections:
    """At most sixteen principal components of d standardised numbers.

    Attributes
    ----------
    directions
        One of d numbers a component, the largest variance first.
    variances
        The variance along each.
    rest
        The mean variance along all other directions; None where there are no others.
    n_residual
        The residual is what lies off this many of the components.

    Notes
    -----
    The covariance is taken to be ``rest`` in all directions but the components, so that the squared distance of a row is
    |off|^2 / rest + sum(along^2 / variances): linear in d, and exact up to sixteen numbers.

    References
    ----------
    Tipping and Bishop, "Probabilistic principal component analysis" (1999).

    Examples
    --------
    >>> main = MainDirections.learn(np.array([[1.0, 0.8], [0.8, 1.0]]))
    >>> residual, distance = main.measure(np.array([[1.0, 1.0], [1.0, -1.0]]).T)
    >>> residual.round(6).tolist(), distance.round(6).tolist()
    ([0.0, 2.0], [1.111111, 10.0])
    """

    directions: tuple[tuple[float, ...], ...]
    variances: tuple[float, ...]
    rest: float | None
    n_residual: int

    @classmethod
    def learn(cls, correlation: Floats, n_residual: int | None = None) -> MainDirections:
        """Learn from the correlations of at least two numbers, shape (d, d); `n_residual` is found where it is not given."""
        d = len(correlation)
        variances, vectors = np.linalg.eigh(correlation)
        variances, vectors = np.maximum(variances[::-1], _LEAST_VARIANCE), vectors[:, ::-1]
        n = min(d, MOST)
        if n_residual is None:
            n_residual = min(int(np.searchsorted(np.cumsum(variances) / variances.sum(), EXPLAINED)) + 1, n, d - 1)
        rest = float(variances[n:].mean()) if d > n else None
        return cls(tuple(map(tuple, vectors[:, :n].T.tolist())), tuple(variances[:n].tolist()), rest, n_residual)

    @classmethod
    def learn_without(cls, z: Floats, part: npt.NDArray[np.intp], n_parts: int, n_residual: int) -> Iterator[MainDirections]:
        """Yield for each part of standardised rows, shape (d, n_rows), what the rows of all other parts teach."""
        n_rows = z.shape[1]
        total, products = z.sum(axis=1), z @ z.T
        for number in range(n_parts):
            own = z[:, part == number]
            n = n_rows - own.shape[1]
            mean = (total - own.sum(axis=1)) / n
            covariance = (products - own @ own.T) / n - np.outer(mean, mean)
            spread = np.sqrt(np.maximum(covariance.diagonal(), _LEAST_SQUARE))
            correlation = covariance / np.outer(spread, spread)
            np.fill_diagonal(correlation, 1.0)
            yield cls.learn(correlation, n_residual)

    def measure(self, z: Floats) -> tuple[Floats, Floats]:
        """Return the squared length off the directions and the squared Mahalanobis distance, shape (n_rows,) each.

        Parameters
        ----------
        z
            Standardised rows, shape (d, n_rows). What is returned of a row does not depend on the others, to the last bit.
        """
        squares = self._along(z) ** 2
        length = _sum(values * values for values in z)
        residual = np.maximum(length - _sum(squares[: self.n_residual]), 0.0)
        distance = _sum(square / variance for square, variance in zip(squares, self.variances, strict=True))
        if self.rest is not None:
            distance += np.maximum(length - _sum(squares), 0.0) / self.rest
        return residual, distance

    def _along(self, z: Floats) -> Floats:
        """Return how far rows lie along each direction, shape (n_directions, n_rows).

        Matrices of one shape are multiplied, always: for others the order in which a row is added up may differ.
        """
        d, n_rows = z.shape
        block = max(_BLOCK_VALUES // d, _LEAST_BLOCK)
        along = np.empty((len(self.directions), n_rows))
        for start in range(0, n_rows, block):
            part = z[:, start : start + block]
            n_part = part.shape[1]
            if n_part < block:
                part = np.concatenate([part, np.zeros((d, block - n_part))], axis=1)
            along[:, start : start + n_part] = (self._vectors @ np.ascontiguousarray(part))[:, :n_part]
        return along

    @cached_property
    def _vectors(self) -> Floats:
        return np.array(self.directions)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        directions = [list(direction) for direction in self.directions]
        return {"directions": directions, "variances": list(self.variances), "rest": self.rest, "n_residual": self.n_residual}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> MainDirections:
        """Read what `to_dict` wrote."""
        return cls(tuple(map(tuple, stored["directions"])), tuple(stored["variances"]), stored["rest"], stored["n_residual"])


def _sum(parts: Iterable[Floats]) -> Floats:
    """Add up arrays one after another, in their order."""
    total: Floats | None = None
    for part in parts:
        total = part.copy() if total is None else np.add(total, part, out=total)
    if total is None:
        raise ValueError("there is nothing to add up")
    return total
