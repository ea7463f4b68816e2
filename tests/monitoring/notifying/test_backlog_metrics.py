"""What a scrape says of messages that have not arrived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest

from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.journal.outbox import Message
from monitoring.notifying.backlog_metrics import BacklogMetrics
from training.clock import to_us
from training.storage.database import Database

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def scrape(journal: Journal, *, leads: bool) -> list[str]:
    registry = CollectorRegistry()
    registry.register(BacklogMetrics(journal.outbox, ("webhook", "mail"), lambda: leads, lambda: to_us(NOW + timedelta(seconds=90))))
    return [line.replace("evergreen_messages_", "") for line in generate_latest(registry).decode().splitlines() if line[0] != "#"]


def test_who_leads_tells_how_many_wait_and_how_long_and_another_one_nothing(database: Database) -> None:
    journal = Journal(database)
    turn = journal.outbox.announcing(Turn(NOW), [Message("rain", "x", key, {"summary": key}) for key in ("a", "b")])
    journal.add_quarantine(turn, "rain", 1, 2, "rule x", slot_us=3)
    journal.outbox.route(Turn(NOW), ("webhook",))

    assert scrape(journal, leads=False) == []
    assert scrape(journal, leads=True) == [
        'waiting{destination="mail"} 0.0',
        'waiting{destination="webhook"} 2.0',
        'oldest_seconds{destination="mail"} 0.0',
        'oldest_seconds{destination="webhook"} 90.0',
    ]
