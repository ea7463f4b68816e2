"""Rows from CSV, Parquet or a table in memory: converted, refused with every problem named, split, fingerprinted, kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training.dataset.converting import (
    Column,
    Converted,
    amounts,
    booleans,
    categories,
    hint_for,
    joined_times,
    labels,
    numbers,
    times,
    why_no_time,
)
from training.dataset.files import Table, read_file
from training.dataset.locations import fetched, is_address
from training.dataset.query import read_query
from training.errors import DataError, DataProblem, TooFewRowsError
from training.schema.feature import Feature
from training.schema.rows import Columns, Rows, object_column
from training.schema.schema import Schema
from training.schema.sources import Query
from training.schema.spellings import MOST_WHOLE, PLAIN, FileFormat
from training.schema.time_column import TimeColumn
from training.schema.times import YEARS

_TIME, _TARGET = "@time_us", "@target"
_SHOWN_LETTERS = 200
Values = npt.NDArray[Any]


def read_table(path: Path | str | Query, schema: Schema, files: FileFormat = PLAIN) -> Rows:
    """Read a CSV, JSON lines, Excel or Parquet file into rows in time order; equal times keep the order of the file.

    Parameters
    ----------
    path
        A file, a pattern that several match, a folder of Parquet files, an address such as ``s3://bucket/rides.csv``, or a query of a
        database.
    files
        How the text of the file is written, as its model file says.

    Raises
    ------
    DataError
        With row (from 0), column, got and wanted of every value that does not fit.
    UnreadableTableError
        The file is not there, or is something else.
    """
    in_files = schema.time.in_files if schema.time else ()
    wanted = {*schema.names, schema.target, *in_files, *([schema.time.column] if schema.time else [])}
    if isinstance(path, Query):
        return _rows(read_query(path), schema, files, str(path))
    if isinstance(path, str) and is_address(path):
        with fetched(path) as copy:
            return _rows(read_file(copy, files, wanted), schema, files, path)
    return _rows(read_file(Path(path), files, wanted), schema, files, str(path))


def rows_from_columns(table: pd.DataFrame | Mapping[str, Any], schema: Schema, *, source: str = "rows", files: FileFormat = PLAIN) -> Rows:
    """Convert a table whose columns are named as in the schema into rows in time order; names become text, an index columns.

    A missing column is taken as all missing when its feature is nullable, a missing target as no labels. Without a time
    column the rows are one second apart from the epoch on, in their order.

    Raises
    ------
    DataError
        With every value that does not fit the schema.
    """
    table = table if isinstance(table, pd.DataFrame) else pd.DataFrame(dict(table))
    return _rows(Table.of(table, source), schema, files, source)


def _rows(table: Table, schema: Schema, files: FileFormat, source: str) -> Rows:
    problems = _Problems()
    problems.columns(_column_problems(table, schema))
    columns: Columns = {f.name: _feature_column(table, f, files, problems) for f in schema.features}
    target = _target(table, schema, files, problems) if schema.target in table.columns else None
    time_us = _times(table, schema.time, problems)
    if problems.total:
        raise DataError([_in_its_file(problem, table) for problem in problems.shown], source, problems.total)
    rows = Rows(columns, target, time_us)
    return rows if bool((np.diff(time_us) >= 0).all()) else rows.take(np.argsort(time_us, kind="stable"))


def _in_its_file(problem: DataProblem, table: Table) -> DataProblem:
    file, row = (None, None) if problem.row is None else table.place_of(problem.row)
    return replace(problem, row=row, file=file)


class _Problems:
    """Problems so far; the first of each kind are kept, all are counted."""

    def __init__(self) -> None:
        self.shown: list[DataProblem] = []
        self.total = 0
        self._bad: dict[str, Values] = {}

    def columns(self, problems: list[DataProblem]) -> None:
        self.shown += problems
        self.total += len(problems)

    def values(self, column: str, rows: Values, raw: Column, wanted: str, why: Callable[[Any], str] | None = None) -> None:
        """Note bad values of a column, each once; `why` says of one value what is wrong with it, where that is more than `wanted`."""
        rows = np.setdiff1d(rows, self._bad[column]) if column in self._bad else rows
        self._bad[column] = np.concatenate([self._bad[column], rows]) if column in self._bad else rows
        self.total += len(rows)
        kept = rows[: max(DataError.SHOWN - len(self.shown), 0)]
        self.shown += [DataProblem(r, column, _got(raw, r), wanted + (why(_cell(raw, r)) if why else "")) for r in kept.tolist()]


def _got(raw: Column, row: int) -> str:
    value = _cell(raw, row)
    if isinstance(value, str) and len(value) > _SHOWN_LETTERS:
        return f"{value[:_SHOWN_LETTERS]!r}… of {len(value):,} letters"
    return "nothing" if value == "" else repr(value.item() if isinstance(value, np.generic) else value)


def _cell(raw: Column, row: int) -> Any:
    return raw[row].as_py() if isinstance(raw, pa.ChunkedArray) else raw.iloc[row]


def _column_problems(table: Table, schema: Schema) -> list[DataProblem]:
    has, time = set(table.names), _time_names(table, schema.time)
    needed = {f.name for f in schema.features if not f.nullable} | set(time)
    out = [DataProblem(None, name, "no such column", _similar(name, table, schema)) for name in sorted(needed - has)]
    if schema.extra == "error":
        known = {*schema.names, schema.target, *time, *([schema.time.column] if schema.time else [])}
        out += [DataProblem(None, name, "an extra column", "no columns but the schema's") for name in sorted(has - known)]
    return out


def _similar(name: str, table: Table, schema: Schema) -> str:
    near = get_close_matches(name, [known for known in table.names if known not in schema.names], n=1)
    return "a column of that name" + (f"; is it {near[0]!r}?" if near else "")


def _time_names(table: Table, time: TimeColumn | None) -> tuple[str, ...]:
    """Return the columns the time is read from: its parts, or the one that requests carry where the table has that."""
    if time is None:
        return ()
    return (time.column,) if time.column in table.names and not set(time.columns) & set(table.names) else time.in_files


def _feature_column(table: Table, feature: Feature, files: FileFormat, problems: _Problems) -> Values:
    raw = table.columns.get(feature.name)
    if raw is None:
        return np.full(table.n_rows, np.nan if feature.is_number else None, dtype=np.float64 if feature.is_number else object)
    values, bad = _converted(raw, feature, files)
    if bad.any():
        rows = np.flatnonzero(bad)
        why = why_no_time(feature.times, feature.wanted) if feature.kind == "datetime" else None
        problems.values(feature.name, rows, raw, feature.wanted + hint_for(raw, rows, feature.kind, files), why)
    for violation in feature.violations(values):
        rows = violation.rows[~bad[violation.rows]]
        problems.values(feature.name, rows, raw, violation.wanted)
    return feature.clipped(values)


def _converted(raw: Column, feature: Feature, files: FileFormat) -> Converted:
    match feature.kind:
        case "categorical":
            return categories(raw, feature.missing)
        case "boolean":
            return booleans(raw)
        case "datetime":
            return times(raw, feature.times)
        case "integer":
            values, bad = numbers(raw, feature.format, files, drops_infinite=feature.drops_infinite)
            return Converted(values, bad | (np.abs(values) > MOST_WHOLE))
        case _:
            return numbers(raw, feature.format, files, drops_infinite=feature.drops_infinite)


def _target(table: Table, schema: Schema, files: FileFormat, problems: _Problems) -> Values:
    raw = table.columns[schema.target]
    if not schema.is_classification:
        values, bad = amounts(raw, schema.missing, files)
        rows = np.flatnonzero(bad)
        problems.values(schema.target, rows, raw, "a number" + hint_for(raw, rows, "target", files))
        return values
    names = labels(raw, schema.missing).values
    if schema.classes is not None:
        known = {*schema.classes, None}
        wrong = np.array([v not in known for v in names.tolist()], dtype=bool)
        problems.values(schema.target, np.flatnonzero(wrong), raw, "one of " + ", ".join(schema.classes))
    return names


def _times(table: Table, time: TimeColumn | None, problems: _Problems) -> npt.NDArray[np.int64]:
    if time is None:
        return np.arange(table.n_rows, dtype=np.int64) * 1_000_000
    raw = [table.columns[name] for name in _time_names(table, time) if name in table.columns]
    if len(raw) < len(_time_names(table, time)):
        return np.zeros(table.n_rows, dtype=np.int64)
    if len(raw) > 1:
        values, bad = joined_times(raw, time.times)
    else:
        values, bad = numbers(raw[0]) if time.kind == "ordinal" else times(raw[0], time.times)
    bad = bad | np.isnan(values)
    if time.kind == "ordinal":
        bad |= ~time.can_map(values)
    if bad.any():
        rows = np.flatnonzero(bad)
        wanted = f"a time ({time.kind})" if time.kind == "ordinal" else f"a time ({time.format or time.kind}) in the years {YEARS}"
        why = why_no_time(time.times, wanted) if time.kind == "timestamp" and len(raw) == 1 else None
        problems.values(time.column, rows, raw[0], wanted + hint_for(raw[0], rows, "datetime", PLAIN), why)
        return np.zeros(table.n_rows, dtype=np.int64)
    return time.to_us(values)


def tie_boundary(time_us: npt.NDArray[np.int64], position: int) -> int:
    """Return the position nearest to `position` that does not part rows of equal time; may be 0 or n.

    Examples
    --------
    >>> tie_boundary(np.array([1, 2, 2, 2, 3]), 2), tie_boundary(np.array([1, 2, 2, 2, 3]), 3)
    (1, 4)
    """
    if not 0 < position < len(time_us):
        return max(0, min(position, len(time_us)))
    left = int(np.searchsorted(time_us, time_us[position], "left"))
    if left == position:
        return position
    right = int(np.searchsorted(time_us, time_us[position], "right"))
    return left if position - left <= right - position else right


def split_by_time(rows: Rows, holdout_fraction: float) -> tuple[Rows, Rows]:
    """Part rows into the older ones and the newest share, never inside a tie.

    Raises
    ------
    TooFewRowsError
        When one of the parts would be empty.
    """
    cut = tie_boundary(rows.time_us, len(rows) - round(len(rows) * holdout_fraction))
    if cut in (0, len(rows)):
        raise TooFewRowsError(f"{len(rows)} rows at {len(np.unique(rows.time_us))} different times cannot be split by time")
    return rows.slice(0, cut), rows.slice(cut, len(rows))


def shuffled(rows: Rows, seed: int) -> Rows:
    """Return rows without times in an order drawn by the seed; the times, which only count them, stay in theirs.

    Examples
    --------
    >>> rows = Rows({"x": np.arange(4.0)}, np.arange(4.0), np.arange(4))
    >>> shuffled(rows, 0).labels.tolist(), shuffled(rows, 0).time_us.tolist()
    ([2.0, 0.0, 1.0, 3.0], [0, 1, 2, 3])
    """
    return replace(rows.take(np.random.default_rng(seed).permutation(len(rows))), time_us=rows.time_us)


def fingerprint(rows: Rows) -> str:
    """Return the SHA-256 of names and values; equal rows give equal fingerprints."""
    digest = hashlib.sha256()
    named = {_TIME: rows.time_us, **rows.columns} | ({} if rows.target is None else {_TARGET: rows.target})
    for name, values in named.items():
        digest.update(f"{name}\0{len(values)}\0{values.dtype.kind}\0".encode())
        if values.dtype == object:
            codes, distinct = pd.factorize(values)
            digest.update("\0".join(map(str, distinct)).encode())
            values = codes.astype(np.int64)
        elif values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.nan, values + 0.0)
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def write_rows(rows: Rows, schema: Schema, folder: Path) -> tuple[str, Path]:
    """Keep rows as Parquet under their fingerprint; rows already there are not written again.

    Returns
    -------
    The fingerprint and the path ``<folder>/<fingerprint>.parquet``.
    """
    digest = fingerprint(rows)
    path = folder / f"{digest}.parquet"
    if path.exists():
        return digest, path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    named = {name: pa.array(rows.columns[name], from_pandas=False) for name in schema.names}
    named[_TIME] = pa.array(rows.time_us)
    if rows.target is not None:
        named[_TARGET] = pa.array(rows.target, type=pa.string() if rows.target.dtype == object else pa.float64())
    part = folder / f".{digest}.{os.getpid()}.part"
    pq.write_table(pa.table(named), part)
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(path)
    return digest, path


def read_rows(folder: Path, digest: str, schema: Schema) -> Rows:
    """Read what `write_rows` kept.

    Raises
    ------
    DataError
        When the rows are not there or are not the ones that were written.
    """
    path = folder / f"{digest}.parquet"
    try:
        table = pq.read_table(path)
        columns: Columns = {f.name: _stored(table, f.name, number=f.is_number) for f in schema.features}
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError([DataProblem(None, digest, str(error), "the stored rows")], str(path)) from error
    has_target = _TARGET in table.column_names
    target = _stored(table, _TARGET, number=not schema.is_classification) if has_target else None
    rows = Rows(columns, target, table[_TIME].to_numpy())
    if fingerprint(rows) != digest:
        raise DataError([DataProblem(None, digest, "other rows", "the rows that were written")], str(path))
    return rows


def read_labels(folder: Path, digest: str, schema: Schema) -> tuple[Values, npt.NDArray[np.int64]]:
    """Read the labels, and the times, of what `write_rows` kept, without rows that have none; it is not verified.

    Raises
    ------
    DataError
        When the rows are not there.
    """
    try:
        table = pq.read_table(folder / f"{digest}.parquet", columns=[_TARGET, _TIME])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError([DataProblem(None, digest, str(error), "the stored rows")], str(folder)) from error
    target, time_us = _stored(table, _TARGET, number=not schema.is_classification), table[_TIME].to_numpy()
    is_known = ~pd.isna(target)
    return target[is_known], time_us[is_known]


def _stored(table: pa.Table, name: str, *, number: bool) -> Values:
    if number:
        return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
    return object_column(table[name].to_pylist())
