"""Counts of refused rows."""

from __future__ import annotations

from service.recording.rejected_rows import MOST_KINDS, Rejects


def test_no_more_kinds_are_gathered_than_the_bound_and_known_ones_go_on_counting() -> None:
    rejects = Rejects()
    rejects.add("bikes", {(f"field {number}", "type"): 1 for number in range(MOST_KINDS)})

    rejects.add("bikes", {("one more", "type"): 1, ("field 0", "type"): 4})

    counts = rejects.take()["bikes"]
    assert (len(counts), counts["field 0", "type"], ("one more", "type") in counts) == (MOST_KINDS, 5, False)
