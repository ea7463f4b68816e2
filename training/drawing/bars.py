"""Two samples in the same bins, and named values with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.drawing.axes import Scale, number, spread
from training.drawing.page import Caption, Table, figure, shortened, text
from training.drawing.svg import (
    BOTTOM,
    LETTER,
    RIGHT,
    SMALL,
    TIMELINE,
    TOP,
    Axis,
    bounds_of,
    digits,
    letters,
    line,
    path,
    svg,
    word,
    written_bounds,
    x_axis,
    y_axis,
)

_LEAST_NAME = 30.0  # pixels that a name wants
_TINY = 1e-300  # the edge above 0 of a column with many zeros


@dataclass(frozen=True, slots=True)
class Bin:
    """The shares of two samples in one bin; `sign` stands below it where its name is too long to."""

    name: str
    before: float
    now: float
    sign: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """A named value with its bounds."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    note: str = ""


def histogram_pair(
    caption: Caption, bins: Sequence[Bin], edges: Sequence[float] = (), sides: tuple[str, ...] = ("reference", "now")
) -> str:
    """Draw the shares of two samples: the first filled, the second as an outline.

    Parameters
    ----------
    edges
        Where the first bins begin and end, for a column of numbers; the other bins have their names below them.
    sides
        What the samples are called; of one name only the first is drawn.
    """
    rows = [(one.name, *(_percent(share) for share in (one.before, one.now)[: len(sides)])) for one in bins]
    drawings = (_histogram(caption, bins, edges, len(sides), *each) for each in SMALL.widths)
    return figure(caption, drawings, Table(("bin", *sides), rows, frozenset({1, 2})))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %" if math.isfinite(share) else "–"


def intervals(caption: Caption, rows: Sequence[Interval], x: Axis, reference: float | None = None) -> str:
    """Draw values with their bounds, one under the other; `reference` is a dashed line through all."""
    table = [(r.name, x.written(r.value), written_bounds(r.low, r.high, x), r.note) for r in rows]
    drawings = (_intervals(caption, rows, x, reference, width) for width, _ in TIMELINE.widths)
    return figure(caption, drawings, Table(("", x.name or "value", "interval", ""), table, frozenset({1, 2})))


def _histogram(caption: Caption, bins: Sequence[Bin], edges: Sequence[float], sides: int, width: int, left: float) -> str:
    height = SMALL.height
    up = Scale(0.0, spread([v for b in bins for v in (b.before, b.now)], least=0.0)[1], height - BOTTOM, TOP)
    parts = y_axis(Axis(), up, width, left, percent=True)
    slot = (width - RIGHT - left) / max(len(bins), 1)
    outline: list[tuple[float, float]] = []
    for place, one in enumerate(bins):
        start, foot = left + place * slot, height - BOTTOM
        before, now = (up.place(v) if math.isfinite(v) else foot for v in (one.before, one.now))
        size = f'x="{digits(start + 1)}" y="{digits(before)}" width="{digits(max(slot - 2, 0.5))}" height="{digits(foot - before)}"'
        shares = " → ".join(f"{100 * v:.1f} %" if math.isfinite(v) else "–" for v in (one.before, one.now))
        parts.append(f'<rect class="before" {size}><title>{text(one.name)}: {shares}</title></rect>')
        outline += [(start, now), (start + slot, now)]
    if outline and sides > 1:
        ends = [(outline[0][0], height - BOTTOM), *outline, (outline[-1][0], height - BOTTOM)]
        parts += [path("nowfill", ends, is_closed=True), path("now", ends)]
    return svg(caption, width, height, [*parts, *_slot_names(bins, edges, width, left, height)])


def _slot_names(bins: Sequence[Bin], edges: Sequence[float], width: int, left: float, height: float) -> list[str]:
    """Return the names that there is room for: of bins without edges first, then edges from the left."""
    slot = (width - RIGHT - left) / max(len(bins), 1)
    inner = max(len(edges) - 1, 0)
    every = 1 if edges else max(1, math.ceil(_LEAST_NAME / slot))
    room = max(3, int((every * slot - 7) / LETTER))
    places = [
        (left + (i + 0.5) * slot, one.sign if one.sign and len(one.name) > room else shortened(one.name, room))
        for i, one in enumerate(bins)
        if i >= inner and ((i - inner) % every == 0 or one.sign)
    ]
    places = [
        *sorted(places, key=lambda each: len(each[1]) > 1),
        *((left + i * slot, number(edge if abs(edge) > _TINY else 0.0)) for i, edge in enumerate(edges)),
    ]
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for at, name in places:
        start, end = at - letters(name) / 2 - 3, at + letters(name) / 2 + 3
        if all(end <= other_start or start >= other_end for other_start, other_end in taken):
            parts.append(word(at, height - 8, name, width))
            taken.append((start, end))
    return parts


def _intervals(caption: Caption, rows: Sequence[Interval], x: Axis, reference: float | None, width: int) -> str:
    is_wide = width > 500
    left, right, row = (240.0, 190.0, 26.0) if is_wide else (10.0, 12.0, 44.0)
    known = [v for r in rows for v in (r.value, r.low, r.high)] + ([] if reference is None else [reference])
    across = Scale(*bounds_of(x, known), left, width - right)
    height = TOP + row * len(rows) + BOTTOM
    parts = list(x_axis(x, across, width, height))
    if reference is not None and math.isfinite(reference):
        parts.append(line("base", across.place(reference), TOP, across.place(reference), height - BOTTOM))
    for place, one in enumerate(rows):
        middle = TOP + row * (place + (0.5 if is_wide else 0.72))
        bounds = f" [{number(one.low)}, {number(one.high)}]" if math.isfinite(one.low) and math.isfinite(one.high) else ""
        numbers = number(one.value) + bounds
        if is_wide:
            parts.append(word(left - 12, middle + 4, shortened(one.name, int((left - 16) / LETTER)), width, "end", "name"))
            parts.append(word(width - right + 12, middle + 4, shortened(numbers, int((right - 16) / LETTER)), width, "start"))
        else:
            parts.append(word(left, middle - 13, shortened(one.name, 25), width, "start", "name"))
            parts.append(word(width - right, middle - 13, shortened(numbers, 25), width, "end"))
        if math.isfinite(one.low) and math.isfinite(one.high):
            parts.append(line("bar", across.place(one.low), middle, across.place(one.high), middle))
        if math.isfinite(one.value):
            parts.append(f'<circle class="dot" cx="{digits(across.place(one.value))}" cy="{digits(middle)}" r="4"/>')
    return svg(caption, width, height, parts)
