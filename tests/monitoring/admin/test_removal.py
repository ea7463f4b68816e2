"""What is removed is gone, what others need stays, and the ledger knows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring.admin.removal import remove_model, remove_version
from monitoring.admin.status import resolve
from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from monitoring.errors import InputError
from monitoring.journal.leases import Turn
from monitoring.journal.tables import RETRAIN
from service.errors import SettingsError
from service.home_lock import claim
from tests.conftest import Once
from tests.monitoring.world import World, make_world, weather
from training.errors import RegistryError, UnknownModelError, UnknownVersionError
from training.registry.lineage import history_of
from training.registry.tables import Cause


@pytest.fixture
def world(tmp_path: Path, once: Once) -> Iterator[World]:
    """A home whose first version is `previous` and whose second one, of other rows, is the champion."""
    world = make_world(tmp_path, history_days=20, once=once)
    promote(world, world.train(weather(1, 5, 20)))
    yield world
    world.close()


@pytest.fixture
def bench(world: World) -> Iterator[Workbench]:
    opened = Workbench({"EVERGREEN_HOME": str(world.stores.home.path)})
    yield opened
    opened.close()


def promote(world: World, version: str) -> None:
    registry, cause = world.stores.registry, Cause("test", "another")
    registry.promote("rain", version, expected=world.champion, cause=cause, now=world.machine_now)


def rows_of(world: World, version: str) -> Path:
    return world.stores.home.rows / f"{world.stores.registry.version('rain', version).manifest['rows_digest']}.parquet"


def test_removing_the_previous_one_clears_that_alias_and_keeps_manifest_and_ledger(world: World, bench: Workbench) -> None:
    previous = resolve(bench, "rain", "previous")
    folder = bench.home.artifacts / previous.path
    rows = rows_of(world, previous.version)

    removed = remove_version(bench, "rain", "previous", "too old")

    line = bench.registry.ledger("rain", 1)[0]
    assert (removed["version"], removed["aliases_cleared"], removed["row_files"]) == (previous.version, ["previous"], 1)
    assert (line.action, line.version, line.why) == ("remove", previous.version, "too old")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "signature"]
    assert bench.registry.version("rain", previous.version).manifest == previous.manifest
    assert not rows.exists()
    assert [record.version for record in bench.registry.versions("rain")] == [world.champion]
    assert bench.registry.alias("rain", "previous") is None


def test_what_was_removed_cannot_be_brought_back(world: World, bench: Workbench) -> None:
    gone = remove_version(bench, "rain", "previous", "by hand")["version"]

    with pytest.raises(UnknownVersionError, match="no previous champion"):
        bench.registry.roll_back("rain", expected=world.champion, cause=Cause("test", "back"))
    with pytest.raises(UnknownVersionError, match=f"the version {gone} of rain was removed"):
        bench.registry.promote("rain", gone, expected=world.champion, cause=Cause("test", "again"))
    with pytest.raises(UnknownVersionError, match="was removed"):
        bench.registry.set_alias("rain", "challenger", gone, cause=Cause("test", "again"))
    with pytest.raises(UnknownVersionError, match="was removed"):
        remove_version(bench, "rain", gone, "twice")


def test_a_rollback_passes_over_what_was_removed(world: World, bench: Workbench) -> None:
    first, second = resolve(bench, "rain", "previous").version, world.champion
    for seed in (2, 3):
        promote(world, world.train(weather(seed, 5, 20)))
    third = resolve(bench, "rain", "previous").version
    remove_version(bench, "rain", second, "by hand")

    back = [bench.registry.roll_back("rain", expected=world.champion, cause=Cause("test", "back")).version for _ in range(2)]

    assert back == [third, first]


def test_the_champion_is_not_removed(world: World, bench: Workbench) -> None:
    with pytest.raises(RegistryError, match=f"{world.champion} is the champion of rain"):
        remove_version(bench, "rain", "champion", "by hand")

    assert bench.load(resolve(bench, "rain", None)).version == world.champion


def test_what_an_open_run_or_probation_needs_is_not_removed(world: World, bench: Workbench) -> None:
    previous, turn = resolve(bench, "rain", "previous").version, Turn(world.machine_now)
    run_of = world.stores.journal.begin_run(turn, "rain", RETRAIN, 1, payload={"champion": previous})
    assert run_of is not None

    with pytest.raises(InputError, match=r"is in a run that is not over \(rain.retrain.1\)"):
        remove_version(bench, "rain", "previous", "by hand")
    with pytest.raises(InputError, match="a run of rain is not over"):
        remove_model(bench, "rain", "by hand")
    world.stores.journal.finish_run(turn, run_of.run_id, {})
    world.stores.journal.start_probation(turn, "rain", world.champion, previous, started_us=0, looks=2)
    with pytest.raises(InputError, match="open probation"):
        remove_version(bench, "rain", "previous", "by hand")
    world.stores.journal.close_probation(turn, "rain", "passed")

    assert remove_version(bench, "rain", "previous", "by hand")["version"] == previous


def test_rows_stay_while_another_version_was_trained_on_them(world: World, bench: Workbench) -> None:
    twin = world.train(weather(1, 5, 20))

    removed = remove_version(bench, "rain", twin, "by hand")

    assert removed["row_files"] == 0
    assert rows_of(world, world.champion).exists()


def test_rows_stay_while_they_are_the_history_that_a_retraining_goes_on_from(world: World, bench: Workbench) -> None:
    root = resolve(bench, "rain", "previous")
    champion = bench.registry.version("rain", world.champion)
    with world.stores.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE registry_versions SET run_id = 'rain.retrain.1', parent = ? WHERE version = ?", (root.version, champion.version)
        )
    assert history_of(bench.registry, bench.registry.version("rain", champion.version)) == root

    removed = remove_version(bench, "rain", "previous", "by hand")

    assert removed["row_files"] == 0
    assert rows_of(world, root.version).exists()


def test_a_model_goes_with_log_labels_and_journal_and_may_come_again(world: World, bench: Workbench) -> None:
    world.answer(weather(4, 20, 3))
    world.stores.journal.begin_run(Turn(world.machine_now), "rain", RETRAIN, 1)
    world.stores.journal.finish_run(Turn(world.machine_now), "rain.retrain.1", {})
    manifests = sorted(bench.home.artifacts.rglob("manifest.json"))

    removed = remove_model(bench, "rain", "not needed")

    assert (removed["versions"], removed["logged_rows"], removed["row_files"]) == (2, 120, 2)
    assert bench.registry.models() == []
    assert bench.registry.aliases() == []
    assert (bench.log.size("rain").rows, bench.log.watermark("rain"), bench.journal.runs("rain")) == (0, None, [])
    assert sorted(bench.home.artifacts.rglob("manifest.json")) == manifests
    assert bench.registry.ledger("rain", 1)[0].action == "remove"
    with pytest.raises(UnknownModelError):
        bench.model_named("rain")

    bench.registry.put_model(world.spec)
    world.machine_now += timedelta(days=1)
    again = world.train(weather(5, 0, 20))
    bench.registry.promote("rain", again, expected=None, cause=Cause("test", "anew"))

    assert [record.version for record in bench.registry.versions("rain")] == [again]
    with pytest.raises(UnknownVersionError, match="no previous champion"):
        bench.registry.roll_back("rain", expected=again, cause=Cause("test", "back"))


def test_other_models_are_left_alone(world: World, bench: Workbench) -> None:
    world.answer(weather(4, 20, 1))
    with bench.database.write() as connection:
        for table in ("registry_models", "predictions", "clocks"):
            columns = [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]
            copied = ", ".join(
                "'snow'" if name == "model" else "id_prefix || 's'" if name == "id_prefix" else f'"{name}"' for name in columns
            )
            connection.exec_driver_sql(f"INSERT INTO {table} SELECT {copied} FROM {table}")

    remove_model(bench, "rain", "by hand")

    assert [record.name for record in bench.registry.models()] == ["snow"]
    assert bench.log.count("snow") == 40


def test_a_model_is_not_removed_under_a_running_service(world: World, bench: Workbench) -> None:
    lock = claim(bench.home)
    try:
        with pytest.raises(SettingsError, match="another service"):
            remove_model(bench, "rain", "by hand")
    finally:
        os.close(lock)

    assert [record.name for record in bench.registry.models()] == ["rain"]


@pytest.mark.parametrize(("options", "code"), [([], 2), (["--yes"], 0)])
def test_a_whole_model_wants_a_yes(world: World, capsys: pytest.CaptureFixture[str], options: list[str], code: int) -> None:
    environment = {"EVERGREEN_HOME": str(world.stores.home.path)}

    assert run(["remove", "rain", *options], environment) == code
    assert ("--yes removes it" in capsys.readouterr().err) is (code == 2)
    assert (run(["ledger", "--model", "rain"], environment), "remove" in capsys.readouterr().out) == (0, code == 0)
