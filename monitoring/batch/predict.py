"""Predictions for a whole table without a server; nothing is logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from monitoring.admin.status import resolve
from monitoring.admin.workbench import Workbench
from monitoring.batch.table_files import PIECE_ROWS, TableFile, TableOut, with_columns
from monitoring.errors import InputError
from training.artifacts.artifact import LoadedArtifact
from training.dataset.converting import PLAIN_WORDS
from training.dataset.dataset import rows_from_columns
from training.errors import DataError, DataProblem
from training.model_file.model_spec import parse_spec
from training.progress import Progress, Silent
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns
from training.schema.schema import Schema
from training.schema.spellings import MOST_WHOLE, PLAIN, FileFormat

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Predicted:
    """What was written, by which version; `skipped` rows have an error instead of a prediction."""

    model: str
    version: str
    rows: int
    skipped: int
    out: Path


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be written and how: our columns are called `prefix` + name; with `skip_bad` a bad row is written with its `error`."""

    out: Path
    prefix: str = ""
    skip_bad: bool = False


def predict_table(
    bench: Workbench, model: str, version: str | None, table: Path, wanted: Wanted, progress: Progress | None = None
) -> Predicted:
    """Predict the rows of a CSV or Parquet file and write them, untouched and in their order, with what the model says.

    Added are `prediction`, `probability_<class>` for each class, `version` and, when bad rows are skipped, `error`. The target and
    a time that requests do not carry may be missing or wrong. Memory does not grow with the table.

    Raises
    ------
    DataError
        Rows break the contract and are not to be skipped, or a column is missing; nothing is written.
    InputError
        A file cannot be read or written so, has no rows, or has a column called as one of ours.
    """
    progress = progress or Silent()
    output = TableOut(wanted.out)
    loaded = bench.load(resolve(bench, model, version))
    source = TableFile(table, parse_spec(loaded.spec_text, stored=True).read, _names(loaded.schema))
    if wanted.out.exists() and wanted.out.samefile(table):
        raise InputError(f"{wanted.out} is the table itself; say another file with --out")
    batch = _Batch(loaded, source, wanted)
    batch.refuse_taken_names()
    progress.start("predicting", None if source.count is None else -(-source.count // PIECE_ROWS))
    with output:
        for piece in source.pieces():
            done = batch.answered(piece)
            if done is not None:
                output.write(done)
            progress.advance(f"{batch.rows:,} rows")
        progress.done()
        batch.refuse()
    return Predicted(model, loaded.version, batch.rows, batch.skipped, wanted.out)


class _Batch:
    """What is known of a table while its pieces pass; once a row was refused the others are only looked at."""

    def __init__(self, loaded: LoadedArtifact, source: TableFile, wanted: Wanted) -> None:
        self.rows = self.skipped = 0
        self._loaded, self._source, self._wanted = loaded, source, wanted
        schema = loaded.schema
        self._schema = schema if schema.event_time is not None else replace(schema, time=None)
        self._problems: list[DataProblem] = []
        self._total = 0

    def refuse_taken_names(self) -> None:
        """Raise when the table has a column that is called as one of ours."""
        probabilities = [f"probability_{name}" for name in self._loaded.predictor.classes or ()]
        ours = ["prediction", *probabilities, "version", *(["error"] if self._wanted.skip_bad else [])]
        prefix = self._wanted.prefix
        taken = [prefix + name for name in ours if prefix + name in self._source.schema.names]
        if taken:
            raise InputError(f"{self._source.path} has a column {taken[0]!r} already; --prefix gives ours other names")

    def answered(self, piece: pa.Table) -> pa.Table | None:
        """Return the piece with our columns, or None when rows of it or before it are refused."""
        first, self.rows = self.rows, self.rows + piece.num_rows
        files = self._source.files
        asked = _asked(piece, self._schema, files if self._source.is_csv else None)
        try:
            columns = _in_order(asked, self._schema, files)
            return None if self._problems else self._written(piece, self._loaded.predictor.predict(columns), {})
        except DataError as error:
            if not self._wanted.skip_bad or any(problem.row is None for problem in error.problems):
                self._note(error, first)
                return None
        faults = _faults(asked, self._schema, files, 0)
        good = np.setdiff1d(np.arange(piece.num_rows), np.array(list(faults)))
        self.skipped += len(faults)
        answer = self._loaded.predictor.predict(_in_order(asked.iloc[good], self._schema, files)) if len(good) else None
        return self._written(piece, answer, faults, good)

    def refuse(self) -> None:
        """Raise when the table had no rows, or bad ones that are not to be skipped."""
        if self._total:
            raise DataError(self._problems, str(self._source.path), self._total)
        if not self.rows:
            raise InputError(f"{self._source.path} has no rows; there is nothing to predict")

    def _note(self, error: DataError, first: int) -> None:
        if any(problem.row is None for problem in error.problems):
            raise DataError(error.problems, str(self._source.path), error.total) from error
        self._total += error.total
        room = max(DataError.SHOWN - len(self._problems), 0)
        self._problems += [replace(problem, row=first + (problem.row or 0)) for problem in error.problems[:room]]

    def _written(self, piece: pa.Table, answer: Prediction | None, faults: Mapping[int, str], good: Places | None = None) -> pa.Table:
        count, classes = piece.num_rows, self._loaded.predictor.classes
        columns = {"prediction": pa.nulls(count, pa.float64() if classes is None else pa.string())}
        columns |= {f"probability_{name}": pa.nulls(count, pa.float64()) for name in classes or ()}
        if answer is not None:
            columns |= {name: values if good is None else _spread(values, good, count) for name, values in _columns(answer).items()}
        columns["version"] = pa.repeat(self._loaded.version, count)
        if self._wanted.skip_bad:
            columns["error"] = pa.array([faults.get(row) for row in range(count)] if faults else [None] * count, pa.string())
        return with_columns(piece, {self._wanted.prefix + name: values for name, values in columns.items()})


def _columns(answer: Prediction) -> dict[str, pa.Array]:
    """Lay a prediction out in columns: `prediction`, and `probability_<class>` for each class."""
    if answer.probability is None:
        return {"prediction": pa.array(answer.label, pa.float64())}
    names = answer.classes or ()
    label = pa.array(answer.label, pa.string()) if answer.codes is None else pa.array(names, pa.string()).take(pa.array(answer.codes))
    return {"prediction": label} | {f"probability_{name}": pa.array(answer.probability[:, i]) for i, name in enumerate(names)}


def _spread(values: pa.Array, good: Places, count: int) -> pa.Array:
    """Return the values at their places among `count` rows, null elsewhere."""
    places = np.full(count, -1)
    places[good] = np.arange(len(good))
    return values.take(pa.array(places, mask=places < 0))


def _names(schema: Schema) -> set[str]:
    """Return the columns of a table that the contract names, but for the target."""
    return {*schema.request_names, *(schema.event_time.in_files if schema.event_time else ())}


def _asked(piece: pa.Table, schema: Schema, cells: FileFormat | None) -> pd.DataFrame:
    """Return what the contract names of a piece (all columns but the target where others are refused), as the reader takes it.

    Parameters
    ----------
    cells
        How the cells of a CSV are written; None for typed columns.
    """
    wanted = _names(schema)
    names = [name for name in piece.column_names if name in wanted or (schema.extra == "error" and name != schema.target)]
    table = piece.select(names)
    if cells == PLAIN:
        plain = {f.name for f in schema.features if f.kind in ("numeric", "integer") and f.format is None}
        table = pa.table([_numbers(table[name]) if name in plain else table[name] for name in names], names=names)
    asked: pd.DataFrame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    return asked


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the cells of a CSV as numbers where all plainly are, else as they are, for the reader to judge."""
    cells = pc.if_else(pc.is_in(column, PLAIN_WORDS), None, column)
    try:
        numbers = cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return column
    is_plain = pc.all(pc.less(pc.abs(numbers), MOST_WHOLE)).as_py()  # which "nan(1)" is not
    return numbers if is_plain is not False else column


def _in_order(asked: pd.DataFrame, schema: Schema, files: FileFormat) -> Columns:
    """Read rows by the contract and return their features in the order they came in, which the reader changes where times do.

    Raises
    ------
    DataError
        Values do not fit.
    """
    if schema.time is None:
        return rows_from_columns(asked, schema, files=files).columns
    place = next(name for name in ("place", *(f"place {n}" for n in range(len(schema.names) + 2))) if name not in {*schema.names, *asked})
    placed = asked.assign(**{place: np.arange(len(asked))})
    with_place = replace(schema, features=(*schema.features, Feature(place, "integer")))
    columns = dict(rows_from_columns(placed, with_place, files=files).columns)
    back = np.argsort(columns.pop(place))
    return {name: values[back] for name, values in columns.items()}


def _faults(asked: pd.DataFrame, schema: Schema, files: FileFormat, first: int) -> dict[int, str]:
    """Return what is wrong with each bad row, by its place; halved until all that is wrong with a part is known."""
    try:
        _in_order(asked, schema, files)
    except DataError as error:
        if error.total > len(error.problems) and len(asked) > 1:
            half = len(asked) // 2
            return _faults(asked.iloc[:half], schema, files, first) | _faults(asked.iloc[half:], schema, files, first + half)
        reasons: dict[int, list[str]] = {}
        for problem in error.problems:
            reasons.setdefault(first + (problem.row or 0), []).append(f"{problem.column}: got {problem.got}, wanted {problem.wanted}")
        return {row: "; ".join(texts) for row, texts in reasons.items()}
    return {}
