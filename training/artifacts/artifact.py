"""One immutable version on disk: save it signed and whole or not at all, load it verified or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from training.artifacts.answer_in_child import ModelInChild
from training.artifacts.draft import CARD, REFERENCE, REPORT, SPEC, Draft, compare_stored, manifest_of, save_whole, write_files
from training.artifacts.golden_rows import Golden
from training.artifacts.manifest import Manifest, current_libraries, differing_libraries
from training.artifacts.members import Member, newest
from training.artifacts.pickles import MODEL, load_compiled, load_model, read_golden
from training.artifacts.replay_in_child import replay_in_child
from training.artifacts.verification import verify_cached, verify_file, verify_into_cache, verify_members
from training.compiled.calibration_map import refuse_intercept
from training.compiled.compiled_model import CompiledModel
from training.compiled.cost import Cost
from training.compiled.mixture import Mixture, Part, mix
from training.errors import ArtifactError, GoldenRowsError, IncompatibleArtifactError
from training.fitting.fitted_model import FittedModel
from training.json_text import from_text
from training.model_file.model_spec import parse_spec
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
        return self.manifest.named(self.digest)


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
        The fast form of the model; None where there is none, or it was made with other library versions, or has members.
    is_asked_in_child
        Whether a plain pipeline answers in a process of its own, so that this one imports no code of users.
    members
        What answers in this version, in the order of its manifest; nothing where it has a fitted model of its own.
    mixture
        What its members answer together.
    """

    path: Path
    manifest: Manifest
    digest: str
    schema: Schema
    compiled: CompiledModel | None = None
    warnings: tuple[str, ...] = ()
    is_asked_in_child: bool = False
    members: tuple[LoadedArtifact, ...] = ()
    mixture: CompiledModel | Mixture | None = None

    @property
    def version(self) -> str:
        """The name of the version."""
        return self.manifest.named(self.digest)

    @property
    def model(self) -> FittedModel:
        """The fitted pipeline; it is not in memory until it is asked for, and its file is compared with the manifest again then.

        Raises
        ------
        OtherCodeError
            This process has other code of the user's than it was made with.
        ArtifactError
            It has members instead.
        """
        if self.members:
            raise ArtifactError(f"{self.version} has no pipeline of its own: its members have")
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
    def predictor(self) -> CompiledModel | FittedModel | ModelInChild | Mixture:
        """What answers: its members together, the compiled form, or the plain pipeline where there is none."""
        if self.mixture is not None:
            return self.mixture
        if self.compiled is not None:
            return self.compiled
        return ModelInChild(self.path, self.golden.classes) if self.is_asked_in_child else self.model

    @property
    def is_compiled(self) -> bool:
        """Whether all that answers is compiled."""
        return all(member.is_compiled for member in self.members) if self.members else self.compiled is not None

    @property
    def fitted(self) -> LoadedArtifact:
        """What was fitted last: its newest member, or itself."""
        members = self.manifest.members
        return self if members is None else next(each for each in self.members if each.digest == newest(members).digest)

    @cached_property
    def reference(self) -> Reference:
        """What the training rows looked like; of members those of the newest."""
        if self.members:
            return self.fitted.reference
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
        """What a call of the predictor costs, of members all of theirs; None where that was never measured (older, or other libraries)."""
        if self.members:
            return Cost.total([member.cost for member in self.members])
        serving = self.report.get("serving") or {}
        was_plain = serving.get("engine") == "plain"
        return Cost.from_dict(serving.get("cost")) if was_plain == (self.compiled is None) else None

    def self_test(self) -> None:
        """Answer the golden rows, each member its own before.

        Raises
        ------
        GoldenRowsError
            An answer differs from the expected one.
        """
        for member in self.members:
            try:
                member.self_test()
            except GoldenRowsError as error:
                raise GoldenRowsError(f"its member {member.version}: {error}") from error
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

    def fill(folder: Path) -> Manifest:
        files = write_files(draft, folder)
        for stored in (load_model(folder, draft.model.schema), load_compiled(folder)):
            if stored is not None:
                compare_stored(draft, stored)
        return manifest_of(draft, files, now, libraries or current_libraries())

    path, manifest = save_whole(draft.name, home_artifacts, key, fill, _replay_as_a_worker if draft.is_checked_in_child else None)
    return Artifact(path, manifest, manifest.digest)


