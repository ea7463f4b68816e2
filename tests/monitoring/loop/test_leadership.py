"""Being the one monitor that acts: when the lease is renewed, and what is called when it comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.loop.leadership import Leadership
from training.storage.database import open_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=30)


class Counting(Journal):
    """A journal that counts how often a lease was asked for."""

    asked = 0

    def acquire(self, name: str, holder: str, ttl: timedelta, machine_now: datetime) -> int | None:
        """Take the lease, and count it."""
        self.asked += 1
        return super().acquire(name, holder, ttl, machine_now)


@dataclass
class Leading:
    """One monitor's leadership, a clock that nobody sets, and what was called."""

    journal: Counting
    seconds: float = 0.0
    calls: list[str] = field(default_factory=list)

    def make(self, holder: str) -> Leadership:
        def won(turn: Turn) -> None:
            self.calls.append(f"{holder} won {turn.token}")

        return Leadership(self.journal, holder, TTL, won, lambda: None, lambda: self.seconds)


@pytest.fixture
def leading(sqlite_url: str) -> Iterator[Leading]:
    database = open_database(sqlite_url)
    yield Leading(Counting(database))
    database.close()


@pytest.mark.parametrize(
    ("machine", "passed", "asked"),
    [(9, 9, 1), (11, 11, 2), (0, 11, 2), (1, 11, 2), (-3600, 1, 2), (3600, 1, 2), (11, 0, 2)],
    ids=["soon", "after a third", "set back", "slow", "set far back", "set forth", "after a sleep of the machine"],
)
def test_a_lease_is_renewed_after_a_third_of_it_whatever_the_machine_s_clock_says(
    machine: float, passed: float, asked: int, leading: Leading
) -> None:
    leadership = leading.make("one")
    leadership.lead(NOW)

    leading.seconds += passed
    turn = leadership.lead(NOW + timedelta(seconds=machine))

    assert leading.journal.asked == asked
    assert turn is not None
    assert (turn.token, leading.calls) == (1, ["one won 1"])
