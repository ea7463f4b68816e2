"""Two columns of counts under the same bins: rank tests, distances, and how far chance alone takes them (pure)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from training.profiles.bins import ColumnBins

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

DRAWS = 1000  # the share of chance beyond a band of 95 % is within 3.6 to 6.4 % then
SMOOTHING = 0.5  # rows added to every bin before a logarithm, so that an empty bin is not infinitely far
NORMAL_FROM = 100  # expected rows of a bin in the smaller sample from which a normal law is as good as dealing them
_MOST_ROWS = 10**9  # beyond it counts are divided: the band is a little too wide, and next to nothing
_SAME = 1e-9


class Places(NamedTuple):
    """Where the ordered bins of a numeric column lie, lowest first.

    Attributes
    ----------
    low, high
        The ends of each bin; equal where a bin holds one value only. ``below`` reaches to the least value of both samples,
        ``above`` to the largest.
    middle
        The value all rows of a bin are taken for: halfway, but in the first and last tenth, which have long tails, at most as far
        from the inner end as the next bin is wide.
    """

    low: Numbers
    high: Numbers
    middle: Numbers

    def within(self, least: float, most: float) -> Places:
        """Return the places as far as the values of one sample reach: no bin begins below its least value or ends above its largest.

        Examples
        --------
        >>> whole = places(ColumnBins("x", "numeric", edges=(0.0, 1.0, 5.0)), 0.0, 90.0)
        >>> whole.high.tolist(), whole.within(0.5, 7.0).high.tolist()
        ([0.0, 1.0, 5.0, 90.0], [0.5, 1.0, 5.0, 7.0])
        """
        return Places(np.clip(self.low, least, most), np.clip(self.high, least, most), self.middle)


def places(bins: ColumnBins, least: float, most: float) -> Places:
    """Return where the bins of a column lie, `least` and `most` being its extremes.

    Of a column with few values each bin holds one of them, and its ends are that value.

    Examples
    --------
    >>> places(ColumnBins("x", "numeric", edges=(0.0, 0.5, np.nextafter(1.0, 2.0))), 0.0, 1.0).middle.tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    edges = np.array(bins.edges)
    if not len(edges):
        return Places(np.array([least, least]), np.array([most, most]), np.full(2, (least + most) / 2))
    values = _few_values(edges)
    low, high = _ends(edges) if values is None else (values, values)
    middle = _without_tails(low, high)
    first, last = low[0], high[-1]
    below, above = min(least, first), max(most, last)
    whole = np.array([(below + first) / 2, *middle, (last + above) / 2])
    return Places(np.array([below, *low, last]), np.array([first, *high, above]), whole)


def _without_tails(low: Numbers, high: Numbers) -> Numbers:
    middle: Numbers = (low + high) / 2
    width = high - low
    wide = width[1:-1][width[1:-1] > _SAME * (high[-1] - low[0])]
    if len(wide):
        middle[0] = max(middle[0], high[0] - wide[0])
        middle[-1] = min(middle[-1], low[-1] + wide[-1])
    return middle


def _ends(edges: Numbers) -> tuple[Numbers, Numbers]:
    """Return the ends of bins; where a bin holds one value only, and where the next one begins, it is that value."""
    is_one = np.nextafter(edges[:-1], np.inf) >= edges[1:]
    low = edges[:-1].copy()
    low[1:][is_one[:-1]] = low[:-1][is_one[:-1]]
    return low, np.where(is_one, edges[:-1], edges[1:])


def _few_values(edges: Numbers) -> Numbers | None:
    """Return the values of a column whose inner edges lie halfway between them; None of one that has tenths."""
    values = [float(edges[0])]
    for edge in edges[1:-1].tolist():
        values.append(2 * edge - values[-1])
    last = float(np.nextafter(edges[-1], -np.inf))
    is_such = abs(values[-1] - last) <= _SAME * max(1.0, abs(last)) and bool((np.diff(values) > 0).all())
    return np.array([*values[:-1], last] if len(values) > 1 else [last]) if is_such else None


def in_order(counts: Counts) -> Counts:
    """Return the counts of the ordered bins of a numeric column: ``below``, its bins, ``above``; without ``missing``.

    Examples
    --------
    >>> in_order(np.array([5, 6, 1, 2, 9])).tolist()
    [1, 5, 6, 2]
    """
    return np.array([counts[-3], *counts[:-3], counts[-2]])


class RankTest(NamedTuple):
    """A linear rank test: its standardised statistic (positive: larger in the second sample) and two-sided p-value."""

    z: float
    p: float


def location(a: Counts, b: Counts) -> RankTest | None:
    """Test whether values of one sample tend to be larger than those of the other; None where all values are tied.

    Parameters
    ----------
    a, b
        Counts of ordered bins, shape (n_bins,); rows of one bin are ties.

    References
    ----------
    Wilcoxon, "Individual comparisons by ranking methods" (1945); Lehmann, "Nonparametrics" (1975), 1.4, for ties.

    Examples
    --------
    >>> round(location(np.array([60, 40]), np.array([40, 60])).z, 2)
    2.82
    """
    total = a + b
    return _rank_test(a, b, np.cumsum(total) - total / 2)


