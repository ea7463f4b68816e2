"""What goes into an artifact, and its files on the disk."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib

from training.compiled import CompiledModel
from training.documents import to_bytes
from training.golden import Golden
from training.manifest import FileEntry, Manifest, digest_of
from training.model import FittedModel
from training.payload import COMPILED, GOLDEN, MODEL
from training.profile import Reference

REFERENCE, CARD, SPEC, REPORT = "reference.json", "card.md", "spec.yaml", "report.json"


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


def write_files(draft: Draft, folder: Path) -> dict[str, FileEntry]:
    """Write every file of an artifact but its manifest; return their digests."""
    # Uncompressed where it serves, so that its arrays can be mapped; beside a compiled form it is seldom read, but hashed at each start.
    joblib.dump(draft.model.payload(), folder / MODEL, compress=0 if draft.compiled is None else 1)
    contents = {
        REFERENCE: to_bytes(draft.reference.to_dict()),
        GOLDEN: to_bytes(draft.golden.to_dict()),
        CARD: draft.card.encode(),
        SPEC: draft.spec_text.encode(),
        REPORT: to_bytes(draft.report),
    }
    for name, content in contents.items():
        write_durably(folder / name, content)
    pickled = {MODEL: (folder / MODEL).read_bytes()}
    if draft.compiled is not None:
        joblib.dump(draft.compiled.payload(), folder / COMPILED)
        pickled[COMPILED] = (folder / COMPILED).read_bytes()
    for name, content in pickled.items():
        write_durably(folder / name, content)
    return {name: FileEntry(digest_of(content), len(content)) for name, content in {**contents, **pickled}.items()}


def manifest_of(draft: Draft, files: Mapping[str, FileEntry], now: datetime, libraries: Mapping[str, str]) -> Manifest:
    """Return what the artifact says of itself."""
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


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and have it on the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
