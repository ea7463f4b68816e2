"""A server as a tree of processes: started, weighed, stopped; read from /proc alone."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.serving.places import CPUS

_TICKS = os.sysconf("SC_CLK_TCK")
_MARK = "EVERGREEN_BENCH_MARK"


class Tree:
    """The processes one command started, those that left their parent included: all inherit a mark in the environment.

    Parameters
    ----------
    log
        Where output and errors go.

    Attributes
    ----------
    idle_share : float
        Cores it uses while nobody asks it anything; 0 until `learn_idle`.
    """

    idle_share = 0.0

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self._mark = f"{_MARK}={secrets.token_hex(8)}"
        marked = {**environment, _MARK: self._mark.partition("=")[2]}
        with log.open("wb") as out:
            self.began = time.perf_counter()
            self._first = subprocess.Popen(
                command, env=marked, cwd=folder, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )

    @property
    def is_running(self) -> bool:
        """Whether the first process is there."""
        return self._first.poll() is None

    def pids(self) -> list[int]:
        """Return the processes of the tree that are there now, with those that wrote over their environment (Ray's do)."""
        pids = [pid for pid in _all_pids() if self._is_ours(pid)]
        parents = {pid: _parent(pid) for pid in _all_pids()}
        while more := [pid for pid, parent in parents.items() if parent in pids and pid not in pids]:
            pids += more
        return pids

    def _is_ours(self, pid: int) -> bool:
        try:
            content = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return self._mark.encode() in content.split(b"\0")

    def megabytes(self) -> float:
        """Return the proportional set size of all of them: a page that several share counts in parts."""
        return sum(map(_pss, self.pids())) / 1024

    def cpu_seconds(self) -> float:
        """Return the processor time they used so far."""
        return sum(map(_cpu, self.pids()))

    def learn_idle(self, seconds: float = 1.0) -> None:
        """Measure what it uses while nobody asks it anything: some servers never sleep."""
        used = self.cpu_seconds()
        time.sleep(seconds)
        self.idle_share = (self.cpu_seconds() - used) / seconds

    def stop(self, patience: float = 8.0) -> None:
        """Ask, wait, kill; only processes of this tree."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._first.pid, signal.SIGTERM)
        ends = time.perf_counter() + patience
        while (left := self.pids()) and time.perf_counter() < ends:
            self._first.poll()
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._first.wait(10)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _fields(pid: int) -> list[str]:
    """Return what stands behind the name in ``stat``: state, parent, ... ; nothing when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _parent(pid: int) -> int:
    return int((_fields(pid) or ["", "0"])[1])


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return 0


def _cpu(pid: int) -> float:
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def own_seconds() -> float:
    """Return the processor time of this process and of the children it waited for (the generator of load)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def busy_seconds() -> float:
    """Return how long the shared cores were busy so far, with anything; what the hypervisor took counts."""
    names = {f"cpu{cpu}" for cpu in CPUS}
    with open("/proc/stat") as lines:
        fields = [line.split() for line in lines if line.split()[0] in names]
    return sum(int(n) for line in fields for n in (*line[1:4], *line[6:9])) / _TICKS


def free_port(port: int) -> int:
    """Return the first port from `port` on that nobody listens on: another's answers must not be taken for ours."""
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
        port += 1


def pin() -> None:
    """Keep this process, and all that it starts, on the shared cores; end as by Ctrl-C when asked to go, so that no server stays behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.sched_setaffinity(0, set(CPUS) & os.sched_getaffinity(0))
