from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.patience import PATIENCE_SECONDS
from tests.processes import PROCESSES
from training.artifacts.artifact import Artifact
from training.artifacts.manifest import Manifest, generation_of
from training.errors import (
    ContractChangedError,
    DatabaseUnavailableError,
    RegistryError,
    StalePromotionError,
    UnknownModelError,
    UnknownVersionError,
    VersionExistsError,
)
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.registry.tables import ledger as ledger_table
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.storage.database import Database, open_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = Schema((Feature("a", "numeric"),), "y", "binary")
OTHER = Schema((Feature("b", "numeric"),), "y", "binary")


@dataclass(frozen=True)
class Spec:
    """What the registry reads of a model file."""

    model: str = "bikes"
    schema: Schema = SCHEMA
    text: str = "model: bikes\n"


def make_artifact(number: int, schema: Schema = SCHEMA, model: str = "bikes", algorithm: str = "linear", **more: Any) -> Artifact:
    manifest = Manifest(
        model=model,
        created=NOW + number * HOUR,
        parent=None,
        rows_digest="r",
        data_fingerprint="f",
        data_start=NOW,
        data_end=NOW,
        trained_through_us=0,
        metrics={"roc_auc": {"value": 0.5}},
        schema=schema.to_dict(),
        contract_hash=schema.contract_hash,
        schema_hash="s",
        libraries={},
        seed=0,
        algorithm=algorithm,
        params={},
        rungs=1,
        fits=1,
        durations={},
        bins_id="b",
        model_sha256="m",
        files={},
        **more,
    )
    return Artifact(Path("/elsewhere") / manifest.version, manifest, manifest.digest)


A, B, C, D = (make_artifact(number) for number in range(4))


@pytest.fixture
def registry(database: Database) -> Registry:
    made = Registry(database)
    made.put_model(Spec(), now=NOW)
    for artifact in (A, B, C, D):
        made.register(artifact, cause=Cause("train", "first"), run_id="run-1", now=NOW)
    return made


@pytest.fixture
def promote(registry: Registry) -> Callable[..., object]:
    return partial(registry.promote, "bikes", cause=Cause("gate", "better"), now=NOW)


def weighed(number: int, *members: Artifact, generation: str | None = None) -> Artifact:
    """A version of members, all of one weight."""
    share = [replace(each.manifest.as_member("all"), weight=1 / len(members)) for each in members]
    again = {} if generation is None else {"generation": generation, "reweighed": number}
    return make_artifact(number, members=tuple(share), **again)


def champion(registry: Registry) -> str | None:
    alias = registry.alias("bikes", "champion")
    return alias.version if alias else None


def previous(registry: Registry) -> str | None:
    alias = registry.alias("bikes", "previous")
    return alias.version if alias else None


def try_to_promote(url: str, version: str) -> str:
    database = open_database(url, lock_timeout_seconds=PATIENCE_SECONDS)
    try:
        Registry(database).promote("bikes", version, expected=A.version, cause=Cause(version, "race"), now=NOW)
        return version
    except StalePromotionError:
        return "stale"
    finally:
        database.close()


def prepare_and_put(url: str, name: str) -> None:
    database = open_database(url, lock_timeout_seconds=PATIENCE_SECONDS)
    Registry(database).put_model(Spec(name), now=NOW)
    database.close()


def test_a_model_is_stored_with_its_file(registry: Registry) -> None:
    record = registry.get_model("bikes")

    assert (record.spec_text, record.contract_hash, record.paused, record.created) == ("model: bikes\n", SCHEMA.contract_hash, False, NOW)
    assert registry.models() == [record]


def test_an_unknown_model_is_an_error(registry: Registry) -> None:
    with pytest.raises(UnknownModelError, match="no model 'cars'"):
        registry.get_model("cars")


