"""Drills: one thing goes wrong in a whole Evergreen, and who is on call is told of it, of nothing else, and of its end.

Here: processes, database, disk and loop.

Each duration of the rules we ship is a twentieth of what it is, and a minute at most (`tests.end_to_end.observing.sooner_rules`); model
time passes by the traffic, a day a second. All else is as it is in production.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from monitoring.journal.tables import leases
from service.prediction_log.prediction_log import PredictionLog
from tests.end_to_end.drilling import DRILL, NOTIFIES, SELDOM_JUDGED, Begin, Drill
from tests.end_to_end.observing import SHIPPED
from tests.end_to_end.sluggish import Sluggish
from tests.monitoring.world import DAY_US
from tests.patience import LONGER_SECONDS, until
from tests.postgresql import PostgresqlServer
from tests.receivers import receiver
from tests.workers import listening
from training.clock import to_us
from training.errors import DatabaseUnavailableError
from training.registry.tables import models
from training.storage.database import Database

pytestmark = DRILL

PAGE_BYTES = 4096  # of SQLite
SECRET = "whsec_" + "c" * 32
TELLS_ONCE = NOTIFIES.replace("rows: 150", "rows: 15000")  # what follows a first message waits for an hour, which is long in a drill
CALM_DAYS = 600  # ten minutes
# Metrics of rules that have no series while all is well, and what it would take.
ABSENT_IN_CALM = {
    "evergreen_artifact_verification_failures_total": "a damaged artifact",
    "evergreen_scheduler_tick_failures_total": "a tick that fails",
    "evergreen_messages_oldest_seconds": "a webhook or mail",
    "evergreen_silence_ratio": "a model whose time is that of arrival",
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is a disk of its own, of 256 MiB."""
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: mounting a small disk needs root; run `make drills` as root")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=700", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"SKIPPED: no small disk can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_nobody_is_told_of_anything_in_ten_minutes_of_load_in_which_the_rules_have_all_they_look_at(drill: Begin) -> None:
    scene = drill()
    used = set(re.findall(r"\b(evergreen[_:][a-z0-9_:]+)", (SHIPPED / "rules.yml").read_text()))

    scene.traffic.pass_days(CALM_DAYS)
    absent = {name for name in used if not scene.observed.prometheus.ask(f"count(max_over_time({name}[1m]))")}

    assert (scene.observed.notices(), scene.observed.prometheus.has_fired()) == ([], set())
    assert absent == set(ABSENT_IN_CALM)
    assert set(scene.traffic.statuses) == {200}


