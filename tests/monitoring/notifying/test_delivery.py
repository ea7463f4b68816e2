"""From the outbox to a real endpoint: at least once, under one id, by the one who leads, whatever dies in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitoring.errors import LeaseLostError
from monitoring.journal.journal import Journal
from monitoring.journal.leases import MONITOR, Turn
from monitoring.journal.outbox import Message, Package
from monitoring.metrics import MonitorMetrics, make_metrics
from monitoring.notifying.delivery import Delivery, Send, channels
from monitoring.settings import MonitoringSettings, WebhookSettings
from tests.receivers import receiver
from training.settings import Home
from training.storage.database import open_database

NOW = datetime(2026, 1, 5, tzinfo=UTC)


class KilledError(BaseException):
    """The monitor's process is gone."""


@dataclass
class Monitor:
    """What of a monitor delivers, at a time that a test sets."""

    journal: Journal
    holder: str
    channels: dict[str, Send]
    metrics: MonitorMetrics = field(default_factory=make_metrics)
    token: int | None = None
    now: datetime = NOW

    def lead(self) -> None:
        self.token = self.journal.acquire(MONITOR, self.holder, timedelta(seconds=1), self.now)

    def turn(self) -> Turn | None:
        return None if self.token is None else Turn(self.now, self.journal.guard(MONITOR, self.token), self.token)

    def deliver(self, **after: float) -> None:
        self.now += timedelta(**after)
        Delivery(self.journal.outbox, self.channels, self.turn, self.metrics).run_once()

    def attempts(self, outcome: str) -> float:
        labels = {"destination": "webhook", "outcome": outcome}
        return self.metrics.registry.get_sample_value("evergreen_message_deliveries_total", labels) or 0.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    database = open_database(f"sqlite:///{tmp_path / 'journal.db'}")
    yield Journal(database)
    database.close()


def to(url: str) -> dict[str, Send]:
    return channels(MonitoringSettings(Home(Path()), "", webhook=WebhookSettings(url, (b"k" * 24,))))


def write(journal: Journal, *keys: str, at: datetime = NOW) -> None:
    messages = [Message("rain", "drift.began", key, {"summary": key}) for key in keys]
    journal.add_quarantine(journal.outbox.announcing(Turn(at), messages), "rain", 1, 2, "rule x", slot_us=3)


def test_an_endpoint_that_answers_500_and_then_200_gets_one_message_under_one_id(journal: Journal) -> None:
    with receiver([500, 503]) as hook:
        monitor = Monitor(journal, "one", to(hook.url))
        monitor.lead()
        write(journal, "rain: drift in cloud")
        for seconds in (0, 5, 5, 30, 7200):
            monitor.deliver(seconds=seconds)

    assert {(one.headers["webhook-id"], one.body) for one in hook.got} == {(hook.got[0].headers["webhook-id"], hook.got[0].body)}
    times = [int(one.headers["webhook-timestamp"]) - int(NOW.timestamp()) for one in hook.got]
    assert times == [0, 10, 40]
    assert (monitor.attempts("failed"), monitor.attempts("delivered")) == (2, 1)
    assert journal.outbox.backlog() == []


def test_what_comes_while_an_endpoint_is_away_arrives_as_one_digest(journal: Journal) -> None:
    with receiver([500, 200, 200]) as hook:
        monitor = Monitor(journal, "one", to(hook.url))
        monitor.lead()
        write(journal, "first")
        monitor.deliver()
        write(journal, "second", "third", at=NOW + timedelta(seconds=5))
        monitor.deliver(seconds=10)
        monitor.deliver(minutes=59)
        monitor.deliver(minutes=1)

    assert [one.content["type"] for one in hook.got] == ["drift.began", "drift.began", "digest"]
    digest = hook.got[2].content
    assert digest["data"]["summary"] == "second, and 1 more"
    assert [one["data"]["summary"] for one in digest["data"]["messages"]] == ["second", "third"]
    assert digest["timestamp"] == "2026-01-05T00:00:05+00:00"


@pytest.mark.parametrize("has_arrived", [False, True], ids=["before it was sent", "after it was sent"])
def test_a_monitor_that_is_killed_at_a_delivery_loses_no_message(has_arrived: bool, journal: Journal) -> None:
    with receiver() as hook:
        [(name, send)] = to(hook.url).items()

        def dies(package: Package, now: datetime) -> None:
            if has_arrived:
                send(package, now)
            raise KilledError

        first, second = Monitor(journal, "one", {name: dies}), Monitor(journal, "two", {name: send})
        first.lead()
        write(journal, "a", "b")
        with pytest.raises(KilledError):
            first.deliver()
        second.now += timedelta(seconds=10)
        second.lead()
        second.deliver()

    assert len(hook.got) == 1 + has_arrived
    assert len({one.headers["webhook-id"] for one in hook.got}) == 1
    assert {one.content["data"]["summary"] for one in hook.got} == {"a, and 1 more"}
    assert journal.outbox.backlog() == []


def test_of_two_monitors_one_sends_and_one_that_was_deposed_claims_nothing(journal: Journal) -> None:
    with receiver() as hook:
        one, two = Monitor(journal, "one", to(hook.url)), Monitor(journal, "two", to(hook.url))
        one.lead()
        write(journal, "a")
        two.deliver()
        nothing = list(hook.got)
        two.now += timedelta(seconds=2)
        two.lead()
        with pytest.raises(LeaseLostError):
            one.deliver()
        two.deliver()

    assert nothing == []
    assert len(hook.got) == 1


def test_a_destination_that_fails_keeps_nothing_from_another(journal: Journal) -> None:
    mails: list[str] = []

    def keep(package: Package, now: datetime) -> None:
        mails.append(package.id)

    with receiver([500]) as hook:
        monitor = Monitor(journal, "one", {**to(hook.url), "mail": keep})
        monitor.lead()
        write(journal, "a")
        monitor.deliver()

    assert mails == [hook.got[0].headers["webhook-id"]]
    assert [(one.destination, one.waiting) for one in journal.outbox.backlog()] == [("webhook", 1)]


def test_what_never_arrived_is_counted_when_it_is_given_up(journal: Journal) -> None:
    with receiver([500] * 9) as hook:
        monitor = Monitor(journal, "one", to(hook.url))
        monitor.lead()
        write(journal, "a")
        monitor.deliver()
        monitor.now += timedelta(days=31)
        Delivery(journal.outbox, monitor.channels, monitor.turn, monitor.metrics).forget()
        monitor.deliver()

    assert monitor.attempts("expired") == 1
    assert len(hook.got) == 1
