"""From columns to an acknowledged prediction: predict, record, and only then answer. One path for every protocol."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from service.columns import Table
from service.deployment import Deployment
from service.deployments import Deployments
from service.errors import InvalidRowsError
from service.logs import request_ids
from service.metrics import OTHER, ServiceMetrics
from service.records import encode_body
from service.rejects import Rejects
from service.spool import Spool
from training.clock import to_us
from training.prediction import Prediction

MOST_OUTCOMES = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """An acknowledged prediction: row i has the id ``<prefix>-<i>``."""

    deployment: Deployment
    table: Table
    prediction: Prediction
    prefix: str


class Answering:
    """Answers rows with the deployment in service."""

    def __init__(
        self,
        *,
        deployments: Deployments,
        spool: Spool,
        rejects: Rejects,
        metrics: ServiceMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._deployments = deployments
        self._spool = spool
        self._rejects = rejects
        self._metrics = metrics
        self._clock = clock

    def answer(self, model: str, read: Callable[[Deployment], Table]) -> Answer:
        """Validate what `read` makes of a request, predict it, record it; when this returns the answer may leave.

        Raises
        ------
        RequestError
            Whatever `read` finds wrong.
        InvalidRowsError, UnavailableError
            As for `answer_rows`.
        """
        deployment = self._deployments.current(model)
        self._spool.refuse_if_full()
        try:
            table = read(deployment)
        except InvalidRowsError as error:
            self._note_refusal(model, error)
            raise
        return self.answer_table(deployment, table)

    def answer_table(self, deployment: Deployment, table: Table) -> Answer:
        """Predict and record valid columns."""
        started = time.perf_counter()
        prediction = deployment.predict(table.columns)
        seconds = time.perf_counter() - started
        arrived_us = to_us(self._clock())
        request_id, trace_id = request_ids()
        body = encode_body(
            model=deployment.model,
            version=deployment.version,
            bins_id=deployment.bins_id,
            arrived_us=arrived_us,
            event_us=table.event_us if table.event_us is not None else np.full(table.n_rows, arrived_us, dtype=np.int64),
            own_ids=table.own_ids,
            columns=table.columns,
            outputs=prediction.label,
            probabilities=prediction.probability,
            classes=prediction.classes,
            codes=prediction.codes,
            request_id=request_id,
            trace_id=trace_id,
        )
        prefix = self._spool.append(body, n_rows=table.n_rows, time_ms=arrived_us // 1000)
        self._note_answer(deployment, table, prediction, seconds)
        return Answer(deployment, table, prediction, prefix)

    def _note_refusal(self, model: str, error: InvalidRowsError) -> None:
        self._rejects.add(model, error.counts)
        for (_, code), rows in error.counts.items():
            self._metrics.rejected_rows.labels(model, code).inc(rows)

    def _note_answer(self, deployment: Deployment, table: Table, prediction: Prediction, seconds: float) -> None:
        notes = self._metrics.of_model(deployment.model, deployment.version)
        notes.note(seconds, table.n_rows, _outcomes(prediction))
        if table.ignored:
            self._metrics.ignored_values.labels(deployment.model).inc(sum(table.ignored.values()))


def _outcomes(prediction: Prediction) -> list[tuple[str, int]]:
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