def test_the_monitor_is_killed(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    scene.processes.signal("monitoring", signal.SIGKILL)
    scene.wait_for("EvergreenMonitorDown")
    scene.start("monitoring")

    assert scene.mended() == ({"EvergreenMonitorDown"}, set())


def test_the_service_is_killed(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    scene.processes.signal("service", signal.SIGKILL)
    scene.wait_for("EvergreenServiceDown")
    scene.start("service")

    assert scene.mended() == ({"EvergreenServiceDown"}, set())


def test_the_database_is_stopped(drill: Begin, own_postgresql: PostgresqlServer) -> None:
    scene = drill(database_url=own_postgresql.url())

    scene.begin()
    own_postgresql.stop()
    scene.wait_for("EvergreenDatabaseDown")
    own_postgresql.start()

    assert scene.mended() == ({"EvergreenDatabaseDown"}, set())


def test_the_spool_is_not_drained(drill: Begin) -> None:
    scene = drill(model_file=SELDOM_JUDGED)
    [drain] = drains(scene)

    scene.begin()
    stop_between_writes(drain, scene)
    scene.wait_for("EvergreenSpoolGrows")
    drain.resume()

    assert scene.mended() == ({"EvergreenSpoolGrows"}, set())


def test_the_disk_is_over_ninety_per_cent_full(small_disk: Path, drill: Begin) -> None:
    scene = drill(folder=small_disk)

    scene.begin()
    filled = fill(small_disk, leave=0.08)
    scene.wait_for("EvergreenDiskAlmostFull")
    filled.unlink()

    assert scene.mended() == ({"EvergreenDiskAlmostFull"}, set())


def test_predictions_are_refused(drill: Begin) -> None:
    scene = drill(model_file=NOTIFIES)  # a training child would make the folder again
    aside = scene.home / "aside"

    scene.begin()
    (scene.home / "spool").rename(aside)
    scene.wait_for("EvergreenErrors")
    aside.rename(scene.home / "spool")

    assert scene.mended() == ({"EvergreenErrors"}, set())


def test_a_champion_is_refused(drill: Begin) -> None:
    scene = drill()
    with scene.registry() as registry:
        before, damaged = registry.version("rain", scene.champion(registry)), scene.trained_aside(registry)
        (scene.home / "artifacts" / damaged.path / "manifest.json").write_text("{}")

        scene.begin()
        scene.promote(registry, damaged)
        scene.wait_for("EvergreenModelRefused")
        scene.traffic.pass_days(7)  # a slot, which cannot be judged
        scene.promote(registry, before)

    assert scene.mended() == ({"EvergreenModelRefused"}, set())


def test_a_replica_answers_with_another_version(drill: Begin, tmp_path: Path) -> None:
    scene = drill(model_file=NOTIFIES)
    with scene.registry() as registry:
        other = scene.trained_aside(registry)
        scene.evergreen("backup", str(tmp_path / "backup"))
        scene.evergreen("restore", str(tmp_path / "backup"), home=tmp_path / "old")  # a registry that nobody moves
        scene.start_replica(tmp_path / "old")

        scene.begin()
        scene.promote(registry, other)
    scene.wait_for("EvergreenVersionSkew")
    scene.evergreen("promote", "-m", "rain", other.version, "--why", "a drill", home=tmp_path / "old")

    assert scene.mended() == ({"EvergreenVersionSkew"}, set())


def test_the_database_is_damaged(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    with damaged_page(scene, "predictions"):
        scene.wait_for("EvergreenDatabaseDamaged")
        until(lambda: "EvergreenDatabaseDown" in scene.observed.prometheus.has_fired(), "what is damaged cannot be used")

    assert scene.mended() == ({"EvergreenDatabaseDamaged"}, {"EvergreenDatabaseDown"})


def test_a_spool_file_is_damaged(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    (scene.home / "spool" / f"{'0' * 16}.spool").write_bytes(b"no record" * 100)
    scene.wait_for("EvergreenRecordsLost")

    assert scene.mended() == ({"EvergreenRecordsLost"}, set())


def test_the_log_is_almost_full(drill: Begin) -> None:
    scene = drill(EVERGREEN_LOG_MAX_ROWS="20000")

    scene.begin()
    scene.traffic.extra = 17_500
    scene.wait_for("EvergreenLogAlmostFull")
    with scene.database() as database:
        PredictionLog(database).retain("rain", (scene.traffic.day - 1) * DAY_US, machine_now=datetime.now(UTC))

    assert scene.mended() == ({"EvergreenLogAlmostFull"}, set())


def test_no_monitor_leads(drill: Begin) -> None:
    scene = drill(EVERGREEN_LEASE_SECONDS=str(LONGER_SECONDS))
    with scene.database() as database:
        scene.begin()
        give_lease(database, "a machine that is gone", LONGER_SECONDS)
        scene.wait_for("EvergreenNoLeader")
        give_lease(database, "nobody", 0)

    assert scene.mended() == ({"EvergreenNoLeader"}, set())


def test_messages_do_not_arrive(drill: Begin) -> None:
    with receiver(answers=[500] * 10_000) as away:
        scene = drill(model_file=TELLS_ONCE, EVERGREEN_WEBHOOK_URL=away.url, EVERGREEN_WEBHOOK_SECRET=SECRET)
        with scene.registry() as registry:
            other = scene.trained_aside(registry)

        scene.begin()
        scene.evergreen("promote", "-m", "rain", other.version, "--why", "a drill")
        scene.wait_for("EvergreenMessagesStuck")
        away.answers.clear()

        assert scene.mended() == ({"EvergreenMessagesStuck"}, set())


def test_answers_are_slow(drill: Begin, tmp_path: Path) -> None:
    scene = drill(model_file=NOTIFIES, SLUGGISH_FOLDER=str(tmp_path))
    with scene.registry() as registry:
        scene.promote(registry, scene.imported(registry, Sluggish()))
    scene.traffic.pass_days(5)

    scene.begin()
    (tmp_path / "slow").touch()
    scene.wait_for("EvergreenSlow")
    (tmp_path / "slow").unlink()

    assert scene.mended() == ({"EvergreenSlow"}, set())


def test_the_loop_stands_still(drill: Begin, tmp_path: Path) -> None:
    scene = drill(model_file=NOTIFIES, SLUGGISH_FOLDER=str(tmp_path))
    with scene.registry() as registry:
        scene.promote(registry, scene.imported(registry, Sluggish()))
        scene.promote(registry, scene.trained_aside(registry))  # on probation: the loop, and it alone, asks the one before it

    scene.begin()
    (tmp_path / "stand").touch()
    scene.wait_for("EvergreenLoopStalled")
    (tmp_path / "stand").unlink()

    assert scene.mended() == ({"EvergreenLoopStalled"}, set())


def test_the_loop_fails(drill: Begin) -> None:
    scene = drill(model_file=NOTIFIES)
    with scene.database() as database:
        scene.begin()
        put_model_file(database, NOTIFIES + "later: {}\n")  # what only a newer Evergreen reads
        scene.wait_for("EvergreenLoopFails")
        put_model_file(database, NOTIFIES)

    assert scene.mended() == ({"EvergreenLoopFails"}, set())


def put_model_file(database: Database, text: str) -> None:
    """Store a model file that nobody has looked at."""
    with database.write() as connection:
        connection.execute(models.update().values(spec_text=text))


def give_lease(database: Database, holder: str, seconds: float) -> None:
    """Have somebody else hold the lease for so long."""
    ends_us = to_us(datetime.now(UTC) + timedelta(seconds=seconds))
    with database.write() as connection:
        connection.execute(leases.update().values(holder=holder, token=leases.c.token + 1, expires_us=ends_us))


@contextmanager
def damaged_page(scene: Drill, table: str) -> Iterator[None]:
    """Overwrite the first page of a table in the file of a running database; put it back in the end."""
    path = scene.home / "evergreen.db"
    with closing(sqlite3.connect(path)) as connection:
        [(page,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table])
        until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, "all is in the file")
    with path.open("r+b", buffering=0) as file:
        file.seek((page - 1) * PAGE_BYTES)
        content = file.read(PAGE_BYTES)
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
        yield
        file.seek((page - 1) * PAGE_BYTES)
        file.write(content)


def drains(scene: Drill) -> list[psutil.Process]:
    """Return the processes of the service that take no connections."""
    master = scene.processes.pid("service")
    serving = listening(master, int(scene.binds["service"].rpartition(":")[2]))
    return [child for child in psutil.Process(master).children() if child.pid not in serving]


def stop_between_writes(process: psutil.Process, scene: Drill) -> None:
    """Stop a process where it holds no lock of the database: whoever does so keeps labels from being stored, which is another fault."""
    with scene.database(lock_timeout_seconds=1.0) as database:

        def is_stopped_outside() -> bool:
            process.suspend()
            try:
                with database.write():
                    return True
            except DatabaseUnavailableError:
                process.resume()
                return False

        until(is_stopped_outside, "it is stopped between two transactions")


def fill(folder: Path, leave: float) -> Path:
    """Leave so much of a disk free."""
    status = os.statvfs(folder)
    path = folder / "fill"
    path.write_bytes(bytes(int((status.f_bavail - leave * status.f_blocks) * status.f_frsize)))
    return path
