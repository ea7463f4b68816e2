import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.processes import PROCESSES
from training.artifacts.artifact import Artifact, LoadedArtifact, load_cached, load_verified, save_artifact
from training.artifacts.draft import Draft
from training.artifacts.golden_rows import choose_golden
from training.artifacts.manifest import FileEntry, Manifest, current_libraries, digest_of
from training.artifacts.replay_in_child import replay_in_child
from training.artifacts.signing import load_or_make_key, sign
from training.compiled.compiled_model import CompiledModel
from training.errors import (
    ArtifactError,
    GoldenRowsError,
    IncompatibleArtifactError,
    SigningKeyError,
    TamperedArtifactError,
    UnsignedArtifactError,
)
from training.fitting.fitted_model import FittedModel
from training.policies import WatchingPolicy
from training.profiles.reference import Reference, build_reference
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema, frame
from training.schema.time_column import TimeColumn

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = b"k" * 32
NUMBERS = Schema((Feature("a", "numeric"), Feature("b", "numeric")), "y", "binary", positive="yes", time=TimeColumn("t"))


def make_rows(count: int = 200, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    a, b = random.normal(size=count), random.normal(size=count)
    target = np.where(a + b > 0, "yes", "no").astype(object)
    return Rows({"a": a, "b": b}, target, np.arange(count, dtype=np.int64) * 3_600_000_000)


def make_reference(rows: Rows) -> Reference:
    return build_reference(rows, NUMBERS, WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=2)))


def make_draft(seed: int = 0) -> Draft:
    rows = make_rows(seed=seed)
    forest = RandomForestClassifier(20, random_state=seed)
    pipeline = make_pipeline(StandardScaler(), forest).fit(frame(rows.columns, NUMBERS), rows.target)
    model = FittedModel.of(pipeline, NUMBERS)
    return Draft(
        name="bikes",
        model=model,
        reference=make_reference(rows),
        golden=choose_golden(model, rows, NUMBERS),
        spec_text="model: bikes\n",
        data_start=NOW,
        data_end=NOW,
        trained_through_us=int(rows.time_us[-1]),
        algorithm="forest",
        metrics={"roc_auc": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 40}},
        card="# bikes\n",
    )


@pytest.fixture(scope="module")
def draft() -> Draft:
    return make_draft()


@pytest.fixture
def artifact(draft: Draft, tmp_path: Path) -> Artifact:
    return save_artifact(draft, tmp_path / "artifacts", KEY, NOW)


@pytest.fixture
def load(artifact: Artifact, tmp_path: Path) -> Callable[..., LoadedArtifact]:
    return partial(load_verified, artifact.path, tmp_path / "cache", KEY)


def sign_again(artifact: Artifact, **changes: str) -> Path:
    """Change files and sign the whole again with the right key, as only somebody with the key can."""
    manifest = artifact.manifest
    [(artifact.path / name).write_text(content) for name, content in changes.items()]
    contents = {name: (artifact.path / name).read_bytes() for name in manifest.files}
    files = {name: FileEntry(digest_of(content), len(content)) for name, content in contents.items()}
    other = replace(manifest, files=files)
    (artifact.path / "manifest.json").write_bytes(other.to_json())
    (artifact.path / "signature").write_text(sign(KEY, other.to_json()))
    return artifact.path.rename(artifact.path.with_name(other.version))


