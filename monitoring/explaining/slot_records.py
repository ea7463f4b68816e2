"""Why, of a slot: its verdict with the numbers it rests on, and what was done after it."""

from __future__ import annotations

from typing import Any

from monitoring.explaining.decisions import REWEIGH, retrained
from monitoring.explaining.turning_points import of_faults, of_verdict, of_weighing
from monitoring.explaining.version_records import decision_of
from monitoring.journal.tables import CHECK, TICK, Quarantine, Run, VerdictRecord
from monitoring.stores import Stores
from training.clock import from_us
from training.registry.tables import LedgerEntry

MICROSECONDS = 1e6


def explain_verdict(stores: Stores, verdict: VerdictRecord) -> dict[str, Any]:
    """Return what a verdict rests on, and every decision that came of it."""
    evidence, model, slot_us = verdict.evidence, verdict.model, verdict.slot_us
    run = _run_of(stores, model, slot_us)
    weighing = evidence.get("weighing")
    cohorts = evidence.get("cohorts") or {}
    return {
        "kind": "verdict",
        "model": model,
        "slot": from_us(slot_us),
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "champion": evidence.get("champion"),
        "judged": from_us(verdict.created_us),
        "asked_for": "by a person" if run is not None and run.job == CHECK else "the slot",
        "outcome": None if run is None else run.result.get("outcome") or None,
        "outcome_why": None if run is None else run.result.get("why") or run.error,
        "seconds": None if run is None or run.ended_us is None else round((run.ended_us - run.started_us) / MICROSECONDS, 3),
        "rows": evidence.get("rows"),
        "labels": evidence.get("labels"),
        "matured_until": None if cohorts.get("matured_end_us") is None else from_us(cohorts["matured_end_us"]),
        "numbers": [each.to_dict() for each in of_verdict(evidence)],
        "weighing": None if weighing is None else {"numbers": [each.to_dict() for each in of_weighing(weighing)], **weighing},
        "quarantined": [_quarantine(one) for one in _set_aside_at(stores, model, slot_us)],
        "decisions": [decision_of(stores, line) for line in _lines_of(stores, model, slot_us)],
        "evidence": dict(evidence),
    }


def explain_quarantine(stores: Stores, one: Quarantine) -> dict[str, Any]:
    """Return why rows, or their labels, are set aside, since which slot, and who let them go."""
    verdict = next(iter(stores.journal.verdicts(one.model, 1, slots=[one.slot_us])), None)
    return {
        "kind": "quarantine",
        "model": one.model,
        **_quarantine(one),
        "of": "labels" if one.is_of_labels else "rows",
        "verdict": None if verdict is None else verdict.verdict,
        "reasons": [] if verdict is None else list(verdict.reasons),
        "numbers": [] if verdict is None else [each.to_dict() for each in of_faults(verdict.evidence)],
    }


def _quarantine(one: Quarantine) -> dict[str, Any]:
    return {
        "name": one.name,
        "from": from_us(one.start_us),
        "until": from_us(one.end_us),
        "reason": one.reason,
        "slot": from_us(one.slot_us),
        "state": "in force" if one.released_us is None else "released",
        "released": None if one.released_us is None else from_us(one.released_us),
        "released_by": one.released_by,
        "released_why": one.released_why,
    }


def _run_of(stores: Stores, model: str, slot_us: int) -> Run | None:
    """Return the run that judged a slot, or looked by hand."""
    runs = [run for job in (TICK, CHECK) for run in stores.journal.runs(model, job, limit=None) if run.slot_us == slot_us]
    return next(iter(runs), None)


def _set_aside_at(stores: Stores, model: str, slot_us: int) -> list[Quarantine]:
    return [one for one in stores.journal.quarantines(model, released=None, of_labels=None) if one.slot_us == slot_us]


def _lines_of(stores: Stores, model: str, slot_us: int) -> list[LedgerEntry]:
    """Return the lines of the ledger that a slot brought about, the first first."""
    slot = from_us(slot_us).isoformat()
    runs = {one.line.seq for one in retrained(stores, model, slot_us - 1) if one.run.slot_us == slot_us and one.line is not None}
    lines = reversed(stores.registry.ledger(model, None))
    return [line for line in lines if line.seq in runs or (line.action in (REWEIGH, "rollback") and line.evidence.get("slot") == slot)]
