from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from training.evaluation.losses import Metric, cost_metric
from training.mixing.growth_gate import LEAST_ROWS, WORSE_CALIBRATION, GrowthDecision, GrowthRule, judge_growth
from training.mixing.labelled_rows import LabelledRows
from training.mixing.mixture import mix
from training.schema.costs import Costs
from training.schema.prediction import Prediction

N = 600


def numbers(n: int = N, seed: int = 0) -> tuple[LabelledRows, np.ndarray]:
    random = np.random.default_rng(seed)
    return LabelledRows(np.arange(n), random.normal(100, 20, n)), random.normal(0, 5, (3, n))


def answers(positive: np.ndarray) -> Prediction:
    return Prediction(np.where(positive > 0.5, "yes", "no").astype(object), np.column_stack([1 - positive, positive]), ("no", "yes"))


def classes(n: int = N) -> tuple[LabelledRows, np.ndarray]:
    random = np.random.default_rng(0)
    logit = random.normal(0, 2, n)
    return LabelledRows(np.arange(n), np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)), logit


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def judge(
    before: Prediction,
    forerunner: Prediction,
    weight: float,
    rows: LabelledRows,
    metric: Metric | str,
    costs: Costs | None = None,
    **how: Any,
) -> GrowthDecision:
    """Judge a mixture of the forerunner and what was answered without it."""
    after = mix([before, forerunner], [1 - weight, weight], costs)
    return judge_growth(mix([before], [1.0], costs), after, rows, metric, weight=weight, **how)


def test_a_member_that_is_as_good_or_better_comes() -> None:
    rows, noise = numbers()

    as_good, better = (
        judge(Prediction(rows.y + noise[0]), Prediction(rows.y + each), 0.5, rows, "mae") for each in noise[1:] * [[1], [0.2]]
    )

    assert as_good.is_accepted
    assert better.is_accepted
    assert better.evidence["gain"] > as_good.evidence["gain"] > 0


def test_a_member_that_is_proven_worse_is_refused() -> None:
    rows, noise = numbers()

    decision = judge(Prediction(rows.y + noise[0]), Prediction(rows.y + 40), 0.5, rows, "mae")

    assert decision.outcome == "refused"
    assert decision.reason.startswith("worse with the member: gain in mae of")
    assert decision.evidence["gain_high"] < 0


def test_the_less_it_weighs_the_less_harm_a_member_can_do() -> None:
    rows, noise = numbers()

    gains = [judge(Prediction(rows.y + noise[0]), Prediction(rows.y + 40), w, rows, "mae").evidence["gain"] for w in (0.1, 0.5, 1.0)]

    assert gains == sorted(gains, reverse=True)
    assert gains[2] < 10 * gains[0] / 2


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_member_that_is_no_worse_is_refused_as_seldom_as_the_level_says(times: int) -> None:
    refused = 0
    for seed in range(times):
        rows, noise = numbers(300, seed)
        plain, skewed = rows.y + noise[0], rows.y + noise[1]
        refused += judge(Prediction(plain), Prediction(2 * skewed - plain), 0.5, rows, "mae", rule=GrowthRule(0.05)).outcome == "refused"

    assert refused <= 0.05 * times + 3 * np.sqrt(0.05 * 0.95 * times)


def test_too_few_rows_are_not_judged() -> None:
    rows, noise = numbers(LEAST_ROWS - 1)

    decision = judge(Prediction(rows.y + noise[0]), Prediction(rows.y + 400), 0.5, rows, "mae")

    assert (decision.outcome, decision.reason) == ("not judged", "too few rows to judge: 199 of 200")
    assert not decision.is_accepted


def test_drawn_rows_count_as_their_effective_number() -> None:
    rows, noise = numbers()
    drawn = LabelledRows(rows.time_us, rows.y, np.where(np.arange(N) < 50, 100.0, 0.1))

    assert judge(Prediction(rows.y + noise[0]), Prediction(rows.y), 0.5, drawn, "mae").outcome == "not judged"


