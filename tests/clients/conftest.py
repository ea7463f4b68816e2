"""The service as other people's clients meet it: a live `python -m service`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import ports
from tests.patience import LONGER_SECONDS, PATIENCE_SECONDS
from tests.service.conftest import REPOSITORY, Running, free_port, make_place, place, serve, trained, until

__all__ = ["free_port", "place", "serve", "trained", "until"]

collect_ignore_glob = ["scripts/*", "schemathesis_hooks.py"]


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest, trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running service in which `/invocations` means `bikes`; one a module, or one for each front that the module names."""
    folder = tmp_path_factory.mktemp("clients")
    for made in make_place(trained, folder / "home"):
        port = ports.free_port()
        environment = {
            **os.environ,
            "EVERGREEN_HOME": str(made.home.path),
            "EVERGREEN_DATABASE_URL": made.database_url,
            "EVERGREEN_BIND": f"127.0.0.1:{port}",
            "EVERGREEN_DEADLINE_SECONDS": f"{LONGER_SECONDS:g}",
            "EVERGREEN_DEFAULT_MODEL": "bikes",
            "EVERGREEN_FRONT": getattr(request, "param", "evergreen"),
        }
        log = folder / "service.log"
        with open(log, "a") as out, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            process = subprocess.Popen(
                [sys.executable, "-m", "service"], env=environment, cwd=REPOSITORY, stdout=out, stderr=out, text=True
            )
            running = Running(process, client, log)
            try:
                running.wait_ready()
                yield running
            finally:
                running.stop()


@pytest.fixture
def ride() -> dict[str, Any]:
    """A row that `bikes` takes."""
    return {"at": "2026-01-11T00:00:00Z", "temp": 12.5, "docks": 3, "workday": True, "district": "north"}
