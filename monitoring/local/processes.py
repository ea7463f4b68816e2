"""The two processes of one machine, service and monitor: started, watched, restarted, stopped."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from monitoring.errors import ProcessError
from service.parent import with_us_as_parent
from service.ports import refuse_taken

STOP_SECONDS = 20.0
TOO_SHORT_SECONDS = 10.0
LOOK_SECONDS = 5.0
HUNG_LOOKS = 12
START_FACTOR = 5  # so much longer may the first answer take
MOST_DOUBLINGS = 5
BIND_VARIABLES = {"service": "EVERGREEN_BIND", "monitoring": "EVERGREEN_MONITOR_BIND"}


@dataclass(slots=True)
class Part:
    """One process: the module it runs, where it listens, what it wrote, when it began (monotonic seconds), and how it answers.

    Attributes
    ----------
    looked
        When it was asked whether it is alive (monotonic seconds).
    unanswered
        How often in a row the answer was not yes.
    has_answered
        Whether it ever was since it began.
    hangs
        How often it was started again because it did not answer.
    """

    module: str
    bind: str
    log: Path
    process: subprocess.Popen[bytes]
    began: float
    looked: float = 0.0
    unanswered: int = 0
    has_answered: bool = False
    hangs: int = 0


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
    look_seconds
        So often each part is asked whether it is alive (`/livez`); one that runs and is not, twelve times in a row, is started again,
        each time after twice as long, at most half an hour.

    Notes
    -----
    Each runs in a session of its own, so that Ctrl-C reaches only us and both are stopped in order. They end with this process
    however it ends, if they are Evergreen's own.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        logs: Path,
        *,
        too_short_seconds: float = TOO_SHORT_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._environment = dict(environment)
        self._look_seconds = look_seconds
        self._too_short_seconds = too_short_seconds
        self._logs = logs
        self._parts: list[Part] = []

    def start(self, module: str, bind: str) -> None:
        """Start `python -m <module>`, which will listen on `bind` (host:port).

        Raises
        ------
        SettingsError
            The port is taken.
        """
        refuse_taken(bind, BIND_VARIABLES.get(module, "the address"))
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

    def watch(self, say: Callable[[str], None], also: Callable[[], None] = lambda: None) -> None:
        """Stay until interrupted; a part that dies, or hangs, is started again.

        Parameters
        ----------
        also
            What else to look at, five times a second.

        Raises
        ------
        ProcessError
            A part died soon after its start: starting it again would not help.
        """
        while True:
            self.look(say)
            also()
            time.sleep(0.2)

    def look(self, say: Callable[[str], None]) -> None:
        """Look at all parts once and start again what has died or hangs; raises as `watch` does."""
        for part in self._parts:
            self._keep(part, say)

    def signal(self, module: str, number: int) -> None:
        """Send a signal to a part's first process."""
        self._named(module).process.send_signal(number)

    def pid(self, module: str) -> int:
        """Return the number of a part's first process."""
        return self._named(module).process.pid

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
            self._look_alive(part, say)
            return
        if time.monotonic() - part.began < self._too_short_seconds:
            raise ProcessError(f"{part.module} ended with code {code} right after its start:\n{tail(part.log)}")
        say(f"{part.module} ended with code {code}; starting it again")
        self._start_again(part)

    def _look_alive(self, part: Part, say: Callable[[str], None]) -> None:
        if time.monotonic() - part.looked < self._look_seconds:
            return
        is_alive = answers(part.bind, "/livez")
        part.looked = time.monotonic()
        part.has_answered |= is_alive
        part.unanswered = 0 if is_alive else part.unanswered + 1
        wanted = HUNG_LOOKS * 2 ** min(part.hangs, MOST_DOUBLINGS) * (1 if part.has_answered else START_FACTOR)
        if part.unanswered >= wanted:
            part.hangs += 1
            say(f"{part.module} runs, but its /livez did not answer 200 for {wanted * self._look_seconds:.0f} s; starting it again")
            part.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(STOP_SECONDS)
            self._start_again(part)

    def _start_again(self, part: Part) -> None:
        kill_session(part.process.pid)
        part.process.wait()
        part.process, part.began = self._spawn(part.module, part.log), time.monotonic()
        part.unanswered, part.has_answered = 0, False

    def _spawn(self, module: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", module],
                env=with_us_as_parent(self._environment),
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


def answers(bind: str, path: str) -> bool:
    """Return whether GET `path` on `bind` gives 200; asked directly, whatever proxy the environment names."""
    host, _, port = bind.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def tail(path: Path, lines: int = 8) -> str:
    """Return the last lines of a file."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) if path.exists() else ""
