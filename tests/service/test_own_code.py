"""A real service whose workers have imported a user's code: other code needs a restart, and is told so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.own_package import GOOD, write_package
from training.registry.tables import Cause

REPOSITORY = Path(__file__).parents[2]
MODEL = """
model: rain
data: rain.csv
schema: {target: wet, task: binary, positive: "yes", features: {cloud: numeric, wind: numeric}}
training: {candidates: [{name: mine, factory: 'own_service.models:build'}], budget: 1 fits}
"""


@pytest.fixture
def evergreen(tmp_path: Path, place: Any) -> Callable[..., dict[str, Any]]:
    """Run the command as a person does, in the place's home, with a folder of code."""
    rng = np.random.default_rng(0)
    cloud, wind = rng.normal(size=300), rng.gamma(2.0, size=300)
    wet = np.where(cloud + 0.3 * rng.normal(size=300) > 0, "yes", "no")
    pd.DataFrame({"cloud": cloud, "wind": wind, "wet": wet}).to_csv(tmp_path / "rain.csv", index=False)
    (tmp_path / "model.yaml").write_text(MODEL)
    environment = {
        **os.environ,
        "EVERGREEN_HOME": str(place.home.path),
        "EVERGREEN_DATABASE_URL": place.database_url,
        "EVERGREEN_CODE": str(tmp_path / "code"),
    }

    def run(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "monitoring.cli", *arguments, "--json"]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


@pytest.mark.slow
def test_a_service_that_imported_other_code_refuses_the_version_until_it_is_restarted(
    evergreen: Callable[..., dict[str, Any]], serve: Any, place: Any, tmp_path: Path, until: Callable[..., Any]
) -> None:
    code, ask = str(write_package(tmp_path / "code", "own_service", "print('hello')\n" + GOOD)), "/models/rain/predict"
    first = evergreen("train", str(tmp_path / "model.yaml"))["version"]
    row = {"rows": [{"cloud": 1.0, "wind": 2.0}]}

    with serve(place, CODE=code, WORKERS="1", MODELS="rain") as running:
        before = running.client.post(ask, json=row).json()["version"]
        write_package(tmp_path / "code", "own_service", "print('hello again')\n" + GOOD)
        second = evergreen("train", str(tmp_path / "model.yaml"))["version"]
        place.registry.promote("rain", second, expected=first, cause=Cause("test", "test"))
        refusal = until(lambda: running.client.get("/readyz").json().get("reason"))
        meanwhile = running.client.post(ask, json=row).json()["version"]
    with serve(place, CODE=code, WORKERS="1", MODELS="rain") as running:
        after = running.client.post(ask, json=row).json()["version"]

    assert (before, meanwhile, after) == (first, first, second)
    assert "this process imported own_service before" in refusal
    assert "restart the service" in refusal
