"""Fixtures of the service's tests: a small trained home, and applications over it."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from flask import Flask
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from service.app import create_app, service_of
from service.prediction_log.prediction_log import PredictionLog
from service.settings import ServiceSettings
from tests import patience, ports, workers
from tests.conftest import Once
from training.artifacts.artifact import Artifact
from training.model_file.model_spec import ModelSpec, parse_spec
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.run import wrap_imported
from training.settings import Home
from training.storage.database import open_database

PATIENT = {"deadline_seconds": patience.LONGER_SECONDS, "log_patience_seconds": patience.PATIENCE_SECONDS}
REPOSITORY = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, tzinfo=UTC)

BIKES = """
model: bikes
schema:
  target: empty
  task: binary
  positive: "true"
  time: {column: at, kind: timestamp, clock: event}
  features:
    temp: {kind: numeric, nullable: true, minimum: -40, maximum: 60, out_of_range: error}
    docks: {kind: integer, minimum: 0}
    workday: boolean
    district: {kind: categorical, nullable: true}
labels: {delay: 1h, too_late: 10d}
"""
FARES = """
model: fares
schema:
  target: fare
  task: regression
  extra: error
  features:
    distance: {kind: numeric, minimum: -1.0e+300, maximum: 1.0e+300, out_of_range: error}  # thrice as much is finite
"""


@dataclass(frozen=True)
class Trained:
    """A home with two versions of `bikes` and one of `fares`, registered on SQLite; copy it, do not touch it."""

    home: Home
    bikes: tuple[Artifact, Artifact]
    fares: Artifact
    specs: tuple[ModelSpec, ModelSpec]


def bike_table(n_rows: int = 240) -> pd.DataFrame:
    """Rides of ten days, an hour apart in the table's time."""
    rng = np.random.default_rng(0)
    temp = rng.normal(15, 8, n_rows).clip(-39, 59)
    docks = rng.integers(0, 30, n_rows)
    district = rng.choice(["north", "south", "harbour"], n_rows).astype(object)
    empty = (docks + rng.normal(0, 4, n_rows) < 10) & (temp > 0)
    start = pd.Timestamp("2026-01-01", tz="UTC")
    return pd.DataFrame(
        {
            "at": [(start + pd.Timedelta(hours=i)).isoformat() for i in range(n_rows)],
            "temp": np.where(rng.random(n_rows) < 0.05, np.nan, temp),
            "docks": docks,
            "workday": rng.random(n_rows) < 0.7,
            "district": np.where(rng.random(n_rows) < 0.05, None, district),
            "empty": np.where(empty, "true", "false"),
        }
    )


def bike_pipeline(strength: float, table: pd.DataFrame) -> Any:
    """A fitted logistic regression over the four features."""
    numbers = make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0))
    words = OneHotEncoder(categories=[["north", "south", "harbour"]], handle_unknown="ignore")
    prepare = make_column_transformer((numbers, ["temp", "docks", "workday"]), (words, ["district"]))
    features = table[["temp", "docks", "workday", "district"]].astype({"temp": float, "docks": float, "workday": float})
    return make_pipeline(prepare, LogisticRegression(C=strength, max_iter=2000)).fit(features, table["empty"])


@pytest.fixture(scope="session")
def trained(once: Once) -> Trained:
    """Return the template home, made once a run."""
    return Trained(*pickle.loads((once("models", make_template) / "trained.pickle").read_bytes()))


def make_template(folder: Path) -> None:
    """Make a home with two versions of `bikes` and one of `fares`, and keep beside it what it holds."""
    home = Home(folder / "home").ensure()
    spec, fare_spec = parse_spec(BIKES), parse_spec(FARES)
    table = bike_table()
    first = wrap_imported(bike_pipeline(1.0, table), spec, table, home=home, now=NOW)
    second = wrap_imported(bike_pipeline(0.01, table), spec, table, home=home, now=NOW + timedelta(days=1))
    distance = np.linspace(1, 10, 120)
    fares = pd.DataFrame({"distance": distance, "fare": 2 + 3 * distance + np.sin(distance)})
    pipeline = make_pipeline(make_column_transformer((StandardScaler(), ["distance"])), LinearRegression())
    fitted = pipeline.fit(fares[["distance"]], fares["fare"])
    third = wrap_imported(fitted, fare_spec, fares, home=home, now=NOW)
    made = Trained(home, (first.artifact, second.artifact), third.artifact, (spec, fare_spec))
    (folder / "trained.pickle").write_bytes(pickle.dumps((made.home, made.bikes, made.fares, made.specs)))
    database = open_database(f"sqlite:///{home.database}")
    register_all(made, Registry(database))
    PredictionLog(database).prepare()
    database.close()


