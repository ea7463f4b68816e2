"""Harm: bets that win nothing on average without it, exactly in small cases; sums over starts; the promise and delays, simulated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.monitoring.harm import AS_IT_WAS, MOST_LABELS, RISES, goes_back, quarter, rise
from monitoring.judging.performance.baseline import Baseline, BucketLoss, learn_baseline
from monitoring.judging.performance.bets import BETS, EFFECTS, Null, Rest, null_of, null_of_segment
from monitoring.judging.performance.harm import HarmState, Rule, advance, look
from monitoring.judging.performance.watch import Episode, HarmWatch
from training.profiles.phases import DAY_US

RULE = Rule(DAY_US)
BASELINE = Baseline("miss", 0, 28 * DAY_US, 2800, 28, 0.2, 0.16, 1.0, 100.0, 0.21)
OF_DISTANCES = replace(BASELINE, loss="absolute_error", mean=1.0, variance=0.6, upper=1.1)


def bucket(day: int, losses: object, segment: str = "") -> BucketLoss:
    values = np.asarray(losses, dtype=float)
    return BucketLoss(day * DAY_US, len(values), float(values.mean()), float(values.var()), segment)


def won_by(null: Null, losses: object, others: object | None = None, *, is_return: bool = False) -> list[float]:
    """What each bet makes of one bucket: its sum over starts is the days of the bucket times the factor."""
    rest = None if others is None else {0: bucket(0, others)}
    state = advance(HarmState(0), null, RULE, [bucket(0, losses)], rest, is_return=is_return)
    return [math.exp(bet.log_sum) for bet in state.bets if math.isfinite(bet.log_sum)]


def in_days(shares: list[float], rows: int = 50) -> list[BucketLoss]:
    return [BucketLoss(day * DAY_US, rows, share, share * (1 - share)) for day, share in enumerate(shares)]


Values = dict[float, float]  # what a row loses, with its probability


def expected(null: Null, rows: int, values: Values, of_others: tuple[int, Values] | None = None, *, is_return: bool = False) -> list[float]:
    """The exact mean of what each bet makes of independent rows."""
    count, others = of_others or (0, {0.0: 1.0})
    brought = [
        math.prod(values[v] for v in drawn)
        * math.prod(others[v] for v in rest)
        * np.array(won_by(null, drawn, rest or None, is_return=is_return))
        for drawn in itertools.product(values, repeat=rows)
        for rest in itertools.product(others, repeat=count)
    ]
    return np.sum(brought, axis=0).tolist()


@pytest.mark.parametrize("wrong", [0.05, 0.15, 0.23])
def test_where_as_many_are_wrong_as_may_be_a_bet_wins_nothing_on_average(wrong: float) -> None:
    null = null_of(BASELINE, 0.02)

    means = expected(null, 6, {0.0: 1 - wrong, 1.0: wrong})

    assert max(means) <= 1 + 1e-12
    if wrong == pytest.approx(null.center):
        assert means == pytest.approx([1.0] * BETS)


@pytest.mark.parametrize("values", [{0.0: 0.5, 2.3: 0.5}, {1.0: 0.9, 2.5: 0.1}, {0.0: 0.97, 38.0: 0.03}, {0.2: 0.4, 0.9: 0.4, 3.5: 0.2}])
def test_of_losses_without_an_upper_bound_a_bet_wins_nothing_on_average(values: dict[float, float]) -> None:
    null = null_of(OF_DISTANCES, 0.05)
    assert sum(v * p for v, p in values.items()) <= null.center + 1e-9

    means = expected(null, 3, values)

    assert max(means) <= 1 + 1e-12


@pytest.mark.parametrize("level", [0.05, 0.2, 0.6])
def test_a_segment_that_is_as_far_from_the_rest_as_it_was_wins_nothing_wherever_both_are(level: float) -> None:
    gap = replace(BASELINE, mean=0.05, upper=0.06)
    null = Null(gap, 0.2 + 0.06 + 0.02, rest=Rest(0.2, 0.16))

    means = expected(null, 2, {0.0: 0.92 - level, 1.0: level + 0.08}, (4, {0.0: 1 - level, 1.0: level}))

    assert max(means) <= 1 + 1e-12


@pytest.mark.parametrize("others", [{0.0: 0.5, 2.0: 0.5}, {0.4: 0.5, 1.6: 0.5}, {0.0: 0.2, 1.0: 0.6, 2.0: 0.2}, {2.0: 0.5, 3.0: 0.5}])
def test_the_same_of_losses_without_an_upper_bound(others: dict[float, float]) -> None:
    gap = replace(OF_DISTANCES, mean=0.0, upper=0.1)
    null = Null(gap, 1.0 + 0.1, rest=Rest(1.0, 1.0))
    own = {value + 0.1: chance for value, chance in others.items()}

    means = expected(null, 2, own, (3, others))

    assert max(means) <= 1 + 1e-12


@pytest.mark.parametrize("wrong", [0.23, 0.3, 0.6])
def test_where_as_many_are_wrong_as_may_be_or_more_nothing_says_on_average_that_they_are_back(wrong: float) -> None:
    null = null_of(BASELINE, 0.02)

    means = expected(null, 6, {0.0: 1 - wrong, 1.0: wrong}, is_return=True)

    assert len(means) == len(EFFECTS)
    assert max(means) <= 1 + 1e-12


@pytest.mark.parametrize("values", [{0.0: 0.5, 2.3: 0.5}, {1.0: 0.9, 2.5: 0.1}, {1.0: 0.9, 3.0: 0.1}, {1.2: 0.4, 1.15: 0.6}])
def test_nor_of_losses_without_an_upper_bound(values: dict[float, float]) -> None:
    null = null_of(OF_DISTANCES, 0.05)
    assert sum(v * p for v, p in values.items()) >= null.center - 1e-9

    means = expected(null, 3, values, is_return=True)

    assert max(means) <= 1 + 1e-12


@pytest.mark.parametrize("level", [0.05, 0.2, 0.6])
def test_nor_of_a_segment_that_is_as_far_from_the_rest_as_it_may_be_wherever_both_are(level: float) -> None:
    null = Null(replace(BASELINE, mean=0.05, upper=0.06), 0.2 + 0.06 + 0.02, rest=Rest(0.2, 0.16))

    means = expected(null, 2, {0.0: 0.92 - level, 1.0: level + 0.08}, (4, {0.0: 1 - level, 1.0: level}), is_return=True)

    assert max(means) <= 1 + 1e-12


@pytest.mark.parametrize("others", [{0.0: 0.5, 2.0: 0.5}, {0.4: 0.5, 1.6: 0.5}, {0.0: 0.2, 1.0: 0.6, 2.0: 0.2}, {2.0: 0.5, 3.0: 0.5}])
def test_nor_of_a_segment_of_losses_without_an_upper_bound(others: dict[float, float]) -> None:
    null = Null(replace(OF_DISTANCES, mean=0.0, upper=0.1), 1.0 + 0.1, rest=Rest(1.0, 1.0))
    own = {value + 0.1: chance for value, chance in others.items()}

    means = expected(null, 2, own, (3, others), is_return=True)

    assert max(means) <= 1 + 1e-12


@pytest.mark.parametrize(
    ("null", "losses", "others"),
    [
        (null_of(BASELINE, 0.02), [1] * 2 + [0] * 38, None),
        (null_of(OF_DISTANCES, 0.05), [0.6, 0.8] * 15, None),
        (Null(BASELINE, 0.43, rest=Rest(0.2, 0.16)), [1] * 2 + [0] * 18, [0] * 32 + [1] * 8),
        (Null(OF_DISTANCES, 1.3, rest=Rest(1.0, 0.6)), [0.6, 0.8] * 15, [0.8, 1.2] * 30),
    ],
    ids=["all", "distances", "a segment", "distances of a segment"],
)
def test_what_is_back_wins(null: Null, losses: list[float], others: list[float] | None) -> None:
    assert min(won_by(null, losses, others, is_return=True)) > 1


@pytest.mark.parametrize("loss", ["miss", "absolute_error"])
def test_a_segment_and_a_rest_without_a_mistake_in_their_baseline_are_held_against_each_other(loss: str) -> None:
    right = in_days([0.0] * 40)
    null = null_of_segment(right, {one.bucket_us: one for one in right}, loss, DAY_US, 0.02)
    assert null is not None
    rest = {day * DAY_US: BucketLoss(day * DAY_US, 50, 0.0, 0.0) for day in range(9)}

    same, worse = (advance(HarmState(0), null, RULE, in_days([wrong] * 9), rest) for wrong in (0.0, 0.2))

    assert not look(same, RULE).is_alarm
    assert look(worse, RULE).is_alarm


def test_a_segment_whose_losses_are_eighty_standard_deviations_up_is_worse() -> None:
    usual = [BucketLoss(day * DAY_US, 50, 1.0, 0.6) for day in range(60)]
    rest = {one.bucket_us: one for one in usual}
    null = null_of_segment(usual[:30], rest, "absolute_error", DAY_US, 0.02)
    assert null is not None
    far = [BucketLoss(day * DAY_US, 50, 62.0, 20.0) for day in range(30, 40)]

    same, worse = (advance(HarmState(30 * DAY_US), null, RULE, losses, rest) for losses in (usual[30:], far))

    assert not look(same, RULE).is_alarm
    assert look(worse, RULE).is_alarm


def test_a_few_rows_that_lose_much_are_not_over_where_a_bucket_has_none() -> None:
    generator, rule = np.random.default_rng(3), Rule(DAY_US)
    usual = [bucket(day, np.abs(generator.standard_normal(50))) for day in range(40)]
    learned = learn_baseline(usual, "absolute_error", DAY_US)
    assert learned is not None
    is_far = generator.random((1000, 50)) < 0.01
    rare = [bucket(40 + day, np.where(far, 40.0, 0.5)) for day, far in enumerate(is_far)]

    harm = HarmWatch.since(null_of(learned, 0.02)).after(rare, rule)

    assert harm.state.square == pytest.approx(0.01 * 40**2, rel=0.5)
    assert np.mean(is_far.any(axis=1)) < 0.5
    assert (harm.is_open, harm.ended) == (True, ())


def test_one_mistaken_label_keeps_no_episode_open() -> None:
    null = null_of(OF_DISTANCES, 0.05)
    back = [bucket(1 + day, [0.2, 1.2] * 25) for day in range(30)]

    harm = HarmWatch(null, HarmState(0), Episode(0, HarmState(0))).after([bucket(0, [1.0] * 49 + [1e9]), *back], Rule(DAY_US))

    assert not harm.is_open


def test_what_is_worse_wins() -> None:
    binary = won_by(null_of(BASELINE, 0.02), [1] * 12 + [0] * 8)
    distances = won_by(null_of(OF_DISTANCES, 0.05), [2.0] * 30)
    apart = won_by(Null(BASELINE, 0.23, rest=Rest(0.2, 0.16)), [1] * 12 + [0] * 8, [0] * 35 + [1] * 5)

    assert min(binary) > 1
    assert min(distances) > 1
    assert max(won_by(null_of(OF_DISTANCES, 0.05), [100.0] * 30)[:-1]) < 1 < won_by(null_of(OF_DISTANCES, 0.05), [100.0] * 30)[-1]
    assert min(apart) > 1


def test_a_design_effect_is_a_root_of_what_is_won() -> None:
    restless = replace(BASELINE, design_effect=5.0, rows_a_day=20.0)
    losses = [1] * 12 + [0] * 8

    plain, careful = (won_by(null_of(one, 0.02), losses) for one in (BASELINE, restless))

    assert careful == pytest.approx([value ** (1 / 5) for value in plain])


SHARES = st.lists(st.integers(0, 50).map(lambda wrong: wrong / 50), min_size=1, max_size=40)


@given(SHARES)
def test_evidence_is_the_sum_over_all_starts(shares: list[float]) -> None:
    null = null_of(BASELINE, 0.02)

    state = advance(HarmState(0), null, RULE, in_days(shares))

    for size, bet in zip(null.bets(), state.bets[:-1], strict=True):
        gains = [50 * (share * math.log1p(size * (1 - null.center)) + (1 - share) * math.log1p(-size * null.center)) for share in shares]
        since = [math.fsum(gains[start:]) for start in range(len(gains))]
        assert bet.log_sum == pytest.approx(float(np.logaddexp.reduce(since)), abs=1e-9)
        assert bet.log_best == pytest.approx(max(since), abs=1e-9)


@given(SHARES, st.integers(1, 7))
def test_buckets_that_come_one_by_one_or_together_bring_the_same(shares: list[float], step: int) -> None:
    null, losses = null_of(BASELINE, 0.02), in_days(shares)

    whole, parts = advance(HarmState(0), null, RULE, losses), HarmState(0)
    for start in range(0, len(losses), step):
        parts = HarmState.from_dict(advance(parts, null, RULE, losses[start : start + step]).to_dict())

    assert parts == whole


def test_a_bucket_is_looked_at_once() -> None:
    null, losses = null_of(BASELINE, 0.02), in_days([0.2, 0.3])
    state = advance(HarmState(0), null, RULE, losses)

    with pytest.raises(ValueError, match=f"the bucket of {DAY_US} was looked at before: those before {2 * DAY_US} are spent"):
        advance(state, null, RULE, losses[1:])


def test_harm_is_dated_and_measured() -> None:
    null, losses = null_of(BASELINE, 0.02), in_days([0.2] * 30 + [0.5] * 10)

    seen = look(advance(HarmState(0), null, RULE, losses), RULE)

    assert (seen.is_alarm, seen.since_us, seen.n, seen.mean) == (True, 30 * DAY_US, 500, pytest.approx(0.5))
    assert seen.log10_threshold == pytest.approx(math.log10(1800 / 0.25))


def test_an_alarm_is_that_of_the_first_bucket_that_reaches_the_threshold() -> None:
    null, losses = null_of(BASELINE, 0.02), in_days([0.2] * 30 + [0.5] * 10 + [0.0] * 30)

    state = advance(HarmState(0), null, RULE, losses)

    assert state.alarm_us is not None
    assert 31 * DAY_US <= state.alarm_us <= 34 * DAY_US
    assert state.log_evidence < RULE.log_threshold
    assert advance(HarmState(0), null, RULE, losses[:31]).alarm_us in (None, state.alarm_us)


def test_what_gets_better_never_alarms() -> None:
    generator = np.random.default_rng(4)
    null, losses = null_of(BASELINE, 0.02), in_days((generator.binomial(50, 0.1, 3000) / 50).tolist())

    seen = look(advance(HarmState(0), null, RULE, losses), RULE)

    assert not seen.is_alarm
    assert seen.log10_evidence < 1


@pytest.mark.parametrize(
    "baseline", [replace(OF_DISTANCES, mean=0.0, variance=0.0, upper=0.0), replace(BASELINE, mean=0.0, variance=0.0, upper=0.0)]
)
def test_against_a_baseline_that_never_varied_nothing_is_bet(baseline: Baseline) -> None:
    state = advance(HarmState(0), null_of(baseline, 0.0), RULE, in_days([1.0] * 9))

    assert state == HarmState(9 * DAY_US)
    assert not look(state, RULE).is_alarm


def test_a_model_without_a_mistake_in_its_baseline_that_makes_some_is_worse() -> None:
    null = null_of(replace(BASELINE, mean=0.0, variance=0.0, upper=0.0), 0.02)

    assert not look(advance(HarmState(0), null, RULE, in_days([0.0] * 9)), RULE).is_alarm
    assert look(advance(HarmState(0), null, RULE, in_days([0.2] * 9)), RULE).is_alarm


def test_of_a_segment_at_least_two_hundred_labels_are_asked() -> None:
    rest = {one.bucket_us: one for one in in_days([0.2] * 90)}

    few = null_of_segment(in_days([0.3] * 49, rows=4), rest, "miss", DAY_US, 0.02)
    enough = null_of_segment(in_days([0.3] * 50, rows=4), rest, "miss", DAY_US, 0.02)
    many = null_of_segment(in_days([0.3] * 50), rest, "miss", DAY_US, 0.02)

    assert few is None
    assert enough is not None
    assert (enough.baseline.buckets, enough.baseline.mean) == (50, pytest.approx(0.1))
    assert many is not None
    assert (many.baseline.buckets, many.rest) == (28, Rest(pytest.approx(0.2), pytest.approx(0.16)))
    assert many.center == pytest.approx(0.2 + many.baseline.upper + 0.02)


def test_days_without_rows_of_the_rest_are_not_bet_on() -> None:
    segment, rest = in_days([0.3] * 40), {one.bucket_us: one for one in in_days([0.2] * 30)}
    null = null_of_segment(segment, rest, "miss", DAY_US, 0.02)
    assert null is not None

    state = advance(HarmState(0), null, RULE, segment, rest)

    assert replace(advance(HarmState(0), null, RULE, segment[:30], rest), through_us=40 * DAY_US) == state


PART_US, A_PART = DAY_US // 4, 720  # four parts of a day, each with 720 labels


def simulated(generator: np.random.Generator, days: int, wobble: float = 0.0) -> list[BucketLoss]:
    """Days of which .20 are wrong, or about so many, in four buckets each."""
    share = np.repeat(np.clip(0.2 + wobble * generator.standard_normal(days), 0.02, 0.6), 4)
    wrong = generator.binomial(A_PART, share) / A_PART
    return [BucketLoss(at * PART_US, A_PART, mean, mean * (1 - mean)) for at, mean in enumerate(wrong.tolist())]


def of_rows(generator: np.random.Generator, rows: int) -> Baseline:
    """A baseline of some rows of which about .20 are wrong."""
    wrong = [BucketLoss(0, rows, mean, mean * (1 - mean)) for mean in (generator.binomial(rows, 0.2) / rows,)]
    learned = learn_baseline(wrong, "miss", PART_US, length=timedelta(microseconds=PART_US), least_rows=rows)
    assert learned is not None
    return learned


def of_four_weeks(generator: np.random.Generator) -> Baseline:
    """A baseline of four weeks of which one day is unlike the other."""
    learned = learn_baseline(simulated(generator, 28, 0.02), "miss", PART_US)
    assert learned is not None
    return learned


def alarms(baseline: Callable[[np.random.Generator], Baseline], wobble: float, quarters: int) -> int:
    rule, count = Rule(PART_US), 0
    for seed in range(quarters):
        generator = np.random.default_rng([seed, 7])
        null = null_of(baseline(generator), 0.01)
        count += advance(HarmState(0), null, rule, simulated(generator, 90, wobble)).alarm_us is not None
    return count


def is_kept(count: int, quarters: int) -> bool:
    """Return whether the promise, one alarm in 7,200 days, may have brought so many quarters with one: exact, at one in a thousand."""
    return stats.binomtest(count, quarters, 90 / 7200, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("rows", [400, 1500, 5000])
def test_a_short_baseline_keeps_the_promise(rows: int) -> None:
    assert is_kept(alarms(partial(of_rows, rows=rows), 0.0, 60), 60)


def test_days_that_differ_keep_the_promise() -> None:
    assert is_kept(alarms(of_four_weeks, 0.02, 60), 60)


def test_without_the_bound_of_a_short_baseline_the_promise_is_broken() -> None:
    def as_it_was(generator: np.random.Generator) -> Baseline:
        learned = of_rows(generator, 400)
        return replace(learned, upper=learned.mean)

    assert not is_kept(alarms(as_it_was, 0.0, 60), 60)


def test_without_the_design_effect_the_promise_is_broken() -> None:
    def as_if_independent(generator: np.random.Generator) -> Baseline:
        learned = of_four_weeks(generator)
        return replace(learned, design_effect=1.0)

    assert not is_kept(alarms(as_if_independent, 0.02, 60), 60)


@pytest.mark.parametrize("name", ["log loss, baseline of 5,000", "absolute error, baseline of 5,000"])
def test_other_losses_keep_the_promise(name: str) -> None:
    assert not any(quarter(name, seed, days=7).is_alarm for seed in range(3))


def test_a_segment_whose_distance_stays_keeps_the_promise() -> None:
    name = next(name for name in AS_IT_WAS if name.startswith("disparity"))

    assert not quarter(name, 0, days=7).is_alarm


@pytest.mark.parametrize("name", RISES)
def test_a_rise_is_seen_within_its_bar_and_dated(name: str) -> None:
    seen = [rise(name, seed) for seed in range(3)]

    assert np.median([one.labels for one in seen]) <= MOST_LABELS
    assert np.median([abs(one.dated / one.labels - 1) for one in seen]) <= 0.25


def test_what_was_worse_for_ten_days_is_an_episode_that_ends_with_it() -> None:
    seen = [goes_back("error .20 + .10, baseline of 5,000", seed, days=10) for seed in range(3)]

    assert [one.ends for one in seen] == [0, 0, 0]
    assert 0 < np.median([one.labels for one in seen]) <= MOST_LABELS
