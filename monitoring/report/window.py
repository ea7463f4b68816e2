"""The last window against its reference: each column's distribution, and the segments (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.report.history import column_name
from monitoring.report.model_facts import Counted, ModelFacts
from monitoring.report.standing import better, real
from training.drawing.axes import moment, number
from training.drawing.bars import Bin, Interval, histogram_pair, intervals
from training.drawing.page import Caption, Table, section, shortened, text
from training.drawing.strips import key
from training.drawing.svg import Axis
from training.profiles.bins import ColumnBins
from training.profiles.measures import ALL

MOST_DRAWN, MOST_BINS, MOST_LISTED = 24, 12, 300
_SIGNS = {"(below)": "<", "(above)": ">", "(missing)": "∅", "(other)": "+"}


def distributions(known: ModelFacts) -> str:
    """Return the section of the columns' distributions: those that moved farthest drawn, the others listed."""
    title = "Distributions, now and before"
    counted = known.counted
    if counted is None:
        return section("distributions", title, "<p>No rows are counted under the bins of a reference yet.</p>")
    before, now = counted.reference[ALL], counted.window[ALL]
    measured = _measured(known)
    columns = [bins for bins in counted.measures.bins.columns if bins.name in counted.measures.watched and bins.name in now.counts]
    columns.sort(key=lambda bins: (-_distance(measured.get(bins.name)), bins.name))
    sentence = (
        f"Filled: {before.rows:,} rows of the reference ({counted.why}). Outline: {now.rows:,} rows of the last window, "
        f"{moment(counted.start_us)} to {moment(counted.end_us)}. The farthest from the reference come first."
    )
    drawn = "".join(
        _pair(bins, before.counts.get(bins.name), now.counts[bins.name], measured.get(bins.name)) for bins in columns[:MOST_DRAWN]
    )
    parts = [f"<p>{text(sentence)}</p>", f'<div class="small">{drawn}</div>', key([("before", "reference"), ("nowfill", "now")])]
    if len(columns) > MOST_DRAWN:
        rest = columns[MOST_DRAWN : MOST_DRAWN + MOST_LISTED]
        rows = [(column_name(bins.name), *_listed(measured.get(bins.name)), _share(now.counts[bins.name])) for bins in rest]
        table = Table(("column", "PSI", "material from", "missing now"), rows, frozenset({1, 2, 3}))
        left = len(columns) - MOST_DRAWN - len(rest)
        more = f", {left:,} more are left out" if left else ""
        parts.append(f"<details><summary>{len(rest):,} columns that are nearer{more}</summary>{table.html()}</details>")
    return section("distributions", title, *parts)


def segments(known: ModelFacts) -> str:
    """Return the section of the segments: their share of the rows, what moved in them, and how good the champion is in each."""
    parts = [_shares(known, known.counted)] if known.counted is not None and len(known.counted.measures.keys) > 1 else []
    parts += _live(known)
    tested = (known.tested or {}).get("metrics", {})
    for feature, by_value in tested.get("segments", {}).items():
        rows = [_scored(value, scores[known.spec.metric]) for value, scores in by_value.items() if known.spec.metric in scores]
        overall = real(tested.get("overall", {}).get(known.spec.metric, {}).get("value"))
        if rows:
            worst = (min if better(known.spec.metric).startswith("higher") else max)(rows, key=lambda row: row.value)
            sentence = (
                f"On its held-out rows, {better(known.spec.metric)}; {number(overall, 4)} over all (dashed). "
                f"Weakest: {worst.name}, {number(worst.value, 4)}."
            )
            caption = Caption(f"The champion's {known.spec.metric} by {feature}", sentence)
            parts.append(intervals(caption, rows, Axis(known.spec.metric), overall))
    if not parts:
        return section("segments", "Segments", "<p>The model file names no segments.</p>")
    return section("segments", "Segments", *parts)


def _live(known: ModelFacts) -> list[str]:
    """Draw each metric that the last look has of live rows, by segment."""
    by_metric: dict[str, dict[str, Interval]] = {}
    weighted: dict[str, str] = {}
    for one in [] if known.last is None else known.last.evidence.get("live", []):
        if "weighted" in one:
            weighted[one["metric"]] = f"{weighted.get(one['metric'], '')} {one['segment'] or 'All rows'}: {one['weighted']}."
        by_metric.setdefault(one["metric"], {})[one["segment"]] = _scored(one["segment"] or "all rows", one)
    drawings = []
    for metric, scores in by_metric.items():
        whole = scores.get(ALL)
        over_all = "" if whole is None else f", {number(whole.value, 4)} over all (dashed)"
        caption = Caption(
            f"Live {metric} by segment", f"Of the newest labelled rows as of the last look{over_all}.{weighted.get(metric, '')}"
        )
        drawings += [intervals(caption, list(scores.values()), Axis(metric), None if whole is None else whole.value)]
    return drawings


