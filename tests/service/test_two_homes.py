"""Two homes on one PostgreSQL, each with a service and a monitor as processes: who lacks what is promoted is not ready and says so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.patience import LONGER_SECONDS, PATIENCE_SECONDS
from tests.ports import free_port
from tests.service.conftest import REPOSITORY, Place
from training.settings import Home


@dataclass
class Installation:
    """A service and a monitor over one home."""

    home: Home
    database_url: str
    log: Path
    port: int = field(default_factory=free_port)
    monitor_port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start both, and do not wait for them."""
        settings = {
            "HOME": str(self.home.path), "DATABASE_URL": self.database_url, "BIND": f"127.0.0.1:{self.port}", "WORKERS": "1",
            "DEADLINE_SECONDS": f"{LONGER_SECONDS:g}",
            "MONITOR_BIND": f"127.0.0.1:{self.monitor_port}", "LEASE_SECONDS": "1", "TICK_SECONDS": "0.1",
        }  # fmt: skip
        environment = {**os.environ, **{f"EVERGREEN_{name}": value for name, value in settings.items()}}
        with self.log.open("ab") as log:
            for module in ("service", "monitoring"):
                command = [sys.executable, "-m", module]
                self.processes.append(subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=log, stderr=log))

    def stop(self) -> None:
        """Stop both."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(PATIENCE_SECONDS)
        self.processes.clear()

    def ready(self) -> list[tuple[int, str]]:
        """Return what the readiness of service and monitor says: status and reason; status 0 where nobody answers yet."""
        answers = []
        for port in (self.port, self.monitor_port):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE_SECONDS)
                answers.append((answer.status_code, str(answer.json()["reason"])))
            except httpx.TransportError:
                answers.append((0, ""))
        return answers

    def statuses(self) -> list[int]:
        """Return the statuses of both."""
        return [status for status, _ in self.ready()]

    def version(self, ride: dict[str, Any]) -> str:
        """Return which version answers."""
        answer = httpx.post(f"http://127.0.0.1:{self.port}/models/bikes/predict", json={"rows": [ride]}, timeout=PATIENCE_SECONDS)
        return str(answer.json().get("version"))


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[[str, Home, str], Installation]]:
    """Return a function that makes an installation, which is stopped at the end."""
    made: list[Installation] = []

    def one(name: str, home: Home, database_url: str) -> Installation:
        made.append(Installation(home, database_url, tmp_path / f"{name}.log"))
        return made[-1]

    yield one
    for installation in made:
        installation.stop()


@pytest.mark.slow
def test_on_one_postgresql_the_home_that_lacks_the_champion_is_not_ready_and_says_so_at_start(
    place_on: Callable[[str], Place],
    postgresql_url: str,
    install: Callable[[str, Home, str], Installation],
    until: Callable[..., Any],
    ride: dict[str, Any],
    tmp_path: Path,
) -> None:
    place = place_on(postgresql_url)
    old, new = (artifact.version for artifact in place.bikes)
    shutil.copytree(place.home.path, tmp_path / "other")
    lacking = tmp_path / "other" / "artifacts" / "bikes" / new
    shutil.rmtree(lacking)
    here, there = install("here", place.home, postgresql_url), install("there", Home(tmp_path / "other"), postgresql_url)
    for installation in (here, there):
        installation.start()
    until(lambda: here.statuses() == there.statuses() == [200, 200])

    place.promote(1, 0)
    until(lambda: here.version(ride) == new)
    until(lambda: there.statuses() == [503, 503])
    while_running = there.ready()
    there.stop()
    there.start()
    until(lambda: there.statuses() == [503, 503])
    at_start = there.ready()

    assert [str(lacking) in reason for _, reason in while_running + at_start] == [True] * 4
    assert (here.statuses(), here.version(ride)) == ([200, 200], new)

    place.promote(0, 1)
    until(lambda: here.statuses() == there.statuses() == [200, 200])
    assert [installation.version(ride) for installation in (here, there)] == [old] * 2
