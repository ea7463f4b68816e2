"""What happens to every request before and after its route: id, trace, key, limits, counting. Also: which requests are light."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from flask import Flask, Request, Response, g
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from service.errors import BodyTooLargeError, InvalidRowsError, OverloadedError, ServiceError, UnknownModelError
from service.recording.rejected_rows import Rejects
from service.telemetry import trace_context
from service.telemetry.json_logs import forget_request, note_request
from service.telemetry.metrics import ServiceMetrics
from service.web.api_keys import MODEL_NAME, POLICY, ApiKeys, presented_key
from service.web.bodies import JSON
from service.web.environ_keys import OVERLOADED, ROUTE, TOO_LARGE, WHOLE_BODY
from service.web.foreign_pages import ForeignPages
from service.web.responses import FinishedResponse, error_body, error_response
from service.worker.protocol import Environ, WorkerLimits

LIGHT_BYTES = 64 << 10
_ALWAYS_LIGHT = frozenset(
    {"health.livez", "health.readyz", "open_inference.live", "open_inference.ready", "kserve_v1.alive", "mlflow.ping"}
)
_OF_ANY_LENGTH = re.compile("arrow|parquet", re.IGNORECASE)
"""Content types of which a few bytes may be any number of rows."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_PREDICTING = frozenset(endpoint for endpoint, scope in POLICY.items() if scope == "predict")


class _NoSessions(SessionInterface):
    """There are no sessions here, so one that is not any serves all."""

    _nothing = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._nothing


class ServiceRequest(Request):
    """A request whose form nobody reads."""

    def close(self) -> None:
        """Close nothing: there are no files of a form."""


