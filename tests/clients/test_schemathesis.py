"""schemathesis against our OpenAPI: whatever it makes of the document, nothing is answered otherwise than the document says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
CROSS_FIELD = r"/infer$"  # that shape and data fit each other, JSON Schema cannot say


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--exclude-path-regex", CROSS_FIELD], id="all checks"),
        pytest.param(["--include-path-regex", CROSS_FIELD, "--exclude-checks", "positive_data_acceptance"], id="tensors"),
    ],
)
def test_schemathesis_finds_nothing(live: Any, tmp_path: Path, arguments: list[str]) -> None:
    url = str(live.client.base_url.join("/openapi.json"))
    hooks = {"PYTHONPATH": str(Path(__file__).parent), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
    bounds = ["--checks", "all", "--seed", "1", "-n", "15", "--max-time", "40", "--warnings", "off"]

    done = subprocess.run(
        [SCHEMATHESIS, "run", url, *bounds, *arguments],
        env={**os.environ, **hooks}, capture_output=True, text=True, cwd=tmp_path, timeout=280, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
