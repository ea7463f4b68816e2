"""What goes wrong beside a service while clients ask it: its database, its clock, its limits, labels without end, champions without end."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from sklearn.linear_model import LinearRegression

from tests.end_to_end.arena import PREDICT, Arena, fare_table
from tests.end_to_end.fault_report import Probes, longest_gap, note
from tests.end_to_end.load import Load
from tests.end_to_end.wire import Wire, request
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

pytestmark = pytest.mark.slow

ASK = request(PREDICT, {"rows": [{"distance": 3.0, "hour": 8.0}]})
LABELS = "/models/fares/labels"
STRANGE = request(LABELS, {"labels": [{"own_id": "nobody's", "label": 1.0}]})
A_MINUTE = 6000
"""Requests, 100 of them a second."""


def fitted(factor: float = 1.0) -> Any:
    table = fare_table()
    return LinearRegression().fit(table[["distance", "hour"]], table["fare"] * factor)


def account(fault: str, served: Arena, load: Load) -> set[str]:
    """Stop the service; note what the load cost, and return what was acknowledged and is not in the log."""
    served.stop()
    good = [each for each in load.sent if each.status == 200]
    ids, logged = {each.content["predictions"][0]["id"] for each in good}, served.logged_ids()
    note(fault, ids, logged, longest_gap(each.done for each in good))
    return ids - logged


# ---- the database -------------------------------------------------------------------------------------------------------


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the write lock of a SQLite database as a foreign program would."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def stopped(server: Any) -> Iterator[None]:
    """Stop a PostgreSQL server, and start it again."""
    server.stop()
    yield
    server.start()


@pytest.mark.parametrize("fault", ["6", "7"], ids=["SQLite held", "PostgreSQL stopped"])
def test_a_database_that_is_away_for_a_minute_costs_labels_and_no_prediction(
    request: pytest.FixtureRequest, tmp_path: Path, fault: str
) -> None:
    server = request.getfixturevalue("own_postgresql") if fault == "7" else None
    url = server.url() if server else ""
    with Arena(tmp_path, free_port(), [fitted()], database_url=url) as served:
        served.start()
        with Load(served.port, [ASK], per_second=100, connections=8) as load, Probes(served.port, STRANGE, pause=0.2) as labels:
            load.wait_for(200)
            labels.wait_for(1)
            with stopped(server) if server else write_lock(served.home.database):
                load.wait_for(A_MINUTE)
                refused = len(labels.failures)
            labels.wait_for(1)
            load.wait_for(200)
        lost = account(fault, served, load)

    assert (lost, load.failures()) == (set(), [])
    assert refused > 0
    assert set(labels.failures) == {503}


# ---- the clock ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc), so no clock that can be set")
def test_a_clock_that_is_set_costs_no_prediction(arena: Callable[..., Arena], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, shim, step = Path(__file__).parents[1] / "monitoring" / "stepping_clock.c", tmp_path / "clock.so", tmp_path / "step"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    with monkeypatch.context() as environment:
        environment.setenv("LD_PRELOAD", str(shim))
        environment.setenv("STEPPING_CLOCK", str(step))
        served = arena(fitted()).start()

    with Load(served.port, [ASK], per_second=100, connections=8) as load:
        for hours in (-1, 1, -72, 72, 0):
            step.write_text(str(hours * 3600))
            load.wait_for(300)
    lost = account("9", served, load)

    assert (lost, load.failures()) == (set(), [])


# ---- labels without end -------------------------------------------------------------------------------------------------


def test_a_flood_of_labels_costs_no_prediction(arena: Callable[..., Arena]) -> None:
    served, stopping, statuses = arena(fitted()).start(), threading.Event(), list[int]()
    known = [served.predict({"distance": 3.0, "hour": 8.0})["predictions"][0]["id"] for _ in range(60)]

    def flood(client: int) -> None:
        number = 0
        with served.wire() as wire:
            while not stopping.is_set():
                number += 1
                conflicts = [{"id": identity, "label": float(client + 4 * number)} for identity in known]
                unknown = [{"own_id": f"{client}-{number}-{place}", "label": 1.0} for place in range(60)]
                statuses.append(wire.ask(request(LABELS, {"labels": conflicts + unknown})).status)

    clients = [threading.Thread(target=flood, args=(client,), daemon=True) for client in range(4)]
    with Load(served.port, [ASK], per_second=100, connections=8) as load:
        for client in clients:
            client.start()
        load.wait_for(1000)
        stopping.set()
        for client in clients:
            client.join(PATIENCE_SECONDS)
    lost = account("12", served, load)

    assert (lost, load.failures()) == (set(), [])
    assert set(statuses) <= {200, 503}


# ---- champions without end ----------------------------------------------------------------------------------------------


def test_a_hundred_and_twenty_promotions_fail_no_request(arena: Callable[..., Arena]) -> None:
    served = arena(fitted(), fitted(-2.0)).start(ALIAS_POLL_SECONDS="0.1")

    with Load(served.port, [ASK], per_second=100, connections=8, lifetime=100) as load:
        for number in range(1, 121):
            version = served.promote(number % 2)
            served.until(lambda version=version: set(served.answering().values()) == {version})
    lost = account("18", served, load)

    assert (lost, load.failures()) == (set(), [])


# ---- limits of the process ----------------------------------------------------------------------------------------------

needs_prlimit = pytest.mark.skipif(shutil.which("prlimit") is None, reason="no prlimit, so no limits of a process")


@needs_prlimit
def test_connections_beyond_the_open_files_of_a_worker_keep_nobody_out(arena: Callable[..., Arena]) -> None:
    served = arena(fitted())
    served.prefix = ("prlimit", "--nofile=64:64")
    served.start()
    workers = served.workers()

    with Probes(served.port) as probes, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(Wire(served.port))
        probes.wait_for(300)
    still = served.workers()
    served.stop()
    note("nofile", probes.ids, served.logged_ids(), probes.longest_silence())

    assert (probes.failures, still) == ([], workers)
    assert set(probes.ids) <= served.logged_ids()


@pytest.mark.parametrize(
    ("room", "right"), [(20 << 20, {503}), (80 << 20, {200, 503}), (400 << 20, {200})], ids=["20 MiB", "80 MiB", "400 MiB"]
)
def test_large_bodies_for_which_there_is_no_memory_end_no_worker(arena: Callable[..., Arena], room: int, right: set[int]) -> None:
    served = arena(fitted()).start()
    workers = served.workers()
    for process in map(psutil.Process, workers):
        process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + room,) * 2)
    body = b'{"rows": [{"distance": 3.0, "hour": 8.0}]}' + b" " * (50 << 20)
    content = request(PREDICT, None, "Content-Type: application/json", f"Content-Length: {len(body)}", verb="POST")
    answers = set()

    with Probes(served.port) as probes:
        for _ in range(20):
            with served.wire() as wire:
                answers.add(wire.ask(content, body).status)
        probes.wait_for(20)
    still = served.workers()
    served.stop()
    note("memory", probes.ids, served.logged_ids(), probes.longest_silence())

    assert answers <= right
    assert (probes.failures, still) == ([], workers)
    assert set(probes.ids) <= served.logged_ids()