def scale(a: Counts, b: Counts) -> RankTest | None:
    """Test whether one sample is more spread out than the other, given they lie alike; None where all values are tied.

    Parameters
    ----------
    a, b
        As in `location`; tied rows get the mean of their scores.

    References
    ----------
    Mood, "On the asymptotic efficiency of certain nonparametric two-sample tests" (1954); Mielke, "Note on some squared rank
    tests with existing ties" (1967).

    Examples
    --------
    >>> round(scale(np.array([10, 80, 10]), np.array([20, 60, 20])).z, 2)
    3.08
    """
    total = (a + b).astype(float)
    middle = np.cumsum(total) - total / 2 - total.sum() / 2
    return _rank_test(a, b, middle**2 + (total**2 - 1) / 12)


def _rank_test(a: Counts, b: Counts, scores: Numbers) -> RankTest | None:
    """Compare the sum of the scores of the second sample with that of all ways to part the rows into two samples."""
    total = a + b
    n, m = float(a.sum()), float(b.sum())
    if min(n, m) == 0 or np.count_nonzero(total) < 2:
        return None
    centred = scores - total @ scores / (n + m)
    variance = float(total @ centred**2) * n * m / ((n + m) * (n + m - 1))
    if variance <= 0:
        return None
    z = float(b @ centred) / variance**0.5
    return RankTest(z, float(special.erfc(abs(z) / 2**0.5)))


def superiority(a: Counts, b: Counts) -> float:
    """Return how probably a value of `b` exceeds one of `a`, ties counted half: .5 where neither tends to be larger.

    References
    ----------
    Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the other" (1947).

    Examples
    --------
    >>> superiority(np.array([1, 1]), np.array([0, 2]))
    0.75
    """
    smaller = np.cumsum(a) - a / 2
    return float(b @ smaller) / (float(a.sum()) * float(b.sum()))


def quantile(counts: Counts, where: Places, share: float) -> float:
    """Return a quantile of ordered bins, values being spread evenly within each.

    Parameters
    ----------
    where
        As far as the values of the sample reach (`Places.within`), so that no quantile lies where it has no value.

    Examples
    --------
    >>> quantile(np.array([0, 10, 10, 0]), places(ColumnBins("x", "numeric", edges=(0.0, 1.0, 5.0)), 0.0, 5.0), 0.5)
    1.0
    """
    upto = np.cumsum(counts)
    rank = share * float(upto[-1])
    place = int(np.searchsorted(upto, rank))
    within = (rank - (upto[place] - counts[place])) / max(int(counts[place]), 1)
    return float(where.low[place] + within * (where.high[place] - where.low[place]))


def jensen_shannon(a: Counts, b: Counts) -> float:
    """Return the Jensen-Shannon distance of two samples, 0 to 1: the square root of the divergence in bits.

    References
    ----------
    Lin, "Divergence measures based on the Shannon entropy" (1991); Endres and Schindelin, "A new metric for probability
    distributions" (2003).

    Examples
    --------
    >>> jensen_shannon(np.array([10, 0]), np.array([0, 20])), jensen_shannon(np.array([1, 2]), np.array([2, 4]))
    (1.0, 0.0)
    """
    return float(_jensen_shannon(_shares(a), _shares(b)))


def kolmogorov_smirnov(a: Counts, b: Counts) -> float:
    """Return the largest difference of two cumulated distributions at the ends of ordered bins.

    It is at most what the rows themselves would give, as it looks at the edges only.

    References
    ----------
    Smirnov, "Table for estimating the goodness of fit of empirical distributions" (1948).

    Examples
    --------
    >>> kolmogorov_smirnov(np.array([5, 5]), np.array([2, 8]))
    0.3
    """
    return float(_kolmogorov_smirnov(_shares(a), _shares(b)))


def wasserstein(a: Counts, b: Counts, middle: Numbers) -> float:
    """Return how far, on average, a row must go to turn one sample into the other, in the unit of the column.

    Parameters
    ----------
    a, b
        Counts of ordered bins.
    middle
        The value the rows of each bin are taken for, shape (n_bins,).

    References
    ----------
    Vallender, "Calculation of the Wasserstein distance between probability distributions on the line" (1974).

    Examples
    --------
    >>> wasserstein(np.array([5, 5]), np.array([0, 10]), np.array([0.0, 3.0]))
    1.5
    """
    return float(_wasserstein(_shares(a), _shares(b), middle))


