"""``POST /models/<model>/predict``: rows or columns as JSON, CSV, Arrow or Parquet; answers as JSON or Arrow."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from flask.globals import app_ctx, request_ctx

from service.codecs.arrow import to_arrow
from service.codecs.json_bodies import columns_in, rows_in
from service.codecs.tables import SentTable, from_columns
from service.columns.reader import Table
from service.models.served_model import Deployment
from service.predicting import Answer, Predicting
from service.recording.failpoints import Failpoint
from service.routes.prediction_json import predictions_json, stamped
from service.routes.reading import Limits, judge, read_encoded
from service.web.bodies import ARROW, JSON, kind_of
from service.web.responses import FinishedResponse


def blueprint(predicting: Predicting, *, limits: Limits, failpoint: Failpoint) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("predict", __name__)

    @routes.post("/models/<model>/predict")
    def predict(model: str) -> Response:
        """Predict rows in any encoding that is read; answer when they are recorded, in JSON or Arrow."""
        request, state = request_ctx.request, app_ctx.g  # looked up once: each use of flask's own proxies looks them up again
        with limits.readers:
            body, kind = limits.body(request), kind_of(request)
            deployment = predicting.deployment(model)
            table = _table(deployment, kind, body, limits)
        answer = predicting.predict(deployment, table, state.request_id, state.trace.trace_id, state.key)
        wants_arrow = ARROW in request.environ.get("HTTP_ACCEPT", "") and request.accept_mimetypes.best_match([JSON, ARROW]) == ARROW
        content = _arrow(answer, state.request_id) if wants_arrow else predictions_json(answer, state.request_id)
        failpoint("answer")
        return stamped(FinishedResponse(content, ARROW if wants_arrow else JSON), answer)

    return routes


def _table(deployment: Deployment, kind: str, body: bytes, limits: Limits) -> Table:
    sent: SentTable | list[Any] | None = read_encoded(kind, body, deployment.artifact.schema, limits)
    was_tried = sent is None
    if sent is None:
        max_rows = limits.rows_of(deployment.artifact.schema)
        table = deployment.reader.read_json(body, max_rows)
        if table is not None:
            return table
        content = limits.json(body)
        is_columnar = isinstance(content, dict) and "columns" in content and "rows" not in content
        sent = from_columns(columns_in(content), max_rows) if is_columnar else rows_in(content, max_rows)
    return judge(deployment.reader, sent, was_tried=was_tried)


def _arrow(answer: Answer, request_id: str) -> bytes:
    facts = {"model": answer.deployment.model, "version": answer.deployment.version, "request_id": request_id}
    return to_arrow(answer.prediction, answer.prefix, answer.table.own_ids, facts)
