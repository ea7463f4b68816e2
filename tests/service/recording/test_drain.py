"""The drain: exactly once, in the face of dead workers, damaged files and a database that comes and goes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry

from service.errors import LogFullError
from service.prediction_log.ids import IdMinter
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import AnsweredRequest, encode_body
from service.prediction_log.watermark import ClockRule
from service.recording.drain import Drain, DrainPolicy
from service.recording.failpoints import Failpoint, never
from service.recording.spool import FULL_FLAG, Spool
from service.recording.version_facts import VersionCache, VersionFacts
from service.telemetry.metrics import ServiceMetrics
from tests.patience import PATIENCE_SECONDS
from tests.service.counting import counted_rows
from training.errors import DatabaseUnavailableError
from training.profiles.bins import Bins, ColumnBins
from training.profiles.measures import Measures
from training.schema.prediction import Prediction
from training.storage.database import Database, open_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)), ColumnBins("@score", "numeric", edges=(0.0, 1.0))))
FACTS = VersionFacts(Measures(BINS), 100, ClockRule(10**9))


def encoded(n_rows: int, event_us: np.ndarray | None = None, version: str = "v1") -> bytes:
    columns, prediction = {"x": np.full(n_rows, 3.0)}, Prediction(np.full(n_rows, 0.5))
    return encode_body(
        AnsweredRequest("bikes", version, BINS.id, 1, np.zeros(n_rows, int) if event_us is None else event_us, None, columns, prediction)
    )


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
            versions=VersionCache(lambda model, version: FACTS if version == "v1" else None),
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
    assert (log.count("bikes"), counted_rows(log, "bikes"), log.watermark("bikes")) == (3, 3, 110)
    assert [(at, profile.rows) for at, profile in log.buckets("bikes", BINS.id, 0, 1000)] == [(0, 2), (100, 1)]


def test_what_comes_while_a_pass_commits_waits_for_the_next_so_that_a_stream_is_not_committed_record_by_record(
    hire: Callable[..., Worker], log: PredictionLog
) -> None:
    commits: list[str] = []

    def one_more(name: str) -> None:
        if name == "drain.commit.before":
            commits.append(name)
            worker.append(1000 + len(commits))

    worker = hire(failpoint=one_more)
    for at in range(10):
        worker.append(at)

    passes = [worker.drain.run_once() for _ in range(3)]

    assert passes == [10, 1, 1]
    assert len(commits) == 3


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

    assert (log.count("bikes"), counted_rows(log, "bikes")) == (60, 60)
    assert list(folder.glob("*.spool*")) == [heir.spool.path]


def damaged(worker: Worker, folder: Path) -> tuple[int, float, float, float]:
    """How many files are kept, and what was counted: records lost, files cut off, bytes."""
    value = worker.registry.get_sample_value
    records = [value("evergreen_prediction_log_records_total", {"result": result}) or 0.0 for result in ("damaged", "cut_off")]
    return (len(list(folder.glob("*.damaged"))), *records, value("evergreen_spool_damaged_bytes_total") or 0.0)  # type: ignore[return-value]


@pytest.mark.parametrize(
    "torn",
    [b"\x40", b"\x40\x00\x00\x00torn", b"\xff" * 5000, bytes(65536), random.Random(1).randbytes(1 << 20)],
    ids=["a byte", "a head", "ones", "64 KiB of zeros", "1 MiB of noise"],
)
def test_what_is_no_record_behind_the_last_one_is_kept_said_once_and_counted(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    dying, heir = hire(), hire()
    dying.append(1)
    with open(dying.spool.path, "ab") as file:
        file.write(torn)
    content = dying.spool.path.read_bytes()
    dying.die()

    for _ in range(3):
        heir.drain.run_once()

    assert log.count("bikes") == 1
    assert damaged(heir, folder) == (1, 0, 1, len(torn))
    assert [path.read_bytes() for path in folder.glob("*.damaged")] == [content]
    assert list(folder.glob("*.spool*")) == [heir.spool.path]
    assert [f"ends with {len(torn)} bytes" in line.getMessage() for line in caplog.records] == [True]


def overwrite(path: Path, at: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


@pytest.mark.parametrize("offset", [0, 8, 9, 11, 12, 16, -3], ids=["mark", "length", "length2", "length4", "number", "checksum", "payload"])
def test_a_damaged_record_costs_nothing_behind_it_and_its_file_is_kept(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    dying, heir = hire(), hire()
    ends = [dying.append(at) and dying.spool.path.stat().st_size for at in range(6)]
    place = ends[2] + offset if offset >= 0 else ends[3] + offset
    overwrite(dying.spool.path, place, bytes([dying.spool.path.read_bytes()[place] ^ 4]))
    dying.die()

    committed = heir.drain.run_once()

    assert (committed, log.count("bikes"), counted_rows(log, "bikes")) == (5, 5, 5)
    assert damaged(heir, folder) == (1, 1, 0, ends[3] - ends[2])
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "1 of its records lost" in caplog.text


def test_records_lost_in_the_file_of_a_living_worker_do_not_stop_the_drain_and_those_behind_them_are_numbered_right(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path
) -> None:
    worker = hire()
    start = [worker.append(at) and worker.spool.path.stat().st_size for at in range(50)][9]
    overwrite(worker.spool.path, start, bytes(3000))

    worker.drain.run_once()
    worker.append(50)
    worker.drain.run_once()

    lost = 51 - log.count("bikes")
    assert 3000 // 250 <= lost <= 3000 // 150 + 2
    assert log.offset(worker.spool.path.stem.partition("-")[0]).records == 51
    assert damaged(worker, folder)[:3] == (1, lost, 0)


def test_a_damaged_file_is_kept_though_its_drain_dies_before_it_is_removed(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path
) -> None:
    dying = hire(failpoint=killing("spool.truncate.before"), segment_bytes=4096)
    for at in range(60):
        dying.append(at)
    first = next(path for path in folder.glob("*.spool2") if path != dying.spool.path)
    overwrite(first, 1000, b"damage")
    dying.spool.close()
    with pytest.raises(Killed):
        dying.drain.stop(within_seconds=PATIENCE_SECONDS)
    dying.die()

    hire().drain.run_once()

    assert log.count("bikes") in (58, 59)
    assert [path.stem for path in folder.glob("*.damaged")] == [first.stem]


OLD_SPOOL = Path(__file__).parents[2] / "data" / "spool_ca43ea9" / "c4706cb9f9.spool"


@pytest.mark.parametrize(
    ("at", "content", "rows", "kept"),
    [
        (0, b"", 90, 0),
        (300, b"\xff", 89, 1),
        (383, b"\xff\xff", 89, 1),
        (8538, bytes(65536), 90, 1),
        (0, bytes(100), 89, 1),
    ],
    ids=["whole", "a payload", "a length", "zeros behind", "the beginning"],
)
def test_a_file_of_the_former_format_is_drained_as_well(
    hire: Callable[..., Worker], log: PredictionLog, folder: Path, at: int, content: bytes, rows: int, kept: int
) -> None:
    shutil.copy(OLD_SPOOL, folder)
    overwrite(folder / OLD_SPOOL.name, at, content)
    worker = hire()

    worker.drain.run_once()

    assert log.count("rain") == rows
    assert list(folder.glob("*.spool")) == []
    assert len(list(folder.glob("*.damaged"))) == kept


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

    assert (log.count("bikes"), counted_rows(log, "bikes")) == (101, 101)
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

    buckets = log.buckets("bikes", BINS.id, 0, 1000)
    assert log.count("bikes") == 300
    assert [(at, profile.rows, profile.counts["x"].tolist()) for at, profile in buckets] == [(0, 300, [299, 0, 0, 0, 1])]


def test_rows_of_a_forgotten_version_are_logged_though_not_counted(hire: Callable[..., Worker], log: PredictionLog) -> None:
    worker = hire()
    worker.append(1, version="gone")

    worker.drain.run_once()

    assert (log.count("bikes"), counted_rows(log, "bikes")) == (1, 0)


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

    is_drained = worker.drain.stop(within_seconds=PATIENCE_SECONDS)

    assert is_drained
    assert (log.count("bikes"), list(folder.glob("*.spool*"))) == (1, [])


def test_while_a_worker_lives_stopping_leaves_its_file(hire: Callable[..., Worker], log: PredictionLog, folder: Path) -> None:
    worker = hire()
    worker.append(1)

    is_drained = worker.drain.stop(within_seconds=0.5)

    assert (is_drained, log.count("bikes"), list(folder.glob("*.spool*"))) == (False, 1, [worker.spool.path])


def test_a_full_file_is_drained_and_removed_while_its_worker_goes_on(hire: Callable[..., Worker], log: PredictionLog, folder: Path) -> None:
    worker = hire(segment_bytes=4096)
    for at in range(60):
        worker.append(at)
    files = list(folder.glob("*.spool*"))

    worker.drain.run_once()

    assert len(files) > 1
    assert (log.count("bikes"), list(folder.glob("*.spool*"))) == (60, [worker.spool.path])


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

    assert (log.count("bikes"), counted_rows(log, "bikes")) == (2, 2)


def test_a_log_at_its_bound_refuses_predictions_until_there_is_room(hire: Callable[..., Worker], folder: Path) -> None:
    worker = hire()
    worker.append(*range(1000))
    worker.drain.run_once()
    other = hire()

    with pytest.raises(LogFullError, match="its bound"):
        other.append(1)

    (folder / FULL_FLAG).unlink()
    assert hire().append(1)


@pytest.mark.parametrize(("rows", "is_full"), [(999, False), (1000, True)])
def test_the_log_is_full_at_its_bound(hire: Callable[..., Worker], folder: Path, rows: int, is_full: bool) -> None:
    worker = hire()
    worker.append(*range(rows))

    worker.drain.run_once()

    assert (folder / FULL_FLAG).exists() == is_full
