"""All rows of a table looked at once: the facts of every column, and what a sample in the order of the file shows at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from training.dataset.dataset import rows_from_columns
from training.dataset.files import header, is_typed, read_batches
from training.dataset.locations import PACKED, parts_of
from training.dataset.report import LEAK, check
from training.model_file.model_spec import ModelSpec
from training.profiles.moving_columns import moving_remarks
from training.progress import Progress
from training.proposing.facts import Facts
from training.proposing.typed_cells import add_cells
from training.schema.spellings import FileFormat

SAMPLE_ROWS = 10_000
_PART_BYTES = 16 << 20
_LEAST_ROWS = 50


class Scan(NamedTuple):
    """What was seen: facts by name, the number of rows, and every so many rows as a table (``step``: 1 for all)."""

    facts: dict[str, Facts]
    n_rows: int
    sample: pd.DataFrame
    step: int


def scan(path: Path, files: FileFormat, progress: Progress) -> Scan:
    """Look at all rows of a table of CSV, JSON lines, Excel or Parquet, in bounded memory.

    Parameters
    ----------
    path
        As `training.dataset.files.read_file` takes it.


    Raises
    ------
    DataError
        As `training.dataset.files.read_batches`.
    """
    parts = [part for part in parts_of(path) if isinstance(part, Path)]
    is_plain = not any(is_typed(part) or part.suffix in PACKED for part in parts)
    n_bytes = sum(part.stat().st_size for part in parts)
    progress.start("looking at all rows", max(math.ceil(n_bytes / _PART_BYTES), 1) if is_plain else None)
    facts = {name: Facts(name) for name in header(path, files)}
    kept: list[pa.RecordBatch] = []
    n_rows, step = 0, 1
    for batch in read_batches(path, files):
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            add_cells(facts.setdefault(name, Facts(name)), cells)
        first = -n_rows % step
        kept.append(batch.take(pa.array(range(first, len(batch), step), pa.int64())))
        n_rows += len(batch)
        while sum(map(len, kept)) > 2 * SAMPLE_ROWS:
            whole = pa.Table.from_batches(kept).combine_chunks()
            kept, step = whole.take(pa.array(range(0, len(whole), 2), pa.int64())).to_batches(), 2 * step
        progress.advance(f"{n_rows:,} rows")
    progress.done()
    sample = pa.Table.from_batches(kept).to_pandas(ignore_metadata=True, integer_object_nulls=True) if kept else pd.DataFrame()
    return Scan(facts, n_rows, sample, step)


class Suspicions(NamedTuple):
    """What a person should know of the rows.

    Attributes
    ----------
    leaks
        Scores of columns that predict the target alone, by name.
    is_sorted
        Whether the rows are sorted by the target.
    moving
        In words, how features move by themselves, by name.
    """

    leaks: dict[str, float]
    is_sorted: bool
    moving: Mapping[str, str]


UNSUSPECTED = Suspicions({}, False, {})


def look(sample: Scan, spec: ModelSpec, source: str) -> Suspicions:
    """Read the sample as `train` would and look at it.

    Raises
    ------
    DataError
        Training would refuse these rows.
    """
    rows = rows_from_columns(sample.sample, spec.schema, source=source, files=spec.read)
    if rows.target is None or len(labelled := rows.labelled()) < _LEAST_ROWS:
        return UNSUSPECTED
    leaks = {column.name: column.alone for column in check(rows, spec.schema).columns if column.alone >= LEAK}
    moving = moving_remarks(rows.columns, rows.time_us, spec.schema)
    if spec.schema.is_classification:
        codes = np.unique(labelled.labels.astype(str), return_inverse=True)[1]
        n_changes = int((np.diff(codes) != 0).sum())
        return Suspicions(leaks, 0 < n_changes == len(np.unique(codes)) - 1, moving)
    steps = np.diff(labelled.labels)
    return Suspicions(leaks, bool(steps.any()) and (bool((steps >= 0).all()) or bool((steps <= 0).all())), moving)
