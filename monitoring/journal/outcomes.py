"""Sums of labelled rows by bucket, version, segment and the slot at which they became known, within a transaction of somebody else.

As with what a slot hands on (`carries`, which say as of which slot rows are counted): they are written with the verdict and hold from the
moment the slot's run is done. What an attempt left behind that did not end so goes with the next one, so that no row is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from monitoring.journal.tables import TICK, carries, outcome_edges, runs
from monitoring.journal.tables import outcomes as table
from monitoring.judging.estimating.answers import Answers, add_up_answers
from monitoring.judging.estimating.class_estimator import Bucket
from monitoring.judging.performance.outcome_sums import OutcomeSums, add_up
from monitoring.judging.unlabelled.strata import Due, add_up_due
from training.json_text import from_text, to_text
from training.profiles.measures import ALL
from training.storage.database import Database, upsert
from training.storage.migrations import add_columns

KEPT_SLOTS = 32
"""So many of the last slots can be told apart; what became known before is one row a bucket, version and segment."""
ROLLED_UP = 0
NO_ANSWERS = Answers()
NO_ROWS = Due()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The sums of some labelled rows of one bucket.

    Attributes
    ----------
    version
        Who answered.
    segment
        Whose rows, as ``place=coast``; empty for all.
    answers
        What was answered for all rows that came, labelled or not; of all rows only.
    due
        All rows that came, labelled or not.
    """

    bucket_us: int
    version: str
    segment: str
    sums: OutcomeSums
    answers: Answers = NO_ANSWERS
    due: Due = NO_ROWS


@dataclass(frozen=True, slots=True)
class KeptSums:
    """Sums that a process keeps in memory from slot to slot: those of buckets that begin at `start_us` or later, as of `counted_us`."""

    counted_us: int
    start_us: int
    sums: dict[int, OutcomeSums]
    due: dict[int, Due]


@dataclass(frozen=True, slots=True)
class KeptAnswered:
    """The buckets of one version that a process keeps in memory from slot to slot, as `KeptSums` does."""

    version: str
    counted_us: int
    start_us: int
    buckets: dict[int, Bucket]


