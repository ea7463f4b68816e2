"""Messages about what begins and ends, and about what was done with versions (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitoring.journal.outbox import BEGAN, ENDED, Message, StoredMessage, incident_of
from training.clock import from_us

RETRAINING = "retraining"  # the subject of retrainings that fail
MOST_LETTERS = 500  # of one line of evidence


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that goes on, or does not, as of a slot.

    Attributes
    ----------
    type
        What kind of thing, as the types of its messages begin.
    subject
        What tells it from others of its kind.
    summary
        It in a few words.
    since_us
        Model time at which it began, where that is known better than by the slot.
    facts
        The figures behind the sentences of `evidence`, plain JSON values.
    commands
        What to do next.
    until_us
        Model time at which it ended, where that is known better than by the slot: it is told also if its beginning was not.
    """

    type: str
    subject: str
    is_open: bool
    summary: str
    since_us: int | None = None
    evidence: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Of what, and as of when, something is told.

    Attributes
    ----------
    slot_us
        Model time.
    champion
        Who answers.
    done
        What the loop did about it, or does.
    """

    model: str
    slot_us: int
    champion: str | None
    done: str


def changes(moment: Moment, conditions: Iterable[Condition], known: Mapping[str, StoredMessage]) -> list[Message]:
    """Return a message for each condition that began or ended.

    Parameters
    ----------
    known
        The beginnings that have no end yet, by subject.
    """
    messages: list[Message] = []
    going_on: dict[str, Message | StoredMessage] = dict(known)
    for one in conditions:
        if one.subject not in going_on and (one.is_open or one.until_us is not None):
            going_on[one.subject] = began = _began(moment, one)
            messages.append(began)
        if one.subject in going_on and not one.is_open:
            messages.append(_ended(moment, one, going_on.pop(one.subject)))
    return messages


def _began(moment: Moment, one: Condition) -> Message:
    since_us = moment.slot_us if one.since_us is None else one.since_us
    incident = incident_of(one.subject, moment.slot_us if one.is_open else since_us)  # of several in a slot each is one of its own
    content = _content(moment, one, f"{moment.model}: {one.summary}", since=_iso(since_us), incident=incident)
    return Message(moment.model, f"{one.type}.{BEGAN}", f"{incident}.{BEGAN}", content, incident, moment.slot_us)


def _ended(moment: Moment, one: Condition, before: Message | StoredMessage) -> Message:
    began, incident = before.content, str(before.incident)
    what = str(began["summary"]).removeprefix(f"{moment.model}: ")
    until_us = moment.slot_us if one.until_us is None else one.until_us
    content = _content(
        moment, one, f"{moment.model}: over: {what}", since=began["since"], until=_iso(until_us), incident=incident
    )  # fmt: skip
    return Message(moment.model, f"{one.type}.{ENDED}", f"{incident}.{ENDED}", content, incident, moment.slot_us)


def _content(moment: Moment, one: Condition, summary: str, **more: str) -> dict[str, Any]:
    return {
        "model": moment.model,
        "summary": summary,
        "slot": _iso(moment.slot_us),
        "champion": moment.champion,
        "evidence": [line[:MOST_LETTERS] for line in one.evidence],
        "facts": dict(one.facts),
        "done": moment.done,
        "next": list(one.commands if one.is_open else one.commands[:1]),
        **more,
    }


def failing(moment: Moment, why: str | None, run: str) -> list[Condition]:
    """Return whether retrainings fail: once one did, until one ends with a verdict of the gate.

    Parameters
    ----------
    why
        What went wrong; None where it went well.
    """
    model = moment.model
    commands = (f"look into <home>/runs/{run}.log", f"evergreen retrain --model {model}")
    evidence = () if why is None else (why,)
    return [Condition("retraining_failure", RETRAINING, why is not None, "a retraining failed", None, evidence, {"run": run}, commands)]


def promoted(moment: Moment, key: str, version: str, why: str, facts: Mapping[str, Any]) -> Message:
    """Return the message that there is a new champion."""
    commands = (f"evergreen show {version} --model {moment.model}", f"evergreen rollback --model {moment.model}")
    one = Condition("model.promoted", key, True, f"{version} is the champion now", None, (why,), facts, commands)
    return _event(moment, one, version)


def rolled_back(moment: Moment, key: str, version: str | None, why: str, facts: Mapping[str, Any]) -> Message:
    """Return the message that the previous champion is back."""
    commands = (f"evergreen ledger --model {moment.model}", f"evergreen status --model {moment.model}")
    summary = f"{version or 'the previous champion'} is back in place of {moment.champion}"
    return _event(moment, Condition("model.rolled_back", key, True, summary, None, (why,), facts, commands), version)


def probation_ended(moment: Moment, end: str, look: Mapping[str, Any] | None) -> Message:
    """Return the message that a promotion is not taken back any more: it passed, or nobody could judge it."""
    says = {"passed": "passed its probation", "unjudged": "is on probation no more: it could not be compared with the one before"}
    key = f"probation.{moment.champion}.{moment.slot_us}"
    summary, commands = f"{moment.champion} {says[end]}", (f"evergreen status --model {moment.model}",)
    one = Condition("probation.ended", key, True, summary, None, (), {"end": end, "look": look}, commands)
    return _event(moment, one, moment.champion, slot_us=moment.slot_us)


def _event(moment: Moment, one: Condition, version: str | None, slot_us: int | None = None) -> Message:
    content = _content(moment, one, f"{moment.model}: {one.summary}") | {"version": version}
    return Message(moment.model, one.type, one.subject, content, None, slot_us)


def _iso(model_us: int) -> str:
    return from_us(model_us).isoformat()
