"""What exists keeps working: a whole home made at commit 8e22de5, before modules moved into rooms, is gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring.stores import open_stores
from service.prediction_log.tables import predictions
from tests.monitoring.world import START, World, weather
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from training.artifacts.artifact import LoadedArtifact, load_cached, load_verified
from training.artifacts.pickles import COMPILED, MODEL, read_pickle
from training.artifacts.replay_in_child import replay_in_child
from training.artifacts.signing import load_or_make_key
from training.model_file.model_spec import parse_spec
from training.registry.aliases import CHAMPION
from training.schema.rows import Rows
from training.settings import Home

REPOSITORY = Path(__file__).parents[2]
VERSIONS = {
    "imported": "fares/20260105T000000Z-e097004bf48f",
    "constant": "fares/20260105T000001Z-c42ab475e323",
    "boosting": "rain/20260105T000001Z-a489d3a90377",
    "linear": "rain/20260105T000002Z-0be5d5d3c4d5",
    "forest": "rain/20260105T000003Z-f2189aba06ff",
}
CHAMPIONS = ("imported", "boosting")
LOGGED, IN_SPOOL = 1160, 15


def load(home: Home, name: str, cache: Path) -> LoadedArtifact:
    return load_verified(home.artifacts / VERSIONS[name], cache, load_or_make_key(home.signing_key))


@pytest.fixture
def world(old_home: Home) -> Iterator[World]:
    """The stores of the old home, a while after its monitor was killed."""
    stores = open_stores(old_home, f"sqlite:///{old_home.database}")
    spec = parse_spec(stores.registry.get_model("rain").spec_text)
    opened = World(stores, spec, machine_now=START + timedelta(hours=1))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", VERSIONS)
def test_an_old_artifact_is_verified_and_answers_its_golden_rows(name: str, old_home: Home, tmp_path: Path) -> None:
    loaded = load(old_home, name, tmp_path / "cache")

    loaded.self_test()
    loaded.golden.compare(loaded.model, loaded.schema)
    assert (loaded.compiled is None) == (name == "imported")
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", CHAMPIONS)
def test_an_old_copy_in_the_cache_answers_without_its_artifact(name: str, old_home: Home) -> None:
    model, _, version = VERSIONS[name].partition("/")
    digest = json.loads((old_home.champions / f"{model}.json").read_text())["digest"]

    loaded = load_cached(old_home.cache / digest, load_or_make_key(old_home.signing_key))

    loaded.self_test()
    assert loaded.version == version


@pytest.mark.parametrize("name", ["imported", "boosting"])
def test_an_old_artifact_is_replayed_in_a_child(name: str, old_home: Home) -> None:
    replay_in_child(old_home.artifacts / VERSIONS[name])


def test_arrays_of_an_old_artifact_are_memory_mapped(old_home: Home, tmp_path: Path) -> None:
    plain = read_pickle(old_home.artifacts / VERSIONS["imported"] / MODEL, "r")["pipeline"]
    compiled = read_pickle(old_home.artifacts / VERSIONS["boosting"] / COMPILED, "r")["compiled"]
    served = load(old_home, "boosting", tmp_path / "cache").compiled

    assert isinstance(plain._fit_X, np.memmap)
    assert isinstance(compiled.engine.walker.nodes, np.memmap)
    assert isinstance(served.engine.walker.nodes.base, np.memmap)


def test_the_old_registry_and_journal_are_read(world: World) -> None:
    registry, journal = world.stores.registry, world.stores.journal

    assert {a.model: f"{a.model}/{a.version}" for a in registry.aliases() if a.alias == CHAMPION} == {
        "fares": VERSIONS["imported"],
        "rain": VERSIONS["boosting"],
    }
    assert sorted(f"{v.model}/{v.version}" for model in ("fares", "rain") for v in registry.versions(model)) == sorted(VERSIONS.values())
    assert [line.action for line in registry.ledger("rain", None)][-3:] == ["promote", "register", "model"]
    assert world.verdicts() == ["keep", "keep", "keep", "retrain"]
    assert [run.run_id for run in journal.running("rain")] == ["rain.retrain.7257600000000", "rain.tick.7257600000000"]


def test_the_contracts_of_old_models_have_the_hashes_they_had(world: World, old_home: Home) -> None:
    records = world.stores.registry.models()

    assert {record.name for record in records} == {"fares", "rain"}
    for record in records:
        assert parse_spec(record.spec_text, stored=True).schema.contract_hash == record.contract_hash
    for name in VERSIONS:
        stored = json.loads((old_home.artifacts / VERSIONS[name] / "manifest.json").read_text())
        assert load(old_home, name, old_home.cache).schema.contract_hash == stored["contract_hash"]


def test_the_running_slot_of_a_killed_monitor_is_gone_on_with(world: World) -> None:
    watch = world.monitor("new")

    world.settle(watch)

    runs = {run.run_id: (run.state, run.attempt) for run in world.stores.journal.runs("rain", limit=None)}
    assert runs["rain.tick.7257600000000"] == runs["rain.retrain.7257600000000"] == ("done", 2)
    assert world.verdicts()[:4] == ["keep", "keep", "keep", "retrain"]
    assert world.actions() == ["promote", "promote"]


def test_old_versions_keep_the_classic_rule_until_the_next_training(world: World) -> None:
    watch = world.monitor("new")
    world.settle(watch)
    of_old = world.stores.journal.verdicts("rain", limit=None)
    promoted = world.champion

    days, world.sent = weather(1, 91, 25), world.stores.log.offset("spool").offset
    world.answer(Rows({**days.columns, "seen": days.time_us / 1e6}, days.labels, days.time_us))
    world.settle(watch)

    new = [v for v in world.stores.journal.verdicts("rain", limit=None) if v.slot_us > of_old[0].slot_us]
    assert {v.evidence["champion"] for v in of_old} & {v.split("/")[1] for v in VERSIONS.values()}
    assert not any("rule" in v.evidence["drift"] for v in of_old if v.evidence["champion"] != promoted)
    assert {v.evidence["drift"]["rule"] for v in new} == {"sequential"}
    assert new[0].evidence["drift"]["columns"] != []
    state = world.stores.journal.watch_state("rain")
    assert state is not None
    assert promoted in world.stores.journal.reference("rain", state.reference).why


def ask(port: int, path: str, body: object = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)


@pytest.fixture
def port(old_home: Home, tmp_path: Path) -> Iterator[int]:
    """The port of a service over the old home, ready."""
    port = free_port()
    variables = {"EVERGREEN_HOME": str(old_home.path), "EVERGREEN_BIND": f"127.0.0.1:{port}", "EVERGREEN_WORKERS": "1"}
    with open(tmp_path / "service.log", "wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "service"], env={**os.environ, **variables}, cwd=REPOSITORY, stdout=log, stderr=log
        )

    def is_ready() -> bool:
        with suppress(OSError):
            return ask(port, "/readyz") is not None
        return False

    until(is_ready, (tmp_path / "service.log").read_text)
    yield port
    service.terminate()
    assert service.wait(PATIENCE_SECONDS) == 0


def test_the_service_drains_the_old_spool_and_answers_with_the_old_versions(port: int, old_home: Home, world: World) -> None:
    golden = load(old_home, "boosting", old_home.cache).golden
    expected = dict(zip(golden.classes, golden.probabilities[0], strict=True))

    answer = ask(port, "/models/rain/predict", {"rows": [golden.rows[0]]})
    prediction = answer["predictions"][0]

    assert f"rain/{answer['version']}" == VERSIONS["boosting"]
    assert prediction["label"] == golden.labels[0]
    assert prediction["probabilities"] == pytest.approx(expected, abs=1e-9)
    until(lambda: n_logged(world) == LOGGED + IN_SPOOL + 1, lambda: f"the spool is drained; {n_logged(world)} rows are logged")
    measures = world.stores.log.measures("rain")
    assert measures is not None
    assert measures.bins_id == load(old_home, "boosting", old_home.cache).reference.measures.id
    buckets = world.stores.log.buckets("rain", measures.bins_id, 0, 1 << 62)
    assert sum(profile.rows for _, profile in buckets) == world.stores.log.count("rain") > LOGGED  # the old counts go on


def n_logged(world: World) -> int:
    with world.stores.database.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(predictions)) or 0


def test_the_command_line_reads_the_old_home(old_home: Home) -> None:
    command = [sys.executable, "-m", "monitoring.cli", "--home", str(old_home.path), "status"]

    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    assert done.returncode == 0, done.stderr
    assert VERSIONS["boosting"].partition("/")[2] in done.stdout
    assert VERSIONS["imported"].partition("/")[2] in done.stdout