def stability_index(a: Counts | Numbers, b: Counts | Numbers) -> Numbers:
    """Return the population stability index of counts along the last axis, half a row being added to every bin.

    References
    ----------
    Kullback and Leibler, "On information and sufficiency" (1951), whose J it is; Lewis, "An introduction to credit scoring" (1994).

    Examples
    --------
    >>> round(float(stability_index(np.array([5000, 5000]), np.array([800, 200]))), 2)
    0.41
    """
    k = a.shape[-1]
    p = (a + SMOOTHING) / (a.sum(axis=-1, keepdims=True) + SMOOTHING * k)
    q = (b + SMOOTHING) / (b.sum(axis=-1, keepdims=True) + SMOOTHING * k)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def index_by_chance(a: Counts | Numbers, b: Counts | Numbers) -> float:
    """Return what the population stability index of two samples of one distribution is on average.

    References
    ----------
    Yurdakul, "Statistical properties of population stability index" (2018).

    Examples
    --------
    >>> round(index_by_chance(np.array([500, 500]), np.array([100, 100])), 3)
    0.006
    """
    return (int(np.count_nonzero(a + b)) - 1) * (1 / float(a.sum()) + 1 / float(b.sum()))


class Bands(NamedTuple):
    """What each distance stays below with the wanted probability when both samples come from one distribution."""

    psi: float
    jensen_shannon: float
    kolmogorov_smirnov: float | None
    wasserstein: float | None


def bands(a: Counts, b: Counts, share: float, middle: Numbers | None = None, draws: int = DRAWS) -> Bands:
    """Return how far chance alone takes the distances, given how many rows there are and how they lie.

    Rows are dealt anew to two samples of the same sizes, `draws` times, always the same ones.

    Parameters
    ----------
    share
        How much of chance the band holds.
    middle
        Of a numeric column, whose bins are in order, with ``missing`` last: the value of each bin but that; else None.

    References
    ----------
    Fisher, "The design of experiments" (1935), 21; Pitman, "Significance tests which may be applied to samples from any
    populations" (1937).

    Examples
    --------
    >>> band = bands(np.array([5000, 5000, 0]), np.array([50, 50, 0]), 0.95, np.array([0.0, 1.0]))
    >>> 0.09 < band.wasserstein < 0.11  # 1.96 standard errors of a share of one half
    True
    """
    total = (a + b) // (1 + int((a + b).sum()) // _MOST_ROWS)
    m = max(1, round(float(total.sum()) * float(b.sum()) / float((a + b).sum())))
    dealt = _deal(total, m, draws)
    rest = total - dealt
    seen = total > 0
    index = stability_index(rest[:, seen], dealt[:, seen]) - index_by_chance(a, b)
    divergence = _jensen_shannon(_shares(rest), _shares(dealt))
    if middle is None:
        return Bands(_at(index, share), _at(divergence, share), None, None)
    known, others = _shares(rest[:, :-1]), _shares(dealt[:, :-1])
    return Bands(
        _at(index, share),
        _at(divergence, share),
        _at(_kolmogorov_smirnov(known, others), share),
        _at(_wasserstein(known, others, middle), share),
    )


def _deal(total: Counts, m: int, draws: int) -> Numbers:
    """Deal `m` of all rows to one sample, `draws` times: exactly into bins of few rows, by the normal law into those of many."""
    rng = np.random.default_rng(0)
    is_small = total * min(m, int(total.sum()) - m) < NORMAL_FROM * total.sum()
    many = total[~is_small]
    few = rng.multivariate_hypergeometric(np.append(total[is_small], many.sum()), m, size=draws, method="marginals")
    dealt = np.empty((draws, len(total)))
    dealt[:, is_small] = few[:, :-1]
    if len(many):
        shares = many / many.sum()
        normal = rng.standard_normal((draws, len(many))) * np.sqrt(shares)
        normal -= shares * normal.sum(axis=1, keepdims=True)
        taken = few[:, -1:]
        dealt[:, ~is_small] = taken * shares + normal * np.sqrt(taken * (1 - taken / many.sum()))
    return dealt


def _at(values: Numbers, share: float) -> float:
    return float(np.quantile(values, share, method="higher"))


def _shares(counts: Counts | Numbers) -> Numbers:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1))


def _jensen_shannon(p: Numbers, q: Numbers) -> Numbers:
    halfway = (p + q) / 2
    divergence = special.rel_entr(p, halfway).sum(axis=-1) + special.rel_entr(q, halfway).sum(axis=-1)
    return np.asarray(np.sqrt(np.maximum(divergence, 0) / 2 / np.log(2)))


def _kolmogorov_smirnov(p: Numbers, q: Numbers) -> Numbers:
    return np.asarray(np.abs(np.cumsum(p - q, axis=-1)).max(axis=-1))


def _wasserstein(p: Numbers, q: Numbers, middle: Numbers) -> Numbers:
    return np.asarray((np.abs(np.cumsum(p - q, axis=-1)[..., :-1]) * np.diff(middle)).sum(axis=-1))