@dataclass(frozen=True, slots=True)
class OutcomeUpdate:
    """What became known between two slots.

    Attributes
    ----------
    since_us
        The slot as of which rows were counted before; 0 before the first.
    outcomes
        What became known since, by bucket, version and segment.
    edges, strata
        The edges of the bins of scores, and of their strata, for a model that has none yet.
    """

    since_us: int
    outcomes: tuple[Outcome, ...]
    edges: tuple[float, ...] = ()
    strata: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredOutcomes:
    """The sums that are kept, as of the last slot whose run is done.

    Attributes
    ----------
    prepare
        Makes or migrates the tables.
    """

    database: Database
    prepare: Callable[[], None]

    def find(self, model: str, start_us: int, end_us: int, segment: str = "", *, after_us: int = -1) -> list[Outcome]:
        """Return the sums of a segment in ``start_us <= bucket < end_us``, in the order of the buckets.

        Parameters
        ----------
        after_us
            Only what became known at slots after it, of those that can be told apart.
        """
        chosen = (
            sa.select(table.c.bucket_us, table.c.version, table.c.segment, table.c.sums)
            .where(table.c.model == model, table.c.segment == segment, table.c.bucket_us >= start_us, table.c.bucket_us < end_us)
            .where(table.c.known_slot_us > after_us, sa.func.length(table.c.sums) > 0)
            .order_by(table.c.bucket_us, table.c.known_slot_us, table.c.version)
        )
        self.prepare()
        with self.database.read() as connection:
            rows = connection.execute(chosen.where(table.c.known_slot_us <= _counted_us(connection, model))).all()
        return [Outcome(row.bucket_us, row.version, row.segment, OutcomeSums.from_bytes(row.sums)) for row in rows]

    def answered(self, model: str, start_us: int, end_us: int, *, after_us: int = -1) -> list[Outcome]:
        """Return sums of all rows with what was answered for them, as `find` does, by version; those without any row are left out."""
        chosen = (
            sa.select(table.c.bucket_us, table.c.version, table.c.sums, table.c.answers)
            .where(table.c.model == model, table.c.segment == ALL, table.c.bucket_us >= start_us, table.c.bucket_us < end_us)
            .where(table.c.known_slot_us > after_us)
            .order_by(table.c.bucket_us, table.c.known_slot_us, table.c.version)
        )
        self.prepare()
        with self.database.read() as connection:
            rows = connection.execute(chosen.where(table.c.known_slot_us <= _counted_us(connection, model))).all()
        return [Outcome(row.bucket_us, row.version, ALL, _sums(row.sums), _answers(row.answers)) for row in rows]

    def find_due(self, model: str, start_us: int, end_us: int, segment: str = "", *, after_us: int = -1) -> list[tuple[int, Due]]:
        """Return all rows of a segment by the beginning of their bucket, labelled or not, in parts, as `find` does."""
        chosen = (
            sa.select(table.c.bucket_us, table.c.due)
            .where(table.c.model == model, table.c.segment == segment, table.c.bucket_us >= start_us, table.c.bucket_us < end_us)
            .where(table.c.known_slot_us > after_us, table.c.due.is_not(None))
            .order_by(table.c.bucket_us, table.c.known_slot_us, table.c.version)
        )
        self.prepare()
        with self.database.read() as connection:
            rows = connection.execute(chosen.where(table.c.known_slot_us <= _counted_us(connection, model))).all()
        return [(row.bucket_us, Due.from_bytes(row.due)) for row in rows]

    def counted_us(self, model: str) -> int:
        """Return the slot as of which labelled rows are counted; 0 before the first."""
        self.prepare()
        with self.database.read() as connection:
            return _counted_us(connection, model)

    def rolled_up_us(self, model: str) -> int:
        """Return up to which slot they may be rolled up; 0 while none is."""
        self.prepare()
        with self.database.read() as connection:
            return _old_us(connection, model) or 0

    def segments(self, model: str) -> list[str]:
        """Return the segments that there are sums of labelled rows of, and that of all rows, which is the first."""
        chosen = sa.select(table.c.segment).where(table.c.model == model)
        has_any = sa.or_(table.c.segment == ALL, sa.func.length(table.c.sums) > 0)
        self.prepare()
        with self.database.read() as connection:
            return list(connection.scalars(chosen.where(has_any).distinct().order_by(table.c.segment)))

    def edges(self, model: str) -> tuple[float, ...] | None:
        """Return the edges of the bins in which scores are counted; None before the first sums."""
        self.prepare()
        with self.database.read() as connection:
            content = connection.scalar(sa.select(outcome_edges.c.content).where(outcome_edges.c.model == model))
        return None if content is None else tuple(from_text(content))

    def strata(self, model: str) -> tuple[float, ...]:
        """Return the edges of the strata in which scores are counted; none before the first sums."""
        self.prepare()
        with self.database.read() as connection:
            content = connection.scalar(sa.select(outcome_edges.c.strata).where(outcome_edges.c.model == model))
        return () if content is None else tuple(from_text(content))

    def forget(self, model: str, before_us: int) -> None:
        """Delete the sums of buckets that begin before a model time: their rows have left the log."""
        self.prepare()
        with self.database.write() as connection:
            connection.execute(table.delete().where(table.c.model == model, table.c.bucket_us < before_us))


def write(connection: sa.Connection, model: str, slot_us: int, update: OutcomeUpdate) -> None:
    """Write what became known by a slot; a slot that is judged again replaces it. What is old is rolled up."""
    is_void = table.c.known_slot_us > update.since_us if update.since_us else sa.true()
    connection.execute(table.delete().where(table.c.model == model, is_void))
    rows = [
        {"model": model, "known_slot_us": slot_us, "through_us": slot_us, "bucket_us": one.bucket_us, "version": one.version,
         "segment": one.segment, "sums": one.sums.to_bytes() if one.sums.n else b"",
         "answers": one.answers.to_bytes() if one.answers.n else None,
         "due": one.due.to_bytes() if one.due.n else None}
        for one in update.outcomes
    ]  # fmt: skip
    if rows:
        connection.execute(table.insert(), rows)
    if update.edges:
        edges = {"model": model, "content": to_text(list(update.edges)), "strata": to_text(list(update.strata))}
        upsert(connection, outcome_edges, edges, ["model"], None)
    _roll_up(connection, model)


def take_back(connection: sa.Connection, model: str, after_us: int) -> None:
    """Forget what became known at slots behind a model time; where some of it is rolled up, all: the next slot counts the log again."""
    is_behind = table.c.model == model, table.c.through_us > after_us
    if connection.scalar(sa.select(sa.func.count()).select_from(table).where(*is_behind, table.c.known_slot_us == ROLLED_UP)):
        connection.execute(table.delete().where(table.c.model == model))
        connection.execute(carries.update().where(carries.c.model == model).values(counted_us=0))
    connection.execute(table.delete().where(*is_behind))


