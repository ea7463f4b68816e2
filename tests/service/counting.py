"""Work counted in calls: what it costs whoever else wants the processor; rows counted in profiles."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from service.count_ledger.tables import bucket_counts
from service.prediction_log.prediction_log import PredictionLog


def calls_of(work: Callable[[], Any]) -> tuple[Any, int]:
    """Run some work and count the calls in it, Python's and C's; garbage of others, whose ends call too, is not collected meanwhile."""
    n_calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal n_calls
        n_calls += event in ("call", "c_call")

    was_collecting = gc.isenabled()
    gc.disable()
    sys.setprofile(count)
    try:
        result = work()
    finally:
        sys.setprofile(None)
        if was_collecting:
            gc.enable()
    return result, n_calls


def counted_rows(log: PredictionLog, model: str) -> int:
    """Add up the rows in all profile counts; equals the log's own count when nothing was lost or doubled."""
    with log._database.read() as connection:
        total = sa.select(sa.func.sum(bucket_counts.c.rows)).where(bucket_counts.c.model == model)
        return int(connection.scalar(total) or 0)
