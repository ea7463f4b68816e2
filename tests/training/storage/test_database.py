import os
import signal
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.patience import PATIENCE_SECONDS, until
from tests.processes import PROCESSES
from training.errors import DatabaseUnavailableError, SchemaVersionError
from training.storage.database import Database, open_database, upsert
from training.storage.write_lock import WriteLock

METADATA = sa.MetaData()
NOTES = sa.Table("notes", METADATA, sa.Column("name", sa.String(32), primary_key=True), sa.Column("number", sa.BigInteger))


def count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(NOTES)) or 0)


def write_and_fail(database: Database) -> None:
    with database.write() as connection:
        connection.execute(NOTES.insert().values(name="a", number=1))
        raise ZeroDivisionError


def add_one_hundred(url: str) -> None:
    database = open_database(url, lock_timeout_seconds=PATIENCE_SECONDS)
    for _ in range(100):
        with database.write() as connection:
            connection.execute(NOTES.update().values(number=NOTES.c.number + 1))
    database.close()


def write_for_ever(url: str, acknowledged: str) -> None:
    database = open_database(url, lock_timeout_seconds=PATIENCE_SECONDS)
    with open(acknowledged, "a", buffering=1) as file:
        for number in range(1_000_000):
            with database.write() as connection:
                connection.execute(NOTES.insert().values(name=f"{os.getpid()}-{number}", number=number))
            file.write(f"{os.getpid()}-{number}\n")


def test_what_is_written_is_read_by_another_opening(database: Database, database_url: str) -> None:
    database.prepare("notes", METADATA, version=1)
    with database.write() as connection:
        connection.execute(NOTES.insert().values(name="a", number=2**62))
    database.close()

    again = open_database(database_url)
    again.prepare("notes", METADATA, version=1)
    with again.read() as connection:
        number = connection.scalar(sa.select(NOTES.c.number))
    again.close()

    assert number == 2**62


def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    database.prepare("notes", METADATA, version=1)

    with pytest.raises(ZeroDivisionError):
        write_and_fail(database)

    assert count(database) == 0


def test_a_reader_cannot_write_to_sqlite(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)

    with pytest.raises(DatabaseUnavailableError, match="readonly"), database.read() as connection:
        connection.execute(NOTES.insert().values(name="a", number=1))

    database.close()


def test_an_upsert_changes_the_row_that_is_there(database: Database) -> None:
    database.prepare("notes", METADATA, version=1)

    with database.write() as connection:
        upsert(connection, NOTES, {"name": "a", "number": 1}, ["name"], {"number": 1})
        upsert(connection, NOTES, [{"name": "a", "number": 5}], ["name"], {"number": NOTES.c.number + 5})
        ignored = upsert(connection, NOTES, {"name": "a", "number": 9}, ["name"], None)
    with database.read() as connection:
        number = connection.scalar(sa.select(NOTES.c.number))

    assert (number, ignored) == (6, 0)


def test_tables_are_migrated_step_by_step(database: Database, database_url: str) -> None:
    database.prepare("notes", METADATA, version=1)
    steps: list[int] = []
    again = open_database(database_url)

    again.prepare("notes", METADATA, version=3, migrations={2: lambda _: steps.append(2), 3: lambda _: steps.append(3)})
    again.prepare("notes", METADATA, version=3, migrations={2: lambda _: steps.append(2), 3: lambda _: steps.append(3)})
    again.close()

    assert steps == [2, 3]


def test_tables_of_a_newer_evergreen_are_refused_with_a_sentence(database: Database, database_url: str) -> None:
    database.prepare("notes", METADATA, version=7)
    older = open_database(database_url)

    with pytest.raises(SchemaVersionError, match=r"notes tables are at version 7, .* up to version 1: upgrade Evergreen"):
        older.prepare("notes", METADATA, version=1)

    older.close()


def test_a_missing_migration_is_refused_with_a_sentence(database: Database, database_url: str) -> None:
    database.prepare("notes", METADATA, version=1)
    newer = open_database(database_url)

    with pytest.raises(SchemaVersionError, match="no step to 2"):
        newer.prepare("notes", METADATA, version=2)

    newer.close()


def test_processes_that_prepare_and_write_at_once_lose_no_update(database: Database, database_url: str) -> None:
    database.prepare("notes", METADATA, version=1)
    with database.write() as connection:
        connection.execute(NOTES.insert().values(name="a", number=0))

    with PROCESSES.Pool(4) as pool:
        pool.map(add_one_hundred, [database_url] * 4)

    with database.read() as connection:
        assert connection.scalar(sa.select(NOTES.c.number)) == 400


