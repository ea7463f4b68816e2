"""Rows from CSV, Parquet or a table in memory: converted, refused with every problem named, split, fingerprinted, kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training.datareport import DataReport, check
from training.errors import DataError, DataProblem, TooFewRowsError
from training.feature import Feature
from training.rows import Columns, Rows
from training.schema import Schema, normalise_label
from training.timecolumn import TimeColumn

__all__ = [
    "DataReport",
    "check",
    "fingerprint",
    "read_rows",
    "read_table",
    "rows_from_columns",
    "split_by_time",
    "tie_boundary",
    "write_rows",
]

_NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>"]
_TRUTH = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "1": 1.0, "0": 0.0, "t": 1.0, "f": 0.0}
_TIME, _TARGET = "@time_us", "@target"
Values = npt.NDArray[Any]


def read_table(path: Path | str, schema: Schema) -> Rows:
    """Read a CSV (also gzipped) or Parquet file into rows in time order; equal times keep the order of the file.

    Raises
    ------
    DataError
        With row (from 0), column, got and wanted of every value that does not fit; also for a file that cannot be read.
    """
    path = Path(path)
    try:
        table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        problem = DataProblem(None, str(path), f"{type(error).__name__}: {error}", "a readable CSV or Parquet file")
        raise DataError([problem], str(path)) from error
    return rows_from_columns(table, schema, source=str(path))


def _read_parquet(path: Path) -> pd.DataFrame:
    table: pd.DataFrame = pq.read_table(path).to_pandas()
    return table


def _read_csv(path: Path, schema: Schema) -> pd.DataFrame:
    header = pd.read_csv(path, nrows=0).columns
    as_text = set(schema.categorical_names) | ({schema.target} if schema.is_classification else set())
    nulls = {name: [""] if name in as_text else _NULLS for name in header}
    return pd.read_csv(path, dtype=dict.fromkeys(as_text & set(header), object), keep_default_na=False, na_values=nulls, low_memory=False)


def rows_from_columns(table: pd.DataFrame | Mapping[str, Any], schema: Schema, *, source: str = "rows") -> Rows:
    """Convert a table whose columns are named as in the schema into rows in time order.

    A missing column is taken as all missing when its feature is nullable, a missing target as no labels. Without a time
    column the rows are one second apart from the epoch on, in their order.

    Raises
    ------
    DataError
        With every value that does not fit the schema.
    """
    table = table if isinstance(table, pd.DataFrame) else pd.DataFrame(dict(table))
    problems = _Problems()
    problems.columns(_column_problems(table, schema))
    columns: Columns = {f.name: _feature_column(table, f, problems) for f in schema.features}
    target = _target(table, schema, problems) if schema.target in table else None
    time_us = _times(table, schema.time, problems)
    if problems.total:
        raise DataError(problems.shown, source, problems.total)
    rows = Rows(columns, target, time_us)
    return rows if bool((np.diff(time_us) >= 0).all()) else rows.take(np.argsort(time_us, kind="stable"))


class _Problems:
    """Problems found so far; the first of each kind are kept, all are counted."""

    def __init__(self) -> None:
        self.shown: list[DataProblem] = []
        self.total = 0

    def columns(self, found: list[DataProblem]) -> None:
        self.shown += found
        self.total += len(found)

    def values(self, column: str, rows: Values, raw: pd.Series | None, wanted: str) -> None:
        self.total += len(rows)
        kept = rows[: max(DataError.SHOWN - len(self.shown), 0)]
        self.shown += [DataProblem(int(r), column, "nothing" if raw is None else repr(raw.iloc[int(r)]), wanted) for r in kept]


def _column_problems(table: pd.DataFrame, schema: Schema) -> list[DataProblem]:
    has = set(map(str, table.columns))
    needed = {f.name for f in schema.features if not f.nullable} | ({schema.time.column} if schema.time else set())
    out = [DataProblem(None, name, "no such column", "a column of that name") for name in sorted(needed - has)]
    if schema.extra == "error":
        known = {*schema.names, schema.target, *([schema.time.column] if schema.time else [])}
        out += [DataProblem(None, name, "an extra column", "no columns but the schema's") for name in sorted(has - known)]
    return out


def _feature_column(table: pd.DataFrame, feature: Feature, problems: _Problems) -> Values:
    if feature.name not in table:
        return np.full(len(table), np.nan if feature.is_number else None, dtype=np.float64 if feature.is_number else object)
    raw = table[feature.name]
    values, bad = _CONVERT[feature.kind](raw)
    if bad.any():
        problems.values(feature.name, np.flatnonzero(bad), raw, feature.wanted)
    for violation in feature.violations(values):
        rows = violation.rows[~bad[violation.rows]]
        problems.values(feature.name, rows, raw, violation.wanted)
    return feature.clipped(values)


def _numbers(raw: pd.Series) -> tuple[Values, Values]:
    values = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = (np.isnan(values) & raw.notna().to_numpy()) | np.isinf(values)
    return values, bad


def _booleans(raw: pd.Series) -> tuple[Values, Values]:
    values = _by_value(raw, lambda v: _TRUTH.get(normalise_label(v).casefold(), np.nan), np.nan).astype(np.float64)
    return values, np.isnan(values) & raw.notna().to_numpy()


def _datetimes(raw: pd.Series) -> tuple[Values, Values]:
    if pd.api.types.is_numeric_dtype(raw):
        return _numbers(raw)
    stamps = pd.to_datetime(raw, utc=True, format="ISO8601", errors="coerce")
    seconds = stamps.dt.as_unit("us").astype("int64").to_numpy() / 1e6
    return np.where(stamps.isna(), np.nan, seconds), (stamps.isna() & raw.notna()).to_numpy()


def _categories(raw: pd.Series) -> tuple[Values, Values]:
    return _by_value(raw, _category, None), np.zeros(len(raw), dtype=bool)


def _category(value: object) -> str:
    return value if isinstance(value, str) else normalise_label(value)


def _by_value(raw: pd.Series, convert: Callable[[object], Any], missing: object) -> Values:
    """Convert each distinct value once."""
    codes, distinct = pd.factorize(raw)
    names = np.empty(len(distinct) + 1, dtype=object)
    names[:-1] = [convert(v) for v in distinct]
    names[-1] = missing
    return names[codes]


_CONVERT = {"numeric": _numbers, "integer": _numbers, "boolean": _booleans, "datetime": _datetimes, "categorical": _categories}


def _target(table: pd.DataFrame, schema: Schema, problems: _Problems) -> Values:
    raw = table[schema.target]
    if not schema.is_classification:
        values, bad = _numbers(raw)
        problems.values(schema.target, np.flatnonzero(bad), raw, "a number")
        return values
    labels = _by_value(raw, normalise_label, None)
    if schema.classes is not None:
        known = {*schema.classes, None}
        wrong = np.array([v not in known for v in labels.tolist()], dtype=bool)
        problems.values(schema.target, np.flatnonzero(wrong), raw, "one of " + ", ".join(schema.classes))
    return labels


def _times(table: pd.DataFrame, time: TimeColumn | None, problems: _Problems) -> npt.NDArray[np.int64]:
    if time is None:
        return np.arange(len(table), dtype=np.int64) * 1_000_000
    if time.column not in table:
        return np.zeros(len(table), dtype=np.int64)
    raw = table[time.column]
    values, bad = (_numbers if time.kind == "ordinal" else _datetimes)(raw)
    bad = bad | np.isnan(values)
    if bad.any():
        problems.values(time.column, np.flatnonzero(bad), raw, f"a time ({time.kind})")
        return np.zeros(len(table), dtype=np.int64)
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
    tuple
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
    """Read what :func:`write_rows` kept.

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


def _stored(table: pa.Table, name: str, *, number: bool) -> Values:
    if number:
        return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
    out = np.empty(table.num_rows, dtype=object)
    out[:] = table[name].to_pylist()
    return out