def _scored(name: str, score: Mapping[str, Any]) -> Interval:
    return Interval(name, real(score["value"]), real(score["low"]), real(score["high"]), f"{score['n']:,} rows")


def _shares(known: ModelFacts, counted: Counted) -> str:
    measured = _measured(known)
    rows = []
    for segment in counted.measures.keys:
        before, now = counted.reference.get(segment), counted.window.get(segment)
        if segment == ALL or (before is None and now is None):
            continue
        old = math.nan if before is None else before.rows / max(counted.reference[ALL].rows, 1)
        new = (0 if now is None else now.rows) / max(counted.window[ALL].rows, 1)
        ending = f" where {segment}"
        own = [one for name, one in measured.items() if name.endswith(ending)]
        farthest = max(own, key=_distance, default=None)
        moved = "–" if farthest is None else f"{column_name(farthest['column'].removesuffix(ending))} (PSI {real(farthest['psi']):.2f})"
        rows.append((segment, f"{old:.1%}" if math.isfinite(old) else "–", f"{new:.1%}", moved))
    return Table(("segment", "rows of the reference", "rows now", "moved farthest in it"), rows, frozenset({1, 2})).html()


def _measured(known: ModelFacts) -> dict[str, Mapping[str, Any]]:
    """Return what the last look measured of each column."""
    last = known.last
    return {} if last is None else {one["column"]: one for one in last.evidence.get("drift", {}).get("columns", [])}


def _distance(measured: Mapping[str, Any] | None) -> float:
    if measured is None:
        return -1.0
    psi, floor = real(measured.get("psi")), real(measured.get("floor"))
    far = psi / floor if math.isfinite(psi) and floor > 0 else 0.0
    return far + (1e6 if measured.get("is_drifting") else 0.0)


def _listed(measured: Mapping[str, Any] | None) -> tuple[str, str]:
    return ("–", "–") if measured is None else (f"{max(real(measured.get('psi')), 0.0):.3f}", number(real(measured.get("floor"))))


def _share(counts: npt.NDArray[np.int64]) -> str:
    return f"{counts[-1] / max(int(counts.sum()), 1):.1%}"


def _pair(bins: ColumnBins, before: npt.NDArray[np.int64] | None, now: npt.NDArray[np.int64], measured: Mapping[str, Any] | None) -> str:
    """Draw one column: what is empty on both sides is left out, categories beyond the commonest are joined."""
    old = np.zeros(len(now)) if before is None else before / max(int(before.sum()), 1)
    new = now / max(int(now.sum()), 1)
    shown = [
        Bin(shortened(name, 60), float(a), float(b), _SIGNS.get(name, ""))
        for name, a, b in zip(bins.names, old.tolist(), new.tolist(), strict=True)
    ]
    edges: list[float] = []
    if bins.kind == "numeric":
        inner = max(len(bins.edges) - 1, 0)
        edges = list(bins.edges) if inner else []
        below, above, missing = shown[inner:]
        special = [one for one in (below, above, missing) if one.before > 0 or one.now > 0]
        shown = [*shown[:inner], *special]
    else:
        *categories, other, missing = shown
        categories.sort(key=lambda one: -max(one.before, one.now))
        rest = categories[MOST_BINS:]
        if rest:
            joined = Bin(f"({len(rest)} more)", sum(one.before for one in rest), sum(one.now for one in rest), "…")
            categories = [*categories[:MOST_BINS], joined]
        shown = [*categories, *(one for one in (other, missing) if one.before > 0 or one.now > 0)]
    return histogram_pair(Caption(shortened(column_name(bins.name), 120), _sentence(measured)), shown, edges)


def _sentence(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return "not measured at the last look."
    since = measured.get("since")
    known = f", since about {since[:10]}" if since and measured.get("is_drifting") else ""
    state = "in an open episode" if measured.get("is_drifting") else "calm"
    psi, floor = real(measured.get("psi")), number(real(measured.get("floor")))
    return f"{f'PSI {psi:.3f}' if psi > 0 else 'no farther than chance takes it'}, material from {floor}; {state}{known}."
