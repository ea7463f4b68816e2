"""Two tables, or two windows of a model's log, compared under bins that are learned from the first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.admin.workbench import Workbench
from monitoring.batch.guessed_columns import NO_TARGET, read_guessed
from monitoring.batch.log_comparison import compare_windows, span_of
from monitoring.drift.comparing import LEVEL, Comparison, compare_profiles
from monitoring.errors import InputError
from training.dataset.dataset import read_table, rows_from_columns
from training.model_file.model_spec import ModelSpec, load_spec
from training.profiles.bin_edges import learn_bins
from training.profiles.bins import Bins
from training.progress import Progress, Silent
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.schema.spellings import PLAIN, FileFormat

ENOUGH_ROWS = 1000  # to learn bins of numbers from one of two tables
AnyTable: TypeAlias = pd.DataFrame | Rows | Mapping[str, Any] | Path | str


class Window(NamedTuple):
    """Rows of the log of a model from one model time to, not including, another: ISO 8601, or a number where times are ordinal."""

    model: str
    start: str
    end: str


def compare(
    a: AnyTable | Window | None,
    b: AnyTable | Window,
    *,
    spec: ModelSpec | Path | str | None = None,
    level: float = LEVEL,
    environment: Mapping[str, str] = MappingProxyType({}),
    progress: Progress | None = None,
) -> Comparison:
    """Compare two tables column by column, without a model or labels; or two windows of the log of a model.

    Parameters
    ----------
    a, b
        A DataFrame, columns by name, rows, or where a table lies: a file (CSV, JSON lines, Excel, Parquet), a folder, a pattern.
        The bins are learned from `a`, those of numbers also from `b` where it has fewer than 1,000 rows. Or a `Window` each, or None and
        a window, which is compared with what the champion was trained on.
    spec
        A model file that says what the columns are; without one that is guessed, as `evergreen init` does, from both tables.
    level
        At most this share of the columns called moved is so by chance, on average.
    environment
        Where the log of windows is: ``EVERGREEN_HOME`` (default ``.evergreen``) and the other settings.
    progress
        Is told what is read.

    Returns
    -------
    A comparison, which prints as a table; ``to_dict()`` has all figures.

    Raises
    ------
    DataError
        A table cannot be read, or not as `spec` says.
    InputError
        A table has no rows, may be read in two ways, or the tables share no column; a level that is no share.

    Examples
    --------
    >>> import numpy as np
    >>> print(compare({"wind": np.arange(400.0) % 50}, {"wind": np.arange(400.0) % 50 + 20}).sentence)
    1 of 1 columns moved from A to B (A 400 rows, B 400), 1 of them far (PSI of 0.1 or more): wind (higher, median 25 → 45).
    """
    if not 0 < level < 1:
        raise InputError(f"the level {level} is no share between 0 and 1")
    if isinstance(b, Window):
        return _windows(a, b, level, environment)
    if a is None or isinstance(a, Window):
        raise InputError("a window is compared with a window, a table with a table")
    left, right = _table(a), _table(b)
    if spec is not None or isinstance(left, Rows) or isinstance(right, Rows):
        schema, files = _schema(spec, left, right)
        both = [one if isinstance(one, Rows) else _read(one, schema, files) for one in (left, right)]
        notes: tuple[str, ...] = ()
    else:
        guessed = read_guessed(left, right, progress or Silent())
        schema, both, notes = guessed.schema, [guessed.a, guessed.b], guessed.notes
    for name, one in zip("AB", both, strict=True):
        if not len(one):
            raise InputError(f"{name} has no rows")
    times = [feature.name for feature in schema.features if feature.kind == "datetime"]
    return compare_rows(*both, level=level, notes=notes, times=times)


def compare_rows(a: Rows, b: Rows, *, level: float = LEVEL, notes: Sequence[str] = (), times: Collection[str] = ()) -> Comparison:
    """Compare rows that have the same columns.

    Parameters
    ----------
    times
        Columns of times, which are compared by the hour of the day.
    """
    taught = {name: _taught(values, b.columns[name]) for name, values in a.columns.items()}
    bins = Bins(tuple(learn_bins(name, values, is_time=name in times) for name, values in taught.items()))
    return compare_profiles(bins, bins.count(a.columns), bins.count(b.columns), level=level, notes=notes)


def _taught(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values that teach the bins of a column.

    Bins of few numbers lie closer about these than about any others of the same distribution, so that the others would seem to have moved.
    """
    return a if a.dtype == object or len(a) >= ENOUGH_ROWS else np.concatenate([a, b])


def _windows(a: AnyTable | Window | None, b: Window, level: float, environment: Mapping[str, str]) -> Comparison:
    if not (a is None or (isinstance(a, Window) and a.model == b.model)):
        raise InputError(f"a window of {b.model} is compared with another of it, or with None: what its champion was trained on")
    bench = Workbench(environment)
    try:
        model = bench.model_named(b.model)
        before = span_of(bench, model, a.start, a.end) if isinstance(a, Window) else None
        return compare_windows(bench, model, before, span_of(bench, model, b.start, b.end), level=level)
    finally:
        bench.close()


def _table(table: AnyTable) -> pd.DataFrame | Rows | Path:
    if isinstance(table, pd.DataFrame | Rows | Path):
        return table
    return Path(table) if isinstance(table, str) else pd.DataFrame(dict(table))


def _schema(spec: ModelSpec | Path | str | None, *tables: pd.DataFrame | Rows | Path) -> tuple[Schema, FileFormat]:
    """Return how tables are read: as a model file says, or as the rows that are there already."""
    if spec is not None:
        read = spec if isinstance(spec, ModelSpec) else load_spec(spec)
        return replace(read.schema, time=None), read.read
    rows = next(one for one in tables if isinstance(one, Rows))
    features = (Feature(name, "categorical" if v.dtype == object else "numeric", nullable=True) for name, v in rows.columns.items())
    return Schema(tuple(features), NO_TARGET, "regression"), PLAIN


def _read(table: pd.DataFrame | Path, schema: Schema, files: FileFormat) -> Rows:
    return rows_from_columns(table, schema) if isinstance(table, pd.DataFrame) else read_table(table, schema, files)
