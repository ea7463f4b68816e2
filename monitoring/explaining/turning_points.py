"""The numbers a decision rests on, each beside the threshold it was held against: where the decision would turn (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from monitoring.explaining.uses import moment
from monitoring.judging.labels.unlearnable import LOST, UNLEARNABLE


@dataclass(frozen=True, slots=True)
class Turning:
    """One number of a decision.

    Attributes
    ----------
    name
        What the number is.
    value
        What it was; None where there was none, such as a bound of too few rows.
    turns_at
        Where the decision would turn.
    says
        What is so above it, or below it.
    """

    name: str
    value: float | None
    turns_at: float
    says: str

    @property
    def distance(self) -> float | None:
        """How far the number is from where it turns; above it positive."""
        return None if self.value is None else self.value - self.turns_at

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "distance": self.distance}


def of_line(action: str, evidence: Mapping[str, Any]) -> tuple[Turning, ...]:
    """Return the numbers of a line of the ledger.

    Examples
    --------
    >>> turnings = of_line("promote", {"n": 400, "wanted_rows": 200, "gain": 0.02, "gain_low": 0.01, "minimum_gain": 0.005})
    >>> [(one.name, one.value, one.turns_at) for one in turnings]
    [('rows judged', 400, 200), ('gain, lower bound', 0.01, 0.005)]
    """
    if action == "reweigh":
        return of_weighing(evidence)
    if "most_worse_calibration" in evidence or evidence.get("outcome") == "not judged":
        return _of_growth(evidence)
    if action == "rollback":
        return of_probation(evidence)
    return _of_gate(evidence)


def _of_gate(evidence: Mapping[str, Any]) -> tuple[Turning, ...]:
    turnings = _rows(evidence, "n", "judged")
    if "gain_low" in evidence:
        turnings.append(Turning("gain, lower bound", _number(evidence["gain_low"]), evidence["minimum_gain"], "promoted above"))
    before = evidence.get("before") or {}
    if "gain_low" in before:
        name = f"gain over {before['version']}, lower bound"
        turnings.append(Turning(name, _number(before["gain_low"]), before["minimum_gain"], "promoted above"))
    return tuple(turnings)


def _of_growth(evidence: Mapping[str, Any]) -> tuple[Turning, ...]:
    turnings = _rows(evidence, "rows", "judged")
    if "gain_high" in evidence:
        turnings.append(Turning("gain, upper bound", _number(evidence["gain_high"]), 0.0, "refused below"))
    for name, one in (evidence.get("segments") or {}).items():
        turnings.append(Turning(f"gain in {name}, upper bound", _number(one["gain_high"]), 0.0, "refused below"))
    if evidence.get("calibration_error"):
        without, with_it = evidence["calibration_error"]
        name = "calibration error with the member"
        turnings.append(Turning(name, with_it, without + evidence["most_worse_calibration"], "refused above, unless proven better"))
    return tuple(turnings)


def of_probation(evidence: Mapping[str, Any]) -> tuple[Turning, ...]:
    """Return the numbers of a look at a promotion."""
    turnings = _rows(evidence, "n", "looked at")
    if "gain_low" in evidence:
        name = "gain of the version before, lower bound"
        turnings.append(Turning(name, _number(evidence["gain_low"]), evidence["minimum_gain"], "rolled back above"))
    return tuple(turnings)


def of_weighing(evidence: Mapping[str, Any]) -> tuple[Turning, ...]:
    """Return the numbers of a weighing: how far it moved, who has rows enough for a map, and the evidence against members."""
    turnings = [Turning("largest move of a weight or a map", evidence["moved"], evidence["least_move"], "a new version above")]
    for one in evidence["members"]:
        name = f"rows that {_short(one['version'])} had not seen"
        turnings.append(Turning(name, one["unseen_rows"], one["wanted_rows"], "a map of its own from there on"))
    for version, one in (evidence.get("probations") or {}).items():
        name = f"evidence against {_short(version)}, log10"
        turnings.append(Turning(name, one["log10_evidence"], one["log10_threshold"], "expelled from there on"))
    return tuple(turnings)


def of_verdict(evidence: Mapping[str, Any]) -> tuple[Turning, ...]:
    """Return the numbers of a verdict: of drift, of the answers, of faults and of what was on probation."""
    turnings: list[Turning] = []
    drift, test = evidence.get("drift") or {}, evidence.get("performance") or {}
    if drift.get("log10_threshold") is not None:
        name = "evidence of drift, log10"
        turnings.append(Turning(name, _number(drift.get("log10_evidence")), drift["log10_threshold"], "an episode opens from there on"))
    harm = test.get("harm")
    if harm is not None:
        name = f"evidence that {harm['loss']} got worse, log10 of days"
        turnings.append(Turning(name, _number(harm["log10_evidence"]), harm["log10_threshold"], "an episode of harm from there on"))
    elif "loss_low" in test:
        turnings.append(Turning("loss against the baseline, lower bound", test["loss_low"], test["tolerance"], "worse above"))
    turnings += of_probation(evidence["probation"]) if evidence.get("probation") else ()
    return (*turnings, *of_faults(evidence))


def of_faults(evidence: Mapping[str, Any]) -> tuple[Turning, ...]:
    """Return the numbers of what was broken at a slot, in rows and in labels."""
    faults = [*(evidence.get("faults") or ()), *((evidence.get("cohorts") or {}).get("label_faults") or ())]
    unlearnable = tuple(
        Turning(
            f"{UNLEARNABLE} from {moment(one['start_us'])}, agreement of answers with {one['rows']:,} labels",
            one["share"],
            round((1 - LOST) * one["usual"], 4),
            "as usual above",
        )
        for one in faults
        if one["kind"] == UNLEARNABLE
    )
    return unlearnable + tuple(
        Turning(
            f"{' '.join(filter(None, (one['kind'], one.get('column'))))} from {moment(one['start_us'])}, share of {one['rows']:,} rows",
            one["share"],
            one["usual"],
            "more than usual above",
        )
        for one in faults
        if one["kind"] != UNLEARNABLE
    )


def _rows(evidence: Mapping[str, Any], name: str, verb: str) -> list[Turning]:
    if "wanted_rows" not in evidence or name not in evidence:
        return []
    return [Turning(f"rows {verb}", evidence[name], evidence["wanted_rows"], "nothing is decided below")]


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _short(version: str) -> str:
    return version.rpartition("-")[2][:8]
