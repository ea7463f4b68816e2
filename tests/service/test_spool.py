"""The spool: what is acknowledged is in a file, whole."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.errors import SpoolError, SpoolFullError
from service.ids import IdMinter
from service.spool import SUFFIX, Segment, Spool, adopt, open_segment, read_frames

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
    found = [frame.payload for frame in read_frames(segment, 0)]
    segment.close()
    return found


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


@pytest.mark.parametrize("torn", [b"\x07", b"\x07\x00\x00\x00\x01\x02\x03\x04", b"\xff\xff\x00\x00\x00\x00\x00\x00half of it"])
def test_the_torn_tail_of_a_dead_worker_is_cut(make_spool: Callable[..., Spool], torn: bytes) -> None:
    spool = make_spool()
    spool.append(BODY, n_rows=1, time_ms=5)
    with open(spool.path, "ab") as file:
        file.write(torn)
    give_up(spool)
    segment = opened(spool.path)

    assert adopt(segment)

    assert (len(payloads(segment.path)), segment.end) == (1, segment.path.stat().st_size)
    segment.close()


def test_a_damaged_record_is_told_from_a_whole_one(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    for _ in range(3):
        spool.append(BODY, n_rows=1, time_ms=5)
    with open(spool.path, "r+b") as file:
        file.seek(spool.path.stat().st_size // 3 + 12)
        file.write(b"\x00")

    found = payloads(spool.path)

    assert [payload is None for payload in found] == [False, True, False]


def test_a_stopping_worker_records_nothing_more(make_spool: Callable[..., Spool]) -> None:
    spool = make_spool()
    spool.close()

    with pytest.raises(SpoolError, match="stopping"):
        spool.append(BODY, n_rows=1, time_ms=5)


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

    frames = read_frames(segment, 0, limit=10)

    assert len(frames) == 1
    assert frames[0].payload is not None
    segment.close()


def test_a_file_that_is_gone_is_not_opened(tmp_path: Path) -> None:
    assert open_segment(tmp_path / f"0000000000{SUFFIX}") is None
