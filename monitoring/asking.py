"""Ask the running monitor for something, and wait for its answer: only the one that leads may act."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from monitoring.errors import AskingError
from monitoring.journal import RETRAIN
from monitoring.journal_tables import Run
from monitoring.leadership import LEASE
from monitoring.workbench import Workbench
from training.clock import from_us, to_us

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
    AskingError
        Nothing was logged yet, no monitor runs, or it did not answer in time (then the request still stands).
    """
    if bench.log.watermark(model) is None:
        raise AskingError(f"there is nothing to judge {model} by: no row was logged yet")
    lease = bench.journal.lease(LEASE)
    if lease is None or lease.expires_us < to_us(bench.now()):
        raise AskingError("no monitor is running: start it with `evergreen up` or `python -m monitoring`")
    number = bench.journal.add_request(model, kind, who=f"{bench.who}: {why}", machine_now=bench.now())
    deadline = time.monotonic() + wait_seconds
    while (run := _ended(bench, model, number)) is None:
        if time.monotonic() > deadline:
            raise AskingError(f"no answer after {wait_seconds:g} s; the request stands, see `evergreen status` and `evergreen verdicts`")
        time.sleep(POLL_SECONDS)
    return _answered(bench, model, run)


def _ended(bench: Workbench, model: str, number: int) -> Run | None:
    """Return the run that took the request, once it is over."""
    taken = next(request.taken_run for request in bench.journal.requests(model, waiting=False) if request.id == number)
    if taken is None:
        return None
    slot_us = int(taken.rpartition(".")[2])
    runs = [run for job in (RETRAIN, "check") for run in bench.journal.runs(model, job, limit=None) if run.slot_us == slot_us]
    return runs[0] if runs and runs[0].state != "running" and _is_concluded(bench, runs[0]) else None


def _is_concluded(bench: Workbench, run: Run) -> bool:
    """Whether the gate has spoken about a training that ended."""
    return run.job != RETRAIN or _ledger_line(bench, run) is not None


def _ledger_line(bench: Workbench, run: Run) -> str | None:
    lines = (line for line in bench.registry.ledger(run.model, 50) if line.evidence.get("run") == run.run_id)
    return next((f"{line.action}: {line.why}" for line in lines if line.action != "register"), None)


def _answered(bench: Workbench, model: str, run: Run) -> Answered:
    verdict = next((one for one in bench.journal.verdicts(model, 50) if one.slot_us == run.slot_us), None)
    return Answered(
        model=model,
        verdict=verdict.verdict if verdict else "none",
        reasons=verdict.reasons if verdict else (),
        model_time=from_us(run.slot_us).isoformat(),
        done=(_ledger_line(bench, run) or "") if run.job == RETRAIN else "",
        evidence=dict(verdict.evidence) if verdict else {},
    )
