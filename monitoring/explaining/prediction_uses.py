"""Why, of one prediction: who answered it, what came true, and which trainings, gates and weighings used its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from monitoring.explaining.decisions import ChosenRows, Retrained, Weighing, retrained, weighings
from monitoring.explaining.turning_points import of_line
from monitoring.explaining.uses import RowTimes, Use, judged_in, learned_in, moment, weighed_in
from monitoring.stores import Stores
from service.prediction_log.ids import IdMinter, PredictionId
from service.prediction_log.reading import LoggedPrediction
from training.artifacts.manifest import generation_of
from training.artifacts.signing import load_or_make_key
from training.clock import from_us
from training.errors import UnknownVersionError
from training.model_file.model_spec import ModelSpec

UNUSED = "nothing used it"
TELLING = (
    "quarantined",
    "no_label",
    "uncovered",
    "sampled_out",
    "label_came_later",
    "came_late",
    "failed",
    "nothing_judged",
    "not_matured",
)
"""Of the reasons for which decisions did not use a row, the one that says most comes first."""


def explain_row(stores: Stores, spec: ModelSpec, identity: str, logged: LoggedPrediction) -> dict[str, Any]:
    """Return what became of a row of the log."""
    row = RowTimes(logged.event_us, logged.labelled_us if logged.label is not None else None, logged.late_us)
    chosen = ChosenRows(stores, spec, identity, row.event_us)
    runs = [_of_training(one, row, chosen) for one in retrained(stores, spec.model, row.event_us)]
    weighed = [_of_weighing(one, row, chosen) for one in weighings(stores, spec.model, row.event_us) if one.evidence is not None]
    decisions = sorted([*runs, *weighed], key=lambda one: str(one["slot"]))
    return {
        "kind": "prediction",
        "prediction": identity,
        "model": spec.model,
        "own_id": logged.own_id,
        "predicted": from_us(row.event_us),
        "came_late": None if row.late_us is None else from_us(row.late_us),
        **answered_by(stores, spec.model, logged.version),
        "answer": logged.output,
        "probabilities": logged.probabilities,
        "label": logged.label,
        "labelled": None if row.labelled_us is None else from_us(row.labelled_us),
        "quarantined": [
            {"from": from_us(one.start_us), "until": from_us(one.end_us), "reason": one.reason}
            for one in stores.journal.quarantines(spec.model, row.event_us, row.event_us + 1, of_labels=None)
        ],
        "in_short": in_short(decisions, _why_not_yet(stores, spec.model, row)),
        "decisions": decisions,
    }


def answered_by(stores: Stores, model: str, version: str) -> dict[str, Any]:
    """Return which version answered, with its members, their weights and maps; of one that is not known any more its name."""
    try:
        members = [member.to_dict() for member in stores.registry.version(model, version).members]
    except UnknownVersionError:
        members = []
    return {"version": version, "generation": generation_of(version), "members": members}


def explain_forgotten(stores: Stores, spec: ModelSpec, identity: str) -> dict[str, Any] | None:
    """Return what is left to be said of a prediction whose row is not in the log; None where its id was not minted here."""
    key = stores.home.ids_key
    minted = IdMinter(load_or_make_key(key)).parse(identity) if key.exists() else None
    if minted is None:
        return None
    is_drained = _is_drained(stores, minted)
    oldest_us = stores.log.first_event(spec.model)
    if is_drained:
        oldest = "" if oldest_us is None else f"; the oldest row that is left is of {moment(oldest_us)}"
        why = f"forgotten: its row was in the log and left it, by retention or with its model{oldest}"
    else:
        why = "not in the log yet: it waits in the spool, or was lost with it; nothing can have used it"
    return {
        "kind": "prediction",
        "prediction": identity,
        "model": spec.model,
        "minted": from_us(minted.time_ms * 1000),
        "code": "forgotten" if is_drained else "not_logged_yet",
        "in_short": why,
        "decisions": [],
    }


def _is_drained(stores: Stores, minted: PredictionId) -> bool:
    """Return whether a row was in the log: of its spool file as much was committed, or nobody remembers the file any more."""
    offset = stores.log.offset(minted.spool)
    is_there = any(path.name.startswith(minted.spool) for path in stores.home.spool.glob("*"))
    return minted.seq < offset.records or not (offset.records or is_there)


def in_short(decisions: Sequence[Mapping[str, Any]], otherwise: str) -> str:
    """Say in a sentence what used a row, or why nothing did."""
    parts = []
    for one in decisions:
        if one["decision"] == "retraining" and one["gate"]["code"] == "used":
            parts.append(f"the gate of {one['slot']:%Y-%m-%d %H:%M} judged by it: {one['version']} was {one['outcome']}")
    learned = [one for one in decisions if one["decision"] == "retraining" and one["training"]["code"] == "used"]
    if learned:
        times = "a training" if len(learned) == 1 else f"{len(learned)} trainings"
        parts.append(f"{times} learned from it, first that of {learned[0]['slot']:%Y-%m-%d %H:%M} ({learned[0]['version']})")
    weighed = [one for one in decisions if one["decision"] == "weighing" and one["use"]["code"] == "used"]
    if weighed:
        slots = "a slot" if len(weighed) == 1 else f"{len(weighed)} slots"
        parts.append(f"members were weighed by it in {slots}, first {weighed[0]['slot']:%Y-%m-%d %H:%M}")
    if parts:
        return "; ".join(parts)
    reasons = {use["code"]: str(use["reason"]) for one in decisions for use in _uses(one)}
    telling = next((reasons[code] for code in TELLING if code in reasons), next(reversed(reasons.values()), otherwise))
    return f"{UNUSED}: {telling}"


def _uses(decision: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [decision[name] for name in ("training", "gate", "use") if name in decision]


def _why_not_yet(stores: Stores, model: str, row: RowTimes) -> str:
    """Say why there is no decision yet that could have used a row."""
    last = stores.journal.last_judged(model)
    if last is None or last.slot_us <= row.event_us:
        return "no slot was judged since it was predicted"
    matured_us = (last.evidence.get("cohorts") or {}).get("matured_end_us")
    if matured_us is not None and row.event_us >= matured_us:
        return f"not mature at the last slot, {moment(last.slot_us)}: rows before {moment(matured_us)} were"
    return f"no retraining and no weighing since; the last slot, {moment(last.slot_us)}, said {last.verdict}"


def _of_training(one: Retrained, row: RowTimes, chosen: ChosenRows) -> dict[str, Any]:
    training = one.training
    learned = learned_in(row, training, partial(chosen.learned, one))
    judged = judged_in(row, training, partial(chosen.judged, one))
    return {
        "decision": "retraining",
        "slot": from_us(one.run.slot_us),
        "run": one.run.run_id,
        "trigger": one.plan.trigger,
        "family": training.family,
        "training": _use(learned),
        "gate": _use(judged),
        "outcome": one.outcome,
        "version": one.version,
        "why": one.run.error if one.line is None else one.line.why,
        "numbers": []
        if one.line is None or not judged.is_used
        else [each.to_dict() for each in of_line(one.line.action, one.line.evidence)],
    }


def _of_weighing(one: Weighing, row: RowTimes, chosen: ChosenRows) -> dict[str, Any]:
    assert one.evidence is not None
    use = weighed_in(row, one.slot_us, one.evidence, partial(chosen.weighed, one.evidence))
    return {
        "decision": "weighing",
        "slot": from_us(one.slot_us),
        "use": _use(use),
        "outcome": "reweighed" if one.line is not None else "moved nothing",
        "version": None if one.line is None else one.line.version,
        "why": None if one.line is None else one.line.why,
    }


def _use(use: Use) -> dict[str, Any]:
    return {"code": use.code, "reason": use.reason}
