"""The promise that no acknowledged prediction is lost: a local append-only file per worker.

A file is ``<spool>.spool``: frames of ``<u32 length><u32 crc32><payload>``, written by the process that holds its
lock, each with one checked ``write()``. A frame that did not go in whole is cut off again and its request refused.
The promise holds against the death of any process, not against a power cut (nothing is synced to the disk here).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.errors import SpoolError, SpoolFullError
from service.failpoints import Failpoint, never
from service.ids import SPOOL_BYTES, IdMinter
from service.records import with_prefix

HEADER = struct.Struct("<II")
SUFFIX = ".spool"
STALE_SECONDS = 600.0
MAX_SEQ = 2**32 - 1


@dataclass(slots=True)
class Segment:
    """One spool file held open under its lock; `end` is where its last whole frame ends."""

    spool: str
    path: Path
    fd: int
    end: int
    records: int = 0

    def close(self) -> None:
        """Give the lock back; whoever finds the file may adopt it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Spool:
    """Appends records to this worker's own file, starting a new one when it is full.

    Parameters
    ----------
    folder
        Where all workers of this home keep their files; made by `Home.ensure`.
    minter
        Makes the id of a record under the lock, so ids count records in file order.
    segment_bytes, max_bytes
        When to start a new file; the bound on the sum of all files in `folder`.
    wake
        Called after each append, so that the drain starts at once.
    """

    def __init__(
        self,
        folder: Path,
        minter: IdMinter,
        *,
        segment_bytes: int = 16 << 20,
        max_bytes: int = 1 << 30,
        failpoint: Failpoint = never,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._minter = minter
        self._segment_bytes = max(4096, min(segment_bytes, max_bytes // 8))
        self._max_bytes = max_bytes
        self._failpoint = failpoint
        self._wake = wake
        self._lock = threading.Lock()
        self._full: list[Segment] = []
        self._other_bytes = 0
        self._closed = False
        self._active = create_segment(folder)

    def append(self, body: bytes, *, n_rows: int, time_ms: int) -> str:
        """Record one answered request.

        Parameters
        ----------
        body
            From `records.encode_body`.
        n_rows
            Rows in it; ids ``<prefix>-0`` to ``<prefix>-<n_rows - 1>`` belong to them.
        time_ms
            Machine time, milliseconds since 1970.

        Returns
        -------
        str
            The id prefix. When this returns, the record is in the file.

        Raises
        ------
        SpoolFullError
            All files together would pass the bound.
        SpoolError
            The write failed or was short; the file is as before.
        """
        with self._lock:
            segment = self._segment_for(len(body))
            prefix = self._minter.mint(time_ms, spool=segment.spool, seq=segment.records, n_rows=n_rows)
            payload = with_prefix(prefix, body)
            self._failpoint("spool.append.before")
            self._write(segment, HEADER.pack(len(payload), zlib.crc32(payload)) + payload)
        self._failpoint("spool.append.after")
        self._wake()
        return prefix

    def segments(self) -> list[Segment]:
        """List the own files, full ones first; the last one is still being written."""
        with self._lock:
            return [*self._full, self._active]

    def full_segments(self) -> list[Segment]:
        """List the own files that will not grow any more."""
        with self._lock:
            return list(self._full) + ([self._active] if self._closed else [])

    def forget(self, segment: Segment) -> None:
        """Let go of a full file that the drain has finished and removed."""
        with self._lock:
            self._full = [kept for kept in self._full if kept is not segment]
        segment.close()

    def measure(self) -> int:
        """Add up all files of the folder, in bytes, and remember what is not ours for the bound."""
        total = folder_bytes(self._folder)
        with self._lock:
            self._other_bytes = max(0, total - self._own_bytes())
        return total

    def rotate(self) -> None:
        """Start a new file if the present one holds anything."""
        with self._lock:
            if self._active.records:
                self._start_new()

    def close(self) -> None:
        """Take no more records; what is in the files stays for the drain or for another worker."""
        with self._lock:
            self._closed = True

    def _segment_for(self, size: int) -> Segment:
        if self._closed:
            raise SpoolError("this worker is stopping and records nothing more")
        if self._own_bytes() + self._other_bytes + size > self._max_bytes:
            raise SpoolFullError(f"the spool holds {self._max_bytes} bytes that the prediction log has not taken yet")
        if self._active.end >= self._segment_bytes or self._active.records >= MAX_SEQ:
            self._start_new()
        return self._active

    def _start_new(self) -> None:
        try:
            fresh = create_segment(self._folder)
        except OSError as error:
            raise SpoolError(f"cannot start a spool file: {error.strerror}") from error
        self._full.append(self._active)
        self._active = fresh

    def _write(self, segment: Segment, frame: bytes) -> None:
        try:
            written = os.write(segment.fd, frame)
        except OSError as error:
            self._cut(segment)
            raise SpoolError(f"cannot write to the spool: {error.strerror}") from error
        if written != len(frame):
            self._cut(segment)
            raise SpoolError(f"the spool took {written} of {len(frame)} bytes")
        segment.end += written
        segment.records += 1

    def _cut(self, segment: Segment) -> None:
        try:
            os.ftruncate(segment.fd, segment.end)
        except OSError:  # the torn tail stays behind `end`; never write after it
            self._start_new()

    def _own_bytes(self) -> int:
        return self._active.end + sum(segment.end for segment in self._full)


def create_segment(folder: Path) -> Segment:
    """Make an empty spool file that is locked before anyone can see it under its name."""
    spool = secrets.token_hex(SPOOL_BYTES)
    hidden = folder / f".{spool}.new"
    fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    path = folder / f"{spool}{SUFFIX}"
    os.rename(hidden, path)
    return Segment(spool=spool, path=path, fd=fd, end=0)


def adopt(path: Path) -> Segment | None:
    """Take over the file of a dead worker; None while its owner lives or it is gone.

    A torn tail (a frame that its writer never finished, hence never acknowledged) is cut off.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:
            raise BlockingIOError
    except BlockingIOError:
        os.close(fd)
        return None
    size = os.fstat(fd).st_size
    segment = Segment(spool=path.stem, path=path, fd=fd, end=size)
    segment.end = whole_frames_end(segment)
    if segment.end < size:
        os.ftruncate(fd, segment.end)
    return segment


def whole_frames_end(segment: Segment) -> int:
    """Find where the last frame ends whose bytes are all there."""
    position, size = 0, segment.end
    while position + HEADER.size <= size:
        length, _ = HEADER.unpack(os.pread(segment.fd, HEADER.size, position))
        if position + HEADER.size + length > size:
            break
        position += HEADER.size + length
    return position


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame read back: its payload (None when the bytes do not match their checksum) and where it ends."""

    payload: bytes | None
    end: int


def read_frames(segment: Segment, start: int, *, limit: int = 4 << 20) -> Iterator[Frame]:
    """Read frames from offset `start`, stopping at the end of the whole ones or after about `limit` bytes."""
    position = start
    while position < segment.end and position - start < limit:
        length, checksum = HEADER.unpack(os.pread(segment.fd, HEADER.size, position))
        payload = os.pread(segment.fd, length, position + HEADER.size)
        position += HEADER.size + length
        yield Frame(payload if zlib.crc32(payload) == checksum else None, position)


def sweep(folder: Path, now_seconds: float) -> None:
    """Remove what a process left that died while it made a spool file: nothing was ever in it."""
    for path in folder.glob(".*.new"):
        with suppress(FileNotFoundError):
            if now_seconds - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of the spool files in `folder`."""
    return sum(_size(path) for path in folder.glob(f"*{SUFFIX}"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
