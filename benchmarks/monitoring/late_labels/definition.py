"""What is so, as only the benchmark can know it: which slots are blind by their definition."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from benchmarks.monitoring.late_labels.feeds import Floats
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec

LEAST_DUE, LEAST_OF_THIRD, SURE = 50, 20, 2.0
DUE = 0.95
Times = npt.NDArray[np.int64]


def blind_by_definition(  # 7 parameters: a stream, how its labels come, and when one looks
    spec: ModelSpec, slots: Sequence[int], time_us: Times, delay_us: Floats, rank: Floats, maturity_us: int, first_us: int
) -> list[bool]:
    """Return of each slot whether fewer than `performance.minimum_rows` mature, covered, labelled rows came in twice the time they take.

    Parameters
    ----------
    delay_us
        After how long the label of each row comes; infinite where it never does, or too late. Those that came are what a slot can see.
    rank
        Of each row's score, 0 to 1: coverage is wanted of each third.
    maturity_us
        How late labels truly are.
    first_us
        When the first label came, of whatever row: before that a model has no labels, which is not blind.
    """
    width_us, every_us = duration_us(spec.watching.bucket), duration_us(spec.watching.every)
    least, wanted = DUE * spec.labels.coverage, spec.watching.performance.minimum_rows
    third = np.minimum((3 * rank).astype(np.int64), 2)
    bucket = time_us // width_us
    blind = []
    for slot_us in slots:
        end = int(np.searchsorted(time_us, slot_us - maturity_us, side="left"))
        has = time_us[:end] + delay_us[:end] < slot_us
        needed = int(np.ceil(wanted / least))
        if end < needed or slot_us <= first_us:
            blind.append(False)
            continue
        span_us = max(2 * (slot_us - int(time_us[end - needed])), every_us)
        if int(time_us[0]) > slot_us - maturity_us - span_us:
            blind.append(False)
            continue
        edges = [0, *_edges(bucket[:end]), end]
        usable = 0
        for first, stop in pairwise(edges):
            if time_us[stop - 1] >= slot_us - maturity_us - span_us and _is_covered(has[first:stop], third[first:stop], least):
                usable += int(has[first:stop].sum())
        blind.append(usable < wanted)
    return blind


def _edges(bucket: Times) -> list[int]:
    """Return where groups of whole buckets with at least 50 rows begin, but for the first."""
    edges, begin = [], 0
    for start in np.flatnonzero(np.diff(bucket)) + 1:
        if start - begin >= LEAST_DUE and len(bucket) - start >= LEAST_DUE:
            edges.append(int(start))
            begin = int(start)
    return edges


def _is_covered(has: npt.NDArray[np.bool_], third: Times, least: float) -> bool:
    if has.mean() < least:
        return False
    parts = [has[third == part] for part in range(3)]
    return all(
        one.sum() >= least * len(one) - SURE * np.sqrt(len(one) * least * (1 - least)) for one in parts if len(one) >= LEAST_OF_THIRD
    )


def late_and_needless(called: Sequence[bool], defined: Sequence[bool]) -> tuple[int, int]:
    """Count the slots that were not called blind though they were, as the one before; and those that were, though none about them was.

    Examples
    --------
    >>> late_and_needless([False, False, True, False, True], [True, True, True, False, False])
    (1, 0)
    >>> late_and_needless([True, False, False, False], [False, False, False, True])
    (1, 1)
    """
    late = sum(now and before and not one for one, now, before in zip(called[1:], defined[1:], defined[:-1], strict=True))
    around = [any(defined[max(0, at - 1) : at + 2]) for at in range(len(defined))]
    return late, sum(one and not near for one, near in zip(called, around, strict=True))
