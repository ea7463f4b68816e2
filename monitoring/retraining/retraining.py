"""Carry a verdict out: start a training child, gate what it made, promote it; or bring the previous champion back."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np

from monitoring.journal.leases import Turn
from monitoring.journal.probations import ProbationStep
from monitoring.journal.tables import RETRAIN, Run
from monitoring.judging.performance.scores import CHALLENGER_LIVE, score
from monitoring.judging.verdict import Evidence, Limits, Verdict
from monitoring.log_windows import Range, is_of_generation, take
from monitoring.notifying.announcements import Moment, changes, failing, promoted, rolled_back
from monitoring.retraining import growing, probation
from monitoring.retraining.plan import Plan, make_plan
from monitoring.retraining.records import record_of, rows_of, seconds_of
from monitoring.retraining.training_process import Children
from monitoring.stores import Stores
from service.prediction_log.reading import LoggedRows
from training.artifacts.artifact import LoadedArtifact
from training.clock import format_duration, from_us, to_us
from training.errors import ArtifactError, CandidateError, RegistryError, StalePromotionError
from training.evaluation.gate import Decision, decide
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import REFUSE, ROUTINE
from training.registry.tables import Cause
from training.schema.prediction import Prediction

logger = logging.getLogger(__name__)
WHO = "monitor"
CLOCK = "clock"  # in the ledger: model time was set, and the slots behind it taken back
WEEK = timedelta(days=7)
LEDGER_LINES = 50
Outcome = Literal["", "promoted", "refused", "failed", "rolled_back"]
OUTCOMES: dict[str, Outcome] = {
    "promote": "promoted",
    REFUSE: "refused",
    "failed": "failed",
}  # of a retraining, by its line in the ledger


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a slot ended, in a word and a sentence; with version and evidence where something was gated or taken back."""

    outcome: Outcome
    why: str
    version: str | None = None
    evidence: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"outcome": self.outcome, "why": self.why, "version": self.version, "gate": self.evidence}


