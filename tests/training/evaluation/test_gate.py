import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from training.evaluation.gate import Decision, decide, decide_rollback, jackknife_difference, look_level
from training.evaluation.losses import METRICS
from training.policies import GatePolicy, ProbationPolicy
from training.schema.prediction import Prediction

CLASSES = ("no", "yes")
BINARY = ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error"]
NUMBERS = ["mae", "rmse", "r2"]


def answers(probability: np.ndarray) -> Prediction:
    both = np.column_stack([1 - probability, probability])
    return Prediction(np.where(probability > 0.5, "yes", "no").astype(object), both, CLASSES)


def binary_rows(seed: int, noise: float, n: int = 1000) -> tuple[np.ndarray, Prediction]:
    """Labels, and a prediction of it that is the worse the more noise there is."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 2, n)
    y = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)
    return y, answers(1 / (1 + np.exp(-(logit + np.random.default_rng(seed + 1).normal(0, noise, n) if noise else -logit))))


def number_rows(seed: int, noise: float, n: int = 1000) -> tuple[np.ndarray, Prediction]:
    y = np.random.default_rng(seed).normal(0, 5, n)
    return y, Prediction(y + np.random.default_rng(seed + 1).normal(0, 1 + noise, n))


def drifting_noise(random: np.random.Generator, n: int, memory: float) -> np.ndarray:
    """Noise whose neighbours are alike: an AR(1) process of standard deviation 1."""
    steps = random.normal(0, math.sqrt(1 - memory**2), n)
    return lfilter([1.0], [1.0, -memory], steps, zi=[memory * random.normal()])[0]


@pytest.mark.parametrize("metric", BINARY)
def test_the_champion_against_itself_is_refused(metric: str) -> None:
    y, prediction = binary_rows(0, noise=1.0)

    decision = decide(prediction, prediction, y, metric, GatePolicy(rows=200))

    assert not decision.accepted
    assert "answers every judged row as the champion does" in decision.reason


def test_equal_fitted_bytes_are_refused_before_anything_is_compared() -> None:
    y, prediction = binary_rows(0, noise=1.0)
    _, other = binary_rows(0, noise=0.1)

    decision = decide(prediction, other, y, "log_loss", GatePolicy(rows=200), champion_sha256="a", challenger_sha256="a")

    assert (decision.accepted, decision.difference) == (False, None)
    assert "fitted bytes are equal" in decision.reason


def test_equal_outputs_in_another_order_of_classes_are_refused() -> None:
    y, prediction = binary_rows(0, noise=1.0)
    turned = Prediction(prediction.label, prediction.probability[:, ::-1], CLASSES[::-1])

    decision = decide(prediction, turned, y, "accuracy", GatePolicy(rows=200))

    assert "answers every judged row" in decision.reason


def test_too_few_rows_are_refused() -> None:
    y, prediction = binary_rows(0, noise=1.0, n=199)
    _, other = binary_rows(0, noise=0.1, n=199)

    decision = decide(prediction, other, y, "log_loss", GatePolicy(rows=200))

    assert (decision.accepted, decision.reason) == (False, "too few rows to judge: 199 of 200")


@pytest.mark.parametrize(
    ("metric", "rows"),
    [*((name, binary_rows) for name in ("roc_auc", "log_loss", "brier", "accuracy")), *((name, number_rows) for name in NUMBERS)],
)
def test_a_clearly_better_challenger_is_accepted_and_a_worse_one_refused(
    metric: str, rows: Callable[..., tuple[np.ndarray, Prediction]]
) -> None:
    y, bad = rows(0, noise=4.0)
    _, good = rows(0, noise=0.1)

    better = decide(bad, good, y, metric, GatePolicy(rows=200))
    worse = decide(good, bad, y, metric, GatePolicy(rows=200))

    assert (better.accepted, worse.accepted) == (True, False)
    assert better.reason.startswith("better: gain in")
    assert worse.reason.startswith("worse: gain in")


def test_a_gain_below_the_minimum_is_refused() -> None:
    y, bad = number_rows(0, noise=0.5)
    _, good = number_rows(0, noise=0.0)

    free, strict = decide(bad, good, y, "mae", GatePolicy(rows=200)), decide(bad, good, y, "mae", GatePolicy(rows=200, minimum_gain=1.0))

    assert (free.accepted, strict.accepted) == (True, False)
    assert strict.reason.startswith("a tie keeps the champion")


def test_rows_of_one_class_are_refused_when_they_do_not_define_the_metric() -> None:
    _, bad = binary_rows(0, noise=4.0)
    _, good = binary_rows(0, noise=0.1)

    decision = decide(bad, good, np.full(1000, "yes", dtype=object), "roc_auc", GatePolicy(rows=200))

    assert not decision.accepted
    assert decision.reason == "roc_auc is not defined on these 1000 rows"


def test_who_is_surer_of_the_one_class_that_all_rows_are_of_is_not_better_for_it() -> None:
    y = np.full(1000, "yes", dtype=object)
    champion, surer = answers(np.linspace(0.7, 0.8, 1000)), answers(np.linspace(0.8, 0.9, 1000))

    alike = decide(champion, surer, y, "log_loss", GatePolicy(rows=200))
    both = decide(champion, surer, np.where(np.arange(1000) % 50 == 7, "no", y), "log_loss", GatePolicy(rows=200))

    assert (alike.accepted, both.accepted) == (False, True)
    assert alike.reason.startswith("all 1000 rows to judge by are of class yes")
    assert alike.evidence["gain_low"] > 0
    assert (alike.evidence["accepted"], alike.evidence["reason"]) == (False, alike.reason)


def test_the_evidence_says_what_was_compared() -> None:
    y, bad = number_rows(0, noise=1.0)
    _, good = number_rows(0, noise=0.0)

    decision = decide(bad, good, y, "mae", GatePolicy(rows=200), champion_sha256="a", challenger_sha256="b")

    difference = decision.difference
    assert difference is not None
    assert decision.evidence == {
        "accepted": True,
        "reason": decision.reason,
        "n": 1000,
        "metric": "mae",
        "champion_model": "a",
        "challenger_model": "b",
        "wanted_rows": 200,
        "champion_score": decision.champion_score,
        "challenger_score": decision.challenger_score,
        "gain": difference.estimate,
        "gain_low": difference.low,
        "gain_high": difference.high,
        "minimum_gain": 0.0,
        "level": 0.05,
        "blocks": 25,
    }


@settings(max_examples=30)
@given(metric=st.sampled_from(BINARY), seed=st.integers(0, 1000), n=st.integers(60, 400))
def test_swapping_the_predictions_flips_the_sign(metric: str, seed: int, n: int) -> None:
    y, one = binary_rows(seed, noise=1.0, n=n)
    _, other = binary_rows(seed, noise=2.0, n=n)

    forth = jackknife_difference(METRICS[metric], y, one, other)
    back = jackknife_difference(METRICS[metric], y, other, one)

    assert np.allclose([forth.estimate, forth.low, forth.high], [-back.estimate, -back.high, -back.low], equal_nan=True)


@settings(max_examples=30)
@given(metric=st.sampled_from(BINARY), seed=st.integers(0, 1000))
def test_the_estimate_is_the_difference_of_the_scores(metric: str, seed: int) -> None:
    y, one = binary_rows(seed, noise=1.0)
    _, other = binary_rows(seed, noise=2.0)

    decision = decide(one, other, y, metric, GatePolicy(rows=200))

    assert decision.difference is not None
    gain = METRICS[metric].gain(decision.challenger_score, decision.champion_score)
    assert decision.difference.estimate == pytest.approx(gain)


@pytest.mark.parametrize("metric", ["mae", "log_loss", "brier", "accuracy"])
def test_sums_over_blocks_give_what_leaving_rows_out_gives(metric: str) -> None:
    y, one = number_rows(3, noise=1.0) if metric == "mae" else binary_rows(3, noise=1.0)
    _, other = number_rows(3, noise=0.5) if metric == "mae" else binary_rows(3, noise=0.5)
    known = METRICS[metric]
    slow = type(known)(known.name, known.higher_is_better, known.tasks, known.function, None)

    fast_difference = jackknife_difference(known, y, one, other)
    slow_difference = jackknife_difference(slow, y, one, other)

    assert np.allclose(
        [fast_difference.estimate, fast_difference.low, fast_difference.high],
        [slow_difference.estimate, slow_difference.low, slow_difference.high],
    )


@pytest.mark.parametrize(("champion", "challenger"), [(1000, 999), (999, 1000), (999, 999)])
def test_predictions_of_other_lengths_are_an_error(champion: int, challenger: int) -> None:
    y, one = number_rows(0, noise=1.0)

    with pytest.raises(ValueError, match=rf"^1000 labels, but {champion} and {challenger} predictions$"):
        jackknife_difference(METRICS["mae"], y, one.take(slice(champion)), one.take(slice(challenger)))


TRIALS = [(150, 0.01, 0.1), pytest.param((600, 0.02, 0.085), marks=pytest.mark.slow)]
"""How often, and how often an equally good challenger may pass at least and at most: a wide band around the level, or a narrow one."""


@pytest.mark.parametrize("trials", TRIALS, ids=["few trials", "many trials"])
@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8], ids=["independent rows", "alike", "very alike"])
@pytest.mark.parametrize("metric", NUMBERS)
def test_an_equally_good_challenger_passes_about_as_often_as_the_level_says(
    metric: str, memory: float, trials: tuple[int, float, float]
) -> None:
    random, (times, least, most) = np.random.default_rng(2026), trials

    accepted = sum(one_null_trial(random, memory, metric).accepted for _ in range(times))

    assert least <= accepted / times <= most


def one_null_trial(random: np.random.Generator, memory: float, metric: str) -> Decision:
    y = random.normal(0, 3, 1000)
    errors = drifting_noise(random, 1000, memory), drifting_noise(random, 1000, memory)
    return decide(Prediction(y + errors[0]), Prediction(y + errors[1]), y, metric, GatePolicy(rows=1000))


@pytest.mark.parametrize("trials", TRIALS, ids=["few trials", "many trials"])
def test_an_equally_good_classifier_passes_about_as_often_as_the_level_says(trials: tuple[int, float, float]) -> None:
    random, (times, least, most) = np.random.default_rng(7), trials

    accepted = sum(one_null_classification(random).accepted for _ in range(times))

    assert least <= accepted / times <= most


def one_null_classification(random: np.random.Generator) -> Decision:
    logit = random.normal(0, 2, 1000)
    y = np.where(random.random(1000) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)
    one, other = (answers(1 / (1 + np.exp(-logit - drifting_noise(random, 1000, 0.7)))) for _ in range(2))
    return decide(one, other, y, "roc_auc", GatePolicy(rows=1000))


def test_the_previous_champion_comes_back_when_it_is_better() -> None:
    y, bad = binary_rows(0, noise=4.0)
    _, good = binary_rows(0, noise=0.1)

    back = decide_rollback(bad, good, y, "log_loss", ProbationPolicy(rows=100), look=1)
    stay = decide_rollback(good, bad, y, "log_loss", ProbationPolicy(rows=100), look=1)

    assert (back.accepted, stay.accepted) == (True, False)
    assert (back.evidence["look"], back.evidence["level"]) == (1, 0.05 / 3)


def test_a_look_before_its_planned_size_is_not_taken() -> None:
    y, bad = binary_rows(0, noise=4.0, n=199)
    _, good = binary_rows(0, noise=0.1, n=199)

    decision = decide_rollback(bad, good, y, "log_loss", ProbationPolicy(rows=100), look=2)

    assert (decision.accepted, decision.reason) == (False, "too few rows for look 2: 199 of 200")


@pytest.mark.parametrize("look", [0, 4])
def test_there_are_no_more_looks_than_planned(look: int) -> None:
    with pytest.raises(ValueError, match=rf"^look {look} is not one of the 3 planned ones$"):
        look_level(look, 3, 0.05)


@pytest.mark.parametrize("look", [1, 2, 3])
def test_every_look_has_its_equal_part_of_the_level(look: int) -> None:
    assert look_level(look, 3, 0.06) == pytest.approx(0.02)


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize("blocks", [10, 20])
def test_the_interval_of_a_mean_is_the_t_interval_of_scipy_over_the_blocks(blocks: int, level: float) -> None:
    """For a mean over blocks of one size the jackknife is Student's interval of the block means (Efron and Tibshirani 1993, 11.2)."""
    y, champion = number_rows(3, noise=1.0)
    _, challenger = number_rows(3, noise=0.4)
    gains = np.abs(champion.label - y) - np.abs(challenger.label - y)

    difference = jackknife_difference(METRICS["mae"], y, champion, challenger, blocks=blocks, level=level)

    expected = ttest_1samp(gains.reshape(blocks, -1).mean(axis=1), 0.0).confidence_interval(1 - 2 * level)
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert difference.estimate == pytest.approx(gains.mean())


