"""A real `python -m service` over a home with some versions of one model; spoken to over sockets, told by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import psutil

from tests.end_to_end.wire import TIMEOUT_SECONDS, Wire, request
from training.artifact import load_verified
from training.database import open_database
from training.golden import columns_of
from training.registry import Registry
from training.run import wrap_imported
from training.settings import Home
from training.signing import load_or_make_key
from training.spec import parse_spec

REPOSITORY = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
MODEL, PREDICT = "fares", "/models/fares/predict"
SPEC = """
model: fares
schema: {target: fare, task: regression, features: {distance: numeric, hour: numeric}}
watching: {every: 1d, window: 1d, bucket: 1h}
"""
Row = dict[str, Any]


def fare_table() -> pd.DataFrame:
    """Return 200 rides with their fares."""
    distance = np.linspace(0, 10, 200)
    return pd.DataFrame({"distance": distance, "hour": np.arange(200.0) % 24, "fare": 2 + 3 * distance + np.sin(distance)})


class Arena:
    """A home with registered versions of `fares`, the first of them the champion, and the service over it.

    Parameters
    ----------
    pipelines
        One fitted pipeline a version.
    spec, table
        Another model than `fares`, and its rows.
    """

    def __init__(self, folder: Path, port: int, pipelines: Iterable[Any], spec: str = SPEC, table: pd.DataFrame | None = None) -> None:
        self.home = Home(folder / "home").ensure()
        self.port = port
        self.log = folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._database = open_database(f"sqlite:///{self.home.database}")
        self._registry = Registry(self._database)
        parsed = parse_spec(spec)
        self.model = parsed.model
        self._registry.put_model(parsed, now=NOW)
        rows = fare_table() if table is None else table
        self.versions = [
            wrap_imported(pipeline, parsed, rows, home=self.home, registry=self._registry, now=NOW + timedelta(hours=place)).version
            for place, pipeline in enumerate(pipelines)
        ]
        self.promote(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._database.close()

    # ---- the registry ---------------------------------------------------------------------------------------------

    def promote(self, place: int) -> str:
        """Make a version the champion, as the monitor would; return its name."""
        [before] = [alias.version for alias in self._registry.aliases() if alias.alias == "champion"] or [None]
        self._registry.promote(self.model, self.versions[place], expected=before, who="test", why="test", now=NOW)
        return self.versions[place]

    def said_by(self, version: str, rows: Sequence[Row]) -> list[float]:
        """Return what a version says about rows, offline: the value, or the probability of the last class."""
        record = self._registry.version(self.model, version)
        key = load_or_make_key(self.home.signing_key)
        loaded = load_verified(self.home.artifacts / record.path, self.home.cache, key)
        said = loaded.predictor.predict(columns_of(rows, loaded.schema))
        found: list[float] = (said.label if said.probability is None else said.probability[:, -1]).tolist()
        return found

    def logged_ids(self) -> set[str]:
        """Return the ids in the prediction log; for a service that stopped."""
        with self._database.read() as connection:
            rows = connection.exec_driver_sql("select id_prefix, row from predictions").fetchall()
        return {f"{prefix}-{row}" for prefix, row in rows}

    # ---- the processes --------------------------------------------------------------------------------------------

    def start(self, **variables: str) -> Self:
        """Start the service and wait until it is ready in every worker."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
            "EVERGREEN_HOME": str(self.home.path),
            "EVERGREEN_BIND": f"127.0.0.1:{self.port}",
            **{f"EVERGREEN_{name}": value for name, value in variables.items()},
        }
        with open(self.log, "ab") as out:
            self._process = subprocess.Popen([sys.executable, "-m", "service"], env=environment, cwd=REPOSITORY, stdout=out, stderr=out)
        self.until(self.is_ready)
        self.until(lambda: len(self.answering()) == 2)
        return self

    def stop(self) -> int | None:
        """Ask the service to leave, and return how it went."""
        if self._process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def until(self, ask: Callable[[], Any], within_seconds: float = 90.0) -> Any:
        """Ask until the answer is true, and return it."""
        deadline = time.monotonic() + within_seconds
        while not (answer := ask()):
            assert self._process is None or self._process.poll() is None, (
                f"the service left; its log ends with\n{self.log.read_text()[-3000:]}"
            )
            assert time.monotonic() < deadline, f"it did not come true in time; the log ends with\n{self.log.read_text()[-3000:]}"
            time.sleep(0.01)
        return answer

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The master of the service."""
        assert self._process is not None, "it was not started"
        return self._process

    def is_ready(self) -> bool:
        try:
            with Wire(self.port, timeout=5) as wire:
                return wire.ask(request("/readyz")).status == 200
        except (OSError, EOFError):
            return False

    def workers(self) -> set[int]:
        """Return the processes that take connections."""
        return {child.pid for child in psutil.Process(self.process.pid).children() if is_listening(child, self.port)}

    def owner(self, own_port: int) -> int | None:
        """Return the worker that holds a connection; None while it has not been accepted."""
        return next((pid for pid in self.workers() if own_port in self.ports_of(pid)), None)

    def ports_of(self, pid: int) -> set[int]:
        """Return the client ports of the connections that a worker holds."""
        try:
            held = psutil.Process(pid).net_connections("tcp4")
        except psutil.Error:
            return set()
        return {each.raddr.port for each in held if each.raddr and each.laddr.port == self.port}

    def answering(self, connections: int = 12) -> dict[int, str]:
        """Ask over fresh connections, all open at once; return the version that each worker named, by worker."""
        wires = [self.wire() for _ in range(connections)]
        try:
            for wire in wires:
                wire.send(request(f"/models/{self.model}"))
            versions = [wire.reply().json.get("version", "") for wire in wires]
            owners = {port: pid for pid in self.workers() for port in self.ports_of(pid)}
            return {owners[wire.own_port]: version for wire, version in zip(wires, versions, strict=True) if wire.own_port in owners}
        except (OSError, EOFError):
            return {}
        finally:
            for wire in wires:
                wire.socket.close()

    def wire(self, timeout: float = TIMEOUT_SECONDS) -> Wire:
        """Open a connection."""
        return Wire(self.port, timeout=timeout)

    def predict(self, *rows: Row) -> Any:
        """Send rows over a connection of their own; return the content of the answer, which must be 200."""
        with self.wire() as wire:
            reply = wire.ask(request(PREDICT, {"rows": rows}))
        assert reply.status == 200, reply.body
        return reply.json


def is_listening(process: psutil.Process, port: int) -> bool:
    """Whether a process holds the listening socket of a port."""
    try:
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in process.net_connections("tcp4"))
    except psutil.Error:
        return False
