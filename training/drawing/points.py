"""Named things at their places between two axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.drawing.axes import Scale
from training.drawing.page import Caption, Table, figure, shortened, text
from training.drawing.svg import (
    BOTTOM,
    RIGHT,
    TIMELINE,
    TOP,
    Axis,
    bounds_of,
    digits,
    letters,
    svg,
    word,
    x_axis,
    y_axis,
)

_HEIGHT = 300.0
_LINE = 14.0  # height of a name
_MOST_LETTERS = 24


@dataclass(frozen=True, slots=True)
class Dot:
    """A thing at its place; `kind` is a class of the style such as ``bad``, `note` stands in the table."""

    name: str
    x: float
    y: float
    kind: str = ""
    note: str = ""


def named_points(caption: Caption, dots: Sequence[Dot], x: Axis, y: Axis) -> str:
    """Draw points with their names beside them, where there is room; all names stand in the table."""
    has_notes = any(dot.note for dot in dots)
    rows = [(dot.name, x.written(dot.x), y.written(dot.y), *([dot.note] if has_notes else [])) for dot in dots]
    headings = ("", x.name or "x", y.name or "y", *([""] if has_notes else []))
    drawings = (_points(caption, dots, x, y, *each) for each in TIMELINE.widths)
    return figure(caption, drawings, Table(headings, rows, frozenset({1, 2})))


def _points(caption: Caption, dots: Sequence[Dot], x: Axis, y: Axis, width: int, left: float) -> str:
    known = [dot for dot in dots if math.isfinite(dot.x) and math.isfinite(dot.y)]
    across = Scale(*bounds_of(x, [dot.x for dot in known]), left, width - RIGHT)
    up = Scale(*bounds_of(y, [dot.y for dot in known]), _HEIGHT - BOTTOM, TOP)
    parts = [*y_axis(y, up, width, left), *x_axis(x, across, width, _HEIGHT)]
    placed = [(dot, across.place(dot.x), up.place(dot.y)) for dot in known]
    taken = [(at - 5, height - 5, at + 5, height + 5) for _, at, height in placed]
    for dot, at, height in placed:
        title = f"{dot.name}: {x.written(dot.x)}, {y.written(dot.y)}"
        where = f'cx="{digits(at)}" cy="{digits(height)}" r="4"'
        parts.append(f'<circle class="dot {text(dot.kind)}" {where}><title>{text(title)}</title></circle>')
        name = shortened(dot.name, _MOST_LETTERS)
        for start, foot in _sides(at, height, letters(name)):
            box = (start, foot - _LINE + 3, start + letters(name), foot + 3)
            if (
                left <= box[0]
                and box[2] <= width
                and box[1] >= TOP
                and box[3] <= _HEIGHT - BOTTOM
                and not any(_meet(box, one) for one in taken)
            ):
                parts.append(word(start, foot, name, width, "start", "name"))
                taken.append(box)
                break
    return svg(caption, width, _HEIGHT, parts)


def _sides(at: float, height: float, wide: float) -> Iterator[tuple[float, float]]:
    """Yield where a name may begin: right of its point, left of it, above, below."""
    yield at + 8, height + 4
    yield at - 8 - wide, height + 4
    yield at - wide / 2, height - 9
    yield at - wide / 2, height + 17


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
