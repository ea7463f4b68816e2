from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.judging.performance.baseline import LEAST_ROWS, Baseline, BucketLoss, learn_baseline

DAY = 86_400_000_000
HOUR = DAY // 24


def of_errors(rate: np.ndarray, rows: int, seed: int, width_us: int = DAY) -> list[BucketLoss]:
    """Buckets of `rows` rows each, which err with the probabilities `rate`."""
    wrong = np.random.default_rng(seed).binomial(rows, rate) / rows
    return [BucketLoss(number * width_us, rows, mean, mean * (1 - mean)) for number, mean in enumerate(wrong.tolist())]


def test_there_is_no_baseline_before_twenty_eight_days() -> None:
    days = of_errors(np.full(40, 0.2), 500, seed=0)

    assert learn_baseline([], "miss", DAY) is None
    assert learn_baseline(days[:27], "miss", DAY) is None
    assert learn_baseline(days, "miss", DAY) == learn_baseline(days[:28], "miss", DAY)


def test_a_baseline_goes_on_until_it_has_fifteen_hundred_rows() -> None:
    days = of_errors(np.full(90, 0.2), 20, seed=0)

    learned = learn_baseline(days, "miss", DAY)

    assert learned is not None
    assert (learned.n, learned.buckets, learned.end_us) == (1500, 75, 75 * DAY)
    assert learn_baseline(days[:74], "miss", DAY) is None


def test_mean_and_variance_are_those_of_all_rows() -> None:
    draws = np.random.default_rng(3).gamma(2.0, size=(30, 80))
    buckets = [BucketLoss(number * DAY, 80, float(part.mean()), float(part.var())) for number, part in enumerate(draws)]

    learned = learn_baseline(buckets, "absolute_error", DAY)

    assert learned is not None
    assert learned.mean == pytest.approx(draws[:28].mean(), abs=1e-12)
    assert learned.variance == pytest.approx(draws[:28].var(), abs=1e-12)


def test_independent_rows_have_no_design_effect() -> None:
    learned = [learn_baseline(of_errors(np.full(28, 0.2), 400, seed), "miss", DAY) for seed in range(40)]

    assert sum(one is not None and one.design_effect > 1 for one in learned) <= 2


def test_a_wobble_from_day_to_day_is_seen_in_buckets_of_an_hour() -> None:
    rates = np.clip(0.2 + 0.02 * np.random.default_rng(5).standard_normal(28), 0, 1)
    expected = 1 + 2880 * 0.02**2 / (0.2 * 0.8)

    by_hour = learn_baseline(of_errors(np.repeat(rates, 24), 120, 5, HOUR), "miss", HOUR)
    by_day = learn_baseline(of_errors(rates, 2880, 5), "miss", DAY)

    assert by_hour is not None
    assert by_day is not None
    assert by_hour.design_effect == pytest.approx(expected, rel=0.5)
    assert by_day.design_effect == pytest.approx(expected, rel=0.5)


def test_the_bound_is_above_the_rate_in_nineteen_of_twenty_baselines() -> None:
    learned = [learn_baseline(of_errors(np.full(28, 0.2), 60, seed), "miss", DAY) for seed in range(400)]

    below = sum(one is not None and one.upper < 0.2 for one in learned)

    assert 0.02 * 400 <= below <= 0.08 * 400


def test_the_bound_is_wider_where_days_differ() -> None:
    rates = np.clip(0.2 + 0.04 * np.random.default_rng(1).standard_normal(28), 0, 1)

    calm, restless = (learn_baseline(of_errors(rate, 2880, 1), "miss", DAY) for rate in (np.full(28, 0.2), rates))

    assert calm is not None
    assert restless is not None
    assert restless.upper - restless.mean > 3 * (calm.upper - calm.mean)
    assert restless.design_effect_at(2 * restless.rows_a_day) == pytest.approx(2 * restless.design_effect - 1)


def test_losses_that_never_vary_have_a_bound_of_their_own() -> None:
    learned = learn_baseline([BucketLoss(number * DAY, 100, 0.0, 0.0) for number in range(28)], "miss", DAY)

    assert learned is not None
    assert (learned.mean, learned.upper, learned.design_effect) == (0.0, 0.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 400), st.floats(0, 3), st.floats(0, 2)), min_size=1, max_size=80))
def test_every_baseline_comes_back_as_it_was_stored(rows: list[tuple[int, int, float, float]]) -> None:
    starts = sorted({number for number, *_ in rows})
    buckets = [BucketLoss(at * DAY, n, mean, variance) for at, (_, n, mean, variance) in zip(starts, rows, strict=False)]

    learned = learn_baseline(buckets, "log_loss", DAY, least_rows=1)

    assert learned is None or (Baseline.from_dict(learned.to_dict()) == learned and learned.upper >= learned.mean)


@pytest.mark.parametrize("outlier", [100.0, 1e4, 1e60])
def test_one_mistaken_label_does_not_move_the_baseline(outlier: float) -> None:
    generator = np.random.default_rng(0)
    rows = np.abs(generator.standard_normal((30, 50)))
    as_it_was = learn_baseline([of_rows(day, row) for day, row in enumerate(rows)], "absolute_error", DAY)
    rows[7, 3] = outlier

    mistaken = learn_baseline([of_rows(day, row) for day, row in enumerate(rows)], "absolute_error", DAY)

    assert as_it_was is not None
    assert mistaken is not None
    assert mistaken.upper == pytest.approx(as_it_was.upper, rel=0.02)
    assert (mistaken.start_us, mistaken.end_us) == (as_it_was.start_us, as_it_was.end_us)
    assert mistaken.n == as_it_was.n - 50


@pytest.mark.parametrize("seed", range(5))
def test_no_bucket_of_long_tails_or_few_rows_is_left_out(seed: int) -> None:
    generator = np.random.default_rng(seed)
    tails = [of_rows(day, generator.lognormal(0.0, 1.5, 60)) for day in range(30)]
    few = [of_rows(hour, generator.exponential(1.0, 1 + hour % 3)) for hour in range(1500)]

    learned = [learn_baseline(losses, "absolute_error", DAY) for losses in (tails, few)]

    assert [one.n if one is not None else 0 for one in learned] == [
        sum(b.n for b in tails[:28]),
        sum(b.n for b in few[: learned_until(few)]),
    ]


def learned_until(losses: list[BucketLoss]) -> int:
    """How many buckets it takes to 1,500 rows."""
    return int(np.searchsorted(np.cumsum([one.n for one in losses]), LEAST_ROWS)) + 1


def of_rows(bucket: int, losses: np.ndarray) -> BucketLoss:
    return BucketLoss(bucket * DAY, len(losses), float(losses.mean()), float(losses.var()))


def test_hours_without_rows_say_nothing_of_the_rate() -> None:
    busy = [BucketLoss(day * DAY + at * HOUR, 12, 0.2, 0.16) for day in range(30) for at in range(8)]

    learned = learn_baseline(busy, "miss", HOUR)

    assert learned is not None
    assert learned.rows_a_day == 12 * 24
