"""One command takes a CSV through init, train, up and a replay with late labels."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from monitoring.errors import InputError
from tests.bikes import BIKES, stream_module
from tests.ports import free_port
from training.dataset.dataset import read_table
from training.model_file.model_spec import parse_spec
from training.proposing.proposing import propose

OWN_TABLE = BIKES.parent / "own_table.py"
TARGET = "runs_empty"


@pytest.fixture(scope="module")
def own_table() -> ModuleType:
    """The command, imported."""
    spec = importlib.util.spec_from_file_location("own_table", OWN_TABLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def play(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
        "EVERGREEN_BIND": f"127.0.0.1:{free_port()}",
        "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{free_port()}",
    }
    command = [sys.executable, str(OWN_TABLE), *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_table_in_a_folder_goes_all_the_way_unattended(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    rides = stream_module().history(0, days=120)
    rides.sample(frac=1.0, random_state=0).to_csv(tmp_path / "tables" / "rides.csv", index=False)

    done = play(tmp_path, "tables", "--target", TARGET, "--time", "observed_at")

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    newer = pd.read_csv(tmp_path / ".evergreen-own" / "table" / "newer.csv")
    printed = done.stdout + done.stderr
    assert len(newer) == len(rides) - round(len(rides) * 0.6)
    assert re.search(rf"rows +{len(newer)}\b", printed)
    assert int(re.search(r"slots +(\d+)", printed)[1]) > 5  # type: ignore[index]


def test_the_parts_are_the_table_in_the_order_of_time(tmp_path: Path, own_table: ModuleType) -> None:
    rides = stream_module().history(0, days=10).head(500)
    rides.sample(frac=1.0, random_state=0).to_csv(tmp_path / "rides.csv", index=False)
    spec = parse_spec(propose(tmp_path / "rides.csv", TARGET, "observed_at").text)

    own_table.write_parts(own_table.only_table(tmp_path), spec, 0.6, tmp_path)

    older, newer = (read_table(tmp_path / f"{name}.csv", spec.schema) for name in ("older", "newer"))
    assert (len(older), len(newer)) == (300, 200)
    assert older.time_us[-1] <= newer.time_us[0]


def test_a_folder_without_the_one_table_is_refused(tmp_path: Path, own_table: ModuleType) -> None:
    with pytest.raises(InputError, match="holds 0 CSV files; name one of them"):
        own_table.only_table(tmp_path)
