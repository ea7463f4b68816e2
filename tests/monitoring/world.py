"""A small real world to watch: a home with a trained champion, a log that traffic is written into, a monitor to tick."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import select

from monitoring.backtest.driver import TrainsHere
from monitoring.journal.tables import probations
from monitoring.loop.tick import Watch, make_watch, tick
from monitoring.metrics import make_metrics
from monitoring.retraining.training_process import Children
from monitoring.settings import MonitoringSettings
from monitoring.stores import Stores, open_stores
from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import LabelItem, LabelRules
from service.prediction_log.records import Record
from service.prediction_log.tables import predictions
from service.prediction_log.writing import DrainedBatch
from service.recording.counting import RowCounter
from service.recording.version_facts import VersionFacts, facts_of
from tests.conftest import Once
from tests.patience import PATIENCE_SECONDS
from training.artifacts.artifact import load_verified
from training.artifacts.manifest import generation_of
from training.artifacts.signing import load_or_make_key
from training.model_file.model_spec import ModelSpec, parse_spec
from training.registry.aliases import CHAMPION
from training.registry.tables import Cause
from training.run import train
from training.schema.rows import Rows
from training.settings import Home

DAY_US = 86_400_000_000
A_DAY = 40
START = datetime(2026, 1, 5, tzinfo=UTC)  # machine time; model time begins at 1970
MODEL_FILE = """
model: rain
schema:
  target: wet
  task: binary
  positive: "yes"
  time: {column: at, kind: ordinal, origin: 1970-01-01, step: 1m}
  features:
    cloud: {kind: numeric, nullable: true}
    wind: numeric
    place: categorical
metric: log_loss
labels: {delay: 1d}
training: {candidates: [linear], budget: 2 fits, members: 1, map: false}
watching: {every: 7d, window: 14d, bucket: 1d}
retraining:
  act: auto
  cool_down: 14d
  budget_per_week: 3
  gate: {rows: 200, min_train_rows: 100}
  probation: {looks: 2, rows: 150}
