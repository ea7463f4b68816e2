"""Ask the running monitor for something, and wait for its answer: only the one that leads may act."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from monitoring.admin.workbench import Workbench
from monitoring.errors import MonitorRequestError
from monitoring.journal.leases import MONITOR
from monitoring.journal.tables import CHECK, RETRAIN, Run, VerdictRecord
from training.clock import from_us
from training.registry.aliases import ROUTINE

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Answered:
    """What the monitor concluded from a request; `done` is empty when nothing was to be done."""

    model: str
    verdict: str
    reasons: tuple[str, ...]
    model_time: str
    done: str
    evidence: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def ask(bench: Workbench, model: str, kind: str, why: str, *, wait_seconds: float) -> Answered:
    """Hand a request (`check` or `retrain`) to the monitor and wait until it is answered.

    Raises
    ------
    MonitorRequestError
        Nothing was logged yet, no monitor runs, or it did not answer in time (then the request still stands).
    """
    if bench.log.watermark(model) is None:
        raise MonitorRequestError(f"there is nothing to judge {model} by: no row was logged yet")
    if not bench.journal.is_held(MONITOR, bench.now()):
        raise MonitorRequestError("no monitor is running: start it with `evergreen up` or `python -m monitoring`")
    number = bench.journal.add_request(model, kind, who=f"{bench.who}: {why}", machine_now=bench.now())
    deadline = time.monotonic() + wait_seconds
    while (run := _ended(bench, model, number)) is None:
        if time.monotonic() > deadline:
            still = "the request stands, see `evergreen status` and `evergreen verdicts`"
            raise MonitorRequestError(f"no answer after {wait_seconds:g} s; {still}")
        time.sleep(POLL_SECONDS)
    return _answered(bench, model, run)


def _ended(bench: Workbench, model: str, number: int) -> Run | None:
    """Return the run that answers the request, once it is over.

    A retraining that is held back is answered by the look at its verdict: its own, not that of a look that was asked for before it.
    """
    request = next(each for each in bench.journal.requests(model, waiting=False) if each.id == number)
    if request.taken_run is None:
        return None
    slot_us = int(request.taken_run.rpartition(".")[2])
    own = _run(bench, model, request.kind, slot_us)
    if own is not None:
        return own if own.state != "running" and _is_concluded(bench, own) else None
    look, verdict = _run(bench, model, CHECK, slot_us), _verdict(bench, model, slot_us)
    if look is None or look.state == "running" or verdict is None:
        return None
    is_held_back = verdict.created_us >= request.created_us and verdict.verdict != RETRAIN
    return look if is_held_back or look.started_us >= request.created_us else None


def _run(bench: Workbench, model: str, job: str, slot_us: int) -> Run | None:
    return next((run for run in bench.journal.runs(model, job, limit=None) if run.slot_us == slot_us), None)


def _verdict(bench: Workbench, model: str, slot_us: int) -> VerdictRecord | None:
    return next((one for one in bench.journal.verdicts(model, 50) if one.slot_us == slot_us), None)


def _is_concluded(bench: Workbench, run: Run) -> bool:
    """Return whether the gate has spoken about a training that ended."""
    return run.job != RETRAIN or _ledger_line(bench, run) is not None


def _ledger_line(bench: Workbench, run: Run) -> str | None:
    lines = (line for line in bench.registry.ledger(run.model, 50, but=("register", *ROUTINE)) if line.evidence.get("run") == run.run_id)
    return next((f"{line.action}: {line.why}" for line in lines), None)


def _answered(bench: Workbench, model: str, run: Run) -> Answered:
    verdict = _verdict(bench, model, run.slot_us)
    return Answered(
        model=model,
        verdict=verdict.verdict if verdict else "none",
        reasons=verdict.reasons if verdict else (),
        model_time=from_us(run.slot_us).isoformat(),
        done=(_ledger_line(bench, run) or "") if run.job == RETRAIN else "",
        evidence=dict(verdict.evidence) if verdict else {},
    )
