"""What happened over time: the live score, the verdicts and moves, and the evidence for drift with its episodes (pure)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from monitoring.judging.estimating.bands import Estimate
from monitoring.judging.estimating.estimated import MUCH_OUTSIDE, Estimated, sentence
from monitoring.judging.performance.own_score import OwnScore
from monitoring.report.model_facts import SEVERITY, Judged, ModelFacts
from monitoring.report.standing import MOST_LETTERS, better, real, score_of, short
from training.artifacts.manifest import generation_of
from training.drawing.axes import moment, number
from training.drawing.lines import Behind, Point, Stretch, line_with_band, steps
from training.drawing.page import Caption, Table, section, shortened, text
from training.drawing.strips import Cell, Strip, heat_strip, key
from training.drawing.svg import Axis, grouped

MOST_STRIPS, MOST_VERDICTS = 15, 60
DAY_US = 86_400_000_000
NOTHING_ESTIMATED = Estimated().to_dict()
SIGNS = {"keep": "", "watch": "◑", "retrain": "↻", "blind": "?", "quarantine": "▨", "roll_back": "▼"}
WORDS = {
    "keep": "kept",
    "watch": "watched",
    "retrain": "retrained",
    "blind": "blind",
    "quarantine": "data fault",
    "roll_back": "rolled back",
}
MOVES = {
    "promote": ("keep", "▲", "promoted"),
    "refuse": ("h1", "○", "refused"),
    "rollback": ("roll_back", "▼", "taken back"),
    "failed": ("roll_back", "✕", "failed"),
}
_LEVELS = ((0.5, "h0"), (1.0, "h1"), (2.0, "h2"), (4.0, "h3"), (math.inf, "h4"))
_OUTPUTS = {"@score": "the score", "@label": "the answer", "@confidence": "the confidence", "@missing": "missing values a row",
            "@residual": "what features say of one another", "@distance": "distance from the middle"}  # fmt: skip


def column_name(key_or_name: str) -> str:
    """Return what people call a column that is watched.

    Examples
    --------
    >>> column_name("@score where district=hill"), column_name("@product:a*b"), column_name("wind")
    ('the score where district=hill', 'a*b', 'wind')
    """
    name, where, segment = key_or_name.partition(" where ")
    return _OUTPUTS.get(name, name.removeprefix("@product:")) + where + segment


def axis_of(known: ModelFacts) -> Axis:
    """Return the axis of model time that all drawings share."""
    return Axis(
        "model time", known.start_us, max(known.end_us, known.start_us + 1, *[one.end_us for one in known.judged[-1:]]), is_time=True
    )


def history(known: ModelFacts) -> str:
    """Return the section of what happened."""
    if not known.judged:
        return section("history", "What happened", "<p>No slot was judged yet: there is nothing to show over time.</p>")
    joined = max(one.slots for one in known.judged)
    note = f'<p class="soft">{len(known.looks):,} looks; {joined} neighbours are drawn as one, the worst.</p>' if joined > 1 else ""
    return section(
        "history",
        "What happened",
        note,
        _score(known),
        _own(known),
        _estimated(known),
        _verdicts(known),
        _rows(known),
        _latest(known.judged),
    )


def drift(known: ModelFacts) -> str:
    """Return the section of the evidence for drift."""
    if not known.judged:
        return ""
    return section("drift", "Drift", _evidence(known), _columns(known), _episodes(known))


def faults_of(known: ModelFacts) -> list[Stretch]:
    """Return what was set aside, as the background of a drawing."""
    return [
        Stretch(max(q.start_us, known.start_us), q.end_us, "fault", shortened(q.reason, MOST_LETTERS))
        for q in known.quarantines
        if q.end_us > known.start_us
    ]


def moved(known: ModelFacts) -> list[tuple[float, str, str]]:
    """Return when another version began to answer."""
    colours = {"promote": "good", "rollback": "bad"}
    return [
        (slot_us, colours[line.action], f"{MOVES[line.action][2]} {short(line.version)}: {shortened(line.why, 200)}")
        for slot_us, line in known.moves
        if line.action in colours and line.previous is not None
    ]


def _score(known: ModelFacts) -> str:
    points: list[Point] = []
    dashed: list[tuple[float, float, float, float]] = []
    champion, metric, last = None, known.spec.metric, ""
    for one in known.judged:
        score, tested = score_of(one.evidence), one.evidence.get("performance")
        if points and (one.record.verdict == "blind" or generation_of(one.evidence.get("champion", "")) != champion):
            points.append(Point(one.start_us, math.nan))
        champion = generation_of(one.evidence.get("champion", ""))
        if score is None:
            continue
        metric = score["metric"]
        is_worse = tested is not None and tested["is_degraded"]
        note = f"{score['n']:,} rows, {score['coverage']:.0%} labelled, {short(champion)}{', worse than the baseline' if is_worse else ''}"
        points.append(
            Point(one.record.slot_us, real(score["value"]), real(score["low"]), real(score["high"]), note, "bad" if is_worse else "")
        )
        last = f"{number(score['value'], 4)} [{number(score['low'], 4)}, {number(score['high'], 4)}] on {score['n']:,} labelled rows"
        if tested is not None:
            last += f", held against {number(tested['baseline']['value'], 4)} ({tested['source']}; dashed)"
            level = real(tested["baseline"]["value"])
            dashed.append((one.start_us, level, one.end_us, level))
    points = [p for place, p in enumerate(points) if not (math.isnan(p.y) and place and math.isnan(points[place - 1].y))]
    if not last:
        return "<p>No verdict on the live score: no labels were there to judge by in this stretch.</p>"
    caption = Caption(f"Live {metric}, {better(metric)}", f"{last}. The band is the 95 % interval of each look.")
    behind = Behind(faults_of(known), dashed, moved(known))
    legend = key([("span fault", "set aside as broken"), ("roll_back", "worse than the baseline")])
    return line_with_band(caption, points, axis_of(known), Axis(metric), behind) + legend


def _own(known: ModelFacts) -> str:
    """Draw what each look knew of the user's own metric; where the last knew nothing, say why."""
    points: list[Point] = []
    newest: OwnScore | None = None
    for one in known.judged:
        stored = one.evidence.get("own_metric")
        newest = newest if stored is None else OwnScore.from_dict(stored)
        live = None if stored is None or newest is None else newest.live
        if live is not None:
            note = f"{live.n:,} rows, {live.coverage:.0%} labelled, {short(one.evidence.get('champion'))}"
            points.append(Point(one.record.slot_us, live.value, live.low, live.high, note))
        elif points and math.isfinite(points[-1].y):
            points.append(Point(one.start_us, math.nan))
    if newest is None:
        return ""
    words = newest.sentence()
    if not points:
        return f"<p>{text(words[0].upper() + words[1:])}.</p>"
    caption = Caption(f"Live {newest.metric}, lower is better", f"{words[0].upper()}{words[1:]}, as of the last look; it triggers nothing.")
    behind = Behind(faults_of(known), [], moved(known))
    return line_with_band(caption, points, axis_of(known), Axis(newest.metric), behind)


