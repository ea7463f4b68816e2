"""What goes on with a model as of a slot: from the evidence to conditions that begin and end (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monitoring.drift.watch_report import WatchReport
from monitoring.journal.outbox import Message, StoredMessage
from monitoring.judging.performance.watch import Episode, HarmTest
from monitoring.judging.verdict import Evidence, Verdict
from monitoring.notifying.announcements import Condition, Moment, changes

DRIFT, DATA_FAULT, LABEL_FAULT, DISPARITY = "drift", "data_fault", "label_fault", "disparity"
WORSE = "answers got worse"
DONE: Mapping[str, str] = {
    "keep": "nothing: the loop watches on",
    "watch": "nothing was changed: the next slot looks again",
    "retrain": "a retraining was asked for",
    "blind": "nothing is retrained, promoted or weighed while it is blind",
    "quarantine": "what is broken is set aside: it is neither learned from nor judged by",
    "roll_back": "the previous champion was asked back",
}


def slot_messages(evidence: Evidence, verdict: Verdict, known: Mapping[str, StoredMessage], *, has_rows: bool) -> list[Message]:
    """Return the messages of a slot.

    Parameters
    ----------
    known
        The beginnings that have no end yet, by subject.
    has_rows
        Whether any row came since the last slot: without one nobody knows whether inputs are still broken.
    """
    done = "nothing: the loop of this model only notifies, or is paused" if verdict.is_dry else DONE[verdict.kind]
    moment = Moment(evidence.model, evidence.slot_us, evidence.champion, done)
    return changes(moment, conditions(evidence, known, has_rows=has_rows), known)


def conditions(evidence: Evidence, known: Mapping[str, StoredMessage], *, has_rows: bool) -> Iterator[Condition]:
    """Return what is known to go on, and of what went on before what is known to have ended; of the rest nothing is known."""
    yield from _drift(evidence, known)
    yield from _data_faults(evidence, known if has_rows else {})
    yield from _label_faults(evidence, known)
    model, cohorts, tested = evidence.model, evidence.cohorts, evidence.performance
    if cohorts is not None:
        stored = cohorts.to_dict()
        facts = {name: stored[name] for name in ("due", "labelled", "by_third_of_score", "maturity_us")}
        why = () if evidence.blind is None else (evidence.blind,)
        summary = "blind: too few labels to judge it by"
        yield Condition(
            "blindness", "blindness", evidence.blind is not None, summary, None, why, facts, (f"evergreen status --model {model}",)
        )
    if isinstance(tested, HarmTest):
        yield from _ended(model, "performance", "performance", tested.ended, tested.endings(), tested.to_dict())
    if tested is not None or evidence.is_worse is False:
        since_us = tested.look.since_us if isinstance(tested, HarmTest) else None
        sentence = ("nothing is known of it yet against which it would be worse",) if tested is None else (tested.sentence(),)
        facts, is_worse = ({}, False) if tested is None else (tested.to_dict(), tested.is_degraded)
        yield Condition("performance", "performance", is_worse, WORSE, since_us, sentence, facts, _commands(model))
    yield from _disparities(evidence, known)


def _disparities(evidence: Evidence, known: Mapping[str, StoredMessage]) -> Iterator[Condition]:
    """Return segments that got worse against the rest; one that is not held against it any more is none."""
    model, still = evidence.model, set()
    for one in evidence.disparities:
        subject = f"{DISPARITY}:{one.segment}"
        yield from _ended(model, DISPARITY, subject, one.ended, one.endings(), one.to_dict())
        if one.is_open:
            still.add(subject)
            summary = f"{one.segment} got worse against the rest"
            yield Condition(DISPARITY, subject, True, summary, one.look.since_us, (one.sentence(),), one.to_dict(), _commands(model))
    for subject in known:
        if subject.partition(":")[0] == DISPARITY and subject not in still:
            yield Condition(DISPARITY, subject, False, "", None, (), {}, _commands(model))


def _ended(
    model: str, type: str, subject: str, ended: Sequence[Episode], sentences: Sequence[str], facts: Mapping[str, Any]
) -> Iterator[Condition]:
    summary = WORSE if type == "performance" else f"{subject.partition(':')[2]} got worse against the rest"
    for one, sentence in zip(ended, sentences, strict=True):
        yield Condition(type, subject, False, summary, one.since_us, (sentence,), facts, _commands(model), one.end_us)


def _commands(model: str) -> tuple[str, ...]:
    return f"evergreen performance --model {model}", f"evergreen ack --performance --model {model}, where it stays so"


def is_of_rows(subject: str) -> bool:
    """Return whether a subject is a fault of rows, which only rows can end."""
    return subject.startswith(f"{DATA_FAULT}:")


def _drift(evidence: Evidence, known: Mapping[str, StoredMessage]) -> Iterator[Condition]:
    model, drift = evidence.model, evidence.drift
    look = f"evergreen episodes --model {model}"
    if isinstance(drift, WatchReport):
        for e in drift.episodes:
            subject = f"{DRIFT}:{e.number}"
            if e.is_muted and subject not in known:
                continue
            facts = {"episode": e.number, "columns": dict(e.columns), "log10_evidence": drift.log10_evidence}
            summary = f"drift in {_listed([name for name, _ in e.columns])}"
            acknowledge = f"evergreen ack {e.number} --model {model}, where it is known and no harm"
            yield Condition(DRIFT, subject, True, summary, e.since_us, (e.sentence(),), facts, (look, acknowledge))
    elif drift.rows or drift.drifting:
        summary = f"drift in {_listed(drift.drifting)}"
        facts = {"columns": {c.column: c.psi for c in drift.columns if c.is_drifting}}
        yield Condition(DRIFT, DRIFT, bool(drift.drifting), summary, None, drift.notices(), facts, (f"evergreen verdicts --model {model}",))
    still = {f"{DRIFT}:{e.number}" for e in drift.episodes} if isinstance(drift, WatchReport) else {DRIFT}
    for subject in known:
        if subject.partition(":")[0] == DRIFT and subject not in still:
            why = tuple(one for one in drift.ended if one.startswith(f"episode {subject.partition(':')[2]} ("))
            yield Condition(DRIFT, subject, False, "", None, why, {}, (look,))


def _data_faults(evidence: Evidence, known: Mapping[str, StoredMessage]) -> Iterator[Condition]:
    faults = [(f"{DATA_FAULT}:{one.reason}", one.start_us, one.sentence(), one.to_dict()) for one in evidence.faults]
    yield from _faults(evidence, DATA_FAULT, faults)
    going_on = {subject for subject, *_ in faults}
    for subject in known:
        if is_of_rows(subject) and subject not in going_on:
            yield _sound(evidence, DATA_FAULT, subject, "no row since the last slot has it")


def _label_faults(evidence: Evidence, known: Mapping[str, StoredMessage]) -> Iterator[Condition]:
    """Return faults of labels; they end with covered rows that are newer than all that was set aside."""
    faults = [(f"{LABEL_FAULT}:{one.kind}", one.start_us, one.sentence(), one.to_dict()) for one in evidence.label_faults]
    yield from _faults(evidence, LABEL_FAULT, faults)
    if evidence.cohorts is None or faults:
        return
    broken_us = max((span.end_us for span in evidence.cohorts.findings.spans), default=0)
    if any(one.is_covered and one.start_us >= broken_us for one in evidence.cohorts.cohorts):
        for subject in known:
            if subject.startswith(f"{LABEL_FAULT}:"):
                yield _sound(evidence, LABEL_FAULT, subject, "newer labels are sound")


def _faults(evidence: Evidence, kind: str, faults: Sequence[tuple[str, int, str, dict[str, Any]]]) -> Iterator[Condition]:
    """Return a condition for each subject of faults, whatever spans it has."""
    model = evidence.model
    for subject in dict.fromkeys(subject for subject, *_ in faults):
        own = [one for one in faults if one[0] == subject]
        since_us, evidence_of = min(one[1] for one in own), tuple(one[2] for one in own)
        release = f"evergreen quarantine release SPAN --model {model}, with the SPAN of that list, where it is how it is now"
        commands = (f"evergreen quarantine list --model {model}", release)
        summary = f"{kind.replace('_', ' ')}: {subject.partition(':')[2]}"
        yield Condition(kind, subject, True, summary, since_us, evidence_of, {"faults": [one[3] for one in own]}, commands)


def _sound(evidence: Evidence, kind: str, subject: str, why: str) -> Condition:
    return Condition(kind, subject, False, "", None, (why,), {}, (f"evergreen quarantine list --model {evidence.model}",))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
