"""One policy lived through: in a home of its own, what it answered, trained, promoted and took back."""

from __future__ import annotations

import math
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from monitoring.backtest.driver import Driver
from monitoring.backtest.judged_slots import JudgedSlot
from monitoring.backtest.kept_trainings import KeptTrainings
from monitoring.backtest.policies import Policy
from monitoring.backtest.stream import Stream
from monitoring.journal.tables import RETRAIN, Run
from monitoring.retraining.plan import Plan
from monitoring.retraining.retraining import OUTCOMES
from monitoring.stores import open_stores
from training.errors import EvergreenError
from training.evaluation.losses import Metric
from training.schema.prediction import Prediction
from training.settings import Home

NEXT_SLOTS = 6
"""So many slots a version has to show what it is worth, against the one it was to replace."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One training of the loop.

    Attributes
    ----------
    trigger
        What asked for it: ``performance``, ``schedule``, ``labels``, ``drift``.
    outcome
        `promoted`, `refused`, `failed`; empty where the table ended before it did.
    seconds
        What it took.
    champion_loss, challenger_loss
        Mean losses of the version it was to replace and of its own, on the rows of the next slots by their true labels; NaN where there is
        no version or no such row.
    """

    slot_us: int
    trigger: str
    outcome: str
    seconds: float
    champion_loss: float
    challenger_loss: float

    @property
    def is_alarm(self) -> bool:
        """Whether something was seen that asked for it, and not the calendar."""
        return self.trigger in ("performance", "drift")

    @property
    def gain(self) -> float:
        """By which share of its loss the replaced version was worse; NaN where that is not known."""
        return 1 - self.challenger_loss / self.champion_loss if self.champion_loss > 0 else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Lived:
    """What came of one policy.

    Attributes
    ----------
    seconds
        What living through it took, in processor time; of trainings that another policy had already, less.
    """

    prediction: Prediction
    slots: tuple[JudgedSlot, ...] = ()
    trainings: tuple[Trained, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Setting:
    """Where policies are lived through.

    Attributes
    ----------
    home
        One with the first version as its champion, of which each policy has a copy.
    kept
        What was trained already.
    takes
        How long a training takes in model time.
    metric
        By whose loss of each row versions are compared.
    """

    home: Path
    kept: KeptTrainings
    takes: timedelta
    metric: Metric


def live_through(stream: Stream, policy: Policy, setting: Setting) -> Lived:
    """Live through the rows of a stream under a policy."""
    began = time.process_time()
    variant = policy.variant(stream.spec)
    with TemporaryDirectory(prefix="evergreen-backtest-") as folder:
        home = Home(Path(folder) / "home")
        shutil.copytree(setting.home, home.path)
        stores = open_stores(home, f"sqlite:///{home.database}")
        try:
            if policy.kind == "first version":
                driver = Driver(stores, stream.spec)
                return Lived(driver.answer(stream.live), seconds=time.process_time() - began)
            stores.registry.put_model(variant)
            driver = Driver(stores, variant, setting.takes, setting.kept)
            driven = driver.run(stream.live, stream.plan, stream.feedback)
            trainings = tuple(
                trained(driver, stream, run, setting.metric) for run in reversed(stores.journal.runs(variant.model, RETRAIN, limit=None))
            )
        finally:
            stores.close()
    return Lived(driven.prediction, driven.slots, trainings, time.process_time() - began)


def trained(driver: Driver, stream: Stream, run: Run, metric: Metric) -> Trained:
    """Return what became of a training, and what its version would have been worth in the slots after it."""
    plan, made, registry = Plan.from_dict(run.payload), run.result.get("version"), driver.stores.registry
    lines = registry.ledger(driver.spec.model, None)
    line = next((one for one in lines if (one.evidence.get("run"), one.evidence.get("attempt")) == (run.run_id, run.attempt)), None)
    version = made
    if plan.growth is not None:  # a member is worth what the version with it is
        version = line.version if line is not None and line.action == "promote" else None
    seconds = 0.0 if made is None else sum(registry.version(run.model, made).manifest["durations"].values())
    start = int(np.searchsorted(stream.live.time_us, run.slot_us, side="right"))
    later = [bound for bound in stream.bounds if bound > start][:NEXT_SLOTS]
    rows = stream.live.slice(start, later[-1] if len(later) == NEXT_SLOTS else len(stream.live))
    rows = rows.take(rows.is_labelled)
    losses = [math.nan, math.nan]
    if version is not None and len(rows) and metric.per_row_loss is not None:
        with suppress(EvergreenError):  # a version that is removed by now has shown what it was worth, but not here
            losses = [float(metric.per_row_loss(rows.labels, driver.answer(rows, name)).mean()) for name in (plan.champion, version)]
    return Trained(run.slot_us, plan.trigger, OUTCOMES[line.action] if line else "", seconds, *losses)
