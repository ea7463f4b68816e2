"""The decisions that were recorded of a model: retrainings with what came of them, and weighings; and which rows they chose of some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.explaining.uses import Training
from monitoring.journal.tables import RETRAIN, Run
from monitoring.log_windows import Range
from monitoring.retraining.growing import judged_rows
from monitoring.retraining.plan import Plan
from monitoring.retraining.retraining import OUTCOMES
from monitoring.stores import Stores
from service.errors import ServiceError
from training.clock import from_us
from training.errors import EvergreenError
from training.model_file.model_spec import ModelSpec
from training.registry.tables import LedgerEntry

AT_ONCE = 20  # verdicts, which may be large, are read so many at a time
REWEIGH = "reweigh"


@dataclass(frozen=True, slots=True)
class Retrained:
    """A retraining run, and the line of the ledger that ended it; None while there is none."""

    run: Run
    line: LedgerEntry | None

    @property
    def plan(self) -> Plan:
        """What it was to read."""
        return Plan.from_dict(self.run.payload)

    @property
    def training(self) -> Training:
        """What rows are held against."""
        error = self.run.error or (None if self.run.state == "done" else f"the run is {self.run.state}")
        evidence = {} if self.line is None else self.line.evidence
        if self.run.state == "done" and self.line is not None and error is None:
            error = self.line.why
        return Training(self.run.slot_us, self.run.payload, self.run.result, error, evidence)

    @property
    def outcome(self) -> str:
        """In a word, what came of it."""
        return OUTCOMES[self.line.action] if self.line is not None else "not over" if self.run.state in ("running", "done") else "failed"

    @property
    def version(self) -> str | None:
        """The version that was promoted or refused, or made."""
        made = self.run.result.get("version")
        return self.line.version if self.line is not None and self.line.version is not None else made


@dataclass(frozen=True, slots=True)
class Weighing:
    """What the labels of a slot said of the champion's members, and the version it made; None where it moved nothing."""

    slot_us: int
    verdict: str
    evidence: Mapping[str, Any] | None
    line: LedgerEntry | None


def retrained(stores: Stores, model: str, after_us: int = -1) -> list[Retrained]:
    """Return the retrainings of the slots after a model time, the earliest first."""
    runs = [run for run in reversed(stores.journal.runs(model, RETRAIN, limit=None)) if run.slot_us > after_us]
    lines = {
        (line.evidence.get("run"), line.evidence.get("attempt")): line
        for line in reversed(stores.registry.ledger(model, None))
        if line.action in OUTCOMES
    }
    return [Retrained(run, lines.get((run.run_id, run.attempt))) for run in runs]


def weighings(stores: Stores, model: str, event_us: int) -> Iterator[Weighing]:
    """Yield the slots after a model time, with their weighings, until all rows that are weighed by are later."""
    made = {line.evidence.get("slot"): line for line in stores.registry.ledger(model, None) if line.action == REWEIGH}
    slots = [look.slot_us for look in stores.journal.looks(model, event_us + 1)]
    for first in range(0, len(slots), AT_ONCE):
        some = stores.journal.verdicts(model, None, slots=slots[first : first + AT_ONCE])
        for verdict in reversed(some):
            evidence = verdict.evidence.get("weighing")
            yield Weighing(verdict.slot_us, verdict.verdict, evidence, made.get(from_us(verdict.slot_us).isoformat()))
            if evidence is not None and evidence["from_us"] is not None and evidence["from_us"] > event_us:
                return


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Reads which rows of the log a decision chose, by what chose them: where its ranges do not say it."""

    stores: Stores
    spec: ModelSpec
    identity: str
    event_us: int

    def learned(self, one: Retrained) -> bool | None:
        """Return whether a training learned from the row."""
        plan, windows = one.plan, self.stores.windows(self.spec)
        start_us = plan.log_start_us if plan.requested else self.event_us  # the rest is older, and of no use to know the newest
        ids = windows.learnable_ids(start_us, plan.log_end_us, plan.known_by_us, plan.without_labels, plan.requested)
        return self.identity in ids[-int(one.run.result["rows"]) :]

    def judged(self, one: Retrained) -> bool | None:
        """Return whether a gate judged by the row; None where what it judged is gone."""
        plan, windows = one.plan, self.stores.windows(self.spec)
        if plan.growth is None:
            logged = windows.labelled(plan.gate_start_us, plan.gate_end_us, plan.known_by_us, plan.without_labels, plan.requested)
            return self.identity in logged.ids
        try:
            newcomer = self.stores.load(self.spec.model, str(one.run.result["version"]))
            return self.identity in judged_rows(self.stores, self.spec, plan, newcomer)[0].ids
        except (EvergreenError, ServiceError, OSError):  # its files went
            return None

    def weighed(self, weighing: Mapping[str, Any]) -> bool | None:
        """Return whether members were weighed by the row."""
        without = [Range(*each) for name in ("quarantined", "uncovered") for each in weighing[name]]
        requested = [Range(*each) for each in weighing["by_requests"]]
        windows = self.stores.windows(self.spec)
        logged = windows.labelled(weighing["from_us"], weighing["end_us"], weighing["known_by_us"], without, requested)
        return self.identity in logged.ids[:: weighing["one_in"]]