def load_verified(  # 8 parameters: the public call, all but three of them options by name
    source: Path,
    cache: Path,
    key: bytes,
    *,
    expected_digest: str | None = None,
    libraries: Mapping[str, str] | None = None,
    replay: Replay = replay_in_child,
    asks_in_child: bool = False,
    known: Mapping[str, LoadedArtifact] | None = None,
) -> LoadedArtifact:
    """Verify an artifact while copying it into the cache, then load it from there only; of a version of members each of these too.

    Parameters
    ----------
    source
        `artifacts/<model>/<version>`; its members lie beside it.
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
    known
        By digest what this process has loaded already and in the same way: as members these are neither read nor loaded again.

    Raises
    ------
    OtherCodeError
        This process has other code of the user's than the version was made with.
    UnsignedArtifactError, TamperedArtifactError, MissingArtifactError
        Refused before anything was unpickled.
    IncompatibleArtifactError
        Made with other library versions, and it does not answer the same under these.
    ArtifactError
        It is not there or cannot be read.
    """
    manifest, folder = verify_into_cache(source, cache, key, expected_digest)
    how = _How(libraries or current_libraries(), replay, asks_in_child, known or {})
    return _load(folder, manifest, verify_members(manifest, source, cache, key, how.verified), how)


def load_cached(
    folder: Path,
    key: bytes,
    *,
    libraries: Mapping[str, str] | None = None,
    replay: Replay = replay_in_child,
    known: Mapping[str, LoadedArtifact] | None = None,
) -> LoadedArtifact:
    """Load what `load_verified` left in the cache, verified again; for a start without the registry. Raises the same."""
    manifest = verify_cached(folder, key)
    how = _How(libraries or current_libraries(), replay, False, known or {})
    return _load(folder, manifest, verify_members(manifest, None, folder.parent, key, how.verified), how)


@dataclass(frozen=True, slots=True)
class _How:
    """How a verified folder is loaded; the fields are parameters of `load_verified`."""

    libraries: Mapping[str, str]
    replay: Replay
    asks_in_child: bool
    known: Mapping[str, LoadedArtifact]

    @property
    def verified(self) -> dict[str, Manifest]:
        """The manifests of what is loaded already, by digest."""
        return {digest: loaded.manifest for digest, loaded in self.known.items()}


def _load(folder: Path, manifest: Manifest, members: Mapping[str, Manifest], how: _How) -> LoadedArtifact:
    """Load a verified folder, of a version of members these first.

    Parameters
    ----------
    members
        Their manifests by digest.
    """
    if members:
        loaded = [how.known.get(digest) or _load(folder.parent / digest, own, {}, how) for digest, own in members.items()]
        return _mixed(folder, manifest, loaded, how)
    warnings = _replay_if_other(folder, manifest, how.libraries, how.replay)
    schema = Schema.from_dict(manifest.schema)
    compiled = None if warnings else load_compiled(folder)
    loaded_one = LoadedArtifact(folder, manifest, folder.name, schema, compiled, warnings, how.asks_in_child)
    if compiled is None and not how.asks_in_child:
        _ = loaded_one.model
    return loaded_one


def _mixed(folder: Path, manifest: Manifest, loaded: Sequence[LoadedArtifact], how: _How) -> LoadedArtifact:
    """Return a version of members that are loaded; made with other library versions, it must answer its golden rows here."""
    schema = Schema.from_dict(manifest.schema)
    predictor = together(
        manifest.members or (), {each.digest: each for each in loaded}, schema, (folder / SPEC).read_text(), manifest.threshold
    )
    of_members = tuple(dict.fromkeys(warning for each in loaded for warning in each.warnings))
    version = LoadedArtifact(
        folder, manifest, folder.name, schema, None, of_members, how.asks_in_child, members=tuple(loaded), mixture=predictor
    )

    def replay(_: Path) -> None:
        version.golden.compare(predictor, schema)

    more = _replay_if_other(folder, manifest, how.libraries, replay)
    return replace(version, warnings=tuple(dict.fromkeys((*of_members, *more))))


def together(
    members: Sequence[Member], loaded: Mapping[str, LoadedArtifact], schema: Schema, spec_text: str, threshold: float | None = None
) -> CompiledModel | Mixture:
    """Return what members answer together.

    Parameters
    ----------
    loaded
        Each of them by its digest.
    spec_text
        The model file, which says what wrong decisions cost.
    threshold
        From which probability on the positive of two classes is decided; None decides the most probable, or the cheapest.

    Raises
    ------
    ArtifactError
        They answer different things, or one has a map that is none for what it answers.
    """
    costs = parse_spec(spec_text, stored=True).costs if schema.is_classification else None
    try:
        return mix([_part(member, loaded[member.digest]) for member in members], schema, costs, threshold)
    except ValueError as error:
        raise ArtifactError(f"its members cannot answer together: {error}") from error


def _part(member: Member, loaded: LoadedArtifact) -> Part:
    """Return a member as a part: a plain pipeline's calibration and its map are one, as those of a compiled model are."""
    predictor, point = loaded.predictor, member.map
    if point is None or predictor.classes is None or not isinstance(predictor, ModelInChild | FittedModel):
        return Part(predictor, member.weight, point)
    refuse_intercept(point[1], len(predictor.classes))
    if isinstance(predictor, ModelInChild):
        return Part(replace(predictor, map=point), member.weight)
    from training.fitting.calibration import mapped  # with scikit-learn, which a plain pipeline has brought along

    return Part(mapped(predictor, point), member.weight)


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
