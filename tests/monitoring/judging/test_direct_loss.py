"""Estimates of numbers without labels: a model of the loss whose means are those of its rows, and whose bands hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from monitoring.judging.estimating.bands import Estimate
from monitoring.judging.estimating.estimated import Estimated, LabelledValues, join_values
from monitoring.judging.estimating.loss_model import BinnedRows, LossModel, binned, learn_losses
from monitoring.judging.estimating.value_estimator import ValueEstimator, learn_value_estimator
from training.profiles.bins import SCORE, Bins, ColumnBins

BINS = Bins(
    (
        ColumnBins("wind", "numeric", edges=tuple(np.linspace(0, 1, 11))),
        ColumnBins("place", "categorical", categories=("coast", "hill")),
        ColumnBins("@distance", "numeric", edges=(0.0, 1.0)),
        ColumnBins(SCORE, "numeric", edges=(-1.0, 0.0, 1.0)),
    )
)
EACH = 60


def rows_of(n: int, seed: int, *, windy: float = 0.5) -> tuple[dict[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Features with what was answered, and errors that grow with the wind, on the hill most."""
    rng = np.random.default_rng([n, seed])
    wind = np.where(rng.random(n) < windy, rng.uniform(0.5, 1, n), rng.uniform(0, 0.5, n))
    place = np.where(rng.random(n) < 0.3, "hill", "coast").astype(object)
    error = np.abs(rng.normal(0, 0.5 + 2 * wind + (place == "hill"), n))
    return {"wind": wind, "place": place, "@distance": wind, SCORE: rng.uniform(-1, 1, n)}, error


