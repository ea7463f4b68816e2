"""One run for a job, a model and a slot, within a transaction that somebody else opened."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from monitoring.errors import RunEndedError
from monitoring.journal import leases
from monitoring.journal.leases import Turn
from monitoring.journal.tables import TICK, Attempt, Run, RunState
from monitoring.journal.tables import runs as table
from training.json_text import to_text
from training.registry.tables import Guard
from training.storage.database import upsert


def begin(
    connection: sa.Connection, turn: Turn, model: str, job: str, slot_us: int, payload: Mapping[str, Any] | None, again: bool
) -> Run | None:
    """Begin a run, or one that was abandoned or failed once more; see `Journal.begin_run`."""
    run_id = f"{model}.{job}.{slot_us}"
    text = to_text(payload or {})
    started: dict[str, Any] = {"state": "running", "token": turn.token, "started_us": turn.now_us}
    row = {**started, "run_id": run_id, "model": model, "job": job, "slot_us": slot_us, "attempt": 1, "payload": text, "result": "{}"}
    begun = upsert(connection, table, row, ["model", "job", "slot_us"], None)
    if not begun and again:
        changes = {**started, "attempt": table.c.attempt + 1, "ended_us": None, "error": None, "result": "{}"}
        changes |= {} if payload is None else {"payload": text}
        has_ended = table.c.state.in_(("abandoned", "failed"))
        begun = connection.execute(table.update().where(table.c.run_id == run_id, has_ended).values(changes)).rowcount
    return find(connection, run_id) if begun else None


def some(connection: sa.Connection, model: str, job: str | None, state: RunState | None, limit: int | None) -> list[Run]:
    """Return runs of a model, the latest slot first."""
    wanted = [table.c.model == model]
    wanted += [] if job is None else [table.c.job == job]
    wanted += [] if state is None else [table.c.state == state]
    statement = sa.select(table).where(*wanted).order_by(table.c.slot_us.desc(), table.c.job).limit(limit)
    return [Run.of(row) for row in connection.execute(statement)]


def started_since(connection: sa.Connection, model: str, job: str, started_us: int) -> list[Run]:
    """Return the runs of a job that were started at or after a machine time, the earliest slot first."""
    wanted = table.c.model == model, table.c.job == job, table.c.started_us >= started_us
    return [Run.of(row) for row in connection.execute(sa.select(table).where(*wanted).order_by(table.c.slot_us))]


def end(connection: sa.Connection, run_id: str, state: RunState, ended_us: int, **values: Any) -> None:
    """End a running run; raises `RunEndedError` when it is not running."""
    statement = table.update().where(table.c.run_id == run_id, table.c.state == "running")
    if connection.execute(statement.values(state=state, ended_us=ended_us, **values)).rowcount != 1:
        raise RunEndedError(f"the run {run_id} is {find(connection, run_id).state} already: nothing was written")


def make_guard(attempt: Attempt) -> Guard:
    """Return a check for the start of a transaction of a training child: it may write while its attempt is the one that runs.

    On PostgreSQL it also keeps anybody from ending the run before the transaction ends; on SQLite the one writer does.

    Raises
    ------
    LeaseLostError
        By the check: somebody else took the lease under which the attempt was begun, though its run may not be abandoned yet.
    RunEndedError
        By the check: the run is over, or was begun again.
    """
    check_lease = leases.make_guard(leases.MONITOR, attempt.token)

    def check(connection: sa.Connection) -> None:
        check_lease(connection)
        row = connection.execute(sa.select(table).where(table.c.run_id == attempt.run_id).with_for_update()).one_or_none()
        if row is None or (row.state, row.attempt, row.token) != ("running", attempt.number, attempt.token):
            now = "is gone" if row is None else f"is {row.state} in attempt {row.attempt} under token {row.token}"
            raise RunEndedError(
                f"attempt {attempt.number} under token {attempt.token} may not write any more: the run {attempt.run_id} {now}"
            )

    return check


def abandon_before(connection: sa.Connection, turn: Turn) -> list[Run]:
    """Mark the running runs of all holders before this turn's as abandoned and return them."""
    is_dead = table.c.state == "running", table.c.token < turn.token
    names = [str(run_id) for run_id in connection.scalars(sa.select(table.c.run_id).where(*is_dead).order_by(table.c.slot_us))]
    for run_id in names:
        end(connection, run_id, "abandoned", turn.now_us, error=f"abandoned: its monitor lost the lease to token {turn.token}")
    return [find(connection, run_id) for run_id in names]


def take_back(connection: sa.Connection, model: str, after_us: int) -> int:
    """Forget the runs of slots behind a model time; return how many slots they were."""
    is_behind = table.c.model == model, table.c.slot_us > after_us
    slots = connection.scalar(sa.select(sa.func.count()).where(*is_behind, table.c.job == TICK))
    connection.execute(table.delete().where(*is_behind))
    return int(slots or 0)


def find(connection: sa.Connection, run_id: str) -> Run:
    """Return a run.

    Raises
    ------
    RunEndedError
        It never was.
    """
    row = connection.execute(sa.select(table).where(table.c.run_id == run_id)).one_or_none()
    if row is None:
        raise RunEndedError(f"there is no run {run_id!r}")
    return Run.of(row)
