"""Versions that nothing needs lose their files, but their manifests; what is needed stays."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitoring.admin.doctor import retained
from monitoring.admin.status import resolve, versions_of
from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from monitoring.errors import LeaseLostError
from monitoring.journal.leases import Turn
from monitoring.journal.tables import RETRAIN
from monitoring.loop.retention import YOUNG, delete_unregistered, expire_versions
from monitoring.stores import Stores, open_stores
from service.models.last_champion import LastChampion, write_last_champion
from tests.training.pools import NOW, Pool, make_pool, spec_text_of
from training.artifacts.artifact import Artifact
from training.artifacts.signing import load_or_make_key
from training.errors import UnknownVersionError
from training.json_text import to_text
from training.model_file.model_spec import ModelSpec, parse_spec
from training.registry.tables import Cause
from training.settings import Home

CAUSE = Cause("test", "test")
LATER = NOW + timedelta(days=30)
SPEC = parse_spec(spec_text_of("binary") + "retention: {versions: 2}\n")
LEFT = ["manifest.json", "signature"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A home whose first version was weighed eleven times; then one of another two members followed. A run made a fourth in vain."""
    home = Home(tmp_path_factory.mktemp("template") / "home").ensure()
    stores = open_stores(home, home.database_url)
    stores.registry.put_model(SPEC)
    pool = make_pool(home.path, "binary", {}, {}, {}, {}, key=load_or_make_key(home.signing_key))
    first, second, third, refused = (Artifact(one.path, one.manifest, one.digest) for one in pool.members)
    stores.registry.register(first, cause=CAUSE, now=NOW)
    for each in (second, third, refused):
        stores.registry.register(each, cause=CAUSE, run_id="run", now=NOW)
    stores.registry.promote("small", first.version, expected=None, cause=CAUSE, now=NOW)
    champion = first.version
    for number in range(1, 12):
        alone = [replace(first.manifest.as_member("all"), map=(1.0 + number, 0.0))]
        weighed = pool.save(alone, parent=champion, generation=first.version, reweighed=number, now=NOW + timedelta(hours=number))
        champion = stores.registry.reweigh(weighed, expected=champion, cause=CAUSE, now=NOW).version
    both = pool.save([replace(one.manifest.as_member("all"), weight=0.5) for one in pool.members[1:3]], parent=champion)
    stores.registry.register(both, cause=CAUSE, run_id="run", now=NOW)
    stores.registry.promote("small", both.version, expected=champion, cause=CAUSE, now=NOW)
    for number in range(4):
        (home.rows / f"rows-{number}.parquet").write_bytes(b"rows")
    stores.close()
    return pool


@pytest.fixture
def stores(bench: Workbench) -> Stores:
    return Stores(bench.home, bench.database, bench.registry, bench.log, bench.journal)


def expire(stores: Stores, now: datetime = LATER, spec: ModelSpec = SPEC) -> list[str]:
    return expire_versions(stores, Turn(now), spec)


def files(stores: Stores, version: str) -> list[str]:
    return sorted(path.name for path in (stores.home.artifacts / stores.registry.version("small", version).path).iterdir())


def test_old_weighings_go_and_members_stay(stores: Stores, pool: Pool) -> None:
    first = pool.members[0].version
    stores.load("small", f"{first}.0001")
    copy = stores.home.cache / stores.registry.version("small", f"{first}.0001").digest
    was_there = copy.exists()

    gone = expire(stores)

    assert gone == [f"{first}.0001", pool.members[3].version]  # the generation's newest ten stay
    assert (was_there, copy.exists()) == (True, False)
    assert [files(stores, version) for version in gone] == [LEFT, LEFT]
    assert [path.name for path in sorted(stores.home.rows.glob("rows-*"))] == [f"rows-{number}.parquet" for number in range(3)]
    line = stores.registry.ledger("small", 1)[0]
    assert (line.action, line.version, line.evidence["versions"]) == ("expire", None, gone)
    assert "spec.yaml" in files(stores, f"{first}.0002")
    assert stores.registry.version("small", gone[0]).manifest["reweighed"] == 1
    for version in (f"{first}.0002", first, stores.registry.aliases()[0].version):
        stores.load("small", version).self_test()
    assert expire(stores) == []


