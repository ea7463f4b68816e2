"""Phases and restlessness that are there are found, and none that are not."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

from training.profiles.bins import Bins, ColumnBins, rank_scores
from training.profiles.phases import DAY_US, HOUR_US, hour_of_week, nested_widths
from training.profiles.variation import (
    ColumnBlocks,
    ColumnVariation,
    Variation,
    base_width_us,
    column_blocks,
    key_of,
    learn_column,
    learn_variation,
    parts_of_key,
)

NAMES = st.text() | st.lists(st.sampled_from([" where ", " where", "where ", " ", '"', "\\", "=", "*", "\n", "a", "é", "@score"])).map(
    "".join
)
EDGES = stats.norm.ppf(np.linspace(0, 1, 11))


def numbers(mean: np.ndarray, rows: int, *, seed: int = 0, width_us: int = HOUR_US) -> ColumnBlocks:
    """Return counts of normal numbers in tenths, a block for each mean."""
    shares = np.diff(stats.norm.cdf(EDGES - mean[:, None]), axis=1)
    counts = np.pad(np.random.default_rng(seed).multinomial(rows, shares), ((0, 0), (0, 3)))
    return ColumnBlocks("x", "", True, np.arange(len(mean)) * width_us, width_us, counts)


HOURS = np.arange(28 * 24)
WAVE = np.sin(2 * np.pi * HOURS / 24)
WEEKEND = ((HOURS // 24 + 3) % 7 >= 5) * 1.0
LEVELS = np.repeat(np.random.default_rng(5).normal(size=28), 24)


@pytest.mark.parametrize(
    ("mean", "phase"),
    [
        (0 * WAVE, "none"),
        (0.2 * WAVE, "hour"),
        (0.3 * WEEKEND, "weekday"),
        (0.2 * WAVE + 0.3 * WEEKEND, "hour_of_week"),
        (0.3 * LEVELS, "none"),
        (np.where(HOURS < 7 * 24, 0.2 * WAVE, 0.0)[: 7 * 24], "none"),
        ((0.3 * WEEKEND)[: 21 * 24], "none"),
    ],
    ids=["nothing", "day", "week", "both", "levels of days", "a day, too few", "a week, too few"],
)
def test_a_phase_is_found_where_cycles_agree_and_there_are_enough_of_them(mean: np.ndarray, phase: str) -> None:
    learned = learn_column(numbers(mean, 300))

    assert learned.phase == phase


def test_what_resembles_its_neighbours_has_no_phase() -> None:
    rng = np.random.default_rng(1)
    walks = [lfilter([0.3], [1, -0.95], rng.normal(size=28 * 24)) for _ in range(100)]

    phases = [learn_column(numbers(walk, 300, seed=i)).phase for i, walk in enumerate(walks)]

    assert phases.count("none") >= 98


def test_counts_by_phase_are_the_counts_of_its_blocks() -> None:
    blocks = numbers(0.3 * WEEKEND, 300)

    learned = learn_column(blocks)

    weekday = (blocks.start_us // DAY_US + 3) % 7
    assert learned.cells.tolist() == [blocks.counts[weekday == d].sum(axis=0).tolist() for d in range(7)]
    assert learned.total.tolist() == blocks.counts.sum(axis=0).tolist()


def test_independent_rows_are_not_called_restless() -> None:
    excesses = [learn_column(numbers(0 * WAVE, 300, seed=seed)).excess for seed in range(300)]

    assert stats.binomtest(sum(map(bool, excesses)), 300, 0.001, alternative="greater").pvalue > 1e-4


def test_the_excess_of_days_with_levels_of_their_own_is_that_of_their_variance() -> None:
    levels = np.random.default_rng(2).normal(size=300) * 0.2

    learned = learn_column(numbers(levels, 500, width_us=DAY_US))

    by_length = {e.length_us // DAY_US: e for e in learned.excess}
    assert by_length[1].ratio == pytest.approx(500 * 0.2**2, rel=0.25)
    assert by_length[1].rows == 500
    assert not learned.excess[-1].lasts


def test_correlated_rows_have_the_excess_their_correlation_makes() -> None:
    z = lfilter([0.8], [1, -0.6], np.random.default_rng(3).normal(size=400_000))
    counts = np.stack([np.histogram(block, EDGES)[0] for block in z.reshape(-1, 200)])

    learned = learn_column(ColumnBlocks("x", "", True, np.arange(2000) * HOUR_US // 6, HOUR_US // 6, np.pad(counts, ((0, 0), (0, 3)))))

    assert [e.ratio for e in learned.excess][:3] == pytest.approx([3.0] * 3, rel=0.25)  # (1 + .6) / (1 - .6) - 1


def test_levels_that_come_and_stay_last() -> None:
    walk = np.cumsum(np.random.default_rng(4).normal(size=120)) * 0.1

    learned = learn_column(numbers(walk, 300, width_us=DAY_US))

    assert learned.excess[-1].lasts


def test_the_freedom_is_the_number_of_levels_and_not_of_blocks() -> None:
    levels = np.repeat(np.random.default_rng(7).normal(size=56) * 0.3, 24)

    excess = {e.length_us // HOUR_US: e for e in learn_column(numbers(levels, 300)).excess}

    assert [round(excess[hours].freedom) for hours in (1, 4, 24)] == [56, 56, 56]
    assert excess[48].freedom == pytest.approx(28, abs=1)


def test_what_blocks_are_too_few_to_show_is_as_it_was_known() -> None:
    walk = np.cumsum(np.random.default_rng(4).normal(size=120)) * 0.1
    known = learn_column(numbers(walk, 300, width_us=DAY_US)).excess
    quiet = np.zeros(20)

    few, more = (learn_column(numbers(quiet[:n], 300, width_us=DAY_US), known).excess for n in (6, 20))

    assert [(e.length_us, e.a_row, e.lasts, e.freedom) for e in few] == [
        (e.length_us, pytest.approx(e.a_row), e.lasts, e.freedom) for e in known
    ]
    assert [e.rows for e in few] == [300 * min(6, e.length_us // DAY_US) for e in known]
    none = ColumnBlocks("x", "", True, np.zeros(0, dtype=np.int64), DAY_US, np.zeros((0, 13), dtype=np.int64))
    assert learn_column(none, known).excess == ()
    assert [e.length_us // DAY_US for e in more] == [e.length_us // DAY_US for e in known][2:]  # of one and two days there are enough


def test_levels_last_as_far_as_there_are_blocks_enough_of_a_length() -> None:
    """Days come in months of eight with a gap after them: eleven months are blocks, of two there are too few."""
    walk = np.cumsum(np.random.default_rng(4).normal(size=88)) * 0.1
    full = numbers(walk, 300, width_us=DAY_US)
    start_us = full.start_us + full.start_us // (8 * DAY_US) * (24 * DAY_US)

    excess = learn_column(ColumnBlocks("x", "", True, start_us, DAY_US, full.counts)).excess

    assert (excess[-1].length_us // DAY_US, excess[-1].lasts) == (16, True)


def test_a_restless_category_is_found_by_its_own_bin() -> None:
    rng = np.random.default_rng(6)
    bursts = rng.random(300) < 0.1
    shares = np.stack([[0.5, 0.499, 0.001, 0, 0], [0.45, 0.45, 0.1, 0, 0]])[bursts.astype(int)]

    learned = learn_column(ColumnBlocks("c", "", False, np.arange(300) * DAY_US, DAY_US, rng.multinomial(400, shares)))

    assert learned.excess[0].ratio > 10


@pytest.mark.parametrize(
    "counts",
    [np.zeros((0, 5), int), np.zeros((20, 5), int), np.eye(5, dtype=int)[[0] * 20], np.ones((1, 5), int), np.ones((7, 5), int)],
    ids=["no blocks", "no rows", "one value", "one block", "seven"],
)
@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_column_that_teaches_nothing_has_neither_phase_nor_excess(counts: np.ndarray, is_ordered: bool) -> None:
    learned = learn_column(ColumnBlocks("x", "", is_ordered, np.arange(len(counts)) * HOUR_US, HOUR_US, counts))

    assert (learned.phase, learned.excess) == ("none", ())
    assert learned.total.tolist() == counts.sum(axis=0).tolist()


def test_blocks_without_rows_may_be_left_out() -> None:
    whole = numbers(0.2 * WAVE, 300)
    night = (HOURS % 24) < 5
    kept = ColumnBlocks("x", "", True, whole.start_us[~night], HOUR_US, whole.counts[~night])
    whole.counts[night] = 0

    assert learn_column(whole).to_dict() == learn_column(kept).to_dict()


def test_a_variation_survives_json_and_says_whether_it_had_enough_blocks() -> None:
    learned = learn_variation("b", [numbers(0.3 * LEVELS + 0.2 * WAVE, 300)])

    assert Variation.from_dict(learned.to_dict()).to_dict() == learned.to_dict()
    assert learned.is_enough
    assert not learn_variation("b", [numbers(np.zeros(7), 300)]).is_enough


def test_columns_are_replaced_by_name_and_segment() -> None:
    one = [ColumnVariation("x", segment, True, "none", np.zeros((1, 5), np.int64)) for segment in ("", "a=b")]
    new = ColumnVariation("x", "a=b", True, "none", np.ones((1, 5), np.int64))

    replaced = Variation("b", tuple(one), True).with_columns([new])

    assert [c.cells.sum() for c in replaced.columns] == [0, 5]


def test_profiles_of_blocks_are_learned_as_their_counts() -> None:
    bins = Bins((ColumnBins("x", "numeric", edges=(0.0, 1.0, 2.0)), ColumnBins("@hour", "numeric", edges=(0.0, 12.0, 24.0))))
    blocks = [(day * DAY_US, bins.count({"x": np.array([day % 2, 1.5]), "@hour": np.array([1.0, 2.0])})) for day in range(10)]

    (column,) = column_blocks(bins, blocks, DAY_US, "a=b")

    assert (column.name, column.segment, column.is_ordered) == ("x", "a=b", True)
    assert column.counts[:, :2].tolist() == [[1, 1], [0, 2]] * 5


def test_scores_have_mean_zero_and_ignore_the_missing() -> None:
    shares = np.array([0.2, 0.3, 0.1, 0.05, 0.15, 0.2])

    scores = rank_scores(shares)

    assert (shares @ scores).tolist() == pytest.approx([0, 0], abs=1e-12)
    assert scores[-1].tolist() == [0, 0]
    assert np.argsort(scores[:-1, 0]).tolist() == [3, 0, 1, 2, 4]


@pytest.mark.parametrize("minutes", [1, 7, 10, 45, 60, 90, 1440, 2160, 10080])
def test_widths_are_nested_and_pass_by_whole_hours_and_days(minutes: int) -> None:
    widths = nested_widths(minutes * 60_000_000, 400 * DAY_US)

    assert all(b % a == 0 and b > a for a, b in pairwise(widths))
    assert any(w % HOUR_US == 0 for w in widths)
    assert any(w % DAY_US == 0 for w in widths)


@pytest.mark.parametrize(("bucket_us", "days"), [(60_000_000, 3650), (DAY_US, 10), (HOUR_US, 36_500), (7 * DAY_US, 3)])
def test_base_blocks_are_no_more_than_can_be_held(bucket_us: int, days: int) -> None:
    width = base_width_us(bucket_us, days * DAY_US)

    assert width >= bucket_us
    assert days * DAY_US / width <= 36_000


def test_monday_begins_the_week() -> None:
    assert hour_of_week(np.array([4 * DAY_US, 3 * DAY_US + 23 * HOUR_US, -DAY_US])).tolist() == [0, 167, 48]


@given(NAMES, NAMES)
@example("wind where place=hill", "")
@example("wind where", "place=hill")
@example('"wind"', "place=a where b")
def test_a_key_says_of_which_column_and_segment_it_is_whatever_they_are_called(name: str, segment: str) -> None:
    assert parts_of_key(key_of(name, segment)) == (name, segment)


@pytest.mark.parametrize("name", ['"', '"gust" of wind', '"a'])
def test_the_keys_of_earlier_releases_are_read_for_what_they_are(name: str) -> None:
    assert parts_of_key(name)[0] == name
