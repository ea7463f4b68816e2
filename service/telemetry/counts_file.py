"""A metrics file as prometheus_client reads it, written by `pwrite` and mapped by nobody.

Mapped, a page that the disk has no room for would kill whoever touches it first (SIGBUS). Here it is an error: what could not be
written stays in memory and goes into the file once there is room, or into a new one when it was removed.

A file is ``<i32 bytes used><4 bytes>``, then for each key ``<i32 length><key><f64 value><f64 time>``, the key padded with blanks.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from service.errors import SettingsError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

_USED = struct.Struct("<i4x")
_LENGTH = struct.Struct("<i")
_VALUE = struct.Struct("<dd")
_failing: set[Path] = set()  # files of this process that cannot be written: one line in the log for all of them


class CountsFile:
    """Values by key, of one process, in memory and in a file; begins with what the file holds already.

    Parameters
    ----------
    path
        Need not be there, nor its folder.
    clock
        Returns monotonic seconds. Once in `LOOK_SECONDS` it is seen whether the file is still there, and what could not be written is
        tried again.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "counter_0.db"
    >>> CountsFile(path).write_value("asked", 3.0, 0.0)
    >>> CountsFile(path).read_value("asked")
    (3.0, 0.0)
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._fd = -1
        self._used = 0
        self._values: dict[str, tuple[float, float]] = {}
        self._places: dict[str, int] = {}
        self._unwritten: dict[str, None] = {}
        self._is_blocked = False
        self._look_due = 0.0
        self._write_out()

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and its time; a new key begins at zero."""
        if key not in self._values:
            self.write_value(key, 0.0, 0.0)
        return self._values[key]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set a value: in memory at any rate, in the file as soon as that can be."""
        self._values[key] = (value, timestamp)
        self._unwritten[key] = None
        self._write_out()

    def _write_out(self) -> None:
        now = self._clock()
        is_due = now >= self._look_due
        if self._is_blocked and not is_due:
            return
        try:
            if is_due:
                self._look_due = now + LOOK_SECONDS
                self._open_again()
            for key in sorted(self._unwritten, key=lambda key: key not in self._places):  # what needs no room goes first
                self._store(key)
                del self._unwritten[key]
        except OSError as error:
            self._is_blocked = True
            self._look_due = now + LOOK_SECONDS
            _note_failure(self._path, error)
            return
        if self._is_blocked:
            self._is_blocked = False
            _note_success(self._path)

    def _open_again(self) -> None:
        if self._fd >= 0 and os.fstat(self._fd).st_nlink:
            return
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        content = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        try:
            self._places = dict(_entries(content))
        except ValueError:
            os.ftruncate(self._fd, 0)
            content, self._places = b"", {}
        for key, place in self._places.items():
            self._values.setdefault(key, _VALUE.unpack_from(content, place))
        self._unwritten = dict.fromkeys(self._values.keys() - self._places.keys()) | self._unwritten
        self._used = max([place + _VALUE.size for place in self._places.values()], default=_USED.size)
        if not self._places:
            self._write(_USED.pack(_USED.size), 0)

    def _store(self, key: str) -> None:
        value = _VALUE.pack(*self._values[key])
        place = self._places.get(key)
        if place is not None:
            self._write(value, place)
            return
        name = key.encode()
        front = _LENGTH.pack(len(name)) + name + b" " * _padding(len(name))
        self._write(front + value, self._used)
        used = self._used + len(front) + len(value)
        self._write(_USED.pack(used), 0)  # after what it covers: a reader sees whole entries only
        self._places[key], self._used = self._used + len(front), used

    def _write(self, content: bytes, place: int) -> None:
        if os.pwrite(self._fd, content, place) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def own_folder(path: Path) -> Path:
    """Make the folder of the metrics files, or see that it is ours and nobody else's.

    Raises
    ------
    SettingsError
        It cannot be made, is no folder, or belongs to somebody else.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise SettingsError(f"the folder of the metrics {path} must be a folder that belongs to the user of the service")
        if stat.S_IMODE(status.st_mode) != 0o700:
            path.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"the folder of the metrics {path} cannot be made: {error.strerror}") from error
    return path


def _padding(length: int) -> int:
    return 8 - (length + _LENGTH.size) % 8


def _entries(content: bytes) -> Iterator[tuple[str, int]]:
    """Walk through the keys of a file, each with the place of its value; ValueError when it is none of ours."""
    used = _USED.unpack_from(content)[0] if len(content) >= _USED.size else 0
    at = _USED.size
    while at < used:
        try:
            [length] = _LENGTH.unpack_from(content, at)
            start = at + _LENGTH.size
            place = start + length + _padding(length)
            _VALUE.unpack_from(content, place)
        except struct.error as error:
            raise ValueError("the file ends within an entry") from error
        if length < 0 or place + _VALUE.size > used:
            raise ValueError("the entries do not end where they should")
        yield content[start : start + length].decode(), place
        at = place + _VALUE.size


def _note_failure(path: Path, error: OSError) -> None:
    if not _failing:
        logger.warning("metrics cannot be written to %s (%s): they are counted in memory meanwhile", path.parent, error.strerror)
    _failing.add(path)


def _note_success(path: Path) -> None:
    _failing.discard(path)
    if not _failing:
        logger.warning("metrics are written to %s again", path.parent)
