"""A whole Evergreen for an end-to-end test: real gunicorn, the real monitor, a home of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from monitoring.admin.onboarding import ensure_champion
from monitoring.admin.workbench import Workbench
from monitoring.local.processes import Processes
from monitoring.local.up import addresses, child_environment
from tests.bikes import BIKES, stream_module
from tests.conftest import Once
from tests.end_to_end.arena import Arena
from tests.end_to_end.drilling import Begin, drilling
from tests.end_to_end.puppet import STRINGS, Puppet
from tests.end_to_end.system import Example, Launch, System, with_few_fits
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Return a function that trains a model file's first champion and starts service and monitor.

    What it started before stops first, so that one system runs at a time; the last one stops at the end.
    """
    with ExitStack() as stack:

        def begin(model_file: Path) -> System:
            stack.pop_all().close()
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
                "EVERGREEN_HOME": str(tmp_path_factory.mktemp("home")),
                "EVERGREEN_BIND": f"127.0.0.1:{free_port()}",
                "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{free_port()}",
                "EVERGREEN_TICK_SECONDS": "0.1",
                "EVERGREEN_ALIAS_POLL_SECONDS": "0.1",
            }
            bench = Workbench(environment)
            stack.callback(bench.close)
            spec, trained = ensure_champion(bench, model_file, None)
            processes = stack.enter_context(Processes(child_environment(bench, [spec.model]), bench.home.path / "logs"))
            for part, address in addresses(environment).items():
                processes.start(part, address)
            processes.wait_ready("service", "/readyz", seconds=PATIENCE_SECONDS)
            processes.wait_ready("monitoring", "/livez", seconds=PATIENCE_SECONDS)
            return System(bench, spec, f"http://{environment['EVERGREEN_BIND']}", trained.version if trained else "", processes)

        yield begin


@pytest.fixture
def arena(tmp_path: Path, once: Once) -> Iterator[Callable[..., Arena]]:
    """Return a function that makes a home with a version for each of some pipelines; its service stops at the end."""
    with ExitStack() as stack:
        yield lambda *pipelines: stack.enter_context(Arena(tmp_path, free_port(), pipelines, once=once))


@pytest.fixture
def strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder whose files are the strings of every `Puppet`, here and in what is started here."""
    folder = tmp_path / "strings"
    folder.mkdir()
    monkeypatch.setenv(STRINGS, str(folder))
    return folder


@pytest.fixture
def puppets(arena: Callable[..., Arena], strings: Path) -> Iterator[Arena]:
    """Return an arena in which the versions of `fares` are two puppets, 1000 apart; its service is not started.

    What they hold is let go at the end.
    """
    yield arena(Puppet(), Puppet(1000.0))
    (strings / "go").touch()


@pytest.fixture
def drill(tmp_path: Path, once: Once) -> Iterator[Begin]:
    """Return a function that puts an Evergreen under load and watch; `folder` is where, by default a new one."""
    with ExitStack() as stack:
        yield lambda folder=tmp_path, **options: stack.enter_context(drilling(folder, once, **options))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of the real data sets; without it the tests on them are skipped, loudly."""
    folder = Path(os.environ.get("EVERGREEN_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"REAL DATA ABSENT: no folder {folder}; set EVERGREEN_TEST_DATA to run the tests on real data")
    return folder


@pytest.fixture(scope="session")
def stream() -> ModuleType:
    """Return the module that simulates the example."""
    return stream_module()


@pytest.fixture(scope="module")
def example(stream: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Return a function that writes the example of a seed, with or without its events, searched for long or not; it returns the folder."""

    def write(seed: int, events: bool, searches: bool) -> Path:
        folder = tmp_path_factory.mktemp(f"bikes{seed}")
        stream.history(seed).to_csv(folder / "history.csv.gz", index=False)
        stream.live(seed, events=events).to_csv(folder / "live.csv.gz", index=False)
        text = (BIKES / "model.yaml").read_text()
        (folder / "model.yaml").write_text(text if searches else with_few_fits(text))
        return folder

    return write
