"""What a line of the ledger records of the rows behind a decision: by ranges, never row by row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from monitoring.journal.tables import Run
from monitoring.log_windows import Range, Times
from monitoring.retraining.plan import Plan

LEARNED = ("rows", "first_us", "last_us", "first_rows", "fingerprint")  # of the result of a run, which older ones have in part
MICROSECONDS = 1e6


def record_of(run: Run, plan: Plan) -> dict[str, Any]:
    """Return which rows a retraining run learned from and kept for the gate, as of when, and without which."""
    start_us, end_us = plan.log_start_us, max(plan.log_end_us, plan.gate_end_us)
    return {
        "learned": {
            "log": [plan.log_start_us, plan.log_end_us],
            "history": plan.history,
            **({} if plan.growth is None else {"family": plan.growth["family"], "forerunner_before_us": plan.gate_start_us}),
            **{name: run.result[name] for name in LEARNED if name in run.result},
        },
        "gate": [plan.gate_start_us, plan.gate_end_us],
        "known_by_us": plan.known_by_us,
        "quarantined": within(plan.aside, start_us, end_us),
        "uncovered": within(plan.uncovered, start_us, end_us),
        "by_requests": within(plan.requested, start_us, end_us),
    }


def seconds_of(run: Run) -> float | None:
    """Return how long a run took by the machine's clock; None while it is not over."""
    return None if run.ended_us is None else round((run.ended_us - run.started_us) / MICROSECONDS, 3)


def rows_of(times: Times, of: int | None = None) -> dict[str, Any]:
    """Return how many rows were judged and from when to when.

    Parameters
    ----------
    of
        Of how many rows they were taken, where not all of a range were.

    Examples
    --------
    >>> import numpy as np
    >>> rows_of(np.array([3, 5, 5])), rows_of(np.array([3, 5]), of=4)["of"]
    ({'rows': 3, 'from_us': 3, 'through_us': 5}, 4)
    """
    span = {"from_us": int(times[0]), "through_us": int(times[-1])} if len(times) else {"from_us": None, "through_us": None}
    return {"rows": len(times), **span, **({} if of is None else {"of": of})}


def within(spans: Iterable[Range], start_us: int, end_us: int) -> list[list[int]]:
    """Return the ranges that overlap [start_us, end_us), in order, each once.

    Examples
    --------
    >>> within([Range(8, 12), Range(1, 3), Range(8, 12), Range(20, 22)], 2, 20)
    [[1, 3], [8, 12]]
    """
    return [list(one) for one in sorted({(r.start_us, r.end_us) for r in spans if r.start_us < end_us and start_us < r.end_us})]
