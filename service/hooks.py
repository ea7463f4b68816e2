"""What happens to every request before and after its route: id, trace, key, limits, counting. Also: which requests are light."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response, g
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter, Rule

from service import tracing
from service.access import MODEL_NAME, POLICY, Access, presented_key
from service.answers import Finished, error_answer
from service.errors import BodyTooLargeError, OverloadedError, ServiceError, UnknownModelError
from service.logs import forget_request, note_request
from service.marks import OVERLOADED, ROUTE, TOO_LARGE
from service.metrics import ServiceMetrics

LIGHT_BYTES = 64 << 10
_ALWAYS_LIGHT = frozenset(
    {"health.livez", "health.readyz", "open_inference.live", "open_inference.ready", "kserve_v1.alive", "mlflow.ping"}
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_PREDICTING = frozenset(endpoint for endpoint, scope in POLICY.items() if scope == "predict")


class _NoSessions(SessionInterface):
    """There are no sessions here, so one that is not any serves all."""

    _nothing = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._nothing


class ServiceFlask(Flask):
    """Flask, with what happens to every request, and what the worker asks of the application.

    Parameters
    ----------
    default_model
        Gives the model of a route that names none.
    is_quick
        Says of a model (None: the default one) and the size of a body whether answering it holds up nobody.

    Notes
    -----
    `preprocess_request` and `process_response` are overridden where others register functions: there is one of each.
    """

    session_interface = _NoSessions()

    def __init__(
        self,
        *,
        max_body_bytes: int,
        access: Access,
        metrics: ServiceMetrics,
        default_model: Callable[[], str | None],
        is_quick: Callable[[str | None, int], bool],
    ) -> None:
        super().__init__("evergreen", static_folder=None)
        self._max_body_bytes = max_body_bytes
        self._access = access
        self._metrics = metrics
        self._default_model = default_model
        self._is_quick = is_quick
        self._adapter: MapAdapter | None = None
        self.register_error_handler(Exception, self._refuse)

    # ---- for the worker -----------------------------------------------------------------------------------------

    def route_of(self, environ: dict[str, Any]) -> tuple[Rule, dict[str, Any]] | None:
        """Find the route of a request by method and path; None when Flask shall find out itself what to say."""
        if environ["REQUEST_METHOD"] not in ("GET", "POST") or not environ["PATH_INFO"].isascii():
            return None
        if self._adapter is None:
            self._adapter = self.url_map.bind("")
        try:
            return self._adapter.match(environ["PATH_INFO"], environ["REQUEST_METHOD"], return_rule=True)  # type: ignore[return-value]
        except HTTPException:
            return None

    def is_light(self, environ: dict[str, Any], n_bytes: int) -> bool:
        """Whether a request is answered so soon that handing it to a thread would cost more."""
        route = environ.get(ROUTE)
        if route is None:
            return False
        endpoint = route[0].endpoint
        if endpoint in _PREDICTING:
            return n_bytes <= LIGHT_BYTES and "HTTP_CONTENT_ENCODING" not in environ and self._is_quick(route[1].get("model"), n_bytes)
        return endpoint in _ALWAYS_LIGHT

    def note_deadline(self, environ: dict[str, Any]) -> None:
        """Count a request that was given up."""
        route = environ.get(ROUTE)
        self._metrics.deadline_exceeded.labels((route[1].get("model") if route else None) or "").inc()

    # ---- for every request --------------------------------------------------------------------------------------

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Take the route that the worker has found, else leave it to Flask."""
        route = None if request is None else request.environ.get(ROUTE)
        if route is None:
            return super().create_url_adapter(request)
        request.url_rule, request.view_args = route[0], dict(route[1])  # type: ignore[union-attr]
        return None

    def preprocess_request(self) -> None:
        """Give the request its ids; refuse it without a key that may, beyond a rate, or with too large a body."""
        request, state = request_ctx.request, g._get_current_object()
        environ = request.environ
        self._metrics.begin(environ)
        state.started = time.perf_counter()
        sent = environ.get("HTTP_X_REQUEST_ID")
        state.request_id = sent if sent is not None and _REQUEST_ID.fullmatch(sent) else tracing.new_request_id()
        state.trace = trace = tracing.begin(environ.get("HTTP_TRACEPARENT"))
        note_request(state.request_id, trace.trace_id, trace.span_id)
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
        self._access.check(rule.endpoint, model, key)
        if model is not None and not MODEL_NAME.fullmatch(model):
            raise UnknownModelError("there is no model of this name here")
        if TOO_LARGE in environ or _length(environ) > self._max_body_bytes:
            raise BodyTooLargeError(f"the body has {_length(environ) or 'more'} bytes; the limit is {self._max_body_bytes}")

    def process_response(self, response: Response) -> Response:
        """Tell the ids, and count."""
        request, state = request_ctx.request, g._get_current_object()
        now = time.perf_counter()
        started = state.get("started", now)
        if started is not now:
            ids = [("X-Request-Id", state.request_id), ("traceparent", state.trace.traceparent)]
            if isinstance(response, Finished):
                response.tell(ids)
            else:
                response.headers.extend(ids)
        environ, rule = request.environ, request.url_rule
        notes = self._metrics.of_route(environ["REQUEST_METHOD"], "unmatched" if rule is None else rule.rule, response.status_code)
        notes.note(now - started, _length(environ))
        return response

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Take every view for what it is: none here is a coroutine, so none needs to be looked at."""
        return func

    def do_teardown_appcontext(self, exc: BaseException | None = None) -> None:
        """Tear nothing down: there is nothing but the request."""

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Forget the request."""
        forget_request()
        self._metrics.end(request_ctx.request.environ)

    def _refuse(self, error: Exception) -> Response:
        response = error_answer(error, g.get("request_id", ""))
        if response.status_code >= 400:
            self._metrics.refused.labels(_reason(error, response.status_code)).inc()
        return response


def _length(environ: dict[str, Any]) -> int:
    """Give the length of the body as the head tells it; 0 when it does not, or not in digits."""
    text: str = environ.get("CONTENT_LENGTH", "")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _reason(error: Exception, status: int) -> str:
    if isinstance(error, ServiceError):
        return type(error).__name__.removesuffix("Error")
    return f"http_{status}"
