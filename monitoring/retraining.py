"""Carry a verdict out: start a training child, gate what it made, promote it; or bring the previous champion back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from monitoring import probation
from monitoring.child import Children
from monitoring.journal import RETRAIN
from monitoring.journal_tables import Run
from monitoring.plan import Plan, make_plan
from monitoring.stores import Stores
from monitoring.windows import Range
from training.clock import from_us, to_us
from training.errors import ArtifactError, RegistryError, StalePromotionError
from training.gate import Decision, decide
from training.registry_tables import Guard
from training.spec import ModelSpec

WHO = "monitor"
Outcome = Literal["", "promoted", "refused", "failed", "rolled_back"]


@dataclass(frozen=True, slots=True)
class Concluded:
    """How a retraining ended, in a sentence and with its evidence."""

    outcome: Outcome
    why: str
    version: str | None = None
    evidence: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"outcome": self.outcome, "why": self.why, "version": self.version, "gate": self.evidence}


def begin(
    stores: Stores,
    children: Children,
    spec: ModelSpec,
    champion: str,
    slot_us: int,
    trigger: str,
    spans: Sequence[Range],
    tick_run: str | None,
    *,
    token: int,
    guard: Guard,
    machine_now: datetime,
) -> Run | None:
    """Begin the one retraining run of a slot and start its child; None when the gate would have too few rows.

    A run that ended well before a crash is returned as it is; one that did not is begun again by the same plan.
    """
    plan = make_plan(stores, spec, champion, slot_us, trigger, spans, tick_run)
    if plan is None:
        return None
    told = plan.to_dict()
    run = stores.journal.begin_run(
        spec.model, RETRAIN, slot_us, token=token, machine_now=machine_now, payload=told, again=True, guard=guard
    )
    if run is None:
        return next(r for r in stores.journal.runs(spec.model, RETRAIN) if r.slot_us == slot_us)
    children.start(run)
    return run


def has_ended(stores: Stores, children: Children, run: Run, deadline: timedelta, machine_now: datetime, guard: Guard) -> Run | None:
    """Return a retraining run once it is over, or None while its child is at work.

    A child that died without a word, or takes longer than `deadline`, ends the run as failed.
    """
    now = stores.journal.run(run.run_id)
    if now.state != "running":
        children.end(run.run_id)
        return now
    is_late = to_us(machine_now) - run.started_us > deadline / timedelta(microseconds=1)
    if children.is_alive(run.run_id) and not is_late:
        return None
    said = children.end(run.run_id)
    now = stores.journal.run(run.run_id)
    if now.state == "running":
        why = f"the training child took longer than {deadline} and was killed" if is_late else f"the training child died: {said}"
        stores.journal.fail_run(run.run_id, why, machine_now=machine_now, guard=guard)
        now = stores.journal.run(run.run_id)
    return now


def conclude(stores: Stores, spec: ModelSpec, run: Run, *, guard: Guard, machine_now: datetime) -> Concluded:
    """Gate what a finished run registered, and promote it or refuse it; both go into the ledger.

    The artifact that is judged is the one that is promoted, against the champion the plan named, under the lease.
    """
    plan = Plan.from_dict(run.payload)
    if run.state != "done":
        why = run.error or f"the run is {run.state}"
        stores.registry.record(
            spec.model, "failed", who=WHO, why=why[:500], evidence={"run": run.run_id, "attempt": run.attempt}, now=machine_now, guard=guard
        )
        return Concluded("failed", why)
    version = str(run.result["version"])
    told = {"run": run.run_id, "attempt": run.attempt, "slot": from_us(plan.slot_us).isoformat(), "trigger": plan.trigger}
    try:
        decision = gate(stores, spec, plan, version)
        evidence = {**told, **decision.evidence}
        if not decision.accepted:
            return _refuse(stores, spec, plan, version, decision.reason, evidence, guard, machine_now)
        _promote(stores, spec, plan, version, decision, evidence, guard, machine_now)
    except (ArtifactError, StalePromotionError, RegistryError) as error:
        return _refuse(stores, spec, plan, version, str(error), told, guard, machine_now)
    return Concluded("promoted", decision.reason, version, evidence)


def gate(stores: Stores, spec: ModelSpec, plan: Plan, version: str) -> Decision:
    """Judge a challenger and the champion on the rows the plan kept, which neither has seen.

    Raises
    ------
    ArtifactError
        One of them cannot be verified or does not answer its golden rows.
    """
    champion, challenger = stores.load(spec.model, plan.champion), stores.load(spec.model, version)
    challenger.self_test()
    rows = stores.windows(spec).labelled(plan.gate_start_us, plan.gate_end_us, plan.known_by_us, plan.aside).rows
    unseen = rows.between(max(champion.manifest.trained_through_us, challenger.manifest.trained_through_us) + 1, plan.gate_end_us)
    return decide(
        champion.predictor.predict(unseen.columns),
        challenger.predictor.predict(unseen.columns),
        unseen.labels,
        spec.metric,
        spec.retraining.gate,
        champion_sha256=champion.manifest.model_sha256,
        challenger_sha256=challenger.manifest.model_sha256,
    )


def roll_back(stores: Stores, spec: ModelSpec, champion: str, decision: Decision, *, guard: Guard, machine_now: datetime) -> Concluded:
    """Bring the previous champion back: it did better on the rows since the promotion."""
    why = f"probation: {decision.reason}"
    try:
        alias = stores.registry.roll_back(
            spec.model, expected=champion, who=WHO, why=why, evidence=decision.evidence, now=machine_now, guard=guard
        )
    except RegistryError as error:
        return Concluded("refused", str(error))
    stores.journal.close_probation(spec.model, "rolled_back", guard=guard)
    return Concluded("rolled_back", why, alias.version, dict(decision.evidence))


def _promote(
    stores: Stores, spec: ModelSpec, plan: Plan, version: str, decision: Decision, evidence: dict[str, Any], guard: Guard, now: datetime
) -> None:
    stores.registry.promote(
        spec.model, version, expected=plan.champion, who=WHO, why=decision.reason, evidence=evidence, now=now, guard=guard
    )
    probation.start(stores, spec, version, plan.champion, plan.slot_us, guard)


def _refuse(
    stores: Stores, spec: ModelSpec, plan: Plan, version: str, why: str, evidence: dict[str, Any], guard: Guard, now: datetime
) -> Concluded:
    stores.registry.record(
        spec.model, "refuse", version=version, previous=plan.champion, who=WHO, why=why[:500], evidence=evidence, now=now, guard=guard
    )
    return Concluded("refused", why, version, evidence)
