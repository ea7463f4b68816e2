"""Why, for people: what is known as lines of a name and a text, and tables (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from monitoring.judging.label_delays import plain_duration
from training.clock import from_us, to_us

Known = Mapping[str, Any]
MOST_LINES, MOST_SPANS = 20, 3
WITHOUT = {
    "quarantined": "without what was quarantined,",
    "uncovered": "without labels of where too few had come,",
    "by_requests": "by drawn labels",
}
SHORT = {"promote": "promoted", "refuse": "refused", "reweigh": "weighed anew", "rollback": "rolled back"}


class Section(NamedTuple):
    """A heading, and below it lines of a name and a text, or a table of rows."""

    title: str
    facts: Known
    rows: Sequence[Known] = ()


def sections(known: Known) -> list[Section]:
    """Return what `why` knows of something as sections for people."""
    by_kind = {"prediction": _prediction, "version": _version, "verdict": _verdict, "quarantine": _quarantine}
    return by_kind[known["kind"]](known)


def _prediction(known: Known) -> list[Section]:
    if "code" in known:
        facts = {"minted": moment(known["minted"]), "in short": known["in_short"]}
        return [Section(f"prediction {known['prediction']} of {known['model']}", facts)]
    facts = {
        "predicted": moment(known["predicted"]) + (f", came late, {moment(known['came_late'])}" if known["came_late"] else ""),
        "own id": known["own_id"],
        "answered by": known["version"],
        "members": members_line(known["members"]),
        "answer": answer_line(known["answer"], known["probabilities"]),
        "label": _label(known),
        "quarantined": "; ".join(f"{one['reason']}, {moment(one['from'])} to {moment(one['until'])}" for one in known["quarantined"]),
        "in short": known["in_short"],
    }
    title = f"prediction {known['prediction']} of {known['model']}"
    lines = [line for one in known["decisions"] for line in decision_lines(one)]
    return [Section(title, _there(facts)), *_table("decisions after it", joined_lines(lines))]


def _label(known: Known) -> str:
    if known["label"] is None:
        return "none came"
    late = to_us(known["labelled"]) - to_us(known["predicted"]) if known["labelled"] is not None else 0
    return f"{known['label']}, {plain_duration(late)} later" if late > 0 else str(known["label"])


def decision_lines(decision: Known) -> list[dict[str, Any]]:
    """Return the lines of a decision: of a retraining one for what was learned, and one for the gate, where that says more."""
    came = decision["outcome"] + (f": {decision['version']}" if decision["version"] else "")
    line = {"slot": moment(decision["slot"]), "outcome": came}
    if decision["decision"] == "weighing":
        return [{**line, "decision": "weighing", **_use(decision["use"])}]
    training, gate = decision["training"], decision["gate"]
    what = "training" if decision["family"] is None else f"growth ({decision['family']})"
    lines = []
    if training["code"] != "kept_for_the_gate":
        lines.append({**line, "decision": what, **_use(training)})
    if gate["code"] not in ("learned_instead", training["code"]) or gate["code"] == "used":
        turning = "; ".join([gate["reason"], *(number_line(one) for one in decision["numbers"])])
        lines.append({**line, "decision": f"gate of a {what}", **_use(gate), "why": turning})
    return lines


def joined_lines(lines: Sequence[Known]) -> list[dict[str, Any]]:
    """Return lines with neighbours of one kind and reason as one, and of very many the first and the last."""
    joined: list[dict[str, Any]] = []
    for _, group in groupby(lines, key=lambda one: (one["decision"], one["code"])):
        first, *others = ({name: value for name, value in one.items() if name != "code"} for one in group)
        if others:
            first["slot"] += f" to {others[-1]['slot']}"
            first["outcome"] = f"{len(others) + 1} of them, first {first['outcome']}"
        joined.append(first)
    if len(joined) <= MOST_LINES:
        return joined
    more = {"slot": f"{len(joined) - MOST_LINES} more", "decision": "", "used": "", "why": "all of them: --json"}
    return [*joined[: MOST_LINES - 1], {**joined[0], "outcome": "", **more}, joined[-1]]


def _version(known: Known) -> list[Section]:
    seconds = {name: value for name, value in known["seconds"].items() if value}
    facts = {
        "made": known["made"],
        "when": moment(known["created"]),
        "is": ", ".join(known["aliases"]) or ("" if known["is_present"] else "gone, by retention or by hand: its manifest is left"),
        "generation": known["generation"] if known["generation"] != known["version"] else "",
        "algorithm": known["algorithm"] or "",
        "members": members_line(known["members"]),
        "trained on": f"rows of {moment(known['trained_from'])} to {moment(known['trained_through'])}" if known["trained_from"] else "",
        "weighed through": moment(known["weighed_through"]) if known["weighed_through"] else "",
        "fingerprint": known["fingerprint"] or "",
        "digest": known["digest"],
        "seconds": ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()),
    }
    parts = [Section(f"version {known['version']} of {known['model']}", _there(facts))]
    for decision in known["decisions"]:
        parts += decision_sections(decision)
    moves = [{**one, "at": moment(one["at"]), "why": str(one["why"]).partition("\n")[0]} for one in known["moves"]]
    return [*parts, *_table("in the ledger", moves)]


def decision_sections(decision: Known) -> list[Section]:
    """Return a decision as a section of what it rests on, and one of its numbers."""
    rows = decision["rows"]
    facts = {
        "why": decision["why"],
        "slot": _slot(decision),
        "held against" if decision["action"] == "refuse" else "in place of": decision["previous"] or "",
        "rows": rows if isinstance(rows, str) else "; ".join(_rows(rows or {})),
        "seconds": _seconds(decision["evidence"]),
    }
    title = f"{SHORT.get(decision['action'], decision['action'])} {moment(decision['at'])} by {decision['who']}: {decision['version']}"
    return [Section(title, _there(facts)), *_table("by these numbers", [number_row(one) for one in decision["numbers"]])]


def _slot(decision: Known) -> str:
    if decision["slot"] is None:
        return ""
    asked = f"asked for by {decision['trigger']}: " if decision["trigger"] else ""
    return "\n".join([f"{moment(datetime.fromisoformat(decision['slot']))}, {asked}".rstrip(", "), *decision["reasons"]])


def _rows(rows: Known) -> list[str]:
    """Say in words which rows a decision rests on."""
    parts = []
    learned, judged = rows.get("learned") or {}, rows.get("judged") or {}
    if "rows" in learned:
        parts.append(f"{learned['rows']:,} learned, {_span(learned['first_us'], learned['last_us'])}")
    if judged.get("from_us") is not None:
        parts.append(f"{judged['rows']:,} judged by, {_span(judged['from_us'], judged['through_us'])}")
    if isinstance(rows.get("rows"), int) and rows.get("from_us") is not None:
        parts.append(f"{rows['rows']:,} weighed by, {_span(rows['from_us'], rows['through_us'])}")
    for name, words in WITHOUT.items():
        spans = rows.get(name) or ()
        if spans:
            parts.append(f"{words} {', '.join(_span(*each) for each in spans[:MOST_SPANS])}{' ...' if spans[MOST_SPANS:] else ''}")
    if rows.get("known_by_us") is not None:
        parts.append(f"labels that had come by {moment(from_us(rows['known_by_us']))}")
    return parts


def _seconds(evidence: Known) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in (evidence.get("seconds") or {}).items() if value is not None)


def _verdict(known: Known) -> list[Section]:
    facts = {
        "reasons": "\n".join(known["reasons"]),
        "champion": known["champion"] or "",
        "asked for": known["asked_for"],
        "judged": moment(known["judged"]),
        "rows": f"{known['rows']:,} in the window" if known["rows"] is not None else "",
        "labels": _labels(known["labels"]),
        "mature": f"rows before {moment(known['matured_until'])}" if known["matured_until"] else "",
        "came of it": f"{known['outcome']}: {known['outcome_why']}" if known["outcome"] else "",
        "seconds": f"{known['seconds']:.1f}" if known["seconds"] is not None else "",
    }
    parts = [Section(f"slot {moment(known['slot'])} of {known['model']}: {known['verdict']}", _there(facts))]
    parts += _table("by these numbers", [number_row(one) for one in known["numbers"]])
    if known["weighing"] is not None and not any(one["action"] == "reweigh" for one in known["decisions"]):
        weighed = known["weighing"]
        rows = f"{weighed['rows']:,} rows, {_span(weighed['from_us'], weighed['through_us'])}"
        parts += _table(f"members weighed by {rows}", [number_row(one) for one in weighed["numbers"]])
    listed = ("name", "until", "reason", "state")
    parts += _table(
        "set aside", [{name: moment(one[name]) if name == "until" else one[name] for name in listed} for one in known["quarantined"]]
    )
    for decision in known["decisions"]:
        parts += decision_sections(decision)
    return parts


def _labels(labels: Known | None) -> str:
    if not labels:
        return ""
    share = f"{labels['coverage']:.0%} of the mature rows have one"
    return f"{labels['unseen']:,} not seen by the champion, {labels['new']:,} of them new; {share}"


def _quarantine(known: Known) -> list[Section]:
    released = f"{moment(known['released'])} by {known['released_by']}: {known['released_why']}" if known["released"] else ""
    facts = {
        "of": known["of"],
        "until": moment(known["until"]),
        "reason": known["reason"],
        "since slot": moment(known["slot"]),
        "state": known["state"],
        "released": released,
        "verdict": f"{known['verdict']}: {'; '.join(known['reasons'])}" if known["verdict"] else "",
    }
    title = f"quarantine {known['name']} of {known['model']}"
    return [Section(title, _there(facts)), *_table("by these numbers", [number_row(one) for one in known["numbers"]])]


def members_line(members: Sequence[Known]) -> str:
    """Say of which members a version is, the heaviest first, each with its map.

    Examples
    --------
    >>> members_line([{"version": "v1", "family": "all", "weight": 0.25, "map": None}, {"version": "v2", "family": "half", "weight": 0.75,
    ...     "map": [1.1, -0.2]}])
    '75.0 % half v2 (map 1.1, -0.2); 25.0 % all v1'
    """
    heaviest = sorted(members, key=lambda member: -member["weight"])
    return "; ".join(f"{100 * one['weight']:.1f} % {one['family']} {one['version']}{_map(one['map'])}" for one in heaviest)


def _map(point: Sequence[float] | None) -> str:
    return "" if point is None else f" (map {point[0]:.3g}, {point[1]:.3g})"


def answer_line(answer: Any, probabilities: Known | None) -> str:
    """Say what was answered."""
    if probabilities is None:
        return f"{answer:.6g}" if isinstance(answer, float) else str(answer)
    likely = sorted(probabilities.items(), key=lambda one: -one[1])[:5]
    return f"{answer} ({', '.join(f'{name} {value:.3f}' for name, value in likely)})"


def number_row(one: Known) -> dict[str, Any]:
    """Return a number as a row of a table."""
    return {"number": one["name"], "was": _short(one["value"]), "turns at": _short(one["turns_at"]), "so": one["says"]}


def number_line(one: Known) -> str:
    """Say a number and where it turns in a line.

    Examples
    --------
    >>> number_line({"name": "gain, lower bound", "value": 0.0123, "turns_at": 0.005, "says": "promoted above"})
    'gain, lower bound 0.0123, promoted above 0.005'
    """
    return f"{one['name']} {_short(one['value'])}, {one['says']} {_short(one['turns_at'])}"


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _use(use: Known) -> dict[str, str]:
    return {"used": "yes" if use["code"] == "used" else "no", "why": use["reason"], "code": use["code"]}


def _span(start_us: int, end_us: int) -> str:
    return f"{moment(from_us(start_us))} to {moment(from_us(end_us))}"


def moment(at: Any) -> str:
    """Return a time for people, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"


def _there(facts: Known) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _table(title: str, rows: Sequence[Known]) -> list[Section]:
    return [Section(title, {}, rows)] if rows else []
