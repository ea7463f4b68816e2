"""Whatever is drawn: valid XML, inside the view box, and the numbers it was given."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.drawing.axes import Scale, round_ticks, spread, tick_labels, time_ticks
from training.drawing.bars import Bin, Interval, histogram_pair, intervals
from training.drawing.lines import Behind, Point, Stretch, line_with_band, steps
from training.drawing.page import Caption, Table, document, facts, items, section, text
from training.drawing.strips import Cell, Strip, heat_strip, key
from training.drawing.svg import SQUARE, Axis, grouped, letters

DAY = 86_400_000_000
FEW = settings(max_examples=30)
CAPTION = Caption("log_loss", "0.41 [0.35, 0.46] on 392 rows")
numbers = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(-(2**63), 2**63 - 1).map(float)
names = st.text(max_size=12)
points = st.builds(Point, numbers, numbers, numbers, numbers, names, st.sampled_from(["", "bad"]))
dated = st.builds(Point, times, numbers, numbers, numbers, names)
stretches = st.builds(Stretch, numbers, numbers, st.sampled_from(["fault", "episode"]), names)
cells = st.builds(Cell, times, times, st.sampled_from(["h0", "h4"]), names, st.sampled_from(["", "x"]), st.booleans())
captions = st.builds(Caption, names, names)


def drawings(figure: str) -> list[ElementTree.Element]:
    """Return the drawings of a figure, which is XML as a whole."""
    return list(ElementTree.fromstring(figure).iter("svg"))


def positions(drawing: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """Yield where shapes lie and texts begin and end."""
    for one in drawing.iter():
        at = {name: float(one.get(name, 0)) for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height")}
        if one.tag == "line":
            yield from ((at["x1"], at["y1"]), (at["x2"], at["y2"]))
        elif one.tag == "rect":
            yield from ((at["x"], at["y"]), (at["x"] + at["width"], at["y"] + at["height"]))
        elif one.tag == "circle":
            yield from ((at["cx"] - at["r"], at["cy"] - at["r"]), (at["cx"] + at["r"], at["cy"] + at["r"]))
        elif one.tag == "text":
            yield at["x"], at["y"]
        elif one.tag == "path" and "h" not in one.get("d", ""):
            yield from ((float(x), float(y)) for x, y in re.findall(r"(-?[\d.e+]+) (-?[\d.e+]+)", one.get("d", "")))
        elif one.tag == "path":
            for x, y, wide, high in re.findall(r"M(\S+) (-?[\d.]+)h(-?[\d.]+)v(-?[\d.]+)", one.get("d", "")):
                yield from ((float(x), float(y)), (float(x) + float(wide), float(y) + float(high)))


def assert_well_drawn(figure: str) -> None:
    for drawing in drawings(figure):
        _, _, width, height = map(float, drawing.get("viewBox", "").split())
        assert drawing[0].tag == "title"
        assert drawing[1].tag == "desc"
        assert [(x, y) for x, y in positions(drawing) if not (-0.1 <= x <= width + 0.1 and -0.1 <= y <= height + 0.1)] == []
    assert drawings(figure)
    assert "<details>" in figure
    assert "<script" not in figure


@FEW
@given(captions, st.lists(points, max_size=8), st.lists(stretches, max_size=3))
def test_any_line_is_xml_inside_its_view_box(caption: Caption, some: list[Point], behind: list[Stretch]) -> None:
    more = Behind(behind, [(p.x, p.y, p.x, p.low) for p in some[:2]], [(p.x, "good", p.note) for p in some[:2]])

    assert_well_drawn(line_with_band(caption, some, Axis("x"), Axis("y"), more))
    assert_well_drawn(steps(caption, some, Axis("x", 0.0, 1.0), Axis("y"), more, SQUARE))


@FEW
@given(captions, st.lists(dated, max_size=8))
def test_any_line_over_time_is_xml_inside_its_view_box(caption: Caption, some: list[Point]) -> None:
    assert_well_drawn(line_with_band(caption, some, Axis("model time", is_time=True), Axis("y", low=0.0)))


@FEW
@given(captions, st.lists(st.builds(Bin, names, numbers, numbers, st.sampled_from(["", "<"])), max_size=12), st.lists(finite, max_size=12))
def test_any_pair_of_histograms_is_xml_inside_its_view_box(caption: Caption, bins: list[Bin], edges: list[float]) -> None:
    assert_well_drawn(histogram_pair(caption, bins, edges[: len(bins) + 1]))


@FEW
@given(captions, st.lists(st.builds(Interval, names, numbers, numbers, numbers, names), max_size=12), st.none() | numbers)
def test_any_intervals_are_xml_inside_their_view_box(caption: Caption, rows: list[Interval], reference: float | None) -> None:
    assert_well_drawn(intervals(caption, rows, Axis("score"), reference))


@FEW
@given(captions, st.lists(st.builds(Strip, names, st.lists(cells, max_size=5)), max_size=5))
def test_any_strips_are_xml_inside_their_view_box(caption: Caption, strips: list[Strip]) -> None:
    assert_well_drawn(heat_strip(caption, strips, Axis("model time", is_time=True)))


@given(finite, finite, finite, finite)
def test_a_scale_is_monotone_and_stays_between_its_ends(a: float, b: float, low: float, high: float) -> None:
    scale = Scale(*spread([low, high]), 40.0, 300.0)

    places = [scale.place(value) for value in sorted((a, b))]

    assert places == sorted(places)
    assert all(40.0 <= place <= 300.0 for place in places)


@given(st.lists(numbers, max_size=5), st.integers(2, 12))
def test_ticks_are_few_different_round_and_within_bounds(values: list[float], most: int) -> None:
    low, high = spread(values)

    ticks = round_ticks(low, high, most)

    assert len(ticks) <= most
    assert list(ticks) == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
    assert len(tick_labels(ticks)) == len(ticks)


@given(times, times, st.integers(2, 12))
def test_ticks_of_time_are_few_and_within_bounds(start: float, end: float, most: int) -> None:
    ticks = time_ticks(start, end, most)

    assert len(ticks) <= most
    assert [time for time, _ in ticks] == sorted({time for time, _ in ticks})
    assert all(start <= time <= end for time, _ in ticks)


@given(names)
def test_any_text_is_what_it_was_or_a_sign_that_it_cannot_be_shown(value: str) -> None:
    shown = ElementTree.fromstring(f'<a b="{text(value)}">{text(value)}</a>')

    assert len(shown.text or "") == len(value)
    assert shown.get("b") == (shown.text or "").replace("\n", " ").replace("\t", " ")
    assert all(new in (old, "\ufffd") for old, new in zip(value, shown.text or "", strict=True))


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0.348, 0.465, 4, (0.35, 0.4, 0.45)),
        (0.0, 0.0031, 5, (0.0, 0.001, 0.002, 0.003)),
        (-3.0, 8.0, 6, (-2.0, 0.0, 2.0, 4.0, 6.0, 8.0)),
        (1e15, 1e15 + 4, 5, (1e15, 1e15 + 1, 1e15 + 2, 1e15 + 3, 1e15 + 4)),
    ],
    ids=["shares", "thousandths", "across zero", "near one another"],
)
def test_ticks_are_those_a_person_would_choose(low: float, high: float, most: int, ticks: tuple[float, ...]) -> None:
    assert round_ticks(low, high, most) == ticks


@pytest.mark.parametrize(
    ("start_day", "days", "most", "labels"),
    [
        (19_723, 0.25, 6, ["1 Jan", "03:00", "06:00"]),
        (19_723, 28.0, 5, ["1 Jan 2024", "8 Jan", "15 Jan", "22 Jan", "29 Jan"]),
        (19_723, 366.0, 13, ["2024", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "2025"]),
        (19_750, 4000.0, 6, ["2026", "2028", "2030", "2032", "2034"]),
    ],
    ids=["hours", "Mondays", "months", "years"],
)
def test_ticks_of_time_are_round_in_utc(start_day: int, days: float, most: int, labels: list[str]) -> None:
    assert [label for _, label in time_ticks(start_day * DAY, start_day * DAY + days * DAY, most)] == labels


def test_a_line_is_placed_to_the_pixel_and_interrupted_where_a_value_is_missing() -> None:
    some = [Point(0, 0.0, 0.0, 1.0), Point(1, 1.0, 0.5, 1.0), Point(2, math.nan), Point(3, 0.5, 0.25, 0.75), Point(4, 0.5)]

    (drawing,) = drawings(line_with_band(CAPTION, some, Axis("day", 0, 4), Axis("y", 0, 1), size=SQUARE))

    paths = {(one.get("class"), one.get("d")) for one in drawing.iter("path")}
    assert paths == {
        ("band", "M44 10L114.5 10L114.5 128L44 246z"),
        ("line", "M44 246L114.5 10"),
        ("line", "M255.5 128L326 128"),
    }
    assert [one.get("y1") for one in drawing.iter("line") if one.get("class") == "bar"] == ["187"]  # an interval that stands alone


def test_the_table_has_every_number_and_the_sentence_is_said_to_who_does_not_see() -> None:
    html = line_with_band(CAPTION, [Point(DAY, 0.40712, 0.348, 0.465, "392 rows")], Axis("model time", is_time=True), Axis("log_loss"))

    cells = [cell.text for cell in ElementTree.fromstring(html).iter("td")]
    assert cells == ["1970-01-02 00:00", "0.4071", "0.348 to 0.465", "392 rows"]
    assert {drawing.get("aria-label") for drawing in drawings(html)} == {"log_loss. 0.41 [0.35, 0.46] on 392 rows"}


def test_a_pair_of_histograms_draws_both_shares_of_a_bin() -> None:
    html = histogram_pair(CAPTION, [Bin("[0, 1)", 0.5, 0.25), Bin("[1, 2)", 0.5, 0.75), Bin("(missing)", 0.0, 0.0, "∅")], [0, 1, 2])

    (drawing,) = drawings(html)
    assert [(one.get("y"), one.get("height")) for one in drawing.iter("rect")] == [("48.7", "77.3"), ("48.7", "77.3"), ("126", "0")]
    assert next(one.get("d") for one in drawing.iter("path") if one.get("class") == "now") == (
        "M42 126L42 87.3L123.3 87.3L123.3 10L204.7 10L204.7 126L286 126L286 126"
    )
    assert [one.text for one in drawing.iter("text")][-4:] == ["(missing)", "0", "1", "2"]
    assert "25.00 %" in html


def test_positions_are_joined_so_that_there_is_room_for_all() -> None:
    assert [max(some) for some in grouped(list(range(1000)))] == list(range(4, 1000, 5))
    assert [len(some) for some in grouped(list(range(201)))] == [2] * 100 + [1]
    assert grouped([]) == []


def test_a_page_has_no_script_and_fetches_nothing_whatever_its_texts_say() -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'

    html = document(
        evil,
        section("a", evil, items([evil]), facts([(evil, evil, evil)]), Table([evil], [[evil]]).html(), key([("keep", evil)])),
        heat_strip(Caption(evil, evil), [Strip(evil, [Cell(0, DAY, "keep", evil, "x")])], Axis(evil, is_time=True)),
        intervals(Caption(evil, evil), [Interval(evil, 1.0, note=evil)], Axis(evil)),
        histogram_pair(Caption(evil, evil), [Bin(evil, 0.1, 0.2)]),
        line_with_band(Caption(evil, evil), [Point(0, 1, note=evil)], Axis(evil), Axis(evil), Behind(upright=[(0, "good", evil)])),
    )

    page = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>|<meta[^>]*>", "", html))
    assert {one.tag for one in page.iter()} & {"script", "img", "link", "iframe", "object", "a", "base", "form"} == set()
    assert [name for one in page.iter() for name in one.attrib if name.startswith("on") or name in ("src", "href", "style")] == []
    assert re.findall(r"url\(|@import|https?:", html) == []
    assert "default-src 'none'" in html


def test_a_name_without_room_is_cut_and_stays_whole_in_the_table() -> None:
    name = "a name that is much longer than any gutter of a drawing"

    html = heat_strip(CAPTION, [Strip(name, [Cell(0, DAY, "h1", "1.0")])], Axis(is_time=True))

    shown = [one.text or "" for one in drawings(html)[0].iter("text")]
    assert name not in shown
    assert any(one.endswith("…") and letters(one) < 150 for one in shown)
    assert f">{name}</th>" in html
