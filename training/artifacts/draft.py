"""What goes into an artifact, and its files on the disk."""

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib

from training.artifacts.golden_rows import Golden
from training.artifacts.manifest import FileEntry, Manifest, digest_of
from training.artifacts.pickles import COMPILED, GOLDEN, MODEL, ORIGINAL_FILE
from training.artifacts.signing import sign
from training.artifacts.verification import MANIFEST, SIGNATURE
from training.compiled.compiled_model import CompiledModel
from training.errors import ArtifactError, EvergreenError, GoldenRowsError
from training.fitting.fitted_model import FittedModel
from training.fitting.imported import IMPORTED
from training.json_text import to_bytes
from training.profiles.reference import Reference

REFERENCE, CARD, CARD_PAGE, SPEC, REPORT = "reference.json", "card.md", "card.html", "spec.yaml", "report.json"
HELD_OUT = "held_out.json"
UNFINISHED = ".draft-"  # how the name of a folder begins that is being written


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
    compiled: CompiledModel | None = None
    card: str = ""
    page: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    held_out: Mapping[str, Any] | None = None
    parent: str | None = None
    rows_digest: str | None = None
    data_fingerprint: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    durations: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    rungs: int = 0
    fits: int = 0
    code: Mapping[str, Any] | None = None
    original: Mapping[str, Any] | None = None
    original_content: bytes | None = None
    asked: Mapping[str, Any] | None = None

    @property
    def is_checked_in_child(self) -> bool:
        """Whether the model may need modules that a worker does not have: it has code of a user's, or was imported."""
        return self.algorithm in (self.code or {}) or self.algorithm.startswith(IMPORTED) or self.original is not None


def write_files(draft: Draft, folder: Path) -> dict[str, FileEntry]:
    """Write every file of an artifact but its manifest; return their digests.

    Raises
    ------
    ArtifactError
        The fitted model cannot be pickled.
    """
    # Uncompressed where it serves, so that its arrays can be mapped; beside a compiled form it is seldom read, but hashed at each start.
    try:
        joblib.dump(draft.model.to_pickle(), folder / MODEL, compress=0 if draft.compiled is None else 1)
    except OSError:
        raise
    except Exception as error:
        raise ArtifactError(
            f"the fitted model ({draft.algorithm}) cannot be pickled: {type(error).__name__}: {error}; what a file can hold are functions "
            "and classes that stand by themselves in a module, without open files, locks or connections in them"
        ) from error
    contents = {
        REFERENCE: to_bytes(draft.reference.to_dict()),
        GOLDEN: to_bytes(draft.golden.to_dict()),
        CARD: draft.card.encode(),
        SPEC: draft.spec_text.encode(),
        REPORT: to_bytes(draft.report),
    }
    if draft.page:
        contents[CARD_PAGE] = draft.page.encode()
    if draft.held_out is not None:
        contents[HELD_OUT] = to_bytes(draft.held_out)
    if draft.original_content is not None:
        contents[ORIGINAL_FILE] = draft.original_content
    for name, content in contents.items():
        write_durably(folder / name, content)
    pickled = {MODEL: (folder / MODEL).read_bytes()}
    if draft.compiled is not None:
        joblib.dump(draft.compiled.to_pickle(), folder / COMPILED)
        pickled[COMPILED] = (folder / COMPILED).read_bytes()
    for name, content in pickled.items():
        write_durably(folder / name, content)
    return {name: FileEntry(digest_of(content), len(content)) for name, content in {**contents, **pickled}.items()}


def manifest_of(draft: Draft, files: Mapping[str, FileEntry], now: datetime, libraries: Mapping[str, str]) -> Manifest:
    """Return what the artifact says of itself."""
    schema = draft.model.schema.to_dict()
    shared = ("parent", "rows_digest", "data_fingerprint", "data_start", "data_end", "trained_through_us", "metrics", "seed")
    search = ("algorithm", "params", "rungs", "fits", "durations", "code", "original", "asked")
    return Manifest(
        model=draft.name,
        created=now,
        schema=schema,
        contract_hash=draft.model.schema.contract_hash,
        schema_hash=digest_of(to_bytes(schema)),
        libraries=dict(libraries),
        bins_id=draft.reference.measures.id,
        model_sha256=files[MODEL].sha256,
        files=files,
        threshold=draft.model.threshold,
        **{name: getattr(draft, name) for name in (*shared, *search)},
    )


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and have it on the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def compare_stored(draft: Draft, stored: FittedModel | CompiledModel) -> None:
    """Raise GoldenRowsError where a model that was read back answers otherwise; say so where it never answers the same twice."""
    schema = draft.model.schema
    try:
        draft.golden.compare(stored, schema)
    except GoldenRowsError as error:
        try:
            draft.golden.compare(draft.model, schema)
        except GoldenRowsError as again:
            raise GoldenRowsError(f"the model answers the same rows in another way each time it is asked: {again}") from error
        raise
    except (EvergreenError, MemoryError, OSError):
        raise
    except Exception as error:
        raise GoldenRowsError(f"read back from the disk, the model raises {type(error).__name__}: {error}") from error


def save_whole(
    model: str, home_artifacts: Path, key: bytes, fill: Callable[[Path], Manifest], check: Callable[[Path], None] | None = None
) -> tuple[Path, Manifest]:
    """Let a hidden folder be filled, sign it, and move it to `home_artifacts/<model>/<version>`: it is there whole or not at all.

    Returns
    -------
    The folder, and its manifest.

    Parameters
    ----------
    fill
        Writes every file but the manifest into a folder and returns that.
    check
        Looks at the folder with its manifest before it is signed.

    Raises
    ------
    ArtifactError
        The disk is full or refuses.
    """
    folder = home_artifacts / model
    unfinished = folder / f"{UNFINISHED}{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.mkdir(mode=0o700)
        manifest = fill(unfinished)
        content = manifest.to_json()
        write_durably(unfinished / MANIFEST, content)
        if check is not None:
            check(unfinished)
        write_durably(unfinished / SIGNATURE, sign(key, content).encode() + b"\n")
        _sync_folder(unfinished)
        path = folder / manifest.version
        if manifest.reweighed is not None and path.exists():
            raise ArtifactError(f"{path.name} is there already")
        if not path.exists():
            unfinished.rename(path)
            _sync_folder(folder)
            _sync_folder(home_artifacts)
        return path, manifest
    except OSError as error:
        raise ArtifactError(f"the artifact of {model} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
