"""Tables on disk, a piece at a time: read as they stand, written aside and put in place when whole."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from monitoring.errors import InputError
from training.dataset.csv_files import refuse_other_delimiter
from training.dataset.files import Form, form_of, typed_batches, typed_schema
from training.dataset.json_lines import NESTED, refuse_nested
from training.dataset.unpacking import open_for_arrow
from training.errors import DataError
from training.schema.spellings import PLAIN, FileFormat

PIECE_ROWS = 1 << 16
BLOCK_BYTES = 1 << 22
KINDS = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_AT_ONCE = 1 << 12
_WRITTEN_AS_JSON = {b"written": b"json"}
_WIDTH = re.compile(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)")
_SPECIAL = '[",\r\n]'


class TableFile:
    """A CSV, JSON lines, Excel or Parquet file whose pieces are read one after the other.

    The cells of a CSV are text, as they stand there; the columns of the others have their types; lists and objects of JSON are text.

    Parameters
    ----------
    files
        How a CSV is written.
    wanted
        The columns that may have no lists or objects.

    Raises
    ------
    InputError
        It is none of these, or a name occurs twice.
    """

    def __init__(self, path: Path, files: FileFormat = PLAIN, wanted: Collection[str] = ()) -> None:
        path.open("rb").close()  # the library's words for a file that is not there are its own
        self.path, self.files = path, files
        self.count: int | None = None
        with self._readable("table"):
            self._form = form_of(path, files)
        with self._readable(self._form):
            match self._form:
                case Form.PARQUET:
                    with pq.ParquetFile(path) as file:
                        self.schema, self.count = file.schema_arrow, file.metadata.num_rows
                case Form.JSON | Form.EXCEL:
                    self._typed = typed_schema(path, files, self._form)
                    refuse_nested(path, self._typed, wanted)
                    self.schema = pa.schema(list(map(_plain_field, self._typed)))
                case Form.CSV:
                    with open_for_arrow(path) as content, pacsv.open_csv(content, self._read_options(), self._parse_options()) as first:
                        self.schema = pa.schema([(name, pa.string()) for name in first.schema.names])
                    refuse_other_delimiter(path, self.schema.names, files, wanted or None)
        self.is_csv = self._form == Form.CSV
        twice = [name for name, times in Counter(self.schema.names).items() if times > 1]
        if twice:
            raise InputError(f"{path}: two columns are called {twice[0]!r}")

    def pieces(self) -> Iterator[pa.Table]:
        """Read the rows in their order, at most some ten thousand at a time; none is empty."""
        with self._readable(self._form), self._opened() as batches:
            for batch in batches:
                if batch.num_rows:
                    yield pa.Table.from_batches([batch], self.schema)

    @contextmanager
    def _opened(self) -> Iterator[Iterator[pa.RecordBatch]]:
        if self.is_csv:
            types = pacsv.ConvertOptions(column_types=self.schema, strings_can_be_null=False)
            with (
                open_for_arrow(self.path) as content,
                pacsv.open_csv(content, self._read_options(), self._parse_options(), types) as reader,
            ):
                yield iter(reader)
        elif self._form in (Form.JSON, Form.EXCEL):
            batches = typed_batches(self.path, self.files, self._typed, self._form)
            yield (pa.RecordBatch.from_arrays(list(map(_plain, batch.columns)), schema=self.schema) for batch in batches)
        else:
            with pq.ParquetFile(self.path, buffer_size=BLOCK_BYTES, pre_buffer=False) as file:
                yield file.iter_batches(PIECE_ROWS)

    def _read_options(self) -> pacsv.ReadOptions:
        """Return how bytes are read: by one thread, so that a line that is refused has its number."""
        return pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False, encoding=self.files.encoding)

    def _parse_options(self) -> pacsv.ParseOptions:
        return pacsv.ParseOptions(delimiter=self.files.delimiter, quote_char=self.files.quote, newlines_in_values=True)

    @contextmanager
    def _readable(self, form: str) -> Iterator[None]:
        """Turn what the library says, which may hold what is in the file, into a sentence that does not."""
        try:
            yield
        except DataError as error:
            raise InputError(str(error)) from error
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the file's
                raise
            width = _WIDTH.search(str(error))
            if width is None:
                likely = "not UTF-8 text: save it as that" if "UTF8" in str(error) else "empty, cut off, or another kind of file"
                raise InputError(f"{self.path} cannot be read as {form}: it is {likely}") from error
            row, wanted, got = width.groups()
            where = "a line" if row is None else f"line {row}"
            raise InputError(f"{self.path}: {where} has {got} cells, the header {wanted}") from error


class Sink(Protocol):
    """What takes pieces of a table."""

    def write(self, piece: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """End the file."""


class TableOut(AbstractContextManager["TableOut"]):
    """Write pieces to a file beside `path`; leaving the `with` puts it in place, an error or Ctrl-C leaves nothing.

    Raises
    ------
    InputError
        The name ends in nothing we write, or its folder is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.name.endswith(KINDS):
            raise InputError(f"{path} should end in {', '.join(KINDS[:-1])} or {KINDS[-1]}, which says how it is written")
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent}")
        self._path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._sink: Sink | None = None

    def write(self, piece: pa.Table) -> None:
        """Append rows; the first ones say which columns there are."""
        if self._sink is None:
            self._sink = _sink_of(self._path, self._aside, piece)
        self._sink.write(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._sink is not None:
                self._sink.close()
                if kind is None:
                    _sync(self._aside)
                    self._aside.replace(self._path)
        finally:
            self._aside.unlink(missing_ok=True)


class _ParquetSink:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema)

    def write(self, piece: pa.Table) -> None:
        self._writer.write_table(piece)

    def close(self) -> None:
        self._writer.close()