"""
MAPPED = MODEL_FILE.replace("map: false", "map: true")  # as it is where the file says nothing: a version more at most slots
MANY = MAPPED.replace("members: 1", "members: 3")
CHILD = (sys.executable, "-m", "monitoring", "retrain-run")
DIES = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
HANGS = (sys.executable, "-c", "import time; time.sleep(600)")
LEARNS_TEN_DAYS = MODEL_FILE.replace("budget: 2 fits", "budget: 2 fits, window: 10d")
ON_LABELS = MODEL_FILE.replace("cool_down: 14d", "cool_down: 14d\n  min_new_labels: 250\n  on_performance: false")


def weather(seed: int, first_day: int, days: int, *, flipped_from: int | None = None) -> Rows:
    """Return labelled rows, 40 a day; from day `flipped_from` on clouds mean the opposite."""
    rng = np.random.default_rng([seed, first_day])
    n = days * A_DAY
    time_us = first_day * DAY_US + np.arange(n) * (DAY_US // A_DAY)
    cloud, wind = rng.normal(0, 1, n), rng.gamma(2.0, 1.0, n)
    sign = np.where((flipped_from is not None) & (time_us >= (flipped_from or 0) * DAY_US), -1.0, 1.0)
    wet = rng.random(n) < 1 / (1 + np.exp(-2.0 * sign * cloud))
    place = rng.choice(np.array(["hill", "lake", "town"], dtype=object), n)
    columns = {"cloud": np.where(rng.random(n) < 0.02, np.nan, cloud), "wind": wind, "place": place}
    return Rows(columns, np.where(wet, "yes", "no").astype(object), time_us)


@dataclass
class World:
    """One home with one model and as many monitors as a test makes."""

    stores: Stores
    spec: ModelSpec
    machine_now: datetime = START
    sent: int = 0
    arrived_us: int = 0  # for retention by a monitor whose clock is not this world's
    spool: str = "spool"
    minter: IdMinter | None = None  # of prediction ids as the service makes them; without it they are short
    monitors: list[Watch] = field(default_factory=list)

    @property
    def champion(self) -> str:
        alias = self.stores.registry.alias("rain", CHAMPION)
        assert alias is not None
        return alias.version

    @property
    def generation(self) -> str:
        """The first version with the champion's members."""
        return generation_of(self.champion)

    def train(self, rows: Rows) -> str:
        """Train and register a version by hand."""
        self.machine_now += timedelta(seconds=1)
        return train(rows, self.spec, home=self.stores.home, registry=self.stores.registry, now=self.machine_now).version

    def monitor(self, holder: str = "one", command: tuple[str, ...] | None = None) -> Watch:
        """Make a monitor as its own process would; `command` starts its training children, which otherwise are none."""
        environment = {**os.environ, "EVERGREEN_HOME": str(self.stores.home.path), "EVERGREEN_DATABASE_URL": self.stores.database.url}
        logs = self.stores.home.path / "runs"
        children = TrainsHere(self.stores, lambda: datetime.now(UTC)) if command is None else Children(environment, logs, command)
        settings = MonitoringSettings(self.stores.home, self.stores.database.url, holder=holder)
        self.monitors.append(make_watch(self.stores, children, make_metrics(), settings))
        return self.monitors[-1]

    def answer(self, rows: Rows, *, labelled: bool = True) -> None:
        """Answer rows day by day with the champion of the moment, write them into the log, and label them a day later."""
        for day in range(int(rows.time_us[0] // DAY_US), int(rows.time_us[-1] // DAY_US) + 1):
            today = rows.between(day * DAY_US, (day + 1) * DAY_US)
            if labelled:
                self.label(rows.between((day - 1) * DAY_US, day * DAY_US))
            self.log(today)

    def answer_here(self, rows: Rows) -> None:
        """Answer rows with a champion that is no compiled one in this process, as workers do, and forget it."""
        record, home = self.stores.registry.version("rain", self.champion), self.stores.home
        key = load_or_make_key(home.signing_key)
        self.stores.loaded["rain", self.champion] = load_verified(home.artifacts / record.path, home.cache, key)
        self.answer(rows)
        self.stores.loaded.clear()

    def log(self, rows: Rows) -> None:
        """Answer some rows and write them into the log as the drain does."""
        if not len(rows):
            return
        loaded = self.stores.load("rain", self.champion)
        prediction = loaded.predictor.predict(rows.columns)
        record = Record(
            prefix=f"p{self.sent}" if self.minter is None else self.minter.mint(0, spool=self.spool, seq=self.sent, n_rows=len(rows)),
            model="rain",
            version=loaded.version,
            bins_id=loaded.reference.bins.id,
            arrived_us=self.arrived_us + self.sent,
            event_us=rows.time_us.tolist(),
            own_ids=[str(t) for t in rows.time_us.tolist()],
            features={n: [None if v != v else v for v in c.tolist()] for n, c in rows.columns.items()},
            outputs=prediction.label.tolist(),
            probabilities=None if prediction.probability is None else prediction.probability.tolist(),
            classes=None if prediction.classes is None else list(prediction.classes),
        )
        facts, count = self.facts("rain", loaded.version), RowCounter([record], self.facts).count
        rules, first = {"rain": facts.rule}, {"rain": (facts.measures, facts.bucket_us)}
        batch = DrainedBatch(self.spool, self.sent, self.sent + 1, self.sent, [record], count=count, rules=rules, first=first)
        self.sent += 1
        assert self.stores.log.commit_drained(batch, machine_now=self.machine_now)

    def label(self, rows: Rows, rules: LabelRules | None = None) -> None:
        """Label rows that were answered."""
        items = [LabelItem(y, own_id=str(t)) for y, t in zip(rows.labels.tolist(), rows.time_us.tolist(), strict=True)]
        self.stores.log.label("rain", items, self.machine_now, rules=rules)

    def facts(self, model: str, version: str) -> VersionFacts:
        loaded = self.stores.load(model, version)
        return facts_of(loaded.manifest, loaded.reference, self.spec)

    def settle(self, watch: Watch) -> None:
        """Tick until nothing is left to do: also until children have ended."""
        deadline = datetime.now(UTC) + timedelta(seconds=PATIENCE_SECONDS)
        while tick(watch, self.machine_now) or self.stores.journal.running("rain") or tick(watch, self.machine_now):
            assert datetime.now(UTC) < deadline, "the loop does not come to rest"
            for child in watch.retraining.children.started.values():
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(0.05)

    def fail_slot(self, watch: Watch, ticks: int) -> None:
        """Tick some times while the champion's artifact is not there."""
        path = self.stores.home.artifacts / self.stores.registry.version("rain", self.champion).path
        path.rename(path.with_name("hidden"))
        self.stores.loaded.clear()
        for _ in range(ticks):
            tick(watch, self.machine_now)
        path.with_name("hidden").rename(path)

    def verdicts(self) -> list[str]:
        """Return the verdicts so far, the oldest first."""
        return [v.verdict for v in reversed(self.stores.journal.verdicts("rain", limit=None))]

    def actions(self) -> list[str]:
        """Return what the ledger says happened to versions, the oldest first."""
        lines = reversed(self.stores.registry.ledger("rain", None))
        return [line.action for line in lines if line.action in ("promote", "refuse", "rollback", "failed")]

    def messages(self) -> list[str]:
        """Return the types of the messages so far, the oldest first."""
        return [one.type for one, _ in reversed(self.stores.journal.outbox.last("rain", 100))]

    def probations(self) -> list[tuple[str, int]]:
        """Return how the probations stand or ended and after how many looks, the oldest first."""
        with self.stores.database.read() as connection:
            rows = connection.execute(select(probations.c.state, probations.c.looks_done).order_by(probations.c.id))
            return [(row.state, row.looks_done) for row in rows]

    def accuracy(self, version: str, rows: Rows) -> float:
        """Return the share of rows a version answers right."""
        return float(np.mean(self.stores.load("rain", version).predictor.predict(rows.columns).label == rows.labels))

    def logged_versions(self) -> set[str]:
        """Return the versions that answered anything."""
        with self.stores.database.read() as connection:
            return set(connection.scalars(select(predictions.c.version).distinct()))

    def close(self) -> None:
        for watch in self.monitors:
            watch.retraining.children.end_all()
        self.stores.close()


def make_world(
    folder: Path, model_file: str = MODEL_FILE, history_days: int = 60, database_url: str | None = None, once: Once | None = None
) -> World:
    """Make a home with a champion trained on the days before day `history_days`.

    Parameters
    ----------
    once
        Keeps a home on SQLite, so that the next world of the same options copies it; by default nothing is kept.
    """
    if once is None or database_url is not None:
        return train_first(open_world(folder, model_file, database_url), history_days)
    name = hashlib.sha256(f"{model_file} {history_days}".encode()).hexdigest()[:16]
    kept = once(f"world-{name}", lambda aside: train_first(open_world(aside, model_file), history_days).close())
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    world = open_world(folder, model_file)
    world.machine_now = world.stores.registry.version("rain", world.champion).created
    return world


def open_world(folder: Path, model_file: str, database_url: str | None = None) -> World:
    home = Home(folder / "home").ensure()
    return World(open_stores(home, database_url or f"sqlite:///{home.database}"), parse_spec(model_file))


def train_first(world: World, history_days: int, rows: Rows | None = None) -> World:
    world.stores.registry.put_model(world.spec)
    version = world.train(weather(0, 0, history_days) if rows is None else rows)
    world.stores.registry.promote("rain", version, expected=None, cause=Cause("test", "the first"), now=world.machine_now)
    return world
