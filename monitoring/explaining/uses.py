"""Whether a training, a gate or a weighing used a row, and why not: from what each recorded, and the times of the row (pure).

No row is kept track of: each decision recorded by which ranges of model time it chose its rows, as of when, and without which. Where ranges
do not say it, since some of their rows were drawn, whoever reads the log is asked (`IsAmong`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from training.clock import from_us

Code = Literal[
    "used",
    "before_the_log",
    "kept_for_the_gate",
    "learned_instead",
    "not_matured",
    "came_late",
    "no_label",
    "label_came_later",
    "quarantined",
    "uncovered",
    "sampled_out",
    "too_old",
    "seen_before",
    "failed",
    "nothing_judged",
    "not_recorded",
]
NOT_RECORDED = "not recorded by the version of Evergreen that wrote it"
IsAmong = Callable[[], bool | None]
"""Reads the log: whether a row is among those that were drawn; None where that cannot be known any more."""


@dataclass(frozen=True, slots=True)
class RowTimes:
    """When a row was predicted, when its label came, and when the row itself did if late: model time, microseconds."""

    event_us: int
    labelled_us: int | None = None
    late_us: int | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """Whether a decision used a row: a code for programs, and a reason in words."""

    code: Code
    reason: str

    @property
    def is_used(self) -> bool:
        """Whether it did."""
        return self.code == "used"


@dataclass(frozen=True, slots=True)
class Training:
    """A retraining run, as it was recorded, and what came of it.

    Attributes
    ----------
    slot_us
        The slot that asked for it.
    plan
        Which ranges it was to read.
    result
        Which rows it learned from; empty where it failed.
    error
        Why it failed, or did not end.
    evidence
        Of the line of the ledger that ended it; empty while there is none.
    """

    slot_us: int
    plan: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str | None
    evidence: Mapping[str, Any]

    @property
    def family(self) -> str | None:
        """The window of the history that a member more was fitted on; None where a challenger was trained."""
        growth = self.plan.get("growth")
        return None if growth is None else str(growth["family"])


def learned_in(row: RowTimes, training: Training, is_among: IsAmong) -> Use:
    """Return whether a training learned from a row."""
    plan, result, event_us = training.plan, training.result, row.event_us
    if event_us < int(plan["log_start_us"]):
        until = moment(int(plan["log_start_us"]))
        return Use("before_the_log", f"the log is learned from since {until}; of the time before, the rows of the first version")
    if event_us >= int(plan["log_end_us"]):
        if int(plan["gate_start_us"]) <= event_us < int(plan["gate_end_us"]):
            return Use("kept_for_the_gate", "kept for the gate, which judges by rows that nobody has learned from")
        return _not_matured(int(plan["gate_end_us"]))
    missing = _missing(row, int(plan["known_by_us"])) or _set_aside(event_us, plan["aside"], plan.get("uncovered", ()))
    if missing is not None:
        return missing
    if "version" not in result:
        return Use("failed", f"it was to be learned from, but the training failed: {training.error or 'it is not over'}")
    if _covers(plan.get("requested", ()), event_us) and not (is_one := is_among()):
        return _unknown() if is_one is None else Use("sampled_out", "labels were drawn, and those that stand for as many rows were learned")
    rows, first_us = int(result["rows"]), int(result["first_us"])
    if event_us < first_us:
        return _out_of_the_window(training, rows, first_us)
    if event_us == first_us and "first_rows" in result and not (is_one := is_among()):
        return _unknown() if is_one is None else _out_of_the_window(training, rows, first_us)
    if training.family is not None and event_us >= int(plan["gate_start_us"]):
        return Use("used", f"one of {rows:,} rows the new member was fitted on, after its forerunner, fitted without it, was judged by it")
    return Use("used", f"one of {rows:,} rows")


def judged_in(row: RowTimes, training: Training, is_among: IsAmong) -> Use:
    """Return whether the gate of a training judged by a row."""
    plan, evidence, event_us = training.plan, training.evidence, row.event_us
    if event_us < int(plan["gate_start_us"]):
        return Use("learned_instead", f"older than the rows kept for the gate, which begin {moment(int(plan['gate_start_us']))}")
    if event_us >= int(plan["gate_end_us"]):
        return _not_matured(int(plan["gate_end_us"]))
    missing = _missing(row, int(plan["known_by_us"])) or _set_aside(event_us, plan["aside"], plan.get("uncovered", ()))
    if missing is not None:
        return missing
    judged = evidence.get("judged") or {}
    rows = judged.get("rows", evidence.get("n", evidence.get("rows")))
    if rows is None:
        return Use("nothing_judged", f"kept for the gate, which judged nothing: {training.error or 'it is not over'}")
    if event_us <= judged.get("unseen_after_us", event_us - 1):
        return Use("seen_before", f"one of the versions had learned from rows until {moment(judged['unseen_after_us'])}")
    is_drawn = _covers(plan.get("requested", ()), event_us) or judged.get("of", rows) > rows
    if is_drawn and not (is_one := is_among()):
        return _unknown() if is_one is None else Use("sampled_out", f"the gate judged by {rows:,} of {judged.get('of', 'the')} rows")
    return Use("used", f"one of {rows:,} rows it was judged by")


def weighed_in(row: RowTimes, slot_us: int, weighing: Mapping[str, Any], is_among: IsAmong) -> Use:
    """Return whether members were weighed by a row, or their maps learned from it.

    Parameters
    ----------
    weighing
        The evidence of the weighing at a slot.
    """
    event_us, through_us = row.event_us, int(weighing["through_us"])
    if event_us >= int(weighing.get("end_us", through_us + 1)):
        return _not_matured(int(weighing.get("end_us", through_us + 1)))
    if event_us < int(weighing["from_us"]):
        return Use("too_old", f"older than the {weighing['rows']:,} newest rows, which are weighed by")
    missing = _missing(row, int(weighing.get("known_by_us", slot_us - 1)))
    missing = missing or _set_aside(event_us, weighing.get("quarantined", ()), weighing.get("uncovered", ()))
    if missing is not None:
        return missing
    is_drawn = _covers(weighing.get("by_requests", ()), event_us) or weighing.get("one_in", 1) > 1
    if is_drawn and not (is_one := is_among()):
        return _unknown() if is_one is None else Use("sampled_out", f"one row in {weighing.get('one_in', 1)} was weighed by")
    return Use("used", f"one of {weighing['rows']:,} rows: {_what_for(event_us, weighing)}")


def _what_for(event_us: int, weighing: Mapping[str, Any]) -> str:
    """Say what of a weighing was learned from a row: maps of the members that had not seen it, weights where none had."""
    members: Sequence[Mapping[str, Any]] = weighing["members"]
    scored = [one for one in members if one["unseen_rows"] >= one["wanted_rows"]]
    maps = sum(event_us > one["trained_through_us"] for one in scored)
    if not maps:
        return "no member had rows enough that it had not seen, this one among them"
    if len(members) == 1:
        return "its map was learned from them"
    has_weights = len(members) > 1 and weighing["is_learned"] and all(event_us > one["trained_through_us"] for one in scored)
    return f"the maps of {maps} of {len(members)} members were learned from them{', and the weights' if has_weights else ''}"


def _missing(row: RowTimes, known_by_us: int) -> Use | None:
    """Say that a row, or its label, was not there as of a model time."""
    if row.late_us is not None and row.late_us > known_by_us:
        return Use("came_late", f"the row came in late, {moment(row.late_us)}, after that slot")
    if row.labelled_us is None:
        return Use("no_label", "it has no label")
    if row.labelled_us > known_by_us:
        return Use("label_came_later", f"its label came {moment(row.labelled_us)}, after that slot")
    return None


def _set_aside(event_us: int, aside: Sequence[Sequence[int]], uncovered: Sequence[Sequence[int]]) -> Use | None:
    for start_us, end_us in aside:
        if start_us <= event_us < end_us:
            return Use("quarantined", f"quarantined: {moment(start_us)} to {moment(end_us)}")
    for start_us, end_us in uncovered:
        if start_us <= event_us < end_us:
            return Use("uncovered", f"too few rows from {moment(start_us)} to {moment(end_us)} had a label")
    return None


def _covers(spans: Sequence[Sequence[int]], event_us: int) -> bool:
    return any(start_us <= event_us < end_us for start_us, end_us in spans)


def _out_of_the_window(training: Training, rows: int, first_us: int) -> Use:
    window = "the window of training" if training.family in (None, "all") else f"the window {training.family!r}"
    return Use("sampled_out", f"out of {window}: {rows:,} rows since {moment(first_us)}")


def _not_matured(end_us: int) -> Use:
    return Use("not_matured", f"not mature then: rows before {moment(end_us)} were")


def _unknown() -> Use:
    return Use("not_recorded", NOT_RECORDED)


def moment(us: int) -> str:
    """Return a model time for people.

    Examples
    --------
    >>> moment(90_000_000)
    '1970-01-01 00:01'
    """
    return f"{from_us(us):%Y-%m-%d %H:%M}"
