"""``POST /models/<model>/predict``: rows or columns as JSON, CSV, Arrow or Parquet; answers as JSON or Arrow."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, request

from service.answering import Answer, Answering
from service.answers import Finished
from service.arrow import to_arrow
from service.bodies import ARROW, JSON, kind_of
from service.columns import Table
from service.deployment import Deployment
from service.encodings import Limits, judge, read_encoded, stamped
from service.failpoints import Failpoint
from service.payloads import columns_in, rows_in
from service.row_answers import json_answer_of
from service.tables import SentTable, from_columns


def blueprint(answering: Answering, *, limits: Limits, failpoint: Failpoint) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("rows", __name__)

    @routes.post("/models/<model>/predict")
    def predict(model: str) -> Response:
        body, kind = limits.body(request), kind_of(request)
        answer = answering.answer(model, lambda deployment: _table(deployment, kind, body, limits))
        wants_arrow = ARROW in request.environ.get("HTTP_ACCEPT", "") and request.accept_mimetypes.best_match([JSON, ARROW]) == ARROW
        content = _arrow(answer, g.request_id) if wants_arrow else json_answer_of(answer, g.request_id)
        failpoint("answer")
        return stamped(Finished(content, ARROW if wants_arrow else JSON), answer)

    return routes


def _table(deployment: Deployment, kind: str, body: bytes, limits: Limits) -> Table:
    sent: SentTable | list[Any] | None = read_encoded(kind, body, deployment.artifact.schema, limits)
    if sent is None:
        table = deployment.reader.read_json(body, limits.max_rows)
        if table is not None:
            return table
        content = limits.json(body)
        is_columnar = isinstance(content, dict) and "columns" in content and "rows" not in content
        sent = from_columns(columns_in(content), limits.max_rows) if is_columnar else rows_in(content, limits.max_rows)
    return judge(deployment.reader, sent)


def _arrow(answer: Answer, request_id: str) -> bytes:
    facts = {"model": answer.deployment.model, "version": answer.deployment.version, "request_id": request_id}
    return to_arrow(answer.prediction, answer.prefix, answer.table.own_ids, facts)