def _estimated(known: ModelFacts) -> str:
    """Draw what each look estimated of its window without labels; where it could not, say why."""
    points: list[Point] = []
    last: Estimate | None = None
    for one in known.judged:
        estimated = Estimated.from_dict(one.evidence.get("estimated") or NOTHING_ESTIMATED)
        line = next(iter(estimated.lines), None)
        if line is None:
            points += [Point(one.start_us, math.nan)] if points and math.isfinite(points[-1].y) else []
            continue
        last = line
        points.append(Point(one.record.slot_us, line.value, line.low, line.high, f"{line.n:,} rows, {short(one.evidence.get('champion'))}"))
    newest = Estimated.from_dict((known.judged[-1].evidence.get("estimated") if known.judged else None) or NOTHING_ESTIMATED)
    if last is None:
        return "".join(f"<p>Without labels: {text(why)}.</p>" for why in newest.missing)
    what = f"{number(last.value, 4)} [{number(last.low, 4)}, {number(last.high, 4)}] for {last.n:,} rows at the last look that has one"
    beyond = f" {last.outside:.0%} of them lie beyond all that was learned from." if last.outside >= MUCH_OUTSIDE else ""
    caption = Caption(
        f"Estimated {last.metric} without labels ({last.method}), {better(last.metric)}", f"{what}; it {last.assumption}.{beyond}"
    )
    joined = next((line for line in newest.lines if line.labels), None)
    notes = [*newest.missing, *([] if joined is None else [sentence(joined)])]
    behind = Behind(faults_of(known), [], moved(known))
    return line_with_band(caption, points, axis_of(known), Axis(last.metric), behind) + "".join(f"<p>{text(one)}.</p>" for one in notes)


