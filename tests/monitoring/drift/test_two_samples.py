"""Each statistic against scipy, a closed form or a published table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial import distance

from monitoring.drift.two_samples import (
    _deal,
    bands,
    in_order,
    index_by_chance,
    jensen_shannon,
    kolmogorov_smirnov,
    location,
    places,
    quantile,
    scale,
    stability_index,
    superiority,
    wasserstein,
)
from training.profiles.bin_edges import numeric_edges
from training.profiles.bins import ColumnBins

COUNTS = arrays(np.int64, 6, elements=st.integers(1, 60))


def values(counts: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(counts), dtype=float), counts)


@given(COUNTS, COUNTS)
def test_location_is_the_test_of_wilcoxon_with_ties(a: np.ndarray, b: np.ndarray) -> None:
    there = stats.mannwhitneyu(values(b), values(a), method="asymptotic", use_continuity=False)

    here = location(a, b)

    assert here is not None
    assert here.p == pytest.approx(there.pvalue, abs=1e-12)
    assert superiority(a, b) == pytest.approx(there.statistic / (a.sum() * b.sum()))


@given(COUNTS, COUNTS)
def test_scale_is_the_test_of_mood_with_ties(a: np.ndarray, b: np.ndarray) -> None:
    there = stats.mood(values(b), values(a))

    here = scale(a, b)

    assert here is not None
    assert here.p == pytest.approx(there.pvalue, abs=1e-9)
    assert here.z == pytest.approx(there.statistic, abs=1e-9)


@given(COUNTS, COUNTS)
def test_distances_are_those_of_scipy(a: np.ndarray, b: np.ndarray) -> None:
    middle = np.array([0.0, 1.0, 2.5, 3.0, 7.0, 8.0])

    assert jensen_shannon(a, b) == pytest.approx(distance.jensenshannon(a / a.sum(), b / b.sum(), base=2), abs=1e-7)
    assert kolmogorov_smirnov(a, b) == pytest.approx(stats.ks_2samp(values(a), values(b)).statistic)
    assert wasserstein(a, b, middle) == pytest.approx(stats.wasserstein_distance(middle, middle, a, b))
    p, q = (a + 0.5) / (a.sum() + 3), (b + 0.5) / (b.sum() + 3)
    assert stability_index(a, b) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), abs=1e-12)


@given(COUNTS, COUNTS)
def test_the_samples_may_change_places(a: np.ndarray, b: np.ndarray) -> None:
    there, back = location(a, b), location(b, a)
    wider, narrower = scale(a, b), scale(b, a)

    assert there is not None
    assert back is not None
    assert wider is not None
    assert narrower is not None
    assert (there.z, wider.z) == (pytest.approx(-back.z, abs=1e-9), pytest.approx(-narrower.z, abs=1e-9))
    assert jensen_shannon(a, b) == pytest.approx(jensen_shannon(b, a))
    assert superiority(a, b) == pytest.approx(1 - superiority(b, a))


def test_ties_alone_and_no_rows_are_no_test() -> None:
    nothing, one_bin = np.array([0, 0]), np.array([9, 0])

    assert location(one_bin, one_bin) is None
    assert scale(one_bin, np.array([4, 0])) is None
    assert location(nothing, np.array([4, 5])) is None


def test_the_spread_of_two_halves_is_no_test() -> None:
    assert scale(np.array([5, 5]), np.array([9, 1])) is not None
    assert scale(np.array([5, 5]), np.array([5, 5])) is None


def test_the_band_of_an_even_share_is_its_binomial_one() -> None:
    band = bands(np.array([50_000, 50_000, 0]), np.array([2_000, 2_000, 0]), 0.95, np.array([0.0, 4.0]), draws=4000)

    error = (0.25 * (1 / 100_000 + 1 / 4_000)) ** 0.5
    assert band.kolmogorov_smirnov == pytest.approx(1.96 * error, rel=0.05)
    assert band.wasserstein == pytest.approx(4 * 1.96 * error, rel=0.05)


def test_the_band_of_many_bins_is_in_the_table_of_smirnov() -> None:
    counts = np.full(1001, 250)
    counts[-1] = 0

    band = bands(counts, counts, 0.95, np.arange(1000.0), draws=2000)

    assert band.kolmogorov_smirnov == pytest.approx(1.358 * (2 / 250_000) ** 0.5, rel=0.04)  # Smirnov 1948: K(1.358) = .95


def test_bins_of_few_rows_and_of_many_are_dealt_as_all_rows_would_be() -> None:
    total, m, draws = np.array([40_000, 9_000, 900, 60, 3, 0]), 12_000, 20_000

    dealt, there = _deal(total, m, draws), stats.multivariate_hypergeom(total, m)

    error = np.sqrt(np.diag(there.cov()) / draws)
    assert (np.abs(dealt.mean(axis=0) - there.mean()) <= 4.5 * error).all()
    assert np.cov(dealt.T) == pytest.approx(there.cov(), abs=0.04 * np.sqrt(there.cov().max()), rel=0.06)
    assert (dealt[:, 3:] == np.round(dealt[:, 3:])).all()
    assert dealt.sum(axis=1) == pytest.approx(m)


@pytest.mark.parametrize(("n", "m"), [(20_000, 20_000), (20_000, 1_000)])
def test_the_bands_of_index_and_divergence_are_those_of_chi_squared(n: int, m: int) -> None:
    shares = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    a, b = (n * shares).astype(int), (m * shares).astype(int)

    band = bands(a, b, 0.95, draws=4000)

    limit = (1 / n + 1 / m) * stats.chi2.ppf(0.95, 4)
    assert band.psi + index_by_chance(a, b) == pytest.approx(limit, rel=0.06)  # Yurdakul 2018
    assert band.jensen_shannon == pytest.approx((limit / 8 / np.log(2)) ** 0.5, rel=0.04)  # the same quadratic form over eight


def test_chance_stays_in_the_band_as_often_as_it_says_also_with_few_rows() -> None:
    rng = np.random.default_rng(4)
    shares = np.array([0.5, 0.2, 0.2, 0.05, 0.03, 0.02])
    middle = np.arange(5.0)

    beyond = np.zeros(4)
    for _ in range(300):
        a, b = rng.multinomial(80, shares), rng.multinomial(40, shares)
        seen = a + b > 0
        index = float(stability_index(a[seen], b[seen])) - index_by_chance(a, b)
        far = (index, jensen_shannon(a, b), kolmogorov_smirnov(a[:-1], b[:-1]), wasserstein(a[:-1], b[:-1], middle))
        band = bands(a, b, 0.9, middle, draws=200)
        beyond += [value > most for value, most in zip(far, band, strict=True) if most is not None]

    # 10 % are promised, ties make it fewer; 300 tries: 15.5 % has a chance of .001 each
    assert (beyond / 300 < 0.155).all()
    assert (beyond / 300 > 0.03).all()


def test_counts_beyond_a_thousand_million_have_a_band_too() -> None:
    band = bands(np.array([3 * 10**9, 2 * 10**9, 0]), np.array([3 * 10**9, 2 * 10**9, 0]), 0.95, np.array([0.0, 1.0]))

    assert band.wasserstein is not None
    assert 0 < band.wasserstein < 1e-4


@pytest.mark.parametrize(
    "column", [[0.0, 1.0], [3.0, 3.0, 3.0], [0.0, 1.0, 2.0, 7.0, 7.5], [-2.0, 0.25, 0.5]], ids=["binary", "constant", "whole", "decimal"]
)
def test_few_values_are_their_own_places(column: list[float]) -> None:
    bins = ColumnBins("x", "numeric", edges=numeric_edges(np.array(column)))

    where = places(bins, min(column), max(column))

    assert where.middle[1:-1].tolist() == pytest.approx(sorted(set(column)))
    assert (where.low == where.high).all()


def test_a_value_that_many_rows_have_is_its_own_place() -> None:
    values = np.concatenate([np.zeros(900), np.arange(1.0, 1000.0)])
    bins = ColumnBins("x", "numeric", edges=numeric_edges(values))

    where = places(bins, 0.0, 999.0)

    assert (where.low[1], where.high[1]) == (0.0, 0.0)
    assert quantile(in_order(bins.count(values)), where, 0.25) == 0.0


def test_the_way_of_rows_is_about_that_of_the_rows_themselves() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=50_000), rng.normal(0.5, size=50_000)
    bins = ColumnBins("x", "numeric", edges=numeric_edges(a))
    where = places(bins, min(a.min(), b.min()), max(a.max(), b.max()))

    far = wasserstein(in_order(bins.count(a)), in_order(bins.count(b)), where.middle)

    assert far == pytest.approx(0.5, rel=0.05)  # two normal laws half a standard deviation apart: exactly that


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_quantiles_of_bins_are_about_those_of_the_rows(share: float) -> None:
    values = np.random.default_rng(2).exponential(size=20_000)
    bins = ColumnBins("x", "numeric", edges=numeric_edges(values))

    there = quantile(in_order(bins.count(values)), places(bins, values.min(), values.max()), share)

    assert there == pytest.approx(np.quantile(values, share), rel=0.03)


def test_a_column_that_was_empty_lies_between_its_extremes() -> None:
    where = places(ColumnBins("x", "numeric"), 1.0, 5.0)

    assert [one.tolist() for one in where] == [[1.0, 1.0], [5.0, 5.0], [3.0, 3.0]]


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.floats(0.001, 1.0))
def test_a_quantile_lies_where_the_sample_has_values(values: list[float], share: float) -> None:
    bins, sample = ColumnBins("x", "numeric", edges=(0.0, 1.0, 5.0)), np.array(values)
    whole = places(bins, min(-70.0, sample.min()), max(90.0, sample.max()))

    there = quantile(in_order(bins.count(sample)), whole.within(sample.min(), sample.max()), share)

    assert sample.min() <= there <= sample.max()
