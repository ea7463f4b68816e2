"""The training child: a process of its own that reads its rows by the ranges of its run row and ends at *register*."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from monitoring.journal.leases import Turn
from monitoring.journal.tables import Attempt, Run
from monitoring.log_windows import is_kept, learnable
from monitoring.retraining.plan import Plan, why_not_refitted
from monitoring.stores import Stores
from service.parent import with_us_as_parent
from training.artifacts.pickles import load_original
from training.artifacts.signing import load_or_make_key
from training.artifacts.verification import verify_fitted
from training.clock import duration_us
from training.dataset.dataset import read_rows
from training.errors import CandidateError, EvergreenError, TooFewRowsError
from training.fitting.learning import Growth
from training.model_file.model_spec import ModelSpec, parse_spec
from training.own_code import Code, imported_code
from training.registry.lineage import newest_member
from training.registry.tables import Right
from training.result import TrainingResult
from training.run import grow, train
from training.schema.rows import Rows

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
LAST_WORDS = 300
Trainer = Callable[..., TrainingResult]
"""What trains a version: `training.run.train`, or what is called as that."""


class Child(NamedTuple):
    """A training child, and when it began by the clock of its `Children`."""

    process: subprocess.Popen[bytes]
    began: float


@dataclass(slots=True)
class Children:
    """The training children this process started, by run id.

    Attributes
    ----------
    environment
        What they inherit: where home and database are.
    logs
        The folder their output goes to, one file a run.
    command
        How a child is started; run id, attempt and token are appended.
    monotonic
        Seconds since some moment, for the age of a child: a clock that nobody sets.
    """

    environment: Mapping[str, str]
    logs: Path
    command: Sequence[str] = (sys.executable, "-m", "monitoring", "retrain-run")
    started: dict[str, Child] = field(default_factory=dict)
    monotonic: Callable[[], float] = time.monotonic

    def start(self, run: Run) -> int:
        """Start a child in a session of its own, with none of our files open; return its process id. It ends with this process."""
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._log(run.run_id).open("ab") as output:
            process = subprocess.Popen(
                [*self.command, *map(str, run.as_attempted)],
                env=with_us_as_parent({**self.environment, **ONE_THREAD}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
        self.started[run.run_id] = Child(process, self.monotonic())
        return process.pid

    def age_seconds(self, run_id: str) -> float:
        """Return how long ago a child of ours was started; 0 for one that is not ours."""
        child = self.started.get(run_id)
        return 0.0 if child is None else self.monotonic() - child.began

    def is_alive(self, run_id: str) -> bool:
        """Return whether a child of ours still runs."""
        child = self.started.get(run_id)
        return child is not None and child.process.poll() is None

    def end(self, run_id: str) -> str:
        """Kill what is left of a child's session, and return how it ended with its last words."""
        child = self.started.pop(run_id, None)
        if child is None:
            return "its process is not ours"
        process = child.process
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


def carry_out(stores: Stores, attempt: Attempt, *, clock: Callable[[], datetime], trainer: Trainer = train) -> str:
    """Carry out an attempt at a retraining run, in this process: read, train, register, end the run row; return the version.

    `clock` gives machine time, `trainer` is called as `training.run.train` is. What goes wrong ends the run as failed. Each write checks
    in its own transaction that the attempt is still the one that runs: a child that was superseded, however late it wakes up, leaves
    everything alone.

    Raises
    ------
    LeaseLostError, RunEndedError
        The attempt was superseded: a new leader has taken over, or the run is over or was begun again.
    """
    journal, guard = stores.journal, stores.journal.guard_of(attempt)
    run = journal.attempted(attempt)
    right = Right(run.run_id, guard, {"attempt": attempt.number, "token": attempt.token}, stores.failpoint)
    try:
        spec = parse_spec(stores.registry.get_model(run.model).spec_text, stored=True)
        plan = Plan.from_dict(run.payload)
        refuse_changed_code(spec, plan.champion, stores.registry.version(run.model, plan.champion).manifest)
        spec = with_original(stores, spec, plan.champion)
        rows = read_training_rows(stores, spec, plan)
        if plan.growth is None:
            result = trainer(
                rows, spec, home=stores.home, registry=stores.registry, parent=plan.champion, now=clock(), right=right,
                who="monitor", why=f"retraining: {plan.trigger}",
            )  # fmt: skip
        else:
            like = plan.growth["like"]
            growth = Growth(plan.growth["family"], plan.gate_start_us, None if like is None else tuple(like))
            result = grow(
                rows, spec, growth, home=stores.home, registry=stores.registry, parent=plan.champion, now=clock(), right=right,
                why=f"one more member: {plan.trigger}",
            )  # fmt: skip
    except EvergreenError as error:
        journal.fail_run(Turn(clock(), guard, attempt.token), run.run_id, str(error))
        raise
    journal.finish_run(Turn(clock(), guard, attempt.token), run.run_id, {"version": result.version, **learned_from(result)})
    return result.version


