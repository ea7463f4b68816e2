"""Files of counts: as prometheus_client reads them, whatever the disk does."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from service.errors import SettingsError
from service.telemetry.counts_file import LOOK_SECONDS, CountsFile, own_folder
from service.telemetry.multiprocess import WorkerMetrics

KEYS = ["a", "bb", "ccc", "dddd", "ééééé", '["evergreen_predictions_total", {"model": "bikes"}]', ""]


class Clock:
    """Seconds that go on when they are moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics" / "counter_0.db"


def written(path: Path) -> dict[str, float]:
    """The file's values, as prometheus_client reads them."""
    return {key: value for key, value, *_ in MmapedDict.read_all_values_from_file(str(path))}


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """Let the kernel refuse to make files larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_prometheus_client_reads_what_is_written(path: Path) -> None:
    counts = CountsFile(path)
    for number, key in enumerate(KEYS):
        counts.write_value(key, number, 7.0)
        counts.write_value(key, number + 0.5, 7.0)

    assert written(path) == {key: number + 0.5 for number, key in enumerate(KEYS)}


def test_a_successor_goes_on_with_what_a_file_holds(path: Path) -> None:
    first = CountsFile(path)
    for number, key in enumerate(KEYS):
        first.write_value(key, number, 7.0)
    second = CountsFile(path)

    second.write_value("new", 9.0, 0.0)

    assert [second.read_value(key) for key in KEYS] == [(number, 7.0) for number in range(len(KEYS))]
    assert written(path) == {key: number for number, key in enumerate(KEYS)} | {"new": 9.0}


def test_a_file_of_prometheus_client_s_own_is_gone_on_with(path: Path) -> None:
    path.parent.mkdir()
    theirs = MmapedDict(str(path))
    for number, key in enumerate(KEYS):
        theirs.write_value(key, number, 1.0)
    theirs.close()

    counts = CountsFile(path)
    counts.write_value("new", 9.0, 0.0)

    assert written(path) == {key: number for number, key in enumerate(KEYS)} | {"new": 9.0}


@pytest.mark.parametrize("room", [0, 4, 8, 20, 100], ids=lambda room: f"{room} bytes")
def test_what_a_full_disk_does_not_take_is_kept_and_written_when_there_is_room(
    path: Path, clock: Clock, room: int, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk(room):
        counts, other = CountsFile(path, clock), CountsFile(path.with_name("gauge_all_0.db"), clock)
        for number, key in enumerate(KEYS):
            counts.write_value(key, number, 7.0)
            other.write_value(key, number, 7.0)
            clock.now += LOOK_SECONDS
    lines = [record.levelname for record in caplog.records]
    clock.now += LOOK_SECONDS
    counts.write_value("a", 1.0, 7.0)
    other.write_value("a", 1.0, 7.0)

    assert lines == ["WARNING"]
    assert written(path) == {key: number for number, key in enumerate(KEYS)} | {"a": 1.0}
    assert "again" in caplog.records[-1].getMessage()


def test_a_file_that_was_made_on_a_full_disk_stops_no_scrape(path: Path) -> None:
    with full_disk(0):
        CountsFile(path).write_value("a", 1.0, 0.0)

    assert path.stat().st_size == 0
    assert list(WorkerMetrics(path.parent).collect()) == []


def test_known_values_are_written_though_the_disk_is_full(path: Path, clock: Clock) -> None:
    counts = CountsFile(path, clock)
    counts.write_value("a", 1.0, 0.0)

    with full_disk(path.stat().st_size):
        counts.write_value("a", 2.0, 0.0)
        counts.write_value("b", 3.0, 0.0)
        clock.now += LOOK_SECONDS
        counts.write_value("a", 4.0, 0.0)

    assert (written(path), counts.read_value("b")) == ({"a": 4.0}, (3.0, 0.0))


@pytest.mark.parametrize("remove", [Path.unlink, lambda path: shutil.rmtree(path.parent)], ids=["file", "folder"])
def test_a_file_that_was_removed_is_made_again_with_all_values(path: Path, clock: Clock, remove: Callable[[Path], None]) -> None:
    counts = CountsFile(path, clock)
    counts.write_value("a", 1.0, 0.0)
    counts.write_value("b", 2.0, 0.0)
    remove(path)

    counts.write_value("a", 3.0, 0.0)
    clock.now += LOOK_SECONDS
    counts.write_value("a", 4.0, 0.0)

    assert written(path) == {"a": 4.0, "b": 2.0}


def test_a_folder_that_cannot_be_made_is_no_failure(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "metrics").touch()
    counts = CountsFile(tmp_path / "metrics" / "counter_0.db", clock)

    counts.write_value("a", 3.0, 0.0)

    assert counts.read_value("a") == (3.0, 0.0)


@pytest.mark.parametrize("content", [b"\xff\xff\0\0" + b"\x07" * 500, b"\x10", b"\x40\0\0\0\0\0\0\0\xff\xff\xff\xff" + bytes(70)])
def test_a_file_that_is_none_of_ours_is_begun_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    CountsFile(path).write_value("a", 3.0, 0.0)

    assert written(path) == {"a": 3.0}


def test_a_folder_that_others_may_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir(mode=0o777)

    folder = own_folder(tmp_path / "metrics")

    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["a file", "a link", "another user's"])
def test_a_folder_that_is_not_ours_alone_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics"
    if kind == "a file":
        path.write_text("")
    elif kind == "a link":
        path.symlink_to(tmp_path)
    elif os.geteuid() != 0:
        pytest.skip("NOT CHECKED: only root can give a folder to another user")
    else:
        path.mkdir()
        os.chown(path, 12345, -1)

    with pytest.raises(SettingsError, match=r"the folder of the metrics .*metrics (must be a folder that belongs|cannot be made)"):
        own_folder(path)