# exact, against a jackknife by hand


def by_hand(metric: str, y: np.ndarray, a: Prediction, b: Prediction, blocks: int) -> tuple[float, float]:
    """The gain, and the jackknife's standard error of it: every block of time is left out once."""

    def gain(kept: np.ndarray) -> float:
        score = METRICS[metric].function
        return METRICS[metric].gain(score(y[kept], b.take(kept)), score(y[kept], a.take(kept)))

    rows = np.arange(len(y))
    edges = [round(len(y) * place / blocks) for place in range(blocks + 1)]
    left = np.array([gain(np.delete(rows, slice(start, stop))) for start, stop in pairwise(edges)])
    return gain(rows), math.sqrt((blocks - 1) ** 2 / blocks * left.var(ddof=1))


@pytest.mark.parametrize("metric", [*BINARY, *NUMBERS])
@pytest.mark.parametrize(("n", "blocks"), [(40, 5), (47, 5), (199, 24), (200, 25), (203, 25), (1003, 25)])
def test_the_bounds_are_students_around_the_gain_with_a_block_less_of_freedom(metric: str, n: int, blocks: int) -> None:
    make = number_rows if metric in NUMBERS else binary_rows
    (y, worse), (_, better) = make(5, noise=2.0, n=n), make(5, noise=0.5, n=n)

    difference = jackknife_difference(METRICS[metric], y, worse, better)

    gain, error = by_hand(metric, y, worse, better, blocks)
    reach = student.ppf(0.95, blocks - 1) * error
    assert (difference.n, difference.blocks, difference.level) == (n, blocks, 0.05)
    assert (difference.estimate, difference.low, difference.high) == pytest.approx((gain, gain - reach, gain + reach), rel=1e-9)


