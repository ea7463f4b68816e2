"""Files to tables: CSV as text in every cell, JSON lines, Excel and Parquet typed; what a file is, is told by how it begins."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training.dataset.csv_files import csv_batches, csv_header, read_csv, refuse_other_files
from training.dataset.excel import excel_batches, excel_schema, is_excel
from training.dataset.json_lines import NESTED, begins_as_json, json_batches, json_schema, nested_of, refuse_nested
from training.dataset.locations import Location, parts_of
from training.dataset.refusals import Refusals, refuse_twice, refused
from training.dataset.unpacking import open_unpacked
from training.errors import DataError, DataProblem
from training.schema.spellings import PLAIN, FileFormat

_BATCH_ROWS = 1 << 16
_LOOKED_AT = 64 << 10
_PARQUET = b"PAR1"
_INDEX = "__index_level_"


class Table(NamedTuple):
    """The names of all columns, and those that were read: text cells, or typed columns."""

    names: tuple[str, ...]
    columns: Mapping[str, pa.ChunkedArray | pd.Series]
    n_rows: int
    parts: tuple[tuple[str, int], ...] = ()
    """Of a table in several files: what each is called, and how many rows it has."""

    def place_of(self, row: int) -> tuple[str | None, int]:
        """Return the file a row is in (None when the table is one), and its number there."""
        for name, n_rows in self.parts:
            if row < n_rows:
                return name, row
            row -= n_rows
        return None, row

    @classmethod
    def of(cls, frame: pd.DataFrame, source: str) -> Table:
        """Take a table in memory: its names become text, its named index becomes columns.

        Raises
        ------
        DataError
            Two columns have one name.
        """
        if any(name is not None for name in frame.index.names):
            frame = frame.reset_index(allow_duplicates=True)
        names = tuple(map(str, frame.columns))
        refuse_twice(source, names)
        return cls(names, {name: frame.iloc[:, place] for place, name in enumerate(names)}, len(frame))


class Form(StrEnum):
    """What a file is, told by how it begins, or by its name."""

    CSV = "CSV"
    EXCEL = "Excel"
    JSON = "JSON"
    PARQUET = "Parquet"


def read_file(path: Location, files: FileFormat, wanted: Collection[str] | None = None) -> Table:
    """Read a CSV into text columns; JSON lines, Excel or Parquet into typed ones.

    Parameters
    ----------
    path
        A file; a pattern such as ``parts/*.csv``, or a folder of Parquet files, for all of them in the order of their names.
    wanted
        The columns that are read, None for all.

    Raises
    ------
    DataError
        In one sentence what the file is instead, or which rows have more or fewer cells than the header.
    """
    with Refusals(path):
        parts = parts_of(path)
        read = [_read(part, files, wanted) for part in parts]
        names = _same_names(parts, [names for names, _ in read], files)
        if len(read) == 1:
            return _table(names, read[0][1])
        schema = _one_schema(parts, [part.schema for _, part in read])
        whole = pa.concat_tables([_fitted(part, schema) for _, part in read])
        return _table(names, whole)._replace(parts=tuple((str(part), len(rows)) for part, (_, rows) in zip(parts, read, strict=True)))


def read_batches(path: Location, files: FileFormat) -> Iterator[pa.RecordBatch]:
    """Yield what `read_file` would return in parts of bounded size, in the order of the file.

    Raises
    ------
    DataError
        As `read_file`.
    """
    with Refusals(path):
        parts = parts_of(path)
        if len(parts) == 1:
            yield from _batches(parts[0], files)
            return
        schemas = [_schema(part, files) for part in parts]
        _same_names(parts, [schema.names for schema in schemas], files)
        schema = _one_schema(parts, schemas)
        for part in parts:
            with Refusals(part):
                for batch in _batches(part, files):
                    yield from _fitted(pa.Table.from_batches([batch]), schema).to_batches()


def header(path: Location, files: FileFormat) -> list[str]:
    """Return the names of the columns of a file, or of all files of a table."""
    with Refusals(path):
        parts = parts_of(path)
        return _same_names(parts, [_schema(part, files).names for part in parts], files)


def _read(path: Location, files: FileFormat, wanted: Collection[str] | None) -> tuple[list[str], pa.Table]:
    """Return the names of all columns of one file, and the wanted columns (of Parquet all)."""
    with Refusals(path):
        match form_of(path, files):
            case Form.PARQUET:
                with path.open("rb") as file:
                    table = pq.read_table(path if isinstance(path, Path) else file)
                names = list(map(str, table.column_names))
                kept = [place for place, name in enumerate(names) if not name.startswith(_INDEX)]
                refuse_twice(str(path), [names[place] for place in kept])
                return [names[place] for place in kept], table.select(kept)
            case Form.JSON | Form.EXCEL as form:
                schema = typed_schema(path, files, form)
                refuse_nested(path, schema, wanted)
                chosen = pa.schema([field for field in schema if wanted is None or field.name in wanted] or [schema[0]])
                return schema.names, pa.Table.from_batches(typed_batches(path, files, chosen, form), chosen)
            case _:
                return read_csv(path, files, wanted)


def _schema(path: Location, files: FileFormat) -> pa.Schema:
    with Refusals(path):
        match form_of(path, files):
            case Form.PARQUET:
                with path.open("rb") as file:
                    return pa.schema([field for field in pq.read_schema(file) if not field.name.startswith(_INDEX)])
            case Form.JSON | Form.EXCEL as form:
                return typed_schema(path, files, form)
            case _:
                return pa.schema([(name, pa.string()) for name in csv_header(path, files)])


def _batches(path: Location, files: FileFormat) -> Iterator[pa.RecordBatch]:
    match form_of(path, files):
        case Form.PARQUET:
            yield from _parquet_batches(path)
        case Form.JSON | Form.EXCEL as form:
            yield from typed_batches(path, files, typed_schema(path, files, form), form)
        case _:
            yield from csv_batches(path, files)


def _same_names(parts: Sequence[Location], names: Sequence[Sequence[str]], files: FileFormat) -> list[str]:
    """Return the names of the columns of all parts, which must be the same; but in JSON what is absent is missing."""
    if len(parts) > 1 and len({form_of(part, files) for part in parts}) > 1:
        raise refused(parts[0], "one of several files that are of different kinds", "files of one kind")
    first = list(names[0])
    if len(parts) > 1 and form_of(parts[0], files) == Form.JSON:
        return list(dict.fromkeys(name for each in names for name in each))
    problems = [
        DataProblem(None, name, f"no such column in {parts[0] if name in others else part}", "the same columns in all files")
        for part, others in zip(parts, names, strict=True)
        for name in sorted({*first} ^ {*others})
    ]
    if problems:
        raise DataError(problems, str(parts[0]))
    return first


def _one_schema(parts: Sequence[Location], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return types that hold the values of all parts; whole numbers and numbers are numbers."""
    whole = schemas[0].remove_metadata()
    for part, schema in zip(parts, schemas, strict=True):
        for field in schema.remove_metadata():
            place = whole.get_field_index(field.name)
            if place < 0:
                whole = whole.append(field)
                continue
            if NESTED in (field.type, whole.field(place).type):
                whole = whole.set(place, pa.field(field.name, NESTED))
                continue
            try:
                one = pa.unify_schemas([pa.schema([whole.field(place)]), pa.schema([field])], promote_options="permissive")
            except pa.ArrowException as error:
                got = f"{field.type} in {part}"
                raise DataError(
                    [DataProblem(None, field.name, got, f"{whole.field(place).type}, as in the files before it")], str(part)
                ) from error
            whole = whole.set(place, one.field(0))
    return whole


def _fitted(part: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        _as(part.column(field.name), field.type) if field.name in part.column_names else pa.nulls(len(part), field.type) for field in schema
    ]
    return pa.table(columns, schema=schema)


def _as(cells: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return nested_of(cells.cast(pa.string()).combine_chunks()) if kind == NESTED != cells.type else cells.cast(kind)


def typed_schema(path: Location, files: FileFormat, form: Form) -> pa.Schema:
    """Return names and types of the columns of JSON or of an Excel file."""
    return excel_schema(path, files) if form == Form.EXCEL else json_schema(path, files)


def typed_batches(path: Location, files: FileFormat, schema: pa.Schema, form: Form) -> Iterator[pa.RecordBatch]:
    """Yield the columns of `schema` of JSON or of an Excel file in parts of bounded size."""
    return excel_batches(path, files, schema) if form == Form.EXCEL else json_batches(path, files, schema)


def form_of(path: Location, files: FileFormat = PLAIN) -> Form:
    """Return what a file is.

    Raises
    ------
    UnreadableTableError
        It is none that is read; the sentence says what it is instead.
    """
    with Refusals(path):
        form = _begins_as(path, files)
        if form in (Form.CSV, Form.JSON):
            refuse_other_files(path, first_bytes(path), files)
        return form


def is_typed(path: Location) -> bool:
    """Return whether the columns of a file have types of their own; a file that is none that is read is not refused here."""
    with Refusals(path):
        return _begins_as(path, PLAIN) != Form.CSV


def _begins_as(path: Location, files: FileFormat) -> Form:
    with path.open("rb") as file:
        is_parquet = file.read(len(_PARQUET)) == _PARQUET
    if is_parquet or path.suffix == ".parquet":
        return Form.PARQUET
    if is_excel(path):
        return Form.EXCEL
    return Form.JSON if begins_as_json(path, first_bytes(path), files) else Form.CSV


def first_bytes(path: Location) -> bytes:
    """Return the first 64 KiB of a file, unpacked where it is compressed."""
    return next(pieces(path, _LOOKED_AT), b"")


def pieces(path: Location, n_bytes: int = 1 << 20) -> Iterator[bytes]:
    """Yield all bytes of a file, so many at a time, unpacked where it is compressed."""
    with Refusals(path), open_unpacked(path) as content:
        while piece := content.read(n_bytes):
            yield piece


def _table(names: Sequence[str], read: pa.Table) -> Table:
    """Return the columns that were read: texts as cells, all else as pandas has it."""
    columns: dict[str, pa.ChunkedArray | pd.Series] = {}
    for name in names:
        place = read.column_names.index(name) if name in read.column_names else None
        if place is not None:
            cells = read.column(place)
            is_text = pa.types.is_string(cells.type)
            columns[name] = cells if is_text else cells.to_pandas(integer_object_nulls=True, date_as_object=True)
    return Table(tuple(names), columns, read.num_rows)


def _parquet_batches(path: Location) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as source, pq.ParquetFile(source) as file:
        kept = [name for name in file.schema_arrow.names if not name.startswith(_INDEX)]
        refuse_twice(str(path), kept)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=kept):
            yield pa.RecordBatch.from_arrays(list(map(_decoded, batch.columns)), names=batch.schema.names)


def _decoded(cells: pa.Array) -> pa.Array:
    """Return a column without a dictionary, and texts of a kind that all functions of Arrow take."""
    if isinstance(cells, pa.DictionaryArray):
        cells = cells.dictionary_decode()
    return cells.cast(pa.string()) if pa.types.is_string_view(cells.type) else cells
