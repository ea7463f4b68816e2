"""The composition root of the watching process: stores, loop, ticker, heartbeat, metrics port, signals."""

from __future__ import annotations

import json
import logging
import logging.config
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from types import FrameType
from typing import Any

from prometheus_client import generate_latest

from monitoring.bounded_server import CLIENT_SECONDS, BoundedServer
from monitoring.errors import LeaseLostError, ProcessError
from monitoring.journal.leases import Turn
from monitoring.known_tables import KNOWN_TABLES
from monitoring.loop.retention import add_up_old_counts, delete_unregistered, expire_versions, forget_old_rows
from monitoring.loop.scheduler import Pulse, Ticker
from monitoring.loop.tick import make_watch, tick
from monitoring.metrics import MonitorMetrics, make_metrics
from monitoring.notifying.backlog_metrics import BacklogMetrics
from monitoring.notifying.delivery import Delivery, channels
from monitoring.retraining.training_process import Children
from monitoring.settings import NOTIFYING, MonitoringSettings
from monitoring.stores import Stores, open_stores
from service.errors import ForbiddenError, UnsupportedTypeError
from service.recording.failpoints import armed
from service.telemetry.json_logs import configuration
from service.web.foreign_pages import ForeignPages, environ_of
from training.clock import to_us
from training.errors import DatabaseUnavailableError, EvergreenError
from training.registry.aliases import CHAMPION
from training.registry.reach import out_of_reach

logger = logging.getLogger(__name__)
HUNG_SECONDS = 600.0
RETENTION_EVERY = timedelta(hours=1)
DELIVERY_EVERY = timedelta(seconds=2)
AT_ONCE = 200  # steps without a pause before the ticker gets its turn again


