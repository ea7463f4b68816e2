"""The two processes of one machine, service and monitor: started, watched, restarted, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from monitoring.errors import ProcessError

STOP_SECONDS = 20.0
TOO_SHORT_SECONDS = 10.0


@dataclass(slots=True)
class Part:
    """One process: the module it runs, where it listens, what it wrote, when it began (monotonic seconds)."""

    module: str
    bind: str
    log: Path
    process: subprocess.Popen[bytes]
    began: float


class Processes:
    """Run `python -m service` and `python -m monitoring` side by side; leaving the `with` stops both.

    Parameters
    ----------
    environment
        Their environment.
    logs
        The folder their output goes to, one file each.
    too_short_seconds
        A part that dies younger than this is not started again.

    Notes
    -----
    Each runs in a session of its own, so that Ctrl-C reaches only us and both are stopped in order.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path, *, too_short_seconds: float = TOO_SHORT_SECONDS) -> None:
        self._environment = dict(environment)
        self._too_short_seconds = too_short_seconds
        self._logs = logs
        self._parts: list[Part] = []

    def start(self, module: str, bind: str) -> None:
        """Start `python -m <module>`, which will listen on `bind` (host:port).

        Raises
        ------
        ProcessError
            The port is taken.
        """
        refuse_taken(bind, module)
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = self._logs / f"{module}.log"
        self._parts.append(Part(module, bind, log, self._spawn(module, log), time.monotonic()))

    def wait_ready(self, module: str, path: str, *, seconds: float = 90.0) -> None:
        """Wait until GET `path` of a part answers 200.

        Raises
        ------
        ProcessError
            It ended, or was not ready in time; the message ends in its last words.
        """
        part = self._named(module)
        deadline = time.monotonic() + seconds
        while not answers(part.bind, path):
            if part.process.poll() is not None:
                raise ProcessError(f"{module} ended with code {part.process.returncode}:\n{tail(part.log)}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{module} was not ready after {seconds:.0f} s; see {part.log}:\n{tail(part.log)}")
            time.sleep(0.05)

    def watch(self, say: Callable[[str], None]) -> None:
        """Stay until interrupted; a part that dies is started again.

        Raises
        ------
        ProcessError
            A part died soon after its start: starting it again would not help.
        """
        while True:
            self.look(say)
            time.sleep(0.2)

    def look(self, say: Callable[[str], None]) -> None:
        """Look at all parts once and start again what has died; raises as `watch` does."""
        for part in self._parts:
            self._keep(part, say)

    def signal(self, module: str, number: int) -> None:
        """Send a signal to a part's first process."""
        self._named(module).process.send_signal(number)

    def stop(self) -> None:
        """Ask all parts to end, the last started first, and kill what is left of their sessions after a while."""
        for part in reversed(self._parts):
            if part.process.poll() is None:
                part.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for part in reversed(self._parts):
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(max(0.1, deadline - time.monotonic()))
            kill_session(part.process.pid)
            part.process.wait()
        self._parts.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _keep(self, part: Part, say: Callable[[str], None]) -> None:
        code = part.process.poll()
        if code is None:
            return
        if time.monotonic() - part.began < self._too_short_seconds:
            raise ProcessError(f"{part.module} ended with code {code} right after its start:\n{tail(part.log)}")
        kill_session(part.process.pid)
        say(f"{part.module} ended with code {code}; starting it again")
        part.process, part.began = self._spawn(part.module, part.log), time.monotonic()

    def _spawn(self, module: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", module],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _named(self, module: str) -> Part:
        return next(part for part in self._parts if part.module == module)


def kill_session(leader: int) -> None:
    """Kill whatever is left of a part's process group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def refuse_taken(bind: str, what: str) -> None:
    """Raise ProcessError when something listens on `bind` already."""
    host, _, port = bind.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            name = {"service": "EVERGREEN_BIND", "monitoring": "EVERGREEN_MONITOR_BIND"}.get(what, "the address")
            raise ProcessError(
                f"cannot listen on {bind} for {what}: {error.strerror}. Is Evergreen running already? Set {name} to use another port"
            ) from error


def answers(bind: str, path: str) -> bool:
    """Whether GET `path` on `bind` gives 200."""
    try:
        with urllib.request.urlopen(f"http://{bind}{path}", timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def tail(path: Path, lines: int = 8) -> str:
    """Return the last lines of a file."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) if path.exists() else ""
