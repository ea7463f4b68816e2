"""Fixtures for all rooms: a real database of each kind, fresh for each test; folders made once for all workers of a run."""

import fcntl
import os
import signal
import tarfile
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql import PostgresqlServer, running_server
from tests.surroundings import forget_surroundings
from training.settings import Home
from training.storage.database import Database, open_database

MOST_BYTES_IN_A_NAME = 24
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
OLD_HOME = Path(__file__).parent / "data" / "home_8e22de5" / "home.tar.xz"

# A busy machine is no failure, and neither is what only chance finds: that is looked for with `--hypothesis-profile new`.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("new", settings.get_profile("patient"), derandomize=False)
settings.load_profile("patient")


def pytest_configure() -> None:
    """Take over nothing from whoever started the tests: neither its variables nor the signals that a run under nohup ignores.

    Programs that tests start would ignore them too, and tests that send them wait for ever; what is handled is the default in a program.
    One thread computes, here and in what is started: threads that share few cores with other workers spend most of their time on
    waiting for each other, which they do without a pause.
    """
    forget_surroundings(os.environ)
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")  # read when scikit-learn is imported, which is later
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes that are more than a word by their parameter: archives hold the time they were made, and workers must agree on names."""
    return argname if isinstance(val, bytes) and len(val) > MOST_BYTES_IN_A_NAME else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write what a test logged so that it can be sent between processes, half of a surrogate pair too."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return a function that returns a folder of a name, made by the first worker that asks and only read by the others."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made_once(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / f"shared-{name}", shared / f"shared-{name}.done"
        with open(shared / f"shared-{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made_once


@pytest.fixture(scope="session")
def postgresql_server(once: Once) -> Iterator[PostgresqlServer]:
    """A real PostgreSQL server of this test process."""
    with running_server(once) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: PostgresqlServer) -> Iterator[str]:
    """A fresh PostgreSQL database."""
    name = f"evergreen_{uuid.uuid4().hex}"
    with psycopg.connect(postgresql_server.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield postgresql_server.url(name)
    with psycopg.connect(postgresql_server.url(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def own_postgresql(once: Once) -> Iterator[PostgresqlServer]:
    """A PostgreSQL server that this test may stop and start."""
    with running_server(once) as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of a SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path}/home/evergreen.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a fresh database, once of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database, once of each kind."""
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def old_home(tmp_path: Path) -> Home:
    """A home as commit 8e22de5 left it, see `tests/data/home_8e22de5/README.md`: a copy that only its owner can read."""
    with tarfile.open(OLD_HOME) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    home = Home(tmp_path / "old" / "home")
    for path in (home.path, *home.path.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return home
