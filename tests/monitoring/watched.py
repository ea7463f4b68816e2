"""Monitors as processes of their own: their clocks, what they say of themselves, and how they are stopped and killed."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from monitoring.journal.tables import leases
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from training.errors import DatabaseUnavailableError
from training.settings import Home
from training.storage.database import Database

LEASE_SECONDS = 30
SHIM = Path(__file__).with_name("stepping_clock.c")


def build_clock(folder: Path) -> None:
    """Compile what lets a test set the clock of one process."""
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(folder / "clock.so"), str(SHIM), "-ldl"], check=True)


def read(bind: str, path: str) -> str | None:
    """Return what a monitor answers with 200; None while it does not."""
    try:
        with urllib.request.urlopen(f"http://{bind}{path}", timeout=PATIENCE_SECONDS) as response:
            text: str = response.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    return text


def end_lease(database: Database) -> None:
    """Let the time pass after which the lease of a monitor that is gone has run out."""
    with database.write() as connection:
        connection.execute(leases.update().values(expires_us=leases.c.expires_us - LEASE_SECONDS * 1_000_000))


@dataclass
class Watched:
    """One `python -m monitoring` with a lease that no busy machine lets run out: see `end_lease`."""

    process: subprocess.Popen[bytes]
    bind: str
    step: Path

    @classmethod
    def start(cls, home: Home, database_url: str, step: Path, clock: Path | None = None, failpoint: str = "") -> Watched:
        """Start one; `clock` is the folder in which `build_clock` was, `step` the file from which its clock is set."""
        bind = f"127.0.0.1:{free_port()}"
        settings = {
            "HOME": str(home.path), "DATABASE_URL": database_url, "MONITOR_BIND": bind, "LEASE_SECONDS": str(LEASE_SECONDS),
            "TICK_SECONDS": "0.1", "FAILPOINT": failpoint,
        }  # fmt: skip
        environment = {**os.environ, **{f"EVERGREEN_{name}": value for name, value in settings.items()}}
        if clock is not None:
            environment |= {"LD_PRELOAD": str(clock / "clock.so"), "STEPPING_CLOCK": str(step)}
        with step.with_suffix(".log").open("ab") as log:
            return cls(subprocess.Popen([sys.executable, "-m", "monitoring"], env=environment, stdout=log, stderr=log), bind, step)

    def leads(self) -> bool:
        """Return whether it says that it leads."""
        return self._metric("evergreen_scheduler_is_leader") == 1.0

    def tick_twice(self, *, near: float = 0.0) -> None:
        """Wait for two new ticks by a clock that is `near` hours from ours."""
        for _ in range(2):
            before = self._metric("evergreen_scheduler_last_tick_timestamp_seconds")
            until(lambda before=before: self._has_ticked(before, near), f"a tick at {near} h")  # type: ignore[misc]

    def stop_between_writes(self, database: Database) -> None:
        """Stop it where it holds no lock of the database: whoever does so keeps everybody from acting until it goes on."""
        while True:
            self.process.send_signal(signal.SIGSTOP)
            try:
                with database.write() as connection:
                    connection.execute(sa.select(leases).with_for_update()).all()
                return
            except DatabaseUnavailableError:
                self.go_on()

    def go_on(self) -> None:
        """Let it go on after it was stopped."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it as nothing can prevent."""
        self.process.kill()
        self.process.wait()

    def _has_ticked(self, before: float | None, near: float) -> bool:
        tick = self._metric("evergreen_scheduler_last_tick_timestamp_seconds")
        return tick is not None and tick != before and abs(tick - time.time() - near * 3600) < 1800

    def _metric(self, name: str) -> float | None:
        assert self.process.poll() is None, self.step.with_suffix(".log").read_text()
        text = read(self.bind, "/metrics") or ""
        return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), None)