def _sink_of(path: Path, aside: Path, first: pa.Table) -> Sink:
    if path.suffix == ".parquet":
        return _ParquetSink(aside, first.schema)
    is_zipped = path.suffix == ".gz"
    lines = _opened_for_lines(aside, is_zipped)
    return _CsvSink(lines) if path.name.endswith((".csv", ".csv.gz")) else _JsonSink(lines)


def _opened_for_lines(path: Path, is_zipped: bool) -> Any:
    return gzip.open(path, "wb", compresslevel=6) if is_zipped else path.open("wb")


class _JsonSink:
    """An object a line: what JSON has no kind for, such as a time, becomes text, and a number that is not finite null."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._encoder = msgspec.json.Encoder(enc_hook=_as_text, decimal_format="number")

    def write(self, piece: pa.Table) -> None:
        raw = [field.name for field in piece.schema if field.metadata == _WRITTEN_AS_JSON]
        for start in range(0, piece.num_rows, _AT_ONCE):
            rows = piece.slice(start, _AT_ONCE).to_pylist()
            for name in raw:
                for row in rows:
                    row[name] = None if row[name] is None else msgspec.Raw(row[name].encode())
            self._lines.write(self._encoder.encode_lines(rows))

    def close(self) -> None:
        self._lines.close()


class _CsvSink:
    """Lines as `csv_lines` writes them: the library's own writer puts every text in quotes."""

    def __init__(self, lines: Any) -> None:
        self._file = lines
        self._has_header = False

    def write(self, piece: pa.Table) -> None:
        if not self._has_header:
            names = pa.table([pa.array([name]) for name in piece.column_names], names=piece.column_names)
            self._file.write(csv_lines(names))
            self._has_header = True
        self._file.write(csv_lines(piece))

    def close(self) -> None:
        self._file.close()


def csv_lines(piece: pa.Table) -> memoryview | bytes:
    """Write rows as lines of CSV: a cell is quoted where it must be, a missing one is empty.

    Examples
    --------
    >>> print(bytes(csv_lines(pa.table({"a": ["x", "y,z", None], "b": [1.5, None, 1e20]}))).decode(), end="")
    x,1.5
    "y,z",
    ,1e+20
    """
    cells = [_quoted(_text(column.combine_chunks())) for column in piece.columns]
    lines = pc.binary_join_element_wise(*cells, ",", null_handling="replace", null_replacement="")
    ended = pc.binary_join_element_wise(lines, "\n", "")
    whole = ended if isinstance(ended, pa.Array) else ended.combine_chunks()
    content = whole.buffers()[2]
    return b"" if content is None else memoryview(content)[: pc.sum(pc.binary_length(whole)).as_py()]


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.string(), metadata=_WRITTEN_AS_JSON) if field.type == NESTED else field


def _plain(column: Any) -> Any:
    return pc.struct_field(column, NESTED[0].name) if column.type == NESTED else column


def _text(column: Any) -> Any:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.cast(kind.value_type))
    if pa.types.is_nested(kind):
        return pa.array([None if v is None else json.dumps(v, default=str, ensure_ascii=False) for v in column.to_pylist()], pa.string())
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        return pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())


def _quoted(text: Any) -> Any:
    special = pc.match_substring_regex(text, _SPECIAL)
    if not pc.any(special).as_py():
        return text
    inner = pc.replace_substring(text, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', inner, '"', ""), text)


def with_columns(piece: pa.Table, added: Mapping[str, Any]) -> pa.Table:
    """Return a piece with columns added at its right."""
    for name, values in added.items():
        piece = piece.append_column(name, values)
    return piece


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
