"""A real `python -m service` over a home with some versions of one model; spoken to over sockets, stopped by signals."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import psutil
import sqlalchemy as sa
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.prediction_log.tables import predictions
from tests.conftest import Once
from tests.end_to_end.wire import Wire, request
from tests.patience import LONGER_SECONDS, PATIENCE_SECONDS, until
from tests.workers import CONNECTIONS, answering, are_up, held_by, listening
from training.artifacts.artifact import Artifact, load_verified
from training.artifacts.golden_rows import columns_of
from training.artifacts.signing import load_or_make_key
from training.model_file.model_spec import parse_spec
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.run import wrap_imported
from training.settings import Home
from training.storage.database import open_database

REPOSITORY = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
MODEL, PREDICT = "fares", "/models/fares/predict"
CAUSE = Cause("test", "test")
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


def compiled(factor: float) -> Any:
    """Return a fitted pipeline whose answers are `factor` times the fares; Evergreen compiles it, so that the service finds it quick."""
    table = fare_table()
    pipeline = make_pipeline(make_column_transformer((StandardScaler(), ["distance", "hour"])), LinearRegression())
    return pipeline.fit(table[["distance", "hour"]], table["fare"] * factor)


def make_home(folder: Path, content: bytes) -> None:
    """Make a home with a version for each pipeline, known to no registry yet, and beside it what it holds.

    Parameters
    ----------
    content
        Pipelines, text of the model file and rows, pickled.
    """
    pipelines, text, rows = pickle.loads(content)
    home, spec = Home(folder / "home").ensure(), parse_spec(text)
    made = [
        wrap_imported(pipeline, spec, rows, home=home, now=NOW + timedelta(hours=place)).artifact
        for place, pipeline in enumerate(pipelines)
    ]
    (folder / "artifacts.pickle").write_bytes(pickle.dumps(made))


class Arena:
    """A home with registered versions of `fares`, the first of them the champion, and the service over it.

    Parameters
    ----------
    pipelines
        One fitted pipeline a version.
    spec, table
        Another model than `fares`, and its rows.
    database_url
        Another database than the one in the home.
    once
        Keeps what was made of the pipelines, so that the next arena of the same ones copies it; by default nothing is kept.

    Attributes
    ----------
    prefix
        Words before the command of the service.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        pipelines: Iterable[Any],
        spec: str = SPEC,
        table: pd.DataFrame | None = None,
        database_url: str = "",
        once: Once | None = None,
    ) -> None:
        content = pickle.dumps((list(pipelines), spec, fare_table() if table is None else table))
        if once is None:
            make_home(folder, content)
        else:
            made = once(f"arena-{hashlib.sha256(content).hexdigest()[:16]}", lambda aside: make_home(aside, content))
            shutil.copytree(made, folder, dirs_exist_ok=True)
        self.home = Home(folder / "home").ensure()
        self.port = port
        self.log = folder / "service.log"
        self.prefix: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._database_url = database_url
        self._database = open_database(database_url or f"sqlite:///{self.home.database}")
        self._registry = Registry(self._database)
        parsed = parse_spec(spec)
        self.model = parsed.model
        self._registry.put_model(parsed, now=NOW)
        artifacts: list[Artifact] = pickle.loads((folder / "artifacts.pickle").read_bytes())
        for artifact in artifacts:
            self._registry.register(artifact, cause=CAUSE, now=NOW)
        self.versions = [artifact.version for artifact in artifacts]
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
        self._registry.promote(self.model, self.versions[place], expected=before, cause=CAUSE, now=NOW)
        return self.versions[place]

    def predicted_by(self, version: str, rows: Sequence[Row]) -> list[float]:
        """Return what a version says about rows, offline: the value, or the probability of the last class."""
        record = self._registry.version(self.model, version)
        key = load_or_make_key(self.home.signing_key)
        loaded = load_verified(self.home.artifacts / record.path, self.home.cache, key)
        prediction = loaded.predictor.predict(columns_of(rows, loaded.schema))
        values: list[float] = (prediction.label if prediction.probability is None else prediction.probability[:, -1]).tolist()
        return values

    def logged_ids(self) -> set[str]:
        """Return the ids in the prediction log; for a service that stopped."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(predictions.c.id_prefix, predictions.c.row)).fetchall()
        return {f"{prefix}-{row}" for prefix, row in rows}

    # ---- the processes --------------------------------------------------------------------------------------------

    def launch(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start the service, and do not wait for it."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
            "EVERGREEN_HOME": str(self.home.path),
            "EVERGREEN_BIND": f"127.0.0.1:{self.port}",
            "EVERGREEN_DEADLINE_SECONDS": f"{LONGER_SECONDS:g}",
            **({"EVERGREEN_DATABASE_URL": self._database_url} if self._database_url else {}),
            **{f"EVERGREEN_{name}": value for name, value in variables.items()},
        }
        with open(self.log, "ab") as out:
            command = [*self.prefix, sys.executable, "-m", "service"]
            self._process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=out, stderr=out)
        return self._process

    def start(self, **variables: str) -> Self:
        """Start the service and wait until both workers answer, and the one that drains has let go of the port."""
        self.launch(**variables)
        self.until(self.is_ready)
        self.until(lambda: are_up(self.process.pid, self.port, 2))
        return self

    def stop(self) -> int | None:
        """Ask the service to leave, and return how it went."""
        if self._process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def until(self, ask: Callable[[], Any]) -> Any:
        """Ask until the answer is true, and return it; the service must not leave meanwhile."""

        def ask_while_it_runs() -> Any:
            assert self._process is None or self._process.poll() is None, f"the service left; {self._log_end()}"
            return ask()

        return until(ask_while_it_runs, self._log_end)

    def _log_end(self) -> str:
        return f"the log ends with\n{self.log.read_text()[-3000:] if self.log.exists() else ''}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The master of the service."""
        assert self._process is not None, "it was not started"
        return self._process

    def is_ready(self) -> bool:
        try:
            with Wire(self.port) as wire:
                return wire.ask(request("/readyz")).status == 200
        except (OSError, EOFError):
            return False

    def workers(self) -> set[int]:
        """Return the processes that take connections."""
        return listening(self.process.pid, self.port)

    def children(self) -> set[int]:
        """Return the processes of the master."""
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def owner(self, own_port: int) -> int | None:
        """Return the worker that holds a connection; None while it has not been accepted."""
        return next((pid for pid in self.workers() if own_port in self.ports_of(pid)), None)

    def ports_of(self, pid: int) -> set[int]:
        """Return the client ports of the connections that a worker holds."""
        return held_by(pid, self.port)

    def answering(self, connections: int = CONNECTIONS) -> dict[int, str]:
        """Ask over fresh connections, all open at once; return the version that each worker named, by worker."""
        replies = answering(self.process.pid, self.port, f"/models/{self.model}", connections)
        return {pid: reply.json.get("version", "") for pid, reply in replies.items()}

    def wire(self) -> Wire:
        """Open a connection."""
        return Wire(self.port)

    def predict(self, *rows: Row) -> Any:
        """Send rows over a connection of their own; return the content of the answer, which must be 200."""
        with self.wire() as wire:
            reply = wire.ask(request(PREDICT, {"rows": rows}))
        assert reply.status == 200, reply.body
        return reply.json