@dataclass(frozen=True, slots=True)
class Retraining:
    """The retrainings of one monitor, each from its verdict to the ledger line that ends it.

    Attributes
    ----------
    deadline
        Age at which a training child is killed; no step of the clock makes one older.
    concluded
        The runs, by attempt and start, that the ledger is known to have ended.
    """

    stores: Stores
    children: Children
    deadline: timedelta = timedelta(hours=1)
    concluded: set[tuple[str, int, int]] = field(default_factory=set)

    def limits(self, turn: Turn, spec: ModelSpec, champion: str, slot_us: int) -> Limits:
        """Read what keeps the loop from acting: cool-down in model time, budget in machine time, pause."""
        journal, registry = self.stores.journal, self.stores.registry
        learned_us = int(registry.version(spec.model, champion).manifest["trained_through_us"])
        last = next((r for r in journal.runs(spec.model, RETRAIN, limit=20) if r.slot_us < slot_us), None)
        this_week = [r for r in journal.retrains_started_since(spec.model, turn.now - WEEK) if r.slot_us != slot_us]
        return Limits(
            last_retrain_us=None if last is None else last.slot_us,
            retrains_this_week=len(this_week),
            is_paused=registry.get_model(spec.model).paused,
            learned_through_us=learned_us if spec.schema.is_dated(learned_us) else None,
        )

    def begin(
        self, turn: Turn, spec: ModelSpec, evidence: Evidence, verdict: Verdict, tick_run: str | None, step: ProbationStep | None = None
    ) -> Run | None:
        """Begin the one retraining run of a slot and start its child; None when the gate would have too few rows.

        A run that ended well before a crash is returned as it is; one that did not is begun again by the same plan. With it the slot takes
        its step of the probation: the run of the slot itself ends later.
        """
        journal, slot_us = self.stores.journal, evidence.slot_us
        spans = tuple(Range(s.start_us, s.end_us) for s in evidence.spans)
        assert evidence.cohorts is not None  # a slot and a look by hand have read them
        growth = growing.growth_of(self.stores, spec, evidence.champion, evidence.cohorts, verdict.trigger or "request")
        plan = make_plan(self.stores, spec, evidence.champion, evidence.cohorts, verdict.trigger or "request", spans, tick_run, growth)
        if plan is None:
            return None
        run = journal.begin_run(turn, spec.model, RETRAIN, slot_us, payload=plan.to_dict(), again=True, step=step)
        if run is None:
            run = next(r for r in journal.runs(spec.model, RETRAIN) if r.slot_us == slot_us)
        else:
            self.stores.failpoint("run.begun")
            self.children.start(run)
            self.stores.failpoint("run.started")
        return run

    def open_run(self, model: str) -> Run | None:
        """Return the last retraining run if its child is at work or nobody has gated what it made; None otherwise.

        A run whose slot was abandoned waits until the slot is begun again.
        """
        run = next(iter(self.stores.journal.runs(model, RETRAIN, limit=1)), None)
        if run is None or run.state == "running":
            return run
        tick_run = Plan.from_dict(run.payload).tick_run
        is_open = tick_run is None or (run.state != "abandoned" and self.stores.journal.run(tick_run).state == "running")
        return run if is_open and not self._is_concluded(run) else None

    def finished_before_a_crash(self, slot: Run) -> Run | None:
        """Return a slot's retraining run if its child ended well but nobody gated it: the monitor died in between."""
        runs = self.stores.journal.runs(slot.model, RETRAIN, state="done")
        run = next((r for r in runs if r.slot_us == slot.slot_us), None)
        is_of_the_slot = run is not None and Plan.from_dict(run.payload).tick_run == slot.run_id
        return run if run is not None and is_of_the_slot and not self._is_concluded(run) else None

    def concluded_before_a_crash(self, slot: Run) -> Conclusion | None:
        """Return what came of a slot that was acted upon though its run did not end: the ledger says so, the monitor died in between."""
        runs = (r for r in self.stores.journal.runs(slot.model, RETRAIN) if r.slot_us == slot.slot_us)
        run = next((r for r in runs if Plan.from_dict(r.payload).tick_run == slot.run_id), None)
        if run is not None and not self._is_concluded(run):
            run = None
        for line in self.stores.registry.ledger(slot.model, LEDGER_LINES, but=ROUTINE):
            if run is not None and (line.evidence.get("run"), line.evidence.get("attempt")) == (run.run_id, run.attempt):
                return Conclusion(OUTCOMES[line.action], line.why, line.version, dict(line.evidence))
            if line.action == "rollback" and line.who == WHO and line.evidence.get("slot") == from_us(slot.slot_us).isoformat():
                return Conclusion("rolled_back", line.why, line.version, dict(line.evidence))
            if line.action == CLOCK:
                break
        return None

    def end(self, turn: Turn, run: Run) -> Run | None:
        """Return a retraining run once it is over, or None while its child is at work.

        A child that died without a word, or takes longer than the deadline, ends the run as failed.
        """
        journal = self.stores.journal
        run = journal.run(run.run_id)
        if run.state != "running":
            self.children.end(run.run_id)
            return run
        is_late = self.children.age_seconds(run.run_id) > self.deadline.total_seconds()
        if self.children.is_alive(run.run_id) and not is_late:
            return None
        last_words = self.children.end(run.run_id)
        if journal.run(run.run_id).state == "running":
            late = f"the training child took longer than {format_duration(self.deadline)} and was killed"
            journal.fail_run(turn, run.run_id, late if is_late else f"the training child died: {last_words}")
        return journal.run(run.run_id)

    def conclude(self, turn: Turn, spec: ModelSpec, run: Run) -> None:
        """Gate what a child made, promote or refuse it, and end the slot that asked for it."""
        plan = Plan.from_dict(run.payload)
        conclusion = self._conclude(turn, spec, run, plan)
        logger.info("%s: %s: %s", spec.model, conclusion.outcome, conclusion.why)
        if plan.tick_run is not None:
            self.stores.journal.finish_run(turn, plan.tick_run, conclusion.to_dict())

    def roll_back(self, turn: Turn, spec: ModelSpec, champion: str, decision: Decision, slot_us: int) -> Conclusion:
        """Bring the previous champion back: it did better on the rows since the promotion. The probation ends with the slot's run."""
        why, evidence = f"probation: {decision.reason}", {**decision.evidence, "slot": from_us(slot_us).isoformat()}
        record = self.stores.journal.open_probation(spec.model)
        moment = Moment(spec.model, slot_us, champion, "the probation is over")
        key, previous = f"rolled_back.{champion}.{slot_us}", None if record is None else record.previous
        turn = self.stores.journal.outbox.announcing(turn, [rolled_back(moment, key, previous, why, evidence)])
        try:
            alias = self.stores.registry.roll_back(
                spec.model, expected=champion, cause=Cause(WHO, why, evidence), now=turn.now, guard=turn.guard
            )
        except RegistryError as error:
            return Conclusion("refused", str(error))
        self.stores.failpoint("rollback.done")
        return Conclusion("rolled_back", why, alias.version, evidence)

    def _conclude(self, turn: Turn, spec: ModelSpec, run: Run, plan: Plan) -> Conclusion:
        """Judge the artifact a run registered against the champion its plan named; what is judged is what is promoted."""
        registry, outbox, began = self.stores.registry, self.stores.journal.outbox, time.perf_counter()
        origin: dict[str, Any] = {"run": run.run_id, "attempt": run.attempt, "record": record_of(run, plan)}
        why = None if run.state == "done" else run.error or f"the run is {run.state}"
        moment = Moment(spec.model, plan.slot_us, plan.champion, "the champion stays" if why else "what it made was put to the gate")
        turn = outbox.announcing(turn, changes(moment, failing(moment, why, run.run_id), outbox.open_incidents(spec.model)))
        if why is not None:
            cause = Cause(WHO, why[:500], {**origin, "seconds": {"training": seconds_of(run)}})
            registry.record(spec.model, "failed", cause=cause, now=turn.now, guard=turn.guard)
            return Conclusion("failed", why)
        version = str(run.result["version"])
        origin |= {"slot": from_us(plan.slot_us).isoformat(), "trigger": plan.trigger}
        try:
            if plan.growth is not None:
                judged = growing.judge(self.stores, spec, plan, version)
                is_accepted, reason, evidence = judged.is_accepted, judged.reason, {**origin, **judged.evidence}
            else:
                decision = gate(self.stores, spec, plan, version)
                is_accepted, reason, evidence = decision.accepted, decision.reason, {**origin, **decision.evidence}
            seconds = {"seconds": {"training": seconds_of(run), "gate": round(time.perf_counter() - began, 3)}}
            if not is_accepted:
                return self._refuse(turn, plan, version, reason, {**evidence, **seconds})
            self.stores.failpoint("gate.decided")
            if plan.growth is not None:
                version, evidence = self._let_in(turn, spec, run, plan, version, evidence)
            evidence = {**evidence, **seconds}  # what is saved with a version does not depend on how fast this was
            cause = Cause(WHO, reason, evidence)
            is_watched = plan.growth is not None or spec.retraining.probation.looks
            moment = Moment(spec.model, plan.slot_us, plan.champion, "it is on probation" if is_watched else "")
            message = promoted(moment, f"promoted.{run.run_id}.{run.attempt}", version, reason, evidence)
            guard = outbox.announcing(turn, [message]).guard
            registry.promote(spec.model, version, expected=plan.champion, cause=cause, now=turn.now, guard=guard)
            self.stores.failpoint("promotion.done")
            if plan.growth is None:
                probation.start(self.stores, turn, spec, version, plan.champion, plan.slot_us)
        except (ArtifactError, CandidateError, StalePromotionError, RegistryError) as error:
            return self._refuse(turn, plan, version, str(error), origin)
        return Conclusion("promoted", reason, version, evidence)

    def _let_in(
        self, turn: Turn, spec: ModelSpec, run: Run, plan: Plan, newcomer: str, evidence: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Register the version with a new member; return it, and what the ledger says of it."""
        members, more = growing.with_newcomer(self.stores, spec, plan, newcomer, evidence["map"])
        evidence = {**evidence, probation.NEWCOMER: newcomer, "members": [member.to_dict() for member in members], **more}
        artifact = growing.save_grown(self.stores, spec, plan, members, turn.now, evidence)
        self.stores.failpoint("growth.saved")
        cause = Cause(WHO, f"with {newcomer}", {"run": run.run_id})
        self.stores.registry.register(artifact, cause=cause, run_id=run.run_id, now=turn.now, guard=turn.guard)
        self.stores.failpoint("growth.registered")
        return artifact.version, evidence

    def _refuse(self, turn: Turn, plan: Plan, version: str, why: str, evidence: dict[str, Any]) -> Conclusion:
        cause = Cause(WHO, why[:500], evidence)
        self.stores.registry.record(
            plan.model, REFUSE, version=version, previous=plan.champion, cause=cause, now=turn.now, guard=turn.guard
        )
        self.stores.failpoint("refusal.done")
        return Conclusion("refused", why, version, evidence)

    def _is_concluded(self, run: Run) -> bool:
        """Return whether the ledger says what became of a retraining run; not of one of the same slot that was taken back since."""
        attempt = run.run_id, run.attempt, run.started_us
        if attempt not in self.concluded:
            lines = self.stores.registry.ledger(run.model, LEDGER_LINES, but=ROUTINE)
            if len(lines) == LEDGER_LINES and to_us(lines[-1].at) > run.started_us:
                lines = self.stores.registry.ledger(run.model, None, but=ROUTINE)
            for line in lines:
                if line.action == CLOCK and datetime.fromisoformat(line.evidence["model_time"]) < from_us(run.slot_us):
                    break
                if (line.evidence.get("run"), line.evidence.get("attempt")) == attempt[:2]:
                    self.concluded.add(attempt)
        return attempt in self.concluded


def gate(stores: Stores, spec: ModelSpec, plan: Plan, version: str) -> Decision:
    """Judge a challenger and the champion on the rows the plan kept, which neither has seen.

    While the champion is on probation the version before it may still come back, and is to be beaten too: else whatever is better than a
    bad promotion would take the place of the good version that it replaced.

    Raises
    ------
    ArtifactError
        One of them cannot be verified or does not answer its golden rows.
    CandidateError
        The user's own metric cannot be asked.
    """
    challenger, champion = stores.load(spec.model, version), stores.load(spec.model, plan.champion)
    challenger.self_test()
    before = probation.before(stores, spec.model, plan.champion)
    rivals = [champion, *([] if before is None else [stores.load(spec.model, before)])]
    windows, seen_us = stores.windows(spec), max(each.manifest.trained_through_us for each in (challenger, *rivals))
    logged = windows.labelled(plan.gate_start_us, plan.gate_end_us, plan.known_by_us, plan.without_labels, plan.requested)
    logged = take(logged, logged.rows.time_us > seen_us)
    unseen, facts = logged.rows, {"judged": {**rows_of(logged.rows.time_us), "unseen_after_us": seen_us}}
    new = challenger.predictor.predict(unseen.columns)
    decision, old = _decided(spec, champion, challenger, new, logged)
    if decision.accepted and before is not None:
        second, _ = _decided(spec, rivals[1], challenger, new, logged)
        decision = replace(decision, evidence={**decision.evidence, "before": {"version": before, **second.evidence}})
        if not second.accepted:
            decision = decision.refused(f"{before}, which may still come back, is not beaten: {second.reason}")
    digests = {"digests": {"champion": champion.digest, "challenger": challenger.digest}}
    decision = replace(decision, evidence={**decision.evidence, **facts, **digests})
    if not len(unseen):
        return decision
    live = score(unseen.labels, new, spec.watched_by, weights=logged.weights)
    if live is not None:
        decision = replace(decision, evidence={**decision.evidence, CHALLENGER_LIVE: live.to_dict()})
    if spec.costs is None:
        return decision
    both = (("champion", old), ("challenger", new))
    costs = {name: float(np.average(spec.costs.of_rows(unseen.labels, each.label), weights=logged.weights)) for name, each in both}
    return replace(decision, evidence={**decision.evidence, **{f"{name}_cost": value for name, value in costs.items()}})


def as_answered(version: LoadedArtifact, logged: LoggedRows) -> Prediction:
    """Return what a version says of logged rows: of those that it, or another one of its members, answered, what was answered.

    Its maps and weights have learned from these rows since, but not before they were answered.
    """
    if version.manifest.members is None:
        return version.predictor.predict(logged.rows.columns)
    is_own = is_of_generation(logged, version.version)
    places = np.concatenate([np.flatnonzero(is_own), np.flatnonzero(~is_own)])
    parts = [take(logged, is_own).prediction]
    if not is_own.all():
        parts.append(version.predictor.predict(take(logged, ~is_own).rows.columns))
    classes = version.predictor.classes
    return Prediction.concat([part if classes is None else part.aligned(classes) for part in parts]).take(np.argsort(places))


def _decided(
    spec: ModelSpec, rival: LoadedArtifact, challenger: LoadedArtifact, new: Prediction, logged: LoggedRows
) -> tuple[Decision, Prediction]:
    """Hold a challenger's answers against those of another version on the same rows; return these, too."""
    old, y = as_answered(rival, logged), logged.rows.labels
    decision = decide(
        old,
        new,
        y,
        probation.judging_metric(spec, y, [old, new], challenger.manifest.code),
        spec.retraining.gate,
        champion_sha256=rival.manifest.model_sha256,
        challenger_sha256=challenger.manifest.model_sha256,
        weights=logged.weights,
    )
    return decision, old