def learned_from(result: TrainingResult) -> dict[str, Any]:
    """Return which rows a version was fitted on: how many, from when to when, how many of them at the first moment, their fingerprint."""
    times = result.made.rows.time_us
    return {
        "rows": len(times),
        "first_us": int(times[0]),
        "last_us": int(times[-1]),
        "first_rows": int((times == times[0]).sum()),
        "fingerprint": result.artifact.manifest.data_fingerprint,
    }


def refuse_changed_code(spec: ModelSpec, champion: str, manifest: Mapping[str, Any]) -> None:
    """Refuse to learn with a user's code that nobody has looked at since the champion was made.

    Raises
    ------
    CandidateError
        The code of a candidate, or of the metric, is not what it was; what changed is named.
    """
    factories = {f"candidate {own.name} ({own.factory})": (own.name, own.factory) for own in spec.training.own}
    if spec.own_metric is not None:
        factories[f"the metric {spec.metric}"] = (spec.metric, spec.metric)
    for what, (name, factory) in factories.items():
        stored = (manifest.get("code") or {}).get(name)
        if stored is None:
            continue
        if changes := Code.from_dict(stored).differences(imported_code(factory)):
            raise CandidateError(f"{what} changed since {champion} was made: {', '.join(changes)}: train it by hand")


def with_original(stores: Stores, spec: ModelSpec, champion: str) -> ModelSpec:
    """Return a model file whose one candidate is what the champion was imported as, where the file names none.

    Raises
    ------
    CandidateError
        What was imported cannot be fitted again.
    """
    record = newest_member(stores.registry, stores.registry.version(spec.model, champion))
    if record.manifest.get("original") is None or spec.training.names_candidates:
        return spec
    if (why_not := why_not_refitted(spec, record.manifest)) is not None:
        raise CandidateError(f"{champion} was imported, and cannot be fitted again: {why_not}; name candidates in the model file")
    key = load_or_make_key(stores.home.signing_key)
    *_, folder = verify_fitted(stores.home.artifacts / record.path, stores.home.cache, key, record.digest)
    return replace(spec, training=replace(spec.training, candidates=(load_original(folder),)))


def read_training_rows(stores: Stores, spec: ModelSpec, plan: Plan) -> Rows:
    """Read the rows of a run: stored history and rows of the log, without quarantines and gate rows; it learns from the labelled ones."""
    logged = stores.windows(spec).rows(plan.log_start_us, plan.log_end_us, plan.known_by_us, plan.aside, plan.requested)
    logged = logged.unlabelled(~is_kept(logged.time_us, plan.uncovered))
    history = logged.slice(0, 0) if plan.history is None else read_rows(stores.home.rows, plan.history, spec.schema)
    start_us = None if spec.training.window is None else plan.slot_us - duration_us(spec.training.window)
    rows = learnable(history, logged, start_us, plan.log_end_us)
    least = spec.retraining.gate.min_train_rows
    n_labelled = int(rows.is_labelled.sum())
    if n_labelled < least:
        raise TooFewRowsError(f"{n_labelled} labelled rows to learn from before the rows of the gate, {least} are the least")
    return rows
