"""Bets against closed forms, and that they win nothing on average where nothing changed."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from monitoring.drift.bets import (
    CONCENTRATIONS,
    FACTORS,
    PRIOR,
    TILTS,
    Compared,
    Ragged,
    References,
    less_sure,
    log_e_values,
    log_multinomial,
    tilts,
)
from training.profiles.bins import rank_scores

few = st.lists(st.integers(0, 40), min_size=4, max_size=4).map(lambda v: np.array(v, float))


def likelihood(counts: np.ndarray, alpha: np.ndarray) -> float:
    """Return the log likelihood of one column."""
    one = Ragged.of(np.array([len(counts)]))
    return float(log_multinomial(counts, alpha, one, Compared.with_references(one, np.array([0])))[0])


def of_one(counts: np.ndarray, reference: np.ndarray, *, is_ordered: bool = False) -> float:
    """Return the log e-value of one column."""
    return float(log_e_values(counts, references_of([reference], [is_ordered]), np.array([0]))[0])


def references_of(references: Sequence[np.ndarray], is_ordered: Sequence[bool]) -> References:
    """Lay out the references of some columns."""
    columns = Ragged.of(np.array([len(reference) for reference in references]))
    tilted = tilts(np.concatenate([rank_scores(reference / reference.sum()) for reference in references]))
    return References(columns, np.concatenate(references) + PRIOR, tilted, np.array(is_ordered))


@given(few, few)
def test_the_likelihood_is_the_dirichlet_multinomial_of_scipy(counts: np.ndarray, reference: np.ndarray) -> None:
    alpha, n = reference + PRIOR, int(counts.sum())

    ours = likelihood(counts, alpha)

    coefficient = special.gammaln(n + 1) - special.gammaln(counts + 1).sum()
    assert ours + coefficient == pytest.approx(stats.dirichlet_multinomial.logpmf(counts.astype(int), alpha, n), abs=1e-8)


def test_the_bets_are_the_mixture_written_out() -> None:
    counts, reference = np.array([3.0, 9, 1, 0, 0, 2]), np.array([20.0, 30, 40, 1, 0, 9])
    p = (reference + PRIOR) / (reference + PRIOR).sum()
    scores = rank_scores(reference / reference.sum())
    mixture = np.mean([np.exp(likelihood(counts, c * p)) for c in CONCENTRATIONS])
    tilted = [p * np.exp(sign * t * s) for s in scores.T for sign in (1, -1) for t in TILTS]
    single = [np.where(np.arange(6) == k, p * f, p) for k in range(6) for f in FACTORS]
    likelihoods = [np.mean([np.prod((q / q.sum()) ** counts) for q in some]) for some in (tilted, single)]
    null = np.exp(likelihood(counts, reference + PRIOR))

    ordered, unordered = of_one(counts, reference, is_ordered=True), of_one(counts, reference)

    assert ordered == pytest.approx(np.log((mixture / 4 + likelihoods[0] / 2 + likelihoods[1] / 4) / null))
    assert unordered == pytest.approx(np.log((mixture / 2 + likelihoods[1] / 2) / null))


def test_windows_do_not_know_of_each_other_whether_they_share_a_reference_or_not() -> None:
    rng = np.random.default_rng(0)
    sizes, is_ordered, of = (3, 9, 5, 33), (True, False, True, False), [2, 0, 1, 3, 1, 2, 2]
    references = [rng.poisson(50, size).astype(float) for size in sizes]
    counts = [rng.poisson(5 * 10**i, sizes[column]).astype(float) for i, column in enumerate(of)]

    together = log_e_values(np.concatenate(counts), references_of(references, is_ordered), np.array(of))

    apart = [of_one(own, references[column], is_ordered=is_ordered[column]) for own, column in zip(counts, of, strict=True)]
    assert together.tolist() == pytest.approx(apart, rel=1e-12)


def test_of_a_window_of_millions_of_rows_what_underflows_is_nothing() -> None:
    counts, reference = np.array([5e6, 5.2e6, 0.0, 3.0]), np.array([400.0, 500, 50, 0])
    p = (reference + PRIOR) / (reference + PRIOR).sum()
    single = [counts @ np.log(q / q.sum()) for k in range(4) for f in FACTORS for q in [np.where(np.arange(4) == k, p * f, p)]]
    of_mixture = special.logsumexp([likelihood(counts, c * p) for c in CONCENTRATIONS]) - np.log(len(CONCENTRATIONS))
    of_single = special.logsumexp(single) - np.log(len(single))

    expected = special.logsumexp([of_mixture, of_single]) - np.log(2) - likelihood(counts, reference + PRIOR)

    assert of_one(counts, reference) == pytest.approx(expected, rel=1e-12)


def test_a_column_without_rows_wins_nothing() -> None:
    assert of_one(np.zeros(6), np.array([5.0, 5, 5, 0, 0, 0]), is_ordered=True) == pytest.approx(0.0, abs=1e-12)


def won(counts: np.ndarray, reference: np.ndarray, *, is_ordered: bool) -> np.ndarray:
    """Return e-values of columns, a row each."""
    n = len(counts)
    return np.exp(log_e_values(counts.ravel() * 1.0, references_of(list(reference), [is_ordered] * n), np.arange(n)))


@pytest.mark.parametrize(("reference_rows", "rows"), [(20, 100), (500, 50), (500, 5000)])
@pytest.mark.parametrize("is_ordered", [True, False])
def test_bets_win_at_most_nothing_on_average_over_references(reference_rows: int, rows: int, is_ordered: bool) -> None:
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.full(6, PRIOR), 20_000)

    e = won(rng.multinomial(rows, shares), rng.multinomial(reference_rows, shares), is_ordered=is_ordered)

    assert e.mean() < 1 + 4 * e.std() / np.sqrt(len(e))


@pytest.mark.parametrize("is_ordered", [True, False])
def test_mixed_phases_win_no_more_than_one_phase(is_ordered: bool) -> None:
    rng = np.random.default_rng(2)
    phases = np.array([[0.7, 0.1, 0.1, 0.0, 0.0, 0.1], [0.1, 0.2, 0.6, 0.0, 0.0, 0.1]])
    mixed = np.tile(np.array([0.25, 0.75]) @ phases * 1e9, (20_000, 1))

    e = won(rng.multinomial([50, 150], phases, (20_000, 2)).sum(axis=1), mixed, is_ordered=is_ordered)

    assert e.mean() < 1 + 4 * e.std() / np.sqrt(len(e))


@pytest.mark.parametrize(
    "changed", [[30.0, 60, 110, 0, 0, 0], [110.0, 60, 30, 0, 0, 0], [40.0, 120, 40, 0, 0, 0], [60.0, 60, 60, 0, 0, 20]]
)
def test_a_change_wins_more_the_more_rows_there_are(changed: list[float]) -> None:
    counts, reference = np.array(changed), np.array([3000.0, 4000, 3000, 0, 0, 100])

    won = [of_one(counts * times, reference * 10, is_ordered=True) for times in (1, 2, 4)]

    assert won[0] > np.log(20)
    assert won[0] < won[1] < won[2]


@given(st.one_of(st.floats(-50, 0), st.floats(1e-9, 1e4)), st.floats(1, 1e6))
def test_an_estimated_variance_never_makes_surer(log_e: float, freedom: float) -> None:
    less, more = less_sure(np.array([log_e, log_e]), np.array([freedom, 2 * freedom]))

    assert less <= more + 1e-9
    assert more <= log_e + 1e-9
    assert (log_e > 0) == (less > 0)


@pytest.mark.parametrize("freedom", [3, 8, 14, 30, 100])
def test_with_an_estimated_variance_normal_levels_win_nothing_on_average(freedom: int) -> None:
    z = np.linspace(-1000, 1000, 1_000_001)
    weight = stats.t.pdf(z, freedom) * (z[1] - z[0])
    estimated = z * np.sqrt((freedom - 2) / freedom)
    known = np.logaddexp.reduce([t * estimated - t**2 / 2 for t in (-3.0, -1.0, 1.0, 3.0)]) - np.log(4)

    mean = weight @ np.exp(less_sure(known, np.full(len(z), float(freedom))))

    assert mean < 1.01
