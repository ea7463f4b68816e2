"""The drain: exactly once, in the face of dead workers, damaged files and a database that comes and goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry

from service.drain import Drain, DrainPolicy
from service.errors import LogFullError
from service.failpoints import Failpoint, never
from service.ids import IdMinter
from service.metrics import ServiceMetrics
from service.prediction_log import PredictionLog
from service.records import encode_body
from service.spool import FULL_MARK, Spool
from service.versions import VersionBook, VersionFacts
from service.watermark import ClockRule
from training.bins import Bins, ColumnBins
from training.database import Database, open_database
from training.errors import DatabaseUnavailableError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)), ColumnBins("@score", "numeric", edges=(0.0, 1.0))))
FACTS = VersionFacts(BINS, 100, ClockRule(10**9))


def encoded(n_rows: int, event_us: np.ndarray | None = None, version: str = "v1") -> bytes:
    return encode_body(
        model="bikes", version=version, bins_id=BINS.id, arrived_us=1, event_us=np.zeros(n_rows, int) if event_us is None else event_us,
        own_ids=None, columns={"x": np.full(n_rows, 3.0)}, outputs=np.full(n_rows, 0.5), probabilities=None, classes=None,
    )  # fmt: skip


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


class Worker:
    """A spool and its drain, as a worker has them."""

    def __init__(self, folder: Path, log: PredictionLog, failpoint: Failpoint = never, **spool: int) -> None:
        self.registry = CollectorRegistry()
        self.spool = Spool(folder, IdMinter(b"k"), failpoint=failpoint, **spool)  # type: ignore[arg-type]
        self.drain = Drain(
            folder=folder,
            log=log,
            book=VersionBook(lambda model, version: FACTS if version == "v1" else None),
            metrics=ServiceMetrics(self.registry),
            clock=lambda: NOW,
            policy=DrainPolicy(0.01, log_max_rows=1000),
            failpoint=failpoint,
        )

    def append(self, *event_us: int, version: str = "v1") -> str:
        n_rows = len(event_us)
        body = encoded(n_rows, np.array(event_us), version)
        return self.spool.append(body, n_rows=n_rows, time_ms=1)

    def die(self) -> None:
        """Let go of every lock, as the kernel does."""
        self.spool.close()
        for segment in self.drain._segments.values():
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
    assert list(folder.glob("*.spool")) == [heir.spool.path]


def test_a_torn_record_of_a_dead_worker_is_left_out(hire: Callable[..., Worker], log: PredictionLog) -> None:
    dying, heir = hire(), hire()
    dying.append(1)
    with open(dying.spool.path, "ab") as file:
        file.write(b"\x40\x00\x00\x00torn")
    dying.die()

    heir.drain.run_once()

    assert log.count("bikes") == 1


def test_a_damaged_record_does_not_stop_those_behind_it_and_its_file_is_kept(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path
) -> None:
    dying, heir = hire(), hire()
    dying.append(1)
    end = dying.spool.path.stat().st_size
    dying.append(2)
    with open(dying.spool.path, "r+b") as file:
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


def test_a_record_of_many_rows_that_cannot_be_read_does_not_stop_the_others(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path
) -> None:
    worker = hire()
    worker.append(*range(100))
    worker.spool.append(encoded(100)[:-8], n_rows=100, time_ms=1)
    worker.append(3)

    worker.drain.run_once()

    assert (log.count("bikes"), log.counted_rows("bikes")) == (101, 101)
    assert (folder / "refused.jsonl").exists()


def test_many_rows_of_a_spool_file_of_an_earlier_version_are_drained_among_those_of_this_one(
    hire: Callable[..., Worker], log: PredictionLog
) -> None:
    worker = hire()
    content = {"m": "bikes", "v": "v1", "b": BINS.id, "t": 1, "own": None, "p": None, "c": None}
    rows = {"e": [20] * 100, "x": {"x": [1.5] * 99 + [None]}, "y": [0.5] * 100}
    worker.append(*range(100))
    worker.spool.append(orjson.dumps(content | rows), n_rows=100, time_ms=1)
    worker.append(*[10] * 100)

    worker.drain.run_once()

    found = log.buckets("bikes", BINS, 0, 1000)
    assert log.count("bikes") == 300
    assert [(at, profile.rows, profile.counts["x"].tolist()) for at, profile in found] == [(0, 300, [299, 0, 0, 0, 1])]


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
    worker.spool.close()

    is_drained = worker.drain.stop(within_seconds=5)

    assert is_drained
    assert (log.count("bikes"), list(folder.glob("*.spool"))) == (1, [])


def test_while_a_worker_lives_stopping_leaves_its_file(hire: Callable[..., Worker], log: PredictionLog, folder: Path) -> None:
    worker = hire()
    worker.append(1)

    is_drained = worker.drain.stop(within_seconds=0.1)

    assert (is_drained, log.count("bikes"), list(folder.glob("*.spool"))) == (False, 1, [worker.spool.path])


def test_a_full_file_is_drained_and_removed_while_its_worker_goes_on(hire: Callable[..., Worker], log: PredictionLog, folder: Path) -> None:
    worker = hire(segment_bytes=4096)
    for at in range(60):
        worker.append(at)
    files = list(folder.glob("*.spool"))

    worker.drain.run_once()

    assert len(files) > 1
    assert (log.count("bikes"), list(folder.glob("*.spool"))) == (60, [worker.spool.path])


def test_one_drain_serves_all_workers(hire: Callable[..., Worker], log: PredictionLog) -> None:
    first, second = hire(), hire()
    first.append(1)
    second.append(2)

    committed = [first.drain.run_once(), second.drain.run_once()]

    assert (committed, log.count("bikes")) == ([2, 0], 2)


def test_two_drains_over_one_folder_double_nothing(hire: Callable[..., Worker], log: PredictionLog) -> None:
    first, second = hire(), hire()
    first.append(1)
    first.drain.run_once()
    second.drain.run_once()
    first.append(2)
    second.drain.run_once()

    first.drain.run_once()

    assert (log.count("bikes"), log.counted_rows("bikes")) == (2, 2)


def test_a_log_at_its_bound_refuses_predictions_until_there_is_room(hire: Callable[..., Worker], folder: Path) -> None:
    worker = hire()
    worker.append(*range(1000))
    worker.drain.run_once()
    other = hire()

    with pytest.raises(LogFullError, match="its bound"):
        other.append(1)

    (folder / FULL_MARK).unlink()
    assert hire().append(1)
