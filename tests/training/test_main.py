import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.patience import PATIENCE_SECONDS
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows

ROOT = Path(__file__).parents[2]


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EVERGREEN_HOME": str(home), "EVERGREEN_DATABASE_URL": ""}
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@pytest.fixture
def model_file(spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows], tmp_path: Path) -> Path:
    spec = spec_of("binary", "data: rows.csv")
    rows = rows_of(spec.schema, n=300)
    pd.DataFrame({**rows.columns, "y": rows.labels, "t": np.arange(300)}).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "model.yaml").write_text(spec.text)
    return tmp_path / "model.yaml"


def test_one_command_trains_and_registers_a_version(model_file: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "home", str(model_file))

    assert done.returncode == 0, done.stderr
    assert "registered" in done.stdout
    assert len(list((tmp_path / "home" / "artifacts" / "small").iterdir())) == 1


@pytest.mark.slow
def test_a_wrong_model_file_is_told_on_stderr_and_exits_1(model_file: Path, tmp_path: Path) -> None:
    model_file.write_text(model_file.read_text().replace("task: binary", "task: binry"))

    done = run(tmp_path / "home", str(model_file))

    assert done.returncode == 1
    assert "line 4, schema.task" in done.stderr