def register_all(trained: Trained, registry: Registry) -> None:
    """Register the versions, and make the first ones champions."""
    for spec in trained.specs:
        registry.put_model(spec, now=NOW)
    for artifact in (*trained.bikes, trained.fares):
        registry.register(artifact, cause=Cause("test", "test"), now=NOW)
    for artifact in (trained.bikes[0], trained.fares):
        registry.promote(artifact.manifest.model, artifact.version, expected=None, cause=Cause("test", "test"), now=NOW)


@dataclass(frozen=True)
class Place:
    """A home of one test, with its database and registry."""

    home: Home
    database_url: str
    registry: Registry
    bikes: tuple[Artifact, Artifact]
    fares: Artifact

    def settings(self, **changes: Any) -> ServiceSettings:
        """Settings of a service over this home."""
        return ServiceSettings(home=self.home, database_url=self.database_url, **{**PATIENT, **changes})

    def bikes_path(self, place: int) -> Path:
        """Where a version of `bikes` lies in this home."""
        return self.home.artifacts / "bikes" / self.bikes[place].version

    def promote(self, place: int, expected: int | None) -> None:
        """Make a version of `bikes` the champion."""
        before = None if expected is None else self.bikes[expected].version
        self.registry.promote("bikes", self.bikes[place].version, expected=before, cause=Cause("test", "test"), now=NOW)


def make_place(trained: Trained, folder: Path, url: str | None = None) -> Iterator[Place]:
    """Copy the template; in another database than its own, register and promote the same."""
    shutil.copytree(trained.home.path, folder, dirs_exist_ok=True)
    home = Home(folder).ensure()
    own_url = f"sqlite:///{home.database}"
    database_url = url or own_url
    database = open_database(database_url)
    registry = Registry(database)
    if database_url != own_url:
        register_all(trained, registry)
    place = Place(home, database_url, registry, trained.bikes, trained.fares)
    yield place
    database.close()


@pytest.fixture
def place(trained: Trained, tmp_path: Path) -> Iterator[Place]:
    """A home with champions for `bikes` and `fares`, on SQLite."""
    yield from make_place(trained, tmp_path / "home")


@pytest.fixture
def place_on(trained: Trained, tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    """Make the same over another database."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(contextmanager(make_place)(trained, tmp_path / "home", url))


@pytest.fixture
def app(place: Place) -> Iterator[Flask]:
    """A started application over `place`, without gunicorn."""
    made = create_app(place.settings(drain_interval_seconds=0.01, alias_poll_seconds=0.05))
    service_of(made).start()
    yield made
    service_of(made).stop()


@pytest.fixture
def ride() -> dict[str, Any]:
    """A row that `bikes` takes."""
    return {"at": "2026-01-11T00:00:00Z", "temp": 12.5, "docks": 3, "workday": True, "district": "north"}


@pytest.fixture
def until() -> Callable[..., Any]:
    """Ask until the answer is true, and give it."""
    return patience.until


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


@dataclass
class Running:
    """A real gunicorn under test."""

    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path

    def predict(self, *rows: dict[str, Any]) -> httpx.Response:
        """Send rows to `bikes`."""
        return self.client.post("/models/bikes/predict", json={"rows": list(rows)})

    def label(self, *labels: dict[str, Any]) -> httpx.Response:
        """Send labels to `bikes`."""
        return self.client.post("/models/bikes/labels", json={"labels": list(labels)})

    def is_ready(self) -> bool:
        """Whether the readiness probe says so."""
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self, n_workers: int = 2) -> None:
        """Wait until every worker serves: the service itself is ready with its first one."""

        def is_up() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return self.is_ready() and workers.are_up(self.process.pid, self.client.base_url.port or 0, n_workers)

        patience.until(is_up, self.log.read_text)

    def stop(self) -> None:
        """Ask it to leave, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(patience.PATIENCE_SECONDS)


Serve = Callable[..., Any]


@pytest.fixture
def serve(free_port: int, tmp_path: Path) -> Serve:
    """Start `python -m service` over a place; a context manager that gives a `Running`."""

    @contextmanager
    def start(place: Place, *, wait: bool = True, **variables: str) -> Iterator[Running]:
        environment = {
            **os.environ,
            "EVERGREEN_HOME": str(place.home.path),
            "EVERGREEN_DATABASE_URL": place.database_url,
            "EVERGREEN_BIND": f"127.0.0.1:{free_port}",
            "EVERGREEN_DEADLINE_SECONDS": f"{patience.LONGER_SECONDS:g}",
            **{f"EVERGREEN_{name}": value for name, value in variables.items()},
        }
        log = tmp_path / "service.log"
        with open(log, "a") as out:
            command = [sys.executable, "-m", "service"]
            process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=out, stderr=out, text=True)
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=patience.PATIENCE_SECONDS) as client:
            running = Running(process, client, log)
            try:
                if wait:
                    running.wait_ready(int(variables.get("WORKERS", "2")))
                yield running
            finally:
                running.stop()

    return start