def test_killing_writers_loses_no_acknowledged_write(database: Database, database_url: str, tmp_path: Path) -> None:
    database.prepare("notes", METADATA, version=1)
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()
    writers = [PROCESSES.Process(target=write_for_ever, args=(database_url, str(acknowledged))) for _ in range(2)]
    [writer.start() for writer in writers]
    until(lambda: acknowledged.read_text().count("\n") >= 100, "a hundred writes")

    [os.kill(writer.pid or 0, signal.SIGKILL) for writer in writers]
    [writer.join() for writer in writers]

    with database.read() as connection:
        kept = set(connection.scalars(sa.select(NOTES.c.name)))
    assert len(kept) >= 100
    assert set(acknowledged.read_text().split()) <= kept
    with database.write() as connection:
        connection.execute(NOTES.insert().values(name="after", number=1))


def test_a_database_file_that_vanished_is_unavailable_and_comes_back(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)
    (tmp_path / "home").rename(tmp_path / "away")

    with pytest.raises(DatabaseUnavailableError, match="is not there"):
        database.prepare("notes", METADATA, version=1)
    with pytest.raises(DatabaseUnavailableError, match="is not there"), database.write():
        pass
    (tmp_path / "away").rename(tmp_path / "home")

    assert count(database) == 0
    database.close()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "evergreen.db").write_text("shopping list: milk\n" * 1000)
    database = open_database(f"sqlite:///{tmp_path}/evergreen.db")

    with pytest.raises(DatabaseUnavailableError, match="not a database"):
        database.prepare("notes", METADATA, version=1)

    database.close()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = open_database("postgresql://nobody@127.0.0.1:1/nothing")

    with pytest.raises(DatabaseUnavailableError, match="refused"), database.read():
        pass

    database.close()


def test_a_database_is_not_made_when_it_may_not_be(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url, create=False)

    with pytest.raises(DatabaseUnavailableError, match="is not there"):
        database.prepare("notes", METADATA, version=1)

    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://a@b/c", "rubbish"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match="database"):
        open_database(url)


def test_a_writer_that_waits_too_long_is_told_so(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url, lock_timeout_seconds=0.05)
    database.prepare("notes", METADATA, version=1)
    other = WriteLock(tmp_path / "home" / "evergreen.db.lock", timeout_seconds=1)

    with other.hold(), pytest.raises(DatabaseUnavailableError, match=r"another process held .*evergreen\.db\.lock"), database.write():
        pass

    database.close()


def test_a_write_inside_a_write_is_refused_at_once(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)

    with database.write(), pytest.raises(RuntimeError, match="inside another"), database.write():
        pass

    database.close()


def test_files_are_private(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "home", *(tmp_path / "home").iterdir()]}

    database.close()

    assert modes == {"home": 0o700, "evergreen.db": 0o600, "evergreen.db-wal": 0o600, "evergreen.db-shm": 0o600, "evergreen.db.lock": 0o600}


def test_sqlite_is_set_to_survive(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)

    with database.write() as connection:
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    with database.read() as connection:
        checkpoint = connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()

    database.close()
    assert (journal, synchronous, checkpoint) == ("wal", 2, 0)


def test_closing_moves_everything_into_the_database_file(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)

    database.close()

    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["evergreen.db", "evergreen.db.lock"]


def test_a_backup_during_writing_is_whole(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)
    with database.write() as connection:
        connection.execute(NOTES.insert().values(name="a", number=1))

    database.back_up(tmp_path / "copy.db")

    copy = open_database(f"sqlite:///{tmp_path}/copy.db")
    assert count(copy) == 1
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    copy.close()
    database.close()


def test_a_database_opened_before_a_fork_is_refused_after_it(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    database.prepare("notes", METADATA, version=1)
    reading, writing = os.pipe()

    child = os.fork()
    answer = b"" if child else _write_in_child(database)
    os.write(writing, answer) if child == 0 else os.waitpid(child, 0)
    os._exit(0) if child == 0 else os.close(writing)

    assert b"before the fork" in os.read(reading, 1000)
    os.close(reading)
    database.close()


def _write_in_child(database: Database) -> bytes:
    try:
        with database.write():
            return b"written"
    except DatabaseUnavailableError as error:
        return str(error).encode()
