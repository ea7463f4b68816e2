"""How late labels come, of a log in which the latest are outstanding: by hand, and against streams whose delays are known."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from monitoring.judging.label_delays import LEAST_LABELS, DelayBins, class_delays, delay_quantile, plain_duration

DAY_US = 86_400_000_000
BINS = DelayBins.of(timedelta(days=1))


def labels_seen(
    rng: np.random.Generator, mean_days: float, age_days: int, *, a_day: int = 40
) -> list[tuple[int, dict[tuple[str, int], int]]]:
    """Return labels by age of their row, of rows that came evenly for some days; only those that came before the end are seen."""
    seen = []
    for age in range(1, age_days + 1):
        delays = (rng.exponential(mean_days, a_day) * DAY_US).astype(np.int64)
        places, numbers = np.unique(BINS.places(delays[delays <= age * DAY_US]), return_counts=True)
        seen.append((age * DAY_US, {("slow", place): number for place, number in zip(places.tolist(), numbers.tolist(), strict=True)}))
    return seen


def test_the_product_limit_of_a_small_table_is_that_by_hand() -> None:
    # rows by age (what ends lie behind them) and delay: of the old ones 6 of 8 come within the first bin, of the young all that are seen
    counts = np.zeros((4, 3), dtype=np.int64)
    counts[3] = [6, 1, 1]
    counts[1] = [12, 0, 0]
    counts[2] = [4, 4, 0]

    quantiles = [delay_quantile(counts, share, least=1) for share in (0.5, 0.6, 0.85, 0.88)]

    # bin 2: 1 of 8 -> 1 - 1/8 = 7/8 come sooner; bin 1: 5 of (6 + 1 + 4 + 4) -> 7/8 * 2/3 = 7/12 come in bin 0
    assert quantiles == [(0, 2), (1, 2), (1, 2), (2, 2)]


def test_without_old_rows_nothing_is_asked_about_long_delays() -> None:
    counts = np.zeros((4, 3), dtype=np.int64)
    counts[2] = [30, 30, 0]

    assert delay_quantile(counts) == (1, 1)
    assert delay_quantile(np.zeros((4, 3), dtype=np.int64)) is None


@pytest.mark.parametrize("age_days", [60, 90, 200])
def test_the_quantile_of_late_labels_is_found_though_many_are_outstanding(age_days: int) -> None:
    seen = labels_seen(np.random.default_rng(3), 8.0, age_days)
    true_us = 8.0 * np.log(20) * DAY_US
    counts = sum(counts.get(("slow", place), 0) * np.eye(1, len(BINS.ends_us), place)[0] for _, counts in seen for place in range(40))
    naive_us = BINS.ends_us[int(np.argmax(np.cumsum(counts) >= 0.95 * counts.sum()))]

    (slow,) = class_delays(seen, BINS)

    step = 2 ** (1 / 4)
    assert true_us / step / 1.05 <= slow.quantile_us <= true_us * step * 1.05
    assert slow.is_known == (2 * slow.quantile_us <= age_days * DAY_US / step)
    assert naive_us <= slow.quantile_us


def test_in_a_young_log_it_is_at_least_so_much() -> None:
    (slow,) = class_delays(labels_seen(np.random.default_rng(3), 40.0, 30, a_day=100), BINS)

    assert not slow.is_known
    assert 15 * DAY_US < slow.quantile_us <= 30 * DAY_US
    assert slow.sentence() == f"of slow in at least {plain_duration(slow.quantile_us)}"


def test_of_few_labels_nothing_is_measured() -> None:
    enough = [(10 * DAY_US, {("slow", 3): LEAST_LABELS - 19, ("rare", 0): 19})]

    assert [one.name for one in class_delays(enough, BINS)] == ["slow"]
    assert class_delays([(10 * DAY_US, {("slow", 3): LEAST_LABELS - 1})], BINS) == ()


def test_what_comes_within_the_delay_of_the_file_is_one_bin_whose_end_it_is() -> None:
    assert BINS.places(np.array([0, DAY_US, DAY_US + 1])).tolist() == [0, 0, 1]
    assert BINS.ends_us[[0, 4, 8]].tolist() == [DAY_US, 2 * DAY_US, 4 * DAY_US]
    assert DelayBins.of(timedelta()).base_us == DelayBins.of(None).base_us == 60_000_000
