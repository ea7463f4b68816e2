"""Frames: whatever happens to the bytes of a spool file, the frames that were not touched are read."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.recording.frames import Frame, FrameFormat, format_of, read_frames

PATH = Path("0123456789-00ff00ff00ff00ff.spool2")
FORM = format_of(PATH)
PAYLOADS = [random.Random(n).randbytes(1 + n * 37 % 400) for n in range(40)]


def written(payloads: list[bytes], form: FrameFormat = FORM) -> tuple[bytes, list[int]]:
    """The content of a file and where each frame begins, with the end of the last."""
    content, starts = b"", [0]
    for number, payload in enumerate(payloads):
        content += form.head(number, payload) + payload
        starts.append(len(content))
    return content, starts


CONTENT, STARTS = written(PAYLOADS)


@pytest.fixture(scope="module")
def fd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A file to write into."""
    opened = os.open(tmp_path_factory.mktemp("frames") / PATH.name, os.O_CREAT | os.O_RDWR, 0o600)
    yield opened
    os.close(opened)


def read_all(fd: int, content: bytes, limit: int = 1000) -> list[Frame]:
    os.ftruncate(fd, 0)
    os.pwrite(fd, content, 0)
    frames: list[Frame] = []
    while part := read_frames(fd, FORM, frames[-1].end if frames else 0, frames[-1].records if frames else 0, limit=limit):
        frames += part
    return frames


def untouched(start: int, stop: int) -> list[bytes]:
    return [payload for place, payload in enumerate(PAYLOADS) if not (start < STARTS[place + 1] and stop > STARTS[place])]


def where_cut(content: bytes, place: int, length: int) -> list[int]:
    """Where the same cut may have been: that of ``abab`` at 0 or 1 leaves the same, as does a frame cut from mark to mark."""
    cut = content[:place] + content[place + length :]
    near = range(max(0, place - 20), min(place + 20, len(content)) + 1)
    return [at for at in near if content[:at] + content[at + length :] == cut]


def places() -> st.SearchStrategy[int]:
    return st.integers(0, len(CONTENT) - 1)


@given(place=places(), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_the_frame_it_is_in(fd: int, place: int, bit: int) -> None:
    content = bytearray(CONTENT)
    content[place] ^= 1 << bit

    frames = read_all(fd, bytes(content))

    assert [frame.payload for frame in frames] == untouched(place, place + 1)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x01\x25", b"spool"])
@given(place=places(), length=st.integers(1, 6000))
def test_an_overwritten_range_costs_the_frames_it_is_in(fd: int, fill: bytes, place: int, length: int) -> None:
    stop = min(place + length, len(CONTENT))
    content = CONTENT[:place] + (fill * length)[: stop - place] + CONTENT[stop:]

    frames = read_all(fd, content)

    left = untouched(place, stop)
    assert [payload for frame in frames if (payload := frame.payload) in left] == left
    assert len(frames) - len(left) <= sum(content[at:stop] == CONTENT[at:stop] for at in STARTS)  # written over with what stood there
    assert sum(frame.lost for frame in frames) == (frames[-1].records if frames else 0) - len(frames)


@given(place=places())
def test_a_truncated_file_costs_what_was_cut_off(fd: int, place: int) -> None:
    frames = read_all(fd, CONTENT[:place])

    assert [frame.payload for frame in frames] == untouched(place, len(CONTENT))


@given(tail=st.one_of(st.binary(min_size=1, max_size=3000), st.integers(1, 100_000).map(bytes)))
@example(tail=CONTENT)
@example(tail=CONTENT[STARTS[30] :])
@example(tail=CONTENT[: STARTS[1] - 1])
def test_what_was_written_behind_the_end_is_no_frame(fd: int, tail: bytes) -> None:
    frames = read_all(fd, CONTENT + tail)

    assert [frame.payload for frame in frames] == PAYLOADS
    assert (frames[-1].end, frames[-1].records) == (len(CONTENT), len(PAYLOADS))


@given(place=places(), length=st.integers(1, 3000))
@example(place=STARTS[7] + 3, length=STARTS[9] - STARTS[7])
@example(place=STARTS[1], length=STARTS[3] - STARTS[1])
def test_bytes_that_went_missing_in_the_middle_cost_the_frames_they_were_in(fd: int, place: int, length: int) -> None:
    frames = read_all(fd, CONTENT[:place] + CONTENT[place + length :])

    left = max((untouched(at, at + length) for at in where_cut(CONTENT, place, length)), key=len)
    assert [frame.payload for frame in frames] == left


@given(place=places(), noise=st.binary(min_size=1, max_size=3000))
@example(place=STARTS[5] + 3, noise=bytes(40) + CONTENT[STARTS[5] : STARTS[5] + 3])
def test_bytes_that_came_in_between_cost_at_most_the_frame_they_are_in(fd: int, place: int, noise: bytes) -> None:
    content = CONTENT[:place] + noise + CONTENT[place:]

    frames = read_all(fd, content)

    between = any(at in STARTS for at in where_cut(content, place, len(noise)))
    assert [frame.payload for frame in frames] == (PAYLOADS if between else untouched(place, place + 1))


def test_frames_of_another_file_are_none_of_this(fd: int) -> None:
    others, _ = written(PAYLOADS, format_of(Path("0123456789-00ff00ff00ff00fe.spool2")))

    assert read_all(fd, others) == []


def test_frames_within_a_damaged_payload_are_those_of_its_sender_and_not_read(fd: int) -> None:
    forged, _ = written([b"forged"] * 50, format_of(Path("0123456789.spool2")))
    content, starts = written([b"first", forged, b"last"])

    frames = read_all(fd, b"\0" * starts[1] + b"\0\0" + content[starts[1] + 2 :])

    assert [frame.payload for frame in frames] == [b"last"]


def test_a_gap_larger_than_one_look_is_passed_over(fd: int) -> None:
    content = CONTENT[: STARTS[10]] + bytes(5 << 20) + CONTENT[STARTS[20] :]

    frames = read_all(fd, content)

    assert [frame.payload for frame in frames] == PAYLOADS[:10] + PAYLOADS[20:]
    assert [(frame.gap, frame.lost) for frame in frames if frame.gap] == [(5 << 20, 10)]


@pytest.mark.parametrize("more", [1, 7, 19, 20, 30])
def test_a_frame_that_is_still_being_written_is_waited_for(fd: int, more: int) -> None:
    last = len(PAYLOADS) - 1

    before = read_all(fd, CONTENT[: STARTS[last] + more])
    after = read_all(fd, CONTENT)

    assert (len(before), len(after)) == (last, last + 1)
