"""What was decided, on which evidence, by which runs: leases, runs, verdicts, quarantines, probations, requests."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from monitoring.drift.episodes import Acknowledgement, Episode
from monitoring.journal import carries, drift_watch, leases, outcomes, probations, quarantines, requests, runs, tables, verdicts
from monitoring.journal.carries import Carry
from monitoring.journal.drift_watch import StoredReference, WatchState, WatchUpdate
from monitoring.journal.leases import Turn
from monitoring.journal.outbox import StoredOutbox, add_tables
from monitoring.journal.outcomes import OutcomeUpdate, StoredOutcomes
from monitoring.journal.probations import ProbationStep
from monitoring.journal.tables import RETRAIN, TICK, Attempt, Lease, ProbationRecord, Quarantine, Request, Run, RunState, VerdictRecord
from monitoring.judging.verdict import Evidence, Verdict
from training.clock import duration_us, to_us
from training.json_text import to_text
from training.registry.tables import Guard
from training.storage.database import Database, upsert

STEPS = carries.take_out_of_runs, quarantines.add_release_columns, *[carries.add_later_columns] * 3, add_tables, outcomes.add_answers
MIGRATIONS = dict(enumerate((*STEPS, carries.go_on_with_episodes, outcomes.add_due, carries.add_weighing), start=2))
"""The way from each version to the next; tables that are missing are added too."""


class Journal:
    """Keep the watching process's memory in the database, so that it can die at any moment.

    Every writing method takes the `Turn` it belongs to, whose guard is called first in its transaction: the writes of a
    monitor that lost its lease are refused. Times that end in `_us` are model time in microseconds unless they say otherwise.

    Parameters
    ----------
    database
        Its tables are made or migrated at the first use.

    Attributes
    ----------
    outcomes, outbox
        The sums of labelled rows; the messages for people.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.outcomes = StoredOutcomes(database, self.prepare)
        self.outbox = StoredOutbox(database, self.prepare)

    def prepare(self) -> None:
        """Make or migrate the tables; every other method does it when needed."""
        self._database.prepare(tables.COMPONENT, tables.metadata, tables.VERSION, MIGRATIONS)

    # leases

    def acquire(self, name: str, holder: str, ttl: timedelta, machine_now: datetime) -> int | None:
        """Take or renew the lease `name`; return its fencing token, or None while another holder has it.

        Parameters
        ----------
        holder
            Unique to the process: host, process id and something random.
        machine_now
            What time it is where the database has no clock of its own.
        """
        with self._writing(None) as connection:
            return leases.acquire(connection, name, holder, to_us(machine_now), duration_us(ttl))

    def release(self, name: str, token: int) -> None:
        """Let go of the lease, so that another monitor need not wait for its end."""
        with self._writing(None) as connection:
            leases.release(connection, name, token)

    def lease(self, name: str) -> Lease | None:
        """Return who has, or last had, the lease."""
        with self._reading() as connection:
            return leases.find(connection, name)

    def is_held(self, name: str, machine_now: datetime) -> bool:
        """Return whether anybody has the lease now."""
        with self._reading() as connection:
            return leases.is_held(connection, name, to_us(machine_now))

    def guard(self, name: str, token: int) -> Guard:
        """Return a check that raises `LeaseLostError` within a transaction once somebody else took the lease."""
        self.prepare()
        return leases.make_guard(name, token)

    # runs

    def begin_run(
        self,
        turn: Turn,
        model: str,
        job: str,
        slot_us: int,
        *,
        payload: Mapping[str, Any] | None = None,
        again: bool = False,
        step: ProbationStep | None = None,
    ) -> Run | None:
        """Begin the one run of a job for a slot; None when it was begun before.

        Parameters
        ----------
        again
            Also begin a run that was abandoned or failed once more: same run id, next attempt, the old payload unless a
            new one is given.
        step
            What the slot that asks for the run does to the open probation.
        """
        with self._writing(turn.guard) as connection:
            run = runs.begin(connection, turn, model, job, slot_us, payload, again)
            if run is not None and step is not None:
                probations.take(connection, model, step, slot_us)
            return run

    def attempted(self, attempt: Attempt) -> Run:
        """Return the run of an attempt.

        Raises
        ------
        LeaseLostError, RunEndedError
            The attempt may not write any more.
        """
        guard = runs.make_guard(attempt)
        with self._reading() as connection:
            guard(connection)
            return runs.find(connection, attempt.run_id)

    def guard_of(self, attempt: Attempt) -> Guard:
        """Return a check that raises `LeaseLostError` or `RunEndedError` within a transaction once an attempt was superseded."""
        self.prepare()
        return runs.make_guard(attempt)

    def finish_run(self, turn: Turn, run_id: str, result: Mapping[str, Any], step: ProbationStep | None = None) -> None:
        """End a run well; from here on what a slot hands on holds.

        Parameters
        ----------
        step
            What the slot does to the open probation: a slot that is judged again does it once.

        Raises
        ------
        RunEndedError
            The run is not running any more.
        """
        with self._writing(turn.guard) as connection:
            runs.end(connection, run_id, "done", turn.now_us, result=to_text(result))
            if step is not None:
                run = runs.find(connection, run_id)
                probations.take(connection, run.model, step, run.slot_us)

    def fail_run(self, turn: Turn, run_id: str, error: str) -> None:
        """End a run with an error.

        Raises
        ------
        RunEndedError
            The run is not running any more.
        """
        with self._writing(turn.guard) as connection:
            runs.end(connection, run_id, "failed", turn.now_us, error=error)

    def abandon_runs(self, turn: Turn) -> list[Run]:
        """Mark the runs of all holders before this turn's as abandoned, and return them: their processes may be dead."""
        with self._writing(turn.guard) as connection:
            return runs.abandon_before(connection, turn)

    def run(self, run_id: str) -> Run:
        """Return one run.

        Raises
        ------
        RunEndedError
            It never was.
        """
        with self._reading() as connection:
            return runs.find(connection, run_id)

    def runs(self, model: str, job: str | None = None, *, state: RunState | None = None, limit: int | None = 100) -> list[Run]:
        """Return runs of a model, the latest slot first."""
        with self._reading() as connection:
            return runs.some(connection, model, job, state, limit)

    def running(self, model: str) -> list[Run]:
        """Return the runs of a model that have not ended."""
        return self.runs(model, state="running", limit=None)

    def last_slot(self, model: str, job: str = TICK) -> int | None:
        """Return the latest slot whose run was begun, however it ended: the cursor of a model."""
        with self._reading() as connection:
            is_it = tables.runs.c.model == model, tables.runs.c.job == job
            slot_us = connection.scalar(sa.select(sa.func.max(tables.runs.c.slot_us)).where(*is_it))
        return None if slot_us is None else int(slot_us)

    def next_slot(self, model: str, every: timedelta, first_event_us: int | None, job: str = TICK) -> int | None:
        """Return the next slot to judge: `every` after the last one, else the first boundary after the first logged row.

        Slots are whole multiples of `every` since the epoch; None while nothing was logged.
        """
        width, last = duration_us(every), self.last_slot(model, job)
        after = first_event_us if last is None else last
        return None if after is None else (after // width + 1) * width

    def retrains_started_since(self, model: str, machine_time: datetime) -> list[Run]:
        """Return the retraining runs started at or after a machine time: for the budget."""
        with self._reading() as connection:
            return runs.started_since(connection, model, RETRAIN, to_us(machine_time))

    def take_back(self, model: str, after_us: int) -> int:
        """Forget the slots behind a model time, with all that was concluded from them; return how many: they come again.

        For a model time that was wrong; no run of theirs can end any more.
        """
        with self._writing(None) as connection:
            for table in (tables.carries, tables.verdicts, tables.quarantines, tables.outbox):
                connection.execute(table.delete().where(table.c.model == model, table.c.slot_us > after_us))
            for part in (drift_watch, outcomes, probations):
                part.take_back(connection, model, after_us)
            return runs.take_back(connection, model, after_us)

    # verdicts, what a slot hands on, quarantines

    def record_verdict(
        self,
        turn: Turn,
        evidence: Evidence,
        verdict: Verdict,
        carry: Carry | None = None,
        watch: WatchUpdate | None = None,
        counted: OutcomeUpdate | None = None,
    ) -> None:
        """Write the verdict of a slot; a slot that is judged again after a crash keeps its last verdict only.

        Parameters
        ----------
        carry, watch, counted
            What the slot hands on once its run is done; None for a look by hand.
        """
        model, slot_us = evidence.model, evidence.slot_us
        texts = {"reasons": to_text(list(verdict.reasons)), "evidence": to_text(evidence.to_dict())}
        values = {"verdict": verdict.kind, **texts, "created_us": turn.now_us}
        with self._writing(turn.guard) as connection:
            upsert(connection, tables.verdicts, {"model": model, "slot_us": slot_us, **values}, ["model", "slot_us"], values)
            if carry is not None:
                carries.write(connection, model, slot_us, carry)
            if watch is not None:
                drift_watch.write(connection, model, watch)
            if counted is not None:
                outcomes.write(connection, model, slot_us, counted)

    def carry(self, model: str) -> Carry:
        """Return what the last slot whose run is done handed on."""
        with self._reading() as connection:
            return carries.last(connection, model)

    def watch_state(self, model: str) -> WatchState | None:
        """Return the state of the drift watch that the last slot whose run is done handed on; None before the first."""
        with self._reading() as connection:
            return drift_watch.last(connection, model)

    def watch_beginning(self, model: str) -> tuple[StoredReference | None, int]:
        """Return the reference taken last, if there is one, and the number of the next episode, for a watch that has no state."""
        with self._reading() as connection:
            return drift_watch.beginning(connection, model)

    def reference(self, model: str, number: int) -> StoredReference:
        """Return one of the references that the drift watch of a model took."""
        with self._reading() as connection:
            return drift_watch.reference(connection, model, number)

    def episodes(self, model: str, limit: int | None = 100) -> list[tuple[Episode, Acknowledgement | None]]:
        """Return the drift episodes of a model with what a person said of them, the newest first."""
        with self._reading() as connection:
            return drift_watch.episodes(connection, model, limit)

    def acknowledgements(self, model: str, numbers: Sequence[int]) -> dict[int, Acknowledgement]:
        """Return what persons said of some episodes, by their number."""
        with self._reading() as connection:
            return drift_watch.acknowledgements(connection, model, numbers)

    def acknowledge(self, model: str, number: int, acknowledgement: Acknowledgement) -> bool:
        """Write down what a person said of an open episode, for the next slot; return whether there is such a one."""
        with self._writing(None) as connection:
            return drift_watch.acknowledge(connection, model, number, acknowledgement)

    def verdicts(self, model: str, limit: int | None = 100, *, slots: Collection[int] | None = None) -> list[VerdictRecord]:
        """Return the verdicts of a model, the latest first, of some slots only or of all; looks by hand have one too."""
        with self._reading() as connection:
            return verdicts.find(connection, model, limit, slots)

    def last_judged(self, model: str) -> VerdictRecord | None:
        """Return the verdict of the last slot; looks by hand are no slots."""
        with self._reading() as connection:
            return verdicts.last_judged(connection, model)

    def looks(self, model: str, since_us: int) -> list[tables.Look]:
        """Return when it was judged from a model time on, and how, the earliest first."""
        with self._reading() as connection:
            return verdicts.looks(connection, model, since_us)

    def add_quarantine(self, turn: Turn, model: str, start_us: int, end_us: int, reason: str, *, slot_us: int) -> None:
        """Keep the rows of a range from being learned, as one with what it touches; the same range again changes nothing."""
        with self._writing(turn.guard) as connection:
            quarantines.add(connection, Quarantine(model, start_us, end_us, reason, slot_us, turn.now_us))

    def quarantines(
        self,
        model: str,
        start_us: int | None = None,
        end_us: int | None = None,
        *,
        released: bool | None = False,
        of_labels: bool | None = False,
    ) -> list[Quarantine]:
        """Return the quarantines that overlap `start_us <= time < end_us`, the earliest first; None is without end.

        Parameters
        ----------
        released
            Those that were let go in place of those in force; None for both.
        of_labels
            Those of labels in place of those of rows; None for both.
        """
        with self._reading() as connection:
            every = quarantines.find(connection, model, released=released)
        known = every if of_labels is None else [q for q in every if q.is_of_labels == of_labels]
        return [q for q in known if (start_us is None or q.end_us > start_us) and (end_us is None or q.start_us < end_us)]

    def release_quarantine(self, one: Quarantine, now_us: int, who: str, why: str, guard: Guard | None = None) -> bool:
        """Let a quarantine go (machine time), by hand or as the one that acts; return whether it was in force."""
        with self._writing(guard) as connection:
            return quarantines.release(connection, one, {"released_us": now_us, "released_by": who, "released_why": why})

    def extend_released(self, turn: Turn, model: str, start_us: int, end_us: int) -> None:
        """Note that what was let go, begun at `start_us`, went on until `end_us`."""
        with self._writing(turn.guard) as connection:
            quarantines.go_on(connection, model, start_us, end_us)

    # probations

    def start_probation(self, turn: Turn, model: str, version: str, previous: str, *, started_us: int, looks: int) -> ProbationRecord:
        """Begin the probation of a promoted version; one that is open for the model ends as superseded."""
        with self._writing(turn.guard) as connection:
            return probations.start(connection, model, version=version, previous=previous, started_us=started_us, looks=looks)

    def open_probation(self, model: str) -> ProbationRecord | None:
        """Return the open probation of a model, or None."""
        with self._reading() as connection:
            return probations.find_open(connection, model)

    def last_probation(self, model: str) -> ProbationRecord | None:
        """Return the probation of a model that began last, however it stands, or None."""
        with self._reading() as connection:
            return probations.last(connection, model)

    def close_probation(self, turn: Turn, model: str, end: probations.End) -> None:
        """End the open probation of a model; nothing happens when none is open."""
        with self._writing(turn.guard) as connection:
            probations.close(connection, model, end)

    # requests

    def add_request(self, model: str, kind: str, *, who: str, machine_now: datetime, args: Mapping[str, Any] | None = None) -> int:
        """Ask the loop for something by hand, such as `retrain` or `check`; return the request's number."""
        with self._writing(None) as connection:
            return requests.add(connection, model, kind, who, args or {}, to_us(machine_now))

    def requests(self, model: str, *, waiting: bool = True) -> list[Request]:
        """Return the requests for a model, the oldest first: those that wait, or all."""
        with self._reading() as connection:
            return requests.find(connection, model, waiting=waiting)

    def take_request(self, turn: Turn, request_id: int, run_id: str) -> bool:
        """Write down which run does a request; return whether it was still waiting."""
        with self._writing(turn.guard) as connection:
            return requests.take(connection, request_id, run_id)

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
