"""What is handed on of a model's performance: whose baseline it is, when an episode opens, and what ends it."""

from dataclasses import replace

import numpy as np
import pytest

from monitoring.judging.performance.baseline import Baseline, BucketLoss, learn_baseline
from monitoring.judging.performance.bets import null_of
from monitoring.judging.performance.harm import HarmState, Rule
from monitoring.judging.performance.scores import Score
from monitoring.judging.performance.watch import HarmTest, HarmWatch, PerformanceWatch, SegmentWatch, tolerance_of
from training.json_text import from_text, to_text

DAY_US = 86_400_000_000
RULE = Rule(DAY_US)
LIVE = Score("accuracy", 0.75, 0.7, 0.8, 200, 0.95)


def days(first: int, number: int, wrong: float, rows: int = 100) -> list[BucketLoss]:
    """Days of rows of which a share is wrong."""
    drawn = np.random.default_rng([first, number]).binomial(rows, wrong, number) / rows
    return [BucketLoss((first + at) * DAY_US, rows, mean, mean * (1 - mean)) for at, mean in enumerate(drawn.tolist())]


def after(watch: PerformanceWatch, losses: list[BucketLoss]) -> PerformanceWatch:
    return replace(watch, harm=harm_of(watch).after(losses, RULE))


def harm_of(watch: PerformanceWatch) -> HarmWatch:
    assert watch.harm is not None
    return watch.harm


@pytest.fixture(scope="module")
def calm() -> PerformanceWatch:
    baseline = learn_baseline(days(1, 30, 0.2), "miss", DAY_US)
    assert baseline is not None
    return PerformanceWatch("v1", 31 * DAY_US, DAY_US, HarmWatch.since(null_of(baseline, 0.02)))


@pytest.fixture(scope="module")
def worse(calm: PerformanceWatch) -> PerformanceWatch:
    return after(calm, days(31, 20, 0.4))


def test_losses_that_stay_open_no_episode_and_those_that_rise_do(calm: PerformanceWatch, worse: PerformanceWatch) -> None:
    assert not after(calm, days(31, 200, 0.2)).is_open
    assert not after(calm, days(31, 200, 0.05)).is_open
    assert worse.is_open


def test_buckets_are_looked_at_once_in_whatever_parts_they_come(calm: PerformanceWatch, worse: PerformanceWatch) -> None:
    losses = days(31, 20, 0.4)

    in_parts = harm_of(calm).after(losses[:7], RULE).after(losses[5:14], RULE).after(losses, RULE)

    assert in_parts.state.through_us == harm_of(worse).state.through_us
    assert np.array(in_parts.state.bets) == pytest.approx(np.array(harm_of(worse).state.bets))


def test_an_episode_ends_when_losses_are_back_and_the_baseline_is_kept(worse: PerformanceWatch) -> None:
    still, back = (harm_of(after(worse, days(51, 40, wrong))) for wrong in (0.4, 0.2))

    assert (still.is_open, back.is_open) == (True, False)
    assert (back.null, back.state.alarm_us, back.state.through_us) == (harm_of(worse).null, None, 91 * DAY_US)
    assert back.after(days(91, 20, 0.4), RULE).is_open


@pytest.mark.parametrize("wrong", [0.26, 0.3, 0.5])
def test_an_episode_goes_on_for_years_where_losses_stay_worse(calm: PerformanceWatch, wrong: float) -> None:
    harm = harm_of(after(calm, days(31, 1000, wrong)))

    assert (harm.is_open, harm.ended) == (True, ())


def test_an_episode_that_begins_and_ends_in_buckets_that_come_together_is_known(calm: PerformanceWatch) -> None:
    losses = [*days(31, 20, 0.2), *days(51, 20, 0.4), *days(71, 60, 0.2), *days(131, 20, 0.4), *days(151, 60, 0.2)]

    first, second = harm_of(after(calm, losses)).ended

    assert abs(first.since_us / DAY_US - 51) < 3
    assert first.back.alarm_us is not None
    assert 71 * DAY_US < first.back.alarm_us < second.since_us
    assert abs(second.since_us / DAY_US - 131) < 3


def test_an_episode_is_the_same_whether_buckets_come_one_by_one_or_together(calm: PerformanceWatch) -> None:
    losses = [*days(31, 7, 0.2), *days(38, 8, 0.4), *days(46, 60, 0.2)]  # labels of months may come at once

    parts = calm
    for one in losses:
        parts = after(parts, [one])

    assert not parts.is_open
    assert after(calm, losses) == parts


def test_a_version_that_is_back_answers_for_nothing_that_the_one_before_it_did(calm: PerformanceWatch) -> None:
    nearly = after(calm, days(31, 4, 0.3))

    back = nearly.under("v0", 40 * DAY_US, is_return=True)

    assert not nearly.is_open
    assert harm_of(back) == harm_of(nearly).anew(40 * DAY_US)


def test_another_version_keeps_the_baseline_and_the_evidence_of_a_model_that_did_not_get_worse(calm: PerformanceWatch) -> None:
    assert calm.under("v2", 40 * DAY_US) == replace(calm, champion="v2")


def test_another_version_ends_an_episode_and_is_held_to_the_same_baseline(worse: PerformanceWatch) -> None:
    other = replace(worse, worse_since=7).under("v2", 60 * DAY_US)

    assert (other.champion, harm_of(other).null, other.is_open, other.worse_since) == ("v2", harm_of(worse).null, False, None)
    assert harm_of(other).state.through_us == 60 * DAY_US
    assert after(other, days(55, 25, 0.4)).is_open
    assert worse.under("v1", 60 * DAY_US) == worse


