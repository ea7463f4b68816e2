"""One sheet of an Excel workbook as typed columns: dates are times, numbers numbers; a column whose values differ in kind is text."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import IO, Any

import pyarrow as pa

from training.dataset.locations import Location
from training.dataset.refusals import refuse_twice, refused
from training.dataset.unpacking import FREE_BYTES, MOST_RATIO, ZIP
from training.errors import DataError, DataProblem, EvergreenError
from training.schema.spellings import MOST_WHOLE, FileFormat

_WORKBOOK = "xl/workbook.xml"
_PART_ROWS = 1 << 14
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), datetime: pa.timestamp("us"), str: pa.string()}


def is_excel(path: Location) -> bool:
    """Return whether a file is an Excel workbook (.xlsx), by what is in it."""
    with path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            return False
        try:
            return _WORKBOOK in zipfile.ZipFile(file).namelist()
        except (zipfile.BadZipFile, ValueError, EOFError):
            return False


def excel_schema(path: Location, files: FileFormat) -> pa.Schema:
    """Return names and types of the columns of the sheet.

    Raises
    ------
    DataError
        The workbook is damaged, has several sheets of which none is named, or a column without a name; or a row is wider than the first.
    """
    kinds: dict[str, set[type]] = {}
    with _rows(path, files) as (names, rows):
        kinds = {name: set() for name in names}
        for row in rows:
            for seen, value in zip(kinds.values(), row, strict=True):
                if value is not None:
                    seen.add(_kind(value))
    return pa.schema([(name, _type_of(seen)) for name, seen in kinds.items()])


def excel_batches(path: Location, files: FileFormat, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the columns of `schema` in parts of bounded size; raises as `excel_schema`."""
    with _rows(path, files) as (names, rows):
        places = [names.index(field.name) for field in schema]
        part: list[list[Any]] = []
        for row in rows:
            part.append(row)
            if len(part) == _PART_ROWS:
                yield _batch(part, places, schema)
                part = []
        if part:
            yield _batch(part, places, schema)


def _batch(rows: list[list[Any]], places: list[int], schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([_text(row[place]) if pa.types.is_string(field.type) else row[place] for row in rows], field.type)
        for place, field in zip(places, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


@contextmanager
def _rows(path: Location, files: FileFormat) -> Iterator[tuple[list[str], Iterator[list[Any]]]]:
    """Open the sheet and give its names, and its rows that are not empty, each as wide as the names."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what openpyxl leaves out, such as validations and styles
        _refuse_bomb(path, file)
        try:
            sheet = _sheet(path, file, files)
            sheet.reset_dimensions()  # which some programs write wrong
            rows = (list(row) for row in sheet.iter_rows(values_only=True))
            filled = (row for row in rows if any(value is not None for value in row))
            names = _names(path, next(filled, []))
            yield names, _as_wide(path, filled, len(names))
        except (EvergreenError, OSError):
            raise
        except Exception as error:  # a damaged workbook is found in many ways
            raise refused(path, f"an Excel file that cannot be read ({type(error).__name__})") from error


def _refuse_bomb(path: Location, file: IO[bytes]) -> None:
    members = zipfile.ZipFile(file).infolist()
    if sum(member.file_size for member in members) > max(FREE_BYTES, MOST_RATIO * sum(member.compress_size for member in members)):
        raise refused(path, f"an Excel file that unpacks to more than {MOST_RATIO} times its size, as made to fill the memory")
    file.seek(0)


def _sheet(path: Location, file: IO[bytes], files: FileFormat) -> Any:
    from openpyxl import load_workbook  # a fifth of a second that only Excel files cost

    book = load_workbook(file, read_only=True, data_only=True)
    sheets = {sheet.title: sheet for sheet in book.worksheets if sheet.sheet_state == "visible" or sheet.title == files.sheet}
    got = f"an Excel file with the sheets {', '.join(map(repr, sheets))}"
    if files.sheet is None and len(sheets) != 1:
        raise refused(path, got, "one of them: write read: {sheet: its name}")
    if files.sheet is not None and files.sheet not in sheets:
        raise refused(path, got, f"the sheet {files.sheet!r}, as read: {{sheet:}} says")
    return sheets[files.sheet] if files.sheet is not None else next(iter(sheets.values()))


def _names(path: Location, header: list[Any]) -> list[str]:
    while header and header[-1] is None:
        header.pop()
    if not header:
        raise refused(path, "an empty sheet")
    names = [str(_text(value) or "") for value in header]
    refuse_twice(str(path), names)
    return names


def _as_wide(path: Location, rows: Iterator[list[Any]], width: int) -> Iterator[list[Any]]:
    for number, row in enumerate(rows):
        if any(value is not None for value in row[width:]):
            cause = "; does a title stand above the names?" if number == 0 else ""
            raise DataError([DataProblem(number, "", f"{len(row)} cells", f"{width}, as the first row has{cause}")], str(path))
        yield row[:width] + [None] * (width - len(row))


def _kind(value: object) -> type:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST_WHOLE:
        return str
    return next((kind for kind in _TYPES if type(value) is kind), str)


def _type_of(seen: set[type]) -> pa.DataType:
    if seen == {int, float}:
        return pa.float64()
    return _TYPES[next(iter(seen))] if len(seen) == 1 else pa.string()


def _text(value: object) -> str | None:
    """Write a value as the cell it would be in a CSV."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, (date, time)) else str(value)
