"""Why, of a version: by what it was made, from which rows, by which numbers it was let in or refused, and when it answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from monitoring.explaining.decisions import REWEIGH
from monitoring.explaining.turning_points import of_line
from monitoring.explaining.uses import NOT_RECORDED
from monitoring.retraining.probation import NEWCOMER
from monitoring.stores import Stores
from training.clock import from_us, to_us
from training.registry.tables import LedgerEntry, VersionRecord

DECIDES = ("promote", "refuse", REWEIGH, "rollback")


def explain_version(stores: Stores, record: VersionRecord) -> dict[str, Any]:
    """Return what a version rests on."""
    model, version, manifest = record.model, record.version, record.manifest
    lines = [line for line in reversed(stores.registry.ledger(model, None)) if _is_about(line, version, record.generation)]
    made = next((line for line in lines if line.action in ("register", REWEIGH) and line.version == version), None)
    decisions = [decision_of(stores, line) for line in lines if line.action in DECIDES]
    return {
        "kind": "version",
        "version": version,
        "model": model,
        "made": _how(record, made),
        "created": record.created,
        "aliases": [each.alias for each in stores.registry.aliases() if (each.model, each.version) == (model, version)],
        "is_present": version not in stores.registry.expired(model) and version in {one.version for one in stores.registry.versions(model)},
        "generation": record.generation,
        "digest": record.digest,
        "parent": record.parent,
        "algorithm": manifest.get("algorithm"),
        "params": manifest.get("params"),
        "members": [member.to_dict() for member in record.members],
        "trained_from": _moment(manifest.get("data_start")),
        "trained_through": _moment(manifest.get("trained_through_us")),
        "weighed_through": _moment(manifest.get("weighed_through_us")),
        "fingerprint": manifest.get("data_fingerprint") or manifest.get("rows_digest"),
        "seed": manifest.get("seed"),
        "seconds": manifest.get("durations") or {},
        "decisions": decisions,
        "moves": [{"at": line.at, "action": line.action, "version": line.version, "who": line.who, "why": line.why} for line in lines],
    }


def decision_of(stores: Stores, line: LedgerEntry) -> dict[str, Any]:
    """Return a line of the ledger as a decision: what, by whom, why, the numbers with where it would turn, and its rows."""
    evidence = dict(line.evidence)
    return {
        "seq": line.seq,
        "at": line.at,
        "action": line.action,
        "version": line.version,
        "previous": line.previous,
        "who": line.who,
        "why": line.why,
        "slot": evidence.get("slot"),
        "trigger": evidence.get("trigger"),
        "reasons": _reasons(stores, line.model, evidence.get("slot")),
        "numbers": [each.to_dict() for each in of_line(line.action, evidence)],
        "rows": rows_of(line),
        "evidence": evidence,
    }


def rows_of(line: LedgerEntry) -> dict[str, Any] | str | None:
    """Return which rows a decision rests on, as it recorded them; that it did not where an earlier release wrote it."""
    evidence = line.evidence
    if line.action == REWEIGH:
        named = ("rows", "weighed_rows", "from_us", "through_us", "known_by_us", "one_in", "quarantined", "uncovered", "by_requests")
        return {name: evidence[name] for name in named if name in evidence}
    if "run" in evidence and "record" not in evidence:
        return NOT_RECORDED
    known = {**evidence.get("record", {}), **({"judged": evidence["judged"]} if "judged" in evidence else {})}
    return known or None


def _is_about(line: LedgerEntry, version: str, generation: str) -> bool:
    """Return whether a line is of a version, of its generation as it came, or of the version that grew by it."""
    came = line.version == generation and line.action in ("register", "promote", "rollback")
    return (
        came
        or line.version == version
        or line.evidence.get(NEWCOMER) == version
        or (line.action == "rollback" and line.previous == version)
    )


def _how(record: VersionRecord, made: LedgerEntry | None) -> str:
    """Say in a sentence what made a version."""
    if made is None:
        return NOT_RECORDED
    if made.action == REWEIGH:
        return f"weighed anew from {made.previous}: {made.why}"
    grown = f", {len(record.members)} members" if record.members else ""
    by = f"run {record.run_id}" if record.run_id is not None else made.who
    return f"{made.why} ({by}{grown})"


def _reasons(stores: Stores, model: str, slot: Any) -> list[str]:
    """Return what the verdict of the slot said that a decision belongs to."""
    if slot is None:
        return []
    verdicts = stores.journal.verdicts(model, 1, slots=[to_us(datetime.fromisoformat(str(slot)))])
    return [reason for verdict in verdicts for reason in verdict.reasons]


def _moment(us: Any) -> Any:
    return None if us is None else from_us(int(us))
