"""From columns to an acknowledged prediction: predict, record, and only then answer. One path for every protocol."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import numpy as np

from service.columns.reader import Table
from service.models.deployments import Deployments
from service.models.served_model import Deployment
from service.prediction_log.records import AnsweredRequest, encode_body
from service.recording.spool import Spool
from service.telemetry.metrics import OTHER, ServiceMetrics
from training.clock import to_us
from training.schema.prediction import Prediction

MOST_OUTCOMES = 30


class Answer(NamedTuple):
    """An acknowledged prediction: row i has the id ``<prefix>-<i>``."""

    deployment: Deployment
    table: Table
    prediction: Prediction
    prefix: str


class Predicting:
    """Answers rows with a deployment, and records what it answered."""

    def __init__(self, *, deployments: Deployments, spool: Spool, metrics: ServiceMetrics, clock: Callable[[], datetime]) -> None:
        self._deployments = deployments
        self._spool = spool
        self._metrics = metrics
        self._clock = clock

    def deployment(self, model: str) -> Deployment:
        """Return what answers for a model now, unless no answer could be recorded: then its rows need not be read.

        Raises
        ------
        UnknownModelError, ModelNotReadyError
            As `Deployments.current`.
        LogFullError
            The prediction log has reached its bound.
        """
        deployment = self._deployments.current(model)
        self._spool.refuse_if_full()
        return deployment

    def predict(self, deployment: Deployment, table: Table, request_id: str, trace_id: str, key: str = "") -> Answer:
        """Predict valid rows and record the answer, with the name of the key they came with; when this returns, it may leave.

        Raises
        ------
        FailedRowsError
            The model fails on some of these rows.
        SpoolError, LogFullError
            The answer could not be recorded.
        """
        started = time.perf_counter()
        prediction = deployment.predict(table.columns)
        seconds = time.perf_counter() - started
        arrived_us = to_us(self._clock())
        request = AnsweredRequest(
            model=deployment.model,
            version=deployment.version,
            bins_id=deployment.bins_id,
            arrived_us=arrived_us,
            event_us=table.event_us,
            own_ids=table.own_ids,
            columns=table.columns,
            prediction=prediction,
            request_id=request_id,
            trace_id=trace_id,
            key=key,
        )
        prefix = self._spool.append(encode_body(request), n_rows=table.n_rows, time_ms=arrived_us // 1000)
        self._count(deployment, table, prediction, seconds)
        return Answer(deployment, table, prediction, prefix)

    def _count(self, deployment: Deployment, table: Table, prediction: Prediction, seconds: float) -> None:
        self._metrics.of_model(deployment.model, deployment.version).note(seconds, table.n_rows, outcomes(prediction))
        if table.ignored:
            self._metrics.ignored_values.labels(deployment.model).inc(sum(table.ignored.values()))


def outcomes(prediction: Prediction) -> list[tuple[str, int]]:
    """Return how many rows have which label; of numbers, or of more than a few classes, how many rows there are.

    Examples
    --------
    >>> outcomes(Prediction(np.array(["no", "yes", "no"], object), None, ("no", "yes")))
    [('no', 2), ('yes', 1)]
    >>> outcomes(Prediction(np.array([1.5, 2.5])))
    [('value', 2)]
    """
    if prediction.classes is None:
        return [("value", len(prediction))]
    if len(prediction.classes) > MOST_OUTCOMES:
        return [(OTHER, len(prediction))]
    if len(prediction) == 1:
        return [(prediction.label[0], 1)]
    if prediction.codes is None:
        return list(Counter(prediction.label.tolist()).items())
    counts = np.bincount(prediction.codes).tolist()
    return [(name, count) for name, count in zip(prediction.classes, counts, strict=False) if count]
