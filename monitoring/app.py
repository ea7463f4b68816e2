"""The composition root of the watching process: stores, loop, ticker, heartbeat, metrics port, signals."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

from prometheus_client import generate_latest

from monitoring.child import Children
from monitoring.errors import ProcessError
from monitoring.housekeeping import forget_old_rows
from monitoring.leadership import Leadership
from monitoring.loop import Watch, tick
from monitoring.metrics import MonitorMetrics, make_metrics
from monitoring.scheduler import Ticker
from monitoring.settings import MonitoringSettings
from monitoring.stores import Stores, open_stores
from training.errors import DatabaseUnavailableError, EvergreenError

logger = logging.getLogger(__name__)
HUNG_SECONDS = 600.0
HOUSEKEEPING = timedelta(hours=1)
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
        self.stores = open_stores(settings.home, settings.database_url)
        self.children = Children(environment, settings.home.path / "runs")
        self.leadership = Leadership(self.stores.journal, self.children, self.metrics, settings.holder, settings.lease)
        self.watch = Watch(self.stores, self.children, self.leadership, self.metrics, settings.models, settings.run_deadline)
        self._ended = threading.Event()
        self._ticked = time.monotonic()

    def run(self) -> None:
        """Tick until asked to stop; returns when everything is put away."""
        server = make_server(self.settings, self.metrics, self.is_alive)
        ticker = Ticker({"tick": (self.tick, self.settings.tick), "keep house": (self.keep_house, HOUSEKEEPING)})
        heartbeat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        heartbeat.start()
        ticker.start()
        logger.info("watching; metrics on http://%s", self.settings.bind)
        self._ended.wait()
        ticker.stop()
        heartbeat.join()
        server.shutdown()
        server.server_close()
        self._put_away()

    def stop(self) -> None:
        """Ask `run` to end."""
        self._ended.set()

    def is_alive(self) -> bool:
        """Return whether the loop still turns."""
        return time.monotonic() - self._ticked < HUNG_SECONDS

    def tick(self) -> None:
        """Do what is due; an error is logged and met again at the next tick."""
        began = time.monotonic()
        try:
            for _ in range(AT_ONCE):
                if self._ended.is_set() or not tick(self.watch, datetime.now(UTC)):
                    break
                self._ticked = time.monotonic()
        except DatabaseUnavailableError as error:
            logger.warning("the database is not available, trying again: %s", error)
        except Exception:
            logger.exception("a tick failed")
            self.metrics.tick_failures_total.labels("").inc()
        self._ticked = time.monotonic()
        self.metrics.last_tick.set_to_current_time()
        self.metrics.tick_seconds.set(self._ticked - began)

    def keep_house(self) -> None:
        """Forget what is older than the model files allow, if this is the monitor that may act."""
        now = datetime.now(UTC)
        try:
            if self.leadership.lead(now) is not None:
                for record in self.stores.registry.models():
                    forget_old_rows(self.stores, self.watch.spec(record.spec_text), now)
        except EvergreenError as error:
            logger.warning("old rows stay for now: %s", error)

    def _beat(self) -> None:
        while not self._ended.wait(self.settings.lease.total_seconds() / 4):
            try:
                self.leadership.renew(datetime.now(UTC))
            except EvergreenError as error:
                logger.warning("the lease could not be renewed: %s", error)

    def _put_away(self) -> None:
        try:
            self.leadership.step_down()
        except EvergreenError as error:
            logger.warning("the lease could not be given up: %s", error)
        self.stores.close()


def make_server(settings: MonitoringSettings, metrics: MonitorMetrics, is_alive: Any) -> ThreadingHTTPServer:
    """Make the server of `/metrics` and `/livez`; raises ProcessError when its port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] == "/metrics":
                self._answer(200, generate_latest(metrics.registry), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path == "/livez":
                live = is_alive()
                self._answer(200 if live else 503, json.dumps({"live": live}).encode(), "application/json")
            else:
                self._answer(404, json.dumps({"error": f"no {self.path} here; there is /metrics and /livez"}).encode(), "application/json")

        def log_message(self, format: str, *args: Any) -> None:
            logger.debug(format, *args)

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    try:
        return ThreadingHTTPServer(settings.address, Handler)
    except OSError as error:
        raise ProcessError(f"cannot listen on {settings.bind}: {error.strerror}; set EVERGREEN_MONITOR_BIND to use another port") from error


def run_monitor(settings: MonitoringSettings, environment: Mapping[str, str]) -> None:
    """Run a monitor until SIGTERM or SIGINT."""
    set_up_logging(settings.log_level)
    monitor = Monitor(settings, environment)

    def on_signal(number: int, frame: FrameType | None) -> None:
        monitor.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    monitor.run()


def open_for_run(settings: MonitoringSettings) -> Stores:
    """Open what a training child works with."""
    set_up_logging(settings.log_level)
    return open_stores(settings.home, settings.database_url)


def set_up_logging(level: str) -> None:
    """Log one JSON object a line to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


class JsonLines(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.name,
            "msg": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)
