"""From the evidence to a verdict: keep, watch, retrain, quarantine or roll back, with reasons (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from monitoring.drift import DriftReport
from monitoring.performance import PerformanceTest, Score
from monitoring.quality import Fault, Span
from training.clock import duration_us, format_duration, from_us
from training.gate import Decision
from training.policies import RetrainingPolicy

NEW_SHARE = 0.03  # a category nobody has learned is worth a word from this share of the rows on
Kind = Literal["keep", "watch", "retrain", "quarantine", "roll_back"]
Trigger = Literal["performance", "labels", "schedule", "drift", "request"]


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of the truth at a slot.

    Parameters
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
    """Everything read and judged at one slot of one model; what the journal keeps."""

    model: str
    slot_us: int
    champion: str
    rows: int
    drift: DriftReport
    faults: tuple[Fault, ...]
    spans: tuple[Span, ...]
    labels: Labels
    score: Score | None = None
    performance: PerformanceTest | None = None
    probation: Decision | None = None

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
            "probation": None if self.probation is None else dict(self.probation.evidence),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps the loop from acting now.

    Parameters
    ----------
    last_retrain_us
        Slot (model time) of the last retraining; None before the first.
    retrains_this_week
        Retrainings started in the last seven days of machine time.
    is_paused
        Whether a person paused the model's loop.
    is_on_probation
        Whether the champion can still be taken back.
    is_requested
        Whether a person asked for a retraining: asks past cool-down and budget, never past a data fault.
    """

    last_retrain_us: int | None = None
    retrains_this_week: int = 0
    is_paused: bool = False
    is_on_probation: bool = False
    is_requested: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence says, and whether the loop may act on it.

    Parameters
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

    A proven worse champion on probation goes first, then broken data, then reasons to retrain, then reasons to watch.
    Drift alone is watched unless the policy says otherwise; nothing is retrained in a slot with a data fault.

    Parameters
    ----------
    every
        Distance of two slots, for the schedule.
    """
    is_dry = policy.act == "notify" or limits.is_paused
    held = _dryness(policy, limits)
    notices = _notices(evidence)
    if evidence.probation is not None and evidence.probation.accepted:
        reason = f"the previous champion does better on the rows since the promotion: {evidence.probation.reason}"
        return Verdict("roll_back", (reason, *held, *notices), None, is_dry)
    if evidence.faults:
        reasons = tuple(dict.fromkeys(f.sentence() for f in evidence.faults))
        return Verdict("quarantine", (*reasons, *held, *notices), None, policy.act == "notify")
    trigger, reason = _trigger(evidence, policy, every, limits)
    if trigger is not None:
        blocked = _blocked(evidence, policy, limits, trigger)
        if blocked or is_dry:
            return Verdict("watch", (f"would retrain: {reason}", *blocked, *held, *_except(notices, reason)), trigger, is_dry)
        return Verdict("retrain", (reason, *_except(notices, reason)), trigger)
    if notices:
        return Verdict("watch", (*notices, *held), None, is_dry)
    return Verdict("keep", (_calm(evidence), *held), None, is_dry)


def _except(notices: tuple[str, ...], reason: str) -> tuple[str, ...]:
    return tuple(said for said in notices if said != reason)


def _dryness(policy: RetrainingPolicy, limits: Limits) -> tuple[str, ...]:
    said = []
    if policy.act == "notify":
        said.append("act: notify, so nothing is done")
    if limits.is_paused:
        said.append("the loop of this model is paused")
    return tuple(said)


def _trigger(evidence: Evidence, policy: RetrainingPolicy, every: timedelta, limits: Limits) -> tuple[Trigger | None, str]:
    if limits.is_requested:
        return "request", "a person asked for it"
    if policy.on_performance and evidence.performance is not None and evidence.performance.is_degraded:
        return "performance", evidence.performance.sentence()
    if policy.min_new_labels is not None and evidence.labels.new >= policy.min_new_labels:
        return "labels", f"{evidence.labels.new} new labels, the policy asks for {policy.min_new_labels}"
    if policy.schedule is not None and _is_scheduled(evidence.slot_us, policy.schedule, every):
        return "schedule", f"every {format_duration(policy.schedule)} by the policy"
    if policy.on_drift and evidence.drift.drifting:
        return "drift", f"drift in {', '.join(evidence.drift.drifting)}, and the policy retrains on drift"
    return None, ""


def _is_scheduled(slot_us: int, schedule: timedelta, every: timedelta) -> bool:
    """Return whether a boundary of the schedule (multiples since the epoch) fell into the slot that ends here."""
    step = duration_us(schedule)
    return slot_us // step > (slot_us - duration_us(every)) // step


def _blocked(evidence: Evidence, policy: RetrainingPolicy, limits: Limits, trigger: Trigger) -> tuple[str, ...]:
    said = []
    if evidence.labels.unseen < policy.gate.rows:
        said.append(
            f"no retraining yet: the gate needs {policy.gate.rows} matured labelled rows the champion has not seen, "
            f"there are {evidence.labels.unseen}"
        )
    if limits.is_on_probation:
        said.append("no retraining yet: the champion is on probation")
    if trigger == "request":
        return tuple(said)
    if limits.last_retrain_us is not None and evidence.slot_us < limits.last_retrain_us + duration_us(policy.cool_down):
        said.append(
            f"no retraining yet: cool-down of {format_duration(policy.cool_down)} since {from_us(limits.last_retrain_us):%Y-%m-%d %H:%M}"
        )
    if limits.retrains_this_week >= policy.budget_per_week:
        said.append(f"no retraining yet: {limits.retrains_this_week} in the last seven days, the budget is {policy.budget_per_week}")
    return tuple(said)


def _notices(evidence: Evidence) -> tuple[str, ...]:
    said = []
    if evidence.drift.drifting:
        worst = {c.column: c for c in evidence.drift.columns}
        named = [f"{n} (PSI {worst[n].psi:.2f}, floor {worst[n].floor:.2f})" for n in evidence.drift.drifting[:5]]
        rest = f" and {len(evidence.drift.drifting) - 5} more" if len(evidence.drift.drifting) > 5 else ""
        said.append(f"drift in two windows running: {', '.join(named)}{rest}")
    said.extend(
        f"{c.column}: {c.new_share:.0%} of the rows have a category the champion has not learned"
        for c in evidence.drift.columns
        if c.new_share >= NEW_SHARE and not c.column.startswith("@")
    )
    if evidence.performance is not None and evidence.performance.is_degraded:
        said.append(evidence.performance.sentence())
    return tuple(said)


def _calm(evidence: Evidence) -> str:
    if evidence.rows == 0:
        return "no rows in the window"
    if evidence.performance is not None:
        return evidence.performance.sentence()
    return f"nothing moved and nothing broke in {evidence.rows} rows"
