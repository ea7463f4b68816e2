"""Messages for people, from the transaction that brings about what they tell to their receivers.

A message is written with what it tells (`announcing`), routed to the destinations of the monitor that leads, and sent: alone, or as one
digest of all that waits, at most once an hour of a model to a destination. What is claimed keeps its id and its content until it has
arrived, so that a receiver can tell a second delivery from a second message. Times that end in `_us` are machine time unless they say
otherwise.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from monitoring.journal.leases import Turn
from monitoring.journal.tables import deliveries, outbox
from training.json_text import from_text, to_text
from training.storage.database import Database, upsert

HOUR_US = 3_600_000_000
APART_US = HOUR_US  # between two deliveries of one model to one destination
FIRST_RETRY_US, RETRY_GROWTH, LONGEST_RETRY_US = 10_000_000, 3, HOUR_US
KEPT_US = 30 * 24 * HOUR_US  # of what was sent; what could not be sent in that time never is
MOST_IN_DIGEST = 50
BEGAN, ENDED = "began", "ended"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is written.

    Attributes
    ----------
    type
        Such as ``drift.began``; what has a beginning and an end has types that end so.
    key
        Of the messages of a model with one key only the first is written: a slot that is judged again tells nothing twice. Of what
        has a beginning and an end it is the incident and which of the two it is.
    incident
        What a beginning and its end have in common; None of what has none.
    slot_us
        Model time of the slot that concluded it, with which it is taken back; None of what stays.
    content
        Plain JSON values.
    """

    model: str
    type: str
    key: str
    content: Mapping[str, Any]
    incident: str | None = None
    slot_us: int | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as it is read, with the id that receivers know it by."""

    message_id: str
    model: str
    type: str
    created_us: int
    content: Mapping[str, Any]
    incident: str | None = None

    @property
    def subject(self) -> str:
        """What the incident is of, such as ``blindness``."""
        return subject_of(self.incident or "")


@dataclass(frozen=True, slots=True)
class Package:
    """What is sent at once: a message, or a digest of several, the oldest first.

    Attributes
    ----------
    id
        The same at each attempt.
    attempts
        How often it was tried, this time included.
    """

    id: str
    messages: tuple[StoredMessage, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What has not arrived at a destination: how many messages, since when the oldest waits, and what the last attempt met."""

    destination: str
    waiting: int
    oldest_us: int
    error: str | None


def incident_of(subject: str, slot_us: int) -> str:
    """Return what an incident is called: its subject, and the slot (model time) at which it began.

    Examples
    --------
    >>> incident_of("blindness", 5), subject_of("blindness@5")
    ('blindness@5', 'blindness')
    """
    return f"{subject}@{slot_us}"


def subject_of(incident: str) -> str:
    """Return what an incident is of."""
    return incident.rpartition("@")[0]


def retry_us(attempts: int) -> int:
    """Return how long is waited after some attempts, the last of which may have failed: three times as long each time, at most an hour.

    Examples
    --------
    >>> [retry_us(n) // 1_000_000 for n in (1, 2, 3, 7)]
    [10, 30, 90, 3600]
    """
    return min(LONGEST_RETRY_US, FIRST_RETRY_US * int(RETRY_GROWTH ** min(attempts - 1, 10)))


def add_tables(connection: sa.Connection) -> None:
    """Bring tables of version 6 to version 7: the outbox, which is made where it is missing."""