def test_what_went_is_not_promoted_and_says_why(stores: Stores, bench: Workbench) -> None:
    gone = expire(stores)[0]
    champion, why = resolve(bench, "small", None).version, rf"the files of the version {gone} of small went by retention on 2026-\d\d-\d\d "

    with pytest.raises(UnknownVersionError, match=why):
        stores.registry.promote("small", gone, expected=champion, cause=CAUSE)
    with pytest.raises(UnknownVersionError, match=why):
        stores.registry.set_alias("small", "challenger", gone, cause=CAUSE)
    with pytest.raises(UnknownVersionError, match=why):
        resolve(bench, "small", gone)


def test_verbs_say_how_many_went(stores: Stores, bench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    gone = expire(stores)

    listed, checks = versions_of(bench, "small"), {check.check: check.detail for check in retained(bench)}

    assert not {*gone} & {row["version"] for row in listed}
    assert checks["versions of small"] == "the files of 2 went by retention; their manifests are left"
    assert run(["versions"], {"EVERGREEN_HOME": str(bench.home.path)}) == 0
    assert "2 more went by retention" in capsys.readouterr().out


def test_whoever_died_before_the_files_were_gone_is_followed_up(stores: Stores, pool: Pool) -> None:
    version = f"{pool.members[0].version}.0001"
    stores.registry.expire("small", [version], cause=CAUSE, now=LATER)
    before = files(stores, version)

    gone = expire(stores)

    assert (gone, "spec.yaml" in before, files(stores, version)) == ([pool.members[3].version], True, LEFT)


def test_what_a_run_names_stays_and_the_last_training_too(stores: Stores, pool: Pool) -> None:
    version, turn = f"{pool.members[0].version}.0001", Turn(LATER)
    begun = stores.journal.begin_run(turn, "small", RETRAIN, 1, payload={"champion": version})
    assert begun is not None

    gone_while_it_ran = expire(stores)
    stores.journal.finish_run(turn, begun.run_id, {})
    gone_before_it_was_concluded = expire(stores)

    assert (gone_while_it_ran, gone_before_it_was_concluded) == ([pool.members[3].version], [])
    assert "spec.yaml" in files(stores, version)


def test_what_the_note_of_a_service_names_stays_with_its_copies(stores: Stores, pool: Pool) -> None:
    record = stores.registry.version("small", f"{pool.members[0].version}.0001")
    stores.load("small", record.version)
    write_last_champion(stores.home.champions, LastChampion("small", record.version, record.digest))

    assert expire(stores) == [pool.members[3].version]
    assert (stores.home.cache / record.digest).exists()


def test_the_challenger_that_was_refused_last_stays(stores: Stores, pool: Pool) -> None:
    stores.registry.record("small", "refuse", version=pool.members[3].version, cause=CAUSE, now=NOW)

    assert expire(stores) == [f"{pool.members[0].version}.0001"]


def test_what_an_open_probation_may_bring_back_stays(stores: Stores, pool: Pool) -> None:
    version, champion = f"{pool.members[0].version}.0001", stores.registry.aliases()[0].version
    stores.journal.start_probation(Turn(LATER), "small", champion, version, started_us=0, looks=2)

    assert expire(stores) == [pool.members[3].version]


def test_what_was_made_just_now_stays(stores: Stores, pool: Pool) -> None:
    version, ripe = f"{pool.members[0].version}.0001", NOW + timedelta(hours=1) + YOUNG

    assert version not in expire(stores, ripe - timedelta(microseconds=1))
    assert version in expire(stores, ripe)


def test_a_home_without_the_champion_keeps_what_it_has(stores: Stores, pool: Pool) -> None:
    champion = stores.registry.version("small", stores.registry.aliases()[0].version)
    (stores.home.artifacts / champion.path).rename(stores.home.artifacts / "aside")

    assert expire(stores) == []
    assert "spec.yaml" in files(stores, f"{pool.members[0].version}.0001")


def test_what_an_alias_points_at_by_now_stays_with_its_members(stores: Stores, pool: Pool) -> None:
    champion = stores.registry.aliases()[0].version
    every = [record.version for record in stores.registry.versions("small")]

    gone = stores.registry.expire("small", every, cause=CAUSE, now=LATER)

    left = {record.version for record in stores.registry.versions("small")}
    assert left == {
        champion,
        stores.registry.roll_back("small", expected=champion, cause=CAUSE).version,
        *(m.version for m in pool.members[:3]),
    }
    assert len(gone) + len(left) == len(every)


def left_behind(stores: Stores, pool: Pool) -> dict[str, Path]:
    """Leave what a monitor leaves that is killed: a weighing and a member that were not registered, and a folder that is not finished.

    Beside them lies what is none of its business: what a person trained without a registry, and what follows a version of another one.
    """
    folder, first = stores.home.artifacts / "small", pool.members[0].version
    made = {name: folder / name for name in (f"{first}.0012", "20260301T000000Z-aaaaaaaaaaaa", ".draft-0123", "by-hand", "elsewhere")}
    parents = {f"{first}.0012": f"{first}.0011", "20260301T000000Z-aaaaaaaaaaaa": first, "by-hand": None, "elsewhere": "20250101T000000Z-b"}
    for name, path in made.items():
        path.mkdir()
        if name in parents:
            (path / "manifest.json").write_text(to_text({"parent": parents[name]}))
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    return made


def test_what_was_written_and_never_registered_goes_and_what_is_a_persons_stays(stores: Stores, pool: Pool) -> None:
    versions, made = {path.name for path in (stores.home.artifacts / "small").iterdir()}, left_behind(stores, pool)

    gone = delete_unregistered(stores, Turn(LATER), SPEC)

    assert sorted(gone) == sorted([".draft-0123", f"{pool.members[0].version}.0012", "20260301T000000Z-aaaaaaaaaaaa"])
    assert {path.name for path in (stores.home.artifacts / "small").iterdir()} == versions | {"by-hand", "elsewhere"}
    assert sorted(made.keys() - gone) == ["by-hand", "elsewhere"]


def test_what_may_be_registered_still_stays(stores: Stores, pool: Pool) -> None:
    left_behind(stores, pool)
    stores.journal.begin_run(Turn(NOW - timedelta(seconds=1)), "small", RETRAIN, 1, payload={})

    assert delete_unregistered(stores, Turn(LATER), SPEC) == []
    stores.journal.finish_run(Turn(LATER), f"small.{RETRAIN}.1", {})
    assert delete_unregistered(stores, Turn(NOW + YOUNG), SPEC) == []
    assert len(delete_unregistered(stores, Turn(NOW + YOUNG + timedelta(seconds=1)), SPEC)) == 3


def test_one_who_lost_the_lease_removes_nothing(stores: Stores, pool: Pool) -> None:
    def guard(connection: sa.Connection) -> None:
        raise LeaseLostError("another monitor leads")

    with pytest.raises(LeaseLostError):
        expire_versions(stores, Turn(LATER, guard), SPEC)
    left_behind(stores, pool)
    with pytest.raises(LeaseLostError):
        delete_unregistered(stores, Turn(LATER, guard), SPEC)

    assert (stores.home.artifacts / "small" / ".draft-0123").exists()
    assert "spec.yaml" in files(stores, f"{pool.members[0].version}.0001")
    assert stores.registry.expired("small") == []