def test_another_version_ends_the_episodes_of_segments_too(calm: PerformanceWatch, worse: PerformanceWatch) -> None:
    segments = {"place=hill": SegmentWatch(DAY_US, harm_of(calm)), "place=lake": SegmentWatch(DAY_US, harm_of(worse))}

    other = replace(calm, segments=segments).under("v2", 60 * DAY_US).segments

    assert other["place=hill"] == segments["place=hill"]
    assert other["place=lake"] == SegmentWatch(DAY_US, harm_of(worse).anew(60 * DAY_US))


def test_what_is_accepted_has_its_baseline_learned_anew_until_another_version_comes(worse: PerformanceWatch) -> None:
    accepted = replace(worse, renewal=12, worse_since=7).accepted(70 * DAY_US)

    assert accepted == PerformanceWatch("v1", 70 * DAY_US, 70 * DAY_US, renewal=12, is_accepted=True)
    assert accepted.under("v2", 80 * DAY_US) == replace(accepted, champion="v2", is_accepted=False)


def test_it_is_worse_since_the_first_line_at_which_it_was(calm: PerformanceWatch) -> None:
    first = calm.noticed(7, is_worse=True)

    assert first.noticed(9, is_worse=True).worse_since == 7
    assert first.noticed(9, is_worse=False).worse_since is None


def test_what_is_handed_on_is_read_as_it_was_written(calm: PerformanceWatch, worse: PerformanceWatch) -> None:
    segments = {"place=hill": SegmentWatch(DAY_US), "place=lake": SegmentWatch(DAY_US, harm_of(worse))}
    for watch in (PerformanceWatch(), calm, worse, replace(worse, score=LIVE, segments=segments)):
        assert PerformanceWatch.from_dict(watch.champion, watch.tested_us, watch.to_dict()) == watch


@pytest.mark.parametrize("mean", [0.0, 1e-12, 1.0, 1e59], ids=["none", "small", "usual", "absurd"])
def test_whatever_rows_lose_what_is_handed_on_is_numbers(mean: float) -> None:
    learned = learn_baseline([BucketLoss(day * DAY_US, 60, mean, mean * mean) for day in range(30)], "absolute_error", DAY_US)
    assert learned is not None
    losses = [BucketLoss(day * DAY_US, 20, loss, loss * loss) for day in range(30, 60) for loss in ((0.0, 1e60)[day % 2],)]

    harm = HarmWatch.since(null_of(learned, tolerance_of(learned, 0.02, 1.0))).after(losses, RULE)

    watch = PerformanceWatch("v1", DAY_US, DAY_US, harm)
    assert PerformanceWatch.from_dict("v1", DAY_US, from_text(to_text(watch.to_dict()))) == watch


@pytest.mark.parametrize(
    ("loss", "tolerance"), [("miss", 0.02), ("brier", 0.02), ("log_loss", 0.01), ("absolute_error", 0.01), ("cost", 0.01)]
)
def test_the_tolerance_is_in_the_unit_of_the_loss_or_a_share_of_the_baseline(loss: str, tolerance: float) -> None:
    assert tolerance_of(Baseline(loss, 0, 1, 1500, 28, 0.5, 0.2, 1.0, 50.0, 0.52), 0.02) == tolerance


def test_an_error_of_nothing_has_the_tolerance_of_a_hundredth_of_what_the_target_varies() -> None:
    nothing = Baseline("absolute_error", 0, DAY_US, 1500, 28, 0.0, 0.0, 1.0, 50.0, 0.0)
    null = null_of(nothing, tolerance_of(nothing, 0.02, 50.0))
    harm = HarmWatch.since(null)

    still, worse = (harm.after([BucketLoss(day * DAY_US, 50, mean, mean) for day in range(1, 20)], RULE) for mean in (0.001, 1.0))

    assert null.center == pytest.approx(0.01)
    assert (still.is_open, worse.is_open) == (False, True)
    assert tolerance_of(replace(nothing, mean=0.6), 0.02, 50.0) == pytest.approx(0.012)


def test_an_episode_that_only_faded_is_said_to_go_on(worse: PerformanceWatch) -> None:
    harm = harm_of(worse)
    faded = replace(worse, harm=replace(harm, state=HarmState(harm.state.through_us, 1)))

    tested = HarmTest.of(faded, None, RULE)

    assert tested is not None
    assert "share of wrong answers is worse than 0.2" in tested.sentence()
    assert "since 1970-02-01 00:00: evidence 10^" in tested.sentence()
    assert tested.sentence().endswith("of 10^2.0 that it is back")


def test_a_look_is_a_sentence_with_all_that_it_rests_on(calm: PerformanceWatch, worse: PerformanceWatch) -> None:
    before, within, opened = (HarmTest.of(watch, LIVE, RULE) for watch in (PerformanceWatch(), calm, worse))

    assert before is None
    assert within is not None
    assert opened is not None
    assert within.sentence().startswith("accuracy 0.75 [0.7, 0.8] on 200 labelled rows; share of wrong answers is within 0.20")
    assert "is worse than" in opened.sentence()
    assert "since 1970-02-01 00:00" in opened.sentence()
    assert "in the baseline (the model's first 28 days, 2800 rows), tolerance 0.02" in opened.sentence()
    stored = opened.to_dict()
    assert stored["is_degraded"]
    assert stored["harm"]["log10_evidence"] > stored["harm"]["log10_threshold"]
    assert stored["harm"]["since_us"] == 31 * DAY_US
    assert stored["baseline"]["n"] == 2800
