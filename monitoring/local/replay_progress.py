"""What log, journal, registry and metrics show of a replay: polled until it is so, never slept for."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from monitoring.backtest.judged_slots import JudgedSlot, judged_slot, slot_run
from monitoring.errors import ReplayError
from monitoring.journal.journal import Journal
from monitoring.journal.tables import RETRAIN
from monitoring.judging.slots import first_slot
from monitoring.local.client import Client
from service.prediction_log.prediction_log import PredictionLog
from training.clock import duration_us, from_us
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry
from training.storage.database import Database

POLL_SECONDS = 0.02
WAIT_SECONDS = 120.0


class ReplayProgress:
    """Watch a replay's model until what a step waits for is so, or the machine has had `wait_seconds` for it."""

    def __init__(self, database: Database, spec: ModelSpec, wait_seconds: float = WAIT_SECONDS) -> None:
        self._log = PredictionLog(database)
        self._journal = Journal(database)
        self._registry = Registry(database)
        self._spec = spec
        self._every_us = duration_us(spec.watching.every)
        self.wait_seconds = wait_seconds
        self._rows_before = self._log.count(spec.model)
        self._slot_us = 0
        self._followed = -1

    def next_slot(self, time_us: npt.NDArray[np.int64]) -> int:
        """Return the first slot that rows of these ordered times can complete; rows the champion has seen complete none."""
        champion = self._registry.alias(self._spec.model, CHAMPION)
        record = None if champion is None else self._registry.version(self._spec.model, champion.version)
        trained_us = -1 if record is None else int(record.manifest["trained_through_us"])
        unseen = time_us[np.searchsorted(time_us, trained_us, side="right") :]
        first_us = int(unseen[0]) if len(unseen) else int(time_us[-1])
        logged = self._log.watermark(self._spec.model)
        self._slot_us = first_slot(first_us if logged is None else max(logged, first_us), self._every_us)
        return self._slot_us

    def slot_at(self, time_us: int) -> int:
        """Return the end of the last slot that a row of this time completes."""
        return time_us // self._every_us * self._every_us

    def wait_drained(self, sent: int) -> None:
        """Wait until all sent rows are in the log."""
        self._wait(lambda: self._log.count(self._spec.model) >= self._rows_before + sent, f"{sent} sent rows to reach the log")

    def wait_slots(self, now_us: int) -> list[JudgedSlot]:
        """Wait until every slot that ended by `now_us` is judged and acted upon."""
        last = self.slot_at(now_us)
        slots = range(self._slot_us, last + 1, self._every_us)
        for slot_us in slots:
            self._wait(partial(self._has_ended, slot_us), f"the monitor to finish the slot of {from_us(slot_us):%Y-%m-%d %H:%M}")
        self._slot_us = last + self._every_us
        return [judged_slot(self._journal, self._registry, self._spec.model, slot_us) for slot_us in slots]

    def wait_followed(self, client: Client) -> None:
        """Wait until all requests to the monitor are answered and every worker of the service has followed the champion's last move.

        A worker counts a move as followed once the moved champion answers in it, so none answers with an older one after this.
        """
        self._wait(self._is_idle, "the monitor to do what it was asked for")
        alias = self._registry.alias(self._spec.model, CHAMPION)
        if alias is None or alias.move == self._followed:
            return
        self._wait(lambda: client.followed_move(alias.model) >= alias.move, f"every worker of the service to serve {alias.version}")
        self._followed = alias.move

    def _is_idle(self) -> bool:
        if self._journal.requests(self._spec.model) or self._journal.running(self._spec.model):
            return False
        run = next(iter(self._journal.runs(self._spec.model, RETRAIN, limit=1)), None)
        if run is None or run.payload.get("tick_run") is not None:  # what a slot began ends with the slot
            return True
        lines = self._registry.ledger(self._spec.model, None)
        return any((line.evidence.get("run"), line.evidence.get("attempt")) == (run.run_id, run.attempt) for line in lines)

    def _has_ended(self, slot_us: int) -> bool:
        run = slot_run(self._journal, self._spec.model, slot_us)
        return run is not None and run.state in ("done", "failed")

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.wait_seconds
        while not is_so():
            if time.monotonic() > deadline:
                raise ReplayError(f"{self._spec.model}: waited {self.wait_seconds:g} s for {what}")
            time.sleep(POLL_SECONDS)
