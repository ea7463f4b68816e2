"""One error body for every failure, and the one table from exception to status and code."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from flask import Response
from werkzeug.exceptions import HTTPException

from service import errors
from training.errors import DatabaseDamagedError, DatabaseUnavailableError, SchemaVersionError

logger = logging.getLogger(__name__)

TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.UnreadableBodyError, 400, "body.unreadable"),
    (errors.InvalidRowsError, 422, "schema.invalid"),
    (errors.FailedRowsError, 422, "model.failed_rows"),
    (errors.TooManyRowsError, 413, "limit.rows"),
    (errors.BodyTooLargeError, 413, "limit.body"),
    (errors.UnauthenticatedError, 401, "access.unauthenticated"),
    (errors.ForbiddenError, 403, "access.forbidden"),
    (errors.RateLimitedError, 429, "limit.rate"),
    (errors.UnsupportedTypeError, 415, "http.415"),
    (errors.UnknownModelError, 404, "model.unknown"),
    (errors.UnknownLabelRequestError, 404, "label_request.unknown"),
    (errors.LabelRequestConflictError, 409, "label_request.conflict"),
    (errors.NothingToDrawError, 409, "label_request.nothing_to_draw"),
    (errors.UnsupportedError, 501, "unsupported"),
    (errors.ModelNotReadyError, 503, "model.not_ready"),
    (errors.OverloadedError, 503, "limit.in_flight"),
    (errors.SpoolFullError, 503, "spool_full"),
    (errors.SpoolError, 503, "spool_failed"),
    (errors.LogFullError, 503, "log_full"),
    (errors.LogUnavailableError, 503, "log_unavailable"),
    (DatabaseUnavailableError, 503, "log_unavailable"),
    (SchemaVersionError, 503, "log_unavailable"),
)
"""The first line whose type fits decides."""

MOST_NAMED = 100
_MLFLOW_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    413: "REQUEST_LIMIT_EXCEEDED",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
}
_HTTP_CODES = {404: "http.not_found", 405: "http.method_not_allowed", 413: "limit.body"}
_UNAVAILABLE = "the prediction log cannot be reached; try again"
_NO_MEMORY = "there is not enough memory for this request now; try again soon"
_DAMAGED = "the prediction log is damaged; it must be restored before anything is stored in it"


class FinishedResponse(Response):
    """A 200 of which everything is known: what Flask needs of a response, and nothing that costs time.

    Examples
    --------
    >>> response = FinishedResponse(b"{}", "application/json")
    >>> response.add_headers([("X-Request-Id", "r1")])
    >>> response({}, lambda status, headers: print(status, len(headers)))
    200 OK 3
    (b'{}',)
    """

    _status_code = 200

    def __init__(self, body: bytes, content_type: str) -> None:
        self._body = body
        self._lines = [("Content-Type", content_type), ("Content-Length", str(len(body)))]

    def add_headers(self, headers: list[tuple[str, str]]) -> None:
        """Add headers; names and values must be fit to be sent."""
        self._lines += headers

    def __call__(self, environ: Any, start_response: Any) -> tuple[bytes]:
        """Send the response (PEP 3333)."""
        start_response("200 OK", self._lines)
        return (self._body,)


def json_response(content: Any, status: int = 200) -> Response:
    """Return a JSON response; the content type has no charset, as some clients compare it literally."""
    response = Response(orjson.dumps(content), status=status)
    response.headers["Content-Type"] = "application/json"
    return response


def error_response(error: Exception, request_id: str) -> Response:
    """Return the response to any exception: never HTML, never a stack trace.

    Examples
    --------
    >>> response = error_response(errors.UnknownModelError("there is no model 'x' here"), "r1")
    >>> response.status_code, orjson.loads(response.data)["code"]
    (404, 'model.unknown')
    >>> error_response(MemoryError(), "r1").status_code
    503
    """
    status, code, text = _classify(error)
    content = _content(status, code, text, request_id)
    if isinstance(error, errors.InvalidRowsError):
        codes = {code for _, code in error.counts} or {problem.code for problem in error.problems}
        content["code"] = f"schema.{codes.pop()}" if len(codes) == 1 else code
    if isinstance(error, errors.InvalidRowsError | errors.FailedRowsError):
        content["fields"] = [problem.to_dict() for problem in error.problems[:MOST_NAMED]]
        content["fields_total"] = error.total
    response = json_response(content, status)
    if status in (429, 503):
        response.headers["Retry-After"] = str(getattr(error, "retry_after_seconds", 1))
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, HTTPException):
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def error_body(status: int, code: str, text: str, request_id: str) -> bytes:
    """Return the error body of what never reaches the application."""
    return orjson.dumps(_content(status, code, text, request_id))


def _content(status: int, code: str, text: str, request_id: str) -> dict[str, Any]:
    return {
        "error": text,
        "error_code": _MLFLOW_CODES.get(status, "INTERNAL_ERROR" if status >= 500 else "BAD_REQUEST"),
        "message": text,
        "code": code,
        "fields": [],
        "request_id": request_id,
    }


def _classify(error: Exception) -> tuple[int, str, str]:
    for kind, status, code in TABLE:
        if isinstance(error, kind):
            if code == "log_unavailable":
                return status, code, _DAMAGED if isinstance(error, DatabaseDamagedError) else _UNAVAILABLE
            return status, code, str(error)
    if isinstance(error, MemoryError):
        logger.warning("a request was refused for want of memory", exc_info=error)
        return 503, "limit.in_flight", _NO_MEMORY
    if isinstance(error, HTTPException) and error.code is not None and 400 <= error.code < 600:
        return error.code, _HTTP_CODES.get(error.code, f"http.{error.code}"), error.description or error.name
    logger.error("a request failed", exc_info=error)
    return 500, "internal", "something went wrong here; the log says what under this request id"
