"""The real log and the real monitor's ticks in this process, on model time: rows answered, labels when they come, slot by slot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.journal.tables import Run
from monitoring.loop.tick import Watch, make_watch, tick
from monitoring.metrics import make_metrics
from monitoring.retraining.training_process import Children, carry_out
from monitoring.settings import MonitoringSettings
from monitoring.stores import Stores, open_stores
from service.prediction_log.labels import LabelItem, LabelRules
from service.prediction_log.records import Record
from service.prediction_log.writing import DrainedBatch
from service.recording.counting import RowCounter
from service.recording.version_facts import VersionFacts, facts_of
from training.clock import duration_us, from_us, to_us
from training.errors import EvergreenError
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHAMPION
from training.registry.tables import Cause
from training.run import train
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.settings import Home

START = datetime(2026, 1, 5, tzinfo=UTC)  # machine time, which nothing here hangs on
STEPS_A_DELAY = 1  # labels are handed in this often, and at least once a bucket
Times = npt.NDArray[np.int64]


@dataclass(slots=True)
class TrainsHere(Children):
    """Training children that have done their work when they were started, in this process."""

    now: datetime = START

    def start(self, run: Run) -> int:
        """Carry the run out; what goes wrong stands in its row."""
        self.now += timedelta(seconds=1)
        stores = open_stores(Home(Path(self.environment["EVERGREEN_HOME"])), self.environment["EVERGREEN_DATABASE_URL"])
        with closing(stores), suppress(EvergreenError):
            carry_out(stores, run.as_attempted, clock=lambda: self.now)
        return os.getpid()


@dataclass(frozen=True, slots=True, eq=False)
class Feedback:
    """What comes of labels, one row of the stream, value and moment each: shape (n,), in the order of the moments (model time)."""

    row: Times
    at_us: Times
    label: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """What the loop made of a slot: its verdict, why it was blind if it was, and what became of the champion in the words of the ledger."""

    slot_us: int
    verdict: str
    blind: str | None
    action: str


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """How the loop answered the stream's rows, and its slots."""

    prediction: Prediction
    slots: tuple[SlotSeen, ...]


