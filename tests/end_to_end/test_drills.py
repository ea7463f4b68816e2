"""Drills: one thing goes wrong in a whole Evergreen, and who is on call is told of it, of nothing else, and of its end.

Here: processes, database, disk and loop.

Each duration of the rules we ship is a twentieth of what it is, and a minute at most (`tests.end_to_end.observing.sooner_rules`); model
time passes by the traffic, a day a second. All else is as it is in production.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.drilling import DRILL, DRILLED, Begin, Drill
from tests.end_to_end.observing import SHIPPED
from tests.patience import until
from tests.postgresql import PostgresqlServer
from tests.workers import listening
from training.errors import DatabaseUnavailableError
from training.storage.database import open_database

pytestmark = DRILL

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
    scene = drill(model_file=DRILLED.replace("schedule: 28d", "schedule: 84d"))  # a training takes some weeks of this model time
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
    scene = drill()
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
    scene = drill()
    aside = scene.home / "aside"

    scene.begin()
    (scene.home / "spool").rename(aside)
    scene.wait_for("EvergreenErrors")
    aside.rename(scene.home / "spool")

    assert scene.mended() == ({"EvergreenErrors"}, set())


def drains(scene: Drill) -> list[psutil.Process]:
    """Return the processes of the service that take no connections."""
    master = scene.processes.pid("service")
    serving = listening(master, int(scene.binds["service"].rpartition(":")[2]))
    return [child for child in psutil.Process(master).children() if child.pid not in serving]


def stop_between_writes(process: psutil.Process, scene: Drill) -> None:
    """Stop a process where it holds no lock of the database: whoever does so keeps labels from being stored, which is another fault."""
    with closing(open_database(f"sqlite:///{scene.home / 'evergreen.db'}", lock_timeout_seconds=1.0)) as database:

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
