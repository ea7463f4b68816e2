"""Versions of members: saved small, verified whole, loaded once."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training import pools
from tests.training.pools import KEY, NOW, Pool, make_pool, save_member
from training.artifacts.artifact import Artifact, load_cached, load_verified
from training.artifacts.manifest import Manifest, current_libraries, digest_of
from training.artifacts.members import Member
from training.artifacts.mixtures import with_members
from training.artifacts.signing import sign
from training.artifacts.verification import verify_fitted, verify_version
from training.compiled.calibration_map import remap
from training.compiled.compiled_model import CompiledModel
from training.compiled.mixture import Mixture, Part
from training.errors import ArtifactError, GoldenRowsError, IncompatibleArtifactError, MissingArtifactError, TamperedArtifactError
from training.json_text import to_bytes

WEIGHTS = (0.5, 0.2, 0.3)
MAPS = ((1.2, 0.3), None, (0.8, -0.1))


@pytest.fixture(scope="module")
def pools_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pool]:
    """The pool of a task, made once; only to be looked at, or copied."""
    made: dict[str, Pool] = {}

    def pool(task: str = "binary") -> Pool:
        if task not in made:
            own = {"calibration": (1.4, 0.3)} if task == "binary" else {}
            made[task] = make_pool(tmp_path_factory.mktemp(task), task, {}, own, {"forest": True} if task == "binary" else {})
        return made[task]

    return pool


@pytest.fixture
def pool(pools_of: Callable[..., Pool], tmp_path: Path) -> Pool:
    """A copy of the pool of classes, to be spoilt."""
    template = pools_of()
    shutil.copytree(template.artifacts, tmp_path / "artifacts")
    return replace(template, folder=tmp_path)


def signed_again(artifact: Artifact, **changes: Any) -> Artifact:
    """Sign another manifest with the right key, as only somebody with the key can."""
    stored = json.loads((artifact.path / "manifest.json").read_bytes()) | changes
    content = json.dumps(stored, sort_keys=True, separators=(",", ":")).encode()
    (artifact.path / "manifest.json").write_bytes(content)
    (artifact.path / "signature").write_text(sign(KEY, content))
    version = f"{artifact.path.name[:16]}-{digest_of(content)[:12]}"
    return Artifact(artifact.path.rename(artifact.path.with_name(version)), artifact.manifest, digest_of(content))


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_saved_version_of_members_is_loaded_and_answers_their_mean(task: str, pools_of: Callable[..., Pool]) -> None:
    pool, columns = pools_of(task), pools.columns_of(task)
    maps = [(1.2, 0.0), None, None] if task == "multiclass" else MAPS

    artifact = pool.save(pool.weighed(*WEIGHTS, maps=maps))
    loaded = pool.load(artifact, expected_digest=artifact.digest)

    loaded.self_test()
    assert isinstance(loaded.predictor, Mixture)
    parts = [Part(each.predictor, weight, point) for each, weight, point in zip(pool.members, WEIGHTS, maps, strict=True)]
    wanted = Mixture(tuple(parts), loaded.predictor.classes).predict(columns)
    assert np.array_equal(loaded.predictor.predict(columns).score, wanted.score)
    assert (loaded.is_compiled, loaded.compiled, loaded.version) == (True, None, artifact.version)
    assert Manifest.from_json((artifact.path / "manifest.json").read_bytes()) == artifact.manifest


def test_its_manifest_says_what_it_is(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()
    last = pool.members[2].manifest

    manifest = pool.save(pool.weighed(*WEIGHTS, maps=MAPS), generation="20260101T000000Z-" + "0" * 12).manifest

    assert (manifest.trained_through_us, manifest.weighed_through_us) == (last.trained_through_us, 5)
    assert (manifest.parent, manifest.generation) == (pool.members[0].version, "20260101T000000Z-" + "0" * 12)
    assert (manifest.bins_id, manifest.rows_digest, manifest.schema) == (last.bins_id, "rows-2", last.schema)
    assert sorted(manifest.files) == ["card.md", "golden.json", "report.json", "spec.yaml"]
    assert manifest.model_sha256 == digest_of(to_bytes([member.to_dict() for member in manifest.members or ()]))


def test_a_manifest_of_today_keeps_its_bytes(pools_of: Callable[..., Pool]) -> None:
    stored = json.loads(pools_of().members[0].manifest.to_json())

    assert {"members", "weighed_through_us", "generation", "reweighed"} & set(stored) == set()


def test_its_reference_is_that_of_the_newest_member_and_its_cost_that_of_all(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()

    loaded = pool.load(pool.save(pool.weighed(*WEIGHTS)), known=pool.known)

    assert loaded.reference is pool.members[2].reference
    assert loaded.fitted is pool.members[2]
    assert loaded.cost is not None
    assert loaded.cost.one_seconds == pytest.approx(6e-5)


def test_its_card_shows_the_members_before_that_of_the_newest(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()

    card = pool.load(pool.save(pool.weighed(*WEIGHTS, maps=MAPS), report={"rows": 9}), known=pool.known).card

    assert f"| {pool.members[0].version} | all | 1970-01-13 11:00 | 0.500 | slope 1.2, intercept 0.3 |" in card
    assert f"| {pool.members[1].version} | all | 1970-01-13 12:00 | 0.200 | none |" in card
    assert "Together: 1 row takes 0.06 ms" in card
    assert card.endswith(f"What follows is the card of the newest member, {pool.members[2].version}.\n\n# small 2\n")


def test_members_that_are_loaded_already_are_neither_read_nor_loaded_again(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))
    [shutil.rmtree(pool.artifacts / "small" / each.version) for each in pool.members]

    loaded = pool.load(artifact, known=pool.known)

    assert all(one is other for one, other in zip(loaded.members, pool.members, strict=True))


def test_one_compiled_member_with_a_map_is_a_compiled_model(pools_of: Callable[..., Pool]) -> None:
    pool, columns = pools_of(), pools.columns_of("binary")

    artifact = pool.save(pool.weighed(1.0, maps=[(1.2, 0.3)]))
    loaded = pool.load(artifact)

    assert isinstance(loaded.predictor, CompiledModel)
    assert artifact.manifest.generation == pool.members[0].version
    wanted = remap(pool.members[0].predictor.predict(columns).probability, 1.2, 0.3)  # type: ignore[arg-type]
    assert np.allclose(loaded.predictor.predict(columns).probability, wanted)  # type: ignore[arg-type]
    loaded.self_test()


def test_costs_are_those_of_the_model_file_now(pools_of: Callable[..., Pool]) -> None:
    pool, more = pools_of(), "training: {costs: [[0, 1], [1000000000, 0]]}"

    loaded = [pool.load(pool.save(pool.weighed(*weights), more=more)) for weights in ((1.0,), WEIGHTS)]

    assert [set(each.predictor.predict(pools.columns_of("binary")).label) for each in loaded] == [{"yes"}, {"yes"}]


@pytest.mark.parametrize("weights", [(1.0,), WEIGHTS], ids=["one", "three"])
def test_a_threshold_is_signed_and_decides(weights: tuple[float, ...], pools_of: Callable[..., Pool]) -> None:
    pool, columns = pools_of(), pools.columns_of("binary")
    members = pool.weighed(*weights)

    without, artifact = pool.save(members), pool.save(members, threshold=0.9)
    loaded = pool.load(artifact, known=pool.known)

    loaded.self_test()
    answer = loaded.predictor.predict(columns)
    assert answer.probability is not None
    assert answer.label.tolist() == np.where(answer.probability[:, 1] >= 0.9, "yes", "no").tolist()
    assert 0 < (answer.label == "yes").sum() < (pool.load(without, known=pool.known).predictor.predict(columns).label == "yes").sum()
    assert Manifest.from_json((artifact.path / "manifest.json").read_bytes()).threshold == 0.9
    assert artifact.manifest.model_sha256 != without.manifest.model_sha256
    assert b"threshold" not in without.manifest.to_json()
    assert "The positive class is decided from a probability of 0.9 on." in loaded.card
    assert "from a probability of 0.9 on" in with_members("<h1>small</h1>", artifact.manifest)


def test_a_manifest_of_no_threshold_is_refused(pools_of: Callable[..., Pool]) -> None:
    stored = json.loads(pools_of().members[0].manifest.to_json())

    with pytest.raises(TamperedArtifactError, match=r"the threshold is 1.5, wanted a number from 0 to 1"):
        Manifest.from_json(to_bytes({**stored, "threshold": 1.5}))


def test_the_cache_is_enough_for_a_start(pool: Pool) -> None:
    loaded = pool.load(pool.save(pool.weighed(*WEIGHTS, maps=MAPS)))
    shutil.rmtree(pool.artifacts)

    again = load_cached(loaded.path, KEY)

    again.self_test()
    assert [each.version for each in again.members] == [each.version for each in pool.members]


def test_verified_whole_the_cache_has_the_members_too(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))

    manifest, folder = verify_version(artifact.path, pool.cache, KEY, artifact.digest)

    assert load_cached(folder, KEY).manifest == manifest


def test_what_only_a_fitted_model_has_is_the_newest_members(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))

    _, folder, fitted = verify_fitted(artifact.path, pool.cache, KEY, artifact.digest)

    assert (folder.name, fitted.name) == (artifact.digest, pool.members[2].digest)
    assert (fitted / "reference.json").exists()
    member = pool.members[0]
    assert verify_fitted(pool.artifacts / "small" / member.version, pool.cache, KEY)[1:] == (pool.cache / member.digest,) * 2


# ---- plain pipelines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks_in_child", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_plain_members_answer_as_compiled_ones_do(asks_in_child: bool, tmp_path: Path) -> None:
    options = [{"calibration": (1.5, 0.2)}, {}]
    plain = make_pool(tmp_path / "plain", "binary", *({**each, "compiled": False} for each in options))
    compiled, columns = make_pool(tmp_path / "compiled", "binary", *options), pools.columns_of("binary")

    one, other = (
        each.load(each.save(each.weighed(0.4, 0.6, maps=[(1.3, 0.1), (0.9, 0.0)])), asks_in_child=asks_in_child)
        for each in (plain, compiled)
    )

    assert (one.is_compiled, other.is_compiled) == (False, True)
    one.self_test()
    assert np.allclose(one.predictor.predict(columns).probability, other.predictor.predict(columns).probability, rtol=1e-9)  # type: ignore[arg-type]


def test_a_version_of_members_has_no_pipeline_of_its_own(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()

    with pytest.raises(ArtifactError, match="has no pipeline of its own: its members have"):
        _ = pool.load(pool.save(pool.weighed(*WEIGHTS))).model


def test_other_library_versions_with_the_same_answers_are_a_warning(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()
    newer = {**current_libraries(), "numpy": "99.0.0"}

    loaded = pool.load(pool.save(pool.weighed(*WEIGHTS, maps=MAPS)), libraries=newer, replay=lambda folder: None)

    assert len(loaded.warnings) == 1
    assert "answered the same" in loaded.warnings[0]
    assert not loaded.is_compiled


# ---- refused before anything is unpickled -----------------------------------------------------------------------------


def test_a_changed_member_is_refused(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))
    spoil(pool.artifacts / "small" / pool.members[1].version / "model.joblib")

    with pytest.raises(TamperedArtifactError, match=rf"its member {pool.members[1].version}: model\.joblib was changed"):
        pool.load(artifact)


def test_a_missing_member_is_refused(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))
    shutil.rmtree(pool.artifacts / "small" / pool.members[1].version)

    with pytest.raises(MissingArtifactError, match=f"its member {pool.members[1].version}: .* is missing"):
        pool.load(artifact)


def test_two_swapped_members_are_refused(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))
    one, other = (pool.artifacts / "small" / each.version for each in pool.members[:2])
    one.rename(pool.folder / "aside")
    other.rename(one)

    with pytest.raises(TamperedArtifactError, match=f"its member {pool.members[0].version}: the artifact is {pool.members[1].digest[:12]}"):
        pool.load(artifact)


def test_a_linked_member_is_refused(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))
    folder = pool.artifacts / "small" / pool.members[1].version
    folder.rename(pool.folder / "elsewhere")
    folder.symlink_to(pool.folder / "elsewhere")

    with pytest.raises(TamperedArtifactError, match="symbolic link"):
        pool.load(artifact)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": 0.6}, "the weights of the members add up to 1.1, wanted 1"),
        ({"weight": None}, "manifest.json is not a manifest"),
        ({"digest": "0" * 64}, "no artifact has the name"),
        ({"version": "../../elsewhere"}, "no artifact has the name '../../elsewhere'"),
        ({"trained_through_us": 7}, "it was trained through .*, not through 7"),
        ({"map": [1.0, None]}, "manifest.json is not a manifest"),
    ],
)
def test_a_manifest_of_wrong_members_is_refused_though_it_is_signed(change: dict[str, Any], words: str, pool: Pool) -> None:
    members = [member.to_dict() for member in pool.weighed(*WEIGHTS)]
    artifact = signed_again(pool.save(pool.weighed(*WEIGHTS)), members=[members[0] | change, *members[1:]])

    with pytest.raises(TamperedArtifactError, match=words):
        pool.load(artifact)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "other"}, "it is a version of other, wanted one of small"),
        ({"task": "multiclass"}, "it answers other requests: its contract is another"),
    ],
    ids=["model", "contract"],
)
def test_a_foreign_member_is_refused(options: dict[str, Any], words: str, pool: Pool) -> None:
    foreign = save_member(pool.folder / "foreign", options.get("task", "binary"), 0, model=options.get("model", "small"))
    foreign.path.rename(pool.artifacts / "small" / foreign.version)
    members = [member.to_dict() for member in pool.weighed(*WEIGHTS)]
    swapped = members[0] | {"version": foreign.version, "digest": foreign.digest}
    artifact = signed_again(pool.save(pool.weighed(*WEIGHTS)), members=[swapped, *members[1:]])

    with pytest.raises(TamperedArtifactError, match=words):
        pool.load(artifact)


def test_members_of_members_are_refused(pool: Pool) -> None:
    inner = pool.save(pool.weighed(*WEIGHTS))
    members = [member.to_dict() for member in pool.weighed(*WEIGHTS)]
    nested = members[2] | {"version": inner.version, "digest": inner.digest}
    outer = signed_again(pool.save(pool.weighed(0.4, 0.3, 0.3), now=NOW + timedelta(days=10)), members=[*members[:2], nested])

    with pytest.raises(TamperedArtifactError, match="it has members itself"):
        pool.load(outer)


def test_a_member_that_answers_otherwise_than_it_did_is_refused(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()
    loaded = pool.load(pool.save(pool.weighed(*WEIGHTS)), known=pool.known)
    other = replace(loaded.members[0], compiled=loaded.members[1].compiled)

    with pytest.raises(GoldenRowsError, match=f"its member {pool.members[0].version}: golden row 0"):
        replace(loaded, members=(other, *loaded.members[1:])).self_test()


def test_other_weights_than_those_that_were_saved_are_refused(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()
    one, other = (pool.load(pool.save(pool.weighed(*weights)), known=pool.known) for weights in (WEIGHTS, (0.2, 0.2, 0.6)))

    with pytest.raises(GoldenRowsError, match="golden row 0"):
        replace(one, mixture=other.mixture).self_test()


def test_library_versions_under_which_it_answers_otherwise_are_refused(pool: Pool) -> None:
    artifact = pool.save(pool.weighed(*WEIGHTS))
    other = replace(pool.members[0], compiled=pool.members[1].compiled)

    with pytest.raises(IncompatibleArtifactError, match="does not answer the same here"):
        pool.load(artifact, libraries={**current_libraries(), "numpy": "99.0.0"}, known=pool.known | {other.digest: other})


# ---- refused before it is saved -----------------------------------------------------------------------------------------


def changed(members: tuple[Member, ...], **change: Any) -> tuple[Member, ...]:
    return (replace(members[0], **change), *members[1:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": float("nan")}, "the weight of .* is nan"),
        ({"weight": 0.6}, "add up to 1.1"),
        ({"trained_through_us": 3}, "trained through is .*, wanted 3"),
        ({"version": "20260101T000000Z-" + "0" * 12, "digest": "0" * 64}, "is not loaded"),
    ],
)
def test_wrong_members_are_not_saved(change: dict[str, Any], words: str, pools_of: Callable[..., Pool]) -> None:
    pool = pools_of()

    with pytest.raises(ArtifactError, match=words):
        pool.save(changed(pool.weighed(*WEIGHTS), **change))


def test_a_map_with_an_intercept_is_refused_beyond_two_classes(pools_of: Callable[..., Pool]) -> None:
    pool = pools_of("multiclass")

    with pytest.raises(ArtifactError, match=r"a map of 3 classes has no intercept, this one has 0\.3"):
        pool.save(pool.weighed(*WEIGHTS, maps=MAPS))


def test_members_of_two_models_are_not_saved(pools_of: Callable[..., Pool], tmp_path: Path) -> None:
    pool = pools_of()
    foreign = load_verified(save_member(tmp_path, "binary", 9, model="other").path, tmp_path / "cache", KEY)
    members = (*pool.weighed(0.4, 0.3), replace(foreign.manifest.as_member("all"), weight=0.3))

    with pytest.raises(ArtifactError, match="model is small, wanted other"):
        replace(pool, members=(*pool.members, foreign)).save(members)