def test_the_bounds_of_a_root_are_its_own_where_the_means_gain_as_much() -> None:
    """Roots of 0.75 and 0.25 differ as much as their squares do: 0.5."""
    random, y = np.random.default_rng(1), np.zeros(200)
    one, other = (noise / math.sqrt(np.mean(noise**2)) for noise in random.normal(0, 1, (2, 200)))
    worse, better = Prediction(one * 0.75), Prediction(other * 0.25)

    difference = jackknife_difference(METRICS["rmse"], y, worse, better)

    gain, error = by_hand("rmse", y, worse, better, 25)
    assert gain == pytest.approx(0.5)
    assert difference.low == pytest.approx(gain - student.ppf(0.95, 24) * error, rel=1e-9)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
@pytest.mark.parametrize(("n", "blocks"), [(39, 4), (7, 0), (0, 0)])
def test_less_than_five_blocks_of_eight_rows_say_nothing(metric: str, n: int, blocks: int) -> None:
    y, one = number_rows(0, noise=1.0, n=n)
    _, other = number_rows(0, noise=0.5, n=n)

    difference = jackknife_difference(METRICS[metric], y, one, other, level=0.01)

    assert not difference.is_defined
    assert np.isnan([difference.estimate, difference.low, difference.high]).all()
    assert (difference.n, difference.blocks, difference.level) == (n, blocks, 0.01)