class Monitor:
    """One watching process.

    Parameters
    ----------
    settings
        Read once by the caller.
    environment
        What training children inherit.
    """

    def __init__(self, settings: MonitoringSettings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.metrics = make_metrics()
        self.metrics.last_tick.set_to_current_time()  # a loop that never turns has stood still since now
        self.stores = _open(settings)
        self._is_at_home = False
        self._reasons: list[str] = []
        children = Children({k: v for k, v in environment.items() if not k.startswith(NOTIFYING)}, settings.home.path / "runs")
        self.watch = make_watch(self.stores, children, self.metrics, settings)
        outbox, ways, leadership = self.stores.journal.outbox, channels(settings), self.watch.leadership
        self.delivery = Delivery(outbox, ways, self._turn, self.metrics)
        self.metrics.registry.register(BacklogMetrics(outbox, tuple(ways), lambda: leadership.leads, lambda: to_us(datetime.now(UTC))))
        self._ended = threading.Event()
        idle_seconds = (settings.tick + settings.lease).total_seconds()
        self.pulse = Pulse(idle_seconds=idle_seconds, busy_seconds=HUNG_SECONDS)

    def why_not_ready(self) -> str | None:
        """Return why this monitor cannot do its work; None when it can."""
        try:
            self.stores.database.refuse_newer(KNOWN_TABLES)
            lacking = out_of_reach(self.settings.home, self.stores.registry)
        except EvergreenError as error:
            return str(error)
        return "; ".join(f"{model}: {sentence}" for model, sentence in lacking.items()) or None

    def _may_act(self) -> bool:
        """Return whether tables and home are this Evergreen's; where they are not, say why and touch nothing.

        The home is looked at before each try to lead: while this monitor waited, another may have trained what is not here.
        What is promoted while it leads was trained here.
        """
        leadership, reasons = self.watch.leadership, self._reasons
        try:
            self.stores.database.refuse_newer(KNOWN_TABLES)
            if not self._is_at_home or not leadership.leads:
                lacking = out_of_reach(self.settings.home, self.stores.registry)
                models = {alias.model for alias in self.stores.registry.aliases() if alias.alias == CHAMPION}
                reasons = [f"{model}: {sentence}" for model, sentence in lacking.items()]
                self._is_at_home = not lacking or lacking.keys() != models
        except DatabaseUnavailableError:
            raise
        except EvergreenError as error:
            self._is_at_home, reasons = False, [str(error)]
        if reasons and reasons != self._reasons:
            logger.error("%s%s", "" if self._is_at_home else "nothing is done here: ", "; ".join(reasons))
        self._reasons = reasons
        if leadership.leads and not self._is_at_home:
            leadership.lose()
        return self._is_at_home

    def run(self) -> None:
        """Tick until asked to stop; returns when everything is put away."""
        server = make_server(self.settings, self.metrics, self.pulse.is_there, self.why_not_ready)
        ticker = Ticker({"tick": (self.tick, self.settings.tick), "retention": (self.apply_retention, RETENTION_EVERY)})
        postman = Ticker({"delivery": (self.deliver, DELIVERY_EVERY)})  # in a thread of its own: no slot waits for an endpoint
        heartbeat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        heartbeat.start()
        ticker.start()
        postman.start()
        logger.info("watching; metrics on http://%s", self.settings.bind)
        self._ended.wait()
        postman.stop()
        ticker.stop()
        heartbeat.join()
        server.shutdown()
        server.server_close()
        self._put_away()

    def stop(self) -> None:
        """Ask `run` to end."""
        self._ended.set()

    def tick(self) -> None:
        """Do what is due; an error is logged and met again at the next tick."""
        began = time.monotonic()
        self.pulse.beat(is_busy=True)
        try:
            for _ in range(AT_ONCE):
                if self._ended.is_set() or not self._may_act() or not tick(self.watch, datetime.now(UTC)):
                    break
                self.pulse.beat(is_busy=True)
                self.metrics.last_tick.set_to_current_time()  # one that catches up does not stand still
            self.metrics.database_up.set(1)
        except DatabaseUnavailableError as error:
            self.metrics.database_up.set(0)
            logger.warning("the database is not available, trying again: %s", error)
        except Exception:
            logger.exception("a tick failed")
            self.metrics.tick_failures.note()
        self.pulse.beat(is_busy=False)
        self.metrics.last_tick.set_to_current_time()
        self.metrics.tick_seconds.set(time.monotonic() - began)

    def apply_retention(self) -> None:
        """Forget what is older than the model files allow, add up counts, delete files of versions nobody needs, if it may act."""
        now = datetime.now(UTC)
        self.pulse.beat(is_busy=True)
        try:
            if self._may_act() and (turn := self.watch.leadership.lead(now)) is not None:
                for record in self.stores.registry.models():
                    spec = self.watch.spec(record.spec_text)
                    forget_old_rows(self.stores, spec, now)
                    add_up_old_counts(self.stores, spec)
                    expire_versions(self.stores, turn, spec)
                    delete_unregistered(self.stores, turn, spec)
                    self.pulse.beat(is_busy=True)
                self.delivery.forget()
        except (EvergreenError, LeaseLostError) as error:
            logger.warning("old rows and versions stay for now: %s", error)
        self.pulse.beat(is_busy=False)

    def deliver(self) -> None:
        """Send what waits in the outbox, if this is the monitor that acts."""
        try:
            self.delivery.run_once()
        except (EvergreenError, LeaseLostError) as error:
            logger.warning("messages wait: %s", error)
        except Exception:
            logger.exception("the delivery of messages failed")

    def _turn(self) -> Turn | None:
        return None if self._ended.is_set() else self.watch.leadership.held(datetime.now(UTC))

    def renew_lease(self) -> None:
        """Keep the lease during a long tick; while the ticks do not go on it is left to run out, for another monitor."""
        if not self.pulse.is_there():
            logger.error("the loop does not turn: its lease is not renewed")
            return
        try:
            self.watch.leadership.renew(datetime.now(UTC))
        except EvergreenError as error:
            logger.warning("the lease could not be renewed: %s", error)

    def _beat(self) -> None:
        while not self._ended.wait(self.settings.lease.total_seconds() / 4):
            self.renew_lease()

    def _put_away(self) -> None:
        try:
            self.watch.leadership.step_down()
        except EvergreenError as error:
            logger.warning("the lease could not be given up: %s", error)
        self.stores.close()


def make_server(
    settings: MonitoringSettings,
    metrics: MonitorMetrics,
    is_alive: Callable[[], bool],
    why_not_ready: Callable[[], str | None] = lambda: None,
) -> BoundedServer:
    """Make the server of `/metrics`, `/livez` and `/readyz`; raises ProcessError when its port is taken.

    On loopback it answers no page of somebody else; on another address probes and scrapes come under any name.
    """
    pages = ForeignPages(settings.hosts) if settings.is_loopback else None

    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS

        def do_GET(self) -> None:
            """Answer a probe or a scrape."""
            try:
                if pages is not None:
                    pages.check(environ_of(self.command, self.headers))
            except (ForbiddenError, UnsupportedTypeError) as error:
                self._refuse(403 if isinstance(error, ForbiddenError) else 415, str(error))
                return
            if self.command not in ("GET", "HEAD"):
                self._refuse(405, f"no {self.command} here; there is GET of /metrics, /livez and /readyz")
            elif self.path.split("?")[0] == "/metrics":
                self._answer(200, generate_latest(metrics.registry), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path == "/livez":
                live = is_alive()
                self._answer(200 if live else 503, json.dumps({"live": live}).encode(), "application/json")
            elif self.path == "/readyz":
                reason = why_not_ready()
                content = {"status": "ready" if reason is None else "not ready", "reason": reason}
                self._answer(200 if reason is None else 503, json.dumps(content).encode(), "application/json")
            else:
                self._refuse(404, f"no {self.path} here; there is /metrics, /livez and /readyz")

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            logger.debug(format, *args)

        def _refuse(self, status: int, sentence: str) -> None:
            self._answer(status, json.dumps({"error": sentence}).encode(), "application/json")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    class Server(BoundedServer):
        address_family = socket.AF_INET6 if ":" in settings.address[0] else socket.AF_INET

    try:
        return Server(settings.address, Handler)
    except OSError as error:
        raise ProcessError(f"cannot listen on {settings.bind}: {error.strerror}; set EVERGREEN_MONITOR_BIND to use another port") from error


def run_monitor(settings: MonitoringSettings, environment: Mapping[str, str]) -> None:
    """Run a monitor until SIGTERM, SIGINT or, unless it came in ignored, SIGHUP."""
    set_up_logging(settings.log_level)
    monitor = Monitor(settings, environment)

    def on_signal(number: int, frame: FrameType | None) -> None:
        monitor.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, on_signal)
    monitor.run()


def open_for_run(settings: MonitoringSettings) -> Stores:
    """Open what a training child works with."""
    set_up_logging(settings.log_level)
    return _open(settings)


def _open(settings: MonitoringSettings) -> Stores:
    """Open the stores, with the failpoint that a test set."""
    if settings.failpoint is None:
        return open_stores(settings.home, settings.database_url)
    logger.warning("a failpoint is set, for a test: %s", settings.failpoint)
    return open_stores(settings.home, settings.database_url, armed(settings.failpoint))


def set_up_logging(level: str) -> None:
    """Log to standard output as the service does: one JSON object a line."""
    logging.config.dictConfig(configuration(level))
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