@dataclass(frozen=True, slots=True)
class StoredOutbox:
    """The messages that are kept.

    Attributes
    ----------
    prepare
        Makes or migrates the tables.
    """

    database: Database
    prepare: Callable[[], None]

    def announcing(self, turn: Turn, messages: Sequence[Message]) -> Turn:
        """Return the turn of a transaction that writes messages too: they are there if and only if it is committed."""
        if not messages:
            return turn
        self.prepare()

        def guard(connection: sa.Connection) -> None:
            if turn.guard is not None:
                turn.guard(connection)
            write(connection, messages, turn.now_us)

        return replace(turn, guard=guard)

    def open_incidents(self, model: str) -> dict[str, StoredMessage]:
        """Return the beginnings that have no end yet, by subject."""
        self.prepare()
        with self.database.read() as connection:
            rows = connection.execute(_messages().where(outbox.c.model == model, _is_open()).order_by(outbox.c.id)).all()
        return {one.subject: one for one in map(_stored, rows)}

    def route(self, turn: Turn, destinations: Sequence[str]) -> None:
        """Let what was written since go to some destinations; what waits for another one goes nowhere any more."""
        self.prepare()
        is_stray = sa.and_(deliveries.c.state == "waiting", deliveries.c.destination.not_in(destinations))
        with self.database.read() as connection:
            is_due = sa.select(outbox.c.id).where(sa.not_(outbox.c.is_routed)).limit(1)
            if connection.scalar(is_due) is None and connection.scalar(sa.select(sa.func.count()).where(is_stray)) == 0:
                return
        with self._writing(turn) as connection:
            rows = connection.execute(sa.select(outbox.c.id, outbox.c.model).where(sa.not_(outbox.c.is_routed))).all()
            fresh = {"state": "waiting", "attempts": 0, "next_us": 0}
            wanted = [{"outbox_id": row.id, "model": row.model, "destination": name, **fresh} for row in rows for name in destinations]
            upsert(connection, deliveries, wanted, ["outbox_id", "destination"], None)
            connection.execute(outbox.update().where(outbox.c.id.in_([row.id for row in rows])).values(is_routed=True))
            connection.execute(deliveries.update().where(is_stray).values(state="dropped"))

    def claim(self, turn: Turn, destination: str) -> Package | None:
        """Return what is to be sent to a destination now, if anything; until it is settled it comes again, later each time."""
        self.prepare()
        with self.database.read() as connection:
            chosen = _due(connection, destination, turn.now_us)
        if not chosen:
            return None
        is_it = deliveries.c.destination == destination, deliveries.c.outbox_id.in_([row.outbox_id for row in chosen])
        with self._writing(turn) as connection:
            rows = connection.execute(
                _messages().join(deliveries, deliveries.c.outbox_id == outbox.c.id).where(*is_it).order_by(outbox.c.id)
            ).all()
            messages = tuple(map(_stored, rows))
            if not messages:
                return None  # the model was removed in between
            own_id = messages[0].message_id if len(messages) == 1 else f"msg_{secrets.token_hex(16)}"
            package = Package(chosen[0].delivery_id or own_id, messages, chosen[0].attempts + 1)
            claimed = {"delivery_id": package.id, "attempts": package.attempts, "next_us": turn.now_us + retry_us(package.attempts)}
            connection.execute(deliveries.update().where(*is_it).values(claimed))
        return package

    def settle(self, turn: Turn, destination: str, package: Package, error: str | None) -> None:
        """Note that a package arrived, or what kept it from arriving."""
        is_it = deliveries.c.destination == destination, deliveries.c.delivery_id == package.id
        values = {"state": "sent", "sent_us": turn.now_us, "error": None} if error is None else {"error": error}
        with self._writing(turn) as connection:
            connection.execute(deliveries.update().where(*is_it).values(values))

    def backlog(self) -> list[Backlog]:
        """Return what has not arrived, by destination."""
        self.prepare()
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(deliveries.c.destination, sa.func.count().label("n"), sa.func.min(outbox.c.created_us).label("oldest_us"),
                          sa.func.max(deliveries.c.error).label("error"))
                .join(outbox, outbox.c.id == deliveries.c.outbox_id)
                .where(deliveries.c.state == "waiting").group_by(deliveries.c.destination).order_by(deliveries.c.destination)
            ).all()  # fmt: skip
        return [Backlog(row.destination, row.n, row.oldest_us, row.error) for row in rows]

    def last(self, model: str | None, limit: int) -> list[tuple[StoredMessage, dict[str, str]]]:
        """Return the last messages, of one model or of all, with how each stands by destination; the newest first."""
        self.prepare()
        of_model = [] if model is None else [outbox.c.model == model]
        with self.database.read() as connection:
            chosen = _messages(outbox.c.id).where(*of_model).order_by(outbox.c.id.desc()).limit(limit)
            rows = connection.execute(chosen).all()
            sent = connection.execute(sa.select(deliveries).where(deliveries.c.outbox_id.in_([row.id for row in rows]))).all()
        states: dict[int, dict[str, str]] = {row.id: {} for row in rows}
        for one in sent:
            why = f": {one.error}" if one.error and one.state != "sent" else ""
            states[one.outbox_id][one.destination] = one.state + why
        return [(_stored(row), states[row.id]) for row in rows]

    def forget(self, turn: Turn) -> dict[str, int]:
        """Forget what is older than 30 days, but the beginnings of what goes on; return how many messages expired, by destination."""
        before_us = turn.now_us - KEPT_US
        self.prepare()
        with self._writing(turn) as connection:
            old = sa.select(outbox.c.id).where(outbox.c.created_us < before_us)
            is_late = deliveries.c.state == "waiting", deliveries.c.outbox_id.in_(old)
            expired = connection.execute(
                sa.select(deliveries.c.destination, sa.func.count().label("n")).where(*is_late).group_by(deliveries.c.destination)
            ).all()
            connection.execute(deliveries.update().where(*is_late).values(state="expired"))
            gone = outbox.c.created_us < before_us, outbox.c.is_routed, sa.not_(_is_open())
            connection.execute(outbox.delete().where(*gone))
            connection.execute(deliveries.delete().where(deliveries.c.outbox_id.not_in(sa.select(outbox.c.id))))
        return {row.destination: row.n for row in expired}

    @contextmanager
    def _writing(self, turn: Turn) -> Iterator[sa.Connection]:
        with self.database.write() as connection:
            if turn.guard is not None:
                turn.guard(connection)
            yield connection


