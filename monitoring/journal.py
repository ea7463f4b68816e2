"""What was decided, on which evidence, by which runs: leases, runs, verdicts, quarantines, probations, requests."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from monitoring import journal_tables as tables
from monitoring import leases, runs
from monitoring.errors import RunEndedError
from monitoring.journal_tables import Lease, Probation, Quarantine, Request, Run, RunState, VerdictRecord
from training.clock import duration_us, to_us
from training.database import Database, upsert
from training.documents import to_text
from training.registry_tables import Guard

TICK, RETRAIN = "tick", "retrain"
"""The jobs the cursor and the counts look at."""


class Journal:
    """Keep the watching process's memory in the database, so that it can die at any moment.

    Every writing method takes a `guard` (see `guard`), which is called first in its transaction: the writes of a monitor
    that lost its lease are refused. Times that end in `_us` are model time in microseconds unless they say otherwise;
    `machine_now` is machine time.

    Parameters
    ----------
    database : Database
        Its tables are made or migrated at the first use.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self) -> None:
        """Make or migrate the tables; every other method does it when needed."""
        self._database.prepare(tables.COMPONENT, tables.metadata, tables.VERSION)

    # leases

    def acquire(self, name: str, holder: str, ttl: timedelta, machine_now: datetime) -> int | None:
        """Take or renew the lease `name`; return its fencing token, or None while another holder has it.

        Parameters
        ----------
        holder : str
            Unique to the process: host, process id and something random.
        """
        with self._writing(None) as connection:
            return leases.acquire(connection, name, holder, to_us(machine_now), duration_us(ttl))

    def release(self, name: str, token: int) -> None:
        """Give the lease up, so that another monitor need not wait for its end."""
        with self._writing(None) as connection:
            leases.release(connection, name, token)

    def lease(self, name: str) -> Lease | None:
        """Return who has, or last had, the lease."""
        with self._reading() as connection:
            return leases.find(connection, name)

    def guard(self, name: str, token: int) -> Guard:
        """Return a check that raises `LeaseLostError` within a transaction once somebody else took the lease."""
        self.prepare()
        return leases.make_guard(name, token)

    # runs

    def begin_run(
        self,
        model: str,
        job: str,
        slot_us: int,
        *,
        token: int,
        machine_now: datetime,
        payload: Mapping[str, Any] | None = None,
        again: bool = False,
        guard: Guard | None = None,
    ) -> Run | None:
        """Begin the one run of a job for a slot; None when it was begun before.

        Parameters
        ----------
        again : bool
            Also begin a run that was abandoned or failed once more: same run id, next attempt, the old payload unless a
            new one is given.
        """
        with self._writing(guard) as connection:
            return runs.begin(connection, model, job, slot_us, token, to_us(machine_now), payload, again=again)

    def finish_run(self, run_id: str, result: Mapping[str, Any], *, machine_now: datetime, guard: Guard | None = None) -> None:
        """End a run well; raises `RunEndedError` when it is not running any more."""
        with self._writing(guard) as connection:
            runs.end(connection, run_id, "done", to_us(machine_now), result=to_text(result))

    def fail_run(
        self, run_id: str, error: str, *, machine_now: datetime, result: Mapping[str, Any] | None = None, guard: Guard | None = None
    ) -> None:
        """End a run with an error; raises `RunEndedError` when it is not running any more."""
        with self._writing(guard) as connection:
            runs.end(connection, run_id, "failed", to_us(machine_now), error=error, result=to_text(result or {}))

    def note_run(self, run_id: str, payload: Mapping[str, Any], *, guard: Guard | None = None) -> None:
        """Replace the payload of a running run; raises `RunEndedError` when it is not running any more."""
        with self._writing(guard) as connection:
            runs.change(connection, run_id, payload=to_text(payload))

    def abandon_runs(self, token: int, *, machine_now: datetime, guard: Guard | None = None) -> list[Run]:
        """Mark the runs of all holders before `token` as abandoned, and return them: their processes may be dead."""
        with self._writing(guard) as connection:
            return runs.abandon_before(connection, token, to_us(machine_now))

    def run(self, run_id: str) -> Run:
        """Return one run; raises `RunEndedError` when it never was."""
        with self._reading() as connection:
            return runs.find(connection, run_id)

    def runs(self, model: str, job: str | None = None, *, state: RunState | None = None, limit: int | None = 100) -> list[Run]:
        """Return runs of a model, the latest slot first."""
        wanted = [tables.runs.c.model == model]
        wanted += [] if job is None else [tables.runs.c.job == job]
        wanted += [] if state is None else [tables.runs.c.state == state]
        statement = sa.select(tables.runs).where(*wanted).order_by(tables.runs.c.slot_us.desc(), tables.runs.c.job).limit(limit)
        with self._reading() as connection:
            return [Run.of(row) for row in connection.execute(statement)]

    def running(self, model: str) -> list[Run]:
        """Return the runs of a model that have not ended."""
        return self.runs(model, state="running", limit=None)

    def last_slot(self, model: str, job: str = TICK) -> int | None:
        """Return the latest slot whose run was begun, however it ended: the cursor of a model."""
        with self._reading() as connection:
            found = connection.scalar(sa.select(sa.func.max(tables.runs.c.slot_us)).where(*_is(model, job)))
        return None if found is None else int(found)

    def next_slot(self, model: str, every: timedelta, first_event_us: int | None, job: str = TICK) -> int | None:
        """Return the next slot to judge: `every` after the last one, else the first boundary after the first logged row.

        Slots are whole multiples of `every` since the epoch; None while nothing was logged.
        """
        width = duration_us(every)
        last = self.last_slot(model, job)
        after = first_event_us if last is None else last
        return None if after is None else (after // width + 1) * width

    def retrains_started_since(self, model: str, machine_time: datetime) -> list[Run]:
        """Return the retraining runs started at or after a machine time: for the budget."""
        is_since = tables.runs.c.started_us >= to_us(machine_time)
        statement = sa.select(tables.runs).where(*_is(model, RETRAIN), is_since).order_by(tables.runs.c.slot_us)
        with self._reading() as connection:
            return [Run.of(row) for row in connection.execute(statement)]

    # verdicts and quarantines

    def record_verdict(
        self,
        model: str,
        slot_us: int,
        verdict: str,
        reasons: Sequence[str],
        evidence: Mapping[str, Any],
        *,
        machine_now: datetime,
        guard: Guard | None = None,
    ) -> None:
        """Write the verdict of a slot; a slot that is judged again after a crash keeps its last verdict only."""
        values = {"verdict": verdict, "reasons": to_text(list(reasons)), "evidence": to_text(evidence), "created_us": to_us(machine_now)}
        with self._writing(guard) as connection:
            upsert(connection, tables.verdicts, {"model": model, "slot_us": slot_us, **values}, ["model", "slot_us"], values)

    def verdicts(self, model: str, limit: int | None = 100) -> list[VerdictRecord]:
        """Return the verdicts of a model, the latest first."""
        table = tables.verdicts
        statement = sa.select(table).where(table.c.model == model).order_by(table.c.slot_us.desc()).limit(limit)
        with self._reading() as connection:
            return [VerdictRecord.of(row) for row in connection.execute(statement)]

    def add_quarantine(
        self, model: str, start_us: int, end_us: int, reason: str, *, slot_us: int, machine_now: datetime, guard: Guard | None = None
    ) -> None:
        """Keep the rows of a range from ever being learned; the same range again changes nothing."""
        row = {
            "model": model,
            "start_us": start_us,
            "end_us": end_us,
            "reason": reason,
            "slot_us": slot_us,
            "created_us": to_us(machine_now),
        }
        with self._writing(guard) as connection:
            upsert(connection, tables.quarantines, row, ["model", "start_us", "end_us"], None)

    def quarantines(self, model: str, start_us: int | None = None, end_us: int | None = None) -> list[Quarantine]:
        """Return the quarantines that overlap `start_us <= time < end_us`, the earliest first; None is without end."""
        table = tables.quarantines
        wanted = [table.c.model == model]
        wanted += [] if start_us is None else [table.c.end_us > start_us]
        wanted += [] if end_us is None else [table.c.start_us < end_us]
        with self._reading() as connection:
            rows = connection.execute(sa.select(table).where(*wanted).order_by(table.c.start_us, table.c.end_us))
            return [Quarantine(*row) for row in rows]

    # probations

    def start_probation(
        self, model: str, version: str, previous: str, *, started_us: int, looks: int, guard: Guard | None = None
    ) -> Probation:
        """Begin the probation of a promoted version; one that is open for the model ends as superseded."""
        row = {"model": model, "version": version, "previous": previous, "started_us": started_us, "looks": looks}
        with self._writing(guard) as connection:
            connection.execute(tables.probations.update().where(*_open(model)).values(state="superseded"))
            connection.execute(tables.probations.insert().values(**row, looks_done=0, state="open", evidence="[]"))
            return Probation.of(connection.execute(sa.select(tables.probations).where(*_open(model))).one())

    def probation(self, model: str) -> Probation | None:
        """Return the open probation of a model, or None."""
        with self._reading() as connection:
            row = connection.execute(sa.select(tables.probations).where(*_open(model))).one_or_none()
            return None if row is None else Probation.of(row)

    def note_look(self, model: str, evidence: Mapping[str, Any], *, guard: Guard | None = None) -> Probation:
        """Note that an open probation was looked at, and what was found; raises `RunEndedError` when none is open."""
        with self._writing(guard) as connection:
            row = connection.execute(sa.select(tables.probations).where(*_open(model)).with_for_update()).one_or_none()
            if row is None:
                raise RunEndedError(f"{model} has no open probation")
            looked = to_text([*Probation.of(row).evidence, evidence])
            change = tables.probations.update().where(tables.probations.c.id == row.id)
            connection.execute(change.values(looks_done=row.looks_done + 1, evidence=looked))
            return Probation.of(connection.execute(sa.select(tables.probations).where(tables.probations.c.id == row.id)).one())

    def close_probation(self, model: str, state: str, *, guard: Guard | None = None) -> None:
        """End the open probation of a model as `passed`, `rolled_back` or `superseded`; nothing happens when none is open."""
        with self._writing(guard) as connection:
            connection.execute(tables.probations.update().where(*_open(model)).values(state=state))

    # requests

    def add_request(self, model: str, kind: str, *, who: str, machine_now: datetime, args: Mapping[str, Any] | None = None) -> int:
        """Ask the loop for something by hand, such as `retrain` or `check`; return the request's number."""
        row = {"model": model, "kind": kind, "who": who, "args": to_text(args or {}), "created_us": to_us(machine_now)}
        with self._writing(None) as connection:
            statement = tables.requests.insert().values(row).returning(tables.requests.c.id)
            return int(connection.execute(statement).scalar_one())

    def requests(self, model: str, *, waiting: bool = True) -> list[Request]:
        """Return the requests for a model, the oldest first: those that wait, or all."""
        wanted = [tables.requests.c.model == model]
        wanted += [tables.requests.c.taken_run.is_(None)] if waiting else []
        with self._reading() as connection:
            return [Request.of(row) for row in connection.execute(sa.select(tables.requests).where(*wanted).order_by(tables.requests.c.id))]

    def take_request(self, request_id: int, run_id: str, *, guard: Guard | None = None) -> bool:
        """Note which run does a request; whether it was still waiting."""
        waiting = tables.requests.c.id == request_id, tables.requests.c.taken_run.is_(None)
        with self._writing(guard) as connection:
            return connection.execute(tables.requests.update().where(*waiting).values(taken_run=run_id)).rowcount == 1

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        self.prepare()
        return self._database.read()

    @contextmanager
    def _writing(self, guard: Guard | None) -> Iterator[sa.Connection]:
        self.prepare()
        with self._database.write() as connection:
            if guard is not None:
                guard(connection)
            yield connection


def _is(model: str, job: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return tables.runs.c.model == model, tables.runs.c.job == job


def _open(model: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return tables.probations.c.model == model, tables.probations.c.state == "open"
