"""From evidence to verdict, rule by rule."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from monitoring.drift import ColumnDrift, DriftReport
from monitoring.performance import Score, compare
from monitoring.quality import Fault
from monitoring.verdict import Evidence, Labels, Limits, judge
from training.clock import duration_us
from training.gate import Decision
from training.policies import RetrainingPolicy

WEEK = timedelta(days=7)
WEEK_US = duration_us(WEEK)
POLICY = RetrainingPolicy()
DRIFTING = ColumnDrift("temperature", 0.5, 0.1, 1e-9, 1e-9, 0.4, 1e-9, 0.0, 0.0, True)
NEW = ColumnDrift("district", 0.05, 0.1, 0.5, 0.5, 0.0, 0.5, 0.12, 0.0, False)
STUCK = Fault("constant", "bikes", 0, 10, 56, 1.0, 0.1)
WORSE = compare(
    Score("accuracy", 0.6, 0.58, 0.62, 400), Score("accuracy", 0.8, 0.79, 0.81, 3000), source="x", level=0.01, tolerance=0.02, through_us=0
)
BETTER_BEFORE = Decision(True, "better: gain 0.1", None, 0.5, 0.4, 300, {"accepted": True})
CALM = Evidence("m", 10 * WEEK_US, "v1", 800, DriftReport((), 800, 800, "b"), (), (), Labels(50, 2000, 1.0, 0))


def drifting(*columns: ColumnDrift) -> DriftReport:
    return DriftReport(columns, 800, 800, "b")


def said(evidence: Evidence, policy: RetrainingPolicy = POLICY, limits: Limits | None = None) -> tuple[str, str | None, bool]:
    verdict = judge(evidence, policy, WEEK, limits or Limits())
    return verdict.kind, verdict.trigger, verdict.is_dry


def test_nothing_moved_means_keep() -> None:
    assert said(CALM) == ("keep", None, False)


def test_drift_alone_is_watched() -> None:
    assert said(replace(CALM, drift=drifting(DRIFTING))) == ("watch", None, False)


def test_drift_is_learned_where_the_policy_says_so() -> None:
    assert said(replace(CALM, drift=drifting(DRIFTING)), replace(POLICY, on_drift=True)) == ("retrain", "drift", False)


def test_a_new_category_is_watched_and_named() -> None:
    verdict = judge(replace(CALM, drift=drifting(NEW)), POLICY, WEEK, Limits())

    assert verdict.kind == "watch"
    assert "district: 12%" in verdict.reasons[0]


def test_a_worse_model_is_retrained() -> None:
    assert said(replace(CALM, performance=WORSE)) == ("retrain", "performance", False)


def test_a_worse_model_is_only_watched_where_the_policy_says_so() -> None:
    assert said(replace(CALM, performance=WORSE), replace(POLICY, on_performance=False)) == ("watch", None, False)


def test_nothing_is_retrained_in_a_slot_with_a_data_fault() -> None:
    assert said(replace(CALM, performance=WORSE, faults=(STUCK,))) == ("quarantine", None, False)
    assert said(replace(CALM, faults=(STUCK,)), limits=Limits(is_requested=True))[0] == "quarantine"


def test_a_worse_champion_on_probation_goes_first() -> None:
    everything = replace(CALM, performance=WORSE, faults=(STUCK,), probation=BETTER_BEFORE)

    assert said(everything) == ("roll_back", None, False)


@pytest.mark.parametrize(
    ("policy", "labels", "expected"),
    [
        (replace(POLICY, min_new_labels=100), Labels(100, 2000, 1.0, 0), ("retrain", "labels", False)),
        (replace(POLICY, min_new_labels=100), Labels(99, 2000, 1.0, 0), ("keep", None, False)),
        (replace(POLICY, schedule=timedelta(days=14)), Labels(0, 2000, 1.0, 0), ("retrain", "schedule", False)),
        (replace(POLICY, schedule=timedelta(days=21)), Labels(0, 2000, 1.0, 0), ("keep", None, False)),
    ],
    ids=["enough labels", "too few labels", "every second slot", "every third slot"],
)
def test_labels_and_schedule_ask_for_a_retraining(policy: RetrainingPolicy, labels: Labels, expected: tuple[str, str | None, bool]) -> None:
    assert said(replace(CALM, labels=labels), policy) == expected


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(last_retrain_us=9 * WEEK_US), "cool-down"),
        (Limits(retrains_this_week=3), "budget"),
        (Limits(is_on_probation=True), "probation"),
        (Limits(is_paused=True), "paused"),
    ],
    ids=["cool-down", "budget", "probation", "pause"],
)
def test_a_retraining_that_is_held_back_says_why(limits: Limits, word: str) -> None:
    verdict = judge(replace(CALM, performance=WORSE), POLICY, WEEK, limits)

    assert verdict.kind == "watch"
    assert verdict.reasons[0].startswith("would retrain")
    assert any(word in reason for reason in verdict.reasons)


def test_without_rows_to_judge_by_there_is_no_retraining() -> None:
    verdict = judge(replace(CALM, performance=WORSE, labels=Labels(50, 999, 1.0, 0)), POLICY, WEEK, Limits())

    assert verdict.kind == "watch"
    assert "the gate needs 1000" in verdict.reasons[1]


def test_a_person_passes_cool_down_and_budget_but_not_the_gate() -> None:
    held = Limits(last_retrain_us=9 * WEEK_US, retrains_this_week=9, is_requested=True)

    assert said(CALM, limits=held) == ("retrain", "request", False)
    assert said(replace(CALM, labels=Labels(0, 10, 1.0, 0)), limits=held)[0] == "watch"


def test_notify_makes_everything_dry() -> None:
    notify = replace(POLICY, act="notify")

    assert said(replace(CALM, performance=WORSE), notify) == ("watch", "performance", True)
    assert said(replace(CALM, faults=(STUCK,)), notify) == ("quarantine", None, True)
    assert said(replace(CALM, probation=BETTER_BEFORE), notify) == ("roll_back", None, True)


def test_a_pause_still_sets_broken_rows_aside() -> None:
    assert said(replace(CALM, faults=(STUCK,)), limits=Limits(is_paused=True)) == ("quarantine", None, False)


def test_the_evidence_is_plain_json() -> None:
    everything = replace(CALM, drift=drifting(DRIFTING), performance=WORSE, faults=(STUCK,), probation=BETTER_BEFORE)

    assert json.loads(json.dumps(everything.to_dict()))["drift"]["drifting"] == ["temperature"]