ZERO = np.zeros(200)
"""Two hundred true numbers: a prediction that is always off by the same amount has a gain without any spread."""


def off_by(error: float) -> Prediction:
    return Prediction(np.full(200, error))


@pytest.mark.parametrize(
    ("champion", "challenger", "minimum_gain", "accepted", "reason"),
    [
        (1.0, 0.5, 0.25, True, "better: gain in mae 0.5, at least 0.5 at level 0.05, more than 0.25 wanted"),
        (1.0, 0.5, 0.5, False, "a tie keeps the champion: gain in mae 0.5, at least 0.5 at level 0.05, more than 0.5 wanted"),
        (1.0, 0.5, 0.75, False, "a tie keeps the champion: gain in mae 0.5, at least 0.5 at level 0.05, more than 0.75 wanted"),
        (1.0, -1.0, 0.0, False, "a tie keeps the champion: gain in mae 0, at least 0 at level 0.05, more than 0 wanted"),
        (0.5, 1.0, 0.0, False, "worse: gain in mae -0.5, at least -0.5 at level 0.05"),
        (1.0, 0.25, -1.0, True, "better: gain in mae 0.75, at least 0.75 at level 0.05, more than -1 wanted"),
        (0.5, 1.0, -0.75, True, "better: gain in mae -0.5, at least -0.5 at level 0.05, more than -0.75 wanted"),
    ],
    ids=["more than wanted", "as much as wanted", "less than wanted", "no gain", "a loss", "a loss allowed", "a loss within the allowed"],
)
def test_the_least_gain_must_be_passed(champion: float, challenger: float, minimum_gain: float, accepted: bool, reason: str) -> None:
    decision = decide(off_by(champion), off_by(challenger), ZERO, "mae", GatePolicy(rows=200, minimum_gain=minimum_gain))

    assert (decision.accepted, decision.reason) == (accepted, reason)
    assert (decision.champion_score, decision.challenger_score, decision.n) == (champion, abs(challenger), 200)
    assert decision.difference == jackknife_difference(METRICS["mae"], ZERO, off_by(champion), off_by(challenger))


