"""The promise that no acknowledged prediction is lost: a local append-only file per worker.

A file is ``<spool>-<secret>.spool2``: frames (`service.recording.frames`), written by the process that holds its lock, each with
one checked ``writev()``. A frame that did not go in whole is cut off again and its request refused. The promise holds against the
death of any process, not against a power cut (nothing is synced to the disk here).
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from service.errors import LogFullError, SpoolError, SpoolFullError
from service.prediction_log.ids import SPOOL_BYTES, IdMinter
from service.prediction_log.records import with_prefix
from service.recording.disk_room import free_bytes, reserve_of, shortage_sentence
from service.recording.failpoints import Failpoint, never
from service.recording.frames import MARK_BYTES, OLD_SUFFIX, SUFFIX, FrameFormat, format_of

logger = logging.getLogger(__name__)

KEPT_SUFFIX = ".damaged"
FULL_FLAG = "log-is-full"
MEASURE_SECONDS = 1.0
STALE_SECONDS = 600.0
MAX_SEQ = 2**32 - 1


@dataclass(slots=True)
class Segment:
    """One spool file held open; its writer knows where its last whole frame ends, and how many there are."""

    spool: str
    path: Path
    fd: int
    form: FrameFormat
    end: int = 0
    records: int = 0
    is_torn: bool = False  # what did not go in whole could not be cut off: nothing may be written behind it

    def close(self) -> None:
        """Release the lock; whoever opens the file may adopt it."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Spool:
    """Append records to this worker's own file, starting a new one when it is full.

    A full file is released at once: whoever drains takes it over, as it does the file of a dead worker.

    Parameters
    ----------
    folder
        Where all workers of this home keep their files; made by `Home.ensure`.
    minter
        Makes the id of a record under the lock, so ids count records in file order.
    segment_bytes, max_bytes
        When to start a new file; the bound on the sum of all files in `folder`.
    disk_reserve
        Bytes of the disk that are left to others: the drain, above all. None for the default.
    """

    def __init__(
        self,
        folder: Path,
        minter: IdMinter,
        *,
        segment_bytes: int = 16 << 20,
        max_bytes: int = 1 << 30,
        disk_reserve: int | None = None,
        failpoint: Failpoint = never,
    ) -> None:
        self._folder = folder
        self._minter = minter
        self._segment_bytes = max(4096, min(segment_bytes, max_bytes // 8))
        self._max_bytes = max_bytes
        self._disk_reserve = disk_reserve
        self._failpoint = failpoint
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._active = create_segment(folder)
        except OSError as error:
            logger.error("there is no spool file yet, predictions are refused: %s", error)
            self._active = Segment("", folder, -1, FrameFormat(folder), is_torn=True)
        self._other_bytes = 0
        self._measured = -MEASURE_SECONDS
        self._log_is_full = False
        self._room: int | None = None

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
        The id prefix. When this returns, the record is in the file.

        Raises
        ------
        LogFullError
            The drain says that the prediction log has reached its bound.
        SpoolFullError
            All files together would pass the bound, or the disk its reserve.
        SpoolError
            The write failed or was short; the file is as before.
        """
        with self._lock:
            segment = self._segment_for(len(body))
            prefix = self._minter.mint(time_ms, spool=segment.spool, seq=segment.records, n_rows=n_rows)
            front, rest = with_prefix(prefix, body)
            self._failpoint("spool.append.before")
            self._write(segment, segment.form.head(segment.records, front, rest), front, rest)
        self._failpoint("spool.append.after")
        return prefix

    def refuse_if_full(self) -> None:
        """Refuse when the log or the disk is full; how much lies in the folder is measured at most once a second.

        Raises
        ------
        LogFullError
            The drain says that the prediction log has reached its bound.
        SpoolFullError
            The disk has no more room than its reserve.
        SpoolError
            The folder of the spool cannot be looked at.
        """
        now = time.monotonic()
        if now - self._measured >= MEASURE_SECONDS:
            self._measured = now
            self._measure()
        if self._log_is_full:
            raise LogFullError("the prediction log has reached its bound; shorten the retention or raise EVERGREEN_LOG_MAX_ROWS")
        if self._room is not None and self._room < 0:
            self._refuse_for_room(self._room)

    def _measure(self) -> None:
        if not self._active.is_torn and not self._closed and is_removed(self._active):
            logger.error("the spool file %s was removed under its worker: what was not drained of it is lost", self._active.path)
            self._active.is_torn = True
        try:
            self._other_bytes = max(0, folder_bytes(self._folder) - self._active.end)
            self._log_is_full = (self._folder / FULL_FLAG).exists()
            free = free_bytes(self._folder)
            reserve = reserve_of(self._folder, self._disk_reserve)
            self._room = free - reserve if free is not None and reserve else None
        except OSError as error:
            raise SpoolError(f"cannot look at the spool: {error.strerror}") from error

    def _refuse_for_room(self, room: int) -> NoReturn:
        try:
            reserve = reserve_of(self._folder, self._disk_reserve)
        except OSError as error:
            raise SpoolError(f"cannot look at the spool: {error.strerror}") from error
        raise SpoolFullError(shortage_sentence(self._folder, room + reserve, reserve))

    def close(self) -> None:
        """Take no more records, and release the file: it is drained by whoever opens it; one without a record leaves with its writer.

        A worker that comes up while the service stops may outlive the drain, so that nobody would take its empty file away.
        """
        with self._lock:
            if self._active.fd >= 0 and not os.fstat(self._active.fd).st_size:
                with suppress(OSError):
                    os.unlink(self._active.path)
            self._closed = True
            self._active.close()

    def _segment_for(self, size: int) -> Segment:
        if self._closed:
            raise SpoolError("this worker is stopping and records nothing more")
        self.refuse_if_full()
        if self._room is not None and self._room < size:
            self._refuse_for_room(self._room)
        if self._active.end + self._other_bytes + size > self._max_bytes:
            raise SpoolFullError(f"the spool holds {self._max_bytes} bytes that the prediction log has not taken yet")
        if self._active.end >= self._segment_bytes or self._active.records >= MAX_SEQ or self._active.is_torn:
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
        if self._room is not None:
            self._room -= written

    def _cut(self, segment: Segment) -> None:
        try:
            os.ftruncate(segment.fd, segment.end)
        except OSError:
            segment.is_torn = True


def create_segment(folder: Path) -> Segment:
    """Make an empty spool file that is locked before anyone can see it under its name."""
    spool = secrets.token_hex(SPOOL_BYTES)
    name = f"{spool}-{secrets.token_hex(MARK_BYTES)}"
    hidden = folder / f".{name}.new"
    fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    path = folder / f"{name}{SUFFIX}"
    os.rename(hidden, path)
    return Segment(spool, path, fd, format_of(path))


def open_segment(path: Path) -> Segment | None:
    """Open a spool file to read what is in it; None when it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return None
    return Segment(spool_of(path), path, fd, format_of(path))


def adopt(segment: Segment) -> bool:
    """Take over a file whose writer has released it; return False while that one lives."""
    try:
        fcntl.flock(segment.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_removed(segment: Segment) -> bool:
    """Return whether the file does not lie under its name any more: it was drained and taken away by somebody else."""
    try:
        return not os.path.samestat(os.stat(segment.path), os.fstat(segment.fd))
    except FileNotFoundError:
        return True


def keep(segment: Segment) -> None:
    """Add a second name that ends in ``.damaged``: what cannot be drained of the file stays when the first one is removed."""
    with suppress(FileExistsError):
        os.link(segment.path, segment.path.with_suffix(KEPT_SUFFIX))


def spool_files(folder: Path) -> list[Path]:
    """Return the spool files in `folder`, those of the former format first."""
    return [*sorted(folder.glob(f"*{OLD_SUFFIX}")), *sorted(folder.glob(f"*{SUFFIX}"))]


def spool_of(path: Path) -> str:
    """Return the name by which ids and the log know a spool file.

    Examples
    --------
    >>> spool_of(Path("0123456789-00ff00ff00ff00ff.spool2")), spool_of(Path("0123456789.spool"))
    ('0123456789', '0123456789')
    """
    return path.stem.partition("-")[0]


def sweep(folder: Path, now_seconds: float) -> None:
    """Remove what a process left that died while it made a spool file: nothing was ever in it."""
    for path in folder.glob(".*.new"):
        with suppress(FileNotFoundError):
            if now_seconds - path.stat().st_mtime > STALE_SECONDS:
                path.unlink()


def folder_ends(folder: Path) -> dict[str, int]:
    """Return the size of each spool file in `folder`."""
    return {spool_of(path): _size(path) for path in spool_files(folder)}


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of the spool files in `folder`."""
    return sum(folder_ends(folder).values())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
