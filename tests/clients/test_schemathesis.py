"""schemathesis against our OpenAPI: whatever it makes of the document, nothing is answered otherwise than the document says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import LONGER_SECONDS, PATIENCE_SECONDS

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
pytestmark = pytest.mark.xdist_group("schemathesis")
CROSS_FIELD = r"/infer$"  # that shape and data fit each other, JSON Schema cannot say


@pytest.mark.parametrize(
    ("examples", "seconds"), [pytest.param("6", "10", id="short"), pytest.param("15", "40", id="long", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--exclude-path-regex", CROSS_FIELD], id="all checks"),
        pytest.param(["--include-path-regex", CROSS_FIELD, "--exclude-checks", "positive_data_acceptance"], id="tensors"),
    ],
)
def test_schemathesis_finds_nothing(live: Any, tmp_path: Path, arguments: list[str], examples: str, seconds: str) -> None:
    url = str(live.client.base_url.join("/openapi.json"))
    hooks = {"PYTHONPATH": str(Path(__file__).parent), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
    bounds = ["--checks", "all", "--seed", "1", "-n", examples, "--max-time", seconds, "--warnings", "off"]
    bounds += ["--request-timeout", f"{PATIENCE_SECONDS:g}", "--suppress-health-check", "too_slow"]

    done = subprocess.run(
        [SCHEMATHESIS, "run", url, *bounds, *arguments],
        env={**os.environ, **hooks}, capture_output=True, text=True, cwd=tmp_path, timeout=LONGER_SECONDS, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