def _verdicts(known: ModelFacts) -> str:
    counts = Counter(look.verdict for look in known.looks)
    cells = [
        Cell(
            one.start_us,
            one.end_us,
            one.record.verdict if one.record.verdict in SEVERITY else "h0",
            _sentence(one),
            SIGNS.get(one.record.verdict, ""),
        )
        for one in known.judged
    ]
    strips = [Strip("verdict of each look", cells), Strip("what was done", _done(known))]
    counted = ", ".join(f"{counts[verdict]:,} {WORDS[verdict]}" for verdict in SEVERITY if counts[verdict])
    done = Counter(line.action for _, line in known.moves)
    acts = ", ".join(f"{done[action]:,} {words[2]}" for action, words in MOVES.items() if done[action])
    caption = Caption("Verdicts and moves", f"{len(known.looks):,} looks: {counted}. Versions: {acts or 'none moved'}.")
    entries = [(verdict, f"{SIGNS[verdict]} {WORDS[verdict]}") for verdict in SEVERITY if counts[verdict]]
    entries += [(kind, f"{sign} {word}") for action, (kind, sign, word) in MOVES.items() if done[action]]
    return heat_strip(caption, strips, axis_of(known)) + key(entries)


def _sentence(one: Judged) -> str:
    more = f" (the worst of {one.slots})" if one.slots > 1 else ""
    return f"{WORDS.get(one.record.verdict, one.record.verdict)}{more}"


def _done(known: ModelFacts) -> list[Cell]:
    cells = []
    for one in known.judged:
        here = [line for slot_us, line in known.moves if one.start_us <= slot_us < one.end_us and line.action in MOVES]
        if here:
            line = max(here, key=lambda line: list(MOVES).index(line.action) if line.action != "refuse" else -1)
            kind, sign, word = MOVES[line.action]
            by_hand = "" if line.who == "monitor" else f" by {line.who}"
            cells.append(Cell(one.start_us, one.end_us, kind, f"{word} {short(line.version)}{by_hand}", sign))
    return cells


def _rows(known: ModelFacts) -> str:
    days = known.rows
    if not days:
        return ""
    groups = grouped([(day, days.get(day, 0)) for day in range(min(days), max(days) + 1, DAY_US)], 180)
    points = [Point(some[0][0], sum(rows for _, rows in some) / len(some)) for some in groups]
    points.append(Point(max(days) + DAY_US, points[-1].y))
    shown = "a day" if len(groups[0]) == 1 else f"a day, means of {len(groups[0])} days"
    least, most = min(p.y for p in points), max(p.y for p in points)
    caption = Caption("Rows", f"{sum(days.values()):,} rows; {number(least)} to {number(most)} {shown}.")
    return steps(caption, points, axis_of(known), Axis("rows a day", low=0.0), Behind(faults_of(known)))


def _latest(judged: Sequence[Judged]) -> str:
    rows = [
        (
            moment(one.record.slot_us),
            WORDS.get(one.record.verdict, one.record.verdict),
            shortened("; ".join(one.record.reasons), MOST_LETTERS),
        )
        for one in judged[: -MOST_VERDICTS - 1 : -1]
    ]
    table = Table(("slot", "verdict", "why"), rows, wide=frozenset({2}))
    return f"<details><summary>why, of the last {len(rows)} looks</summary>{table.html()}</details>"


