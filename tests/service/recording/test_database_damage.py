"""A damaged database is looked for, said once, and known to every process of the home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from service.recording.database_damage import FLAG, RUNNING, DamageCheck, DamageNote
from service.telemetry.metrics import ServiceMetrics
from training.errors import DatabaseDamagedError, DatabaseUnavailableError
from training.storage.database import Database, open_database

ROWS = sa.Table("rows", sa.MetaData(), sa.Column("number", sa.Integer, primary_key=True), sa.Column("text", sa.Text))


def filled(path: Path) -> None:
    database = open_database(f"sqlite:///{path}")
    database.prepare("example", ROWS.metadata, version=1)
    with database.write() as connection:
        connection.execute(sa.insert(ROWS), [{"number": number, "text": "x" * 500} for number in range(500)])
    database.close()


def damage(path: Path, page: int = 20) -> None:
    with open(path, "r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xa5" * 4096)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "evergreen.db"
    filled(made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "spool"
    made.mkdir()
    return made


@pytest.fixture
def note(folder: Path) -> DamageNote:
    return DamageNote(folder)


@pytest.fixture
def database(path: Path, note: DamageNote) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{path}", on_damage=note.note)
    yield opened
    opened.close()


@pytest.fixture
def check(folder: Path, database: Database, note: DamageNote) -> DamageCheck:
    return DamageCheck(folder, database, note, ServiceMetrics(CollectorRegistry()))


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("page", [0, 20, 40])
def test_a_use_of_a_damaged_database_is_told_from_one_that_is_away(
    path: Path, folder: Path, database: Database, page: int, caplog: pytest.LogCaptureFixture
) -> None:
    damage(path, page)

    for _ in range(3):
        with pytest.raises(DatabaseDamagedError), database.read() as connection:
            connection.execute(sa.select(ROWS)).all()

    assert len(errors(caplog)) == 1
    assert "damaged" in (DamageNote(folder).reason() or "")


def test_a_database_that_is_away_is_not_damaged(path: Path, database: Database, note: DamageNote) -> None:
    path.unlink()

    with pytest.raises(DatabaseUnavailableError) as raised, database.read():
        pass

    assert (type(raised.value), note.reason()) == (DatabaseUnavailableError, None)


def test_a_look_finds_damage_that_no_use_has_met_and_later_that_it_is_gone(
    path: Path, folder: Path, check: DamageCheck, note: DamageNote
) -> None:
    whole = path.read_bytes()
    damage(path)
    is_in_order = check.look()
    others = DamageNote(folder).reason()
    path.write_bytes(whole)

    is_in_order_again = check.look()

    assert (is_in_order, is_in_order_again) == (False, True)
    assert "damaged" in (others or "")
    assert (note.reason(), DamageNote(folder).reason()) == (None, None)


def test_damage_that_comes_again_is_said_again(note: DamageNote, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    note.note("broken")
    note.note("broken")
    DamageNote(folder).forget()
    note.note("broken")

    assert len(errors(caplog)) == 2


@pytest.mark.parametrize(("is_clean", "reason"), [(True, None), (False, "damaged")])
def test_only_after_a_stop_that_was_not_clean_is_the_database_looked_through(
    path: Path, folder: Path, check: DamageCheck, note: DamageNote, is_clean: bool, reason: str | None
) -> None:
    damage(path)
    if not is_clean:
        (folder / RUNNING).touch()

    check.start()
    while not is_clean and note.reason() is None:
        pass
    is_marked = (folder / RUNNING).exists()
    check.stop()

    assert (is_marked, (folder / RUNNING).exists()) == (True, False)
    assert (note.reason() or "None").count(str(reason)) == 1
    assert (folder / FLAG).exists() != is_clean


def test_a_look_ends_when_it_is_asked_to(database: Database) -> None:
    asked: list[int] = []

    damaged = database.find_damage(is_stopping=lambda: asked.append(1) is None)

    assert (damaged, len(asked)) == (None, 2)  # by SQLite, which stops at once, and to tell that from another error
