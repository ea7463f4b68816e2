"""What grows is kept in bounds: logged rows older than the model file allows go, old counts become those of hours and days."""

from __future__ import annotations

import logging
import math
from datetime import datetime

from monitoring.journal.tables import TICK
from monitoring.stores import Stores
from service.prediction_log.rolling_up import widest_us
from training.clock import duration_us, to_us
from training.model_file.model_spec import ModelSpec

logger = logging.getLogger(__name__)


def forget_old_rows(stores: Stores, spec: ModelSpec, machine_now: datetime) -> int:
    """Delete the logged rows that arrived longer than `retention.log` ago, and return how many.

    Retention counts machine time, so that a replayed year is not forgotten while it is replayed. Rows go in the order of
    model time and by whole buckets, those that were added up too, so that counts stay equal to rows: one that arrived early
    stays while an earlier one, or one of its bucket, is still within the bound.
    """
    first_us, last_us = stores.log.first_event(spec.model), stores.log.last_event(spec.model)
    if first_us is None or last_us is None:
        return 0
    kept_since_us = stores.log.first_event(spec.model, arrived_since_us=to_us(machine_now - spec.retention.log))
    bucket_us = math.lcm(duration_us(spec.watching.bucket), widest_us(_bound_us(spec)))
    before_us = (last_us // bucket_us + 1) * bucket_us if kept_since_us is None else kept_since_us // bucket_us * bucket_us
    if first_us >= before_us:
        return 0
    gone = stores.log.retain(spec.model, before_us, machine_now=machine_now)
    stores.journal.outcomes.forget(spec.model, before_us)  # sums are those of the rows that are there
    if gone:
        logger.info("%s: %d rows older than %s have left the prediction log", spec.model, gone, spec.retention.log)
    return gone


def add_up_old_counts(stores: Stores, spec: ModelSpec) -> int:
    """Add up old counts to hours and days, and return how many rows of them went: slots and windows have the counts they had.

    A bucket that is partly in quarantine stays as it is, and so does what no slot has judged yet: after a pause faults are looked for in
    the same buckets as without one.
    """
    judged = next(iter(stores.journal.runs(spec.model, TICK, state="done", limit=1)), None)
    if judged is None:
        return 0
    apart = [(span.start_us, span.end_us) for span in stores.quarantined(spec.model)]
    gone = stores.log.roll_up(spec.model, bound_us=_bound_us(spec), apart=apart, until_us=judged.slot_us)
    if gone:
        logger.info("%s: %d rows of old counts were added up to hours and days", spec.model, gone)
    return gone


def _bound_us(spec: ModelSpec) -> int:
    """Return of what slots, and the beginnings of their windows, are multiples."""
    return math.gcd(duration_us(spec.watching.every), duration_us(spec.watching.window))
