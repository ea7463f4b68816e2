"""Where the files of a table lie: a path, all files that match a pattern, a folder of them, or an address that is fetched."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias
from urllib.parse import urlsplit

import fsspec

from training.errors import UnreadableTableError
from training.schema.sources import has_password

_MARK = "://"
_NOT_FETCHED = frozenset(["http", "https", "ftp", "file", "local"])
_ASIDE = ("_", ".")
_KINDS = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
PACKED = frozenset([".gz", ".zip", ".zst", ".bz2", ".xz"])


class Fetched:
    """A copy of what lies at an address, which is what it is called."""

    def __init__(self, address: str, copy: Path) -> None:
        self._address, self._copy = address, copy
        self.suffixes = copy.suffixes
        self.suffix = copy.suffix

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open the copy for reading."""
        return self._copy.open("rb")

    def __str__(self) -> str:
        return self._address


Location: TypeAlias = Path | Fetched


def is_address(text: object) -> bool:
    """Return whether a text is an address, and no path.

    Examples
    --------
    >>> is_address("s3://bucket/rides.csv"), is_address("rides.csv")
    (True, False)
    """
    return isinstance(text, str) and _MARK in text


@contextmanager
def fetched(address: str) -> Iterator[Fetched]:
    """Copy what lies at an address, by the driver fsspec has for it, into a temporary file that is gone at the end.

    Raises
    ------
    UnreadableTableError
        No driver knows such addresses or its package is missing, it is one that is not fetched, or the driver fails.
    """
    scheme = address.partition(_MARK)[0]
    if has_password(address):
        raise UnreadableTableError(f"{scheme}://...", "an address with a password", "one without; the driver has its own way to be told it")
    if scheme in _NOT_FETCHED or "::" in address:
        raise UnreadableTableError(address, f"an address of {scheme!r}, which is not fetched", "a path: download the file and name that")
    if glob.has_magic(address):
        raise UnreadableTableError(address, "an address with a pattern", "the address of one file")
    with tempfile.TemporaryDirectory(prefix="evergreen-") as folder:
        copy = Path(folder) / (PurePosixPath(urlsplit(address).path).name or "table")
        try:
            with fsspec.open(address, "rb") as there, copy.open("wb") as here:
                shutil.copyfileobj(there, here, 1 << 20)
        except ImportError as error:
            raise UnreadableTableError(address, f"no driver for {scheme!r} is installed ({error})") from error
        except FileNotFoundError as error:
            raise UnreadableTableError(address, "No such file or directory") from error
        except Exception as error:  # a driver's errors are of any kind
            raise UnreadableTableError(address, error) from error
        yield Fetched(address, copy)


def parts_of(path: Location) -> Sequence[Location]:
    """Return the files of a table: the file itself, those of a folder, or all files that match a pattern, by their names.

    Of a folder these are the Parquet files; where there are none, the CSV or JSON lines files, whichever there are.

    Raises
    ------
    UnreadableTableError
        There are none, or a folder has several kinds.
    """
    if isinstance(path, Fetched) or path.is_file():
        return (path,)
    if path.is_dir():
        return _in_folder(path)
    if not glob.has_magic(str(path)):
        return (path,)
    there = next(parent for parent in path.parents if parent.is_dir())
    pattern = str(path.relative_to(there))
    matching = [there / name for name in sorted(glob.glob(pattern, root_dir=there))]
    parts = [part for part in matching if part.is_file()]
    if not parts:
        raise UnreadableTableError(str(path), "a pattern that no file matches", "one that does")
    return parts


def _in_folder(path: Path) -> Sequence[Path]:
    by_kind: dict[str, list[Path]] = {}
    for part in sorted(path.iterdir()):
        if not part.name.startswith(_ASIDE) and (kind := _kind_of(part)) in _KINDS and part.is_file():
            by_kind.setdefault(kind, []).append(part)
    if not by_kind:
        raise UnreadableTableError(str(path), "a folder without Parquet, CSV or JSON lines files", "one with some, or a pattern for others")
    if len(by_kind) > 1 and _KINDS[0] not in by_kind:
        pattern = path / f"*{next(iter(by_kind))}"
        raise UnreadableTableError(str(path), f"a folder of several kinds ({', '.join(by_kind)})", f"a pattern such as {pattern}")
    return by_kind.get(_KINDS[0]) or next(iter(by_kind.values()))


def _kind_of(path: Path) -> str:
    """Return the end of a name that says what a file is, whatever it is packed in."""
    inner = Path(path.stem) if path.suffix.lower() in PACKED else path
    return inner.suffix.lower()
