"""The figures of the sweeps as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.growth.points import SWEEPS
from benchmarks.serving.figures import short
from benchmarks.serving.load import QUIET
from benchmarks.serving.report import SHARE

BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"
TITLES = {
    "rows": "Rows in a request (ms)",
    "features": "Features (ms; MB)",
    "trees": "Trees of a forest (ms; MB)",
    "models": "Models loaded (ms; MB)",
}


def tables(document: dict[str, Any]) -> Iterator[str]:
    """Yield a plot and a table a sweep."""
    points = document["points"]
    noise = [p["foreign"] > QUIET for p in points if "foreign" in p]
    yield f"{document.get('about', '')} Cells kept although others used more than {QUIET} cores: {sum(noise)} of {len(noise)}."
    if sum(noise) > SHARE * len(noise):
        yield "**A trial on a busy machine: the figures prove nothing.**"
    for sweep in SWEEPS:
        if chosen := [p for p in points if p["sweep"] == sweep]:
            yield f"\n### {TITLES[sweep]}\n\n![{TITLES[sweep]}](images/growth-{sweep}.svg)\n"
            yield from _table([p for p in chosen if p["at"]])


def _table(points: list[dict[str, Any]]) -> Iterator[str]:
    places = sorted({p["at"] for p in points})
    values = {(_name(p), p["at"]): p["value"] for p in points}
    yield f"| | {' | '.join(f'{at:,}' for at in places)} |\n|---|{'--:|' * len(places)}"
    for name in dict.fromkeys(_name(p) for p in points):
        cells = (values.get((name, at)) for at in places)
        yield f"| {name} | {' | '.join('' if value is None else short(value) for value in cells)} |"


def _name(point: dict[str, Any]) -> str:
    rows = "" if "rows" not in point or point["sweep"] == "rows" else f", {point['rows']:,} row{'s' * (point['rows'] != 1)}"
    return f"{point['series']}, {point['what']}{rows}"
