"""One immutable version on disk: save it signed and whole or not at all, load it verified or not at all."""

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib

from training.documents import from_text, to_bytes
from training.errors import ArtifactError, GoldenRowsError, IncompatibleArtifactError
from training.golden import Golden
from training.manifest import FileEntry, Manifest, current_libraries, differing_libraries, digest_of, version_name
from training.model import FittedModel
from training.payload import GOLDEN, MODEL, load_model, read_golden
from training.profile import Reference
from training.replay import replay_in_child
from training.schema import Schema
from training.signing import sign
from training.verification import MANIFEST, SIGNATURE, verify_cached, verify_into_cache

REFERENCE, CARD, SPEC, REPORT = "reference.json", "card.md", "spec.yaml", "report.json"

logger = logging.getLogger(__name__)
Replay = Callable[[Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that goes into an artifact; the fields are those of `Manifest` where they have its names."""

    name: str
    model: FittedModel
    reference: Reference
    golden: Golden
    spec_text: str
    data_start: datetime
    data_end: datetime
    trained_through_us: int
    algorithm: str
    card: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    rows_digest: str | None = None
    data_fingerprint: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    durations: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    rungs: int = 0
    fits: int = 0


@dataclass(frozen=True, slots=True)
class Artifact:
    """A saved artifact: where it lies, what its manifest says."""

    path: Path
    manifest: Manifest
    digest: str

    @property
    def version(self) -> str:
        """The name of the version."""
        return version_name(self.manifest.created, self.digest)


@dataclass(frozen=True)
class LoadedArtifact:
    """A verified artifact; everything is read from the private cache.

    Attributes
    ----------
    path : pathlib.Path
        Its folder in the cache.
    warnings : tuple of str
        What a person should know, such as other library versions.
    """

    path: Path
    manifest: Manifest
    digest: str
    schema: Schema
    model: FittedModel
    warnings: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The name of the version."""
        return version_name(self.manifest.created, self.digest)

    @cached_property
    def reference(self) -> Reference:
        """What the training rows looked like."""
        return Reference.from_dict(from_text((self.path / REFERENCE).read_bytes()))

    @cached_property
    def golden(self) -> Golden:
        """Rows with their expected answers."""
        return read_golden(self.path)

    @cached_property
    def spec_text(self) -> str:
        """The model file it was trained from."""
        return (self.path / SPEC).read_text()

    @cached_property
    def card(self) -> str:
        """The model card, Markdown."""
        return (self.path / CARD).read_text()

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """The report of the training run."""
        found: Mapping[str, Any] = from_text((self.path / REPORT).read_bytes())
        return found

    def self_test(self) -> None:
        """Answer the golden rows.

        Raises
        ------
        GoldenRowsError
            An answer differs from the expected one.
        """
        self.golden.compare(self.model, self.schema)


def save_artifact(draft: Draft, home_artifacts: Path, key: bytes, now: datetime, *, libraries: Mapping[str, str] | None = None) -> Artifact:
    """Write an artifact to `home_artifacts/<model>/<version>`: it is there whole, signed and on the disk, or not at all.

    Parameters
    ----------
    key : bytes
        The signing key.
    now : datetime
        Machine time; the version is named by it.
    libraries : mapping, optional
        Library versions to note; those of this process by default.

    Raises
    ------
    GoldenRowsError
        The model, read back from the disk, does not say what it said in memory.
    ArtifactError
        The disk is full or refuses.
    """
    folder = home_artifacts / draft.name
    unfinished = folder / f".draft-{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.mkdir(mode=0o700)
        files = _write_files(draft, unfinished)
        draft.golden.compare(load_model(unfinished, draft.model.schema), draft.model.schema)
        manifest = _manifest(draft, files, now, libraries or current_libraries())
        content = manifest.to_json()
        _write(unfinished / MANIFEST, content)
        _write(unfinished / SIGNATURE, sign(key, content).encode() + b"\n")
        _sync_folder(unfinished)
        digest = digest_of(content)
        path = folder / version_name(now, digest)
        if not path.exists():
            unfinished.rename(path)
            _sync_folder(folder)
            _sync_folder(home_artifacts)
        return Artifact(path, manifest, digest)
    except OSError as error:
        raise ArtifactError(f"the artifact of {draft.name} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def load_verified(
    source: Path,
    cache: Path,
    key: bytes,
    *,
    expected_digest: str | None = None,
    libraries: Mapping[str, str] | None = None,
    replay: Replay = replay_in_child,
) -> LoadedArtifact:
    """Verify an artifact while copying it into the cache, then load it from there only.

    Parameters
    ----------
    source : pathlib.Path
        `artifacts/<model>/<version>`.
    cache : pathlib.Path
        The private cache; the copy lies in `cache/<digest>`.
    expected_digest : str, optional
        The digest the registry knows: keeps another well-signed artifact from being slipped in.
    libraries : mapping, optional
        The library versions to load under; those of this process by default.
    replay : callable, optional
        Replays golden rows in another process, raising `GoldenRowsError`.

    Raises
    ------
    UnsignedArtifactError, TamperedArtifactError
        Refused before anything was unpickled.
    IncompatibleArtifactError
        Made with other library versions, and it does not answer the same under these.
    ArtifactError
        It is not there or cannot be read.
    """
    manifest, folder = verify_into_cache(source, cache, key, expected_digest)
    return _load(folder, manifest, libraries or current_libraries(), replay)


def load_cached(
    folder: Path, key: bytes, *, libraries: Mapping[str, str] | None = None, replay: Replay = replay_in_child
) -> LoadedArtifact:
    """Load what `load_verified` left in the cache, verified again; for a start without the registry. Raises the same."""
    return _load(folder, verify_cached(folder, key), libraries or current_libraries(), replay)


def _load(folder: Path, manifest: Manifest, libraries: Mapping[str, str], replay: Replay) -> LoadedArtifact:
    told = _replay_if_other(folder, manifest, libraries, replay)
    schema = Schema.from_dict(manifest.schema)
    return LoadedArtifact(folder, manifest, folder.name, schema, load_model(folder, schema), told)


def _replay_if_other(folder: Path, manifest: Manifest, libraries: Mapping[str, str], replay: Replay) -> tuple[str, ...]:
    differing = differing_libraries(manifest.libraries, libraries)
    if not differing:
        return ()
    made_with = f"the artifact was made with {', '.join(differing)}"
    try:
        replay(folder)
    except GoldenRowsError as error:
        raise IncompatibleArtifactError(f"{made_with}, and does not answer the same here: {error}") from error
    warning = f"{made_with}; its golden rows are answered the same here"
    logger.warning("%s", warning)
    return (warning,)


def _write_files(draft: Draft, folder: Path) -> dict[str, FileEntry]:
    joblib.dump(draft.model.payload(), folder / MODEL)  # uncompressed, so that its arrays can be mapped
    contents = {
        REFERENCE: to_bytes(draft.reference.to_dict()),
        GOLDEN: to_bytes(draft.golden.to_dict()),
        CARD: draft.card.encode(),
        SPEC: draft.spec_text.encode(),
        REPORT: to_bytes(draft.report),
    }
    for name, content in contents.items():
        _write(folder / name, content)
    model = (folder / MODEL).read_bytes()
    _write(folder / MODEL, model)
    return {name: FileEntry(digest_of(content), len(content)) for name, content in {**contents, MODEL: model}.items()}


def _manifest(draft: Draft, files: Mapping[str, FileEntry], now: datetime, libraries: Mapping[str, str]) -> Manifest:
    schema = draft.model.schema.to_dict()
    shared = ("parent", "rows_digest", "data_fingerprint", "data_start", "data_end", "trained_through_us", "metrics", "seed")
    search = ("algorithm", "params", "rungs", "fits", "durations")
    return Manifest(
        model=draft.name,
        created=now,
        schema=schema,
        contract_hash=draft.model.schema.contract_hash,
        schema_hash=digest_of(to_bytes(schema)),
        libraries=dict(libraries),
        bins_id=draft.reference.bins.id,
        model_sha256=files[MODEL].sha256,
        files=files,
        **{name: getattr(draft, name) for name in (*shared, *search)},
    )


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
