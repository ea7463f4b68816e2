"""What a worker writes down once a second."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.prediction_log.prediction_log import PredictionLog
from service.recording.background import BackgroundWriter
from service.recording.rejected_rows import Rejects
from service.recording.version_facts import VersionCache
from training.errors import DatabaseUnavailableError
from training.storage.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY_US = 86_400_000_000


class LostLog(PredictionLog):
    """A log out of reach."""

    def add_rejects(self, *_: object) -> None:
        raise DatabaseUnavailableError("gone")


def background(log: PredictionLog, rejects: Rejects, flushed: list[str]) -> BackgroundWriter:
    versions = VersionCache(lambda model, version: None)
    return BackgroundWriter(rejects=rejects, log=log, versions=versions, flush=lambda: flushed.append("flushed"), clock=lambda: NOW)


def test_refused_values_are_written_down_in_the_bucket_of_now(database: Database) -> None:
    log, rejects, flushed = PredictionLog(database), Rejects(), list[str]()
    rejects.add("bikes", {("x", "type"): 2})

    background(log, rejects, flushed).run_once()

    now_us = int(NOW.timestamp() * 1e6)
    assert log.rejected("bikes", now_us - DAY_US, now_us + DAY_US) == {("x", "type"): 2}
    assert flushed == ["flushed"]


def test_with_the_log_out_of_reach_the_numbers_are_kept(database: Database) -> None:
    rejects = Rejects()
    rejects.add("bikes", {("x", "type"): 2})

    with pytest.raises(DatabaseUnavailableError):
        background(LostLog(database), rejects, []).run_once()

    assert rejects.take() == {"bikes": {("x", "type"): 2}}


@pytest.mark.parametrize(("watermark_us", "bucket_us"), [(DAY_US - 1, 0), (DAY_US, DAY_US), (2 * DAY_US - 1, DAY_US)])
def test_the_bucket_is_that_of_model_time_where_it_is_known(database: Database, watermark_us: int, bucket_us: int) -> None:
    log, rejects = PredictionLog(database), Rejects()
    log.set_watermark("bikes", watermark_us)
    rejects.add("bikes", {("x", "type"): 2})

    background(log, rejects, []).run_once()

    assert log.rejected("bikes", bucket_us, bucket_us + 1) == {("x", "type"): 2}
