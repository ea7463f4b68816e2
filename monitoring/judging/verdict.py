"""From the evidence to a verdict: keep, watch, retrain, blind, quarantine or roll back, with reasons (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from monitoring.drift.classic import DriftReport
from monitoring.drift.watch_report import WatchReport
from monitoring.judging.cohorts import Cohorts
from monitoring.judging.data_faults import Fault, Span
from monitoring.judging.estimating.estimated import Estimated
from monitoring.judging.labels.faults import LabelFault
from monitoring.judging.performance.disparity import MOST_SHOWN, Disparity
from monitoring.judging.performance.live_metrics import SegmentScore
from monitoring.judging.performance.own_score import OwnScore
from monitoring.judging.performance.scores import PerformanceTest, Score, Yardstick
from monitoring.judging.performance.watch import HarmTest
from training.clock import duration_us, format_duration, from_us
from training.evaluation.gate import Decision
from training.policies import RetrainingPolicy

Kind = Literal["keep", "watch", "retrain", "blind", "quarantine", "roll_back"]
Trigger = Literal["performance", "labels", "schedule", "drift", "request"]
ROUTINE: tuple[Trigger, ...] = ("labels", "schedule")  # nothing is wrong where one of these has to wait


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of the labels at a slot.

    Attributes
    ----------
    new
        Matured labelled rows that the champion has not seen and no earlier retraining was given.
    unseen
        Matured labelled rows newer than anything the champion has seen: what a gate can judge on.
    coverage
        Share of all matured rows of the slot that are labelled.
    through_us
        Nothing is known after this model time.
    """

    new: int
    unseen: int
    coverage: float
    through_us: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything read and judged at one slot of one model; what the journal keeps.

    Attributes
    ----------
    is_worse
        Whether the model is worse than it should be, by the last test there was, which may be of an earlier slot; None where unknown.
    weighing
        What the newest labels say of maps and weights of the champion's members; None where nothing was learned from them.
    """

    model: str
    slot_us: int
    champion: str
    rows: int
    drift: DriftReport | WatchReport
    faults: tuple[Fault, ...]
    spans: tuple[Span, ...]
    labels: Labels
    score: Score | None = None
    performance: PerformanceTest | HarmTest | None = None
    rollback_test: Decision | None = None
    no_baseline: str | None = None
    questions: tuple[str, ...] = ()
    cohorts: Cohorts | None = None
    live: tuple[SegmentScore, ...] = ()
    yardsticks: tuple[Yardstick, ...] = ()
    disparities: tuple[Disparity, ...] = ()
    estimated: Estimated | None = None
    is_worse: bool | None = None
    own: OwnScore | None = None
    weighing: Mapping[str, Any] | None = None

    @property
    def blind(self) -> str | None:
        """That there are too few labels to go by, and what would end it; None otherwise."""
        return None if self.cohorts is None else self.cohorts.blind

    @property
    def label_faults(self) -> tuple[LabelFault, ...]:
        """What was found wrong with labels, and not before."""
        return () if self.cohorts is None else self.cohorts.findings.faults

    def remarks(self) -> tuple[str, ...]:
        """Say what else is worth a word of inputs and labels."""
        of_labels = () if self.cohorts is None else (*_not_before(self.cohorts), *self.cohorts.remarks())
        of_baseline = () if self.no_baseline is None or self.performance is None else (self.no_baseline,)
        own = () if self.own is None or self.own.missing is None or not self.own.of else (self.own.sentence(),)
        return (*self.drift.remarks(), *self.endings(), *of_baseline, *of_labels, *own)

    def endings(self) -> tuple[str, ...]:
        """Say which episodes of worse answers ended since the last slot, also those that began since."""
        of_all = self.performance.endings() if isinstance(self.performance, HarmTest) else ()
        return (*of_all, *(ending for one in self.disparities[:MOST_SHOWN] for ending in one.endings()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "slot": from_us(self.slot_us).isoformat(),
            "champion": self.champion,
            "rows": self.rows,
            "drift": self.drift.to_dict(),
            "faults": [f.to_dict() for f in self.faults],
            "quarantine": [{"start_us": s.start_us, "end_us": s.end_us, "reason": s.reason} for s in self.spans],
            "labels": {"new": self.labels.new, "unseen": self.labels.unseen, "coverage": round(self.labels.coverage, 4),
                       "through_us": self.labels.through_us},
            "score": None if self.score is None else self.score.to_dict(),
            "performance": None if self.performance is None else self.performance.to_dict(),
            "probation": None if self.rollback_test is None else dict(self.rollback_test.evidence),
            **({} if self.no_baseline is None else {"no_baseline": self.no_baseline}),
            **({} if self.cohorts is None else {"cohorts": self.cohorts.to_dict()}),
            **({"live": [one.to_dict() for one in self.live]} if self.live else {}),
            **({"disparities": [one.to_dict() for one in self.disparities[:MOST_SHOWN]]} if self.disparities else {}),
            **({"yardsticks": [one.to_dict() for one in self.yardsticks]} if self.yardsticks else {}),
            **({} if self.estimated is None else {"estimated": self.estimated.to_dict()}),
            **({} if self.own is None else {"own_metric": self.own.to_dict()}),
            **({} if self.weighing is None else {"weighing": dict(self.weighing)}),
        }  # fmt: skip


def _not_before(cohorts: Cohorts) -> tuple[str, ...]:
    """Say from when on there can be a verdict on performance, while no row is mature."""
    if cohorts.cohorts or not cohorts.counts:
        return ()
    if cohorts.end_us is None:
        return ("no verdict on performance before as many rows came as labels.delay says",)
    first_us = min(cohorts.counts) + cohorts.rule.bucket_us + cohorts.maturity.needed_us
    return (f"no verdict on performance before {from_us(first_us):%Y-%m-%d %H:%M}",) if first_us > cohorts.slot_us else ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps the loop from acting now.

    Attributes
    ----------
    last_retrain_us
        Slot (model time) of the last retraining; None before the first.
    learned_through_us
        Newest row (model time) of what the champion was trained on; None where nobody knows.
    retrains_this_week
        Retrainings started in the last seven days of machine time.
    is_paused
        Whether a person paused the model's loop.
    is_requested
        Whether a person asked for a retraining: asks past cool-down and budget, never past a data fault.
    """

    last_retrain_us: int | None = None
    retrains_this_week: int = 0
    is_paused: bool = False
    is_requested: bool = False
    learned_through_us: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence says, and whether the loop may act on it.

    Attributes
    ----------
    reasons
        Sentences, the deciding one first.
    trigger
        What asks for a retraining, also when it is held back.
    is_dry
        Whether the policy lets the loop only say what it would do.
    """

    kind: Kind
    reasons: tuple[str, ...]
    trigger: Trigger | None = None
    is_dry: bool = False


def judge(evidence: Evidence, policy: RetrainingPolicy, every: timedelta, limits: Limits) -> Verdict:
    """Turn the evidence of one slot into one verdict.

    A proven worse champion on probation goes first, then broken data, then that there are no labels to go by, then reasons to
    retrain, then reasons to watch. Drift alone is watched unless the policy says otherwise; nothing is retrained in a slot with a data
    fault or a blind one, whoever asks. A retraining that comes round by itself and has to wait asks nobody to look.

    Parameters
    ----------
    every
        Distance of two slots, for the schedule.
    """
    is_dry = policy.act == "notify" or limits.is_paused
    held = _why_nothing_is_done(policy, limits)
    notices, ended = _notices(evidence), (*evidence.drift.ended, *evidence.endings())
    if evidence.rollback_test is not None and evidence.rollback_test.accepted:
        reason = f"the previous champion does better on the rows since the promotion: {evidence.rollback_test.reason}"
        return Verdict("roll_back", (reason, *held, *notices, *ended), None, is_dry)
    if evidence.faults or evidence.label_faults:
        reasons = tuple(dict.fromkeys([*(f.sentence() for f in evidence.faults), *(f.sentence() for f in evidence.label_faults)]))
        blind = () if evidence.blind is None else (evidence.blind,)
        return Verdict("quarantine", (*reasons, *evidence.questions, *held, *blind, *notices, *ended), None, policy.act == "notify")
    trigger, reason = _trigger(evidence, policy, every, limits)
    if evidence.blind is not None:
        asked = () if trigger is None else (f"would retrain: {reason}", "no retraining yet: the slot is blind")
        return Verdict("blind", (evidence.blind, *asked, *held, *notices, *ended), trigger, is_dry)
    blocked = () if trigger is None else _blocked(evidence, policy, limits, trigger)
    if trigger is not None and not (blocked and trigger in ROUTINE):
        if blocked or is_dry:
            return Verdict("watch", (f"would retrain: {reason}", *blocked, *held, *_except(notices, reason), *ended), trigger, is_dry)
        return Verdict("retrain", (reason, *_except(notices, reason), *ended), trigger)
    waits = (f"would retrain: {reason}", *blocked) if blocked else ()
    if notices:
        return Verdict("watch", (*notices, *evidence.remarks(), *waits, *held), trigger, is_dry)
    return Verdict("keep", (_calm(evidence), *evidence.remarks(), *waits, *held), trigger, is_dry)


def _except(notices: tuple[str, ...], reason: str) -> tuple[str, ...]:
    return tuple(notice for notice in notices if notice != reason)


def _why_nothing_is_done(policy: RetrainingPolicy, limits: Limits) -> tuple[str, ...]:
    reasons = []
    if policy.act == "notify":
        reasons.append("act: notify, so nothing is done")
    if limits.is_paused:
        reasons.append("the loop of this model is paused")
    return tuple(reasons)


def _trigger(evidence: Evidence, policy: RetrainingPolicy, every: timedelta, limits: Limits) -> tuple[Trigger | None, str]:
    if limits.is_requested:
        return "request", "a person asked for it"
    if policy.on_performance and evidence.performance is not None and evidence.performance.is_degraded:
        return "performance", evidence.performance.sentence()
    if policy.min_new_labels is not None and evidence.labels.new >= policy.min_new_labels:
        return "labels", f"{evidence.labels.new} new labels, the policy asks for {policy.min_new_labels}"
    if policy.schedule is not None and policy.is_paced and _is_growing_time(evidence.slot_us, policy.schedule, every, limits):
        return "schedule", f"{policy.schedule // every} slots since the last one: one more member"
    if policy.schedule is not None and not policy.is_paced and _is_scheduled(evidence.slot_us, policy.schedule, every, limits):
        return "schedule", f"every {format_duration(policy.schedule)} by the policy"
    if policy.on_drift and evidence.drift.drifting:
        return "drift", f"drift in {', '.join(evidence.drift.drifting)}, and the policy retrains on drift"
    return None, ""


def _is_scheduled(slot_us: int, schedule: timedelta, every: timedelta, limits: Limits) -> bool:
    """Return whether a boundary of the schedule (multiples since the epoch) has passed since the last retraining, or what was learned from.

    So it stays due where a slot could not act on it: blind, quarantined, paused, with too few rows. Where neither is known it must have
    fallen into the slot that ends here.
    """
    boundary_us = slot_us // duration_us(schedule) * duration_us(schedule)
    known = [at_us for at_us in (limits.last_retrain_us, limits.learned_through_us) if at_us is not None]
    return boundary_us > (max(known) if known else slot_us - duration_us(every))


def _is_growing_time(slot_us: int, schedule: timedelta, every: timedelta, limits: Limits) -> bool:
    """Return whether so long has passed since the last retraining, or what was learned from: by slots, for what is between may change."""
    known = [at_us // duration_us(every) for at_us in (limits.last_retrain_us, limits.learned_through_us) if at_us is not None]
    return not known or slot_us // duration_us(every) - max(known) >= schedule // every


def _blocked(evidence: Evidence, policy: RetrainingPolicy, limits: Limits, trigger: Trigger) -> tuple[str, ...]:
    reasons = []
    if evidence.labels.unseen < policy.gate.rows:
        reasons.append(
            f"no retraining yet: the gate needs {policy.gate.rows} matured labelled rows the champion has not seen, "
            f"there are {evidence.labels.unseen}"
        )
    if trigger == "request":
        return tuple(reasons)
    is_alarm = trigger == "performance" and policy.grows  # a member more costs little, and what is wrong goes on meanwhile
    if not is_alarm and limits.last_retrain_us is not None and evidence.slot_us < limits.last_retrain_us + duration_us(policy.cool_down):
        reasons.append(
            f"no retraining yet: cool-down of {format_duration(policy.cool_down)} since {from_us(limits.last_retrain_us):%Y-%m-%d %H:%M}"
        )
    if limits.retrains_this_week >= policy.budget_per_week:
        reasons.append(f"no retraining yet: {limits.retrains_this_week} in the last seven days, the budget is {policy.budget_per_week}")
    return tuple(reasons)


def _notices(evidence: Evidence) -> tuple[str, ...]:
    is_degraded = evidence.performance is not None and evidence.performance.is_degraded
    of_labels = () if evidence.cohorts is None else evidence.cohorts.findings.notices
    worse = () if evidence.performance is None or not is_degraded else (evidence.performance.sentence(),)
    metric = "" if evidence.score is None else evidence.score.metric
    behind = [one.sentence(metric) for one in evidence.yardsticks if one.is_better]
    disparities = [one.sentence() for one in evidence.disparities[:MOST_SHOWN] if one.is_open]
    return (*evidence.drift.notices(), *worse, *disparities, *behind, *of_labels)


def _calm(evidence: Evidence) -> str:
    if evidence.rows == 0:
        return "no rows in the window"
    if evidence.performance is not None and evidence.performance.live is not None:
        return evidence.performance.sentence()
    if evidence.no_baseline is not None:
        return evidence.no_baseline
    if evidence.drift.note:
        return f"nothing broke in {evidence.rows} rows"
    return f"nothing moved and nothing broke in {evidence.rows} rows"
