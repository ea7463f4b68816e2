"""Whether the watch for drift sees a fault that was not found as one: the product's own detector, fed with buckets as a slot feeds it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.monitoring.fault_streams import Stream
from monitoring.drift.e_detector import Rule, look
from monitoring.drift.watch_state import State, advance
from training.clock import duration_us
from training.schema.rows import Rows

SLOTS = 4  # that have the fault; more says less of what a person would still connect with it
RULE = Rule()


def is_called_drift(stream: Stream, column: str, as_they_are: Rows, broken: Rows, first_us: int) -> bool:
    """Return whether a watch that began a window before names the column in the slots after a fault began, and does not without it.

    Parameters
    ----------
    column
        ``*`` for any.
    as_they_are, broken
        The same rows, from a window before the fault to the end of those slots, without it and with it.
    first_us
        When it began.
    """
    before, after = (set(_named(stream, rows, first_us)) for rows in (as_they_are, broken))
    return bool(after - before) if column == "*" else column in after - before


def watched_us(stream: Stream, first_us: int) -> tuple[int, int]:
    """Return from when to when rows are watched around a fault that begins at a time: whole slots."""
    every_us, window_us = duration_us(stream.watching.every), duration_us(stream.watching.window)
    slot_us = first_us // every_us * every_us
    return slot_us - window_us // every_us * every_us, slot_us + SLOTS * every_us


def _named(stream: Stream, rows: Rows, first_us: int) -> Iterator[str]:
    variation, every_us = stream.reference.variation, duration_us(stream.watching.every)
    if variation is None:
        return
    begin_us, end_us = watched_us(stream, first_us)
    buckets = stream.buckets(rows)
    state = State.begin(variation, begin_us, every_us)
    for slot_us in range(begin_us + every_us, end_us + 1, every_us):
        own = [(start, stream.bucket_us, "", profile) for start, profile in buckets if slot_us - every_us <= start < slot_us]
        state = advance(state, slot_us, own)
        if slot_us > first_us:
            yield from look(state, variation, RULE).named
