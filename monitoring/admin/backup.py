"""A consistent copy of a home while everything runs, and its return."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from monitoring.errors import BackupError
from service.prediction_log.tables import spool_offsets
from service.recording.spool import spool_files, spool_of
from training.settings import Home
from training.storage.database import Database, open_database

LIST = "backup.json"
FOLDERS = ("artifacts", "rows", "keys")


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    Attributes
    ----------
    database
        Whether the database is in it; a PostgreSQL database is not.
    """

    folder: str
    made: str
    files: int
    bytes: int
    database: bool

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; it says so when the database is left to `pg_dump`."""
        note = {} if self.database else {"note": "the PostgreSQL database is not in it: use pg_dump"}
        return {**asdict(self), **note}


def back_up(home: Home, database_url: str, folder: Path, now: datetime) -> Backup:
    """Copy database, undrained predictions, artifacts, training rows and keys into a new `folder`.

    The order makes the copy whole: the spool first, then the database (a prediction is in one or the other), then what is
    immutable and was complete before the database named it.

    Raises
    ------
    BackupError
        `folder` exists, or there is nothing to back up.
    """
    if folder.exists():
        raise BackupError(f"{folder} exists; a backup is written into a new folder")
    if not home.path.exists():
        raise BackupError(f"{home.path} is no home: there is nothing to back up")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    try:
        _copy_tree(home.spool, partial / "spool", "*.spool*")
        has_database = _copy_database(database_url, partial)
        for name in FOLDERS:
            _copy_tree(home.path / name, partial / name, "*")
        digests = {str(path.relative_to(partial)): _digest(path) for path in _files(partial)}
        size = sum(path.stat().st_size for path in _files(partial))
        backup = Backup(str(folder), now.isoformat(), len(digests), size, has_database)
        (partial / LIST).write_text(json.dumps({"backup": asdict(backup), "files": digests}, indent=1), encoding="utf-8")
        os.rename(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return backup


def restore(folder: Path, home: Home, database_url: str) -> Backup:
    """Bring a backup back into an empty home, each file checked against the list before any is moved in.

    Raises
    ------
    BackupError
        `folder` is no backup or is damaged, or the home is not empty.
    """
    if not (folder / LIST).is_file():
        raise BackupError(f"{folder} is no backup: it has no {LIST}")
    if home.path.exists() and any(home.path.iterdir()):
        raise BackupError(f"{home.path} is not empty; restore into an empty home (--home), then move it")
    known = json.loads((folder / LIST).read_text(encoding="utf-8"))
    backup = Backup(**known["backup"])
    _refuse_another_database(backup, database_url)
    present = {str(path.relative_to(folder)): _digest(path) for path in _files(folder) if path.name != LIST}
    if wrong := sorted(name for name in {*present, *known["files"]} if present.get(name) != known["files"].get(name)):
        raise BackupError(f"{folder} is damaged: {', '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}")
    partial = home.path.with_name(f".{home.path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial, ignore=shutil.ignore_patterns(LIST))
    partial.chmod(0o700)
    if home.path.exists():
        home.path.rmdir()
    os.rename(partial, home.path)
    home.ensure()
    return backup


def _copy_database(url: str, partial: Path) -> bool:
    """Copy a SQLite database, and drop the copied spool files that it has taken in whole; False for PostgreSQL."""
    database = open_database(url)
    try:
        offsets = _offsets(database)
        if database.dialect != "sqlite":
            _drop_drained(partial / "spool", offsets)
            return False
        database.back_up(partial / "evergreen.db")
    finally:
        database.close()
    copy = open_database(Home(partial.absolute()).database_url)
    try:
        _drop_drained(partial / "spool", _offsets(copy))
    finally:
        copy.close()
    for leftover in partial.glob("evergreen.db?*"):
        leftover.unlink()
    return True


def _offsets(database: Database) -> dict[str, int]:
    with database.read() as connection:
        if not sa.inspect(connection).has_table(spool_offsets.name):
            return {}
        return {row.spool: int(row.offset) for row in connection.execute(sa.select(spool_offsets.c.spool, spool_offsets.c.offset))}


def _drop_drained(spool: Path, offsets: dict[str, int]) -> None:
    for path in spool_files(spool):
        if path.stat().st_size <= offsets.get(spool_of(path), 0):
            path.unlink()


def _copy_tree(source: Path, target: Path, pattern: str) -> None:
    """Copy the files below `source`, with their modes; what vanishes meanwhile (a drained spool file) is left out."""
    target.mkdir(mode=0o700)
    for path in sorted(source.rglob(pattern)):
        destination = target / path.relative_to(source)
        if any(part.startswith(".") for part in path.relative_to(source).parts):
            continue  # unfinished: written under a hidden name first
        try:
            if path.is_dir():
                destination.mkdir(mode=0o700, exist_ok=True)
            else:
                destination.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy2(path, destination)
        except FileNotFoundError:
            continue


def _refuse_another_database(backup: Backup, database_url: str) -> None:
    if backup.database != database_url.startswith("sqlite"):
        kinds = {True: "SQLite", False: "PostgreSQL"}
        raise BackupError(f"the backup was made with {kinds[backup.database]}; EVERGREEN_DATABASE_URL names {kinds[not backup.database]}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
