"""A user's own metric of live rows: asked in a child process at a slot, and what slots knew of buckets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from monitoring.journal.tables import TICK
from monitoring.judging.performance.live_metrics import Reading
from monitoring.judging.performance.own_score import OwnBucket, OwnScore, own_score_of
from monitoring.log_windows import Range
from monitoring.performance.live_scores import BucketScore, bucket_score, counted_rows, newest_sums
from monitoring.performance.watch import Matured
from monitoring.stores import Stores
from service.prediction_log.reading import LoggedRows
from training.clock import duration_us
from training.errors import CandidateError
from training.evaluation.own_metric import asked_in_child
from training.model_file.model_spec import ModelSpec
from training.schema.prediction import Prediction

logger = logging.getLogger(__name__)
MOST_ROWS = 10_000
"""A slot asks of so many: the mean of as many is known to 2 % of the losses' spread, and they are read and sent in about a second."""
SECONDS = 60.0
"""So long a slot waits for the function: a tenth of what a loop may be silent before another monitor takes over."""
STRETCHES = 200  # that rows are drawn from where there are more: no whole number of days or hours apart in 28 days
SLOTS = 100  # whose buckets are read for people


def own_score(matured: Matured, manifest: Mapping[str, Any], most_rows: int = MOST_ROWS) -> OwnScore | None:
    """Return the user's own metric over the newest mature, covered buckets as of a slot; None where the model has none.

    Parameters
    ----------
    manifest
        Of the champion: other code of the metric than it was made with is not asked.
    most_rows
        So many are asked for: of more those of short stretches of time are drawn.

    Returns
    -------
    Whatever the function does, a score or why there is none.
    """
    metric = matured.spec.own_metric
    if metric is None:
        return None
    sums = newest_sums(matured.stores, matured.spec, matured.cohorts, matured.new)
    if not sums:
        return OwnScore(metric, missing="no labelled row has matured")
    width_us, of = duration_us(matured.spec.watching.bucket), sum(one.n for one in sums.values())
    parts = _drawn(matured, Range(min(sums), max(sums) + width_us), most_rows / of)
    known = {name: None for part in parts for name in part.prediction.classes or ()}
    classes = matured.spec.schema.order_classes(known) if known else ()
    prediction = Prediction.concat([part.prediction.aligned(classes) for part in parts])
    at = np.concatenate([part.rows.time_us for part in parts]) // width_us * width_us
    y = np.concatenate([part.rows.labels for part in parts])
    weights = np.concatenate([np.ones(len(part)) if part.weights is None else part.weights for part in parts])
    is_judged = np.flatnonzero(np.isin(at, list(sums)))
    if len(is_judged) > most_rows:  # they came in bursts
        is_judged = is_judged[np.linspace(0, len(is_judged) - 1, most_rows).astype(np.intp)]
    y, prediction = y[is_judged], prediction.take(is_judged)
    try:
        asked = asked_in_child(metric, y, [prediction], (manifest.get("code") or {}).get(metric), seconds=SECONDS)
        losses = np.asarray(asked.per_row_loss(y, prediction) if asked.per_row_loss else [], dtype=np.float64)
    except (CandidateError, OSError) as error:
        logger.error("%s: the metric %s of live rows is not known: %s", matured.spec.model, metric, error)
        return OwnScore(metric, of, missing=str(error))
    coverage = matured.cohorts.share(min(sums), covered_only=True)
    return own_score_of(metric, at[is_judged], losses, weights[is_judged], of=of, coverage=coverage)


def _drawn(matured: Matured, span: Range, share: float) -> list[LoggedRows]:
    """Read the labelled rows of a span; where only a share is asked for those of short stretches of time, evenly spaced."""
    if share >= 1:
        return [matured.rows(span.start_us, span.end_us)]
    step = (span.end_us - span.start_us) / STRETCHES
    starts = [span.start_us + round(number * step) for number in range(STRETCHES)]
    return [matured.rows(start, start + max(round(step * share), 1)) for start in starts]


def own_history(stores: Stores, spec: ModelSpec, buckets: int) -> tuple[list[BucketScore], OwnScore | None]:
    """Return the user's own metric by bucket, of the newest buckets, as the last slot that asked knew each; and what the last slot knows.

    A slot keeps its newest hundred buckets, and asks of those of 28 days. The rows that count as labelled are those that were asked for.
    """
    metric, rows = str(spec.own_metric), counted_rows(stores, spec, buckets)
    slots = [run.slot_us for run in stores.journal.runs(spec.model, TICK, state="done", limit=SLOTS)]
    known: dict[int, OwnBucket] = {}
    newest: OwnScore | None = None
    for verdict in stores.journal.verdicts(spec.model, limit=SLOTS, slots=slots) if slots else ():
        stored = verdict.evidence.get("own_metric")
        score = None if stored is None or stored["metric"] != metric else OwnScore.from_dict(stored)
        newest = newest or score
        known = {one.bucket_us: one for one in (() if score is None else score.buckets)} | known
        if known and rows and min(known) <= min(rows):
            break
    reading = Reading(metric)
    return [bucket_score(reading, at, known[at].sums if at in known else None, rows[at]) for at in sorted(rows)], newest
