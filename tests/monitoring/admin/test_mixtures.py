"""What an operator sees of versions of members, and may do with them."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring.admin.backup import back_up, restore
from monitoring.admin.doctor import examine
from monitoring.admin.removal import remove_version
from monitoring.admin.status import resolve, status_of, verified_card, versions_of
from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from monitoring.report.model_facts import read_facts
from monitoring.stores import open_stores
from tests.training.pools import NOW, Pool, make_pool, spec_text_of
from training.artifacts.artifact import Artifact
from training.artifacts.signing import load_or_make_key
from training.clock import from_us
from training.errors import MissingArtifactError, RegistryError
from training.model_file.model_spec import parse_spec
from training.registry.reach import out_of_reach
from training.registry.tables import Cause, VersionRecord
from training.settings import Home

MAPS = ((1.2, 0.3), None)
CAUSE = Cause("test", "test")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A home of two fitted versions, of which the first was champion, and a version of both that is it now."""
    bench = Workbench({"EVERGREEN_HOME": str(tmp_path_factory.mktemp("template") / "home")})
    bench.begin()
    bench.registry.put_model(parse_spec(spec_text_of("binary")))
    pool = make_pool(bench.home.ensure().path, "binary", {}, {}, key=load_or_make_key(bench.home.signing_key))
    both = pool.save(pool.weighed(0.3, 0.7, maps=MAPS))
    for number, one in enumerate((*pool.members, both)):
        bench.registry.register(Artifact(one.path, one.manifest, one.digest), cause=CAUSE, now=NOW)
        (bench.home.rows / f"rows-{number}.parquet").write_bytes(b"rows")
    bench.registry.promote("small", pool.members[0].version, expected=None, cause=CAUSE, now=NOW)
    bench.registry.promote("small", both.version, expected=pool.members[0].version, cause=CAUSE, now=NOW + timedelta(hours=1))
    bench.close()
    return pool


@pytest.fixture
def champion(bench: Workbench) -> VersionRecord:
    """The version of both members."""
    return resolve(bench, "small", None)


def test_its_members_are_listed_and_it_has_no_score_of_its_own(bench: Workbench, pool: Pool, champion: VersionRecord) -> None:
    first, second, both = versions_of(bench, "small")

    assert [each["version"] for each in (first, second, both)] == [*(each.version for each in pool.members), champion.version]
    assert [(member["weight"], member["map"]) for member in both["members"]] == [(0.3, [1.2, 0.3]), (0.7, None)]
    assert (first["members"], both["score"], both["generation"], both["alias"]) == ([], None, champion.version, "champion")


def test_the_status_shows_them_as_the_service_does(bench: Workbench, pool: Pool, champion: VersionRecord) -> None:
    status = status_of(bench, "small")

    assert (status["generation"], status["threshold"]) == (champion.version, None)
    assert [(one["version"], one["weight"], one["map"]) for one in status["members"]] == [
        (pool.members[0].version, 0.3, {"slope": 1.2, "intercept": 0.3}),
        (pool.members[1].version, 0.7, None),
    ]
    assert [one["family"] for one in status["members"]] == ["all", "all"]
    assert status["members"][0]["trained_through"] == from_us(pool.members[0].manifest.trained_through_us).isoformat()
    assert status["weighed_through"] == from_us(5).isoformat()


def test_the_verbs_show_them(bench: Workbench, pool: Pool, champion: VersionRecord, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"EVERGREEN_HOME": str(bench.home.path), "COLUMNS": "400"}

    listed, status, card, manifest = (
        capsys.readouterr().out
        for arguments in (["versions"], ["status"], ["show"], ["show", "--json"])
        if run(arguments, environment) == 0
    )

    assert f"70% all {pool.members[1].digest[:8]}, 30% all {pool.members[0].digest[:8]}" in listed
    assert f"70% all {pool.members[1].digest[:8]}, 30% all {pool.members[0].digest[:8]}" in status
    assert "## Members" in card
    assert [member["version"] for member in json.loads(manifest)["members"]] == [each.version for each in pool.members]


def test_its_page_is_that_of_the_newest_member_with_all_members_before(bench: Workbench, pool: Pool, champion: VersionRecord) -> None:
    _, page = verified_card(bench, resolve(bench, "small", None), as_page=True)

    assert page is not None
    assert page.startswith('<body><h1>small</h1><section id="members"><h2>Members</h2>')
    assert f"<td>{pool.members[0].version}</td>" in page
    assert page.endswith("<p>page 1</p></body>")


def test_a_home_that_lacks_a_member_says_which(bench: Workbench, pool: Pool, champion: VersionRecord) -> None:
    there = out_of_reach(bench.home, bench.registry)
    folder = bench.home.artifacts / "small" / pool.members[1].version
    shutil.rmtree(folder)

    lacking = out_of_reach(bench.home, bench.registry)

    assert there == {}
    assert lacking == {"small": f"the registry names version {champion.version}, and this home lacks {folder}"}
    with pytest.raises(MissingArtifactError, match=f"its member {pool.members[1].version}: {folder} is missing"):
        bench.load(resolve(bench, "small", None))


def test_a_member_is_not_removed_before_what_it_answers_in(bench: Workbench, pool: Pool, champion: VersionRecord) -> None:
    member = pool.members[1].version
    with pytest.raises(RegistryError, match=f"{member} is a member of {champion.version} of small: remove what it answers in first"):
        remove_version(bench, "small", member, "by hand")
    bench.registry.roll_back("small", expected=champion.version, cause=CAUSE)

    removed = remove_version(bench, "small", champion.version, "by hand")

    assert (removed["version"], removed["row_files"]) == (champion.version, 0)
    assert sorted(path.name for path in (bench.home.artifacts / champion.path).iterdir()) == ["manifest.json", "signature"]
    assert remove_version(bench, "small", member, "by hand")["row_files"] == 1
    assert bench.load(resolve(bench, "small", None)).version == pool.members[0].version


def test_restored_elsewhere_it_is_loaded(bench: Workbench, pool: Pool, champion: VersionRecord, tmp_path: Path) -> None:
    back_up(bench.home, bench.settings.database_url, tmp_path / "backup", NOW)
    other = Home(tmp_path / "other")

    restore(tmp_path / "backup", other, other.database_url)

    stores = open_stores(other, other.database_url)
    loaded = stores.load("small", champion.version)
    stores.close()
    loaded.self_test()
    assert [member.version for member in loaded.members] == [member.version for member in pool.members]


def test_the_monitor_loads_no_member_twice(bench: Workbench, pool: Pool, champion: VersionRecord) -> None:
    other = pool.save(pool.weighed(0.5, 0.5), now=NOW + timedelta(days=10))
    bench.registry.register(other, cause=CAUSE, now=NOW)
    stores = open_stores(bench.home, bench.settings.database_url)

    alone, first, second = (stores.load("small", version) for version in (pool.members[0].version, champion.version, other.version))

    stores.close()
    assert first.members[0] is second.members[0] is alone
    assert first.members[1] is second.members[1]


def test_the_report_compares_with_what_its_newest_member_learned_from(bench: Workbench, pool: Pool, champion: VersionRecord) -> None:
    known = read_facts(bench, "small", 30)

    assert known.champion is not None
    assert known.champion.version == champion.version
    assert known.tested is not None


@pytest.mark.slow
def test_doctor_lets_it_answer_in_a_process_of_its_own(bench: Workbench, champion: VersionRecord) -> None:
    shutil.rmtree(bench.home.cache)

    checks = {check.check: check.state for check in examine(bench)}

    assert checks["champion of small"] == "ok"
