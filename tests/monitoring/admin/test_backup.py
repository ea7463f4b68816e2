"""A backup is whole, private and checked; restored elsewhere it is the same home."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from monitoring.admin.backup import back_up, restore
from monitoring.admin.workbench import Workbench
from monitoring.errors import BackupError
from service.prediction_log.ids import IdMinter
from service.prediction_log.records import AnsweredRequest, encode_body
from service.recording.spool import Spool
from training.artifacts.signing import load_or_make_key
from training.registry.aliases import CHAMPION
from training.schema.prediction import Prediction
from training.settings import Home

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def url(home: Path) -> str:
    return f"sqlite:///{home}/evergreen.db"


def champion(home: Path) -> tuple[str, str]:
    bench = Workbench({"EVERGREEN_HOME": str(home)})
    alias = bench.registry.alias("bikes", CHAMPION)
    assert alias is not None
    digest = bench.registry.version("bikes", alias.version).digest
    bench.close()
    return alias.version, digest


def record(model: str) -> bytes:
    return encode_body(AnsweredRequest(model, "v", "b", 1, None, None, {"x": np.array([1.0])}, Prediction(np.array([1.0]))))


def test_a_restored_home_has_the_same_champion_the_same_keys_and_the_same_rows(trained_home: Path, tmp_path: Path) -> None:
    back_up(Home(trained_home), url(trained_home), tmp_path / "backup", NOW)

    restore(tmp_path / "backup", Home(tmp_path / "other"), url(tmp_path / "other"))

    assert champion(tmp_path / "other") == champion(trained_home)
    assert (tmp_path / "other/keys/signing.key").read_bytes() == (trained_home / "keys/signing.key").read_bytes()
    assert stat.S_IMODE((tmp_path / "other/keys/signing.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "other/rows").iterdir()) == sorted(
        path.name for path in (trained_home / "rows").iterdir()
    )


def test_predictions_that_are_not_in_the_log_yet_come_along(trained_home: Path, tmp_path: Path) -> None:
    home = Home(trained_home).ensure()
    minter = IdMinter(load_or_make_key(home.ids_key))
    spool = Spool(home.spool, minter)
    prefix = spool.append(record("bikes"), n_rows=1, time_ms=1)

    back_up(home, url(trained_home), tmp_path / "backup", NOW)
    restore(tmp_path / "backup", Home(tmp_path / "other"), url(tmp_path / "other"))

    copied = list((tmp_path / "other" / "spool").glob("*.spool*"))
    assert len(copied) == 1
    assert prefix.encode() in copied[0].read_bytes()
    assert IdMinter(load_or_make_key(Home(tmp_path / "other").ids_key)).parse(f"{prefix}-0") is not None


def test_a_backup_is_private_and_has_no_leftovers(trained_home: Path, tmp_path: Path) -> None:
    done = back_up(Home(trained_home), url(trained_home), tmp_path / "backup", NOW)

    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "backup").iterdir()) == [
        "artifacts",
        "backup.json",
        "evergreen.db",
        "keys",
        "rows",
        "spool",
    ]
    assert done.files == sum(path.is_file() for path in (tmp_path / "backup").rglob("*")) - 1


@pytest.mark.parametrize("victim", ["evergreen.db", "keys/signing.key"])
def test_a_damaged_backup_is_refused_and_the_home_stays_empty(trained_home: Path, tmp_path: Path, victim: str) -> None:
    back_up(Home(trained_home), url(trained_home), tmp_path / "backup", NOW)
    path = tmp_path / "backup" / victim
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(BackupError, match=f"damaged: {victim}"):
        restore(tmp_path / "backup", Home(tmp_path / "other"), url(tmp_path / "other"))

    assert not (tmp_path / "other").exists()


def test_a_backup_never_overwrites(trained_home: Path, tmp_path: Path) -> None:
    back_up(Home(trained_home), url(trained_home), tmp_path / "backup", NOW)

    with pytest.raises(BackupError, match="exists"):
        back_up(Home(trained_home), url(trained_home), tmp_path / "backup", NOW)
    with pytest.raises(BackupError, match="not empty"):
        restore(tmp_path / "backup", Home(trained_home), url(trained_home))


def test_a_folder_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="no backup"):
        restore(tmp_path, Home(tmp_path / "other"), url(tmp_path / "other"))


def test_a_backup_of_sqlite_is_not_restored_over_a_server(trained_home: Path, tmp_path: Path) -> None:
    back_up(Home(trained_home), url(trained_home), tmp_path / "backup", NOW)

    with pytest.raises(BackupError, match="made with SQLite"):
        restore(tmp_path / "backup", Home(tmp_path / "other"), "postgresql://127.0.0.1/evergreen")


def test_a_server_is_left_to_pg_dump_and_the_rest_is_backed_up(trained_home: Path, tmp_path: Path, postgresql_url: str) -> None:
    done = back_up(Home(trained_home), postgresql_url, tmp_path / "backup", NOW)

    assert not done.database
    assert "pg_dump" in done.to_dict()["note"]
    assert (tmp_path / "backup" / "artifacts").is_dir()
