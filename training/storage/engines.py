"""SQLAlchemy engines with the settings we mean: SQLite in WAL with full synchronisation, PostgreSQL with short timeouts."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from training.errors import DatabaseUnavailableError

_STATEMENT_TIMEOUT_SECONDS = 60
_IDLE_TIMEOUT_SECONDS = 120


class DatabaseFile:
    """Know one SQLite file: make it privately, connect to it, notice that it vanished or was replaced.

    The file is never opened but by SQLite: closing any other descriptor of it would drop this process's locks on it.

    Parameters
    ----------
    path
        Absolute path of the database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None

    def make(self, *, may_exist: bool = True) -> None:
        """Make an empty file of mode 0600, in a folder of mode 0700, where there is none.

        Raises
        ------
        DatabaseUnavailableError
            It cannot be made.
        FileExistsError
            There is one and `may_exist` is false.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if not may_exist:
                raise
        except OSError as error:
            raise DatabaseUnavailableError(f"the database {self.path} cannot be made: {error.strerror}") from error

    @property
    def was_seen(self) -> bool:
        """Return whether the file has been there at any look."""
        return self._identity is not None

    def was_replaced(self) -> bool:
        """Look at the file; whether it is another one than at the last look.

        Raises
        ------
        DatabaseUnavailableError
            There is no file.
        """
        identity = self._look()
        if identity is None:
            raise DatabaseUnavailableError(f"the database {self.path} is not there")
        was, self._identity = self._identity, identity
        return was is not None and was != identity

    def is_unchanged(self) -> bool:
        """Return whether the file is there and is the one seen at the last look."""
        return self._identity is not None and self._look() == self._identity

    def connect(self, busy_seconds: float, *, writes: bool) -> sqlite3.Connection:
        """Connect to the file, which must be there; a reader can neither write nor checkpoint."""
        mode = "rw" if writes else "ro"
        address = f"file:{quote(str(self.path))}?mode={mode}"
        connection = sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _pragmas(writes=writes):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def connect_for_copy(self) -> Iterator[sqlite3.Connection]:
        """Connect to a fresh file as the target of SQLite's own backup."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatabaseUnavailableError(f"the database {self.path} cannot be reached: {error.strerror}") from error
        return status.st_dev, status.st_ino


def _pragmas(*, writes: bool) -> tuple[str, ...]:
    common = ("foreign_keys=ON", "trusted_schema=OFF", "mmap_size=0")
    if writes:
        return (*common, "journal_mode=WAL", "synchronous=FULL")
    return (*common, "query_only=ON", "wal_autocheckpoint=0")


def sqlite_engine(file: DatabaseFile, busy_seconds: float, *, writes: bool) -> sa.Engine:
    """Make an engine over a SQLite file: one writing connection, or a few reading ones.

    Transactions begin when we say so (`BEGIN IMMEDIATE` for writers), not when the driver guesses.
    """
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: file.connect(busy_seconds, writes=writes),
        poolclass=QueuePool,
        pool_size=1 if writes else 4,
        max_overflow=0 if writes else 12,
        pool_timeout=busy_seconds,
    )
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def postgresql_engine(address: sa.URL, lock_seconds: float) -> sa.Engine:
    """Make an engine over PostgreSQL that finds out soon when the server is gone and never hangs on a lock."""
    options = {
        "statement_timeout": f"{_STATEMENT_TIMEOUT_SECONDS}s",
        "lock_timeout": f"{int(lock_seconds * 1000)}ms",
        "idle_in_transaction_session_timeout": f"{_IDLE_TIMEOUT_SECONDS}s",
        "timezone": "UTC",
    }
    return sa.create_engine(
        address.set(drivername="postgresql+psycopg"),
        pool_size=4,
        max_overflow=12,
        pool_timeout=lock_seconds,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 2, "options": " ".join(f"-c {name}={value}" for name, value in options.items())},
    )
