"""Rows cut where the loop looks, and the labels that are due in between: the order of a replay and of a back-test (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from monitoring.judging.slots import first_slot
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.policies import LabelPolicy
from training.schema.rows import Rows

BATCH_ROWS = 200
Times = npt.NDArray[np.int64]
NOBODY = range(0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows [start, stop) of the table; `is_boundary` when they are the first at or past a slot's end."""

    start: int
    stop: int
    is_boundary: bool


@dataclass(frozen=True, slots=True, eq=False)
class Feedback:
    """What comes of labels, one entry each in the order in which they come; shape (n,).

    Attributes
    ----------
    row
        The row of the table that the label is of.
    due
        Model time from which on it may be handed in; where `counts_rows`, how many rows must have been answered.
    label
        What is handed in, which need not be true.
    """

    row: Times
    due: Times
    label: npt.NDArray[Any]
    counts_rows: bool = False

    @classmethod
    def by_policy(cls, rows: Rows, policy: LabelPolicy, labels: npt.NDArray[Any] | None = None) -> Self:
        """Return that of a table whose labels all come after the delay of its model file; one entry a row, also without a label."""
        place = np.arange(len(rows))
        known = rows.labels if labels is None else labels
        if policy.delay_rows is not None:
            return cls(place, place + policy.delay_rows + 1, known, counts_rows=True)
        late_us = 0 if policy.delay is None else duration_us(policy.delay)
        return cls(place, rows.time_us + late_us, known)

    @classmethod
    def by_times(cls, rows: Rows, due_us: Times, labels: npt.NDArray[Any]) -> Self:
        """Return that of labels whose moments are known, shape (n,) both; those of the same moment come in the order of their rows."""
        order = np.argsort(due_us, kind="stable")
        return cls(order, due_us[order], labels[order])


@dataclass(slots=True)
class Due:
    """Which labels are due: a place in the feedback that only moves forward."""

    feedback: Feedback
    _next: int = field(default=0, init=False)

    def before(self, start: int, now_us: int, slot_us: int | None) -> range:
        """Return the labels that are due before row `start`, at `now_us`, is sent; at most those due before `slot_us`.

        Returns
        -------
        Places in the feedback; a label that comes at a moment is due from the next one on.
        """
        due = self.feedback.due
        if self.feedback.counts_rows:
            stop = int(np.searchsorted(due, start, side="right"))
        else:
            stop = int(np.searchsorted(due, now_us if slot_us is None else min(now_us, slot_us), side="left"))
        unsent = np.flatnonzero(self.feedback.row[self._next : stop] >= start)
        places = range(self._next, max(self._next, self._next + int(unsent[0]) if len(unsent) else stop))
        self._next = places.stop
        return places


class Step(NamedTuple):
    """Rows [start, stop), which may be none, and the labels that are handed in before and after them, as places in the feedback."""

    start: int
    stop: int
    is_boundary: bool
    before: range
    after: range = NOBODY


def steps(rows: Rows, spec: ModelSpec, feedback: Feedback, first_slot_us: int | None = None) -> Iterator[Step]:
    """Yield what happens in order: rows go by bucket, those of the first instant past a slot's end alone, labels as soon as they are due.

    Before the rows of a boundary only what was due before the slot's end is handed in, so that a slot sees what it would have seen.

    Parameters
    ----------
    first_slot_us
        The first slot that rows can complete; by default that of the first row.
    """
    every_us, bucket_us, time_us = duration_us(spec.watching.every), duration_us(spec.watching.bucket), rows.time_us
    if not len(rows):
        return
    due = Due(feedback)
    first = first_slot(int(time_us[0]), every_us) if first_slot_us is None else first_slot_us
    for batch in batches(time_us, every_us, bucket_us, first, BATCH_ROWS):
        now_us = int(time_us[batch.start])
        before = due.before(batch.start, now_us, now_us // every_us * every_us if batch.is_boundary else None)
        yield Step(batch.start, batch.stop, batch.is_boundary, before, due.before(batch.start, now_us, None))
    yield Step(len(rows), len(rows), False, due.before(len(rows), int(time_us[-1]) + 1, None))


def batches(time_us: Times, every_us: int, bucket_us: int, first_slot_us: int, most: int) -> Iterator[Batch]:
    """Cut ordered rows at bucket and slot ends; the rows of the first instant past a slot's end stand alone.

    Examples
    --------
    >>> list(batches(np.array([1, 2, 11, 11, 12]), 10, 5, 10, 100))
    [Batch(start=0, stop=2, is_boundary=False), Batch(start=2, stop=4, is_boundary=True), Batch(start=4, stop=5, is_boundary=False)]
    """
    start, next_slot = 0, first_slot_us
    while start < len(time_us):
        now = int(time_us[start])
        if now >= next_slot:
            stop = int(np.searchsorted(time_us, now, side="right"))
            yield Batch(start, stop, True)
            next_slot = (now // every_us + 1) * every_us
        else:
            end = min((now // bucket_us + 1) * bucket_us, next_slot)
            stop = min(int(np.searchsorted(time_us, end, side="left")), start + most)
            yield Batch(start, stop, False)
        start = stop