def test_a_changed_contract_goes_into_the_ledger_and_keeps_the_pause(registry: Registry) -> None:
    registry.set_paused("bikes", True, Cause("ann", "holiday"), now=NOW)

    registry.put_model(Spec(schema=OTHER, text="new"), who="ann", now=NOW + HOUR)
    registry.put_model(Spec(schema=OTHER, text="newer"), who="ann", now=NOW + HOUR)

    assert [entry.action for entry in registry.ledger("bikes", 2)] == ["contract", "pause"]
    assert registry.ledger("bikes", 1)[0].evidence == {"before": SCHEMA.contract_hash, "contract": OTHER.contract_hash}
    assert (registry.get_model("bikes").paused, registry.get_model("bikes").spec_text) == (True, "newer")


def test_a_registered_version_is_found_with_its_facts(registry: Registry) -> None:
    record = registry.version("bikes", A.version)

    assert (record.digest, record.created, record.run_id, record.metrics) == (A.digest, NOW, "run-1", {"roc_auc": {"value": 0.5}})
    assert record.path == Path("bikes") / A.version
    assert [record.version for record in registry.versions("bikes")] == [A.version, B.version, C.version, D.version]


def test_registering_again_changes_nothing(registry: Registry) -> None:
    before = registry.ledger()

    registry.register(A, cause=Cause("train", "again"), now=NOW)

    assert registry.ledger() == before


def test_a_version_is_never_reused(registry: Registry) -> None:
    imposter = Artifact(A.path, A.manifest, A.digest[:12] + "0" * 52)

    with pytest.raises(VersionExistsError, match="is registered with digest"):
        registry.register(imposter, cause=Cause("train", ""), now=NOW)


def test_a_version_of_an_unknown_model_is_refused(registry: Registry) -> None:
    with pytest.raises(UnknownModelError):
        registry.register(make_artifact(1, model="cars"), cause=Cause("train", ""), now=NOW)


def test_a_promotion_moves_the_aliases_and_writes_the_ledger(registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)

    promote(B.version, expected=A.version, cause=Cause("gate", "better", {"gain": 0.01}), now=NOW + HOUR)

    entry = registry.ledger("bikes", 1)[0]
    assert (champion(registry), previous(registry)) == (B.version, A.version)
    assert (entry.action, entry.version, entry.previous, entry.who, entry.why) == ("promote", B.version, A.version, "gate", "better")
    assert (entry.at, entry.evidence) == (NOW + HOUR, {"gain": 0.01})


def test_what_comes_at_each_slot_pushes_nothing_out_of_the_newest_lines(registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)
    for number in range(20):
        registry.record("bikes", "weighed", cause=Cause("monitor", f"{number}"), now=NOW)

    newest = registry.ledger("bikes", 2, but=("weighed",))

    assert [line.action for line in newest] == ["promote", "register"]
    assert [line.why for line in registry.ledger("bikes", 2, only=("weighed",))] == ["19", "18"]
    assert [line.action for line in registry.ledger("bikes", 1, only=("promote", "rollback"))] == ["promote"]


def test_every_move_of_an_alias_is_counted(registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)
    promote(B.version, expected=A.version)

    promote(A.version, expected=B.version)

    assert [(alias.alias, alias.version, alias.move) for alias in registry.aliases()] == [
        ("champion", A.version, 3),
        ("previous", B.version, 3),
    ]


@pytest.mark.parametrize("expected", [None, C.version], ids=["nobody", "another"])
def test_a_promotion_decided_against_another_champion_is_refused(
    expected: str | None, registry: Registry, promote: Callable[..., object]
) -> None:
    promote(A.version, expected=None)
    before = registry.ledger()

    with pytest.raises(StalePromotionError, match=f"champion of bikes is {A.version}"):
        promote(B.version, expected=expected)

    assert (champion(registry), previous(registry), registry.ledger()) == (A.version, None, before)


def test_the_champion_is_not_promoted_again(promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)

    with pytest.raises(RegistryError, match="is the champion of bikes already"):
        promote(A.version, expected=A.version)


def test_an_unregistered_version_is_not_promoted(promote: Callable[..., object]) -> None:
    with pytest.raises(UnknownVersionError, match="no version 'x'"):
        promote("x", expected=None)


