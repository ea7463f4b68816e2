"""A small real world to watch: a home with a trained champion, a log that traffic is written into, a monitor to tick."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import select

from monitoring.child import Children
from monitoring.leadership import Leadership
from monitoring.loop import Watch, tick
from monitoring.metrics import make_metrics
from monitoring.stores import Stores, open_stores
from service.counting import count_rows
from service.label_log import LabelItem
from service.log_tables import predictions
from service.log_writing import DrainedBatch
from service.records import Record
from service.versions import VersionFacts, facts_of
from training.moves import CHAMPION
from training.rows import Rows
from training.run import train
from training.settings import Home
from training.spec import ModelSpec, parse_spec

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
training: {candidates: [linear], budget: 2 fits}
watching: {every: 7d, window: 14d, bucket: 1d}
retraining:
  act: auto
  cool_down: 14d
  budget_per_week: 3
  gate: {rows: 200, min_train_rows: 100}
  probation: {looks: 2, rows: 150}
"""


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
    monitors: list[Watch] = field(default_factory=list)

    @property
    def champion(self) -> str:
        alias = self.stores.registry.alias("rain", CHAMPION)
        assert alias is not None
        return alias.version

    def train(self, rows: Rows) -> str:
        """Train and register a version by hand."""
        self.machine_now += timedelta(seconds=1)
        return train(rows, self.spec, home=self.stores.home, registry=self.stores.registry, now=self.machine_now).version

    def monitor(self, holder: str = "one", command: tuple[str, ...] | None = None) -> Watch:
        """Make a monitor as its own process would."""
        environment = {**os.environ, "EVERGREEN_HOME": str(self.stores.home.path)}
        children = Children(environment, self.stores.home.path / "runs")
        if command is not None:
            children.command = command
        metrics = make_metrics()
        leadership = Leadership(self.stores.journal, children, metrics, holder, timedelta(seconds=15))
        self.monitors.append(Watch(self.stores, children, leadership, metrics))
        return self.monitors[-1]

    def answer(self, rows: Rows, *, labelled: bool = True) -> None:
        """Answer rows day by day with the champion of the moment, write them into the log, and label them a day later."""
        for day in range(int(rows.time_us[0] // DAY_US), int(rows.time_us[-1] // DAY_US) + 1):
            today = rows.between(day * DAY_US, (day + 1) * DAY_US)
            if labelled:
                self.label(rows.between((day - 1) * DAY_US, day * DAY_US))
            self.log(today)

    def log(self, rows: Rows) -> None:
        """Answer some rows and write them into the log as the drain does."""
        if not len(rows):
            return
        loaded = self.stores.load("rain", self.champion)
        said = loaded.predictor.predict(rows.columns)
        record = Record(
            prefix=f"p{self.sent}",
            model="rain",
            version=loaded.version,
            bins_id=loaded.reference.bins.id,
            arrived_us=self.sent,
            event_us=rows.time_us.tolist(),
            own_ids=[str(t) for t in rows.time_us.tolist()],
            features={n: [None if v != v else v for v in c.tolist()] for n, c in rows.columns.items()},
            outputs=said.label.tolist(),
            probabilities=said.probability.tolist(),
            classes=list(said.classes),
        )
        counts, _ = count_rows([record], self.facts)
        rules = {"rain": self.facts("rain", loaded.version).rule}
        batch = DrainedBatch("spool", self.sent, self.sent + 1, self.sent, [record], counts=counts, rules=rules)
        self.sent += 1
        assert self.stores.log.commit_drained(batch, machine_now=self.machine_now)

    def label(self, rows: Rows) -> None:
        """Tell the truth about rows that were answered."""
        items = [LabelItem(y, own_id=str(t)) for y, t in zip(rows.labels.tolist(), rows.time_us.tolist(), strict=True)]
        self.stores.log.label("rain", items, self.machine_now)

    def facts(self, model: str, version: str) -> VersionFacts:
        loaded = self.stores.load(model, version)
        return facts_of(loaded.manifest, loaded.reference, self.spec.watching.clock_bound)

    def settle(self, watch: Watch, seconds: float = 60.0) -> None:
        """Tick until nothing is left to do: also until children have ended."""
        deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        while tick(watch, self.machine_now) or self.stores.journal.running("rain") or tick(watch, self.machine_now):
            assert datetime.now(UTC) < deadline, "the loop does not come to rest"

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

    def logged_versions(self) -> set[str]:
        """Return the versions that answered anything."""
        with self.stores.database.read() as connection:
            return set(connection.scalars(select(predictions.c.version).distinct()))

    def close(self) -> None:
        for watch in self.monitors:
            watch.children.end_all()
        self.stores.close()


def make_world(folder: Path, model_file: str = MODEL_FILE, history_days: int = 60) -> World:
    """Make a home with a champion trained on the days before day `history_days`."""
    home = Home(folder / "home").ensure()
    stores = open_stores(home, f"sqlite:///{home.database}")
    world = World(stores, parse_spec(model_file))
    stores.registry.put_model(world.spec)
    version = world.train(weather(0, 0, history_days))
    stores.registry.promote("rain", version, expected=None, who="test", why="the first", now=world.machine_now)
    return world
