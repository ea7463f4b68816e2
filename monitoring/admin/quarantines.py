"""Quarantines for people: a list of them, and the release of one that is the new normal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitoring.admin.manual_actions import read_clock
from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from monitoring.journal.tables import LABELS_ONLY, RELEASE, Quarantine, name_of_span
from training.clock import from_us, to_us
from training.registry.tables import Cause


def quarantines_of(bench: Workbench, model: str) -> list[dict[str, Any]]:
    """List the quarantines of a model, the earliest first, those that were released too."""
    return [
        {
            "span": one.name,
            "until": from_us(one.end_us),
            "state": "in force" if one.released_us is None else "released",
            "reason": one.reason,
            "released": None if one.released_us is None else from_us(one.released_us),
            "by": one.released_by,
            "why": one.released_why,
        }
        for one in bench.journal.quarantines(model, released=None, of_labels=None)
    ]


def release(bench: Workbench, model: str, span: str, why: str) -> Quarantine:
    """Let a quarantine go, with a line in the ledger: its rows count again, and while the same goes on it is no fault.

    Parameters
    ----------
    span
        When it begins, as it is listed or otherwise written, to the minute.

    Raises
    ------
    InputError
        There is none in force that begins then; where one was let go before, by whom, when and why.
    """
    of_labels = LABELS_ONLY if span.endswith(LABELS_ONLY) else ""
    name = name_of_span(to_us(read_clock(bench, model, span.removesuffix(LABELS_ONLY)))) + of_labels
    one = next((each for each in bench.journal.quarantines(model, of_labels=None) if each.name == name), None)
    if one is None or not bench.journal.release_quarantine(one, to_us(bench.now()), bench.who, why):
        raise InputError(_why_not(bench.journal.quarantines(model, released=None, of_labels=None), model, name))
    evidence = {"start_us": one.start_us, "end_us": one.end_us, "reason": one.reason}
    bench.registry.record(model, RELEASE, cause=Cause(bench.who, why, evidence), now=bench.now())
    return one


def _why_not(known: Sequence[Quarantine], model: str, name: str) -> str:
    """Say why none that begins at this minute can be let go, and which can."""
    in_force = ", ".join(each.name for each in known if each.released_us is None) or "none"
    gone = next((each for each in reversed(known) if each.name == name and each.released_us is not None), None)
    if gone is not None and gone.released_us is not None:
        when = f"{from_us(gone.released_us):%Y-%m-%d %H:%M}"
        return (
            f"the quarantine of {model} that begins at {name} was released already, by {gone.released_by} at {when} ({gone.released_why})"
        )
    within = next(
        (each for each in known if each.released_us is None and name_of_span(each.start_us) < name < name_of_span(each.end_us)), None
    )
    hint = "" if within is None else f"; that time lies in the one of {within.name}"
    return f"{model} has no quarantine that begins at {name}; in force: {in_force}{hint}"
