"""What all drawings share: their sizes, axes with round ticks, and the elements of SVG.

What is not finite is left out, texts are escaped, and nothing lies outside of the view box.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from unicodedata import east_asian_width

from training.drawing.axes import LARGEST, Scale, moment, number, round_ticks, spread, tick_labels, time_ticks
from training.drawing.page import Caption, shortened, text

MOST_POSITIONS = 200
"""More of them are joined (`grouped`): a screen has no room for more, and a page none for their numbers."""
LETTER = 6.6  # width of a letter of 12 px
TOP, RIGHT, BOTTOM = 10.0, 14.0, 24.0
_ROOM = 0.08  # beyond what is drawn, of half its span
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Size:
    """How large a drawing is: its widths, one a screen, with the room at the left of each; its height."""

    widths: tuple[tuple[int, float], ...]
    height: float = 210.0


TIMELINE = Size(((940, 150.0), (360, 44.0)))
"""All on the same axis of time stand under one another."""
SQUARE, SMALL = Size(((340, 44.0),), 270.0), Size(((300, 42.0),), 150.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """What runs along one side; bounds that are not given hold what is drawn."""

    name: str = ""
    low: float | None = None
    high: float | None = None
    is_time: bool = False

    def written(self, value: float) -> str:
        """Return a value of it as text."""
        return moment(value) if self.is_time and math.isfinite(value) else number(value, 4)


def grouped(things: Sequence[Thing], most: int = MOST_POSITIONS) -> list[Sequence[Thing]]:
    """Return neighbours together, so that there are at most so many groups of one size; the last may be smaller.

    Examples
    --------
    >>> grouped([1, 9, 2, 3, 4], most=3)
    [[1, 9], [2, 3], [4]]
    """
    size = -(-len(things) // most) or 1
    return [things[start : start + size] for start in range(0, len(things), size)]


def bounds_of(axis: Axis, values: Iterable[float]) -> tuple[float, float]:
    """Return the bounds of an axis: its own, or wide enough for some values."""
    low, high = spread(values, least=axis.low, most=axis.high)
    if axis.low is not None and axis.high is not None:
        low, high = spread((axis.low, axis.high))
    room = 0.0 if axis.is_time else _ROOM * (high / 2 - low / 2)
    return (
        max(low - room, -LARGEST) if axis.low is None else low,
        min(high + room, LARGEST) if axis.high is None else high,
    )


def y_axis(axis: Axis, up: Scale, width: int, left: float, *, percent: bool = False) -> list[str]:
    """Return grid and numbers of the upright axis, and its name where there is room at the left."""
    ticks = round_ticks(up.low, up.high, 4)
    labels = [f"{100 * tick:.3g} %" for tick in ticks] if percent else list(tick_labels(ticks))
    parts = [word(8, up.end + 8, shortened(axis.name, int((left - 60) / LETTER)), width, "start", "name")] if left > 100 else []
    for tick, label in zip(ticks, labels, strict=True):
        at = up.place(tick)
        parts += [line("grid", left, at, width - RIGHT, at), word(left - 6, at + 4, label, width, "end")]
    return parts


def x_axis(axis: Axis, across: Scale, width: int, height: float) -> Iterable[str]:
    """Yield grid and ticks of the other axis, as many as there is room for."""
    most = max(2, int((across.end - across.start) / 58))
    if axis.is_time:
        ticks = time_ticks(across.low, across.high, most)
    else:
        places = round_ticks(across.low, across.high, most)
        ticks = tuple(zip(places, tick_labels(places), strict=True))
    for tick, label in ticks:
        at = across.place(tick)
        yield line("grid", at, TOP, at, height - BOTTOM)
        yield word(at, height - 8, label, width)


def letters(value: str) -> float:
    """Return about how wide a text is."""
    return LETTER * sum(2 if east_asian_width(letter) in "WF" else 1 for letter in value)


def word(x: float, y: float, value: str, width: float, anchor: str = "middle", kind: str = "tick") -> str:
    """Return a text, moved to the side where it would leave the drawing."""
    before = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * letters(value)
    at = min(max(x, before + 1), max(width - 1 - (letters(value) - before), before + 1))
    return f'<text class="{kind}" x="{digits(min(at, width))}" y="{digits(y)}" text-anchor="{anchor}">{text(value)}</text>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a straight line."""
    return f'<line class="{kind}" x1="{digits(x1)}" y1="{digits(y1)}" x2="{digits(x2)}" y2="{digits(y2)}"/>'


def path(kind: str, placed: Sequence[tuple[float, float]], *, is_closed: bool = False) -> str:
    """Return a line through some positions, or what it encloses."""
    return f'<path class="{kind}" d="M{"L".join(f"{digits(x)} {digits(y)}" for x, y in placed)}{"z" if is_closed else ""}"/>'


def svg(caption: Caption, width: int, height: float, parts: Iterable[str]) -> str:
    """Return a drawing of a size with its title, and its sentence for those who do not see it."""
    kind = "only" if width < 350 else "wide" if width > 500 else "narrow"
    head = f"<title>{text(caption.title)}</title><desc>{text(caption.sentence)}</desc>"
    label = text(f"{caption.title}. {caption.sentence}")
    return f'<svg class="{kind}" viewBox="0 0 {width} {digits(height)}" role="img" aria-label="{label}">{head}{"".join(parts)}</svg>'


def digits(value: float) -> str:
    """Return a position to a tenth of a pixel."""
    return f"{round(value, 1) + 0.0:g}"


def written_bounds(low: float, high: float, axis: Axis) -> str:
    """Return an interval as text; a dash without one."""
    return f"{axis.written(low)} to {axis.written(high)}" if math.isfinite(low) and math.isfinite(high) else "–"
