"""Real small disks under a real service: full, they cost predictions and nothing else, and only as long as they are full."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from sklearn.linear_model import LinearRegression

from tests.end_to_end.arena import PREDICT, Arena, fare_table
from tests.end_to_end.fault_report import LIVE, Probes, note
from tests.end_to_end.wire import request
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

ASK = request(PREDICT, {"rows": [{"distance": 3.0, "hour": 8.0}]})
LARGE = request(PREDICT, {"rows": [{"distance": 3.0, "hour": 8.0}] * 400})
ROUTES = ("/livez", "/models", "/nothing", "/metrics", "/readyz", "/v2/models/fares", "/openapi.json")
Disk = Callable[..., Path]

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Return a function that mounts a small disk of its own at a folder."""
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: mounting a small disk needs root; run `make faults` as root to see what a full one does")
    with ExitStack() as stack:

        def mount(folder: Path, kind: str, size: str) -> Path:
            folder.mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
            if kind == "ext4":
                image = tmp_path / f"{folder.name}.img"
                subprocess.run(["truncate", "-s", size, image], check=True)
                subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
                command = ["mount", "-o", "loop", str(image), str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"SKIPPED: no small disk can be mounted here: {done.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
            return folder

        yield mount


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Callable[[Path], Arena]]:
    with ExitStack() as stack:

        def make(folder: Path) -> Arena:
            table = fare_table()
            fitted = LinearRegression().fit(table[["distance", "hour"]], table["fare"])
            made = stack.enter_context(Arena(folder, free_port(), [fitted]))
            made.log = tmp_path / "service.log"
            return made

        yield make


def fill(folder: Path) -> Path:
    """Leave no block free."""
    path = folder / "fill"
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def status(served: Arena, content: bytes) -> int:
    with served.wire() as wire:
        return wire.ask(content).status


def code(served: Arena, content: bytes) -> tuple[int, str]:
    with served.wire() as wire:
        reply = wire.ask(content)
    return reply.status, "" if reply.status == 200 else reply.json["code"]


@pytest.mark.parametrize(("kind", "size"), [("tmpfs", "6m"), ("ext4", "24m")])
@pytest.mark.parametrize(("reserve", "expected"), [("0", "spool_failed"), ("", "spool_full")], ids=["no reserve", "a reserve"])
def test_a_full_disk_refuses_predictions_until_there_is_room_and_stops_nobody(
    disk: Disk, arena: Callable[[Path], Arena], tmp_path: Path, kind: str, size: str, reserve: str, expected: str
) -> None:
    folder = disk(tmp_path / "disk", kind, size)
    served = arena(folder).start(DISK_RESERVE=reserve)
    everybody = served.workers() | {served.process.pid}

    with Probes(served.port) as predictions, Probes(served.port, LIVE) as live:
        predictions.wait_for(20)
        filled = fill(folder)
        served.until(lambda: code(served, LARGE) == (503, expected))
        while_full = [[status(served, request(path)) for path in ROUTES] for _ in range(20)]
        refused = code(served, LARGE)
        filled.unlink()
        served.until(lambda: status(served, LARGE) == 200)
        predictions.wait_for(20)
    still = served.workers() | {served.process.pid}

    assert {tuple(each) for each in while_full} == {(200, 200, 404, 200, 200, 200, 200)}
    assert (refused, still) == ((503, expected), everybody)
    assert served.stop() == 0
    note("8, B2", predictions.ids, served.logged_ids(), live.longest_silence())
    assert live.failures == []
    assert set(predictions.failures) <= {503}
    assert set(predictions.ids) <= served.logged_ids()
    assert "Traceback" not in served.log.read_text()


@pytest.mark.parametrize("size", ["1m", "64k"])
def test_a_full_disk_of_the_metrics_alone_refuses_nothing_and_counts_go_on_in_memory(
    disk: Disk, arena: Callable[[Path], Arena], tmp_path: Path, size: str
) -> None:
    served = arena(tmp_path)
    folder = disk(served.home.metrics, "tmpfs", size)
    filled = fill(folder)
    served.start()
    everybody = served.workers() | {served.process.pid}

    with Probes(served.port) as probes:
        while_full = [[status(served, request(path)) for path in ROUTES] for _ in range(20)]
        probes.wait_for(20)
    lines = served.log.read_text().count("metrics cannot be written")
    filled.unlink()

    assert {tuple(each) for each in while_full} == {(200, 200, 404, 200, 200, 200, 200)}
    assert probes.failures == []
    assert 1 <= lines <= len(everybody)
    counted = b'evergreen_predictions_total{model="fares",outcome="value",version="' + served.versions[0].encode() + b'"} '
    served.until(lambda: status(served, ASK) == 200 and counted in scrape(served))
    assert served.workers() | {served.process.pid} == everybody
    served.stop()
    note("8a", probes.ids, served.logged_ids(), probes.longest_silence())
    assert set(probes.ids) <= served.logged_ids()


