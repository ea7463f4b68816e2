"""What a worker writes down once a second."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.prediction_log import PredictionLog
from service.rejects import Rejects
from service.upkeep import Upkeep
from service.versions import VersionBook
from training.database import Database
from training.errors import DatabaseUnavailableError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY_US = 86_400_000_000


class LostLog(PredictionLog):
    """A log out of reach."""

    def add_rejects(self, *_: object) -> None:
        raise DatabaseUnavailableError("gone")


def upkeep(log: PredictionLog, rejects: Rejects, flushed: list[str]) -> Upkeep:
    book = VersionBook(lambda model, version: None)
    return Upkeep(rejects=rejects, log=log, book=book, flush=lambda: flushed.append("flushed"), clock=lambda: NOW)


def test_refused_values_are_written_down_in_the_bucket_of_now(database: Database) -> None:
    log, rejects, flushed = PredictionLog(database), Rejects(), list[str]()
    rejects.add("bikes", {("x", "type"): 2})

    upkeep(log, rejects, flushed).run_once()

    now_us = int(NOW.timestamp() * 1e6)
    assert log.rejected("bikes", now_us - DAY_US, now_us + DAY_US) == {("x", "type"): 2}
    assert flushed == ["flushed"]


def test_with_the_log_out_of_reach_the_numbers_are_kept(database: Database) -> None:
    rejects = Rejects()
    rejects.add("bikes", {("x", "type"): 2})

    with pytest.raises(DatabaseUnavailableError):
        upkeep(LostLog(database), rejects, []).run_once()

    assert rejects.take() == {"bikes": {("x", "type"): 2}}
