"""The demo's result does not depend on the machine: its year, quiet and with the processor loaded, verdict by verdict."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.admin.terminal import plain
from monitoring.stores import open_stores
from tests.bikes import BIKES
from tests.ports import free_port
from training.model_file.model_spec import parse_spec
from training.settings import Home

DEMO = BIKES / "demo.py"
MODEL = "bikes"
FOREVER_US = 2**62
STAMPED = ("at", "created_us", "digest")
BUSY = [sys.executable, "-c", "while True: pass"]


@pytest.mark.slow
def test_a_year_on_a_busy_machine_ends_as_on_a_quiet_one(tmp_path: Path) -> None:
    quiet = play(tmp_path / "quiet")

    with busy_processor():
        busy = play(tmp_path / "busy")

    assert {"promote", "rollback", "refuse"} <= {line["action"] for line in quiet["ledger"]}
    assert busy["verdicts"] == quiet["verdicts"]
    assert busy["ledger"] == quiet["ledger"]
    assert busy["versions"] == quiet["versions"]
    assert busy["printed"] == quiet["printed"]
    np.testing.assert_allclose(busy["probability"], quiet["probability"], rtol=1e-9)


def play(folder: Path) -> dict[str, Any]:
    """Run the demo in a folder; return what it printed at its end, and what its home holds, versions by their ordinal."""
    folder.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
        "EVERGREEN_BIND": f"127.0.0.1:{free_port()}",
        "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{free_port()}",
    }
    done = subprocess.run([sys.executable, str(DEMO)], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    printed = done.stdout[done.stdout.index("the whole time line") : done.stdout.index("Look around")]
    return {**remembered(folder / ".evergreen-demo"), "printed": printed}


def remembered(home: Path) -> dict[str, Any]:
    """Return verdicts, ledger, and what answered every row with which probability."""
    stores = open_stores(Home(home), f"sqlite:///{home / 'evergreen.db'}")
    try:
        records = sorted(stores.registry.versions(MODEL), key=lambda record: record.created)
        ordinals = {record.version: f"version {place}" for place, record in enumerate(records)}
        names = re.compile("|".join(map(re.escape, ordinals)))

        def by_ordinal(value: Any) -> Any:
            return json.loads(names.sub(lambda match: ordinals[match[0]], json.dumps(without_machine_time(plain(value)))))

        spec = parse_spec(stores.registry.get_model(MODEL).spec_text, home)
        logged = stores.windows(spec).labelled(0, FOREVER_US, FOREVER_US)
        assert logged.prediction.probability is not None
        return {
            "verdicts": [by_ordinal(asdict(v)) for v in stores.journal.verdicts(MODEL, None)],
            "ledger": [by_ordinal(asdict(line)) for line in stores.registry.ledger(MODEL, None)],
            "versions": [ordinals[version] for version in logged.version],
            "probability": logged.prediction.probability,
        }
    finally:
        stores.close()


def without_machine_time(value: Any) -> Any:
    """Leave out what a clock or a name with a time stamp in it has gone into."""
    if isinstance(value, dict):
        return {name: without_machine_time(part) for name, part in value.items() if name not in STAMPED}
    return value


@contextmanager
def busy_processor() -> Iterator[None]:
    """Keep every core busy meanwhile."""
    loops = [subprocess.Popen(BUSY) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
