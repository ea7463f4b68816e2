"""The composition root of a worker: makes everything once, hands each part what it needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask
from prometheus_client import CollectorRegistry

from service.access import Access, load_keys, rate_counts, refuse_open_bind
from service.answering import Answering
from service.batching import Lane
from service.deployments import Deployments
from service.drain import Drain, DrainPolicy
from service.encodings import Limits
from service.failpoints import Failpoint, armed, never
from service.hooks import ServiceFlask
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
from service.upkeep import Upkeep
from training.database import Database, open_database
from training.registry import Registry
from training.signing import load_or_make_key

logger = logging.getLogger(__name__)

EXTENSION = "evergreen"
LOCK_TIMEOUT_SECONDS = 1.0
STOP_WITHIN_SECONDS = 5.0


@dataclass(frozen=True)
class Service:
    """The parts of one worker that live and die with it; `drain` is None where another process drains."""

    settings: ServiceSettings
    database: Database
    deployments: Deployments
    spool: Spool
    upkeep: Upkeep
    drain: Drain | None
    log: PredictionLog
    metrics: ServiceMetrics

    def start(self) -> None:
        """Load the champions and start the background threads; after the fork, before the first request."""
        self.deployments.start(self.settings.alias_poll_seconds)
        self.upkeep.start()
        if self.drain is not None:
            self.drain.start()

    def stop(self) -> None:
        """Let go of the spool, and close; a drain of our own first brings what is in it into the log, if that goes quickly."""
        self.deployments.stop()
        self.upkeep.stop()
        self.spool.close()
        if self.drain is not None and not self.drain.stop(within_seconds=STOP_WITHIN_SECONDS):
            logger.warning("the prediction log is out of reach; the spool files stay for the next drain")
        self.database.close()


def create_app(settings: ServiceSettings, registry: CollectorRegistry | None = None, *, drains: bool = True) -> Flask:
    """Make the Flask application of one worker; nothing runs in it before `service_of(app).start()`.

    Parameters
    ----------
    registry
        Where metrics are declared; a fresh one by default.
    drains
        Whether a thread of this process drains the spool; under gunicorn a process of its own does.

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
    deployments = _make_deployments(settings, database, metrics)
    spool = Spool(home.spool, minter, segment_bytes=settings.spool_segment_bytes, max_bytes=settings.spool_max_bytes, failpoint=failpoint)
    upkeep = Upkeep(rejects=rejects, log=log, book=deployments.book, flush=metrics.flush, clock=machine_now)
    drain = _make_drain(settings, log, deployments, metrics, failpoint) if drains else None
    answering = Answering(deployments=deployments, spool=spool, rejects=rejects, metrics=metrics, clock=machine_now)
    labelling = Labelling(minter=minter, log=log, spool_folder=home.spool, metrics=metrics, clock=machine_now)

    app = ServiceFlask(
        max_body_bytes=settings.max_body_bytes,
        access=Access(keys, rate_counts(keys, settings.metrics_folder or home.metrics)),
        metrics=metrics,
        default_model=lambda: settings.default_model or deployments.only_one(),
        is_quick=lambda model, n_bytes: deployments.is_quick(model or settings.default_model, n_bytes),
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["MOST_IN_FLIGHT"] = settings.max_in_flight
    app.config["MOST_HELD_BYTES"] = settings.max_held_bytes
    app.config["DEADLINE_SECONDS"] = settings.deadline_seconds
    app.extensions[EXTENSION] = Service(settings, database, deployments, spool, upkeep, drain, log, metrics)
    limits = Limits(settings.max_body_bytes, settings.max_rows, settings.max_json_depth, settings.max_decompressed_bytes)
    statistics = Statistics(metrics_registry, settings.metrics_folder, metrics.flush)
    app.register_blueprint(rows.blueprint(answering, limits=limits, failpoint=failpoint))
    app.register_blueprint(open_inference.blueprint(deployments, answering, limits, statistics, release))
    app.register_blueprint(kserve_v1.blueprint(deployments, answering, limits))
    app.register_blueprint(mlflow.blueprint(deployments, answering, limits, release=release))
    app.register_blueprint(documents.blueprint(deployments, settings.default_model, settings.max_rows))
    app.register_blueprint(labels.blueprint(deployments, labelling, limits))
    app.register_blueprint(models.blueprint(deployments))
    app.register_blueprint(health.blueprint(deployments, metrics_registry, settings.metrics_folder, metrics.flush))
    return app


def from_gunicorn() -> Flask:
    """Make the application of a gunicorn worker, from its environment."""
    return create_app(_environment(), drains=False)


@contextmanager
def draining() -> Iterator[None]:
    """Drain for all workers of a gunicorn, from its environment; leaving brings in what they let go of."""
    settings = _environment()
    metrics = ServiceMetrics(CollectorRegistry())
    database = open_database(settings.database_url, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS)
    failpoint = never if settings.failpoint is None else armed(settings.failpoint)
    drain = _make_drain(settings, PredictionLog(database), _make_deployments(settings, database, metrics), metrics, failpoint)
    drain.start()
    yield
    if not drain.stop(within_seconds=STOP_WITHIN_SECONDS):
        logger.warning("the prediction log is out of reach; the spool files stay for the next drain")
    database.close()


def _environment() -> ServiceSettings:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return from_environment(os.environ, metrics_folder=Path(folder) if folder else None)


def _make_deployments(settings: ServiceSettings, database: Database, metrics: ServiceMetrics) -> Deployments:
    return Deployments(
        registry=Registry(database),
        home=settings.home,
        signing_key=load_or_make_key(settings.home.signing_key),
        metrics=metrics,
        clock=machine_now,
        only=settings.models,
        max_letters=settings.max_string_letters,
        lane=Lane(on_batch=metrics.note_call),
    )


def _make_drain(
    settings: ServiceSettings, log: PredictionLog, deployments: Deployments, metrics: ServiceMetrics, failpoint: Failpoint
) -> Drain:
    return Drain(
        folder=settings.home.spool,
        log=log,
        book=deployments.book,
        metrics=metrics,
        clock=machine_now,
        policy=DrainPolicy(settings.drain_interval_seconds, settings.log_max_rows),
        failpoint=failpoint,
    )


def service_of(app: Flask) -> Service:
    """Give the parts behind an application."""
    service: Service = app.extensions[EXTENSION]
    return service


def machine_now() -> datetime:
    """Give machine time."""
    return datetime.now(UTC)