def test_of_eight_processes_that_promote_at_once_one_wins(registry: Registry, promote: Callable[..., object], database_url: str) -> None:
    promote(A.version, expected=None)
    rivals = [make_artifact(number) for number in range(10, 18)]
    [registry.register(rival, cause=Cause("train", ""), now=NOW) for rival in rivals]

    with PROCESSES.Pool(8) as pool:
        won = pool.starmap(try_to_promote, [(database_url, rival.version) for rival in rivals])

    winners = [version for version in won if version != "stale"]
    assert winners == [champion(registry)]
    assert [entry.version for entry in registry.ledger() if entry.action == "promote"] == [*winners, A.version]


def test_processes_that_start_on_an_empty_database_at_once_all_succeed(database_url: str, database: Database) -> None:
    names = [f"model-{number}" for number in range(8)]

    with PROCESSES.Pool(8) as pool:
        pool.starmap(prepare_and_put, [(database_url, name) for name in names])

    assert [model.name for model in Registry(database).models()] == names


def test_a_guard_that_raises_stops_the_move(registry: Registry, promote: Callable[..., object]) -> None:
    def refuse(connection: sa.Connection) -> None:
        raise PermissionError("the lease is lost")

    with pytest.raises(PermissionError):
        promote(A.version, expected=None, guard=refuse)

    assert champion(registry) is None


def test_what_a_guard_writes_is_undone_with_the_move(registry: Registry, promote: Callable[..., object]) -> None:
    before = registry.ledger()

    def write(connection: sa.Connection) -> None:
        row = {"at_us": 0, "model": "bikes", "action": "x", "who": "x", "why": "x", "evidence": "{}"}
        connection.execute(ledger_table.insert().values(row))

    with pytest.raises(StalePromotionError):
        promote(A.version, expected=B.version, guard=write)

    assert registry.ledger() == before


def test_a_version_with_another_contract_is_promoted_by_force_only(registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)
    other = registry.register(make_artifact(5, OTHER), cause=Cause("train", ""), now=NOW)

    with pytest.raises(ContractChangedError, match="than the model file and the champion"):
        promote(other.version, expected=A.version)
    promote(other.version, expected=A.version, force=True)

    assert champion(registry) == other.version
    assert registry.ledger("bikes", 1)[0].evidence == {"forced": True}


def test_a_new_contract_in_the_model_file_does_not_change_the_champions(registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)
    registry.put_model(Spec(schema=OTHER), now=NOW)
    other = registry.register(make_artifact(5, OTHER), cause=Cause("train", ""), now=NOW)

    with pytest.raises(ContractChangedError, match="than the champion"):
        promote(other.version, expected=A.version)


def test_rolling_back_undoes_promotions_one_by_one(registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)
    promote(B.version, expected=A.version)
    promote(C.version, expected=B.version)

    registry.roll_back("bikes", expected=C.version, cause=Cause("loop", "probation"), now=NOW)
    first = champion(registry), previous(registry)
    registry.roll_back("bikes", expected=B.version, cause=Cause("loop", "probation"), now=NOW)
    second = champion(registry), previous(registry)

    assert (first, second) == ((B.version, A.version), (A.version, None))
    with pytest.raises(UnknownVersionError, match="no previous champion"):
        registry.roll_back("bikes", expected=A.version, cause=Cause("loop", "again"), now=NOW)


def test_a_promotion_after_a_roll_back_can_be_rolled_back(registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)
    promote(B.version, expected=A.version)
    registry.roll_back("bikes", expected=B.version, cause=Cause("loop", ""), now=NOW)
    promote(D.version, expected=A.version)

    registry.roll_back("bikes", expected=D.version, cause=Cause("loop", "", {"p": 0.01}), now=NOW)

    assert (champion(registry), previous(registry)) == (A.version, None)
    assert registry.ledger("bikes", 1)[0].evidence == {"p": 0.01}


@pytest.mark.parametrize("expected", [None, A.version], ids=["nobody", "another"])
def test_a_stale_roll_back_is_refused(expected: str | None, registry: Registry, promote: Callable[..., object]) -> None:
    promote(A.version, expected=None)
    promote(B.version, expected=A.version)

    with pytest.raises(StalePromotionError):
        registry.roll_back("bikes", expected=expected, cause=Cause("loop", ""), now=NOW)

    assert champion(registry) == B.version


