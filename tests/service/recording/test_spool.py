"""The spool: what is acknowledged is in a file, whole."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.errors import SpoolError, SpoolFullError
from service.prediction_log.ids import IdMinter
from service.recording.frames import SUFFIX, read_frames
from service.recording.spool import STALE_SECONDS, Segment, Spool, adopt, open_segment, sweep

MINTER = IdMinter(b"k" * 32)
BODY = b'{"m":"bikes"}'


@pytest.fixture
def make_spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def make(**settings: int) -> Spool:
        made.append(Spool(tmp_path, MINTER, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for spool in made:
        give_up(spool)


def give_up(spool: Spool) -> None:
    """Let go of the files as a dying process does."""
    spool.close()


def opened(path: Path) -> Segment:
    segment = open_segment(path)
    assert segment is not None
    return segment


def payloads(path: Path) -> list[bytes | None]:
    segment = opened(path)
    frames = read_frames(segment.fd, segment.form, 0, 0)
    segment.close()
    return [frame.payload for frame in frames]


@contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let the kernel refuse to make files larger: a write is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_record_stands_in_the_file_with_its_id(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()

    prefixes = [spool.append(BODY, n_rows=1, time_ms=5) for _ in range(3)]

    assert payloads(spool.path) == [b'{"id":"' + prefix.encode() + b'","m":"bikes"}' for prefix in prefixes]
    assert [MINTER.parse(f"{prefix}-0").seq for prefix in prefixes] == [0, 1, 2]  # type: ignore[union-attr]


def test_a_short_write_is_refused_and_leaves_no_trace(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    kept = spool.append(BODY, n_rows=1, time_ms=5)
    size = spool.path.stat().st_size

    with file_size_limit(size + 20), pytest.raises(SpoolError, match="took 20 of"):
        spool.append(BODY, n_rows=1, time_ms=5)

    assert spool.path.stat().st_size == size
    after = spool.append(BODY, n_rows=1, time_ms=5)
    assert [kept in str(payloads(spool.path)[0]), after in str(payloads(spool.path)[1])] == [True, True]


def test_a_failed_write_is_refused_and_leaves_no_trace(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    spool.append(BODY, n_rows=1, time_ms=5)

    with file_size_limit(spool.path.stat().st_size), pytest.raises(SpoolError, match="cannot write"):
        spool.append(BODY, n_rows=1, time_ms=5)

    assert len(payloads(spool.path)) == 1


def test_a_full_file_is_let_go_of_and_followed_by_a_new_one(make_spool: Callable[..., Spool], tmp_path: Path) -> None:
    spool = make_spool(segment_bytes=4096)

    for _ in range(100):
        spool.append(BODY, n_rows=1, time_ms=5)

    files = list(tmp_path.glob(f"*{SUFFIX}"))
    assert len(files) > 1
    assert sum(len(payloads(path)) for path in files) == 100
    assert {path for path in files if not adopt(opened(path))} == {spool.path}


def test_the_bound_on_all_files_is_kept(make_spool: Callable[..., Spool]) -> None:
    other = make_spool(max_bytes=65536)
    other.append(b"{" + b" " * 60000 + b"}", n_rows=1, time_ms=5)
    spool = make_spool(max_bytes=65536)

    with pytest.raises(SpoolFullError, match="65536 bytes"):
        spool.append(b"{" + b" " * 6000 + b"}", n_rows=1, time_ms=5)

    assert spool.append(BODY, n_rows=1, time_ms=5)


def test_the_file_of_a_living_worker_is_not_adopted(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    spool.append(BODY, n_rows=1, time_ms=5)

    assert not adopt(opened(spool.path))


def test_a_stopping_worker_records_nothing_more(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    spool.close()

    with pytest.raises(SpoolError, match="stopping"):
        spool.append(BODY, n_rows=1, time_ms=5)


@pytest.mark.parametrize("n_records", [0, 1])
def test_a_file_without_a_record_leaves_with_its_writer(make_spool: Callable[..., Spool], n_records: int) -> None:
    """A worker that comes up while the service stops outlives the drain."""
    spool = make_spool()
    for _ in range(n_records):
        spool.append(BODY, n_rows=1, time_ms=5)

    spool.close()
    spool.close()

    assert spool.path.exists() == bool(n_records)


def test_a_frame_that_is_still_being_written_is_not_read(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    spool.append(BODY, n_rows=1, time_ms=5)
    with open(spool.path, "ab") as file:
        file.write(b"\xff\x00\x00\x00\x01\x02\x03\x04half")

    assert len(payloads(spool.path)) == 1


def test_a_frame_larger_than_the_limit_is_read_whole(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    for _ in range(2):
        spool.append(BODY, n_rows=1, time_ms=5)
    segment = opened(spool.path)

    frames = read_frames(segment.fd, segment.form, 0, 0, limit=10)

    assert len(frames) == 1
    assert frames[0].payload is not None
    segment.close()


def test_a_file_that_is_gone_is_not_opened(tmp_path: Path) -> None:
    assert open_segment(tmp_path / f"0000000000{SUFFIX}") is None


@pytest.mark.parametrize(("more", "is_new"), [(0, True), (-1, False)], ids=["full", "a byte short of it"])
def test_a_file_that_has_reached_its_size_is_followed_by_a_new_one(make_spool: Callable[..., Spool], more: int, is_new: bool) -> None:
    other = make_spool()
    other.append(BODY, n_rows=1, time_ms=5)
    overhead = other.path.stat().st_size - len(BODY)
    spool = make_spool(segment_bytes=4096)
    spool.append(b"{" + b" " * (4096 - overhead - 2 + more) + b"}", n_rows=1, time_ms=5)
    path, size = spool.path, spool.path.stat().st_size

    spool.append(BODY, n_rows=1, time_ms=5)

    assert (size, spool.path != path) == (4096 + more, is_new)


def test_the_bound_on_all_files_may_be_reached_and_not_passed(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool(max_bytes=65536)
    spool.append(BODY, n_rows=1, time_ms=5)
    rest = b"{" + b" " * (65536 - spool.path.stat().st_size - 2) + b"}"

    with pytest.raises(SpoolFullError):
        spool.append(rest + b" ", n_rows=1, time_ms=5)

    assert spool.append(rest, n_rows=1, time_ms=5)


@pytest.mark.parametrize(("age", "is_kept"), [(STALE_SECONDS, True), (STALE_SECONDS + 1, False)])
def test_a_file_that_was_never_finished_is_removed_when_it_is_stale(tmp_path: Path, age: float, is_kept: bool) -> None:
    hidden = tmp_path / ".0000000000.new"
    hidden.touch()
    os.utime(hidden, (1000, 1000))

    sweep(tmp_path, 1000 + age)

    assert hidden.exists() == is_kept


def test_nothing_is_written_into_the_reserve_of_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MINTER, disk_reserve=1 << 60)

    with pytest.raises(SpoolFullError, match="keeps 1099511627776 MiB: predictions are refused until there is room"):
        spool.append(BODY, n_rows=1, time_ms=5)
    with pytest.raises(SpoolFullError):
        spool.refuse_if_full()

    assert spool.path.stat().st_size == 0
    give_up(spool)


def test_a_folder_in_which_no_file_can_be_made_refuses_until_one_can(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "later", MINTER)

    with pytest.raises(SpoolError, match="No such file"):
        spool.append(BODY, n_rows=1, time_ms=5)
    (tmp_path / "later").mkdir()
    spool._measured = 0.0

    assert spool.append(BODY, n_rows=1, time_ms=5)
    give_up(spool)


def test_a_file_that_was_removed_under_its_worker_is_followed_by_a_new_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, MINTER)
    spool.append(BODY, n_rows=1, time_ms=5)
    removed = spool.path
    removed.unlink()
    spool._measured = 0.0

    spool.append(BODY, n_rows=1, time_ms=5)

    assert (len(payloads(spool.path)), spool.path != removed) == (1, True)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    give_up(spool)
