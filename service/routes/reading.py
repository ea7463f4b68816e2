"""Which reader reads which content type; and columns, once read, judged by the schema of the version that answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Request

from service.codecs.arrow import columns_known_to, from_arrow, from_parquet
from service.codecs.json_bodies import MAX_DEPTH, parse_json
from service.codecs.parquet_process import ParquetProcess
from service.codecs.tables import SentTable, from_csv
from service.columns.reader import ColumnReader, Table
from service.web.bodies import ARROW, CSV, JSON, PARQUET, body_of
from training.schema.schema import Schema

MOST_READERS = 2


class Readers:
    """How many threads of a worker read, check and explain bodies at a time; a context that they enter.

    Notes
    -----
    More of them would not be sooner: they all want the interpreter, and so does the loop. What the loop itself answers, in the main
    thread, is short and waits for nobody.

    Examples
    --------
    >>> readers = Readers()
    >>> with readers:
    ...     readers.waiting
    0
    """

    def __init__(self, most: int = MOST_READERS) -> None:
        self._places = threading.Semaphore(most)
        self._count = threading.Lock()
        self.waiting = 0

    def __enter__(self) -> None:
        if _is_main_thread() or self._places.acquire(blocking=False):
            return
        with self._count:
            self.waiting += 1
        try:
            self._places.acquire()
        finally:
            with self._count:
                self.waiting -= 1

    def __exit__(self, *_: object) -> None:
        if not _is_main_thread():
            self._places.release()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let others read while another process reads for this thread."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


def _is_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may bring: bytes as sent and when decompressed (None: the same), rows, nesting of JSON; who reads it.

    The longest text is a limit of `service.columns.reader.ColumnReader`.
    """

    max_bytes: int
    max_rows: int
    max_depth: int = MAX_DEPTH
    max_decompressed_bytes: int | None = None
    readers: Readers = field(default_factory=Readers)
    parquet: ParquetProcess = field(default_factory=ParquetProcess)

    def body(self, request: Request) -> bytes:
        """Return the body of a request, decompressed; errors as `service.web.bodies.body_of`."""
        return body_of(request, self.max_bytes, self.max_decompressed_bytes)

    def json(self, body: bytes) -> Any:
        """Read JSON; errors as `service.codecs.json_bodies.parse_json`."""
        return parse_json(body, self.max_depth)

    def rows_of(self, schema: Schema) -> int:
        """Return the most rows of a schema: where it is very wide they are fewer, since a value takes two bytes of a body or more.

        Examples
        --------
        >>> from training.schema.feature import Feature
        >>> wide = Schema(tuple(Feature(f"x{n}", "numeric") for n in range(1000)), target="y", task="regression")
        >>> Limits(max_bytes=64_000_000, max_rows=100_000).rows_of(wide)
        32000
        """
        most = (self.max_decompressed_bytes or self.max_bytes) // 2 // len(schema.features)
        return self.max_rows if most >= self.max_rows else max(1, most)


def read_encoded(kind: str, body: bytes, schema: Schema, limits: Limits) -> SentTable | None:
    """Read a table by its content type; None when that is none of CSV, Arrow and Parquet."""
    if kind == JSON:
        return None
    max_rows = limits.rows_of(schema)
    if kind == CSV:
        return from_csv(body, schema, max_rows)
    if kind == ARROW:
        return from_arrow(body, schema, max_rows)
    if kind != PARQUET:
        return None
    with limits.readers.away():
        file = limits.parquet.read(body, columns_known_to(schema), max_rows, limits.max_decompressed_bytes or limits.max_bytes)
    return from_parquet(file, schema, max_rows)


def judge(reader: ColumnReader, sent: SentTable | list[Any], *, was_tried: bool = False) -> Table:
    """Validate columns, or rows as objects; InvalidRowsError names every bad value. `was_tried` is that of `ColumnReader.read`."""
    return reader.read_columns(sent.columns, sent.n_rows) if isinstance(sent, SentTable) else reader.read(sent, was_tried=was_tried)
