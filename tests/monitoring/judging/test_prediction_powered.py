"""Labels and estimates joined: the weight and the interval of the paper, and how often intervals hold the mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monitoring.judging.estimating.prediction_powered import Powered, powered_mean

Floats = np.ndarray[Any, np.dtype[np.float64]]


def rows(n: int, seed: int, *, noise: float, bias: float = 0.0) -> tuple[Floats, Floats]:
    """Losses and what was estimated of them: off by noise, and by a bias the same for all; the mean loss is .5."""
    rng = np.random.default_rng([n, seed])
    loss = rng.uniform(0, 1, n)
    return loss, loss + bias + rng.normal(0, noise, n)


def by_row(loss: Floats, guess: Floats, of_others: Floats) -> Powered | None:
    """Each row its own bucket."""
    n, more = len(loss), len(of_others)
    both = np.concatenate
    return powered_mean(
        both([np.ones(n), np.zeros(more)]),
        both([loss, np.zeros(more)]),
        both([guess, np.zeros(more)]),
        both([np.zeros(n), np.ones(more)]),
        both([np.zeros(n), of_others]),
    )


def of_the_paper(loss: Floats, guess: Floats, of_others: Floats) -> tuple[float, float, float]:
    """PPI++ for a mean: value, standard error and weight of independent rows (Angelopoulos et al. 2023, example 6.1)."""
    n, more = len(loss), len(of_others)
    pooled = np.concatenate([guess, of_others])
    weight = np.cov(loss, guess)[0, 1] / ((1 + n / more) * pooled.var())
    error = np.sqrt((loss - weight * guess).var() / n + weight**2 * of_others.var() / more)
    return weight * of_others.mean() + (loss - weight * guess).mean(), error, weight


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0])
def test_of_independent_rows_it_is_that_of_the_paper(noise: float) -> None:
    loss, guess = rows(400, 0, noise=noise)
    _, of_others = rows(2000, 1, noise=noise)
    value, error, weight = of_the_paper(loss, guess, of_others)

    powered = by_row(loss, guess, of_others)

    assert powered is not None
    assert powered.weight == pytest.approx(weight, rel=0.05)
    assert powered.value == pytest.approx(value, abs=0.1 * error)
    assert powered.half == pytest.approx(1.966 * error, rel=0.03)


def in_buckets(seed: int, *, noise: float, bias: float) -> Powered | None:
    """Twenty buckets of five labelled rows and a hundred others."""
    loss, guess = rows(20 * 105, seed, noise=noise, bias=bias)
    each, estimated = loss.reshape(20, 105), guess.reshape(20, 105)
    means = (part.mean(axis=1) for part in (each[:, :5], estimated[:, :5], estimated[:, 5:]))
    own, of_own, of_others = means
    return powered_mean(np.full(20, 5.0), own, of_own, np.full(20, 100.0), of_others)


@pytest.mark.parametrize(("noise", "bias"), [(0.05, 0.0), (0.05, 0.4), (1.0, -0.3)])
def test_the_interval_holds_the_mean_however_wrong_the_estimate(noise: float, bias: float) -> None:
    some = [in_buckets(seed, noise=noise, bias=bias) for seed in range(300)]

    inside = [abs(one.value - 0.5) <= one.half for one in some if one is not None]

    assert len(inside) == 300
    assert 0.91 <= np.mean(inside) <= 0.98


def test_a_good_estimate_makes_it_narrower_and_a_poor_one_no_wider() -> None:
    halves = {
        noise: np.mean([one.half for seed in range(100) if (one := in_buckets(seed, noise=noise, bias=0.0)) is not None])
        for noise in (0.05, 1.0)
    }
    labels_alone = 2.1 * np.sqrt(1 / 12 / 100)

    assert halves[0.05] < 0.45 * labels_alone
    assert halves[1.0] < 1.05 * labels_alone


@pytest.mark.parametrize(
    ("labelled", "others"),
    [([10.0] * 4 + [9.0], [50.0] * 5), ([50.0] * 4 + [0.0], [50.0] * 5), ([50.0] * 5, [0.0] * 5)],
)
def test_too_few_labels_too_few_buckets_or_nobody_without_one_is_nothing_to_join(labelled: list[float], others: list[float]) -> None:
    means = np.full(5, 0.5)

    assert powered_mean(np.array(labelled), means, means, np.array(others), means) is None