def test_a_promoted_challenger_is_no_challenger_any_more(registry: Registry, promote: Callable[..., object]) -> None:
    registry.set_alias("bikes", "challenger", A.version, cause=Cause("loop", "trained"), now=NOW)

    promote(A.version, expected=None)

    assert registry.alias("bikes", "challenger") is None


def test_an_alias_is_cleared_and_the_ledger_says_what_it_was(registry: Registry) -> None:
    registry.set_alias("bikes", "challenger", A.version, cause=Cause("loop", "trained"), now=NOW)

    registry.set_alias("bikes", "challenger", None, cause=Cause("loop", "refused", {"n": 3}), now=NOW)

    entry = registry.ledger("bikes", 1)[0]
    assert registry.aliases() == []
    assert (entry.action, entry.version, entry.previous, entry.evidence) == ("challenger", None, A.version, {"n": 3})


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_the_champion_cannot_be_set_around_the_comparison(alias: str, registry: Registry) -> None:
    with pytest.raises(RegistryError, match="promote and roll_back only"):
        registry.set_alias("bikes", alias, A.version, cause=Cause("x", ""), now=NOW)


def test_a_refusal_is_recorded(registry: Registry) -> None:
    registry.record("bikes", "refuse", version=B.version, previous=A.version, cause=Cause("gate", "a tie", {"low": -0.1}), now=NOW)

    entry = registry.ledger("bikes", 1)[0]

    assert (entry.action, entry.version, entry.why, entry.evidence) == ("refuse", B.version, "a tie", {"low": -0.1})


def test_a_promotion_cannot_be_recorded_without_happening(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="written by the move itself"):
        registry.record("bikes", "promote", version=B.version, cause=Cause("x", ""), now=NOW)


