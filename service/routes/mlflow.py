"""MLflow's scoring protocol, which is SageMaker's container contract too: ``/invocations`` and ``/ping``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from service.answering import Answering
from service.bodies import ARROW, CSV, JSON, PARQUET, kind_of
from service.columns import Table
from service.deployment import Deployment
from service.deployments import Deployments
from service.encodings import Limits, judge, read_encoded, stamped
from service.errors import ModelNotReadyError, UnknownModelError, UnreadableBodyError
from service.payloads import shown
from service.routes.kserve_v1 import predictions_answer
from service.tables import SentTable, from_instances, from_lists

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_SPLIT = {"columns", "index", "data"}


def blueprint(deployments: Deployments, answering: Answering, limits: Limits, *, release: Callable[[], str]) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("mlflow", __name__)

    @routes.get("/ping")
    def ping() -> Response:
        return _pong(deployments)

    @routes.get("/health")
    def health() -> Response:
        return _pong(deployments)

    @routes.get("/version")
    def version() -> Response:
        return Response(release(), content_type="text/plain; charset=utf-8")

    @routes.post("/invocations", defaults={"model": None})
    def invocations(model: str | None) -> Response:
        if model is None:
            raise _no_default(deployments)
        kind = _kind()
        body = limits.body(request)
        answer = answering.answer(model, lambda deployment: _table(deployment, kind, body, limits))
        return stamped(predictions_answer(answer), answer)

    return routes


def _no_default(deployments: Deployments) -> Exception:
    if not deployments.all():
        return ModelNotReadyError(f"no model answers here: {deployments.why_not_ready()}")
    return UnknownModelError("several models are served here: set EVERGREEN_DEFAULT_MODEL, or call /models/<model>/predict")


def _pong(deployments: Deployments) -> Response:
    reason = deployments.why_not_ready()
    if reason is not None:
        raise ModelNotReadyError(reason)
    response = Response("\n")
    response.headers["Content-Type"] = "application/json"
    return response


def _kind() -> str:
    kind = kind_of(request)
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if kind not in (JSON, CSV, ARROW, PARQUET) or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(
            f"/invocations reads {JSON}, {CSV}, {PARQUET} and {ARROW} in UTF-8, not {request.content_type or ''!r:.100}"
        )
    return kind


def _table(deployment: Deployment, kind: str, body: bytes, limits: Limits) -> Table:
    schema = deployment.artifact.schema
    sent: SentTable | list[Any] | None = read_encoded(kind, body, schema, limits)
    if sent is not None:
        return judge(deployment.reader, sent)
    content = limits.json(body)
    forms = [name for name in _FORMS if isinstance(content, dict) and name in content]
    if len(forms) != 1 or not content.keys() <= {*_FORMS, "params"}:
        raise UnreadableBodyError(f"the body must be a JSON object with one of {', '.join(_FORMS)} (and params, if any), and nothing else")
    form, table = forms[0], content[forms[0]]
    if form == "dataframe_split":
        return judge(deployment.reader, _split(deployment, table, limits.max_rows))
    if form == "dataframe_records" and not isinstance(table, list):
        raise UnreadableBodyError(f"dataframe_records must be a list of objects, got {shown(table)}")
    return judge(deployment.reader, from_instances(table, schema, limits.max_rows))


def _split(deployment: Deployment, table: Any, max_rows: int) -> SentTable:
    if not isinstance(table, dict) or not isinstance(table.get("data"), list) or not table.keys() <= _SPLIT:
        raise UnreadableBodyError(
            'dataframe_split must be {"columns": [...], "index": [...], "data": [[...], ...]}, and only data is required'
        )
    names = table.get("columns")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise UnreadableBodyError(f"the columns of dataframe_split must be a list of names, got {shown(names)}")
    return from_lists(table["data"], names, deployment.artifact.schema, max_rows)
