"""The promise: kill -9 of any process loses no acknowledged prediction, doubles none, and the counts equal the rows."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import sqlalchemy as sa
from sklearn.linear_model import LinearRegression

from service.log_tables import predictions
from service.prediction_log import PredictionLog
from tests.ports import free_port
from training.database import open_database
from training.registry import Registry
from training.run import wrap_imported
from training.settings import Home
from training.spec import parse_spec

REPOSITORY = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CLIENTS = 16
SPEC = """
model: fares
schema: {target: fare, task: regression, features: {distance: numeric, hour: numeric}}
watching: {every: 1d, window: 1d, bucket: 1h}
"""
FAILPOINTS = (
    "spool.append.before:60",
    "spool.append.after:60",
    "answer:60",
    "drain.commit.before:3",
    "drain.commit.after:3",
    "spool.truncate.before:2",
    "spool.truncate.after:2",
)


@dataclass
class Stage:
    """A home with a champion, and the processes over it."""

    home: Home
    port: int
    log: Path
    variables: dict[str, str] = field(default_factory=dict)
    service: subprocess.Popen[bytes] | None = None
    monitor: subprocess.Popen[bytes] | None = None

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.home.database}"

    def spawn(self, module: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "EVERGREEN_HOME": str(self.home.path),
            "EVERGREEN_BIND": f"127.0.0.1:{self.port}",
            "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{self.port + 1}",
            "EVERGREEN_SPOOL_SEGMENT_BYTES": "16384",
            **self.variables,
        }
        with open(self.log, "ab") as out:
            return subprocess.Popen([sys.executable, "-m", module], env=environment, cwd=REPOSITORY, stdout=out, stderr=out)

    def start_service(self) -> None:
        """Start it, and wait until it is ready."""
        deadline = time.monotonic() + 60
        while not self.is_ready():
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            if self.service is None or self.service.poll() is not None:
                self.service = self.spawn("service")
            time.sleep(0.1)

    def is_ready(self) -> bool:
        if self.service is None or self.service.poll() is not None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def start_monitor(self) -> None:
        if importlib.util.find_spec("monitoring.__main__") is not None:
            self.monitor = self.spawn("monitoring")

    def workers(self) -> list[int]:
        assert self.service is not None
        return [child.pid for child in psutil.Process(self.service.pid).children()]

    def kill_worker(self, chance: random.Random) -> None:
        workers = self.workers()
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)

    def kill_master(self, chance: random.Random) -> None:
        """Kill it, and start again once its orphans have left: until then they answer, and hold the port."""
        assert self.service is not None
        orphans = psutil.Process(self.service.pid).children()
        self.service.kill()
        self.service.wait()
        _, staying = psutil.wait_procs(orphans, timeout=20)
        assert not staying
        self.start_service()

    def kill_monitor(self, chance: random.Random) -> None:
        if self.monitor is not None:
            self.monitor.kill()
            self.monitor.wait()
            self.start_monitor()

    def kills_seen(self) -> int:
        return self.log.read_text().count("was sent SIGKILL")

    def stop(self) -> None:
        for process in (self.service, self.monitor):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(30)
        self.service = self.monitor = None


class Load:
    """Clients that ask without pause and remember what was acknowledged."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._acknowledged: list[list[str]] = [[] for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def count(self) -> int:
        return sum(map(len, self._acknowledged))

    def ids(self) -> list[str]:
        return [identity for ids in self._acknowledged for identity in ids]

    def wait_for(self, more: int) -> None:
        target, deadline = self.count() + more, time.monotonic() + 120
        while self.count() < target:
            assert time.monotonic() < deadline, "the service does not answer"
            time.sleep(0.01)

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        while not self._stopping.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            try:
                while not self._stopping.is_set():
                    self._acknowledged[number] += self._ask(connection, chance)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection, chance: random.Random) -> list[str]:
        rows = [{"distance": chance.random() * 10, "hour": chance.randrange(24)} for _ in range(chance.randint(1, 5))]
        connection.request("POST", "/models/fares/predict", json.dumps({"rows": rows}))
        with connection.getresponse() as response:
            content = response.read()
            return [p["id"] for p in json.loads(content)["predictions"]] if response.status == 200 else []


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Train, register, promote."""
    home = Home(tmp_path / "home").ensure()
    spec = parse_spec(SPEC)
    distance = np.linspace(0, 10, 200)
    table = pd.DataFrame({"distance": distance, "hour": np.arange(200.0) % 24, "fare": 2 + 3 * distance + np.sin(distance)})
    pipeline = LinearRegression().fit(table[["distance", "hour"]], table["fare"])
    database = open_database(f"sqlite:///{home.database}")
    registry = Registry(database)
    registry.put_model(spec, now=NOW)
    made = wrap_imported(pipeline, spec, table, home=home, registry=registry, now=NOW)
    registry.promote("fares", made.version, expected=None, who="test", why="test", now=NOW)
    database.close()
    set_up = Stage(home, free_port(), tmp_path / "processes.log")
    yield set_up
    set_up.stop()


def _until(ask: Callable[[], bool], within_seconds: float) -> None:
    deadline = time.monotonic() + within_seconds
    while not ask():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def assert_nothing_lost(stage: Stage, acknowledged: list[str]) -> None:
    """Start once more without failpoints, let everything drain, compare."""
    stage.variables = {}
    stage.start_service()
    stage.stop()
    assert list(stage.home.spool.glob("*.spool")) == []
    database = open_database(stage.database_url)
    log = PredictionLog(database)
    log.prepare()
    with database.read() as connection:
        logged = [f"{prefix}-{row}" for prefix, row in connection.execute(sa.select(predictions.c.id_prefix, predictions.c.row))]
    rows, counted = log.count("fares"), log.counted_rows("fares")
    database.close()
    assert set(acknowledged) <= set(logged)
    assert len(acknowledged) == len(set(acknowledged))
    assert len(logged) == len(set(logged)) == rows == counted


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_five_kills_at_a_failpoint_lose_nothing(stage: Stage, failpoint: str) -> None:
    stage.variables = {"EVERGREEN_FAILPOINT": failpoint}

    with Load(stage.port) as load:
        stage.start_service()
        _until(lambda: stage.kills_seen() >= 5, within_seconds=90)
    stage.stop()

    assert load.count() > 0
    assert_nothing_lost(stage, load.ids())


@pytest.mark.timeout(300)
def test_twenty_random_kills_under_load_lose_nothing(stage: Stage) -> None:
    chance = random.Random(2026)
    kills = [stage.kill_worker] * 12 + [stage.kill_master] * 4 + [stage.kill_monitor] * 4
    chance.shuffle(kills)

    stage.start_service()
    stage.start_monitor()
    with Load(stage.port) as load:
        for kill in kills:
            load.wait_for(500)
            time.sleep(chance.random() * 0.2)
            kill(chance)
        load.wait_for(500)
    stage.stop()

    assert load.count() >= 21 * 500
    assert_nothing_lost(stage, load.ids())
