"""The composition root of a worker: makes everything once, hands each part what it needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from flask import Flask
from prometheus_client import CollectorRegistry

from service.codecs.parquet_process import ParquetProcess
from service.label_requests.drawing import LabelRequests
from service.labelling import Labelling
from service.models.batching import Batcher
from service.models.deployments import Deployments
from service.models.following import RegistryFollower
from service.models.loading import VersionLoader
from service.ports import refuse_open_bind
from service.predicting import Predicting
from service.prediction_log import tables as log_tables
from service.prediction_log.ids import IdMinter
from service.prediction_log.prediction_log import PredictionLog
from service.recording.background import BackgroundWriter
from service.recording.database_damage import DamageCheck, DamageNote
from service.recording.disk_room import free_bytes, size_bytes
from service.recording.drain import Drain, DrainPolicy
from service.recording.failpoints import Failpoint, armed, never
from service.recording.rejected_rows import Rejects
from service.recording.spool import Spool
from service.recording.spool_age import SpoolAge
from service.recording.version_facts import VersionCache
from service.routes import docs, health, kserve_v1, labels, mlflow, models, open_inference, predict
from service.routes.reading import Limits
from service.settings import ServiceSettings, from_environment
from service.telemetry.metrics import ServiceMetrics
from service.telemetry.release import release
from service.telemetry.statistics import Statistics
from service.web.application import ServiceFlask
from service.web.foreign_pages import ForeignPages
from service.web.key_file import KeyFile
from service.web.last_keys import load_or_last
from service.worker.protocol import Application, WorkerLimits
from training.artifacts.signing import load_or_make_key
from training.own_code import extend_path
from training.registry import tables as registry_tables
from training.registry.reach import signing_key_of
from training.registry.registry import Registry
from training.storage.database import Database, open_database

logger = logging.getLogger(__name__)

EXTENSION = "evergreen"
STOP_WITHIN_SECONDS = 5.0
KNOWN_TABLES = {registry_tables.COMPONENT: registry_tables.VERSION, log_tables.COMPONENT: log_tables.SCHEMA_VERSION}


@dataclass(frozen=True)
class Service:
    """The parts of one worker that live and die with it; `drain` is None where another process drains."""

    settings: ServiceSettings
    database: Database
    deployments: Deployments
    follower: RegistryFollower
    spool: Spool
    background: BackgroundWriter
    drain: Drain | None
    log: PredictionLog
    metrics: ServiceMetrics
    key_file: KeyFile
    limits: Limits

    def start(self, *, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Load the champions and start the background threads; after the fork, before the first request.

        `is_wanted` is that of `RegistryFollower.start`.
        """
        self.follower.start(self.settings.alias_poll_seconds, is_wanted=is_wanted)
        self.background.start()
        self.key_file.start()
        if self.drain is not None:
            self.drain.start()

    def stop(self) -> None:
        """Let go of the spool, and close; a drain of our own first brings what is in it into the log, if that goes quickly."""
        self.follower.stop()
        self.background.stop()
        self.key_file.stop()
        self.spool.close()
        self.limits.parquet.stop()
        if self.drain is not None and not self.drain.stop(within_seconds=STOP_WITHIN_SECONDS):
            logger.warning("the prediction log is out of reach; the spool files stay for the next drain")
        self.database.close()


