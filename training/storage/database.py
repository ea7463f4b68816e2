"""The one place where engines are made: one database for registry, prediction log and journal, on SQLite or PostgreSQL.

Open it after the fork. On SQLite every write transaction and every checkpoint of every process happens under one lock
(`<db>.lock`): the automatic checkpoint runs inside COMMIT, so COMMIT is inside the lock too, and readers never checkpoint.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from training.errors import DatabaseDamagedError, DatabaseUnavailableError
from training.storage.engines import DatabaseFile, postgresql_engine, sqlite_engine
from training.storage.migrations import Migration, bring_to, refuse_newer, version_of, versions_in
from training.storage.write_lock import WriteLock

logger = logging.getLogger(__name__)

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGED_STATES = ("XX001", "XX002")  # PostgreSQL: data_corrupted, index_corrupted
_LOOK_BUSY_SECONDS = 5.0
_STEPS_BETWEEN_LOOKS = 1_000  # of SQLite's virtual machine: well below a millisecond


class Database:
    """Hand out read and write transactions; made by `open_database`, once a process, after the fork.

    Attributes
    ----------
    url
        As given to `open_database`.
    dialect
        ``sqlite`` or ``postgresql``.
    engine
        For reading; write through `write`, which holds the lock.
    """

    def __init__(
        self,
        *,
        url: str,
        reader: sa.Engine,
        writer: sa.Engine,
        lock: WriteLock | None,
        file: DatabaseFile | None,
        create: bool,
        on_damage: Callable[[str], object],
    ) -> None:
        self.url = url
        self.dialect: Literal["sqlite", "postgresql"] = "sqlite" if reader.dialect.name == "sqlite" else "postgresql"
        self.engine = reader
        self._writer = writer
        self._lock = lock
        self._file = file
        self._create = create
        self._on_damage = on_damage
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
        component
            Whose tables: `registry`, `log` or `journal`.
        metadata
            The tables at `version`.
        version
            The schema version this code knows, counted from 1.
        migrations
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
                present = version_of(connection, component)
            if present != version:
                with self.write() as connection:
                    bring_to(connection, component, metadata, version, migrations or {})
            self._prepared.add((component, version))

    def schema_versions(self) -> dict[str, int]:
        """Return the versions of the tables of all components, by its name; nothing where there is no database yet.

        Raises
        ------
        DatabaseUnavailableError
            As for `read`.
        """
        if self._file is not None and not self._file.was_seen and self.missing_file is not None:
            return {}
        with self.read() as connection:
            return versions_in(connection)

    def refuse_newer(self, known: Mapping[str, int]) -> None:
        """Refuse a database in which a newer Evergreen has migrated any component, before a single table of it is touched.

        Parameters
        ----------
        known
            The versions this code knows, by component.

        Raises
        ------
        SchemaVersionError
            It has.
        DatabaseUnavailableError
            As for `read`.
        """
        refuse_newer(self.schema_versions(), known)

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

    def find_damage(self, *, is_stopping: Callable[[], bool] = lambda: False) -> str | None:
        """Look through a whole SQLite file; on PostgreSQL there is nothing to do.

        Parameters
        ----------
        is_stopping
            Asked again and again: the look ends as soon as it is true.

        Returns
        -------
        The first thing that is wrong; None when nothing is, as far as it was looked.

        Raises
        ------
        DatabaseUnavailableError
            As for `read`.
        """
        self._check()
        if self._file is None:
            return None
        try:
            with closing(
                self._file.connect(_LOOK_BUSY_SECONDS, writes=False)
            ) as connection:  # its own: it must trust no page it read before
                connection.set_progress_handler(is_stopping, _STEPS_BETWEEN_LOOKS)
                answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return str(error)
            if is_stopping():
                return None
            raise DatabaseUnavailableError(f"the database cannot be used: {error}") from error
        return None if answer == "ok" else " ".join(str(answer).split())

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
        except PoolTimeoutError as error:
            raise DatabaseUnavailableError(f"the database cannot be used: {_cause(error)}") from error
        except DBAPIError as error:
            if is_damage(error.orig):
                damage = f"the database is damaged: {_cause(error)}"
                self._on_damage(damage)
                raise DatabaseDamagedError(damage) from error
            if isinstance(error, OperationalError | InterfaceError):
                raise DatabaseUnavailableError(f"the database cannot be used: {_cause(error)}") from error
            if error.connection_invalidated or type(error) is sa.exc.DatabaseError:
                raise DatabaseUnavailableError(f"the database cannot be used: {_cause(error)}") from error
            raise


def open_database(
    url: str, *, lock_timeout_seconds: float = 5.0, create: bool = True, on_damage: Callable[[str], object] = lambda _: None
) -> Database:
    """Make the engines for a database; it is not touched before the first `prepare`, `read` or `write`.

    Parameters
    ----------
    url
        `sqlite:////absolute/evergreen.db`, `sqlite:///relative.db` or `postgresql://user@host/name`.
    lock_timeout_seconds
        How long a write waits for other writers, in seconds.
    create
        Whether the first `prepare` may make a SQLite file that is not there; a file that vanishes later is never made again.
    on_damage
        Called with a sentence whenever a use shows that the content of the database is broken.

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
        return Database(url=url, reader=engine, writer=engine, lock=None, file=None, create=create, on_damage=on_damage)
    if backend != "sqlite" or address.database in (None, "", ":memory:"):
        raise DatabaseUnavailableError(
            f"the database must be a SQLite file or PostgreSQL, got {address.render_as_string(hide_password=True)!r}"
        )
    file = DatabaseFile(Path(str(address.database)).absolute())
    lock = WriteLock(file.path.with_name(file.path.name + ".lock"), lock_timeout_seconds)
    reader = sqlite_engine(file, lock_timeout_seconds, writes=False)
    writer = sqlite_engine(file, lock_timeout_seconds, writes=True)
    return Database(url=url, reader=reader, writer=writer, lock=lock, file=file, create=create, on_damage=on_damage)


def is_damage(error: BaseException | None) -> bool:
    """Return whether a driver's error says that the content of the database is broken, and not only out of reach.

    Examples
    --------
    >>> error = sqlite3.DatabaseError("database disk image is malformed")
    >>> error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    >>> is_damage(error), is_damage(sqlite3.OperationalError("database is locked"))
    (True, False)
    """
    code = getattr(error, "sqlite_errorcode", None)
    return (code is not None and code & 0xFF in _DAMAGED) or getattr(error, "sqlstate", None) in _DAMAGED_STATES


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
    values
        One row or several, column to value.
    index_elements
        The columns of the unique key.
    set_
        Column to value or expression; the value that was to be inserted is `sa.literal_column("excluded.<column>")`.

    Returns
    -------
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


def server_clock(connection: sa.Connection) -> datetime | None:
    """Return what time it is by the database's own clock; None for SQLite, which has but the machine's."""
    return None if connection.dialect.name == "sqlite" else connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()


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
