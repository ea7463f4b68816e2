"""From evidence to verdict, rule by rule."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitoring.drift.classic import ColumnDrift, DriftReport
from monitoring.judging.cohorts import Cohorts, Maturity
from monitoring.judging.data_faults import Fault, Span
from monitoring.judging.estimating.bands import Estimate
from monitoring.judging.estimating.estimated import Estimated
from monitoring.judging.labels.counts import LabelCounts
from monitoring.judging.labels.coverage import CoverageRule
from monitoring.judging.performance.live_metrics import SegmentScore
from monitoring.judging.performance.scores import Score, compare
from monitoring.judging.verdict import Evidence, Labels, Limits, Verdict, judge
from training.clock import duration_us
from training.evaluation.gate import Decision
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


def judged(evidence: Evidence, policy: RetrainingPolicy = POLICY, limits: Limits | None = None) -> tuple[str, str | None, bool]:
    verdict = judge(evidence, policy, WEEK, limits or Limits())
    return verdict.kind, verdict.trigger, verdict.is_dry


def test_nothing_moved_means_keep() -> None:
    assert judged(CALM) == ("keep", None, False)


def test_drift_alone_is_watched() -> None:
    assert judged(replace(CALM, drift=drifting(DRIFTING))) == ("watch", None, False)


def test_drift_is_learned_where_the_policy_says_so() -> None:
    assert judged(replace(CALM, drift=drifting(DRIFTING)), replace(POLICY, on_drift=True)) == ("retrain", "drift", False)


def test_a_new_category_is_watched_and_named() -> None:
    verdict = judge(replace(CALM, drift=drifting(NEW)), POLICY, WEEK, Limits())

    assert verdict.kind == "watch"
    assert "district: 12%" in verdict.reasons[0]


def test_a_worse_model_is_retrained() -> None:
    assert judged(replace(CALM, performance=WORSE)) == ("retrain", "performance", False)


def test_a_worse_model_is_only_watched_where_the_policy_says_so() -> None:
    assert judged(replace(CALM, performance=WORSE), replace(POLICY, on_performance=False)) == ("watch", None, False)


def test_nothing_is_retrained_in_a_slot_with_a_data_fault() -> None:
    assert judged(replace(CALM, performance=WORSE, faults=(STUCK,))) == ("quarantine", None, False)
    assert judged(replace(CALM, faults=(STUCK,)), limits=Limits(is_requested=True))[0] == "quarantine"


def test_a_worse_champion_on_probation_goes_first() -> None:
    everything = replace(CALM, performance=WORSE, faults=(STUCK,), rollback_test=BETTER_BEFORE)

    assert judged(everything) == ("roll_back", None, False)


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
    assert judged(replace(CALM, labels=labels), policy) == expected


WORSE_SENTENCE = (
    "accuracy 0.6 [0.58, 0.62] on 400 labelled rows is worse than baseline 0.8 (x, 3000 rows), tolerance 0.02; "
    "100% of these predictions are labelled"
)
TOO_FEW = "no retraining yet: the gate needs 1000 matured labelled rows the champion has not seen, there are 999"
COOLING = "no retraining yet: cool-down of 14d since 1970-02-26 00:00"
SPENT = "no retraining yet: 3 in the last seven days, the budget is 3"


@pytest.mark.parametrize(
    ("limits", "unseen", "reasons"),
    [
        pytest.param(Limits(), 999, [TOO_FEW], id="one row too few for the gate"),
        pytest.param(Limits(), 1000, [], id="enough rows for the gate"),
        pytest.param(Limits(last_retrain_us=8 * WEEK_US + 1), 1000, [COOLING], id="a moment before the end of the cool-down"),
        pytest.param(Limits(last_retrain_us=8 * WEEK_US), 1000, [], id="at the end of the cool-down"),
        pytest.param(Limits(retrains_this_week=3), 1000, [SPENT], id="the budget is spent"),
        pytest.param(Limits(retrains_this_week=2), 1000, [], id="the budget has one left"),
        pytest.param(Limits(8 * WEEK_US + 1, 3), 999, [TOO_FEW, COOLING, SPENT], id="everything"),
    ],
)
def test_a_retraining_is_held_back_at_these_bounds_and_says_why(limits: Limits, unseen: int, reasons: list[str]) -> None:
    verdict = judge(replace(CALM, performance=WORSE, labels=Labels(50, unseen, 1.0, 0)), POLICY, WEEK, limits)

    held = Verdict("watch", (f"would retrain: {WORSE_SENTENCE}", *reasons), "performance", False)
    assert verdict == (held if reasons else Verdict("retrain", (WORSE_SENTENCE,), "performance", False))


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        pytest.param(replace(POLICY, schedule=WEEK), "every 7d by the policy", id="a schedule"),
        pytest.param(replace(POLICY, min_new_labels=50), "50 new labels, the policy asks for 50", id="new labels"),
    ],
)
def test_what_comes_round_by_itself_and_has_to_wait_asks_nobody_to_look(policy: RetrainingPolicy, reason: str) -> None:
    calm, limits = replace(CALM, labels=Labels(50, 999, 1.0, 0)), Limits(retrains_this_week=3)
    trigger, waits = "labels" if policy.min_new_labels else "schedule", (f"would retrain: {reason}", TOO_FEW, SPENT)

    assert judge(calm, policy, WEEK, limits) == Verdict("keep", (QUIET, *waits), trigger, False)
    moved = replace(calm, drift=drifting(DRIFTING))
    assert judge(moved, policy, WEEK, limits) == Verdict("watch", (DRIFT_NOTICE, *waits), trigger, False)
    notify = replace(policy, act="notify")
    assert judge(calm, notify, WEEK, limits) == Verdict("keep", (QUIET, *waits, DRY), trigger, True)
    ready = replace(calm, labels=Labels(50, 1000, 1.0, 0))
    assert judge(ready, notify, WEEK, Limits()) == Verdict("watch", (f"would retrain: {reason}", DRY), trigger, True)


def test_a_person_is_held_back_by_the_gate_only() -> None:
    verdict = judge(replace(CALM, labels=Labels(0, 999, 1.0, 0)), POLICY, WEEK, Limits(8 * WEEK_US + 1, 3, is_requested=True))

    assert verdict == Verdict("watch", ("would retrain: a person asked for it", TOO_FEW), "request", False)


NOTIFY = replace(POLICY, act="notify")
DRY, PAUSED = "act: notify, so nothing is done", "the loop of this model is paused"
DRIFT_NOTICE = "drift in two windows running: temperature (PSI 0.50, floor 0.10)"
STUCK_SENTENCE = "bikes: the same value in all 56 rows, while the other columns vary"
BACK = "the previous champion does better on the rows since the promotion: better: gain 0.1"
QUIET = "nothing moved and nothing broke in 800 rows"


@pytest.mark.parametrize(
    ("policy", "is_paused", "held"),
    [(POLICY, False, ()), (NOTIFY, False, (DRY,)), (POLICY, True, (PAUSED,)), (NOTIFY, True, (DRY, PAUSED))],
    ids=["acts", "notify", "paused", "both"],
)
def test_every_verdict_says_that_it_is_dry_and_in_this_order(policy: RetrainingPolicy, is_paused: bool, held: tuple[str, ...]) -> None:
    limits, is_dry = Limits(is_paused=is_paused), held != ()
    moved = replace(CALM, drift=drifting(DRIFTING))

    def verdict(evidence: Evidence) -> Verdict:
        return judge(evidence, policy, WEEK, limits)

    assert verdict(CALM) == Verdict("keep", (QUIET, *held), None, is_dry)
    assert verdict(moved) == Verdict("watch", (DRIFT_NOTICE, *held), None, is_dry)
    assert verdict(replace(moved, faults=(STUCK, STUCK))) == Verdict(
        "quarantine", (STUCK_SENTENCE, *held, DRIFT_NOTICE), None, policy is NOTIFY
    )
    assert verdict(replace(moved, rollback_test=BETTER_BEFORE)) == Verdict("roll_back", (BACK, *held, DRIFT_NOTICE), None, is_dry)
    assert verdict(replace(moved, performance=WORSE)) == (
        Verdict("watch", (f"would retrain: {WORSE_SENTENCE}", *held, DRIFT_NOTICE), "performance", True)
        if held
        else Verdict("retrain", (WORSE_SENTENCE, DRIFT_NOTICE), "performance", False)
    )


def test_a_previous_champion_that_is_not_better_stays_away() -> None:
    assert judged(replace(CALM, rollback_test=replace(BETTER_BEFORE, accepted=False))) == ("keep", None, False)


EVERYTHING = replace(POLICY, min_new_labels=50, schedule=WEEK, on_drift=True)


@pytest.mark.parametrize(
    ("policy", "limits", "trigger", "reason"),
    [
        (EVERYTHING, Limits(is_requested=True), "request", "a person asked for it"),
        (EVERYTHING, Limits(), "performance", WORSE_SENTENCE),
        (replace(EVERYTHING, on_performance=False), Limits(), "labels", "50 new labels, the policy asks for 50"),
        (replace(EVERYTHING, on_performance=False, min_new_labels=None), Limits(), "schedule", "every 7d by the policy"),
        (
            replace(EVERYTHING, on_performance=False, min_new_labels=None, schedule=None),
            Limits(),
            "drift",
            "drift in temperature, place, and the policy retrains on drift",
        ),
    ],
    ids=["request", "performance", "labels", "schedule", "drift"],
)
def test_the_first_of_several_reasons_is_the_one_that_is_named(policy: RetrainingPolicy, limits: Limits, trigger: str, reason: str) -> None:
    moved = drifting(DRIFTING, replace(DRIFTING, column="place", psi=0.4))

    verdict = judge(replace(CALM, performance=WORSE, drift=moved), policy, WEEK, limits)

    assert (verdict.kind, verdict.trigger, verdict.reasons[0]) == ("retrain", trigger, reason)


@pytest.mark.parametrize(
    ("slot_us", "schedule_us", "is_due"),
    [
        (100, 50, True), (149, 50, False), (150, 50, True), (159, 50, True), (160, 50, False),
        (90, 30, True), (100, 30, False), (129, 30, True), (130, 30, False),
    ],
)  # fmt: skip
def test_a_schedule_is_due_in_the_slot_its_boundary_falls_into(slot_us: int, schedule_us: int, is_due: bool) -> None:
    policy = replace(POLICY, schedule=timedelta(microseconds=schedule_us))

    verdict = judge(replace(CALM, slot_us=slot_us), policy, timedelta(microseconds=10), Limits())

    assert (verdict.trigger == "schedule") is is_due


@pytest.mark.parametrize(
    ("last_retrain_us", "learned_through_us", "is_due"),
    [
        (99, None, True), (100, None, False), (None, 99, True), (None, 100, False), (99, 20, True), (20, 100, False), (130, 100, False),
    ],
)  # fmt: skip
def test_a_schedule_that_a_slot_could_not_act_on_stays_due(
    last_retrain_us: int | None, learned_through_us: int | None, is_due: bool
) -> None:
    policy = replace(POLICY, schedule=timedelta(microseconds=50), cool_down=timedelta(0))
    limits = Limits(last_retrain_us, learned_through_us=learned_through_us)

    verdict = judge(replace(CALM, slot_us=137), policy, timedelta(microseconds=10), limits)

    assert (verdict.trigger == "schedule") is is_due


def test_of_many_drifting_columns_five_are_named_the_farthest_first() -> None:
    columns = [replace(DRIFTING, column=f"c{i}", psi=0.1 * i, floor=0.01 * i) for i in range(1, 8)]
    named = ", ".join(f"c{i} (PSI 0.{i}0, floor 0.0{i})" for i in (6, 5, 4, 3, 2))

    seven, exactly_six, exactly_five = (judge(replace(CALM, drift=drifting(*columns[:n])), POLICY, WEEK, Limits()) for n in (7, 6, 5))

    assert seven.reasons[0].endswith("c3 (PSI 0.30, floor 0.03) and 2 more")
    assert exactly_six.reasons == (f"drift in two windows running: {named} and 1 more",)
    assert exactly_five.reasons[0].endswith("c1 (PSI 0.10, floor 0.01)")


@pytest.mark.parametrize(
    ("column", "share", "reasons"),
    [
        ("district", 0.03, ("district: 3% of the rows have a category the champion has not learned",)),
        ("district", 0.0299, (QUIET,)),
        ("@label", 0.5, (QUIET,)),
    ],
)
def test_unknown_categories_are_worth_a_word_from_three_percent_on(column: str, share: float, reasons: tuple[str, ...]) -> None:
    verdict = judge(replace(CALM, drift=drifting(replace(NEW, column=column, new_share=share))), POLICY, WEEK, Limits())

    assert verdict.reasons == reasons


def test_notices_stand_in_this_order_and_the_reason_is_not_repeated() -> None:
    worse = replace(CALM, performance=WORSE, drift=drifting(DRIFTING, NEW))
    district = "district: 12% of the rows have a category the champion has not learned"

    watched = judge(worse, replace(POLICY, on_performance=False), WEEK, Limits())
    learned, held = judge(worse, POLICY, WEEK, Limits()), judge(worse, POLICY, WEEK, Limits(retrains_this_week=3))

    assert watched.reasons == (DRIFT_NOTICE, district, WORSE_SENTENCE)
    assert learned.reasons == (WORSE_SENTENCE, DRIFT_NOTICE, district)
    assert held.reasons == (f"would retrain: {WORSE_SENTENCE}", SPENT, DRIFT_NOTICE, district)


SAME = compare(
    Score("accuracy", 0.8, 0.78, 0.82, 400), Score("accuracy", 0.8, 0.79, 0.81, 3000), source="x", level=0.01, tolerance=0.02, through_us=0
)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (replace(CALM, rows=0, performance=SAME), "no rows in the window"),
        (replace(CALM, rows=1), "nothing moved and nothing broke in 1 rows"),
        (replace(CALM, performance=SAME), SAME.sentence()),
    ],
    ids=["no rows", "rows", "a score"],
)
def test_a_calm_slot_says_what_it_stands_on(evidence: Evidence, reason: str) -> None:
    assert judge(evidence, POLICY, WEEK, Limits()) == Verdict("keep", (reason,), None, False)


def test_whatever_the_verdict_is_it_says_once_what_ended() -> None:
    ended = "episode 1 (wind) ended: a window below the floor"
    drift = replace(drifting(), ended=(ended,))
    cases: dict[str, Evidence] = {
        "keep": CALM,
        "watch": replace(CALM, performance=WORSE),
        "retrain": replace(CALM, performance=WORSE),
        "quarantine": replace(CALM, faults=(STUCK,)),
        "roll_back": replace(CALM, rollback_test=BETTER_BEFORE),
    }

    verdicts = {
        kind: judge(replace(one, drift=drift), replace(POLICY, on_performance=kind == "retrain"), WEEK, Limits())
        for kind, one in cases.items()
    }

    assert {kind: (verdict.kind, verdict.reasons.count(ended)) for kind, verdict in verdicts.items()} == {kind: (kind, 1) for kind in cases}
    held = judge(replace(CALM, performance=WORSE, drift=drift), POLICY, WEEK, Limits(retrains_this_week=3))
    assert held.reasons.count(ended) == 1


def test_a_person_passes_cool_down_and_budget_but_not_the_gate() -> None:
    held = Limits(last_retrain_us=9 * WEEK_US, retrains_this_week=9, is_requested=True)

    assert judged(CALM, limits=held) == ("retrain", "request", False)
    assert judged(replace(CALM, labels=Labels(0, 10, 1.0, 0)), limits=held)[0] == "watch"


def test_notify_makes_everything_dry() -> None:
    notify = replace(POLICY, act="notify")

    assert judged(replace(CALM, performance=WORSE), notify) == ("watch", "performance", True)
    assert judged(replace(CALM, faults=(STUCK,)), notify) == ("quarantine", None, True)
    assert judged(replace(CALM, rollback_test=BETTER_BEFORE), notify) == ("roll_back", None, True)


def test_a_pause_still_sets_broken_rows_aside() -> None:
    assert judged(replace(CALM, faults=(STUCK,)), limits=Limits(is_paused=True)) == ("quarantine", None, False)


def test_the_evidence_is_plain_json() -> None:
    score = Score("accuracy", 0.8, 0.7, 0.9, 400)
    everything = replace(
        CALM,
        drift=drifting(DRIFTING), faults=(STUCK,), spans=(Span(1, 2, "constant bikes"),), labels=Labels(1, 2, 0.123456, 3),
        score=score, performance=WORSE, rollback_test=BETTER_BEFORE,
    )  # fmt: skip

    stored = json.loads(json.dumps(everything.to_dict()))

    assert stored == {
        "slot": "1970-03-12T00:00:00+00:00",
        "champion": "v1",
        "rows": 800,
        "drift": drifting(DRIFTING).to_dict(),
        "faults": [STUCK.to_dict()],
        "quarantine": [{"start_us": 1, "end_us": 2, "reason": "constant bikes"}],
        "labels": {"new": 1, "unseen": 2, "coverage": 0.1235, "through_us": 3},
        "score": score.to_dict(),
        "performance": WORSE.to_dict(),
        "probation": {"accepted": True},
    }
    assert [CALM.to_dict()[name] for name in ("score", "performance", "probation")] == [None, None, None]


BLIND = Cohorts(
    {}, Maturity(10 * WEEK_US, 9 * WEEK_US, WEEK_US, WEEK_US), CoverageRule(0.9, 100, WEEK_US, WEEK_US), (), (), True, "blind: 12%"
)


@pytest.mark.parametrize(
    ("evidence", "limits", "kind", "trigger"),
    [
        pytest.param(CALM, Limits(), "blind", None, id="calm"),
        pytest.param(replace(CALM, performance=WORSE), Limits(), "blind", "performance", id="before retrain"),
        pytest.param(CALM, Limits(is_requested=True), "blind", "request", id="whoever asks"),
        pytest.param(replace(CALM, drift=drifting(DRIFTING)), Limits(), "blind", None, id="before watch"),
        pytest.param(replace(CALM, faults=(STUCK,)), Limits(), "quarantine", None, id="after quarantine"),
        pytest.param(replace(CALM, rollback_test=BETTER_BEFORE), Limits(), "roll_back", None, id="after a roll-back"),
    ],
)
def test_in_a_blind_slot_nothing_is_retrained(evidence: Evidence, limits: Limits, kind: str, trigger: str | None) -> None:
    assert judged(replace(evidence, cohorts=BLIND), POLICY, limits)[:2] == (kind, trigger)


def test_blindness_is_said_with_a_fault_too_and_what_was_asked_for_is_said_to_wait() -> None:
    faulty = judge(replace(CALM, faults=(STUCK,), cohorts=BLIND), POLICY, WEEK, Limits())
    worse = judge(replace(CALM, performance=WORSE, cohorts=BLIND), POLICY, WEEK, Limits())

    assert "blind: 12%" in faulty.reasons
    assert worse.reasons[:3] == ("blind: 12%", f"would retrain: {WORSE.sentence()}", "no retraining yet: the slot is blind")
    assert "blind" not in CALM.to_dict()
    assert replace(CALM, cohorts=BLIND).to_dict()["cohorts"]["blind"] == "blind: 12%"


def young(end_us: int | None, needed_us: int) -> Cohorts:
    """A log of one bucket that began on day 69, as of day 70."""
    counts = {9 * WEEK_US + 6 * WEEK_US // 7: LabelCounts(np.array([9, 9, 9, 0]), np.array([0, 0, 1, 0]))}
    return Cohorts.of(counts, Maturity(10 * WEEK_US, end_us, needed_us, needed_us), CoverageRule(0.9, 100, WEEK_US, WEEK_US // 7))


@pytest.mark.parametrize(
    ("cohorts", "remark"),
    [
        (young(9 * WEEK_US, WEEK_US), "no verdict on performance before 1970-03-19 00:00"),
        (young(None, 0), "no verdict on performance before as many rows came as labels.delay says"),
    ],
    ids=["by time", "by rows"],
)
def test_while_no_row_is_mature_the_verdict_says_before_when_there_is_none_on_performance(cohorts: Cohorts, remark: str) -> None:
    verdict = judge(replace(CALM, cohorts=cohorts), POLICY, WEEK, Limits())

    assert remark in verdict.reasons


def test_live_scores_stand_in_the_evidence() -> None:
    scores = (SegmentScore("", Score("accuracy", 0.6, 0.58, 0.62, 400)), SegmentScore("place=coast", Score("accuracy", 0.5, 0.4, 0.6, 200)))

    stored = json.loads(json.dumps(replace(CALM, live=scores).to_dict()))

    assert stored["live"][1] == {
        "segment": "place=coast", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n": 200, "coverage": 1.0,
    }  # fmt: skip
    assert "live" not in CALM.to_dict()


@pytest.mark.parametrize(
    "change", [{}, {"drift": drifting(DRIFTING)}, {"performance": WORSE}, {"faults": (STUCK,)}, {"rollback_test": BETTER_BEFORE}]
)
@pytest.mark.parametrize("is_requested", [False, True])
def test_estimates_trigger_nothing(change: dict[str, Any], is_requested: bool) -> None:
    evidence, limits = replace(CALM, **change), Limits(is_requested=is_requested)
    terrible = Estimated((Estimate("accuracy", "CBPE", 0.01, 0.0, 0.02, 900, 2000, 1.0),), ("no estimate with labels",))

    judged_with, judged_without = (judge(replace(evidence, estimated=one), POLICY, WEEK, limits) for one in (terrible, None))

    assert judged_with == judged_without


@pytest.mark.parametrize(("since", "is_due"), [(3, False), (4, True), (9, True)])
def test_one_more_member_is_due_so_many_slots_after_the_last(since: int, is_due: bool) -> None:
    policy = replace(POLICY, grows=True, cool_down=WEEK).paced(4, WEEK)
    limits = Limits(last_retrain_us=CALM.slot_us - since * WEEK_US)

    kind, trigger, _ = judged(replace(CALM, labels=Labels(0, 2000, 1.0, 0)), policy, limits)

    assert (kind, trigger) == (("retrain", "schedule") if is_due else ("keep", None))