def create_app(settings: ServiceSettings, registry: CollectorRegistry | None = None, *, drains: bool = True) -> ServiceFlask:
    """Make the application of one worker; nothing runs in it before `service_of(app).start()`.

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
    extend_path(settings.code)
    keys = load_or_last(settings.keys_file, settings.metrics_folder)
    refuse_open_bind(is_loopback=settings.is_loopback, bind=settings.bind, has_keys=keys is not None)
    failpoint = never if settings.failpoint is None else armed(settings.failpoint)
    home = settings.home.ensure()
    metrics_registry = registry or CollectorRegistry()
    metrics = ServiceMetrics(metrics_registry)
    damage = DamageNote(home.spool)
    database = open_database(settings.database_url, lock_timeout_seconds=settings.log_patience_seconds, on_damage=damage.note)
    log = PredictionLog(database)
    minter = IdMinter(load_or_make_key(home.ids_key))
    rejects = Rejects()
    deployments, loader = Deployments(settings.models or ()), _make_loader(settings, database, metrics)
    follower = RegistryFollower(
        registry=Registry(database),
        loader=loader,
        deployments=deployments,
        champions_folder=home.champions,
        metrics=metrics,
        only=settings.models,
        check=lambda: database.refuse_newer(KNOWN_TABLES),
    )
    spool = _make_spool(settings, minter, failpoint)
    background = BackgroundWriter(rejects=rejects, log=log, versions=loader.versions, flush=metrics.flush, clock=machine_now)
    drain = _make_drain(settings, log, loader.versions, metrics, failpoint) if drains else None
    predicting = Predicting(deployments=deployments, spool=spool, metrics=metrics, clock=machine_now)
    labelling = _make_labelling(settings, minter, log, metrics)

    key_file = KeyFile(settings.keys_file or home.api_keys, keys, settings.metrics_folder or home.metrics)

    app = ServiceFlask(
        worker_limits=WorkerLimits(
            settings.max_body_bytes, settings.max_in_flight, settings.max_held_bytes, deadline_seconds=settings.deadline_seconds
        ),
        api_keys=key_file.api_keys,
        metrics=metrics,
        rejects=rejects,
        default_model=lambda: settings.default_model or deployments.only_one(),
        is_quick=lambda model, n_bytes: deployments.is_quick(model or settings.default_model, n_bytes),
        pages=ForeignPages(settings.hosts),
    )
    limits = _make_limits(settings)
    app.extensions[EXTENSION] = Service(settings, database, deployments, follower, spool, background, drain, log, metrics, key_file, limits)
    statistics = Statistics(metrics_registry, settings.metrics_folder, metrics.flush)
    app.register_blueprint(predict.blueprint(predicting, limits=limits, failpoint=failpoint))
    app.register_blueprint(open_inference.blueprint(deployments, predicting, limits, statistics, refresh=follower.refresh, release=release))
    app.register_blueprint(kserve_v1.blueprint(deployments, predicting, limits))
    app.register_blueprint(mlflow.blueprint(deployments, predicting, limits, release=release))
    app.register_blueprint(docs.blueprint(deployments, settings.default_model, settings.max_rows))
    app.register_blueprint(labels.blueprint(deployments, labelling, LabelRequests(database, machine_now), limits))
    app.register_blueprint(models.blueprint(deployments))
    age = SpoolAge(home.spool, settings.spool_oldest_seconds, clock=lambda: machine_now().timestamp())

    def flush() -> None:
        _measure(metrics, settings, age)
        metrics.flush()

    why = partial(_first_reason, damage.reason, age.why_behind)
    app.register_blueprint(health.blueprint(deployments, metrics_registry, settings.metrics_folder, flush, why))
    return app


def _measure(metrics: ServiceMetrics, settings: ServiceSettings, age: SpoolAge) -> None:
    metrics.spool_oldest.set(age.seconds())
    metrics.log_max_rows.set(settings.log_max_rows)
    metrics.disk_free.set(free_bytes(settings.home.path) or 0)
    metrics.disk_size.set(size_bytes(settings.home.path))


def from_gunicorn() -> Application:
    """Make the application of a gunicorn worker, from its environment."""
    return create_app(_environment(), drains=False)


@contextmanager
def draining(settings: ServiceSettings | None = None) -> Iterator[None]:
    """Drain for all workers of a gunicorn, from its environment; leaving, however, brings in what they let go of."""
    settings = settings or _environment()
    metrics = ServiceMetrics(CollectorRegistry())
    failpoint = never if settings.failpoint is None else armed(settings.failpoint)
    damage = DamageNote(settings.home.spool)
    opened = open_database(settings.database_url, lock_timeout_seconds=settings.log_patience_seconds, on_damage=damage.note)
    with closing(opened) as database:
        check = DamageCheck(settings.home.spool, database, damage, metrics)
        database.refuse_newer(KNOWN_TABLES)
        drain = _make_drain(settings, PredictionLog(database), _make_loader(settings, database, metrics).versions, metrics, failpoint)
        drain.start()
        check.start()
        try:
            yield
        finally:
            check.stop()
            if not drain.stop(within_seconds=STOP_WITHIN_SECONDS):
                logger.warning("the prediction log is out of reach; the spool files stay for the next drain")


def _environment() -> ServiceSettings:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    settings = from_environment(os.environ, metrics_folder=Path(folder) if folder else None)
    settings.home.refuse_lost()
    return settings


def _make_limits(settings: ServiceSettings) -> Limits:
    return Limits(
        settings.max_body_bytes,
        settings.max_rows,
        settings.max_json_depth,
        settings.max_decompressed_bytes,
        parquet=ParquetProcess(settings.deadline_seconds / 4, settings.deadline_seconds / 4),
    )


def _make_labelling(settings: ServiceSettings, minter: IdMinter, log: PredictionLog, metrics: ServiceMetrics) -> Labelling:
    return Labelling(
        minter=minter,
        log=log,
        spool_folder=settings.home.spool,
        metrics=metrics,
        clock=machine_now,
        patience_seconds=settings.log_patience_seconds,
    )


def _make_loader(settings: ServiceSettings, database: Database, metrics: ServiceMetrics) -> VersionLoader:
    return VersionLoader(
        registry=Registry(database),
        home=settings.home,
        signing_key=signing_key_of(settings.home, Registry(database)),
        clock=machine_now,
        batcher=Batcher(on_batch=metrics.note_call),
        max_letters=settings.max_string_letters,
    )


def _first_reason(*reasons: Callable[[], str | None]) -> str | None:
    return next((reason for find in reasons if (reason := find()) is not None), None)


def _make_spool(settings: ServiceSettings, minter: IdMinter, failpoint: Failpoint) -> Spool:
    return Spool(
        settings.home.spool,
        minter,
        segment_bytes=settings.spool_segment_bytes,
        max_bytes=settings.spool_max_bytes,
        disk_reserve=settings.disk_reserve,
        failpoint=failpoint,
    )


def _make_drain(
    settings: ServiceSettings, log: PredictionLog, versions: VersionCache, metrics: ServiceMetrics, failpoint: Failpoint
) -> Drain:
    return Drain(
        folder=settings.home.spool,
        log=log,
        versions=versions,
        metrics=metrics,
        clock=machine_now,
        policy=DrainPolicy(settings.drain_interval_seconds, settings.log_max_rows),
        failpoint=failpoint,
    )


def service_of(app: Flask) -> Service:
    """Return the parts behind an application."""
    service: Service = app.extensions[EXTENSION]
    return service


def machine_now() -> datetime:
    """Return machine time."""
    return datetime.now(UTC)
