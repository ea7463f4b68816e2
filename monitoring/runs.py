"""One run for a job, a model and a slot, within a transaction that somebody else opened."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from monitoring.errors import RunEndedError
from monitoring.journal_tables import Run, RunState
from monitoring.journal_tables import runs as table
from training.database import upsert
from training.documents import to_text


def begin(
    connection: sa.Connection,
    model: str,
    job: str,
    slot_us: int,
    token: int,
    now_us: int,
    payload: Mapping[str, Any] | None,
    *,
    again: bool,
) -> Run | None:
    """Begin a run, or one that was abandoned or failed once more; see `Journal.begin_run`."""
    run_id = f"{model}.{job}.{slot_us}"
    told = to_text(payload or {})
    started: dict[str, Any] = {"state": "running", "token": token, "started_us": now_us}
    row = {**started, "run_id": run_id, "model": model, "job": job, "slot_us": slot_us, "attempt": 1, "payload": told, "result": "{}"}
    begun = upsert(connection, table, row, ["model", "job", "slot_us"], None)
    if not begun and again:
        changes = {**started, "attempt": table.c.attempt + 1, "ended_us": None, "error": None, "result": "{}"}
        changes |= {} if payload is None else {"payload": told}
        ended = table.c.state.in_(("abandoned", "failed"))
        begun = connection.execute(table.update().where(table.c.run_id == run_id, ended).values(changes)).rowcount
    return find(connection, run_id) if begun else None


def end(connection: sa.Connection, run_id: str, state: RunState, ended_us: int, **values: Any) -> None:
    """End a running run; raises `RunEndedError` when it is not running."""
    change(connection, run_id, state=state, ended_us=ended_us, **values)


def change(connection: sa.Connection, run_id: str, **values: Any) -> None:
    """Change a running run; raises `RunEndedError` when it is not running."""
    statement = table.update().where(table.c.run_id == run_id, table.c.state == "running")
    if connection.execute(statement.values(values)).rowcount != 1:
        raise RunEndedError(f"the run {run_id} is {find(connection, run_id).state} already: nothing was written")


def abandon_before(connection: sa.Connection, token: int, now_us: int) -> list[Run]:
    """Mark the running runs of all holders before `token` as abandoned and return them."""
    dead = table.c.state == "running", table.c.token < token
    found = [str(run_id) for run_id in connection.scalars(sa.select(table.c.run_id).where(*dead).order_by(table.c.slot_us))]
    for run_id in found:
        end(connection, run_id, "abandoned", now_us, error=f"abandoned: its monitor lost the lease to token {token}")
    return [find(connection, run_id) for run_id in found]


def find(connection: sa.Connection, run_id: str) -> Run:
    """Return a run; raises `RunEndedError` when it never was."""
    row = connection.execute(sa.select(table).where(table.c.run_id == run_id)).one_or_none()
    if row is None:
        raise RunEndedError(f"there is no run {run_id!r}")
    return Run.of(row)
