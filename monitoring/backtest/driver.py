"""The loop as it is, with registry, journal and log of a home of its own, driven through a table: both clocks are the table's.

What is exchanged: training children are carried out in this process, and rows are committed to the log as the drain would commit them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.backtest.judged_slots import JudgedSlot, judged_slot
from monitoring.backtest.steps import Feedback, Step
from monitoring.journal.tables import TICK, Attempt, Run
from monitoring.loop.tick import ATTEMPTS, Watch, make_watch, tick
from monitoring.metrics import make_metrics
from monitoring.retraining.training_process import Children, Trainer, carry_out
from monitoring.settings import MonitoringSettings
from monitoring.stores import Stores, open_stores
from service.models.reasons import reason_of
from service.models.served_model import rules_of
from service.prediction_log.ids import PredictionId
from service.prediction_log.labels import LabelItem, LabelRules
from service.prediction_log.records import Record
from service.prediction_log.writing import DrainedBatch
from service.recording.counting import RowCounter
from service.recording.version_facts import VersionFacts, facts_of
from training.clock import from_us, to_us
from training.errors import EvergreenError
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHAMPION
from training.registry.tables import Cause
from training.result import TrainingResult
from training.run import train
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.settings import Home

SPOOL = "spool"
FOREVER = timedelta(days=36_500)
"""No lease runs out and no run is late while the clock leaps from slot to slot."""
WHO = "backtest"
FEW = 4  # runs that are read at once
Times = npt.NDArray[np.int64]


class TrainsHere(Children):
    """Training children that are carried out in this process, as soon as their time is over by the clock of the table.

    Parameters
    ----------
    clock
        Machine time, for the names of versions and the ends of runs.
    takes
        How long a training takes by that clock.
    trainer
        What trains; that of the product by default.
    """

    def __init__(self, stores: Stores, clock: Callable[[], datetime], takes: timedelta = timedelta(), trainer: Trainer = train) -> None:
        super().__init__({}, stores.home.path / "runs")
        self.takes = takes
        self._stores = stores
        self._clock = clock
        self._trainer = trainer
        self._open: dict[str, tuple[Attempt, datetime]] = {}
        self._last_words: dict[str, str] = {}

    @property
    def at_work(self) -> bool:
        """Whether a training is not over yet."""
        return bool(self._open)

    def start(self, run: Run) -> int:
        """Begin a training, which is over at once where it takes no time."""
        self._open[run.run_id] = run.as_attempted, self._clock() + self.takes
        self.carry_out_due()
        return os.getpid()

    def carry_out_due(self) -> None:
        """Carry out what is over by now; what goes wrong stands in the row of the run, or is its last words."""
        for run_id, (attempt, over) in list(self._open.items()):
            if over > self._clock():
                continue
            del self._open[run_id]
            try:
                carry_out(self._stores, attempt, clock=self._clock, trainer=self._trainer)
            except EvergreenError as error:  # it stands in the row already
                self._last_words[run_id] = reason_of(error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a child of its own would have died of it
                self._last_words[run_id] = reason_of(error)

    def age_seconds(self, run_id: str) -> float:
        """Return 0: by the clock of the table no training is late."""
        return 0.0

    def is_alive(self, run_id: str) -> bool:
        """Return whether a training is not over yet."""
        return run_id in self._open

    def end(self, run_id: str) -> str:
        """Forget a training; return what it died of."""
        self._open.pop(run_id, None)
        return self._last_words.pop(run_id, "it left nothing")

    def end_all(self) -> None:
        """Forget all of them."""
        self._open.clear()


@dataclass(frozen=True, slots=True, eq=False)
class Driven:
    """How the loop answered the rows of a table, and what it made of its slots.

    Attributes
    ----------
    version
        Which version answered, shape (n_rows,).
    """

    prediction: Prediction
    version: npt.NDArray[Any]
    slots: tuple[JudgedSlot, ...]


@dataclass
class Driver:
    """One home with one model that is answered from, labelled, watched and retrained, in this process.

    Attributes
    ----------
    takes
        How long a training takes by the clock of the table.
    trainer
        What the runs of the loop train with.
    """

    stores: Stores
    spec: ModelSpec
    takes: timedelta = timedelta()
    trainer: Trainer = train
    now: datetime = field(init=False)
    children: TrainsHere = field(init=False)
    watch: Watch = field(init=False)
    _sent: int = field(default=0, init=False)
    _facts: dict[str, VersionFacts] = field(default_factory=dict, init=False)
    _rules: LabelRules | None = field(default=None, init=False)
    _places: list[PredictionId] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.now = self.stores.registry.version(self.spec.model, self.champion).created
        self.children = TrainsHere(self.stores, lambda: self.now, self.takes, self.trainer)
        settings = MonitoringSettings(
            self.stores.home, self.stores.database.url, models=(self.spec.model,), lease=FOREVER, run_deadline=FOREVER, holder=WHO
        )
        self.watch = make_watch(self.stores, self.children, make_metrics(), settings)

    @classmethod
    def begin(cls, folder: Path, spec: ModelSpec, history: Rows, **how: Any) -> Driver:
        """Train and promote a first champion in a home that lies in a folder.

        Parameters
        ----------
        history
            What it learns from; the clock begins at its newest row.
        how
            `takes` and `trainer` of the driver.

        Raises
        ------
        EvergreenError
            As `training.run.train`.
        """
        home, now = Home(folder / "home").ensure(), from_us(int(history.time_us[-1]))
        stores = open_stores(home, f"sqlite:///{home.database}")
        result: TrainingResult = how.get("trainer", train)(history, spec, home=home, registry=stores.registry, now=now, who=WHO)
        stores.registry.promote(spec.model, result.version, expected=None, cause=Cause(WHO, "the first version"), now=now)
        return cls(stores, spec, **how)

    @property
    def champion(self) -> str:
        """The version that answers."""
        alias = self.stores.registry.alias(self.spec.model, CHAMPION)
        assert alias is not None
        return alias.version

    def answer(self, rows: Rows, version: str | None = None) -> Prediction:
        """Answer rows with a version, by default the champion of now, and log none."""
        return self.stores.load(self.spec.model, version or self.champion).predictor.predict(rows.columns)

    def run(self, rows: Rows, plan: Iterable[Step], feedback: Feedback, on_step: Callable[[int], None] = lambda rows: None) -> Driven:
        """Live through a table: answer rows, hand in labels, let the loop judge each slot when a row has passed it.

        Parameters
        ----------
        plan
            Each row in one step, in order.
        on_step
            Told after each step how many rows it answered.
        """
        answers: list[Prediction] = []
        versions: list[npt.NDArray[Any]] = []
        slots: list[JudgedSlot] = []
        champion = self.champion
        for step in plan:
            if step.stop > step.start:
                self.now = from_us(int(rows.time_us[step.start]))
            if self.children.at_work:
                champion = self._look(slots)
            self._label(feedback, step.before)
            if step.stop > step.start:
                answers.append(self._log(rows.slice(step.start, step.stop), champion))
                versions.append(np.full(step.stop - step.start, champion, dtype=object))
            if step.is_boundary:
                champion = self._look(slots)
            self._label(feedback, step.after)
            on_step(step.stop - step.start)
        return Driven(joined(answers, self.spec), np.concatenate(versions), tuple(slots))

    def close(self) -> None:
        """End what was started."""
        self.stores.close()

    def _look(self, slots: list[JudgedSlot]) -> str:
        """Let the loop do all that is due, note the slots that ended by it; return the champion this left."""
        self.children.carry_out_due()
        for _ in range(ATTEMPTS):
            while tick(self.watch, self.now):
                pass
            run = next(iter(self.stores.journal.runs(self.spec.model, TICK, limit=1)), None)
            if run is None or run.state not in ("failed", "abandoned"):
                break
        for run in self._ended(slots[-1].slot_us if slots else -1):
            slots.append(judged_slot(self.stores.journal, self.stores.registry, self.spec.model, run.slot_us))
        return self.champion

    def _ended(self, after_us: int) -> list[Run]:
        """Return the runs of slots after one that are over, in order."""
        journal, model = self.stores.journal, self.spec.model
        runs = journal.runs(model, TICK, limit=FEW)
        if len(runs) == FEW and runs[-1].slot_us > after_us:  # a gap of many slots
            runs = journal.runs(model, TICK, limit=None)
        return [run for run in reversed(runs) if run.slot_us > after_us and run.state in ("done", "failed")]

    def _log(self, rows: Rows, version: str) -> Prediction:
        """Answer rows and commit them as the drain does: packed, in one transaction."""
        loaded, model = self.stores.load(self.spec.model, version), self.spec.model
        prediction = loaded.predictor.predict(rows.columns)
        prefix = f"{self._sent:012}"
        record = Record(
            prefix=prefix,
            model=model,
            version=version,
            bins_id=loaded.reference.bins.id,
            arrived_us=to_us(self.now),
            event_us=rows.time_us,
            own_ids=None,
            features=rows.columns,
            outputs=prediction.label,
            probabilities=prediction.probability,
            classes=prediction.classes,
        )
        facts = self._facts_of(model, version)
        batch = DrainedBatch(
            SPOOL,
            self._sent,
            self._sent + 1,
            self._sent,
            [record],
            count=RowCounter([record], self._facts_of).count,
            rules={model: facts.rule},
            first={model: (facts.measures, facts.bucket_us)},
        )
        self._places += [PredictionId(prefix, row, to_us(self.now) // 1000, SPOOL, self._sent, len(rows)) for row in range(len(rows))]
        self._sent += 1
        self.stores.log.commit_drained(batch, machine_now=self.now)
        return prediction

    def _label(self, feedback: Feedback, due: range) -> None:
        """Hand in labels; of a row without one none."""
        if not due:
            return
        places, labels = feedback.row[due.start : due.stop].tolist(), feedback.label[due.start : due.stop].tolist()
        items = [LabelItem(y, self._places[row]) for row, y in zip(places, labels, strict=True) if y is not None and y == y]
        if items:
            self._rules = self._rules or rules_of(self.stores.load(self.spec.model, self.champion), self.spec)
            self.stores.log.label(self.spec.model, items, self.now, rules=self._rules)

    def _facts_of(self, model: str, version: str) -> VersionFacts:
        if version not in self._facts:
            loaded = self.stores.load(model, version)
            self._facts[version] = facts_of(loaded.manifest, loaded.reference, self.spec)
        return self._facts[version]


def joined(parts: Iterable[Prediction], spec: ModelSpec) -> Prediction:
    """Join answers of several versions in order; a class that a version does not know has probability 0 with it."""
    known = list(parts)
    label = np.concatenate([one.label for one in known])
    classes = spec.schema.order_classes({name for one in known for name in one.classes or ()})
    probability = [each for one in known if (each := one.aligned(classes).probability) is not None]
    return Prediction(label, np.concatenate(probability), classes) if probability else Prediction(label)
