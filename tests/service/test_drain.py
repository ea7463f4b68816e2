"""The drain: exactly once, in the face of dead workers, damaged files and a database that comes and goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from service.drain import Drain, DrainPolicy
from service.failpoints import Failpoint, never
from service.ids import IdMinter
from service.metrics import ServiceMetrics
from service.prediction_log import PredictionLog
from service.records import encode_body
from service.rejects import Rejects
from service.spool import Spool
from service.versions import VersionBook, VersionFacts
from service.watermark import ClockRule
from training.bins import Bins, ColumnBins
from training.database import Database, open_database
from training.errors import DatabaseUnavailableError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)), ColumnBins("@score", "numeric", edges=(0.0, 1.0))))
FACTS = VersionFacts(BINS, 100, ClockRule(10**9))


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


class Worker:
    """A spool and its drain, as a worker has them."""

    def __init__(self, folder: Path, log: PredictionLog, failpoint: Failpoint = never, **spool: int) -> None:
        self.registry = CollectorRegistry()
        self.rejects = Rejects()
        self.spool = Spool(folder, IdMinter(b"k"), failpoint=failpoint, **spool)  # type: ignore[arg-type]
        self.drain = Drain(
            spool=self.spool,
            folder=folder,
            log=log,
            book=VersionBook(lambda model, version: FACTS if version == "v1" else None),
            rejects=self.rejects,
            metrics=ServiceMetrics(self.registry),
            clock=lambda: NOW,
            policy=DrainPolicy(0.01, log_max_rows=1000),
            failpoint=failpoint,
        )

    def append(self, *event_us: int, version: str = "v1") -> str:
        n_rows = len(event_us)
        body = encode_body(
            model="bikes", version=version, bins_id=BINS.id, arrived_us=1, event_us=np.array(event_us), own_ids=None,
            columns={"x": np.full(n_rows, 3.0)}, outputs=np.full(n_rows, 0.5), probabilities=None, classes=None,
        )  # fmt: skip
        return self.spool.append(body, n_rows=n_rows, time_ms=1)

    def die(self) -> None:
        """Let go of every lock, as the kernel does."""
        for segment in [*self.spool.segments(), *self.drain._adopted]:
            segment.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spool = tmp_path / "spool"
    spool.mkdir()
    return spool


@pytest.fixture
def log(database: Database) -> PredictionLog:
    return PredictionLog(database)


@pytest.fixture
def hire(folder: Path, log: PredictionLog) -> Iterator[Callable[..., Worker]]:
    hired: list[Worker] = []

    def make(**settings: object) -> Worker:
        hired.append(Worker(folder, log, **settings))  # type: ignore[arg-type]
        return hired[-1]

    yield make
    for worker in hired:
        worker.die()


def killing(place: str) -> Failpoint:
    def point(name: str) -> None:
        if name == place:
            raise Killed

    return point


def test_rows_and_counts_arrive_once(hire: Callable[..., Worker], log: PredictionLog) -> None:
    worker = hire()
    worker.append(10, 20)
    worker.append(110)

    committed = [worker.drain.run_once(), worker.drain.run_once()]

    assert committed == [2, 0]
    assert (log.count("bikes"), log.counted_rows("bikes"), log.watermark("bikes")) == (3, 3, 110)
    assert [(at, profile.rows) for at, profile in log.buckets("bikes", BINS, 0, 1000)] == [(0, 2), (100, 1)]


@pytest.mark.parametrize("place", ["drain.commit.before", "drain.commit.after", "spool.truncate.before", "spool.truncate.after"])
def test_a_worker_that_dies_while_draining_leaves_nothing_lost_or_doubled(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path, place: str
) -> None:
    dying = hire(failpoint=killing(place), segment_bytes=4096)
    for at in range(60):
        dying.append(at)
    with pytest.raises(Killed):
        dying.drain.run_once()
    dying.die()
    heir = hire()

    heir.drain.run_once()

    assert (log.count("bikes"), log.counted_rows("bikes")) == (60, 60)
    assert [path.stem for path in folder.glob("*.spool")] == [heir.spool.segments()[0].spool]


def test_a_torn_record_of_a_dead_worker_is_left_out(hire: Callable[..., Worker], log: PredictionLog) -> None:
    dying, heir = hire(), hire()
    dying.append(1)
    os.write(dying.spool.segments()[0].fd, b"\x40\x00\x00\x00torn")
    dying.die()

    heir.drain.run_once()

    assert log.count("bikes") == 1


def test_a_damaged_record_does_not_stop_those_behind_it_and_its_file_is_kept(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path
) -> None:
    dying, heir = hire(), hire()
    dying.append(1)
    end = dying.spool.segments()[0].end
    dying.append(2)
    with open(dying.spool.segments()[0].path, "r+b") as file:
        file.seek(end - 3)
        file.write(b"\x00")
    dying.die()

    heir.drain.run_once()

    assert log.count("bikes") == 1
    assert len(list(folder.glob("*.damaged"))) == 1
    assert heir.registry.get_sample_value("evergreen_prediction_log_records_total", {"result": "damaged"}) == 1


def test_a_record_that_cannot_be_stored_does_not_stop_the_others(hire: Callable[..., Worker], log: PredictionLog, folder: Path) -> None:
    worker = hire()
    worker.append(1)
    worker.spool.append(b'{"m":"bikes"}', n_rows=1, time_ms=1)
    worker.append(3)

    worker.drain.run_once()

    assert log.count("bikes") == 2
    assert (folder / "refused.jsonl").exists()


def test_rows_of_a_forgotten_version_are_logged_though_not_counted(hire: Callable[..., Worker], log: PredictionLog) -> None:
    worker = hire()
    worker.append(1, version="gone")

    worker.drain.run_once()

    assert (log.count("bikes"), log.counted_rows("bikes")) == (1, 0)


def test_with_the_database_gone_nothing_is_lost_and_it_comes_in_later(hire: Callable[..., Worker], folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    home.mkdir()
    database = open_database(f"sqlite:///{home}/evergreen.db", lock_timeout_seconds=0.1)
    worker = Worker(folder, PredictionLog(database))
    worker.append(1)
    worker.drain.run_once()
    shutil.move(home, tmp_path / "away")
    worker.append(2)

    with pytest.raises(DatabaseUnavailableError):
        worker.drain.run_once()
    shutil.move(tmp_path / "away", home)
    worker.drain._note_outage(DatabaseUnavailableError("gone"), 0.01)
    worker.drain.run_once()

    assert PredictionLog(database).count("bikes") == 2
    worker.die()
    database.close()


def test_stopping_drains_what_is_left_and_removes_the_file(hire: Callable[..., Worker], log: PredictionLog, folder: Path) -> None:
    worker = hire()
    worker.drain.start()
    worker.append(1)

    is_drained = worker.drain.stop(within_seconds=5)

    assert is_drained
    assert (log.count("bikes"), list(folder.glob("*.spool"))) == (1, [])


def test_a_log_at_its_bound_is_noticed(hire: Callable[..., Worker]) -> None:
    worker = hire()
    worker.append(*range(1000))

    worker.drain.run_once()

    assert worker.drain.is_log_full


def test_refused_rows_are_written_down_in_the_bucket_of_model_time(hire: Callable[..., Worker], log: PredictionLog) -> None:
    worker = hire()
    worker.append(250)
    worker.rejects.add("bikes", {("x", "type"): 2})

    worker.drain.run_once()

    assert log.rejected("bikes", 200, 300) == {("x", "type"): 2}


def test_a_label_can_wait_for_what_was_acknowledged_before_it(hire: Callable[..., Worker]) -> None:
    worker = hire()
    worker.append(1)
    ends = worker.drain.undrained()

    before = worker.drain.has_drained(ends)
    worker.drain.run_once()

    assert (before, worker.drain.has_drained(ends)) == (False, True)
