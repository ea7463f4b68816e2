"""Frames of a spool file: how one is written, and how all are read again that are whole, whatever lies between them.

A frame is ``<8 bytes mark><u32 length><u32 number><u32 crc32><payload>``. The mark is made of the file's name, of which a part
is known to nobody outside: no payload can hold it, and no frame of another file passes for one of this. The checksum covers length,
number and payload; the number counts the records of a file, so it is known how many are missing where bytes were damaged.

The former format, frames of ``<u32 length><u32 crc32><payload>`` in files that end in ``.spool``, is read and not written.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".spool2"
OLD_SUFFIX = ".spool"
MARK_BYTES = 8
SEARCH_BYTES = 1 << 20

_HEAD = struct.Struct(f"<{MARK_BYTES}sIII")
_COVERED = struct.Struct("<II")
_OLD_HEAD = struct.Struct("<II")
_OLD_BEGINNINGS = (b'{"id":"', b"\x01\x25")  # of a payload: JSON, or packed behind an id prefix of 37 letters


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame read back.

    Attributes
    ----------
    payload
        None for one that was set aside because it could not be stored.
    end
        Where it ends in the file.
    records
        How many records the file has up to here, this one and lost ones among them.
    gap, lost
        Bytes before it that are no whole frame, and how many records they cost.
    """

    payload: bytes | None
    end: int
    records: int
    gap: int = 0
    lost: int = 0


class _Head(NamedTuple):
    """What stands before a payload: its length, the checksum with what that covers besides, and the number of the record."""

    length: int
    checksum: int
    covered: int
    number: int | None


class FrameFormat:
    """Frames as files of this suffix have them.

    Parameters
    ----------
    path
        The file; its name makes the mark.

    Examples
    --------
    >>> form = FrameFormat(Path("0123456789-00ff00ff00ff00ff.spool2"))
    >>> head = form.head(0, b"pay", b"load")
    >>> form.whole(head + b"payload", 0, 0)
    (b'payload', 0)
    """

    head_bytes = _HEAD.size
    has_numbers = True

    def __init__(self, path: Path) -> None:
        self._mark = blake2b(path.stem.encode(), digest_size=MARK_BYTES).digest()

    def head(self, number: int, *parts: bytes) -> bytes:
        """Make what stands before the payload whose parts these are."""
        length = sum(map(len, parts))
        checksum = zlib.crc32(_COVERED.pack(length, number))
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        return _HEAD.pack(self._mark, length, number, checksum)

    def size(self, data: bytes, at: int) -> int | None:
        """Return how many bytes the frame takes whose head this seems to be; None when it is no head, or not all of it is here."""
        head = self._read(data, at)
        return None if head is None else self.head_bytes + head.length

    def whole(self, data: bytes, at: int, records: int) -> tuple[bytes, int] | None:
        """Read a frame that begins at `at`.

        Parameters
        ----------
        records
            How many records came before: a frame with a lower number is a stray copy of one of them.

        Returns
        -------
        The payload and the number; None where no whole frame begins.
        """
        head = self._read(data, at)
        if head is None:
            return None
        start = at + self.head_bytes
        payload = data[start : start + head.length]
        if len(payload) < head.length or zlib.crc32(payload, head.covered) != head.checksum:
            return None
        number = records if head.number is None else head.number
        return (payload, number) if number >= records else None

    def find(self, data: bytes, start: int) -> int:
        """Return where the next frame may begin, from `start` on; -1 when nowhere."""
        return data.find(self._mark, start)

    @property
    def reach(self) -> int:
        """How many bytes from its beginning it takes to find a frame."""
        return MARK_BYTES

    def _read(self, data: bytes, at: int) -> _Head | None:
        if at + _HEAD.size > len(data):
            return None
        mark, length, number, checksum = _HEAD.unpack_from(data, at)
        if mark != self._mark or length == 0:
            return None
        return _Head(length, checksum, zlib.crc32(_COVERED.pack(length, number)), number)


class OldFrameFormat(FrameFormat):
    """Frames of the former format: without mark or number, and with a checksum over the payload alone."""

    head_bytes = _OLD_HEAD.size
    has_numbers = False

    def find(self, data: bytes, start: int) -> int:
        """Return where the next frame may begin, by how payloads begin."""
        places = [data.find(beginning, start + self.head_bytes) for beginning in _OLD_BEGINNINGS]
        return min((place - self.head_bytes for place in places if place >= 0), default=-1)

    @property
    def reach(self) -> int:
        """How many bytes from its beginning it takes to find a frame."""
        return self.head_bytes + max(map(len, _OLD_BEGINNINGS))

    def _read(self, data: bytes, at: int) -> _Head | None:
        if at + _OLD_HEAD.size > len(data):
            return None
        length, checksum = _OLD_HEAD.unpack_from(data, at)
        return _Head(length, checksum, 0, None) if length else None


def format_of(path: Path) -> FrameFormat:
    """Choose the format by the name of a file."""
    return OldFrameFormat(path) if path.suffix == OLD_SUFFIX else FrameFormat(path)


def read_frames(fd: int, form: FrameFormat, start: int, records: int, *, limit: int = 4 << 20) -> Sequence[Frame]:
    """Read whole frames from offset `start`, about `limit` bytes of them but at least one if there is any.

    Bytes that are no whole frame are passed over when there is a whole one behind them. What lies behind the last one is left: it may
    be one that is just being written.

    Parameters
    ----------
    records
        How many records the file has before `start`.
    """
    size = os.fstat(fd).st_size
    data = os.pread(fd, max(limit, form.head_bytes), start) if start < size else b""
    if (first := form.size(data, 0)) is not None and len(data) < first <= size - start:
        data = os.pread(fd, first, start)
    frames: list[Frame] = []
    at = 0
    while at < limit and (frame := form.whole(data, at, records)) is not None:
        payload, number = frame
        at += form.head_bytes + len(payload)
        frames.append(Frame(payload, start + at, number + 1, lost=number - records))
        records = number + 1
    if frames or start >= size:
        return frames
    behind = _next_whole(fd, form, start + 1, size, records)
    return [] if behind is None else [_behind_gap(behind, start, records, form)]


def _next_whole(fd: int, form: FrameFormat, start: int, size: int, records: int) -> tuple[int, bytes, int] | None:
    """Search for the next whole frame: where it begins, its payload and number."""
    while start < size:
        data = os.pread(fd, SEARCH_BYTES, start)
        at = form.find(data, 0)
        while at >= 0:
            head = os.pread(fd, form.head_bytes, start + at)
            length = form.size(head, 0)
            if length is not None and start + at + length <= size:
                frame = form.whole(os.pread(fd, length, start + at), 0, records)
                if frame is not None:
                    return (start + at, *frame)
            at = form.find(data, at + 1)
        start += max(1, len(data) - form.reach + 1)
    return None


def _behind_gap(behind: tuple[int, bytes, int], start: int, records: int, form: FrameFormat) -> Frame:
    begin, payload, number = behind
    if not form.has_numbers:
        number += 1  # how many are lost is not known: at least one
    return Frame(payload, begin + form.head_bytes + len(payload), number + 1, gap=begin - start, lost=number - records)