def write(connection: sa.Connection, messages: Sequence[Message], created_us: int) -> None:
    """Write messages, but those of a key that is there."""
    for one in messages:
        values = {"model": one.model, "type": one.type, "key": one.key, "incident": one.incident, "slot_us": one.slot_us}
        added = {"message_id": f"msg_{secrets.token_hex(16)}", "created_us": created_us, "content": to_text(one.content)}
        upsert(connection, outbox, {**values, **added, "is_routed": False}, ["model", "key"], None)


def _due(connection: sa.Connection, destination: str, now_us: int) -> Sequence[sa.Row[Any]]:
    """Return what goes next to a destination, all of one model, the oldest first."""
    is_here = deliveries.c.destination == destination
    waiting = sa.select(deliveries).join(outbox, outbox.c.id == deliveries.c.outbox_id).where(is_here, deliveries.c.state == "waiting")
    by_model: dict[str, list[sa.Row[Any]]] = {}
    for row in connection.execute(waiting.order_by(deliveries.c.outbox_id)):
        by_model.setdefault(row.model, []).append(row)
    if not by_model:
        return []
    last = sa.select(deliveries.c.model, sa.func.max(deliveries.c.sent_us)).where(is_here, deliveries.c.state == "sent")
    sent = dict(iter(connection.execute(last.group_by(deliveries.c.model))))
    ready = (_next(rows, sent.get(model), now_us) for model, rows in by_model.items())
    return next((rows for rows in ready if rows), [])


def _next(waiting: Sequence[sa.Row[Any]], sent_us: int | None, now_us: int) -> Sequence[sa.Row[Any]]:
    """Return what of a model is to be sent now: what was tried before, else all that waits; a time ahead was written by another clock."""
    claimed = next((row for row in waiting if row.delivery_id is not None), None)
    if claimed is not None:
        is_early = 0 < claimed.next_us - now_us <= LONGEST_RETRY_US
        return [] if is_early else [row for row in waiting if row.delivery_id == claimed.delivery_id]
    is_soon = sent_us is not None and 0 <= now_us - sent_us < APART_US
    return [] if is_soon else waiting[:MOST_IN_DIGEST]


def _is_open() -> sa.ColumnElement[bool]:
    """Return what chooses the beginnings without an end."""
    end = outbox.alias()
    has_ended = sa.exists().where(end.c.model == outbox.c.model, end.c.key == outbox.c.incident + f".{ENDED}")  # both are indexed
    return sa.and_(outbox.c.type.like(f"%.{BEGAN}"), sa.not_(has_ended))


def _messages(*more: sa.Column[Any]) -> sa.Select[Any]:
    names = ("message_id", "model", "type", "created_us", "content", "incident")
    return sa.select(*more, *(outbox.c[name] for name in names))


def _stored(row: sa.Row[Any]) -> StoredMessage:
    return StoredMessage(row.message_id, row.model, row.type, row.created_us, from_text(row.content), row.incident)
