"""The outbox: what is written with a transaction, when it goes, as what, and what is forgotten."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.errors import LeaseLostError
from monitoring.journal import tables
from monitoring.journal.journal import Journal
from monitoring.journal.leases import MONITOR, Turn
from monitoring.journal.outbox import BEGAN, ENDED, Message, Package, incident_of
from training.storage.database import Database, open_database

NOW = datetime(2026, 1, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def news(key: str, model: str = "rain", type: str = "model.promoted", **more: object) -> Message:
    return Message(model, type, key, {"summary": f"{model}: {key}"}, **more)  # type: ignore[arg-type]


def write(journal: Journal, *messages: Message, at: datetime = NOW) -> None:
    """Write messages with a transaction of the journal."""
    journal.add_quarantine(journal.outbox.announcing(Turn(at), messages), "rain", 1, 2, "rule x", slot_us=3)


def sent(journal: Journal, at: datetime, error: str | None = None, to: str = "webhook") -> list[str] | None:
    """Send the next package that is due; return the keys of its messages, None where nothing is due."""
    journal.outbox.route(Turn(at), ("webhook",))
    package = journal.outbox.claim(Turn(at), to)
    if package is None:
        return None
    journal.outbox.settle(Turn(at), to, package, error)
    return keys(package)


def keys(package: Package) -> list[str]:
    return [str(one.content["summary"]).partition(": ")[2] for one in package.messages]


def test_a_message_is_there_if_and_only_if_its_transaction_is(journal: Journal) -> None:
    def fails(connection: object) -> None:
        raise LeaseLostError("somebody else leads")

    with suppress(LeaseLostError):
        write_under = journal.outbox.announcing(Turn(NOW, fails), [news("a")])
        journal.add_quarantine(write_under, "rain", 1, 2, "rule x", slot_us=3)
    run = journal.begin_run(Turn(NOW), "rain", "tick", 5)
    assert run is not None
    journal.finish_run(journal.outbox.announcing(Turn(NOW), [news("b")]), run.run_id, {})
    with suppress(Exception):
        journal.finish_run(journal.outbox.announcing(Turn(NOW), [news("c")]), run.run_id, {})  # it has ended

    assert [one.content["summary"] for one, _ in journal.outbox.last(None, 10)] == ["rain: b"]


def test_a_key_is_written_once(journal: Journal) -> None:
    write(journal, news("a"))
    write(journal, news("a"), news("a", model="snow"))

    assert sorted(one.model for one, _ in journal.outbox.last(None, 10)) == ["rain", "snow"]


def test_the_first_goes_at_once_and_the_rest_of_an_hour_as_one_digest_of_each_model(journal: Journal) -> None:
    write(journal, news("a"))
    first = sent(journal, NOW)
    write(journal, news("b"), news("c"), news("other", model="snow"))

    assert first == ["a"]
    assert [sent(journal, NOW + SECOND), sent(journal, NOW + SECOND)] == [["other"], None]
    assert [sent(journal, NOW + HOUR - SECOND), sent(journal, NOW + HOUR), sent(journal, NOW + 3 * HOUR)] == [None, ["b", "c"], None]


def test_what_could_not_be_delivered_keeps_its_id_and_waits_longer_each_time_up_to_an_hour(journal: Journal) -> None:
    write(journal, news("a"), news("b"))
    journal.outbox.route(Turn(NOW), ("webhook",))
    package = journal.outbox.claim(Turn(NOW), "webhook")
    assert package is not None
    journal.outbox.settle(Turn(NOW), "webhook", package, "answered 500")
    write(journal, news("later"))
    journal.outbox.route(Turn(NOW), ("webhook",))

    at, early, again = NOW, [], []
    for wait in (10, 30, 90, 270, 810, 2430, 3600, 3600):
        at += timedelta(seconds=wait)
        early.append(journal.outbox.claim(Turn(at - SECOND), "webhook"))
        again.append(journal.outbox.claim(Turn(at), "webhook"))

    assert early == [None] * 8
    assert [(one.id, keys(one), one.attempts) for one in again if one] == [(package.id, ["a", "b"], n) for n in range(2, 10)]
    [backlog] = journal.outbox.backlog()
    assert (backlog.waiting, backlog.error) == (3, "answered 500")


def test_a_clock_that_is_set_back_holds_nothing_up(journal: Journal) -> None:
    write(journal, news("a"))
    sent(journal, NOW + 300 * DAY)
    write(journal, news("b"), news("c", model="snow"))
    sent(journal, NOW + 300 * DAY, error="answered 500")

    assert [sent(journal, NOW), sent(journal, NOW), sent(journal, NOW)] == [["b"], ["c"], None]


def test_only_who_leads_sends(journal: Journal) -> None:
    token = journal.acquire(MONITOR, "one", SECOND, NOW) or 0
    old = Turn(NOW, journal.guard(MONITOR, token))
    write(journal, news("a"))
    journal.outbox.route(old, ("webhook",))
    package = journal.outbox.claim(old, "webhook")
    assert package is not None
    journal.release(MONITOR, token)
    new = Turn(NOW + HOUR, journal.guard(MONITOR, journal.acquire(MONITOR, "two", SECOND, NOW + HOUR) or 0))

    for deposed in (
        lambda: journal.outbox.settle(old, "webhook", package, None),
        lambda: journal.outbox.claim(Turn(NOW + HOUR, old.guard), "webhook"),
        lambda: journal.outbox.forget(old),
    ):
        with pytest.raises(LeaseLostError):
            deposed()

    again = journal.outbox.claim(new, "webhook")
    assert again is not None
    assert (again.id, again.attempts) == (package.id, 2)


def test_each_destination_gets_all_and_one_that_is_no_more_gets_nothing(journal: Journal) -> None:
    write(journal, news("a"))
    journal.outbox.route(Turn(NOW), ("webhook", "mail"))
    assert sent(journal, NOW) == ["a"]

    assert journal.outbox.backlog() == []  # `sent` routes to the webhook alone
    assert journal.outbox.last("rain", 1)[0][1] == {"webhook": "sent", "mail": "dropped"}


def test_without_a_destination_nothing_waits_for_one_that_comes(journal: Journal) -> None:
    write(journal, news("a"))
    journal.outbox.route(Turn(NOW), ())
    write(journal, news("b"))

    assert sent(journal, NOW) == ["b"]


def began(subject: str, slot: int) -> Message:
    incident = incident_of(subject, slot)
    return news(f"{incident}.{BEGAN}", type=f"{subject}.{BEGAN}", incident=incident, slot_us=slot)


def ended(subject: str, slot: int, at: int) -> Message:
    incident = incident_of(subject, slot)
    return news(f"{incident}.{ENDED}", type=f"{subject}.{ENDED}", incident=incident, slot_us=at)


def test_an_incident_is_open_from_its_beginning_to_its_end_and_again(journal: Journal) -> None:
    seen = []
    for messages in ([began("drift", 1), began("blindness", 1)], [ended("drift", 1, 2)], [began("drift", 3)], [ended("blindness", 1, 4)]):
        write(journal, *messages)
        seen.append(sorted(str(one.incident) for one in journal.outbox.open_incidents("rain").values()))

    assert seen == [["blindness@1", "drift@1"], ["blindness@1"], ["blindness@1", "drift@3"], ["drift@3"]]
    assert journal.outbox.open_incidents("snow") == {}


def test_what_was_concluded_from_slots_that_are_taken_back_is_forgotten_and_told_again(journal: Journal) -> None:
    write(journal, began("drift", 5), news("promoted"))
    sent(journal, NOW)
    write(journal, began("blindness", 6))

    journal.take_back("rain", 4)
    write(journal, began("drift", 5))

    assert sent(journal, NOW + HOUR) == ["drift@5.began"]
    assert [one.type for one, _ in journal.outbox.last(None, 9)] == ["drift.began", "model.promoted"]


def test_what_is_old_is_forgotten_but_the_beginnings_of_what_goes_on(journal: Journal) -> None:
    write(journal, began("drift", 1), began("blindness", 1), ended("blindness", 1, 2), news("a"))
    assert sent(journal, NOW) == ["drift@1.began", "blindness@1.began", "blindness@1.ended", "a"]
    write(journal, news("never arrives"), at=NOW + HOUR)
    sent(journal, NOW + HOUR, error="answered 500")
    write(journal, news("new"), at=NOW + 29 * DAY)
    journal.outbox.route(Turn(NOW), ("webhook",))

    early, late = journal.outbox.forget(Turn(NOW + 29 * DAY)), journal.outbox.forget(Turn(NOW + 31 * DAY))

    assert (early, late) == ({}, {"webhook": 1})
    assert [one.content["summary"] for one, _ in journal.outbox.last(None, 9)] == ["rain: new", "rain: drift@1.began"]
    assert sent(journal, NOW + 31 * DAY) == ["new"]


def test_tables_of_the_version_before_get_an_outbox(database: Database, database_url: str) -> None:
    Journal(database).prepare()
    with database.write() as connection:
        for table in (tables.outbox, tables.deliveries):
            table.drop(connection)
        connection.exec_driver_sql("UPDATE evergreen_schema SET version = 6 WHERE component = 'journal'")

    migrated = open_database(database_url)
    journal = Journal(migrated)
    write(journal, news("a"))

    assert sent(journal, NOW) == ["a"]
    assert migrated.schema_versions()[tables.COMPONENT] == tables.VERSION
    migrated.close()
