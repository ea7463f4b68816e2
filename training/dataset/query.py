"""A query of a database to a table: read only, streamed; errors are the database's sentence, without the password."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote
from uuid import UUID

import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from training.dataset.files import Table
from training.dataset.refusals import refuse_twice
from training.errors import UnreadableTableError
from training.schema.sources import Query, has_password

PART_ROWS = 10_000
_CONNECT_SECONDS = 10
_Part: TypeAlias = pa.Array | list[Any]


def read_query(query: Query) -> Table:
    """Ask a database and return its answer: texts as cells, all else typed as the database has it.

    Raises
    ------
    DataError
        The database cannot be reached or refuses the question, or the answer is no table or names a column twice.
    """
    with _refusals(query), _connected(query) as connection, connection.exec_driver_sql(query.sql) as answer:
        names = list(map(str, answer.keys()))
        refuse_twice(str(query), names)
        parts: list[list[_Part]] = [[] for _ in names]
        n_rows = 0
        for rows in answer.partitions(PART_ROWS):
            n_rows += len(rows)
            for column, values in zip(parts, zip(*rows, strict=True), strict=True):
                column.append(_part(values))
    return Table(tuple(names), {name: _column(column) for name, column in zip(names, parts, strict=True)}, n_rows)


@contextmanager
def _refusals(query: Query) -> Iterator[None]:
    try:
        if has_password(query.url):
            raise UnreadableTableError("the database", "an address with a password", "one without: EVERGREEN_DATA_PASSWORD holds it")
        yield
    except ModuleNotFoundError as error:
        raise UnreadableTableError(str(query), f"its driver, the package {error.name}, is not installed") from error
    except (sa.exc.SQLAlchemyError, OSError, ValueError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
        text = str(cause) or type(cause).__name__
        raise UnreadableTableError(str(query), text.replace(query.password, "***") if query.password else text) from error


@contextmanager
def _connected(query: Query) -> Iterator[sa.Connection]:
    engine = _engine(query)
    try:
        with engine.connect() as connection:
            yield connection.execution_options(stream_results=True, max_row_buffer=PART_ROWS, no_parameters=True)
    finally:
        engine.dispose()


def _engine(query: Query) -> sa.Engine:
    """Make an engine that only reads; a SQLite file that is not there is not made."""
    address = sa.make_url(query.url)
    backend = address.get_backend_name()
    if backend == "sqlite":
        if not address.database or not Path(address.database).is_file():
            raise UnreadableTableError(str(query), "No such file or directory")
        file = f"file:{quote(address.database)}?mode=ro"
        return sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(file, uri=True), poolclass=NullPool)
    if query.password is not None:
        address = address.set(password=query.password)
    if backend not in ("postgresql", "postgres"):
        return sa.create_engine(address, poolclass=NullPool)
    settings = "-c timezone=UTC -c default_transaction_read_only=on"
    return sa.create_engine(
        address.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={"connect_timeout": _CONNECT_SECONDS, "options": settings},
    )


def _part(values: Sequence[Any]) -> _Part:
    plain = [str(value) if isinstance(value, UUID) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError):  # of several types, which SQLite allows, or too large for any
        return plain


def _column(parts: Sequence[_Part]) -> pa.ChunkedArray | pd.Series:
    """Join the parts of a column: typed where all have one type, else each value as it is."""
    kinds = {part.type if isinstance(part, pa.Array) else None for part in parts if not isinstance(part, pa.NullArray)}
    if len(kinds) > 1 or None in kinds:
        return pd.Series([value for part in parts for value in (part.to_pylist() if isinstance(part, pa.Array) else part)], dtype=object)
    kind = kinds.pop() if kinds else pa.string()
    whole = pa.chunked_array([part.cast(kind) for part in parts], kind)  # type: ignore[union-attr]
    return whole if pa.types.is_string(kind) else whole.to_pandas(integer_object_nulls=True, date_as_object=True)