def scrape(served: Arena) -> bytes:
    with served.wire() as wire:
        return bytes(wire.ask(request("/metrics")).body)


@pytest.mark.parametrize(("what", "meanwhile"), [("metrics", 200), ("spool", 503)])
def test_files_that_are_removed_under_a_service_stop_nobody(
    arena: Callable[[Path], Arena], tmp_path: Path, what: str, meanwhile: int
) -> None:
    served = arena(tmp_path).start()
    everybody = served.workers() | {served.process.pid}

    with Probes(served.port, LIVE) as live:
        shutil.rmtree(served.home.path / what)
        statuses = [[status(served, request(path)) for path in ROUTES] for _ in range(10)]
        served.until(lambda: status(served, ASK) == meanwhile)
        (served.home.path / what).mkdir(mode=0o700, exist_ok=True)
        served.until(lambda: status(served, ASK) == 200 and b"evergreen_http_requests_total" in scrape(served))
    note("8b", [], [], live.longest_silence())

    assert live.failures == []
    assert {tuple(each) for each in statuses} == {(200, 200, 404, 200, 200, 200, 200)}
    assert served.workers() | {served.process.pid} == everybody


def test_a_service_that_starts_on_a_full_disk_answers_once_there_is_room(
    disk: Disk, arena: Callable[[Path], Arena], tmp_path: Path
) -> None:
    folder = disk(tmp_path / "disk", "tmpfs", "6m")
    served = arena(folder)
    served.start().stop()
    filled = fill(folder)

    served.start()
    everybody = served.workers() | {served.process.pid}
    refused = status(served, ASK)
    filled.unlink()
    served.until(lambda: status(served, ASK) == 200)

    assert (refused, served.workers() | {served.process.pid}) == (503, everybody)


def test_a_damaged_page_of_the_database_is_told_from_one_that_is_away(arena: Callable[[Path], Arena], tmp_path: Path) -> None:
    served = arena(tmp_path)
    served.start()
    before = served.predict({"distance": 3.0, "hour": 8.0})["predictions"][0]["id"]
    served.until(lambda: before in served.logged_ids())
    served.stop()
    database = sqlite3.connect(served.home.database)
    [(page,)] = database.execute("select rootpage from sqlite_master where name = 'predictions'")
    database.close()
    with open(served.home.database, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)

    served.start()
    with Probes(served.port) as probes:
        probes.wait_for(20)
    labelled = request("/models/fares/labels", {"labels": [{"id": before, "label": 3.0}]})
    refused = code(served, labelled)
    with served.wire() as wire:
        ready = served.until(lambda: (reply := wire.ask(request("/readyz"))).json["degraded"] and reply)
    counted = served.until(lambda: b"evergreen_db_damaged 1.0" in scrape(served))
    doctor = subprocess.run(
        [sys.executable, "-m", "monitoring.cli", "--home", str(served.home.path), "doctor"], capture_output=True, text=True, check=False
    )

    note("M11", [], [], probes.longest_silence())
    assert (probes.failures, refused, ready.status, counted) == ([], (503, "log_unavailable"), 200, True)
    assert "damaged" in ready.json["reason"]
    assert 1 <= served.log.read_text().count('"level": "ERROR"') <= 3
    assert doctor.returncode == 1
    assert "damaged" in doctor.stdout


@pytest.mark.parametrize("module", ["service", "monitoring", "monitoring.cli up"])
def test_a_home_that_cannot_be_written_is_a_sentence(
    request: pytest.FixtureRequest, disk: Disk, arena: Callable[[Path], Arena], tmp_path: Path, module: str
) -> None:
    folder = disk(tmp_path / "disk", "tmpfs", "24m")
    served = arena(folder)
    view = tmp_path / "view"  # the same disk, mounted to be read only
    view.mkdir()
    subprocess.run(["mount", "--bind", str(folder), str(view)], check=True)
    request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(view)], check=True))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(view)], check=True)

    variables = {
        "EVERGREEN_HOME": str(view / served.home.path.relative_to(folder)),
        "EVERGREEN_BIND": f"127.0.0.1:{free_port()}",
        "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{free_port()}",
    }
    done = subprocess.run(
        [sys.executable, "-m", *module.split()],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    output = done.stdout + done.stderr
    assert done.returncode in (1, 2)
    assert "Traceback" not in output
    assert any(words in output for words in ("cannot be written", "Read-only", "readonly"))
    assert len(output.strip().splitlines()) == 1
