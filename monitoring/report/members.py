"""Which members answered, by which weights, maps and threshold, over time; who came and who left, and why (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.report.history import axis_of, moved
from monitoring.report.model_facts import ModelFacts
from monitoring.report.standing import MOST_LETTERS, real, short
from monitoring.retraining.probation import NEWCOMER
from training.drawing.axes import moment, number
from training.drawing.lines import Behind, Point, steps
from training.drawing.page import Caption, Table, section, shortened
from training.drawing.strips import Cell, Strip, heat_strip, key
from training.drawing.svg import Axis, grouped
from training.registry.aliases import PROMOTE, REWEIGH
from training.registry.tables import LedgerEntry

MOST_MEMBERS, MOST_PLACES, MOST_CHANGES = 12, 100, 60
"""What is drawn and listed at most, so that a page of years is no longer than one of months."""
_LEVELS = ((0.02, "h0"), (0.15, "h1"), (0.35, "h2"), (0.65, "h3"), (math.inf, "h4"))
_MEANT = (("h0", "under 2 %"), ("h1", "under 15 %"), ("h2", "15 to 35 %"), ("h3", "35 to 65 %"), ("h4", "65 % and more"))


@dataclass(frozen=True, slots=True)
class Answering:
    """What answers from a slot on.

    Attributes
    ----------
    members
        By version what the ledger says of each: family, weight, map.
    """

    start_us: int
    members: Mapping[str, Mapping[str, Any]]
    threshold: float | None


def members(known: ModelFacts) -> str:
    """Return the section of the members; nothing where none was ever weighed."""
    states = states_of(known)
    if not known.weighings:
        return ""
    drawn = [some[-1] for some in grouped(states, MOST_PLACES)]
    joined = -(-len(states) // MOST_PLACES)
    note = f'<p class="soft">{len(known.weighings):,} weighings; {joined} neighbours are drawn as one, the last.</p>' if joined > 1 else ""
    parts = [note, _weights(known, drawn), _maps(known, drawn), _threshold(known, drawn), _now(states[-1]), _changes(known)]
    return section("members", "Members", *parts)


def states_of(known: ModelFacts) -> list[Answering]:
    """Return what answered from each move on, the earliest first: of growths, and of weighings."""
    out: list[Answering] = []
    for slot_us, line in sorted([*known.weighings, *known.moves], key=lambda one: one[1].seq):
        listed = line.evidence.get("members")
        if line.action not in (REWEIGH, PROMOTE) or not isinstance(listed, list):
            continue
        threshold = line.evidence.get("threshold")
        before = out[-1].threshold if out else None
        after = threshold.get("after") if isinstance(threshold, Mapping) else before
        out.append(Answering(slot_us, {str(one["version"]): one for one in listed}, after))
    return out


def _weights(known: ModelFacts, drawn: Sequence[Answering]) -> str:
    """Draw the weight of each member where there is more than one."""
    seen = {version: one for state in drawn for version, one in state.members.items()}
    if len(seen) < 2:
        return ""
    sums = {version: sum(_weight(state.members.get(version)) for state in drawn) for version in seen}
    ordered = sorted(seen, key=lambda version: (version not in drawn[-1].members, -sums[version], version))[:MOST_MEMBERS]
    ends = [*(state.start_us for state in drawn[1:]), max(known.end_us, drawn[-1].start_us + 1)]
    strips = [
        Strip(
            f"{seen[version].get('family', '')} {short(version)}",
            [
                Cell(state.start_us, end, _level(_weight(one)), f"{_weight(one):.0%}, {_map(one)}")
                for state, end in zip(drawn, ends, strict=True)
                if (one := state.members.get(version)) is not None
            ],
        )
        for version in ordered
    ]
    more = f" {len(seen) - len(ordered):,} more that are gone weighed less." if len(seen) > len(ordered) else ""
    heaviest = max(drawn[-1].members, key=lambda version: _weight(drawn[-1].members[version]))
    sentence = f"{len(drawn[-1].members)} answer now; the heaviest is {short(heaviest)}, {_weight(drawn[-1].members[heaviest]):.0%}.{more}"
    return heat_strip(Caption("Weight of each member", sentence), strips, axis_of(known)) + key(_MEANT)


def _maps(known: ModelFacts, drawn: Sequence[Answering]) -> str:
    """Draw the map by which answers are moved: of several members the mean by weight."""
    parts = []
    for place, (name, nothing) in enumerate((("slope", 1.0), ("intercept", 0.0))):
        points = [Point(state.start_us, _mean(state, place, nothing)) for state in drawn]
        if all(point.y == nothing for point in points):
            continue
        points.append(Point(max(known.end_us, points[-1].x + 1), points[-1].y))
        caption = Caption(
            f"Map of the answers: {name}", f"{number(points[-1].y)} now, by weight; {number(nothing)} (dashed) changes nothing."
        )
        level = [(points[0].x, nothing, points[-1].x, nothing)]
        parts.append(steps(caption, points, axis_of(known), Axis(name), Behind([], level, moved(known))))
    return "".join(parts)


def _threshold(known: ModelFacts, drawn: Sequence[Answering]) -> str:
    """Draw the threshold where one was ever chosen."""
    points = [Point(state.start_us, real(state.threshold)) for state in drawn]
    if not any(math.isfinite(point.y) for point in points):
        return ""
    points.append(Point(max(known.end_us, points[-1].x + 1), points[-1].y))
    caption = Caption("Threshold", f"The positive class is answered from {number(points[-1].y)} on, now.")
    return steps(caption, points, axis_of(known), Axis("threshold", 0.0, 1.0), Behind([], [], moved(known)))


def _now(state: Answering) -> str:
    """List who answers now, the heaviest first."""
    ordered = sorted(state.members.items(), key=lambda one: -_weight(one[1]))
    rows = [(short(version), str(one.get("family", "")), f"{_weight(one):.1%}", _map(one)) for version, one in ordered]
    return Table(("member", "family", "weight", "map"), rows, frozenset({2})).html()


def _changes(known: ModelFacts) -> str:
    """List who came, left and was left out, the newest first."""
    rows = [row for one in sorted([*known.weighings, *known.moves], key=lambda one: one[1].seq) for row in _change(*one)]
    if not rows:
        return ""
    newest = rows[: -MOST_CHANGES - 1 : -1]
    older = f'<p class="soft">{len(rows) - len(newest):,} earlier ones are in the ledger.</p>' if len(rows) > len(newest) else ""
    return Table(("model time", "member", "what", "why"), newest, wide=frozenset({3})).html() + older


def _change(slot_us: int, line: LedgerEntry) -> list[tuple[str, str, str, str]]:
    """Return who came and went by a move."""
    at, evidence, out = moment(slot_us), line.evidence, []
    if line.action == PROMOTE and evidence.get(NEWCOMER):
        out.append((at, short(str(evidence[NEWCOMER])), "came", shortened(line.why, MOST_LETTERS)))
        out += [(at, short(str(one)), "left", "the lightest that others do without") for one in evidence.get("left", ())]
    if line.action == REWEIGH:
        for version in evidence.get("expelled", ()):
            probation = evidence.get("probations", {}).get(version, {})
            why = f"proven to harm: evidence 10^{number(real(probation.get('log10_evidence')))} on {probation.get('rows', 0):,} rows"
            out.append((at, short(str(version)), "left out", f"{why}, 10^{number(real(probation.get('log10_threshold')))} is enough"))
    return out


def _weight(one: Mapping[str, Any] | None) -> float:
    return 0.0 if one is None else float(one.get("weight") or 0.0)


def _map(one: Mapping[str, Any]) -> str:
    point = one.get("map")
    return "no map" if point is None else f"slope {number(point[0])}, intercept {number(point[1])}"


def _mean(state: Answering, place: int, nothing: float) -> float:
    """Return the mean of a number of the maps by weight."""
    weighed = [(_weight(one), nothing if one.get("map") is None else float(one["map"][place])) for one in state.members.values()]
    total = math.fsum(weight for weight, _ in weighed)
    return math.fsum(weight * value for weight, value in weighed) / total if total else nothing


def _level(weight: float) -> str:
    return next(kind for bound, kind in _LEVELS if weight < bound)
