"""Rows of coloured cells over one axis of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.drawing.axes import Scale
from training.drawing.page import Caption, Table, figure, shortened, text
from training.drawing.svg import BOTTOM, LETTER, RIGHT, TIMELINE, TOP, Axis, bounds_of, digits, svg, word, x_axis


@dataclass(frozen=True, slots=True)
class Cell:
    """A stretch of a strip: its kind is a class of the style, `value` its text in the table, `sign` a letter in it."""

    start: float
    end: float
    kind: str
    value: str
    sign: str = ""
    is_outlined: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of cells."""

    name: str
    cells: Sequence[Cell]


def heat_strip(caption: Caption, strips: Sequence[Strip], x: Axis) -> str:
    """Draw rows of cells over one axis, each coloured by its kind."""
    starts = sorted({cell.start for strip in strips for cell in strip.cells if math.isfinite(cell.start)})
    values = [{cell.start: cell.value for cell in strip.cells} for strip in strips]
    rows = [(x.written(start), *(known.get(start, "") for known in values)) for start in starts]
    drawings = (_strips(caption, strips, x, *each) for each in TIMELINE.widths)
    return figure(caption, drawings, Table((x.name or "from", *(s.name for s in strips)), rows))


def key(entries: Iterable[tuple[str, str]]) -> str:
    """Return what colours mean: class and text of each."""
    shown = (
        f'<li><svg viewBox="0 0 14 14" aria-hidden="true"><rect width="14" height="14" rx="2" class="{text(k)}"/></svg>{text(name)}</li>'
        for k, name in entries
    )
    return f'<ul class="key">{"".join(shown)}</ul>'


def _strips(caption: Caption, strips: Sequence[Strip], x: Axis, width: int, left: float) -> str:
    is_wide = width > 500
    row, above = (22.0, 0.0) if is_wide else (36.0, 14.0)
    ends = [end for strip in strips for cell in strip.cells for end in (cell.start, cell.end)]
    across = Scale(*bounds_of(x, ends), left, width - RIGHT)
    height = TOP + row * len(strips) + BOTTOM
    parts = list(x_axis(x, across, width, height))
    for place, strip in enumerate(strips):
        top = TOP + row * place + above
        name = shortened(strip.name, int((left - 14) / LETTER) if is_wide else 44)
        at, foot, anchor = (left - 10, top + 15, "end") if is_wide else (left, top - 3, "start")
        parts.append(word(at, foot, name, width, anchor, "name"))
        parts += _cells(strip, across, top + 1, row - above - 2)
    return svg(caption, width, height, parts)


def _cells(strip: Strip, across: Scale, top: float, height: float) -> list[str]:
    """Return one path a kind, so that thousands of cells weigh little, then signs and outlines."""
    shapes: dict[str, list[str]] = {}
    signs = []
    for cell in strip.cells:
        if not (math.isfinite(cell.start) and math.isfinite(cell.end)):
            continue
        start, end = across.place(min(cell.start, cell.end)), across.place(max(cell.start, cell.end))
        wide = end - start - (1.2 if end - start > 5 else 0.0)
        shape = f"M{digits(start)} {digits(top)}h{digits(wide)}v{digits(height)}h{digits(-wide)}z"
        for kind in (cell.kind, *(["out"] if cell.is_outlined and wide > 3 else [])):
            shapes.setdefault(kind, []).append(shape)
        if cell.sign and wide >= 11:
            signs.append(f'<text class="name" x="{digits(start + wide / 2)}" y="{digits(top + height / 2 + 4)}" text-anchor="middle">'
                         f"<title>{text(cell.value)}</title>{text(cell.sign)}</text>")  # fmt: skip
    ordered = sorted(shapes.items(), key=lambda shape: shape[0] == "out")
    return [f'<path class="{text(kind)}" d="{"".join(d)}"/>' for kind, d in ordered] + signs
