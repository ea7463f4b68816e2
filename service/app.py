"""The composition root of a worker: makes everything once, hands each part what it needs."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry

from service.access import MODEL_NAME, Access, load_keys, presented_key, refuse_open_bind
from service.answering import Answering
from service.answers import error_answer
from service.deployments import Deployments
from service.drain import Drain, DrainPolicy
from service.encodings import Limits
from service.errors import BodyTooLargeError, ServiceError, UnknownModelError
from service.failpoints import armed, never
from service.ids import IdMinter
from service.labelling import Labelling
from service.metrics import ServiceMetrics
from service.openapi import release
from service.prediction_log import PredictionLog
from service.rejects import Rejects
from service.routes import documents, health, kserve_v1, labels, mlflow, models, open_inference, rows
from service.settings import ServiceSettings, from_environment
from service.spool import Spool
from service.statistics import Statistics
from training.database import Database, open_database
from training.registry import Registry
from training.signing import load_or_make_key

logger = logging.getLogger(__name__)

EXTENSION = "evergreen"
LOCK_TIMEOUT_SECONDS = 1.0
STOP_WITHIN_SECONDS = 5.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Service:
    """The parts of one worker that live and die with it."""

    settings: ServiceSettings
    database: Database
    deployments: Deployments
    spool: Spool
    drain: Drain
    log: PredictionLog
    metrics: ServiceMetrics

    def start(self) -> None:
        """Load the champions and start the background threads; after the fork, before the first request."""
        self.deployments.start(self.settings.alias_poll_seconds)
        self.drain.start()

    def stop(self) -> None:
        """Bring what is in the spool into the log, as far as that goes quickly, and close."""
        self.deployments.stop()
        if not self.drain.stop(within_seconds=STOP_WITHIN_SECONDS):
            logger.warning("the prediction log is out of reach; the spool file stays for the next worker")
        self.database.close()


def create_app(settings: ServiceSettings, registry: CollectorRegistry | None = None) -> Flask:
    """Make the Flask application of one worker; nothing runs in it before `service_of(app).start()`.

    Parameters
    ----------
    registry
        Where metrics are declared; a fresh one by default.

    Raises
    ------
    SettingsError
        The key file is wrong, a failpoint unknown, or the address open without keys.
    """
    keys = None if settings.keys_file is None else load_keys(settings.keys_file)
    refuse_open_bind(is_loopback=settings.is_loopback, bind=settings.bind, has_keys=keys is not None)
    failpoint = never if settings.failpoint is None else armed(settings.failpoint)
    home = settings.home.ensure()
    metrics_registry = registry or CollectorRegistry()
    metrics = ServiceMetrics(metrics_registry)
    database = open_database(settings.database_url, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS)
    log = PredictionLog(database)
    minter = IdMinter(load_or_make_key(home.ids_key))
    rejects = Rejects()
    deployments = Deployments(
        registry=Registry(database),
        home=home,
        signing_key=load_or_make_key(home.signing_key),
        metrics=metrics,
        clock=machine_now,
        only=settings.models,
    )
    waker = _Waker()
    spool = Spool(
        home.spool,
        minter,
        segment_bytes=settings.spool_segment_bytes,
        max_bytes=settings.spool_max_bytes,
        failpoint=failpoint,
        wake=waker,
    )
    drain = Drain(
        spool=spool,
        folder=home.spool,
        log=log,
        book=deployments.book,
        rejects=rejects,
        metrics=metrics,
        clock=machine_now,
        policy=DrainPolicy(settings.drain_interval_seconds, settings.log_max_rows),
        failpoint=failpoint,
    )
    waker.drain = drain
    answering = Answering(deployments=deployments, spool=spool, drain=drain, rejects=rejects, metrics=metrics, clock=machine_now)
    labelling = Labelling(minter=minter, log=log, drain=drain, metrics=metrics, clock=machine_now)

    app = Flask("evergreen", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.extensions[EXTENSION] = Service(settings, database, deployments, spool, drain, log, metrics)
    limits = Limits(settings.max_body_bytes, settings.max_rows)
    statistics = Statistics(metrics_registry, settings.metrics_folder)
    app.register_blueprint(rows.blueprint(answering, limits=limits, failpoint=failpoint))
    app.register_blueprint(open_inference.blueprint(deployments, answering, limits, statistics, release))
    app.register_blueprint(kserve_v1.blueprint(deployments, answering, limits))
    app.register_blueprint(mlflow.blueprint(deployments, answering, limits, default_model=settings.default_model, release=release))
    app.register_blueprint(documents.blueprint(deployments, settings.default_model))
    app.register_blueprint(labels.blueprint(deployments, labelling, max_rows=settings.max_rows))
    app.register_blueprint(models.blueprint(deployments))
    app.register_blueprint(health.blueprint(deployments, metrics_registry, settings.metrics_folder))
    _add_hooks(app, settings, Access(keys), metrics)
    return app


def from_gunicorn() -> Flask:
    """Make the application of a gunicorn worker, from its environment."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return create_app(from_environment(os.environ, metrics_folder=Path(folder) if folder else None))


def service_of(app: Flask) -> Service:
    """Give the parts behind an application."""
    service: Service = app.extensions[EXTENSION]
    return service


def machine_now() -> datetime:
    """Give machine time."""
    return datetime.now(UTC)


class _Waker:
    """Lets the spool wake the drain, which is made after it."""

    drain: Drain | None = None

    def __call__(self) -> None:
        if self.drain is not None:
            self.drain.wake()


def _add_hooks(app: Flask, settings: ServiceSettings, access: Access, metrics: ServiceMetrics) -> None:
    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        sent = request.headers.get("X-Request-Id", "")
        g.request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        metrics.in_flight.inc()
        g.is_counted = True
        if request.routing_exception is not None:
            return
        model = (request.view_args or {}).get("model")
        access.check(request.endpoint, model, presented_key(request.headers.get("Authorization"), request.headers.get("X-API-Key")))
        if model is not None and not MODEL_NAME.fullmatch(model):
            raise UnknownModelError("there is no model of this name here")
        if request.content_length is not None and request.content_length > settings.max_body_bytes:
            raise BodyTooLargeError(f"the body has {request.content_length} bytes; the limit is {settings.max_body_bytes}")

    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        response = error_answer(error, g.get("request_id", ""))
        if response.status_code >= 400:
            metrics.refused.labels(_reason(error, response.status_code)).inc()
        return response

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "")
        route = request.url_rule.rule if request.url_rule is not None else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(method, route, str(response.status_code)).inc()
        metrics.request_seconds.labels(method, route).observe(time.perf_counter() - g.get("started", time.perf_counter()))
        return response

    @app.teardown_request
    def forget(_error: BaseException | None) -> None:
        if g.pop("is_counted", False):
            metrics.in_flight.dec()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def _reason(error: Exception, status: int) -> str:
    if isinstance(error, ServiceError):
        return type(error).__name__.removesuffix("Error")
    return f"http_{status}"