def test_a_saved_artifact_is_loaded_and_answers_the_same(draft: Draft, artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    columns = make_rows(seed=5).columns

    loaded = load(expected_digest=artifact.digest)

    loaded.self_test()
    assert np.array_equal(loaded.model.predict(columns).probability, draft.model.predict(columns).probability)
    assert (loaded.version, loaded.digest, loaded.manifest) == (artifact.version, artifact.digest, artifact.manifest)
    assert (loaded.reference.to_dict(), loaded.golden) == (draft.reference.to_dict(), draft.golden)
    assert (loaded.schema, loaded.spec_text, loaded.card, loaded.report, loaded.warnings) == (
        NUMBERS,
        "model: bikes\n",
        "# bikes\n",
        {},
        (),
    )


def test_a_version_is_named_by_its_time_and_content(artifact: Artifact) -> None:
    manifest = (artifact.path / "manifest.json").read_bytes()

    name = artifact.path.name

    assert name == artifact.version == artifact.manifest.version
    assert name == f"20260102T030405Z-{artifact.digest[:12]}"
    assert Manifest.from_json(manifest) == artifact.manifest


def test_an_artifact_saved_twice_is_one(draft: Draft, artifact: Artifact, tmp_path: Path) -> None:
    again = save_artifact(draft, tmp_path / "artifacts", KEY, NOW)

    assert again == artifact
    assert [path.name for path in (tmp_path / "artifacts" / "bikes").iterdir()] == [artifact.version]


def test_golden_rows_cover_every_class(draft: Draft) -> None:
    assert set(draft.golden.labels) == {"yes", "no"}
    assert len(draft.golden.rows) <= 16


def test_golden_rows_are_requests(draft: Draft) -> None:
    assert set(draft.golden.rows[0]) == {"a", "b", "t"}


def test_models_are_mapped_from_the_private_cache_only(artifact: Artifact, load: Callable[..., LoadedArtifact], tmp_path: Path) -> None:
    loaded = load()

    mapped = Path("/proc/self/maps").read_text()

    assert loaded.path == tmp_path / "cache" / artifact.digest
    assert str(loaded.path / "model.joblib") in mapped
    assert str(artifact.path) not in mapped
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == stat.S_IMODE(loaded.path.stat().st_mode) == 0o700


def test_a_model_is_a_plain_joblib_file(artifact: Artifact) -> None:
    pickled = joblib.load(artifact.path / "model.joblib")

    assert sorted(pickled) == ["classes", "pipeline"]
    assert pickled["classes"] == ["no", "yes"]


@pytest.mark.parametrize("name", ["model.joblib", "reference.json", "golden.json", "card.md", "spec.yaml", "report.json"])
def test_a_changed_file_is_refused_by_name(name: str, artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    content = bytearray((artifact.path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (artifact.path / name).write_bytes(content)

    with pytest.raises(TamperedArtifactError, match=f"{name} was changed"):
        load()


def test_a_changed_file_is_refused_though_a_good_copy_is_cached(artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    load()
    (artifact.path / "card.md").write_text("# biKes\n")

    with pytest.raises(TamperedArtifactError, match=r"card\.md was changed"):
        load()


@pytest.mark.parametrize("offset", range(0, 1500, 97))
def test_any_changed_byte_of_the_manifest_is_refused(offset: int, artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    content = bytearray((artifact.path / "manifest.json").read_bytes())
    content[offset] ^= 1
    (artifact.path / "manifest.json").write_bytes(content)

    with pytest.raises(TamperedArtifactError, match="signed with another key, or changed"):
        load()


def test_a_truncated_file_is_refused(artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    os.truncate(artifact.path / "model.joblib", 1000)

    with pytest.raises(TamperedArtifactError, match=r"model\.joblib is truncated: 1000 of \d+ bytes"):
        load()


def test_a_longer_file_is_refused(artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    (artifact.path / "model.joblib").write_bytes((artifact.path / "model.joblib").read_bytes() + b"x")

    with pytest.raises(TamperedArtifactError, match=r"model\.joblib was changed: it is longer"):
        load()


@pytest.mark.parametrize("leave", [Path.unlink, partial(os.truncate, length=0)], ids=["no signature", "an empty one"])
def test_an_unsigned_artifact_is_refused(leave: Callable[[Path], None], artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    leave(artifact.path / "signature")

    with pytest.raises(UnsignedArtifactError, match="not signed"):
        load()


def test_an_artifact_signed_with_another_key_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(TamperedArtifactError, match="signed with another key"):
        load_verified(artifact.path, tmp_path / "cache", b"x" * 32)


def test_an_extra_file_is_refused(artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    (artifact.path / "sitecustomize.py").write_text("print('hello')")

    with pytest.raises(TamperedArtifactError, match=r"extra file: sitecustomize\.py"):
        load()


@pytest.mark.parametrize("name", ["model.joblib", "manifest.json"])
def test_a_missing_file_is_refused(name: str, artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    (artifact.path / name).unlink()

    with pytest.raises(TamperedArtifactError, match=f"{name}|file missing: {name}"):
        load()


@pytest.mark.parametrize("name", ["model.joblib", "manifest.json", "signature"])
def test_a_symbolic_link_is_refused(name: str, artifact: Artifact, load: Callable[..., LoadedArtifact], tmp_path: Path) -> None:
    (artifact.path / name).rename(tmp_path / "elsewhere")
    (artifact.path / name).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TamperedArtifactError, match=f"{name} is a symbolic link"):
        load()


def test_a_linked_folder_is_refused(artifact: Artifact, load: Callable[..., LoadedArtifact], tmp_path: Path) -> None:
    artifact.path.rename(tmp_path / "elsewhere")
    artifact.path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TamperedArtifactError, match="symbolic link"):
        load()


def test_a_pipe_is_refused(artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    (artifact.path / "model.joblib").unlink()
    os.mkfifo(artifact.path / "model.joblib")

    with pytest.raises(TamperedArtifactError, match="no regular file"):
        load()


def test_two_swapped_artifacts_are_refused(artifact: Artifact, load: Callable[..., LoadedArtifact], tmp_path: Path) -> None:
    other = save_artifact(make_draft(seed=1), tmp_path / "artifacts", KEY, NOW)
    artifact.path.rename(tmp_path / "aside")
    other.path.rename(artifact.path)

    with pytest.raises(TamperedArtifactError, match=f"holds version {other.version}"):
        load()


def test_another_artifact_than_the_registered_one_is_refused(load: Callable[..., LoadedArtifact]) -> None:
    with pytest.raises(TamperedArtifactError, match="the registry knows 000000000000"):
        load(expected_digest="0" * 64)


def test_an_artifact_that_is_not_there_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        load_verified(tmp_path / "nothing", tmp_path / "cache", KEY)


def test_a_damaged_cache_is_made_again(load: Callable[..., LoadedArtifact]) -> None:
    copy = load().path
    (copy / "model.joblib").write_bytes(b"rubbish")

    loaded = load()

    loaded.self_test()


def test_a_cached_copy_serves_when_the_artifact_is_gone(artifact: Artifact, load: Callable[..., LoadedArtifact]) -> None:
    copy = load().path
    artifact.path.rename(artifact.path.with_name("gone"))

    loaded = load_cached(copy, KEY)

    loaded.self_test()


def test_a_damaged_cached_copy_is_refused(load: Callable[..., LoadedArtifact]) -> None:
    copy = load().path
    (copy / "model.joblib").write_bytes(b"rubbish")

    with pytest.raises(TamperedArtifactError, match=r"model\.joblib is truncated"):
        load_cached(copy, KEY)


def test_a_pipeline_that_is_read_long_after_its_check_is_compared_again(load: Callable[..., LoadedArtifact]) -> None:
    loaded = replace(load(), compiled=cast(CompiledModel, "answers instead of it"))
    path = loaded.path / "model.joblib"
    path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(TamperedArtifactError, match=r"model\.joblib was changed"):
        _ = loaded.model


def test_nothing_unfinished_is_left(artifact: Artifact, load: Callable[..., LoadedArtifact], tmp_path: Path) -> None:
    (artifact.path / "card.md").write_text("changed")

    with pytest.raises(TamperedArtifactError):
        load()

    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_other_library_versions_with_the_same_answers_are_a_warning(load: Callable[..., LoadedArtifact]) -> None:
    newer = {**current_libraries(), "scikit-learn": "99.0.0"}

    loaded = load(libraries=newer)

    assert "scikit-learn" in loaded.warnings[0]
    assert "answered the same" in loaded.warnings[0]


def test_another_patch_version_is_no_warning(load: Callable[..., LoadedArtifact]) -> None:
    patched = {**current_libraries(), "scikit-learn": ".".join([*current_libraries()["scikit-learn"].split(".")[:2], "99"])}

    loaded = load(libraries=patched)

    assert loaded.warnings == ()


def test_other_library_versions_with_other_answers_are_refused(artifact: Artifact, tmp_path: Path) -> None:
    golden = json.loads((artifact.path / "golden.json").read_text())
    golden["probabilities"][0][0] += 1e-6
    moved = sign_again(artifact, **{"golden.json": json.dumps(golden)})

    with pytest.raises(
        IncompatibleArtifactError, match=r"scikit-learn .* \(here 99\.0\.0\), and does not answer the same here: golden row 0"
    ):
        load_verified(moved, tmp_path / "cache", KEY, libraries={**current_libraries(), "scikit-learn": "99.0.0"})


def test_a_model_that_cannot_be_loaded_elsewhere_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    moved = sign_again(artifact, **{"model.joblib": "no pickle"})

    with pytest.raises(IncompatibleArtifactError, match="does not answer the same here"):
        load_verified(moved, tmp_path / "cache", KEY, libraries={**current_libraries(), "numpy": "0.1.0"})


def test_a_replay_that_takes_too_long_is_ended(load: Callable[..., LoadedArtifact]) -> None:
    folder = load().path

    with pytest.raises(GoldenRowsError, match="no answer within"):
        replay_in_child(folder, timeout_seconds=0.01)


def test_a_model_that_answers_differently_fails_its_self_test(artifact: Artifact, tmp_path: Path) -> None:
    golden = json.loads((artifact.path / "golden.json").read_text())
    golden["labels"][0] = "perhaps"
    loaded = load_verified(sign_again(artifact, **{"golden.json": json.dumps(golden)}), tmp_path / "cache", KEY)

    with pytest.raises(GoldenRowsError, match=r"golden row 0: .* expected \('perhaps'"):
        loaded.self_test()


def test_a_draft_whose_golden_rows_are_wrong_is_not_saved(draft: Draft, tmp_path: Path) -> None:
    other = make_draft(seed=3)

    with pytest.raises(GoldenRowsError):
        save_artifact(replace(draft, golden=other.golden), tmp_path / "artifacts", KEY, NOW)

    assert list((tmp_path / "artifacts" / "bikes").iterdir()) == []


class Echo:
    """Answers with the sum of what it was given, so that any changed value changes the answer."""

    def predict(self, columns: Columns) -> Prediction:
        numbers = sum(np.nan_to_num(columns[name]) for name in ("numeric", "integer", "boolean", "datetime"))
        return Prediction(numbers + np.array([len(text or "") / 10 for text in columns["categorical"]]))


def test_golden_rows_of_every_kind_come_back_exactly() -> None:
    kinds = ("numeric", "integer", "boolean", "categorical", "datetime")
    schema = Schema(tuple(Feature(kind, kind, nullable=True) for kind in kinds), "y", "regression")
    columns = {name: np.array([value, np.nan]) for name, value in zip(kinds, [0.1, 3.0, 1.0, 0.0, 1.5e9 + 0.25], strict=True)}
    columns["categorical"] = np.array(["ü", None], dtype=object)

    golden = choose_golden(Echo(), Rows(columns, np.array([1.0, 2.0]), np.array([0, 1])), schema)

    golden.compare(Echo(), schema)
    assert golden.labels == (0.1 + 3 + 1 + 1.5e9 + 0.25 + 0.1, 0.0)
    assert golden.rows[0] == {
        "numeric": 0.1,
        "integer": 3,
        "boolean": True,
        "categorical": "ü",
        "datetime": "2017-07-14T02:40:00.250000+00:00",
    }
    assert set(golden.rows[1].values()) == {None}


def test_a_linear_model_is_kept_too(tmp_path: Path) -> None:
    rows = make_rows()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame(rows.columns, NUMBERS), rows.target)
    model = FittedModel.of(pipeline, NUMBERS)
    draft = replace(make_draft(), model=model, golden=choose_golden(model, rows, NUMBERS))

    saved = save_artifact(draft, tmp_path / "artifacts", KEY, NOW)

    load_verified(saved.path, tmp_path / "cache", KEY).self_test()


def make_key(path: str) -> bytes:
    return load_or_make_key(Path(path))


def test_processes_that_make_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.key"

    with PROCESSES.Pool(4) as pool:
        keys = pool.map(make_key, [str(path)] * 8)

    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["signing.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    load_or_make_key(path)
    path.chmod(mode)

    with pytest.raises(SigningKeyError, match=f"has mode {mode:04o}"):
        load_or_make_key(path)


@pytest.mark.parametrize(("content", "reason"), [("rubbish", "not a key"), ("ab" * 8, "64 bits"), ("", "0 bits")])
def test_a_file_that_is_no_key_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(SigningKeyError, match=reason):
        load_or_make_key(path)


class Drawn:
    """Answers with what it draws."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, table: pd.DataFrame) -> np.ndarray:
        share = np.random.default_rng().random(len(table))  # without a seed: another one each time
        return np.column_stack([share, 1 - share])


class Whole:
    """Answers only as long as it was not read back."""

    classes_ = np.array(["no", "yes"])

    def __getstate__(self) -> dict[str, bool]:
        return {"was_stored": True}

    def predict_proba(self, table: pd.DataFrame) -> np.ndarray:
        if hasattr(self, "was_stored"):
            raise ValueError("an inner part is gone")
        return np.full((len(table), 2), 0.5)


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [(Drawn(), "in another way each time it is asked"), (Whole(), "read back from the disk, the model raises ValueError: an inner part")],
    ids=["drawn", "other when stored"],
)
def test_a_model_that_does_not_say_the_same_when_read_back_is_not_saved(pipeline: Any, words: str, draft: Draft, tmp_path: Path) -> None:
    model = FittedModel.of(pipeline, draft.model.schema)
    other = replace(draft, model=model, compiled=None, golden=choose_golden(model, make_rows(), model.schema))

    with pytest.raises(GoldenRowsError, match=words):
        save_artifact(other, tmp_path / "artifacts", KEY, NOW)
