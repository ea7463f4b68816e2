"""Drills: one thing goes wrong in a whole Evergreen, and who is on call is told of it, of nothing else, and of its end.

Here: processes, database, disk and loop.

Each duration of the rules we ship is a twentieth of what it is, and a minute at most (`tests.end_to_end.observing.sooner_rules`); model
time passes by the traffic, a day a second. All else is as it is in production.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.drilling import DRILL, Begin
from tests.postgresql import PostgresqlServer

pytestmark = DRILL


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


def fill(folder: Path, leave: float) -> Path:
    """Leave so much of a disk free."""
    status = os.statvfs(folder)
    path = folder / "fill"
    path.write_bytes(bytes(int((status.f_bavail - leave * status.f_blocks) * status.f_frsize)))
    return path
