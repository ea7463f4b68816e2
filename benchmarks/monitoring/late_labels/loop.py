"""The product's driver on model time with labels that come as a feed says: handed in by steps, slot by slot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from monitoring.backtest.driver import Driven, Driver
from monitoring.backtest.steps import Feedback, Step, Times
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows

STEPS_A_DELAY = 1  # labels are handed in this often, and at least once a bucket


def replay(driver: Driver, rows: Rows, feedback: Feedback) -> Driven:
    """Answer rows in steps, hand in labels when they come, and let the monitor judge each slot when it is due."""
    return driver.run(rows, steps_of(rows, feedback, driver.spec), feedback)


def steps_of(rows: Rows, feedback: Feedback, spec: ModelSpec) -> Iterator[Step]:
    """Yield the steps of a stream, each with the labels that came before it began."""
    every_us, step_us = duration_us(spec.watching.every), step_of(spec)
    due = 0
    for start, stop in _cuts(rows.time_us, step_us, every_us):
        before_us = int(rows.time_us[start])
        came = max(due, int(np.searchsorted(feedback.due, before_us // step_us * step_us, side="left")))
        yield Step(start, stop, True, range(due, came))
        due = came


def step_of(spec: ModelSpec) -> int:
    """Return how far apart labels are handed in: buckets are whole numbers of it."""
    delay_us = duration_us(spec.labels.delay) if spec.labels.delay is not None else duration_us(spec.watching.bucket)
    bucket_us = duration_us(spec.watching.bucket)
    return bucket_us // max(1, -(-STEPS_A_DELAY * bucket_us // delay_us))


def _cuts(time_us: Times, step_us: int, every_us: int) -> Iterator[tuple[int, int]]:
    """Cut ordered rows at steps; those of the first instant past a slot stand alone, since the slot is judged after them."""
    edges = {0, len(time_us)}
    for unit_us in (step_us, every_us):
        firsts = np.flatnonzero(np.diff(time_us // unit_us, prepend=-1))
        edges |= set(firsts.tolist())
        if unit_us == every_us:
            edges |= set(np.searchsorted(time_us, time_us[firsts], side="right").tolist())
    return pairwise(sorted(edges))
