"""A line through points with the band of their intervals, and values that hold until the next one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from training.drawing.axes import Scale
from training.drawing.page import Caption, Table, figure, text
from training.drawing.svg import (
    BOTTOM,
    MOST_POSITIONS,
    RIGHT,
    TIMELINE,
    TOP,
    Axis,
    Size,
    bounds_of,
    digits,
    line,
    path,
    svg,
    written_bounds,
    x_axis,
    y_axis,
)


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a place, with its interval; `note` stands in the table, `kind` is a class of the style such as ``bad``."""

    x: float
    y: float
    low: float = math.nan
    high: float = math.nan
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the horizontal axis in the background."""

    start: float
    end: float
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind a line: stretches, dashed lines from (x, y) to (x, y), and upright ones with a kind and a name."""

    stretches: Sequence[Stretch] = ()
    dashed: Sequence[tuple[float, float, float, float]] = ()
    upright: Sequence[tuple[float, str, str]] = ()


def line_with_band(caption: Caption, points: Sequence[Point], x: Axis, y: Axis, behind: Behind = Behind(), size: Size = TIMELINE) -> str:
    """Draw a line through points, and the band of their intervals; where a value is missing both are interrupted."""
    return _curve(caption, points, (x, y), behind, size, is_stepped=False)


def steps(caption: Caption, points: Sequence[Point], x: Axis, y: Axis, behind: Behind = Behind(), size: Size = TIMELINE) -> str:
    """Draw values that hold until the next one."""
    return _curve(caption, points, (x, y), behind, size, is_stepped=True)


def _curve(caption: Caption, points: Sequence[Point], axes: tuple[Axis, Axis], behind: Behind, size: Size, *, is_stepped: bool) -> str:
    x, y = axes
    has_bounds, has_notes = any(math.isfinite(p.low) for p in points), any(p.note for p in points)
    rows = [
        (x.written(p.x), y.written(p.y), *([written_bounds(p.low, p.high, y)] if has_bounds else []), *([p.note] if has_notes else []))
        for p in points
    ]
    headings = (x.name or "time", y.name or "value", *(["interval"] if has_bounds else []), *([""] if has_notes else []))
    table = Table(headings, rows, frozenset({1, 2}) if has_bounds else frozenset({1}))
    known_x = [p.x for p in points] + [end for one in behind.dashed for end in (one[0], one[2])]
    known_y = [v for p in points for v in (p.y, p.low, p.high)] + [end for one in behind.dashed for end in (one[1], one[3])]
    bounds = (bounds_of(x, known_x), bounds_of(y, known_y))
    curve = _Curve(caption, points, axes, bounds, behind, is_stepped)
    return figure(caption, (_one_curve(curve, *each, size.height) for each in size.widths), table)


class _Curve(NamedTuple):
    """What all sizes of one drawing share."""

    caption: Caption
    points: Sequence[Point]
    axes: tuple[Axis, Axis]
    bounds: tuple[tuple[float, float], tuple[float, float]]
    behind: Behind
    is_stepped: bool


def _one_curve(curve: _Curve, width: int, left: float, height: float) -> str:
    caption, points, axes, bounds, behind, is_stepped = curve
    across = Scale(*bounds[0], left, width - RIGHT)
    up = Scale(*bounds[1], height - BOTTOM, TOP)
    parts = [_stretches(behind.stretches, across, TOP, height - BOTTOM)]
    parts += [*y_axis(axes[1], up, width, left), *x_axis(axes[0], across, width, height)]
    parts += [line("base", *(s.place(v) for s, v in zip((across, up, across, up), d, strict=True))) for d in behind.dashed if _all(d)]
    for place, kind, name in behind.upright:
        if math.isfinite(place):
            at = across.place(place)
            parts.append(f"<g><title>{text(name)}</title>{line(f'rule {text(kind)}', at, TOP, at, height - BOTTOM)}</g>")
    for run in _runs(points):
        placed = [(across.place(p.x), up.place(p.y)) for p in run]
        parts += _band(run, across, up, is_stepped)
        parts.append(path("line", _stepped(placed) if is_stepped else placed) if len(run) > 1 else "")
    few = len(points) <= MOST_POSITIONS // 2
    for p in points:
        if math.isfinite(p.x) and math.isfinite(p.y) and (few or p.kind):
            title = f"{axes[0].written(p.x)}: {axes[1].written(p.y)} {p.note}".strip()
            where = f'cx="{digits(across.place(p.x))}" cy="{digits(up.place(p.y))}" r="{4 if p.kind else 2.5}"'
            parts.append(f'<circle class="dot {text(p.kind)}" {where}><title>{text(title)}</title></circle>')
    return svg(caption, width, height, parts)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Return neighbouring points that have a value."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point.x) and math.isfinite(point.y):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _band(run: Sequence[Point], across: Scale, up: Scale, is_stepped: bool) -> list[str]:
    """Return the band of a run, interrupted where a point has no interval; of a point alone an upright bar."""
    parts: list[str] = []
    known: list[Point] = []
    for point in [*run, Point(math.nan, math.nan)]:
        if math.isfinite(point.low) and math.isfinite(point.high):
            known.append(point)
            continue
        if len(known) > 1:
            sides = [[(across.place(p.x), up.place(v)) for p, v in ((p, getattr(p, side)) for p in known)] for side in ("high", "low")]
            upper, lower = (_stepped(side) if is_stepped else side for side in sides)
            parts.append(path("band", [*upper, *lower[::-1]], is_closed=True))
        elif known:
            at = across.place(known[0].x)
            parts.append(line("bar", at, up.place(known[0].low), at, up.place(known[0].high)))
        known = []
    return parts


def _stepped(placed: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    out = [placed[0]]
    for at, height in placed[1:]:
        out += [(at, out[-1][1]), (at, height)]
    return out


def _stretches(stretches: Iterable[Stretch], across: Scale, top: float, foot: float) -> str:
    out = []
    for one in stretches:
        if math.isfinite(one.start) and math.isfinite(one.end):
            start, end = across.place(min(one.start, one.end)), across.place(max(one.start, one.end))
            wide = min(max(end - start, 1.5), across.end - start)
            size = f'x="{digits(start)}" y="{digits(top)}" width="{digits(wide)}" height="{digits(foot - top)}"'
            out.append(f'<rect class="span {text(one.kind)}" {size}><title>{text(one.name)}</title></rect>')
    return "".join(out)


def _all(values: Iterable[float]) -> bool:
    return all(math.isfinite(value) for value in values)
