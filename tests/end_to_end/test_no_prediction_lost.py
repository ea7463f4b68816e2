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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.tables import predictions
from service.recording.spool import folder_bytes
from tests.conftest import Once
from tests.end_to_end.arena import Arena, compiled
from tests.end_to_end.fault_report import longest_gap, note
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from tests.service.counting import counted_rows
from training.settings import Home
from training.storage.database import open_database

REPOSITORY = Path(__file__).parents[2]
CLIENTS = 16
FAILPOINTS = (
    "spool.append.after:60",
    "drain.commit.after:3",
    "spool.truncate.before:2",
)
MORE_FAILPOINTS = (
    "spool.append.before:60",
    "answer:60",
    "drain.commit.before:3",
    "spool.truncate.after:2",
)


@dataclass
class Stage:
    """A home with a champion, and the processes over it."""

    home: Home
    port: int
    log: Path
    monitor_port: int = field(default_factory=free_port)
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
            "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{self.monitor_port}",
            "EVERGREEN_SPOOL_SEGMENT_BYTES": "16384",
            **self.variables,
        }
        with open(self.log, "ab") as out:
            return subprocess.Popen([sys.executable, "-m", module], env=environment, cwd=REPOSITORY, stdout=out, stderr=out)

    def start_service(self) -> None:
        """Start it, and wait until it is ready."""

        def is_up() -> bool:
            if self.service is None or self.service.poll() is not None:
                self.service = self.spawn("service")
            return self.is_ready()

        until(is_up, lambda: self.log.read_text()[-4000:])

    def is_ready(self) -> bool:
        if self.service is None or self.service.poll() is not None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
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
        """Kill one, wherever it stands; two on which a version would be blamed for it do not die without one in between that loads it."""
        until(lambda: not list(self.home.loading.glob("*.died")), "a worker loads the version on which one died")
        workers = self.workers()
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)

    def kill_master(self, chance: random.Random) -> None:
        """Kill it, and start again once its orphans have left: until then they answer, and hold the port."""
        assert self.service is not None
        orphans = psutil.Process(self.service.pid).children()
        self.service.kill()
        self.service.wait()
        _, staying = psutil.wait_procs(orphans, timeout=PATIENCE_SECONDS)
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
                process.wait(PATIENCE_SECONDS)
        self.service = self.monitor = None


class Load:
    """Clients that ask without pause and remember what was acknowledged."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._acknowledged: list[list[str]] = [[] for _ in range(CLIENTS)]
        self.times: list[float] = []
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def count(self) -> int:
        return sum(map(len, self._acknowledged))

    def ids(self) -> list[str]:
        return [identity for ids in self._acknowledged for identity in ids]

    def wait_for(self, more: int) -> None:
        target = self.count() + more
        until(lambda: self.count() >= target, lambda: f"{self.count()} of {target} predictions are answered")

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        while not self._stopping.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
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
            if response.status != 200:
                return []
        self.times.append(time.perf_counter())
        return [prediction["id"] for prediction in json.loads(content)["predictions"]]


@pytest.fixture
def stage(tmp_path: Path, once: Once) -> Iterator[Stage]:
    """A home with a champion."""
    with Arena(tmp_path, free_port(), [compiled(1.0)], once=once) as arena:
        set_up = Stage(arena.home, arena.port, tmp_path / "processes.log")
        yield set_up
        set_up.stop()


def assert_nothing_lost(stage: Stage, fault: str, load: Load) -> None:
    """Start once more without failpoints, let everything drain, compare."""
    acknowledged = load.ids()
    stage.variables = {}

    def is_drained() -> bool:
        stage.start_service()
        stage.stop()
        return folder_bytes(stage.home.spool) == 0

    until(is_drained, "the spool is drained")  # by the first of these, but where the machine is too slow for it
    database = open_database(stage.database_url)
    log = PredictionLog(database)
    log.prepare()
    with database.read() as connection:
        logged = [f"{prefix}-{row}" for prefix, row in connection.execute(sa.select(predictions.c.id_prefix, predictions.c.row))]
    rows, counted = log.count("fares"), counted_rows(log, "fares")
    database.close()
    note(fault, acknowledged, logged, longest_gap(load.times))
    assert set(acknowledged) <= set(logged)
    assert len(acknowledged) == len(set(acknowledged))
    assert len(logged) == len(set(logged)) == rows == counted


@pytest.mark.parametrize(
    ("failpoint", "kills"),
    [(name, 1) for name in FAILPOINTS] + [pytest.param(name, 5, marks=pytest.mark.slow) for name in (*FAILPOINTS, *MORE_FAILPOINTS)],
)
def test_kills_at_a_failpoint_lose_nothing(stage: Stage, failpoint: str, kills: int) -> None:
    stage.variables = {"EVERGREEN_FAILPOINT": failpoint}

    with Load(stage.port) as load:
        stage.start_service()
        until(lambda: stage.kills_seen() >= kills, f"{kills} kills at the failpoint")
    stage.stop()

    assert load.count() > 0
    assert_nothing_lost(stage, "1a", load)


@pytest.mark.parametrize(
    ("fault", "workers", "masters", "monitors"),
    [
        pytest.param("2", 3, 1, 1, id="five kills", marks=pytest.mark.slow),
        pytest.param("2", 12, 4, 4, id="twenty kills", marks=pytest.mark.slow),
        pytest.param("1", 16, 0, 0, id="sixteen kills of workers", marks=pytest.mark.slow),
    ],
)
def test_random_kills_under_load_lose_nothing(stage: Stage, fault: str, workers: int, masters: int, monitors: int) -> None:
    chance = random.Random(2026)
    kills = [stage.kill_worker] * workers + [stage.kill_master] * masters + [stage.kill_monitor] * monitors
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

    assert load.count() >= (len(kills) + 1) * 500
    assert_nothing_lost(stage, fault, load)