def test_rows_of_one_class_refuse_only_what_is_proven_worse_on_them() -> None:
    rows, _ = classes()
    one = LabelledRows(rows.time_us, np.full(N, "no", object))

    surer, less_sure = (judge(answers(np.full(N, 0.1)), answers(np.full(N, p)), 0.5, one, "log_loss") for p in (0.01, 0.4))

    assert (surer.outcome, less_sure.outcome) == ("accepted", "refused")


def test_a_segment_that_is_proven_worse_refuses_a_member_that_is_better_on_the_whole() -> None:
    rows, noise = numbers()
    coast = np.arange(N) % 3 == 0
    forerunner = Prediction(rows.y + np.where(coast, 15.0, noise[1] * 0.1))
    segments = {"place=coast": coast, "place=inland": ~coast, "place=island": np.arange(N) < 100}

    whole = judge(Prediction(rows.y + noise[0] * 3), forerunner, 0.9, rows, "mae")
    decision = judge(Prediction(rows.y + noise[0] * 3), forerunner, 0.9, rows, "mae", segments=segments)

    assert whole.is_accepted
    assert decision.outcome == "refused"
    assert decision.reason.startswith("worse with the member in place=coast")
    assert set(decision.evidence["segments"]) == {"place=coast", "place=inland"}
    assert decision.evidence["segments"]["place=coast"]["level"] == 0.025
    assert decision.evidence["segments_too_small"] == 1


def test_a_member_that_spoils_the_calibration_is_refused_whatever_the_metric() -> None:
    rows, logit = classes()

    decision = judge(answers(sigmoid(logit)), answers(sigmoid(8 * logit)), 0.5, rows, "roc_auc")

    assert decision.outcome == "refused"
    assert decision.reason.startswith("calibration error")
    assert decision.evidence["calibration_error"][1] > decision.evidence["calibration_error"][0] + WORSE_CALIBRATION


def test_where_a_proper_score_is_proven_better_a_mean_that_is_less_sure_refuses_nothing() -> None:
    rows, logit = classes()

    decision = judge(answers(np.full(N, 0.5)), answers(sigmoid(2 * logit)), 0.5, rows, "log_loss")

    assert decision.evidence["calibration_error"][1] > decision.evidence["calibration_error"][0] + WORSE_CALIBRATION
    assert decision.is_accepted


def test_a_class_the_forerunner_alone_knows_is_judged_with_it() -> None:
    rows, logit = classes()
    y = rows.y.copy()
    y[::3] = "sometimes"
    both = sigmoid(logit)
    knows = np.column_stack([(1 - both) * 2 / 3, np.full(N, 1 / 3), both * 2 / 3])
    forerunner = Prediction(np.full(N, "no", object), knows, ("no", "sometimes", "yes"))

    decision = judge(answers(both), forerunner, 0.5, LabelledRows(rows.time_us, y), "log_loss")

    assert decision.is_accepted
    assert decision.evidence["gain_low"] > 1.0


def test_what_is_judged_is_decided_by_the_costs_of_the_model() -> None:
    rows, logit = classes()
    costs = Costs(("no", "yes"), ((0.0, 1.0), (20.0, 0.0)))

    same = answers(sigmoid(logit))

    by_costs, by_chance = (judge(same, same, 0.5, rows, cost_metric(costs), costs=each).evidence["score_before"] for each in (costs, None))

    assert by_costs < by_chance / 2


def test_the_decision_is_plain_json_with_its_thresholds() -> None:
    rows, logit = classes()

    decision = judge(answers(sigmoid(logit)), answers(sigmoid(logit / 2)), 0.3, rows, "log_loss", segments={"a": np.arange(N) < 300})

    stored = json.loads(json.dumps(decision.evidence, allow_nan=False))
    assert stored["outcome"] == decision.outcome
    assert (stored["wanted_rows"], stored["level"], stored["most_worse_calibration"]) == (200, 0.05, 0.02)
