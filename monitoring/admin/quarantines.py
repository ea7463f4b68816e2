"""Quarantines for people: a list of them, and the release of one that is the new normal."""

from __future__ import annotations

from typing import Any

from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from monitoring.journal.tables import Quarantine, name_of_span
from training.clock import from_us, to_us
from training.registry.tables import Cause

RELEASE = "release"  # the ledger's word for it


def quarantines_of(bench: Workbench, model: str) -> list[dict[str, Any]]:
    """List the quarantines of a model, the earliest first, those that were released too."""
    return [
        {
            "span": name_of_span(one.start_us),
            "until": from_us(one.end_us),
            "state": "in force" if one.released_us is None else "released",
            "reason": one.reason,
            "released": None if one.released_us is None else from_us(one.released_us),
            "by": one.released_by,
            "why": one.released_why,
        }
        for one in bench.journal.quarantines(model, released=None)
    ]


def release(bench: Workbench, model: str, span: str, why: str) -> Quarantine:
    """Let a quarantine go, with a line in the ledger: its rows count again, and while the same goes on it is no fault.

    Parameters
    ----------
    span
        When it begins, as it is listed.

    Raises
    ------
    InputError
        There is none in force that begins then.
    """
    in_force = bench.journal.quarantines(model)
    one = next((each for each in in_force if name_of_span(each.start_us) == span), None)
    if one is None or not bench.journal.release_quarantine(one, to_us(bench.now()), bench.who, why):
        known = ", ".join(name_of_span(each.start_us) for each in in_force) or "none"
        raise InputError(f"{model} has no quarantine in force that begins at {span}; in force: {known}")
    evidence = {"start_us": one.start_us, "end_us": one.end_us, "reason": one.reason}
    bench.registry.record(model, RELEASE, cause=Cause(bench.who, why, evidence), now=bench.now())
    return one
