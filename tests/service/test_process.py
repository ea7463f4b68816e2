"""The real thing: gunicorn started by `python -m service`, spoken to over HTTP."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).parents[2]


AT_THE_START = """
import gc, sys
import service.__main__
print(len({"numpy", "marshmallow", "sklearn", "flask"} & set(sys.modules)))
import runpy, threading, types
runpy.run_path(sys.argv[1])["on_starting"](types.SimpleNamespace())
print("service.app" in sys.modules, "pyarrow" in sys.modules, threading.active_count(), gc.isenabled())
"""


def test_the_first_process_is_light_and_what_every_worker_imports_is_imported_once_before_the_fork_and_starts_no_thread(
    tmp_path: Path,
) -> None:
    configuration = str(REPOSITORY / "service" / "gunicorn.conf.py")
    environment = {**os.environ, "EVERGREEN_HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", AT_THE_START, configuration], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["0", "True", "True", "1", "True"], done.stderr


@pytest.mark.parametrize("front", ["evergreen", pytest.param("gthread", marks=pytest.mark.slow)])
def test_a_row_is_predicted_labelled_and_counted(
    serve: Any, place: Any, ride: dict[str, Any], until: Callable[..., Any], front: str
) -> None:
    with serve(place, FRONT=front) as running:
        answer = running.predict(ride)
        identity = answer.json()["predictions"][0]["id"]
        first = until(lambda: joined(running, identity))
        again = until(lambda: joined(running, identity))
        scrape = running.client.get("/metrics").text

    assert (answer.status_code, answer.json()["version"]) == (200, place.bikes[0].version)
    assert (first, again) == ({"matched": 1}, {"duplicate": 1})
    assert 'evergreen_labels_total{model="bikes",result="matched"} 1.0' in scrape
    assert f'version="{place.bikes[0].version}"' in scrape
    assert "process_" not in scrape


def joined(running: Any, identity: str) -> dict[str, int] | None:
    """The counts of a label, once it is not pending any more; None, too, while the drain of a busy machine has the database."""
    counts: dict[str, int] = running.label({"id": identity, "label": True}).json().get("counts", {"pending": 1})
    return None if "pending" in counts else counts


def test_a_moved_champion_answers_in_every_worker_without_a_failed_request(
    serve: Any, place: Any, ride: dict[str, Any], until: Callable[..., Any]
) -> None:
    with serve(place, ALIAS_POLL_SECONDS="0.1") as running:
        answers = [running.predict(ride)]

        def latest() -> set[str]:
            """Ask over connections of their own, which go to both workers; return the versions that answer."""
            alone = {"json": {"rows": [ride]}, "headers": {"Connection": "close"}}
            fresh = [running.client.post("/models/bikes/predict", **alone) for _ in range(20)]
            answers.extend(fresh)
            return {answer.json()["version"] for answer in fresh}

        place.promote(1, 0)
        until(lambda: latest() == {place.bikes[1].version})

    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json()["version"] == place.bikes[0].version


@pytest.mark.parametrize("front", ["evergreen", pytest.param("gthread", marks=pytest.mark.slow)])
def test_sigterm_drains_the_spool(serve: Any, place: Any, ride: dict[str, Any], front: str) -> None:
    with serve(place, FRONT=front) as running:
        identities = [running.predict(ride).json()["predictions"][0]["id"] for _ in range(20)]

    with sqlite3.connect(place.home.database) as connection:
        [[rows]] = connection.execute("select count(*) from predictions").fetchall()
    connection.close()
    assert (rows, list(place.home.spool.glob("*.spool*"))) == (len(identities), [])


@pytest.mark.slow
def test_whoever_drains_is_found_again_after_a_reload(serve: Any, place: Any, ride: dict[str, Any], until: Callable[..., Any]) -> None:
    with serve(place, SPOOL_OLDEST_SECONDS="0.5") as running:
        running.process.send_signal(signal.SIGHUP)  # all new workers find the old drain at work
        until(lambda: "Hang up" in running.log.read_text() and not is_drained(place))
        identity = running.predict(ride).json()["predictions"][0]["id"]
        behind = until(lambda: running.client.get("/readyz").json()["degraded"])
        counts = until(lambda: joined(running, identity))
        caught_up = until(lambda: not running.client.get("/readyz").json()["degraded"])
        scrape = running.client.get("/metrics").text

    assert (behind, counts, caught_up) == (True, {"matched": 1}, True)
    assert "evergreen_spool_oldest_seconds 0.0" in scrape


def is_drained(place: Any) -> bool:
    """Whether some process holds the lock of the drain."""
    with open(place.home.spool / "drain.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_service_whose_master_was_killed_is_followed_by_the_next_at_once(
    serve: Any, place: Any, ride: dict[str, Any], until: Callable[..., Any]
) -> None:
    with serve(place) as running:
        identities = [running.predict(ride).json()["predictions"][0]["id"] for _ in range(20)]
        running.process.kill()
        running.process.wait()
        with serve(place) as after:
            labelled = [until(lambda identity=identity: joined_soon(after, identity)) for identity in identities]

    assert labelled == [{"matched": 1}] * 20


def joined_soon(running: Any, identity: str) -> dict[str, int] | None:
    """The counts of a label; None also between the last worker of a killed master and the first of the next one."""
    with suppress(httpx.TransportError):
        return joined(running, identity)
    return None


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


def test_postgresql_going_away_stops_labels_but_no_prediction(
    serve: Any, place_on: Callable[[str], Any], own_postgresql: Any, ride: dict[str, Any], until: Callable[..., Any]
) -> None:
    place = place_on(own_postgresql.url())
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
        [sys.executable, "-m", "service"],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_a_taken_port_is_a_clear_error(tmp_path: Path, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        ended = refused(HOME=str(tmp_path), BIND=f"127.0.0.1:{free_port}")

    assert ended.returncode == 2
    assert ended.stderr == (
        f"evergreen service: cannot listen on 127.0.0.1:{free_port}: Address already in use. "
        "Is Evergreen running already? Set EVERGREEN_BIND to use another port\n"
    )


def test_an_open_address_without_keys_is_refused(tmp_path: Path, free_port: int) -> None:
    ended = refused(HOME=str(tmp_path), BIND=f"0.0.0.0:{free_port}")

    assert ended.returncode == 2
    assert "without a key file" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_home_that_cannot_even_be_looked_at_is_one_sentence(tmp_path: Path, free_port: int) -> None:
    ended = refused(HOME=str(tmp_path / ("x" * 300)), BIND=f"127.0.0.1:{free_port}")

    assert ended.returncode == 2
    assert "cannot be used: File name too long" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_many_clients_at_once_get_their_own_answers(serve: Any, place: Any, ride: dict[str, Any]) -> None:
    with serve(place) as running:
        pairs: list[tuple[str, str]] = []
        threads = [threading.Thread(target=ask, args=(running, ride, f"client-{n}", pairs)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(pairs) == 8 * 20
    assert all(sent == got for sent, got in pairs)


def ask(running: Any, ride: dict[str, Any], name: str, pairs: list[tuple[str, str]]) -> None:
    for n in range(20):
        answer = running.predict({**ride, "_id": f"{name}-{n}"})
        pairs.append((f"{name}-{n}", answer.json()["predictions"][0]["own_id"]))
