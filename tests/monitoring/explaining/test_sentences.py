"""What people read of it."""

from __future__ import annotations

from monitoring.explaining.sentences import MOST_LINES, joined_lines

LINE = {"slot": "2026-01-05", "outcome": "promoted: v2", "decision": "training", "used": "yes", "why": "one of 9 rows", "code": "used"}


def test_neighbours_that_say_the_same_are_one_line() -> None:
    joined = joined_lines([LINE, {**LINE, "slot": "2026-01-12"}, {**LINE, "code": "sampled_out", "used": "no"}])

    assert [(one["slot"], one["outcome"], one["used"]) for one in joined] == [
        ("2026-01-05 to 2026-01-12", "2 of them, first promoted: v2", "yes"),
        ("2026-01-05", "promoted: v2", "no"),
    ]


def test_of_very_many_lines_the_last_is_shown_too() -> None:
    lines = [{**LINE, "slot": str(number), "code": str(number)} for number in range(MOST_LINES + 30)]

    slots = [one["slot"] for one in joined_lines(lines)]

    assert (len(slots), slots[-2:]) == (MOST_LINES + 1, ["30 more", str(MOST_LINES + 29)])