@pytest.mark.parametrize("statement", [ledger_table.update().values(who="nobody"), ledger_table.delete()], ids=["change", "delete"])
def test_the_ledger_is_append_only_in_the_database(statement: sa.Executable, registry: Registry, database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(statement)

    assert len(registry.ledger()) == 5


def test_a_registry_is_made_while_the_database_is_gone(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/evergreen.db", create=False)
    registry = Registry(database)

    with pytest.raises(DatabaseUnavailableError):
        registry.aliases()

    database.close()


# ---- other weights of the same members ---------------------------------------------------------------------------------

AGAIN = [weighed(number, A, generation=A.version) for number in (11, 12)]
BOTH = weighed(20, A, B)
BOTH_AGAIN = [weighed(number, A, B, generation=BOTH.version) for number in (21, 22)]


@pytest.fixture
def reweigh(registry: Registry) -> Callable[..., object]:
    registry.register(BOTH, cause=Cause("monitor", "weighed"), now=NOW)
    return partial(registry.reweigh, cause=Cause("monitor", "newer labels", {"moved": 0.2}), now=NOW + HOUR)


def test_a_version_is_of_its_own_generation_or_of_that_it_names(registry: Registry, reweigh: Callable[..., object]) -> None:
    names = [generation_of(each.version) for each in (A, *AGAIN, BOTH, *BOTH_AGAIN)]

    assert names == [A.version] * 3 + [BOTH.version] * 3
    assert (AGAIN[0].version, BOTH_AGAIN[1].version) == (f"{A.version}.0011", f"{BOTH.version}.0022")
    assert [member.version for member in registry.version("bikes", BOTH.version).members] == [A.version, B.version]
    assert registry.version("bikes", A.version).members == ()


def test_a_reweigh_moves_the_champion_and_leaves_previous(
    registry: Registry, promote: Callable[..., object], reweigh: Callable[..., object]
) -> None:
    promote(A.version, expected=None)
    promote(BOTH.version, expected=A.version)

    reweigh(BOTH_AGAIN[0], expected=BOTH.version)

    entry = registry.ledger("bikes", 1)[0]
    assert (champion(registry), previous(registry)) == (BOTH_AGAIN[0].version, A.version)
    assert (entry.action, entry.version, entry.previous) == ("reweigh", BOTH_AGAIN[0].version, BOTH.version)
    assert (entry.who, entry.evidence) == ("monitor", {"moved": 0.2, "digest": BOTH_AGAIN[0].digest})
    assert registry.alias("bikes", "champion").move == 3  # type: ignore[union-attr]


def test_a_version_of_members_is_rolled_back_to_the_generation_before_as_it_was_weighed_last(
    registry: Registry, promote: Callable[..., object], reweigh: Callable[..., object]
) -> None:
    roll_back = partial(registry.roll_back, "bikes", cause=Cause("ann", "complaints"), now=NOW)
    promote(A.version, expected=None)
    [reweigh(new, expected=old.version) for old, new in zip((A, AGAIN[0]), AGAIN, strict=True)]
    promote(BOTH.version, expected=AGAIN[1].version)
    [reweigh(new, expected=old.version) for old, new in zip((BOTH, BOTH_AGAIN[0]), BOTH_AGAIN, strict=True)]

    roll_back(expected=BOTH_AGAIN[1].version)

    assert (champion(registry), previous(registry)) == (AGAIN[1].version, None)
    with pytest.raises(UnknownVersionError, match="no previous champion"):
        roll_back(expected=AGAIN[1].version)


def test_a_reweigh_against_another_champion_is_refused(
    registry: Registry, promote: Callable[..., object], reweigh: Callable[..., object]
) -> None:
    promote(A.version, expected=None)
    reweigh(AGAIN[0], expected=A.version)
    before = registry.ledger()

    with pytest.raises(StalePromotionError, match=f"champion of bikes is {AGAIN[0].version}"):
        reweigh(AGAIN[1], expected=A.version)

    assert (champion(registry), registry.ledger()) == (AGAIN[0].version, before)


@pytest.mark.parametrize(
    ("artifact", "words"),
    [
        (BOTH, "has other members than"),
        (weighed(30, B, generation=A.version), "has other members than"),
        (A, "is the champion of bikes already"),
    ],
    ids=["generation", "members", "itself"],
)
def test_what_is_no_reweigh_is_refused(
    artifact: Artifact, words: str, registry: Registry, promote: Callable[..., object], reweigh: Callable[..., object]
) -> None:
    promote(A.version, expected=None)

    with pytest.raises(RegistryError, match=words):
        reweigh(artifact, expected=A.version)

    assert champion(registry) == A.version


def test_a_guard_that_raises_stops_a_reweigh(registry: Registry, promote: Callable[..., object], reweigh: Callable[..., object]) -> None:
    def refuse(connection: sa.Connection) -> None:
        raise PermissionError("the lease is lost")

    promote(A.version, expected=None)

    with pytest.raises(PermissionError):
        reweigh(AGAIN[0], expected=A.version, guard=refuse)

    assert champion(registry) == A.version


def test_the_last_promotion_of_a_version_is_that_of_its_generation(
    registry: Registry, promote: Callable[..., object], reweigh: Callable[..., object]
) -> None:
    promote(A.version, expected=None)
    promote(BOTH.version, expected=A.version)
    reweigh(BOTH_AGAIN[0], expected=BOTH.version)

    lines = [registry.last_promotion("bikes", each.version) for each in (BOTH_AGAIN[0], A, C)]

    assert [line and line.version for line in lines] == [BOTH.version, A.version, None]


def test_only_the_move_writes_a_reweigh(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="a reweigh is written by the move itself"):
        registry.record("bikes", "reweigh", version=B.version, cause=Cause("x", ""), now=NOW)


def test_a_member_of_a_version_that_is_kept_is_not_removed(registry: Registry, reweigh: Callable[..., object]) -> None:
    cause, both = Cause("ann", "too old"), (BOTH, *BOTH_AGAIN)
    [registry.register(each, cause=cause, now=NOW) for each in BOTH_AGAIN]

    with pytest.raises(RegistryError, match=f"{B.version} is a member of {BOTH_AGAIN[1].version} and 2 more of bikes: remove what"):
        registry.remove_version("bikes", B.version, cause=cause)
    [registry.remove_version("bikes", each.version, cause=cause) for each in both]

    assert registry.remove_version("bikes", B.version, cause=cause).version == B.version
    assert {A.version, B.version} & {each.version for each in registry.versions("bikes")} == {A.version}