def _counted_us(connection: sa.Connection, model: str) -> int:
    """Return the slot as of which rows are counted: what the last slot whose run is done handed on."""
    is_done = (runs.c.model == carries.c.model) & (runs.c.job == TICK) & (runs.c.slot_us == carries.c.slot_us) & (runs.c.state == "done")
    chosen = sa.select(carries.c.counted_us).join(runs, is_done).where(carries.c.model == model).order_by(carries.c.slot_us.desc())
    return int(connection.scalar(chosen.limit(1)) or 0)


def _old_us(connection: sa.Connection, model: str) -> int | None:
    """Return the newest slot that is done but is none of the last ones; None while there is none."""
    done = sa.select(runs.c.slot_us).where(runs.c.model == model, runs.c.job == TICK, runs.c.state == "done")
    return connection.scalar(done.order_by(runs.c.slot_us.desc()).offset(KEPT_SLOTS).limit(1))


def _roll_up(connection: sa.Connection, model: str) -> None:
    """Add the sums of all but the last slots that are done to one row each of their bucket, version and segment."""
    until_us = _old_us(connection, model)
    if until_us is None:
        return
    is_old = table.c.model == model, table.c.known_slot_us > ROLLED_UP, table.c.known_slot_us <= until_us
    by_key: dict[tuple[int, str, str], list[Any]] = {}
    fields = (table.c.bucket_us, table.c.version, table.c.segment, table.c.through_us, table.c.sums, table.c.answers, table.c.due)
    chosen = sa.select(*fields).where(*is_old)
    for row in connection.execute(chosen.order_by(table.c.known_slot_us)).all():
        by_key.setdefault((row.bucket_us, row.version, row.segment), []).append(row)
    if not by_key:
        return
    known = _rolled_up(connection, model, [key[0] for key in by_key])
    rolled = [
        {"model": model, "known_slot_us": ROLLED_UP, "bucket_us": bucket_us, "version": version, "segment": segment,
         "through_us": rows[-1].through_us, **_joined([*known.get((bucket_us, version, segment), ()), *rows])}
        for (bucket_us, version, segment), rows in by_key.items()
    ]  # fmt: skip
    connection.execute(table.delete().where(*is_old))
    keys = ["model", "known_slot_us", "bucket_us", "version", "segment"]
    excluded: dict[str, Any] = {name: sa.literal_column(f"excluded.{name}") for name in ("through_us", "sums", "answers", "due")}
    upsert(connection, table, rolled, keys, excluded)


def _rolled_up(connection: sa.Connection, model: str, buckets: Sequence[int]) -> dict[tuple[int, str, str], list[Any]]:
    chosen = sa.select(table.c.bucket_us, table.c.version, table.c.segment, table.c.sums, table.c.answers, table.c.due).where(
        table.c.model == model, table.c.known_slot_us == ROLLED_UP, table.c.bucket_us >= min(buckets), table.c.bucket_us <= max(buckets)
    )
    return {(row.bucket_us, row.version, row.segment): [row] for row in connection.execute(chosen)}


def _joined(rows: Sequence[Any]) -> dict[str, bytes | None]:
    """Add up what is stored; of one alone nothing is read."""
    sums, answers, due = ([stored for row in rows if (stored := getattr(row, name))] for name in ("sums", "answers", "due"))
    return {
        "sums": sums[0] if len(sums) == 1 else add_up(map(_sums, sums)).to_bytes() if sums else b"",
        "answers": answers[0] if len(answers) == 1 else add_up_answers(map(_answers, answers)).to_bytes() if answers else None,
        "due": due[0] if len(due) == 1 else add_up_due(map(Due.from_bytes, due)).to_bytes() if due else None,
    }


def _sums(content: bytes) -> OutcomeSums:
    return OutcomeSums.from_bytes(content) if content else OutcomeSums()


def _answers(content: bytes | None) -> Answers:
    return Answers.from_bytes(content) if content else NO_ANSWERS


def add_answers(connection: sa.Connection) -> None:
    """Bring tables of version 7 to version 8: what was answered is kept too; of rows counted before nothing is."""
    if sa.inspect(connection).has_table(table.name):  # tables of before version 5 have none: it is made whole then
        add_columns(connection, table.c.answers)


def add_due(connection: sa.Connection) -> None:
    """Bring tables of version 9 to version 10: all rows are kept by strata of the score; so the next slot counts the log again."""
    if not sa.inspect(connection).has_table(table.name):
        return
    add_columns(connection, table.c.due, outcome_edges.c.strata)
    connection.execute(table.delete())
    connection.execute(outcome_edges.delete())
    connection.execute(carries.update().values(counted_us=0))
