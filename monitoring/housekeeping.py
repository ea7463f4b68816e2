"""What grows is kept in bounds: rows of the prediction log older than the model file allows go."""

from __future__ import annotations

import logging
from datetime import datetime

from monitoring.stores import Stores
from training.clock import duration_us, to_us
from training.spec import ModelSpec

logger = logging.getLogger(__name__)


def forget_old_rows(stores: Stores, spec: ModelSpec, machine_now: datetime) -> int:
    """Delete the logged rows that arrived longer than `retention.log` ago, and return how many.

    Retention counts machine time, so that a replayed year is not forgotten while it is replayed. Rows go in the order of
    model time and by whole buckets, so that counts stay equal to rows: one that arrived early stays while an earlier one,
    or one of its bucket, is still within the bound.
    """
    first_us, last_us = stores.log.first_event(spec.model), stores.log.last_event(spec.model)
    if first_us is None or last_us is None:
        return 0
    kept_since_us = stores.log.first_event(spec.model, arrived_since_us=to_us(machine_now - spec.retention.log))
    bucket_us = duration_us(spec.watching.bucket)
    before_us = (last_us // bucket_us + 1) * bucket_us if kept_since_us is None else kept_since_us // bucket_us * bucket_us
    if first_us >= before_us:
        return 0
    gone = stores.log.retain(spec.model, before_us, machine_now=machine_now)
    if gone:
        logger.info("%s: %d rows older than %s have left the prediction log", spec.model, gone, spec.retention.log)
    return gone
