"""One immutable version on disk: save it signed and whole or not at all, load it verified or not at all."""

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from training.artifacts.answer_in_child import ModelInChild
from training.artifacts.draft import CARD, REFERENCE, REPORT, SPEC, Draft, compare_stored, manifest_of, write_durably, write_files
from training.artifacts.golden_rows import Golden
from training.artifacts.manifest import Manifest, current_libraries, differing_libraries, digest_of, version_name
from training.artifacts.pickles import MODEL, load_compiled, load_model, read_golden
from training.artifacts.replay_in_child import replay_in_child
from training.artifacts.signing import sign
from training.artifacts.verification import MANIFEST, SIGNATURE, verify_cached, verify_file, verify_into_cache
from training.compiled.compiled_model import CompiledModel
from training.compiled.cost import Cost
from training.errors import ArtifactError, GoldenRowsError, IncompatibleArtifactError
from training.fitting.fitted_model import FittedModel
from training.json_text import from_text
from training.own_code import VARIABLE, refuse_other_code
from training.profiles.reference import Reference
from training.schema.schema import Schema

logger = logging.getLogger(__name__)
Replay = Callable[[Path], None]


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
    path
        Its folder in the cache.
    warnings
        What a person should know, such as other library versions.
    compiled
        The fast form of the model; None where there is none, or it was made with other library versions.
    is_asked_in_child
        Whether a plain pipeline answers in a process of its own, so that this one imports no code of users.
    """

    path: Path
    manifest: Manifest
    digest: str
    schema: Schema
    compiled: CompiledModel | None = None
    warnings: tuple[str, ...] = ()
    is_asked_in_child: bool = False

    @property
    def version(self) -> str:
        """The name of the version."""
        return version_name(self.manifest.created, self.digest)

    @property
    def model(self) -> FittedModel:
        """The fitted pipeline; it is not in memory until it is asked for, and its file is compared with the manifest again then.

        Raises
        ------
        OtherCodeError
            This process has other code of the user's than it was made with.
        """
        # No `cached_property`: in Python 3.11 it computes under one lock for all artifacts, and a pickle may hang.
        model: FittedModel | None = self.__dict__.get("_model")
        if model is None:
            if self.compiled is not None:
                verify_file(self.path, self.manifest, MODEL)
            code = self.manifest.served_code
            if code is not None:
                refuse_other_code(code)
            model = self.__dict__["_model"] = load_model(self.path, self.schema)
        return model

    @property
    def predictor(self) -> CompiledModel | FittedModel | ModelInChild:
        """What answers: the compiled form, or the plain pipeline where there is none."""
        if self.compiled is not None:
            return self.compiled
        return ModelInChild(self.path, self.golden.classes) if self.is_asked_in_child else self.model

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
        report: Mapping[str, Any] = from_text((self.path / REPORT).read_bytes())
        return report

    @cached_property
    def cost(self) -> Cost | None:
        """What a call of the predictor costs; None where that was never measured (an older artifact, or other libraries)."""
        serving = self.report.get("serving") or {}
        was_plain = serving.get("engine") == "plain"
        return Cost.from_dict(serving.get("cost")) if was_plain == (self.compiled is None) else None

    def self_test(self) -> None:
        """Answer the golden rows.

        Raises
        ------
        GoldenRowsError
            An answer differs from the expected one.
        """
        self.golden.compare(self.predictor, self.schema)


def save_artifact(draft: Draft, home_artifacts: Path, key: bytes, now: datetime, *, libraries: Mapping[str, str] | None = None) -> Artifact:
    """Write an artifact to `home_artifacts/<model>/<version>`: it is there whole, signed and on the disk, or not at all.

    Parameters
    ----------
    key
        The signing key.
    now
        Machine time; the version is named by it.
    libraries
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
        files = write_files(draft, unfinished)
        for stored in (load_model(unfinished, draft.model.schema), load_compiled(unfinished)):
            if stored is not None:
                compare_stored(draft, stored)
        manifest = manifest_of(draft, files, now, libraries or current_libraries())
        content = manifest.to_json()
        write_durably(unfinished / MANIFEST, content)
        if draft.is_checked_in_child:
            _replay_as_a_worker(unfinished)
        write_durably(unfinished / SIGNATURE, sign(key, content).encode() + b"\n")
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
    asks_in_child: bool = False,
) -> LoadedArtifact:
    """Verify an artifact while copying it into the cache, then load it from there only.

    Parameters
    ----------
    source
        `artifacts/<model>/<version>`.
    cache
        The private cache; the copy lies in `cache/<digest>`.
    expected_digest
        The digest the registry knows: keeps another well-signed artifact from being slipped in.
    libraries
        The library versions to load under; those of this process by default.
    replay
        Replays golden rows in another process, raising `GoldenRowsError`.
    asks_in_child
        Let a plain pipeline answer in a process of its own; no code of users is imported here.

    Raises
    ------
    OtherCodeError
        This process has other code of the user's than the version was made with.
    UnsignedArtifactError, TamperedArtifactError
        Refused before anything was unpickled.
    IncompatibleArtifactError
        Made with other library versions, and it does not answer the same under these.
    ArtifactError
        It is not there or cannot be read.
    """
    manifest, folder = verify_into_cache(source, cache, key, expected_digest)
    return _load(folder, manifest, libraries or current_libraries(), replay, asks_in_child)


def load_cached(
    folder: Path, key: bytes, *, libraries: Mapping[str, str] | None = None, replay: Replay = replay_in_child
) -> LoadedArtifact:
    """Load what `load_verified` left in the cache, verified again; for a start without the registry. Raises the same."""
    return _load(folder, verify_cached(folder, key), libraries or current_libraries(), replay)


def _load(folder: Path, manifest: Manifest, libraries: Mapping[str, str], replay: Replay, asks_in_child: bool = False) -> LoadedArtifact:
    warnings = _replay_if_other(folder, manifest, libraries, replay)
    schema = Schema.from_dict(manifest.schema)
    compiled = None if warnings else load_compiled(folder)
    loaded = LoadedArtifact(folder, manifest, folder.name, schema, compiled, warnings, asks_in_child)
    if compiled is None and not asks_in_child:
        _ = loaded.model
    return loaded


def _replay_as_a_worker(folder: Path) -> None:
    try:
        replay_in_child(folder)
    except GoldenRowsError as error:
        raise GoldenRowsError(
            f"a process that is started like a worker cannot answer with this model: {error}; its code must be installed, or lie in "
            f"the folder that {VARIABLE} names"
        ) from error


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