def _evidence(known: ModelFacts) -> str:
    points = [
        Point(one.record.slot_us, real(one.evidence["drift"].get("log10_evidence")))
        for one in known.judged
        if one.evidence.get("drift", {}).get("rule") == "sequential"
    ]
    if not any(math.isfinite(p.y) for p in points):
        note = next((one.evidence["drift"].get("note") for one in reversed(known.judged) if one.evidence.get("drift", {}).get("note")), "")
        return f"<p>No evidence is added up over time{': ' + text(shortened(note, MOST_LETTERS)) if note else ''}.</p>"
    levels = [
        (one.start_us, real(one.evidence["drift"].get("log10_threshold")), one.end_us, real(one.evidence["drift"].get("log10_threshold")))
        for one in known.judged
    ]
    last = next(p.y for p in reversed(points) if math.isfinite(p.y))
    level = next((level for _, level, _, _ in reversed(levels) if math.isfinite(level)), math.nan)
    most = 2.5 * level if math.isfinite(level) else None
    is_cut = most is not None and any(p.y > most for p in points)
    caption = Caption(
        "Evidence that something moved",
        f"10^{number(last)} at the last look; an episode opens at 10^{number(level)} (dashed). Shaded: episodes, from when they began."
        + (" What is beyond the top is drawn at it." if is_cut else ""),
    )
    behind = Behind(_episode_stretches(known), levels, moved(known))
    return steps(caption, points, axis_of(known), Axis("evidence, 10^", low=0.0, high=most), behind)


def _episode_stretches(known: ModelFacts) -> list[Stretch]:
    return [
        Stretch(
            max(e.since_us, known.start_us),
            known.end_us if e.ended_us is None else e.ended_us,
            "episode",
            f"episode {e.number}: {', '.join(e.names)}",
        )
        for e in known.episodes
    ]


def _columns(known: ModelFacts) -> str:
    seen: dict[str, list[Cell]] = {}
    farthest: dict[str, float] = {}
    for one in known.judged:
        for column in one.evidence.get("drift", {}).get("columns", []):
            ratio = _multiple(column)
            name = column["column"]
            level = next(kind for bound, kind in _LEVELS if ratio < bound or bound == math.inf)
            cell = Cell(one.start_us, one.end_us, level, number(real(column["psi"])), is_outlined=bool(column.get("is_drifting")))
            seen.setdefault(name, []).append(cell)
            farthest[name] = max(farthest.get(name, 0.0), ratio + (100.0 if column.get("is_drifting") else 0.0))
    if not seen:
        return ""
    ordered = sorted(seen, key=lambda name: (-farthest[name], name))
    drawn = [name for name in ordered if farthest[name] >= 0.5][:MOST_STRIPS] or ordered[:3]
    strips = [Strip(column_name(name), seen[name]) for name in drawn]
    more = f" {len(ordered) - len(drawn):,} more columns moved less." if len(ordered) > len(drawn) else ""
    caption = Caption(
        "Distance of each column", f"Population stability index as a multiple of what is material; outlined: in an episode.{more}"
    )
    names = [("h0", "under half"), ("h1", "under 1"), ("h2", "1 to 2"), ("h3", "2 to 4"), ("h4", "4 times and more")]
    return heat_strip(caption, strips, axis_of(known)) + key(names)


def _multiple(column: Mapping[str, Any]) -> float:
    psi, floor = real(column.get("psi")), real(column.get("floor"))
    return max(psi / floor, 0.0) if math.isfinite(psi) and floor > 0 else 0.0


def _episodes(known: ModelFacts) -> str:
    if not known.episodes:
        return "<p>No drift episode in this stretch.</p>"
    rows = []
    for e in known.episodes:
        columns = ", ".join(f"{column_name(c.column)} (PSI {c.psi:.2f})" for c in e.columns[:10]) + (
            f" and {len(e.columns) - 10} more" if len(e.columns) > 10 else ""
        )
        ended = "open" if e.ended_us is None else moment(e.ended_us)
        rows.append((f"{e.number}", columns, moment(e.since_us), moment(e.opened_us), ended, shortened(e.why_ended or "", MOST_LETTERS)))
    return Table(("episode", "columns", "since about", "opened", "ended", "why it ended"), rows, wide=frozenset({1, 5})).html()
