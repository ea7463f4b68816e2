"""The training child: a process of its own that reads its rows by the ranges of its run row and ends at *register*."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from monitoring.journal_tables import Run
from monitoring.plan import Plan
from monitoring.stores import Stores
from monitoring.windows import learnable
from training.clock import duration_us
from training.dataset import read_rows
from training.errors import EvergreenError, TooFewRowsError
from training.rows import Rows
from training.run import train
from training.spec import ModelSpec, parse_spec

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
LAST_WORDS = 300


@dataclass(slots=True)
class Children:
    """The training children this process started, by run id.

    Parameters
    ----------
    environment
        What they inherit: where home and database are.
    logs
        The folder their output goes to, one file a run.
    command
        How a child is started; the run id is appended.
    """

    environment: Mapping[str, str]
    logs: Path
    command: Sequence[str] = (sys.executable, "-m", "monitoring", "retrain-run")
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, run: Run) -> int:
        """Start a child in a session of its own, with none of our files open; return its process id."""
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log(run.run_id).open("ab") as output:
            process = subprocess.Popen(
                [*self.command, run.run_id],
                env={**self.environment, **ONE_THREAD},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
        self.started[run.run_id] = process
        return process.pid

    def is_alive(self, run_id: str) -> bool:
        """Return whether a child of ours still runs."""
        process = self.started.get(run_id)
        return process is not None and process.poll() is None

    def end(self, run_id: str) -> str:
        """Kill what is left of a child's session, and return how it ended with its last words."""
        process = self.started.pop(run_id, None)
        if process is None:
            return "its process is not ours"
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        log = self._log(run_id)
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"its process ended with code {code}" + (f": {last[:LAST_WORDS]} (all of it in {log})" if last else "")

    def end_all(self) -> None:
        """Kill every child; their runs are for the next holder of the lease to abandon."""
        for run_id in list(self.started):
            self.end(run_id)

    def _log(self, run_id: str) -> Path:
        return self.logs / f"{run_id}.log"


def carry_out(stores: Stores, run_id: str, *, clock: Callable[[], datetime]) -> str:
    """Carry out a retraining run, in this process: read, train, register, end the run row; return the version.

    `clock` gives machine time. What goes wrong ends the run as failed; a run that is not running any more (abandoned by a
    new leader) is left alone.

    Raises
    ------
    RunEndedError
        The run is over.
    """
    run = stores.journal.run(run_id)
    try:
        spec = parse_spec(stores.registry.get_model(run.model).spec_text)
        plan = Plan.from_dict(run.payload)
        rows = read_training_rows(stores, spec, plan)
        result = train(
            rows, spec, home=stores.home, registry=stores.registry, parent=plan.champion, now=clock(), run_id=run_id,
            who="monitor", why=f"retraining: {plan.trigger}",
        )  # fmt: skip
    except EvergreenError as error:
        stores.journal.fail_run(run_id, str(error), machine_now=clock())
        raise
    told = {"version": result.version, "rows": len(rows), "first_us": int(rows.time_us[0]), "last_us": int(rows.time_us[-1])}
    stores.journal.finish_run(run_id, told, machine_now=clock())
    return result.version


def read_training_rows(stores: Stores, spec: ModelSpec, plan: Plan) -> Rows:
    """Read what a run may learn from: stored history and labelled rows of the log, without quarantines and gate rows."""
    windows = stores.windows(spec)
    logged = windows.labelled(plan.log_start_us, plan.log_end_us, plan.known_by_us, plan.aside).rows
    history = logged.slice(0, 0) if plan.history is None else read_rows(stores.home.rows, plan.history, spec.schema)
    start_us = None if spec.training.window is None else plan.slot_us - duration_us(spec.training.window)
    rows = learnable(history, logged, start_us, plan.log_end_us)
    least = spec.retraining.gate.min_train_rows
    if len(rows) < least:
        raise TooFewRowsError(f"{len(rows)} labelled rows to learn from before the rows of the gate, {least} are the least")
    return rows
