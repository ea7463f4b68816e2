"""The loop: read → judge → decide → act, slot by slot, for every model; the whole of it on one screen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from monitoring.errors import LeaseLostError, MonitoringError
from monitoring.journal.leases import Turn
from monitoring.journal.probations import ProbationStep
from monitoring.journal.tables import CHECK, RELEASE, RETRAIN, TICK, Request, Run
from monitoring.judging.data_faults import Span
from monitoring.judging.labels.unlearnable import UNLEARNABLE
from monitoring.judging.slots import due_slots
from monitoring.judging.verdict import Evidence, Verdict, judge
from monitoring.loop.evidence import first_unseen, gather, spans_to_keep
from monitoring.loop.label_counts import read_cohorts
from monitoring.loop.leadership import Leadership
from monitoring.loop.new_outcomes import NewOutcomes
from monitoring.loop_metrics import LoopMetrics
from monitoring.metrics import MonitorMetrics
from monitoring.notifying.announcements import Moment, probation_ended
from monitoring.notifying.conditions import is_of_rows, slot_messages
from monitoring.retraining import probation, weighing
from monitoring.retraining.plan import policy_of
from monitoring.retraining.retraining import WHO, Conclusion, Retraining
from monitoring.retraining.training_process import Children
from monitoring.settings import MonitoringSettings
from monitoring.stores import Stores
from service.models.reasons import reason_of
from training.clock import duration_us, from_us
from training.errors import DatabaseUnavailableError, EvergreenError
from training.model_file.model_spec import ModelSpec, parse_spec
from training.registry.aliases import CHAMPION
from training.registry.tables import Cause

logger = logging.getLogger(__name__)
ROLLED_BACK = ProbationStep(end="rolled_back")
ATTEMPTS = 5  # of one slot, when judging it fails; the next slot then looks at its buckets too


@dataclass(slots=True)
class Watch:
    """Everything one monitor works with.

    Attributes
    ----------
    models
        The models to watch; empty means all that are registered.
    """

    stores: Stores
    retraining: Retraining
    leadership: Leadership
    metrics: MonitorMetrics
    models: Sequence[str] = ()
    specs: dict[str, ModelSpec] = field(default_factory=dict)

    def spec(self, text: str) -> ModelSpec:
        """Read a stored model file, once."""
        if text not in self.specs:
            self.specs[text] = parse_spec(text, stored=True)
        return self.specs[text]


def make_watch(stores: Stores, children: Children, metrics: MonitorMetrics, settings: MonitoringSettings) -> Watch:
    """Put one monitor together: who wins the lease abandons the runs of those before, who loses it ends its children."""

    def won(turn: Turn) -> None:
        stores.journal.abandon_runs(turn)
        metrics.is_leader.set(1)

    def lost() -> None:
        children.end_all()
        metrics.is_leader.set(0)

    retraining = Retraining(stores, children, settings.run_deadline)
    leadership = Leadership(stores.journal, settings.holder, settings.lease, won, lost)
    watch = Watch(stores, retraining, leadership, metrics, settings.models)
    metrics.registry.register(LoopMetrics(stores, lambda: leadership.leads, watch.spec, settings.models))
    return watch


def tick(watch: Watch, now: datetime) -> bool:
    """Look at every model once, as the one monitor that may act.

    Parameters
    ----------
    now
        Machine time, for leases, deadlines and budgets; model time is read from the log.

    Returns
    -------
    Whether something was done: then more may be due already.
    """
    turn = watch.leadership.lead(now)
    if turn is None:
        return False
    was_busy, records = False, watch.stores.registry.models()
    watch.metrics.tick_failures.keep({record.name for record in records})
    for record in records:
        if watch.models and record.name not in watch.models:
            continue
        try:
            was_busy |= step(watch, turn, watch.spec(record.spec_text))
        except LeaseLostError as error:
            logger.warning("%s", error)
            watch.leadership.lose()
            watch.metrics.lease_lost_total.inc()
            return False
        except (Exception, SystemExit) as error:  # one model's pickle may raise anything; the models behind it are looked at all the same
            trace = None if isinstance(error, EvergreenError | MonitoringError) else error
            logger.error("%s: the tick failed and will be tried again: %s", record.name, reason_of(error), exc_info=trace)
            watch.metrics.tick_failures.note(record.name)
    return was_busy


def step(watch: Watch, turn: Turn, spec: ModelSpec) -> bool:
    """Take the next step with one model: end a run, judge the next due slot, or do what a person asked for."""
    stores, retraining = watch.stores, watch.retraining
    watermark = stores.log.watermark(spec.model)
    run = retraining.open_run(spec.model)
    if run is not None:
        ended = retraining.end(turn, run)
        if ended is not None:
            retraining.conclude(turn, spec, ended)
        return ended is not None
    slot = open_slot(watch, turn, spec, watermark)
    if slot is not None:
        judge_slot(watch, turn, spec, slot)
        return True
    requests = stores.journal.requests(spec.model)
    if requests and watermark is not None:
        answer(watch, turn, spec, requests[0], watermark + 1)
        return True
    return False


def open_slot(watch: Watch, turn: Turn, spec: ModelSpec, watermark: int | None) -> Run | None:
    """Begin the run of the next due slot, or go on with one that was cut short; None when nothing is due."""
    journal = watch.stores.journal
    last = next(iter(journal.runs(spec.model, TICK, limit=1)), None)
    if last is not None and last.state == "running":
        return last
    if last is not None and (last.state == "abandoned" or (last.state == "failed" and last.attempt < ATTEMPTS)):
        return journal.begin_run(turn, spec.model, TICK, last.slot_us, again=True)
    first = first_unseen(watch.stores.registry, watch.stores.log, spec.model) if last is None else None
    due = due_slots(None if last is None else last.slot_us, first, watermark, duration_us(spec.watching.every))
    return journal.begin_run(turn, spec.model, TICK, due[0]) if due else None


def judge_slot(watch: Watch, turn: Turn, spec: ModelSpec, run: Run) -> None:
    """Read, judge, decide and act for one slot; its run stays open while a child trains."""
    stores, retraining, slot_us = watch.stores, watch.retraining, run.slot_us
    trained = retraining.finished_before_a_crash(run)
    if trained is not None:
        retraining.conclude(turn, spec, trained)
        return
    concluded = retraining.concluded_before_a_crash(run)
    if concluded is not None:
        stores.journal.finish_run(turn, run.run_id, concluded.to_dict(), ROLLED_BACK if concluded.outcome == "rolled_back" else None)
        return
    champion = stores.registry.alias(spec.model, CHAMPION)
    if champion is None:
        stores.journal.finish_run(turn, run.run_id, {"outcome": "", "why": "there is no champion"})
        return
    try:
        carry = stores.journal.carry(spec.model)
        carry = replace(carry, move=probation.notice_promotion(stores, turn, spec, slot_us, carry.move))
        new = NewOutcomes.since(stores, spec, champion.version, carry, slot_us)
        cohorts = read_cohorts(stores, spec, champion.version, slot_us, new)
        carry, update = replace(carry, counted_us=slot_us), new.update()
        looked = probation.look(stores, spec, cohorts)
        gathered = gather(stores, spec, champion.version, cohorts, carry, looked.decision, update.outcomes)
        evidence, carry = gathered.evidence, gathered.carry
        verdict = judge(
            evidence,
            policy_of(stores, spec, champion.version),
            spec.watching.every,
            retraining.limits(turn, spec, champion.version, slot_us),
        )
        weighed, state = weighing.weigh(stores, spec, evidence, verdict, carry.weighing)
        evidence, carry = replace(evidence, weighing=None if weighed is None else weighed.evidence), replace(carry, weighing=state)
        if verdict.kind == "retrain":
            carry = replace(carry, taught_us=evidence.labels.through_us + 1)
        stores.journal.record_verdict(turn, evidence, verdict, carry, gathered.watch, update)
        for span in gathered.released:
            stores.journal.extend_released(turn, spec.model, span.start_us, span.end_us)
        accept_labels(stores, turn, spec.model, cohorts.findings.accepted)
        evidence = replace(evidence, champion=weighing.carry_out(stores, turn, spec, evidence, weighed))
        act(watch, turn, spec, run, evidence, verdict, looked.step)
    except (DatabaseUnavailableError, LeaseLostError):
        raise  # nothing is known to be wrong with the slot: its run stays open and is gone on with
    except Exception as error:  # also one of ours that we did not foresee: after some attempts the next slot has its turn
        stores.journal.fail_run(turn, run.run_id, reason_of(error))
        raise


def act(watch: Watch, turn: Turn, spec: ModelSpec, run: Run, evidence: Evidence, verdict: Verdict, step: ProbationStep) -> None:
    """Do what the verdict says, unless it is dry; then end the slot's run, or leave it to the child's end.

    What is set aside twice is set aside once; what becomes of the probation, and the messages of the slot, are written with the end of
    the run, or with the last step before it that a killed monitor would not take again.
    """
    stores, conclusion, rollback_test = watch.stores, Conclusion("", "; ".join(verdict.reasons)), evidence.rollback_test
    ending = announcing(stores, turn, spec, evidence, verdict, step)
    if verdict.kind in ("quarantine", "roll_back") and not verdict.is_dry:
        set_aside(watch, turn, evidence)
    for one in evidence.label_faults:  # also where the loop only notifies: no model is touched by it
        stores.journal.add_quarantine(turn, evidence.model, one.start_us, one.end_us, one.kind, slot_us=evidence.slot_us)
    if verdict.kind == "roll_back" and not verdict.is_dry and rollback_test is not None:
        conclusion = watch.retraining.roll_back(ending, spec, evidence.champion, rollback_test, evidence.slot_us)
        step = ROLLED_BACK if conclusion.outcome == "rolled_back" else ProbationStep()
    if verdict.kind == "retrain" and watch.retraining.begin(ending, spec, evidence, verdict, run.run_id, step) is not None:
        return
    stores.journal.finish_run(ending, run.run_id, conclusion.to_dict(), step)


def announcing(stores: Stores, turn: Turn, spec: ModelSpec, evidence: Evidence, verdict: Verdict, step: ProbationStep) -> Turn:
    """Return the turn of a transaction that writes the messages of a slot too."""
    known = stores.journal.outbox.open_incidents(spec.model)
    before_us, newer_us = evidence.slot_us - duration_us(spec.watching.every) - 1, None
    if any(map(is_of_rows, known)):
        newer_us = stores.log.first_event(spec.model, after_us=before_us, in_time_only=True)  # whenever one looks
    messages = slot_messages(evidence, verdict, known, has_rows=newer_us is not None and newer_us < evidence.slot_us)
    if step.end in ("passed", "unjudged"):
        moment = Moment(spec.model, evidence.slot_us, evidence.champion, "the champion stays")
        messages.append(probation_ended(moment, step.end, step.look))
    return stores.journal.outbox.announcing(turn, messages)


def set_aside(watch: Watch, turn: Turn, evidence: Evidence) -> None:
    """Quarantine faulty rows, until a person lets them go."""
    for span in spans_to_keep(evidence.spans, watch.stores.quarantined(evidence.model)):
        watch.stores.journal.add_quarantine(turn, evidence.model, span.start_us, span.end_us, span.reason, slot_us=evidence.slot_us)


def accept_labels(stores: Stores, turn: Turn, model: str, accepted: Sequence[Span]) -> None:
    """Let go the labels that were found to be as they are now: they count from this slot on, with a line in the ledger."""
    for span in accepted:
        for one in stores.journal.quarantines(model, span.start_us, span.end_us, of_labels=True):
            if one.reason == UNLEARNABLE and stores.journal.release_quarantine(one, turn.now_us, WHO, span.reason, turn.guard):
                evidence = {"start_us": one.start_us, "end_us": one.end_us, "reason": one.reason}
                cause = Cause(WHO, f"labels count again: {span.reason}", evidence)
                stores.registry.record(model, RELEASE, cause=cause, now=turn.now, guard=turn.guard)


def answer(watch: Watch, turn: Turn, spec: ModelSpec, request: Request, at_us: int) -> None:
    """Do what a person asked for, as of now: look (`check`), or train (`retrain`); the gate is asked as always.

    A look by hand spends no labelled rows: the next slot judges as if it had not been.
    """
    stores, journal = watch.stores, watch.stores.journal
    turn = replace(turn, now=max(turn.now, from_us(request.created_us)))  # what it brings about is dated after it
    champion = stores.registry.alias(spec.model, CHAMPION)
    was_begun_before = any(r.slot_us == at_us for r in journal.runs(spec.model, request.kind))
    is_ours = journal.take_request(turn, request.id, f"{spec.model}.{request.kind}.{at_us}")
    if not is_ours or champion is None or was_begun_before:
        return
    cohorts = read_cohorts(stores, spec, champion.version, at_us)
    evidence = gather(stores, spec, champion.version, cohorts, journal.carry(spec.model), None, None).evidence
    limits = watch.retraining.limits(turn, spec, champion.version, at_us)
    limits = replace(limits, is_requested=request.kind == RETRAIN)
    verdict = judge(evidence, policy_of(stores, spec, champion.version), spec.watching.every, limits)
    verdict = replace(verdict, reasons=(f"asked for by {request.who}", *verdict.reasons))
    journal.record_verdict(turn, evidence, verdict)
    is_wanted = request.kind == RETRAIN and verdict.kind == "retrain"
    if is_wanted and watch.retraining.begin(turn, spec, evidence, verdict, None) is not None:
        return
    run = journal.begin_run(turn, spec.model, CHECK, at_us)
    if run is not None:
        journal.finish_run(turn, run.run_id, {"outcome": "", "why": "; ".join(verdict.reasons)})
