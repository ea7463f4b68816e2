"""What is on record: data faults and refused rows, how labels come, and what was decided about versions (pure)."""

from __future__ import annotations

from typing import Any

from monitoring.judging.label_delays import plain_duration
from monitoring.report.history import MOVES, axis_of, faults_of
from monitoring.report.model_facts import ModelFacts
from monitoring.report.standing import MOST_LETTERS, has_labels, real, short
from training.drawing.axes import moment, number
from training.drawing.bars import Interval, intervals
from training.drawing.lines import Behind, Point, line_with_band
from training.drawing.page import Caption, Table, items, section, shortened
from training.drawing.svg import Axis

MOST_FAULTS, MOST_MOVES, MOST_GATES = 100, 100, 30


def faults(known: ModelFacts) -> str:
    """Return the section of what was set aside, and of rows that were refused before."""
    parts = []
    if known.quarantines:
        rows = [
            (moment(q.start_us), moment(q.end_us), shortened(q.reason, MOST_LETTERS), _let_go(q.released_by, q.released_why))
            for q in known.quarantines[-MOST_FAULTS:]
        ]
        parts.append(Table(("from", "to", "reason", "state"), rows, wide=frozenset({2})).html())
    else:
        parts.append("<p>Nothing was set aside in this stretch.</p>")
    if known.rejected:
        most = sorted(known.rejected.items(), key=lambda one: -one[1])
        refused = [(shortened(name or "the row", 120), code, f"{rows:,}") for (name, code), rows in most[:MOST_FAULTS]]
        parts += ["<h3>Refused requests</h3>", Table(("field", "reason", "rows"), refused, frozenset({2})).html()]
    return section("faults", "Data faults", *parts)


def _let_go(who: str | None, why: str | None) -> str:
    return "set aside" if who is None else shortened(f"let go by {who}{f': {why}' if why else ''}", MOST_LETTERS)


def labels(known: ModelFacts) -> str:
    """Return the section of how late labels come and how many."""
    last = known.last
    if last is None:
        return ""
    cohorts: dict[str, Any] = last.evidence.get("cohorts") or {}
    if not has_labels(last.evidence):
        none = "<p>No row has a label: the model is watched by its inputs and answers only.</p>"
        return section("labels", "Labels", none, items([cohorts["blind"]] if cohorts.get("blind") else []), _arrivals(known))
    points = [
        Point(one.record.slot_us, float(one.evidence["labels"]["coverage"]), note="blind" if one.record.verdict == "blind" else "",
              kind="bad" if one.record.verdict == "blind" else "")
        for one in known.judged if one.evidence.get("labels", {}).get("coverage") is not None and one.evidence.get("cohorts")
    ]  # fmt: skip
    parts = []
    if cohorts.get("blind"):
        parts.append(items([cohorts["blind"]]))
    if points:
        least = 0.95 * known.spec.labels.coverage
        axis = axis_of(known)
        low, high = axis.low or 0.0, axis.high or 1.0
        sentence = f"{points[-1].y:.0%} at the last look; {least:.1%} is enough to judge by (dashed). Red: the loop was blind."
        behind = Behind(faults_of(known), [(low, least, high, least)])
        parts.append(line_with_band(Caption("Labelled share of matured rows", sentence), points, axis, Axis("labelled", 0.0, 1.0), behind))
    delays = cohorts.get("delays", [])
    needed = cohorts.get("maturity_us")
    if needed is not None:
        due, labelled = cohorts.get("due", 0), cohorts.get("labelled", 0)
        age = plain_duration(needed) if needed else "logged"
        parts.append(f"<p>Rows are judged when they are {age} old; of {due:,} such rows {labelled:,} are labelled.</p>")
    if delays:
        rows = [
            (d["class"], f"{d['labels']:,}", f"{'' if d['is_known'] else 'at least '}{plain_duration(d['quantile_us'])}") for d in delays
        ]
        parts.append(Table(("labels of", "measured on", "95 % come within"), rows, frozenset({1, 2})).html())
    by_third = cohorts.get("by_third_of_score") or {}
    if by_third:
        thirds = [(name, f"{share:.1%}") for name, share in by_third.items()]
        parts.append(Table(("third of the score", "labelled"), thirds, frozenset({1})).html())
    parts.append(_arrivals(known))
    return section("labels", "Labels", *parts)


def _arrivals(known: ModelFacts) -> str:
    """Return how many labels came in the stretch, and what became of them."""
    if not known.arrivals.total:
        return ""
    ordered = sorted(known.arrivals.counts.items(), key=lambda one: -one[1])
    rows = [(result.replace("_", " "), f"{number:,}", f"{number / known.arrivals.total:.1%}") for result, number in ordered]
    return Table(("labels that came", "number", "share"), rows, frozenset({1, 2})).html()


def decisions(known: ModelFacts) -> str:
    """Return the section of what became of versions: the gates with their intervals, and every move with its reason."""
    gates = [
        Interval(
            f"{moment(slot_us)[:10]} {MOVES[line.action][2]} {short(line.version)}",
            real(line.evidence.get("gain")),
            real(line.evidence.get("gain_low")),
            real(line.evidence.get("gain_high")),
            shortened(line.why, MOST_LETTERS),
        )
        for slot_us, line in known.moves
        if line.action in MOVES and line.evidence.get("gain") is not None
    ]
    parts = []
    if gates:
        metric = known.spec.metric
        sentence = (
            f"On rows that neither version had seen; right of 0 (dashed) is better. A challenger needs its lower bound above "
            f"{number(known.spec.retraining.gate.minimum_gain)}; what was taken back, above 0."
        )
        shown = gates[-MOST_GATES:][::-1]
        parts.append(intervals(Caption(f"Gain in {metric} of each challenger", sentence), shown, Axis(f"gain in {metric}"), 0.0))
    rows = [
        (moment(slot_us), _word(line.action), short(line.version), short(line.previous), line.who, shortened(line.why, MOST_LETTERS))
        for slot_us, line in known.moves[: -MOST_MOVES - 1 : -1]
        if line.action != "register"
    ]
    if not rows:
        return section("decisions", "Decisions", "<p>No version moved in this stretch.</p>")
    table = Table(("model time, about", "what", "version", "before", "who", "why"), rows, wide=frozenset({5}))
    return section("decisions", "Decisions", *parts, table.html())


def _word(action: str) -> str:
    return MOVES[action][2] if action in MOVES else action