def test_a_metric_may_be_given_itself() -> None:
    policy = GatePolicy(rows=200)

    assert decide(off_by(1), off_by(0), ZERO, METRICS["mae"], policy) == decide(off_by(1), off_by(0), ZERO, "mae", policy)
    assert decide_rollback(off_by(1), off_by(0), ZERO, METRICS["mae"], ProbationPolicy(rows=200), 1).evidence["metric"] == "mae"


def test_the_gate_judges_at_the_level_of_its_policy() -> None:
    y, champion = number_rows(0, noise=0.5)
    _, challenger = number_rows(0, noise=0.45)

    decisions = [decide(champion, challenger, y, "mae", GatePolicy(rows=200, level=level)) for level in (0.05, 0.001)]

    assert [d.evidence["level"] for d in decisions] == [0.05, 0.001]
    for decision in decisions:
        assert decision.difference == jackknife_difference(METRICS["mae"], y, champion, challenger, level=decision.evidence["level"])
    assert "at level 0.001" in decisions[1].reason


@pytest.mark.parametrize(
    ("rows", "digests", "reason"),
    [
        (201, (None, None), "too few rows to judge: 200 of 201"),
        (201, ("a", "a"), "the challenger is the champion: their fitted bytes are equal"),
        (200, ("a", "b"), "the challenger answers every judged row as the champion does"),
        (200, (None, "b"), "the challenger answers every judged row as the champion does"),
    ],
    ids=["too few rows", "the same bytes", "the same answers", "no known bytes"],
)
def test_a_refusal_is_evidence_too(rows: int, digests: tuple[str | None, str | None], reason: str) -> None:
    champion, challenger = digests

    decision = decide(off_by(1), off_by(1), ZERO, "mae", GatePolicy(rows=rows), champion_sha256=champion, challenger_sha256=challenger)

    assert (decision.accepted, decision.reason, decision.difference, decision.n) == (False, reason, None, 200)
    assert np.isnan([decision.champion_score, decision.challenger_score]).all()
    assert decision.evidence == {
        "accepted": False,
        "reason": reason,
        "n": 200,
        "metric": "mae",
        "champion_model": champion,
        "challenger_model": challenger,
        "wanted_rows": rows,
    }


def test_models_of_unknown_bytes_are_compared() -> None:
    assert decide(off_by(1), off_by(0), ZERO, "mae", GatePolicy(rows=200)).accepted


