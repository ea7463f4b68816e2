"""The container and Kubernetes steps of docs/deployment.md, run as they stand there: the image is built, hardened, ready, stops."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bikes import write_small_example
from tests.documented import ROOT, blocks
from tests.end_to_end.engine import Engine, clone, missing
from tests.patience import PATIENCE_SECONDS

SHELL = [block for block in blocks(ROOT / "docs" / "deployment.md") if block.language == "sh"]
HARDENED = {"Uid": "10001", "Gid": "10001", "CapEff": "0" * 16, "NoNewPrivs": "1"}
SERVICE = "http://127.0.0.1:8000"
WAIT = f"curl -sf --retry {PATIENCE_SECONDS:g} --retry-delay 1 --retry-connrefused"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("containers"),
    pytest.mark.skipif(missing() is not None, reason=f"NOT RUN: no container engine for tests here: {missing()}"),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine")) as running:
        running.make_base()
        yield running


@pytest.fixture
def checkout(engine: Engine, tmp_path: Path) -> Iterator[Path]:
    """A fresh clone with the folder `job` of somebody who follows the docs; what they started ends with it."""
    folder = clone(tmp_path / "evergreen")
    (folder / "job").mkdir()
    write_small_example(folder / "job", history_days=40)
    yield folder
    engine.sweep()


def section(name: str) -> list[str]:
    return [block.text for block in SHELL if block.section == name]


def test_every_shell_block_stands_where_it_is_run() -> None:
    assert {block.section for block in SHELL} == {"Keys", "Container", "Kubernetes"}


def test_the_container_steps_work_as_written(engine: Engine, checkout: Path) -> None:
    build, prepare, start, stop = section("Container")

    engine.must(section("Keys")[0], checkout)
    engine.must(build, checkout)
    key = key_in(engine.must(prepare, checkout))
    shown = engine.must(start, checkout)

    assert '"status":"ready"' in shown
    assert "bikes" in shown
    assert [hardening(engine, name) for name in ("evergreen-service", "evergreen-monitor")] == [HARDENED] * 2
    assert engine.run("docker exec evergreen-service touch /opt/evergreen/x", checkout).returncode != 0
    assert is_refused_without_a_key_and_predicts_with_it(engine, key)
    assert codes(engine, checkout, "healthcheck run evergreen-service", "healthcheck run evergreen-monitor") == [0, 0]

    engine.must(stop, checkout)

    assert engine.must("podman inspect --format '{{.State.ExitCode}}' evergreen-service evergreen-monitor", checkout).split() == ["0", "0"]
    assert "1 rows" in engine.must("docker run --rm -v evergreen:/var/lib/evergreen evergreen:0.1.0 monitoring.cli doctor", checkout)


def test_the_health_check_follows_the_port_that_is_configured(engine: Engine, checkout: Path) -> None:
    engine.must(section("Container")[0], checkout)
    run = "docker run -d --network host --read-only --tmpfs /tmp"
    moved = "--name moved -v moved:/var/lib/evergreen -e EVERGREEN_BIND=127.0.0.1:9000"
    elsewhere = "--name elsewhere -v elsewhere:/var/lib/evergreen -e EVERGREEN_MONITOR_BIND='[::1]:9001'"

    engine.must(f"{run} {moved} evergreen:0.1.0 service", checkout)
    engine.must(f"{run} {elsewhere} evergreen:0.1.0 monitoring", checkout)
    engine.must(f"{WAIT} -g 127.0.0.1:9000/livez [::1]:9001/livez", checkout)

    assert codes(engine, checkout, "healthcheck run moved", "healthcheck run elsewhere") == [0, 0]


def test_the_kubernetes_steps_work_as_written(engine: Engine, checkout: Path) -> None:
    deploy, teach = section("Kubernetes")

    engine.must(section("Container")[0], checkout)
    key = key_in(engine.must(section("Keys")[0], checkout))
    engine.must(deploy, checkout)
    engine.must(f"{WAIT} {SERVICE}/livez", checkout)
    before = engine.must(f"curl -s -o /dev/null -w '%{{http_code}}' {SERVICE}/readyz", checkout)
    engine.must(teach, checkout)

    assert before == "503"
    names = engine.must("podman ps --format '{{.Names}}' | grep -E -- '-(service|monitor)$'", checkout).split()
    assert [hardening(engine, name) for name in names] == [HARDENED] * 2
    assert is_refused_without_a_key_and_predicts_with_it(engine, key)

    engine.must(f"podman stop {' '.join(names)}", checkout)

    assert engine.must(f"podman inspect --format '{{{{.State.ExitCode}}}}' {' '.join(names)}", checkout).split() == ["0", "0"]


def key_in(printed: str) -> str:
    """Return the key that `keys create` prints."""
    return re.findall(r"^key +(\S+)", printed, re.MULTILINE)[0]


def hardening(engine: Engine, name: str) -> dict[str, str]:
    """Return what the kernel says of a container's first process, as `HARDENED` names it."""
    status = engine.must(f"podman exec {name} cat /proc/1/status", ROOT)
    return {field: value.split()[0] for field, value in re.findall(r"^(\w+):\t(.+)$", status, re.MULTILINE) if field in HARDENED}


def is_refused_without_a_key_and_predicts_with_it(engine: Engine, key: str) -> bool:
    """Return whether the example that the service shows of its model is predicted, and by whoever has a key."""
    ask = f"curl -s -H 'Authorization: Bearer {key}' {SERVICE}"
    example = json.loads(engine.must(f"{ask}/models/bikes", ROOT))["example"]
    send = f"-H 'Content-Type: application/json' -d '{json.dumps(example)}'"
    answer = json.loads(engine.must(f"{ask}/models/bikes/predict {send}", ROOT))
    refused = engine.must(f"curl -s -o /dev/null -w '%{{http_code}}' {SERVICE}/models/bikes/predict {send}", ROOT)
    return refused == "401" and len(answer["predictions"]) == len(example["rows"])


def codes(engine: Engine, folder: Path, *commands: str) -> list[int]:
    """Return the exit codes of podman's answers."""
    return [engine.run(f"podman {command}", folder).returncode for command in commands]