class ServiceFlask(Flask):
    """Flask, with what happens to every request, and what the worker asks of an application (`service.worker.protocol`).

    Parameters
    ----------
    default_model
        Returns the model of a route that names none.
    is_quick
        Returns whether answering a body of some size with a model (None: the default one) holds up nobody.
    pages
        Which web pages may ask while there are no keys.

    Notes
    -----
    `full_dispatch_request` is Flask's without its signals, which nobody here listens to, and with one thing before and one after each
    request where others register functions.
    """

    request_class = ServiceRequest
    session_interface = _NoSessions()

    def __init__(
        self,
        *,
        worker_limits: WorkerLimits,
        api_keys: ApiKeys,
        metrics: ServiceMetrics,
        rejects: Rejects,
        default_model: Callable[[], str | None],
        is_quick: Callable[[str | None, int], bool],
        pages: ForeignPages,
    ) -> None:
        super().__init__("evergreen", static_folder=None)
        self.url_map.merge_slashes = False  # else //path is answered with a redirect to wherever Host says, before any key is asked for
        self.worker_limits = worker_limits
        self.config["MAX_CONTENT_LENGTH"] = worker_limits.max_body_bytes
        self._api_keys = api_keys
        self._metrics = metrics
        self._rejects = rejects
        self._default_model = default_model
        self._is_quick = is_quick
        self._pages = pages
        self._adapter: MapAdapter | None = None
        self.register_error_handler(Exception, self._refuse)

    # ---- for the worker -----------------------------------------------------------------------------------------

    def add_route(self, environ: Environ) -> None:
        """Add the route of a request by its method and path, unless Flask shall find out itself how to answer."""
        if environ["REQUEST_METHOD"] not in ("GET", "POST") or not environ["PATH_INFO"].isascii():
            return
        if self._adapter is None:
            self._adapter = self.url_map.bind("")
        with suppress(HTTPException):
            environ[ROUTE] = self._adapter.match(environ["PATH_INFO"], environ["REQUEST_METHOD"], return_rule=True)

    def add_body(self, environ: Environ, body: bytes | None) -> None:
        """Add the whole body, or None when it was left unread because it is larger than the limit."""
        environ[WHOLE_BODY] = body or b""
        if body is None:
            environ[TOO_LARGE] = True

    def add_overload(self, environ: Environ) -> None:
        """Add that too many requests wait already."""
        environ[OVERLOADED] = True

    def is_light(self, environ: Environ, n_bytes: int) -> bool:
        """Return whether a request with a body of so many bytes is answered sooner than handed to a thread."""
        route = environ.get(ROUTE)
        if route is None:
            return False
        endpoint = route[0].endpoint
        if endpoint in _PREDICTING:
            return (
                n_bytes <= LIGHT_BYTES
                and "HTTP_CONTENT_ENCODING" not in environ
                and ((kind := environ.get("CONTENT_TYPE", JSON)) == JSON or not _OF_ANY_LENGTH.search(kind))
                and self._is_quick(route[1].get("model"), n_bytes)
            )
        return endpoint in _ALWAYS_LIGHT

    def note_deadline(self, environ: Environ) -> None:
        """Count a request that was given up at its deadline."""
        route = environ.get(ROUTE)
        self._metrics.deadline_exceeded.labels((route[1].get("model") if route else None) or "").inc()

    def error_body(self, status: int, code: str, text: str) -> bytes:
        """Return the JSON body of an error that the worker itself answers."""
        return error_body(status, code, text, "")

    # ---- for every request --------------------------------------------------------------------------------------

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Take the route from the worker, else leave it to Flask."""
        if request is None:
            return None  # there is no SERVER_NAME
        route = request.environ.get(ROUTE)
        if route is None:
            return super().create_url_adapter(request)
        request.url_rule, request.view_args = route[0], dict(route[1])
        return None

    def full_dispatch_request(self) -> Response:
        """Answer a request, whatever comes of it; the context is looked up once."""
        request, state = request_ctx.request, g._get_current_object()
        try:
            self._begin(request, state)
            rule = request.url_rule
            is_plain = rule is not None and request.method != "OPTIONS"
            answer: Any = self.view_functions[rule.endpoint](**request.view_args or {}) if is_plain else self.dispatch_request()  # type: ignore[union-attr]
        except Exception as error:  # noqa: BLE001 - answered by its handler, or raised again
            answer = self.handle_user_exception(error)
        return self._end(request, state, answer if isinstance(answer, Response) else self.make_response(answer))

    def _begin(self, request: Request, state: Any) -> None:
        """Name the request by its ids; refuse it without a key that may, beyond a rate, or with too large a body."""
        environ = request.environ
        self._metrics.begin(environ)
        state.started = time.perf_counter()
        sent = environ.get("HTTP_X_REQUEST_ID")
        state.request_id = sent if sent is not None and _REQUEST_ID.fullmatch(sent) else trace_context.new_request_id()
        state.trace = trace = trace_context.begin(environ.get("HTTP_TRACEPARENT"))
        note_request(state.request_id, trace.trace_id, trace.span_id)
        if not self._api_keys.exist:
            self._pages.check(environ)
        if OVERLOADED in environ:
            raise OverloadedError("too many requests wait here already; try again soon")
        rule = request.url_rule
        if rule is None:  # Flask answers 404 or 405
            return
        values = request.view_args or {}
        model = values.get("model")
        if model is None and "model" in values:  # before access is checked: a key may be good for some models only
            model = values["model"] = self._default_model()
        key = presented_key(environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY"))
        state.key = self._api_keys.check(rule.endpoint, model, key) or ""
        if model is None:
            state.visible = self._api_keys.visible_models(key)
        if model is not None and not MODEL_NAME.fullmatch(model):
            raise UnknownModelError("there is no model of this name here")
        if TOO_LARGE in environ or _length(environ) > self.worker_limits.max_body_bytes:
            raise BodyTooLargeError(f"the body has {_length(environ) or 'more'} bytes; the limit is {self.worker_limits.max_body_bytes}")

    def _end(self, request: Request, state: Any, response: Response) -> Response:
        """Add the ids, and count."""
        now = time.perf_counter()
        started = state.get("started", now)
        if started is not now:
            ids = [("X-Request-Id", state.request_id), ("traceparent", state.trace.traceparent)]
            if isinstance(response, FinishedResponse):
                response.add_headers(ids)
            else:
                response.headers.extend(ids)
        environ, rule = request.environ, request.url_rule
        notes = self._metrics.of_route(environ["REQUEST_METHOD"], "unmatched" if rule is None else rule.rule, response.status_code)
        notes.note(now - started, _length(environ))
        return response

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Take every handler for what it is: none here is a coroutine, so none needs to be looked at."""
        return func

    def do_teardown_appcontext(self, exc: BaseException | None = None) -> None:
        """Tear nothing down: there is nothing but the request."""

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Forget the request."""
        forget_request()
        self._metrics.end(request_ctx.request.environ)

    def _refuse(self, error: Exception) -> Response:
        response = error_response(error, g.get("request_id", ""))
        if response.status_code >= 400:
            self._metrics.refuse(_reason(error, response.status_code))
        if isinstance(error, InvalidRowsError) and error.counts:
            self._count_rejected((request_ctx.request.view_args or {})["model"], error.counts)
        return response

    def _count_rejected(self, model: str, counts: Mapping[tuple[str, str], int]) -> None:
        self._rejects.add(model, counts)
        for (_, code), values in counts.items():
            self._metrics.rejected_rows.labels(model, code).inc(values)


def _length(environ: dict[str, Any]) -> int:
    """Return the length of the body as the head has it; 0 when it has none, or not in digits."""
    text: str = environ.get("CONTENT_LENGTH", "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _reason(error: Exception, status: int) -> str:
    if isinstance(error, ServiceError):
        return type(error).__name__.removesuffix("Error")
    return f"http_{status}"
