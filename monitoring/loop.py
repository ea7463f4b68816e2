"""The loop: read → judge → decide → act, slot by slot, for every model; the whole of it on one screen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitoring import probation, retraining
from monitoring.child import Children
from monitoring.errors import LeaseLostError, MonitoringError
from monitoring.evidence import Carry, first_unseen, gather, set_aside, spans_to_keep
from monitoring.journal import RETRAIN, TICK
from monitoring.journal_tables import Request, Run
from monitoring.leadership import Leadership
from monitoring.metrics import MonitorMetrics
from monitoring.plan import Plan
from monitoring.retraining import Concluded
from monitoring.slots import due_slots
from monitoring.stores import Stores
from monitoring.verdict import Evidence, Limits, Verdict, judge
from monitoring.windows import Range
from training.clock import duration_us
from training.errors import DatabaseUnavailableError, EvergreenError
from training.moves import CHAMPION
from training.registry_tables import Guard
from training.spec import ModelSpec, parse_spec

logger = logging.getLogger(__name__)
WEEK = timedelta(days=7)
CHECK = "check"
ATTEMPTS = 5  # of one slot, when judging it fails; the next slot then looks at its buckets too


@dataclass(slots=True)
class Watch:
    """Everything one monitor works with.

    Parameters
    ----------
    models
        The models to watch; empty means all that are registered.
    run_deadline
        Machine time after which a training child is killed.
    """

    stores: Stores
    children: Children
    leadership: Leadership
    metrics: MonitorMetrics
    models: Sequence[str] = ()
    run_deadline: timedelta = timedelta(hours=1)
    specs: dict[str, ModelSpec] = field(default_factory=dict)
    concluded: set[str] = field(default_factory=set)

    def spec(self, text: str) -> ModelSpec:
        """Read a stored model file, once."""
        if text not in self.specs:
            self.specs[text] = parse_spec(text)
        return self.specs[text]


def tick(watch: Watch, machine_now: datetime) -> bool:
    """Look at every model once, as the one monitor that may act.

    Parameters
    ----------
    machine_now
        For leases, deadlines and budgets; model time is read from the log.

    Returns
    -------
    bool
        Whether something was done: then more may be due already.
    """
    guard = watch.leadership.lead(machine_now)
    if guard is None:
        return False
    was_busy = False
    for record in watch.stores.registry.models():
        if watch.models and record.name not in watch.models:
            continue
        try:
            was_busy |= tick_model(watch, watch.spec(record.spec_text), record.paused, machine_now, guard)
        except LeaseLostError as error:
            logger.warning("%s", error)
            watch.leadership.lost()
            return False
        except (EvergreenError, MonitoringError) as error:
            logger.error("%s: the tick failed and will be tried again: %s", record.name, error)
            watch.metrics.tick_failures_total.labels(record.name).inc()
    return was_busy


def tick_model(watch: Watch, spec: ModelSpec, is_paused: bool, machine_now: datetime, guard: Guard) -> bool:
    """Take the next step with one model: end a run, judge the next due slot, or do what a person asked for."""
    stores = watch.stores
    watermark = stores.log.watermark(spec.model)
    if watermark is not None:
        watch.metrics.watermark.labels(spec.model).set(watermark / 1e6)
    run = run_to_conclude(watch, spec)
    if run is not None:
        ended = retraining.has_ended(stores, watch.children, run, watch.run_deadline, machine_now, guard)
        if ended is None:
            return False
        conclude(watch, spec, ended, machine_now, guard)
        return True
    slot = open_slot(watch, spec, watermark, machine_now, guard)
    if slot is not None:
        judge_slot(watch, spec, slot, is_paused, machine_now, guard)
        return True
    requests = stores.journal.requests(spec.model)
    if requests and watermark is not None:
        answer(watch, spec, requests[0], watermark + 1, is_paused, machine_now, guard)
        return True
    return False


def open_slot(watch: Watch, spec: ModelSpec, watermark: int | None, machine_now: datetime, guard: Guard) -> Run | None:
    """Begin the run of the next due slot, or go on with one that was cut short; None when nothing is due."""
    journal, token = watch.stores.journal, watch.leadership.token or 0
    last = next(iter(journal.runs(spec.model, TICK, limit=1)), None)
    if last is not None and last.state == "running":
        return last
    if last is not None and (last.state == "abandoned" or (last.state == "failed" and last.attempt < ATTEMPTS)):
        return journal.begin_run(spec.model, TICK, last.slot_us, token=token, machine_now=machine_now, again=True, guard=guard)
    first = first_unseen(watch.stores.registry, watch.stores.log, spec.model) if last is None else None
    due = due_slots(None if last is None else last.slot_us, first, watermark, duration_us(spec.watching.every))
    return journal.begin_run(spec.model, TICK, due[0], token=token, machine_now=machine_now, guard=guard) if due else None


def judge_slot(watch: Watch, spec: ModelSpec, run: Run, is_paused: bool, machine_now: datetime, guard: Guard) -> None:
    """Read, judge, decide and act for one slot; its run stays open while a child trains."""
    stores, journal = watch.stores, watch.stores.journal
    before = finished_before_a_crash(watch, spec, run)
    if before is not None:
        conclude(watch, spec, before, machine_now, guard)
        return
    champion = stores.registry.alias(spec.model, CHAMPION)
    if champion is None:
        journal.finish_run(run.run_id, {"outcome": "", "why": "there is no champion"}, machine_now=machine_now, guard=guard)
        return
    try:
        carry = last_carry(watch, spec)
        carry = replace(carry, move=probation.notice_promotion(stores, spec, run.slot_us, carry.move, guard))
        looked = probation.look(stores, spec, run.slot_us, set_aside(stores, spec.model), guard)
        evidence, carry = gather(stores, spec, champion.version, run.slot_us, carry, looked)
        verdict = judge(evidence, spec.retraining, spec.watching.every, limits(watch, spec, run.slot_us, is_paused, machine_now))
        journal.record_verdict(
            spec.model, run.slot_us, verdict.kind, verdict.reasons, evidence.to_dict(), machine_now=machine_now, guard=guard
        )
        watch.metrics.judged(evidence, verdict)
        act(watch, spec, run, evidence, verdict, carry, machine_now, guard)
    except DatabaseUnavailableError:
        raise  # nothing is known to be wrong with the slot: its run stays open and is gone on with
    except EvergreenError as error:
        journal.fail_run(run.run_id, str(error), machine_now=machine_now, guard=guard)
        raise


def act(
    watch: Watch, spec: ModelSpec, run: Run, evidence: Evidence, verdict: Verdict, carry: Carry, machine_now: datetime, guard: Guard
) -> None:
    """Do what the verdict says, unless it is dry; then end the slot's run, or leave it to the child's end."""
    stores, journal = watch.stores, watch.stores.journal
    done = Concluded("", "; ".join(verdict.reasons))
    if verdict.kind == "quarantine" and not verdict.is_dry:
        quarantine(watch, spec, run.slot_us, evidence, machine_now, guard)
    if verdict.kind == "roll_back" and not verdict.is_dry and evidence.probation is not None:
        quarantine(watch, spec, run.slot_us, evidence, machine_now, guard)
        done = retraining.roll_back(stores, spec, evidence.champion, evidence.probation, guard=guard, machine_now=machine_now)
        watch.metrics.rollbacks_total.labels(spec.model, "probation").inc(done.outcome == "rolled_back")
    elif evidence.probation is not None:
        probation.note(stores, spec.model, evidence.probation, guard)
    if verdict.kind == "retrain":
        carry = replace(carry, taught_us=evidence.labels.through_us + 1)
        journal.note_run(run.run_id, {"carry": carry.to_dict()}, guard=guard)
        begun = train(watch, spec, evidence, verdict, run.run_id, machine_now, guard)
        if begun is not None:
            return
    journal.finish_run(run.run_id, {**done.to_dict(), "carry": carry.to_dict()}, machine_now=machine_now, guard=guard)


def train(
    watch: Watch, spec: ModelSpec, evidence: Evidence, verdict: Verdict, tick_run: str | None, machine_now: datetime, guard: Guard
) -> Run | None:
    """Start the training child of a slot."""
    spans = tuple(Range(s.start_us, s.end_us) for s in evidence.spans)
    begun = retraining.begin(
        watch.stores, watch.children, spec, evidence.champion, evidence.slot_us, verdict.trigger or "request", spans, tick_run,
        token=watch.leadership.token or 0, guard=guard, machine_now=machine_now,
    )  # fmt: skip
    if begun is not None:
        watch.metrics.run_in_progress.labels(spec.model).set(1)
        watch.metrics.last_run.labels(spec.model).set(machine_now.timestamp())
    return begun


def conclude(watch: Watch, spec: ModelSpec, run: Run, machine_now: datetime, guard: Guard) -> None:
    """Gate what a child made, promote or refuse it, and end the slot that asked for it."""
    done = retraining.conclude(watch.stores, spec, run, guard=guard, machine_now=machine_now)
    plan = Plan.from_dict(run.payload)
    logger.info("%s: %s: %s", spec.model, done.outcome, done.why)
    watch.metrics.run_in_progress.labels(spec.model).set(0)
    watch.metrics.runs_total.labels(spec.model, plan.trigger, done.outcome).inc()
    watch.metrics.promotions_total.labels(spec.model, done.outcome).inc()
    watch.metrics.run_seconds.labels(spec.model).set(((run.ended_us or run.started_us) - run.started_us) / 1e6)
    if plan.tick_run is not None:
        carry = watch.stores.journal.run(plan.tick_run).payload.get("carry", {})
        watch.stores.journal.finish_run(plan.tick_run, {**done.to_dict(), "carry": carry}, machine_now=machine_now, guard=guard)


def quarantine(watch: Watch, spec: ModelSpec, slot_us: int, evidence: Evidence, machine_now: datetime, guard: Guard) -> None:
    """Set faulty rows aside, for ever."""
    for span in spans_to_keep(evidence.spans, set_aside(watch.stores, spec.model)):
        watch.stores.journal.add_quarantine(
            spec.model, span.start_us, span.end_us, span.reason, slot_us=slot_us, machine_now=machine_now, guard=guard
        )


def answer(watch: Watch, spec: ModelSpec, request: Request, at_us: int, is_paused: bool, machine_now: datetime, guard: Guard) -> None:
    """Do what a person asked for, as of now: look (`check`), or train (`retrain`); the gate is asked as always.

    A look by hand spends no labelled rows: the next slot judges as if it had not been.
    """
    stores, journal = watch.stores, watch.stores.journal
    run_id = f"{spec.model}.{request.kind}.{at_us}"
    champion = stores.registry.alias(spec.model, CHAMPION)
    begun_before = any(r.slot_us == at_us for r in journal.runs(spec.model, request.kind))
    if not journal.take_request(request.id, run_id, guard=guard) or champion is None or begun_before:
        return
    evidence, _ = gather(stores, spec, champion.version, at_us, last_carry(watch, spec), None)
    asked = replace(limits(watch, spec, at_us, is_paused, machine_now), is_requested=request.kind == RETRAIN)
    verdict = judge(evidence, spec.retraining, spec.watching.every, asked)
    said = (f"asked for by {request.who}", *verdict.reasons)
    journal.record_verdict(spec.model, at_us, verdict.kind, said, evidence.to_dict(), machine_now=machine_now, guard=guard)
    if request.kind == RETRAIN and verdict.kind == "retrain":
        train(watch, spec, evidence, verdict, None, machine_now, guard)
        return
    token = watch.leadership.token or 0
    run = journal.begin_run(spec.model, CHECK, at_us, token=token, machine_now=machine_now, guard=guard)
    if run is not None:
        journal.finish_run(run.run_id, {"outcome": "", "why": "; ".join(said)}, machine_now=machine_now, guard=guard)


def limits(watch: Watch, spec: ModelSpec, slot_us: int, is_paused: bool, machine_now: datetime) -> Limits:
    """Read what keeps the loop from acting: cool-down in model time, budget in machine time, pause, probation."""
    journal = watch.stores.journal
    last = next((r for r in journal.runs(spec.model, RETRAIN, limit=20) if r.slot_us < slot_us), None)
    week = [r for r in journal.retrains_started_since(spec.model, machine_now - WEEK) if r.slot_us != slot_us]
    on_probation = journal.probation(spec.model)
    return Limits(
        last_retrain_us=None if last is None else last.slot_us,
        retrains_this_week=len(week),
        is_paused=is_paused,
        is_on_probation=on_probation is not None and on_probation.looks_done < on_probation.looks,
    )


def last_carry(watch: Watch, spec: ModelSpec) -> Carry:
    """Read what the last finished slot handed on."""
    last = next(iter(watch.stores.journal.runs(spec.model, TICK, state="done", limit=1)), None)
    return Carry() if last is None else Carry.from_dict(last.result.get("carry", {}))


def finished_before_a_crash(watch: Watch, spec: ModelSpec, run: Run) -> Run | None:
    """Return the slot's retraining run if its child ended well but nobody gated it: the monitor died in between."""
    found = next((r for r in watch.stores.journal.runs(spec.model, RETRAIN, state="done") if r.slot_us == run.slot_us), None)
    if found is None or Plan.from_dict(found.payload).tick_run != run.run_id:
        return None
    return None if is_concluded(watch, spec, found) else found


def run_to_conclude(watch: Watch, spec: ModelSpec) -> Run | None:
    """Return the last retraining run if its child is at work or nobody has gated what it made; None otherwise.

    A run whose slot was abandoned waits until the slot is begun again.
    """
    run = next(iter(watch.stores.journal.runs(spec.model, RETRAIN, limit=1)), None)
    if run is None or run.state == "running":
        return run
    tick_run = Plan.from_dict(run.payload).tick_run
    is_open = tick_run is None or (run.state != "abandoned" and watch.stores.journal.run(tick_run).state == "running")
    return run if is_open and not is_concluded(watch, spec, run) else None


def is_concluded(watch: Watch, spec: ModelSpec, run: Run) -> bool:
    """Return whether the ledger says what became of a retraining run."""
    name = f"{run.run_id}#{run.attempt}"
    if name not in watch.concluded:
        lines = watch.stores.registry.ledger(spec.model, 50)
        if any((line.evidence.get("run"), line.evidence.get("attempt")) == (run.run_id, run.attempt) for line in lines):
            watch.concluded.add(name)
    return name in watch.concluded
