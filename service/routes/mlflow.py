"""MLflow's scoring protocol, which is SageMaker's container contract too: ``/invocations`` and ``/ping``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import UnsupportedMediaType

from service.codecs.tables import SentTable, from_instances, from_lists
from service.columns.reader import Table
from service.columns.values import shown
from service.errors import ModelNotReadyError, UnknownModelError, UnreadableBodyError
from service.models.deployments import Deployments
from service.models.served_model import Deployment
from service.predicting import Predicting
from service.routes.prediction_json import predictions_response
from service.routes.readiness import refuse_unless_ready
from service.routes.reading import Limits, judge, read_encoded
from service.web.bodies import ARROW, CSV, JSON, PARQUET, kind_of

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_SPLIT = {"columns", "index", "data"}


def blueprint(deployments: Deployments, predicting: Predicting, limits: Limits, *, release: Callable[[], str]) -> Blueprint:
    """Return the routes."""
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
        """Predict a table in one of the forms of MLflow's protocol, with the default model where the path names none."""
        if model is None:
            raise _no_default(deployments)
        kind = _kind()
        with limits.readers:
            body = limits.body(request)
            deployment = predicting.deployment(model)
            table = _table(deployment, kind, body, limits)
        return predictions_response(predicting.predict(deployment, table, g.request_id, g.trace.trace_id, g.key))

    return routes


def _no_default(deployments: Deployments) -> Exception:
    if not deployments.all():
        reason = f": {deployments.why_not_ready()}" if g.visible.is_all else ""
        return ModelNotReadyError(f"no model answers here{reason}")
    return UnknownModelError("several models are served here: set EVERGREEN_DEFAULT_MODEL, or call /models/<model>/predict")


def _pong(deployments: Deployments) -> Response:
    refuse_unless_ready(deployments, g.visible)
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
        return judge(deployment.reader, _split(deployment, table, limits.rows_of(schema)))
    if form == "dataframe_records" and not isinstance(table, list):
        raise UnreadableBodyError(f"dataframe_records must be a list of objects, got {shown(table)}")
    return judge(deployment.reader, from_instances(table, schema, limits.rows_of(schema)))


def _split(deployment: Deployment, table: Any, max_rows: int) -> SentTable:
    if not isinstance(table, dict) or not isinstance(table.get("data"), list) or not table.keys() <= _SPLIT:
        raise UnreadableBodyError(
            'dataframe_split must be {"columns": [...], "index": [...], "data": [[...], ...]}, and only data is required'
        )
    names = table.get("columns")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise UnreadableBodyError(f"the columns of dataframe_split must be a list of names, got {shown(names)}")
    return from_lists(table["data"], names, deployment.artifact.schema, max_rows)
