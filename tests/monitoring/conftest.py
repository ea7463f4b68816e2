"""A home with a champion, trained once and copied for each test; a world with a log, a registry and a journal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from monitoring.admin.onboarding import train_file
from monitoring.admin.workbench import Workbench
from tests.bikes import stream_module, write_small_example
from tests.conftest import Once
from tests.monitoring.world import World, make_world
from tests.training.pools import Pool


@pytest.fixture(scope="session")
def bikes_file(once: Once) -> Path:
    """The example's model file beside ninety days of its history; only to be read."""

    def write(folder: Path) -> None:
        write_small_example(folder, history_days=90)
        stream_module().live(seed=0, days=20).to_csv(folder / "live.csv.gz", index=False)

    return once("bikes", write) / "model.yaml"


@pytest.fixture(scope="session")
def trained_template(once: Once, bikes_file: Path) -> Path:
    """A home with one champion; only to be copied."""

    def make(folder: Path) -> None:
        bench = Workbench({"EVERGREEN_HOME": str(folder / "home")})
        train_file(bench, bikes_file, None)
        bench.close()

    return once("trained", make) / "home"


@pytest.fixture
def trained_home(trained_template: Path, tmp_path: Path) -> Path:
    """A home with one champion, this test's own."""
    home = tmp_path / "home"
    shutil.copytree(trained_template, home)
    return home


@pytest.fixture
def make(tmp_path: Path, once: Once) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def one(**options: object) -> World:
        made.append(make_world(tmp_path, once=once, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for world in made:
        world.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


@pytest.fixture
def pool(template: Pool, tmp_path: Path) -> Pool:
    """Return the members of a module's template, in a home of this test's own."""
    shutil.copytree(template.folder, tmp_path / "home")
    return replace(template, folder=tmp_path / "home")


@pytest.fixture
def bench(pool: Pool) -> Iterator[Workbench]:
    """Return the workbench of that home."""
    opened = Workbench({"EVERGREEN_HOME": str(pool.folder)})
    yield opened
    opened.close()