def labelled(n: int, seed: int) -> BinnedRows:
    columns, error = rows_of(n, seed)
    return binned(BINS, columns, error, np.arange(n) // EACH)


def learned(metric: str, n: int = 3000) -> ValueEstimator:
    estimator = learn_value_estimator(metric, labelled(n, 0))
    assert isinstance(estimator, ValueEstimator), estimator
    return estimator


def one_hot(rows: BinnedRows) -> np.ndarray[Any, Any]:
    return np.concatenate([np.eye(rows.sizes[name])[place] for name, place in rows.places.items()], axis=1)


def test_the_mean_from_counts_is_the_mean_over_rows_of_ridge_regression() -> None:
    rows, block = labelled(1200, 0), np.arange(1200) // 120
    model: LossModel = learn_losses(rows, rows.error, block)
    columns, _ = rows_of(500, 1)
    plain = Ridge(alpha=model.penalty * 1200).fit(one_hot(rows), rows.error)
    expected = plain.predict(one_hot(binned(BINS, columns, np.zeros(500), np.zeros(500, np.intp)))).mean()

    shares = model.shares(BINS.count(columns).counts)

    assert shares is not None
    assert model.means(shares)[0, 0] == pytest.approx(expected, rel=1e-9)


def test_each_block_is_left_out_once() -> None:
    rows, block = labelled(1200, 0), np.arange(1200) // 120
    model, keep = learn_losses(rows, rows.error, block), np.arange(1200) // 120 != 4
    plain = Ridge(alpha=model.penalty * 1200).fit(one_hot(rows)[keep], rows.error[keep])

    assert model.terms[5, 0] == pytest.approx(plain.coef_, abs=1e-9)


def test_features_and_answers_are_asked_and_what_is_derived_is_not() -> None:
    assert list(labelled(100, 0).sizes) == ["wind", "place", SCORE]


@pytest.mark.parametrize("metric", ["mae", "rmse"])
@pytest.mark.parametrize("windy", [0.5, 0.9])
def test_the_band_holds_what_labels_say_later(metric: str, windy: float) -> None:
    estimator, inside = learned(metric), []
    for seed in range(200):
        columns, error = rows_of(EACH, 100 + seed, windy=windy)
        estimate = estimator.estimate(BINS.count(columns).counts, EACH)
        assert estimate is not None
        realised = error.mean() if metric == "mae" else np.sqrt((error**2).mean())
        inside.append(estimate.low <= realised <= estimate.high)

    assert 0.9 <= np.mean(inside) <= 0.995


def test_rows_in_bins_that_the_reference_does_not_have_are_counted() -> None:
    columns, _ = rows_of(EACH, 5)
    columns["place"] = np.array(["island"] * 15 + ["coast"] * (EACH - 15), object)

    estimate = learned("mae").estimate(BINS.count(columns).counts, EACH)

    assert estimate is not None
    assert estimate.outside == 0.25


@pytest.mark.parametrize("counts", [{}, {"wind": np.zeros(13, np.int64)}, {"wind": np.ones(4, np.int64)}])
def test_counts_under_other_bins_have_no_estimate(counts: dict[str, np.ndarray[Any, Any]]) -> None:
    assert learned("mae").estimate(counts, EACH) is None


@pytest.mark.parametrize(
    ("metric", "n", "says"),
    [
        ("mae", 480, "480 of 500 labelled rows of this version have matured"),
        ("r2", 3000, "r2 is no mean of the rows' errors"),
    ],
)
def test_what_cannot_be_known_is_said(metric: str, n: int, says: str) -> None:
    reason = learn_value_estimator(metric, labelled(n, 0))

    assert isinstance(reason, str)
    assert says in reason


def test_rows_of_few_buckets_are_no_reference() -> None:
    columns, error = rows_of(800, 0)

    reason = learn_value_estimator("mae", binned(BINS, columns, error, np.arange(800) // 200))

    assert reason == "no estimate: the matured labelled rows lie in 4 buckets, and 5 are the fewest"


def window(seed: int, *, labelled: float, off: float) -> tuple[list[tuple[Any, LabelledValues | None]], np.ndarray[Any, Any]]:
    """Fourteen buckets of rows some of which have a label, windier than the reference, and by `off` worse than it knows."""
    rng = np.random.default_rng([seed, 11])
    buckets, errors = [], []
    for bucket in range(14):
        columns, error = rows_of(200, 1000 * seed + bucket, windy=0.8)
        error, drawn = error + off, rng.random(200) < labelled
        own = BINS.count({name: values[drawn] for name, values in columns.items()})
        known = LabelledValues(int(drawn.sum()), float(error[drawn].mean()), own.counts) if drawn.any() else None
        buckets.append((BINS.count(columns), known))
        errors.append(error)
    return buckets, np.concatenate(errors)


@pytest.mark.parametrize("off", [0.0, 1.0], ids=["right", "wrong"])
def test_joined_with_labels_the_bounds_hold_however_wrong_the_estimate(off: float) -> None:
    estimator, holds = learned("mae"), []
    for seed in range(40):
        buckets, errors = window(seed, labelled=0.15, off=off)
        alone = Estimated((Estimate("mae", "DLE", 0.0, 0.0, 0.0, len(errors), 3000),))
        joined = join_values(alone, estimator, buckets).lines[-1]
        holds.append(joined.low <= errors.mean() <= joined.high)

    assert sum(holds) >= 34


def test_joined_it_is_what_rows_say_one_by_one() -> None:
    estimator, (buckets, errors) = learned("mae"), window(3, labelled=0.2, off=0.5)
    alone = Estimated((Estimate("mae", "DLE", 0.0, 0.0, 0.0, len(errors), 3000, 0.25),))

    joined = join_values(alone, estimator, buckets).lines[-1]

    def total(counts: Any) -> float:
        n = int(next(iter(counts.values())).sum())
        return n * estimator.mean_loss(counts)

    n = sum(own.n for _, own in buckets if own)
    loss = sum(own.n * own.loss for _, own in buckets if own) / n
    guess = sum(total(own.counts) for _, own in buckets if own)
    others = (sum(total(counted.counts) for counted, _ in buckets) - guess) / (len(errors) - n)
    weight = (joined.value - loss) / (others - guess / n)
    assert (joined.method, joined.labels, joined.n, joined.outside) == ("PPI++", n, len(errors), 0.25)
    assert 0.0 <= weight <= 1.0
    assert joined.low < errors.mean() < joined.high


def test_of_root_mean_squares_the_squares_are_joined() -> None:
    estimator, (buckets, errors) = learned("rmse"), window(1, labelled=0.3, off=0.0)
    squared = [(counted, LabelledValues(own.n, 7.0, own.counts)) for counted, own in buckets if own]
    alone = Estimated((Estimate("rmse", "DLE", 0.0, 0.0, 0.0, len(errors), 3000),))

    joined = join_values(alone, estimator, squared).lines[-1]

    assert joined.value == pytest.approx(np.sqrt(7.0), rel=0.05)


def test_too_few_labels_of_numbers_are_not_joined() -> None:
    buckets, errors = window(1, labelled=0.01, off=0.0)
    alone = Estimated((Estimate("mae", "DLE", 0.0, 0.0, 0.0, len(errors), 3000),))

    assert join_values(alone, learned("mae"), buckets) == alone