@dataclass
class Loop:
    """One home with a model that is served, watched and retrained."""

    stores: Stores
    spec: ModelSpec
    watch: Watch = field(init=False)
    sent: int = 0

    def __post_init__(self) -> None:
        database, home = self.stores.database.url, self.stores.home
        children = TrainsHere({"EVERGREEN_HOME": str(home.path), "EVERGREEN_DATABASE_URL": database}, home.path / "runs")
        settings = MonitoringSettings(home, database, holder="one")
        self.watch = make_watch(self.stores, children, make_metrics(), settings)

    @classmethod
    def begin(cls, folder: Path, spec: ModelSpec, history: Rows) -> Loop:
        """Train and promote a first champion."""
        home = Home(folder / "home").ensure()
        stores = open_stores(home, f"sqlite:///{home.database}")
        stores.registry.put_model(spec)
        version = train(history, spec, home=home, registry=stores.registry, now=START).version
        stores.registry.promote(spec.model, version, expected=None, cause=Cause("bench", "the first"), now=START)
        return cls(stores, spec)

    @property
    def champion(self) -> str:
        """The version that answers."""
        alias = self.stores.registry.alias(self.spec.model, CHAMPION)
        assert alias is not None
        return alias.version

    def answer(self, rows: Rows) -> Prediction:
        """Answer all rows with the champion of now, and log none."""
        return self.stores.load(self.spec.model, self.champion).predictor.predict(rows.columns)

    def replay(self, rows: Rows, feedback: Feedback) -> Watched:
        """Answer rows in steps, hand in labels when they come, and let the monitor judge each slot when it is due."""
        every_us, step_us = duration_us(self.spec.watching.every), step_of(self.spec)
        answers: list[Prediction] = []
        due = 0
        for start, stop in _steps(rows.time_us, step_us, every_us):
            before_us = int(rows.time_us[start])
            stop_us = int(np.searchsorted(feedback.at_us, before_us // step_us * step_us, side="left"))
            self._label(feedback, due, stop_us)
            due = max(due, stop_us)
            answers.append(self._log(rows.slice(start, stop), start))
            while tick(self.watch, START):
                pass
        return Watched(_joined(answers, self.spec), self._slots())

    def _log(self, rows: Rows, first: int) -> Prediction:
        loaded = self.stores.load(self.spec.model, self.champion)
        prediction = loaded.predictor.predict(rows.columns)
        record = Record(
            prefix=f"p{self.sent}",
            model=self.spec.model,
            version=loaded.version,
            bins_id=loaded.reference.bins.id,
            arrived_us=to_us(START) + self.sent,
            event_us=rows.time_us.tolist(),
            own_ids=[str(first + number) for number in range(len(rows))],
            features={name: [None if v != v else v for v in column.tolist()] for name, column in rows.columns.items()},
            outputs=prediction.label.tolist(),
            probabilities=None if prediction.probability is None else prediction.probability.tolist(),
            classes=None if prediction.classes is None else list(prediction.classes),
        )
        facts, count = self._facts(self.spec.model, loaded.version), RowCounter([record], self._facts).count
        rules, measures = {self.spec.model: facts.rule}, {self.spec.model: (facts.measures, facts.bucket_us)}
        batch = DrainedBatch("spool", self.sent, self.sent + 1, self.sent, [record], count=count, rules=rules, first=measures)
        self.sent += 1
        self.stores.log.commit_drained(batch, machine_now=START)
        return prediction

    def _label(self, feedback: Feedback, start: int, stop: int) -> None:
        if stop <= start:
            return
        labels, schema = feedback.label[start:stop].tolist(), self.spec.schema
        items = [
            LabelItem(str(y) if schema.is_classification else float(y), own_id=str(row))
            for y, row in zip(labels, feedback.row[start:stop].tolist(), strict=True)
        ]
        rules = LabelRules(
            schema.task,
            schema.classes if schema.is_classification else None,
            duration_us(self.spec.labels.too_late),
            bucket_us=duration_us(self.spec.watching.bucket),
        )
        self.stores.log.label(self.spec.model, items, START, rules=rules)

    def _facts(self, model: str, version: str) -> VersionFacts:
        loaded = self.stores.load(model, version)
        return facts_of(loaded.manifest, loaded.reference, self.spec)

    def _slots(self) -> tuple[SlotSeen, ...]:
        acted = {}
        for line in self.stores.registry.ledger(self.spec.model, None):
            if line.action in ("promote", "rollback", "refuse") and "slot" in line.evidence:
                acted[line.evidence["slot"]] = line.action
        seen = []
        for verdict in reversed(self.stores.journal.verdicts(self.spec.model, limit=None)):
            blind = verdict.evidence.get("cohorts", {}).get("blind")
            seen.append(SlotSeen(verdict.slot_us, verdict.verdict, blind, acted.get(from_us(verdict.slot_us).isoformat(), "")))
        return tuple(seen)

    def close(self) -> None:
        """End what was started."""
        self.stores.close()


def step_of(spec: ModelSpec) -> int:
    """Return how far apart labels are handed in: buckets are whole numbers of it."""
    delay_us = duration_us(spec.labels.delay) if spec.labels.delay is not None else duration_us(spec.watching.bucket)
    bucket_us = duration_us(spec.watching.bucket)
    return bucket_us // max(1, -(-STEPS_A_DELAY * bucket_us // delay_us))


def _steps(time_us: Times, step_us: int, every_us: int) -> Sequence[tuple[int, int]]:
    """Cut ordered rows at steps; those of the first instant past a slot stand alone, since the slot is judged after them."""
    edges = {0, len(time_us)}
    for unit_us in (step_us, every_us):
        firsts = np.flatnonzero(np.diff(time_us // unit_us, prepend=-1))
        edges |= set(firsts.tolist())
        if unit_us == every_us:
            edges |= set(np.searchsorted(time_us, time_us[firsts], side="right").tolist())
    ordered = sorted(edges)
    return list(pairwise(ordered))


def _joined(parts: Sequence[Prediction], spec: ModelSpec) -> Prediction:
    label = np.concatenate([one.label for one in parts])
    classes = spec.schema.order_classes({name for one in parts for name in one.classes or ()})
    probability = [each for one in parts if (each := one.aligned(classes).probability) is not None]
    return Prediction(label, np.concatenate(probability), classes) if probability else Prediction(label)