@pytest.mark.parametrize(
    ("look", "rows", "reason"),
    [
        (1, 200, "better: gain in mae 0.5, at least 0.5 at level 0.02, more than 0 wanted"),
        (1, 201, "too few rows for look 1: 200 of 201"),
        (2, 100, "better: gain in mae 0.5, at least 0.5 at level 0.02, more than 0 wanted"),
        (2, 101, "too few rows for look 2: 200 of 202"),
        (4, 50, "better: gain in mae 0.5, at least 0.5 at level 0.02, more than 0 wanted"),
    ],
)
def test_a_look_is_taken_at_its_rows_and_at_its_part_of_the_level(look: int, rows: int, reason: str) -> None:
    policy = ProbationPolicy(looks=4, rows=rows, level=0.08)

    decision = decide_rollback(off_by(1.0), off_by(0.5), ZERO, "mae", policy, look)

    is_taken = reason.startswith("better")
    scores = {
        "champion_score": 1.0, "challenger_score": 0.5, "gain": 0.5, "gain_low": 0.5, "gain_high": 0.5,
        "minimum_gain": 0.0, "level": 0.02, "blocks": 25,
    }  # fmt: skip
    assert (decision.accepted, decision.reason) == (is_taken, reason)
    assert decision.evidence == {
        "accepted": is_taken, "reason": reason, "n": 200, "metric": "mae", "look": look, "looks": 4, "wanted_rows": look * rows,
        **(scores if is_taken else {}),
    }  # fmt: skip


def test_the_previous_champion_needs_no_least_gain_and_a_tie_is_no_reason_to_go_back() -> None:
    decision = decide_rollback(off_by(1.0), off_by(-1.0), ZERO, "mae", ProbationPolicy(rows=200), 1)

    assert (decision.accepted, decision.evidence["minimum_gain"]) == (False, 0.0)


P = np.column_stack([np.linspace(0.9, 0.1, 200), np.linspace(0.1, 0.9, 200)])
NO_YES = np.repeat(np.array(["no", "yes"], object), 100)


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        pytest.param(Prediction(NO_YES, P, CLASSES), Prediction(NO_YES.copy(), P.copy(), CLASSES), True, id="the same"),
        pytest.param(Prediction(NO_YES, P, CLASSES), Prediction(NO_YES[::-1], P, CLASSES), False, id="other labels"),
        pytest.param(Prediction(NO_YES, P, CLASSES), Prediction(NO_YES, P[::-1], CLASSES), False, id="other probabilities"),
        pytest.param(Prediction(NO_YES, P, CLASSES), Prediction(NO_YES, P, ("no", "maybe")), False, id="other classes"),
        pytest.param(Prediction(NO_YES, P, CLASSES), Prediction(NO_YES, P), False, id="no classes in the one"),
        pytest.param(Prediction(NO_YES, P, CLASSES), Prediction(NO_YES, None, CLASSES), False, id="no probabilities in the one"),
        pytest.param(Prediction(NO_YES, None, CLASSES), Prediction(NO_YES, P, CLASSES), False, id="no probabilities in the other"),
        pytest.param(Prediction(NO_YES, P), Prediction(NO_YES, P), True, id="no classes in both"),
        pytest.param(Prediction(NO_YES), Prediction(NO_YES), True, id="labels alone"),
        pytest.param(Prediction(NO_YES), Prediction(NO_YES[::-1]), False, id="other labels alone"),
    ],
)
def test_models_are_equal_when_every_answer_is(one: Prediction, other: Prediction, are_equal: bool) -> None:
    decision = decide(one, other, NO_YES, "accuracy", GatePolicy(rows=200))

    assert (decision.reason == "the challenger answers every judged row as the champion does") is are_equal


def test_a_metric_that_the_answers_do_not_define_is_refused() -> None:
    decision = decide(Prediction(NO_YES), Prediction(NO_YES[::-1]), NO_YES, "roc_auc", GatePolicy(rows=200))

    assert (decision.accepted, decision.reason) == (False, "roc_auc is not defined on these 200 rows")
    assert np.isnan([decision.champion_score, decision.challenger_score]).all()
