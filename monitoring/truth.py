"""What log, journal and registry say of a replay: polled until it is so, never slept for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from monitoring.client import Client
from monitoring.errors import ReplayError, RunEndedError
from monitoring.journal import TICK, Journal
from monitoring.journal_tables import Run
from monitoring.slots import first_slot
from service.prediction_log import PredictionLog
from training.clock import duration_us, from_us
from training.database import Database
from training.moves import CHAMPION
from training.registry import Registry
from training.spec import ModelSpec

POLL_SECONDS = 0.02
FRESH_CONNECTIONS = 6  # asked before a new champion is taken to be everywhere: a connection is one worker's
RECENT = 20


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """What the monitor did at one slot: its verdict, what came of a retraining, the champion after it.

    Parameters
    ----------
    outcome
        `promoted`, `refused`, `failed`, `rolled_back`, or empty when nothing moved.
    """

    slot_us: int
    outcome: str
    verdict: str
    reasons: tuple[str, ...]
    champion: str


class Truth:
    """What log, journal and registry say, polled until it is so or the deadline has passed."""

    def __init__(self, database: Database, spec: ModelSpec, wait_seconds: float) -> None:
        self._log = PredictionLog(database)
        self._journal = Journal(database)
        self._registry = Registry(database)
        self._spec = spec
        self._every_us = duration_us(spec.watching.every)
        self.wait_seconds = wait_seconds
        self._before = self._log.count(spec.model)
        self._slot_us = 0

    def next_slot(self, time_us: npt.NDArray[np.int64]) -> int:
        """Return the first slot that rows of these ordered times can complete; rows the champion has seen complete none."""
        champion = self._registry.alias(self._spec.model, CHAMPION)
        record = None if champion is None else self._registry.version(self._spec.model, champion.version)
        seen_us = -1 if record is None else int(record.manifest["trained_through_us"])
        unseen = time_us[np.searchsorted(time_us, seen_us, side="right") :]
        first_us = int(unseen[0]) if len(unseen) else int(time_us[-1])
        logged = self._log.watermark(self._spec.model)
        self._slot_us = first_slot(first_us if logged is None else max(logged, first_us), self._every_us)
        return self._slot_us

    def slot_at(self, time_us: int) -> int:
        """Return the end of the last slot that a row of this time completes."""
        return time_us // self._every_us * self._every_us

    def wait_drained(self, sent: int) -> None:
        """Wait until all sent rows are in the log."""
        self._wait(lambda: self._log.count(self._spec.model) >= self._before + sent, f"{sent} sent rows to reach the log")

    def wait_slots(self, now_us: int) -> list[SlotSeen]:
        """Wait until every slot that ended by `now_us` is judged and acted upon."""
        last = now_us // self._every_us * self._every_us
        slots = range(self._slot_us, last + 1, self._every_us)
        for slot_us in slots:
            self._wait(partial(self._has_ended, slot_us), f"the monitor to finish the slot of {from_us(slot_us):%Y-%m-%d %H:%M}")
        self._slot_us = last + self._every_us
        return [self._seen(slot_us) for slot_us in slots]

    def wait_served(self, client: Client, version: str | None) -> None:
        """Wait until every worker answers with `version`."""
        if version is not None:
            self._wait(lambda: client.served(self._spec.model, FRESH_CONNECTIONS) == {version}, f"the service to serve {version}")

    def _run(self, slot_us: int) -> Run | None:
        try:
            return self._journal.run(f"{self._spec.model}.{TICK}.{slot_us}")
        except RunEndedError:
            return None

    def _has_ended(self, slot_us: int) -> bool:
        run = self._run(slot_us)
        return run is not None and run.state in ("done", "failed")

    def _seen(self, slot_us: int) -> SlotSeen:
        run = self._run(slot_us)
        verdict = next((v for v in self._journal.verdicts(self._spec.model, limit=RECENT) if v.slot_us == slot_us), None)
        champion = self._registry.alias(self._spec.model, CHAMPION)
        return SlotSeen(
            slot_us,
            str(run.result.get("outcome", "")) if run else "",
            verdict.verdict if verdict else "none",
            tuple(verdict.reasons) if verdict else (),
            champion.version if champion else "",
        )

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.wait_seconds
        while not is_so():
            if time.monotonic() > deadline:
                raise ReplayError(f"{self._spec.model}: waited {self.wait_seconds:g} s for {what}")
            time.sleep(POLL_SECONDS)
