"""The promise that no acknowledged prediction is lost: a local append-only file per worker.

A file is ``<spool>.spool``: frames of ``<u32 length><u32 crc32><payload>``, written by the process that holds its
lock, each with one checked ``writev()``. A frame that did not go in whole is cut off again and its request refused.
The promise holds against the death of any process, not against a power cut (nothing is synced to the disk here).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.errors import LogFullError, SpoolError, SpoolFullError
from service.failpoints import Failpoint, never
from service.ids import SPOOL_BYTES, IdMinter
from service.records import with_prefix

HEADER = struct.Struct("<II")
SUFFIX = ".spool"
FULL_MARK = "log-is-full"
MEASURE_SECONDS = 1.0
STALE_SECONDS = 600.0
MAX_SEQ = 2**32 - 1


@dataclass(slots=True)
class Segment:
    """One spool file held open; `end` is where its last whole frame ends, as far as that is known."""

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

    A full file is let go of at once: whoever drains takes it over, as it does the file of a dead worker.

    Parameters
    ----------
    folder
        Where all workers of this home keep their files; made by `Home.ensure`.
    minter
        Makes the id of a record under the lock, so ids count records in file order.
    segment_bytes, max_bytes
        When to start a new file; the bound on the sum of all files in `folder`.
    """

    def __init__(
        self,
        folder: Path,
        minter: IdMinter,
        *,
        segment_bytes: int = 16 << 20,
        max_bytes: int = 1 << 30,
        failpoint: Failpoint = never,
    ) -> None:
        self._folder = folder
        self._minter = minter
        self._segment_bytes = max(4096, min(segment_bytes, max_bytes // 8))
        self._max_bytes = max_bytes
        self._failpoint = failpoint
        self._lock = threading.Lock()
        self._closed = False
        self._active = create_segment(folder)
        self._other_bytes = 0
        self._measured = -MEASURE_SECONDS
        self._log_is_full = False

    @property
    def path(self) -> Path:
        """The file that is being written."""
        return self._active.path

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
        LogFullError
            The drain says that the prediction log has reached its bound.
        SpoolFullError
            All files together would pass the bound.
        SpoolError
            The write failed or was short; the file is as before.
        """
        with self._lock:
            segment = self._segment_for(len(body))
            prefix = self._minter.mint(time_ms, spool=segment.spool, seq=segment.records, n_rows=n_rows)
            front, rest = with_prefix(prefix, body)
            self._failpoint("spool.append.before")
            self._write(segment, HEADER.pack(len(front) + len(rest), zlib.crc32(rest, zlib.crc32(front))), front, rest)
        self._failpoint("spool.append.after")
        return prefix

    def refuse_if_full(self) -> None:
        """Look, at most once a second, how much lies in the folder and whether the log can take more.

        Raises
        ------
        LogFullError
            It cannot.
        """
        now = time.monotonic()
        if now - self._measured >= MEASURE_SECONDS:
            self._measured = now
            self._other_bytes = max(0, folder_bytes(self._folder) - self._active.end)
            self._log_is_full = (self._folder / FULL_MARK).exists()
        if self._log_is_full:
            raise LogFullError("the prediction log has reached its bound; shorten the retention or raise EVERGREEN_LOG_MAX_ROWS")

    def close(self) -> None:
        """Take no more records, and let the file go: it is drained by whoever finds it."""
        with self._lock:
            self._closed = True
            self._active.close()

    def _segment_for(self, size: int) -> Segment:
        if self._closed:
            raise SpoolError("this worker is stopping and records nothing more")
        self.refuse_if_full()
        if self._active.end + self._other_bytes + size > self._max_bytes:
            raise SpoolFullError(f"the spool holds {self._max_bytes} bytes that the prediction log has not taken yet")
        if self._active.end >= self._segment_bytes or self._active.records >= MAX_SEQ:
            self._start_new()
        return self._active

    def _start_new(self) -> None:
        try:
            fresh = create_segment(self._folder)
        except OSError as error:
            raise SpoolError(f"cannot start a spool file: {error.strerror}") from error
        self._other_bytes += self._active.end
        self._active.close()
        self._active = fresh

    def _write(self, segment: Segment, *parts: bytes) -> None:
        size = sum(map(len, parts))
        try:
            written = os.writev(segment.fd, parts)
        except OSError as error:
            self._cut(segment)
            raise SpoolError(f"cannot write to the spool: {error.strerror}") from error
        if written != size:
            self._cut(segment)
            raise SpoolError(f"the spool took {written} of {size} bytes")
        segment.end += written
        segment.records += 1

    def _cut(self, segment: Segment) -> None:
        try:
            os.ftruncate(segment.fd, segment.end)
        except OSError:  # the torn tail stays behind `end`; never write after it
            self._start_new()


def create_segment(folder: Path) -> Segment:
    """Make an empty spool file that is locked before anyone can see it under its name."""
    spool = secrets.token_hex(SPOOL_BYTES)
    hidden = folder / f".{spool}.new"
    fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    path = folder / f"{spool}{SUFFIX}"
    os.rename(hidden, path)
    return Segment(spool=spool, path=path, fd=fd, end=0)


def open_segment(path: Path) -> Segment | None:
    """Open a spool file to read what is in it; None when it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return None
    return Segment(spool=path.stem, path=path, fd=fd, end=0)


def adopt(segment: Segment) -> bool:
    """Take over a file whose writer has let go of it; False while that one lives.

    A torn tail (a frame that was never finished, hence never acknowledged) is cut off. After that `end` is final.
    """
    try:
        fcntl.flock(segment.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    size = os.fstat(segment.fd).st_size
    segment.end = whole_frames_end(segment.fd, segment.end, size)
    if segment.end < size:
        os.ftruncate(segment.fd, segment.end)
    return True


def is_removed(segment: Segment) -> bool:
    """Whether the file has no name any more: it was drained and deleted by somebody else."""
    return os.fstat(segment.fd).st_nlink == 0


def whole_frames_end(fd: int, start: int, size: int) -> int:
    """Find where the last frame ends whose bytes are all there, from the end of a whole frame on."""
    position = start
    while position + HEADER.size <= size:
        length, _ = HEADER.unpack(os.pread(fd, HEADER.size, position))
        if position + HEADER.size + length > size:
            break
        position += HEADER.size + length
    return position


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame read back: its payload (None when the bytes do not match their checksum) and where it ends."""

    payload: bytes | None
    end: int


def read_frames(segment: Segment, start: int, *, limit: int = 4 << 20) -> list[Frame]:
    """Read whole frames from offset `start`, about `limit` bytes of them but at least one if there is any."""
    data = os.pread(segment.fd, max(limit, HEADER.size), start)
    if len(data) >= HEADER.size:
        first = HEADER.size + HEADER.unpack_from(data)[0]
        if first > len(data):
            data = os.pread(segment.fd, first, start)
    frames: list[Frame] = []
    position = 0
    while position + HEADER.size <= len(data):
        length, checksum = HEADER.unpack_from(data, position)
        end = position + HEADER.size + length
        if end > len(data):
            break
        payload = data[position + HEADER.size : end]
        frames.append(Frame(payload if zlib.crc32(payload) == checksum else None, start + end))
        position = end
        if position >= limit:
            break
    return frames


def sweep(folder: Path, now_seconds: float) -> None:
    """Remove what a process left that died while it made a spool file: nothing was ever in it."""
    for path in folder.glob(".*.new"):
        with suppress(FileNotFoundError):
            if now_seconds - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


def folder_ends(folder: Path) -> dict[str, int]:
    """Give the size of each spool file in `folder`."""
    return {path.stem: _size(path) for path in folder.glob(f"*{SUFFIX}")}


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of the spool files in `folder`."""
    return sum(folder_ends(folder).values())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
