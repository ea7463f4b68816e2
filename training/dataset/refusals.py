"""What is wrong with the file of a table, in one sentence that names the likely cause and never what is in it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager

import pyarrow as pa

from training.dataset.locations import Location
from training.errors import DataError, DataProblem, UnreadableTableError

WANTED = "a readable CSV, JSON lines, Excel or Parquet file"


class Refusals(AbstractContextManager[None]):
    """Turn what goes wrong while a file is read into one sentence."""

    def __init__(self, path: Location) -> None:
        self._path = path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        path = self._path
        if not isinstance(error, (OSError, EOFError, ValueError, LookupError, csv.Error, pa.ArrowException)):
            return
        if isinstance(error, UnicodeDecodeError):
            raise refused(
                path,
                f"bytes that are not {error.encoding}",
                f"{error.encoding}; write read: {{encoding: latin-1}} or the one it has, or save it as {error.encoding}",
            ) from error
        if "invalid UTF8" in str(error):
            raise refused(
                path, "bytes that are not UTF-8", "UTF-8; write read: {encoding: latin-1} or the one it has, or save it as UTF-8"
            ) from error
        if "Empty CSV" in str(error):
            raise refused(path, "a header and no rows") from error
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the file's
            raise UnreadableTableError(str(path), error) from error
        raise refused(path, f"{type(error).__name__}: {_without_content(str(error))}", None) from error


def refused(path: Location, got: str, wanted: str | None = WANTED) -> UnreadableTableError:
    """Make the error of a file that is something else."""
    return UnreadableTableError(str(path), got, wanted)


def _without_content(message: str) -> str:
    """Leave out what stands behind a colon, where pyarrow repeats the line it was reading."""
    return re.sub(r"(CSV parse error|conversion error)(.*?):.*", r"\1\2", message, flags=re.DOTALL)[:300]


_TWICE = ("two columns of that name", "one")
_NAMELESS = ("two columns without a name, as delimiters at the end of the lines make them", "a name for all but one")


def refuse_twice(source: str, names: Sequence[str]) -> None:
    """Raise DataError when two columns have one name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError([DataProblem(None, name, *(_TWICE if name else _NAMELESS)) for name in sorted(twice)], source)
