"""The bytes of a table's file: unpacked where it is compressed, which its first bytes say; what unpacks to too much is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa

from training.dataset.locations import Location
from training.errors import UnreadableTableError

MOST_RATIO = 200
"""A file that unpacks to more than so many times its size, and to more than `FREE_BYTES`, is taken for a bomb."""
FREE_BYTES = 256 << 20
_BUFFER = 1 << 20
_BROKEN = (zlib.error, lzma.LZMAError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, pa.ArrowException)
_ASIDE = "__MACOSX/"
ZIP = b"PK\x03\x04"


class Packing(NamedTuple):
    """One way to compress a file: what it is called, how it begins, how its bytes are got back."""

    name: str
    magic: bytes
    unpacked: Callable[[IO[bytes], Location], Any]


def _member(packed: IO[bytes], path: Location) -> IO[bytes]:
    """Return the one file in a zip archive; folders, and what macOS puts beside files, are none."""
    archive = zipfile.ZipFile(packed)
    members = [member for member in archive.infolist() if not member.is_dir() and not member.filename.startswith(_ASIDE)]
    if len(members) != 1:
        raise UnreadableTableError(
            str(path), f"a zip archive of {len(members)} files", "one of a single file: unpack the one that is meant"
        )
    return archive.open(members[0])


PACKINGS = (
    Packing("gzip", b"\x1f\x8b", lambda packed, path: gzip.GzipFile(fileobj=packed)),
    Packing("zip", ZIP, _member),
    Packing("zstd", b"\x28\xb5\x2f\xfd", lambda packed, path: pa.CompressedInputStream(packed, "zstd")),
    Packing("bzip2", b"BZh", lambda packed, path: bz2.BZ2File(packed)),
    Packing("xz", b"\xfd7zXZ\x00", lambda packed, path: lzma.LZMAFile(packed)),  # noqa: SIM115 - closed by `_Unpacking`
)


def packing_of(begin: bytes) -> Packing | None:
    """Return how a file that begins so is compressed, None where it is not.

    Examples
    --------
    >>> packing_of(b"\\x1f\\x8b\\x08").name, packing_of(b"a,b")
    ('gzip', None)
    """
    return next((packing for packing in PACKINGS if begin.startswith(packing.magic)), None)


def open_unpacked(path: Location) -> IO[bytes]:
    """Open a file for reading, unpacked while it is read if it is compressed.

    Raises
    ------
    UnreadableTableError
        Here or while it is read: it is damaged, cut off, encrypted, holds several files, or unpacks to too much.
    """
    file = path.open("rb")
    try:
        packing = packing_of(file.read(8))
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return file if packing is None else cast("IO[bytes]", io.BufferedReader(_Unpacking(file, path, packing, size), _BUFFER))
    except BaseException:
        file.close()
        raise


def open_for_arrow(path: Location) -> Any:
    """Open a file as `open_unpacked` does, for Arrow, which reads one that is not compressed without a call of Python a block."""
    if isinstance(path, Path):
        with path.open("rb") as file:
            packing = packing_of(file.read(8))
        if packing is None:
            return pa.OSFile(str(path))
    return open_unpacked(path)


class _Unpacking(io.RawIOBase):
    """A compressed file as its content, counted; every way in which it can be damaged is one sentence."""

    def __init__(self, packed: IO[bytes], path: Location, packing: Packing, size: int) -> None:
        self._packed, self._path, self._packing = packed, path, packing
        self._left = max(FREE_BYTES, MOST_RATIO * size)
        self._content = self._asked(lambda: packing.unpacked(packed, path))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block: bytes = self._asked(lambda: self._content.read(len(buffer)))
        self._left -= len(block)
        if self._left < 0:
            got = f"{self._packing.name} that unpacks to more than {MOST_RATIO} times its size, as made to fill the memory"
            raise UnreadableTableError(str(self._path), got, "an honest file; unpack it yourself if it is one")
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
        super().close()

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (*_BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the file's
                raise
            cause = "it is encrypted" if "password" in str(error) else "it is damaged or cut off"
            raise UnreadableTableError(str(self._path), f"{self._packing.name} that cannot be unpacked: {cause}") from error
