"""A home with a champion, trained once and copied for each test."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from monitoring.onboarding import train_file
from monitoring.workbench import Workbench

ROOT = Path(__file__).resolve().parents[2]
BIKES = ROOT / "examples" / "bikes"


def example_stream() -> ModuleType:
    """Import the example's stream, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("bikes_stream", BIKES / "stream.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bikes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's model file beside ninety days of its history."""
    folder = tmp_path_factory.mktemp("bikes")
    stream = example_stream()
    stream.history(seed=0, days=90).to_csv(folder / "history.csv.gz", index=False)
    stream.live(seed=0, days=20).to_csv(folder / "live.csv.gz", index=False)
    text = (BIKES / "model.yaml").read_text().replace("budget: 12 fits", "budget: 2 fits")
    (folder / "model.yaml").write_text(text)
    return folder / "model.yaml"


@pytest.fixture(scope="session")
def trained_template(tmp_path_factory: pytest.TempPathFactory, bikes_file: Path) -> Path:
    """A home with one champion; only to be copied."""
    home = tmp_path_factory.mktemp("template") / "home"
    bench = Workbench({"EVERGREEN_HOME": str(home)})
    train_file(bench, bikes_file, None)
    bench.close()
    return home


@pytest.fixture
def trained_home(trained_template: Path, tmp_path: Path) -> Path:
    """A home with one champion, this test's own."""
    home = tmp_path / "home"
    shutil.copytree(trained_template, home)
    return home
