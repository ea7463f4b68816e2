"""The one place where engines are made: one database for registry, prediction log and journal, on SQLite or PostgreSQL.

Open it after the fork. On SQLite every write transaction and every checkpoint of every process happens under one lock
(`<db>.lock`): the automatic checkpoint runs inside COMMIT, so COMMIT is inside the lock too, and readers never checkpoint.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from training.engines import DatabaseFile, postgresql_engine, sqlite_engine, warn_of_old_sqlite
from training.errors import DatabaseUnavailableError
from training.schema_versions import Migration, bring_to, version_of
from training.write_lock import WriteLock

logger = logging.getLogger(__name__)


class Database:
    """Hand out read and write transactions; made by `open_database`, once a process, after the fork.

    Attributes
    ----------
    url : str
        As given to `open_database`.
    dialect : {"sqlite", "postgresql"}
    engine : sqlalchemy.Engine
        For reading; write through `write`, which holds the lock.
    """

    def __init__(
        self, url: str, reader: sa.Engine, writer: sa.Engine, lock: WriteLock | None, file: DatabaseFile | None, create: bool
    ) -> None:
        self.url = url
        self.dialect: Literal["sqlite", "postgresql"] = "sqlite" if reader.dialect.name == "sqlite" else "postgresql"
        self.engine = reader
        self._writer = writer
        self._lock = lock
        self._file = file
        self._create = create
        self._process = os.getpid()
        self._prepared: set[tuple[str, int]] = set()
        self._preparing = threading.Lock()

    @property
    def missing_file(self) -> Path | None:
        """Where the SQLite file should be and is not; None when it is there, or on PostgreSQL."""
        return None if self._file is None or self._file.path.exists() else self._file.path

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a read transaction: one consistent view for the body of the `with`.

        Raises
        ------
        DatabaseUnavailableError
            The database is gone, unreadable, or too busy.
        """
        self._check()
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a write transaction: committed when the body ends, rolled back when it raises.

        Raises
        ------
        DatabaseUnavailableError
            The database is gone, read-only, full, or somebody held the write lock too long. Nothing was written, unless the
            connection to a PostgreSQL server broke during the commit itself.
        """
        self._check()
        with self._locked(), self._translated(), self._writer.connect() as connection, connection.begin():
            yield connection

    def prepare(self, component: str, metadata: sa.MetaData, version: int, migrations: Mapping[int, Migration] | None = None) -> None:
        """Make a component's tables, or bring those that are there to `version`, one step at a time; cheap when done before.

        Parameters
        ----------
        component : str
            Whose tables: `registry`, `log` or `journal`.
        metadata : sqlalchemy.MetaData
            The tables at `version`.
        version : int
            The schema version this code knows, counted from 1.
        migrations : mapping of int to callable, optional
            `migrations[n]` brings the tables from version n - 1 to n within the transaction it is given.

        Raises
        ------
        SchemaVersionError
            The tables were made by a newer Evergreen, or a migration step is missing.
        DatabaseUnavailableError
            As for `write`.
        """
        if (component, version) in self._prepared and (self._file is None or self._file.is_unchanged()):
            return
        with self._preparing:
            if self._file is not None and self._create and not self._file.was_seen:
                self._file.make()
            with self.read() as connection:
                found = version_of(connection, component)
            if found != version:
                with self.write() as connection:
                    bring_to(connection, component, metadata, version, migrations or {})
            self._prepared.add((component, version))

    def back_up(self, target: Path) -> None:
        """Copy the whole SQLite database, as of one moment and while others write, to a file that does not exist yet.

        Raises
        ------
        FileExistsError
            There is a file at `target`.
        DatabaseUnavailableError
            As for `read`, or the database is a PostgreSQL server (use `pg_dump`).
        """
        if self.dialect != "sqlite":
            raise DatabaseUnavailableError("a PostgreSQL database is backed up with pg_dump, not by Evergreen")
        copy = DatabaseFile(target)
        copy.make(may_exist=False)
        with self.read() as connection:
            source: Any = connection.connection.dbapi_connection
            with copy.connect_for_copy() as destination:
                source.backup(destination)

    def close(self) -> None:
        """Checkpoint under the lock and give every connection back; the object is not usable afterwards."""
        if os.getpid() != self._process:
            return
        try:
            with self._locked():
                self.engine.dispose()
                self._checkpoint()
                self._writer.dispose()
        except DatabaseUnavailableError:
            self.engine.dispose()
            self._writer.dispose()

    def _checkpoint(self) -> None:
        if self._file is None or not self._file.is_unchanged():
            return
        with self._translated(), self._writer.connect() as connection:
            cursor: Any = connection.connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.close()

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise DatabaseUnavailableError(
                f"the database was opened in process {self._process}, before the fork: open it in process {os.getpid()}"
            )
        if self._file is not None and self._file.was_replaced():
            logger.warning("the database file %s is another one now: connecting again", self._file.path)
            self.engine.dispose()
            self._writer.dispose()
            self._prepared.clear()

    def _locked(self) -> AbstractContextManager[None]:
        return nullcontext() if self._lock is None else _as_unavailable(self._lock)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise DatabaseUnavailableError(f"the database cannot be used: {_cause(error)}") from error
        except DBAPIError as error:
            if error.connection_invalidated or type(error) is sa.exc.DatabaseError:
                raise DatabaseUnavailableError(f"the database cannot be used: {_cause(error)}") from error
            raise


def open_database(url: str, *, lock_timeout_seconds: float = 5.0, create: bool = True) -> Database:
    """Make the engines for a database; it is not touched before the first `prepare`, `read` or `write`.

    Parameters
    ----------
    url : str
        `sqlite:////absolute/evergreen.db`, `sqlite:///relative.db` or `postgresql://user@host/name`.
    lock_timeout_seconds : float
        How long a write waits for other writers, in seconds.
    create : bool
        Whether the first `prepare` may make a SQLite file that is not there; a file that vanishes later is never made again.

    Raises
    ------
    DatabaseUnavailableError
        The URL names neither a SQLite file nor a PostgreSQL database.

    Examples
    --------
    >>> import tempfile
    >>> database = open_database(f"sqlite:///{tempfile.mkdtemp()}/evergreen.db")
    >>> database.prepare("example", sa.MetaData(), version=1)
    >>> with database.read() as connection:
    ...     connection.scalar(sa.select(sa.literal(42)))
    42
    >>> database.close()
    """
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise DatabaseUnavailableError("the database URL cannot be read: got no sqlite:/// or postgresql:// address") from error
    backend = address.get_backend_name()
    if backend == "postgresql":
        engine = postgresql_engine(address, lock_timeout_seconds)
        return Database(url, engine, engine, None, None, create)
    if backend != "sqlite" or address.database in (None, "", ":memory:"):
        raise DatabaseUnavailableError(
            f"the database must be a SQLite file or PostgreSQL, got {address.render_as_string(hide_password=True)!r}"
        )
    warn_of_old_sqlite()
    file = DatabaseFile(Path(str(address.database)).absolute())
    lock = WriteLock(file.path.with_name(file.path.name + ".lock"), lock_timeout_seconds)
    reader = sqlite_engine(file, lock_timeout_seconds, writes=False)
    return Database(url, reader, sqlite_engine(file, lock_timeout_seconds, writes=True), lock, file, create)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    index_elements: Sequence[str],
    set_: Mapping[str, Any] | None,
) -> int:
    """Insert rows; where the key is there already, set `set_` instead, or nothing when it is None.

    Parameters
    ----------
    values : mapping or sequence of mappings
        One row or several, column to value.
    index_elements : sequence of str
        The columns of the unique key.
    set_ : mapping or None
        Column to value or expression; the value that was to be inserted is `sa.literal_column("excluded.<column>")`.

    Returns
    -------
    int
        How many rows were written.
    """
    insert: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    rows = [dict(values)] if isinstance(values, Mapping) else [dict(row) for row in values]
    if not rows:
        return 0
    keys = list(index_elements)
    statement = (
        insert.on_conflict_do_nothing(index_elements=keys)
        if set_ is None
        else insert.on_conflict_do_update(index_elements=keys, set_=dict(set_))
    )
    return int(connection.execute(statement, rows, execution_options={"preserve_rowcount": True}).rowcount)


@contextmanager
def _as_unavailable(lock: WriteLock) -> Iterator[None]:
    """Hold the lock; failures to get it are the database's, failures of the body stay what they are."""
    holding = lock.hold()
    try:
        holding.__enter__()
    except OSError as error:
        raise DatabaseUnavailableError(f"the database cannot be written: {error}") from error
    try:
        yield
    finally:
        holding.__exit__(None, None, None)


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
