"""The files of versions that left the registry, or never came into it, are deleted; of the former the manifest with its signature stays."""

import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from training.artifacts.draft import UNFINISHED
from training.artifacts.verification import MANIFEST, SIGNATURE
from training.json_text import from_text
from training.registry.lineage import Remembered, history_of
from training.registry.registry import Registry
from training.registry.tables import VersionRecord
from training.settings import Home

KEPT = (MANIFEST, SIGNATURE)


@dataclass(frozen=True, slots=True)
class Freed:
    """What deleting files made room for."""

    row_files: int
    bytes_freed: int

    def to_dict(self) -> dict[str, int]:
        """Return plain JSON values."""
        return {"row_files": self.row_files, "bytes_freed": self.bytes_freed}


def delete_files(home: Home, registry: Registry, records: Iterable[VersionRecord], *, histories: Collection[str] = ()) -> Freed:
    """Delete what a home has of versions that were removed, and the training rows that nothing needs any more; again does no harm.

    A process that has a version loaded goes on with it: what it has mapped stays until it lets go.

    Parameters
    ----------
    histories
        Digests of the rows that open runs go on from.

    Raises
    ------
    OSError
        A file cannot be deleted.
    """
    freed, rows, digests = 0, 0, set[str]()
    for record in records:
        folder = home.artifacts / record.path
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in KEPT:
                freed += path.stat().st_size
                path.unlink(missing_ok=True)
        shutil.rmtree(home.cache / record.digest, ignore_errors=True)
        if digest := record.manifest.get("rows_digest"):
            digests.add(digest)
    there = {digest: path for digest in digests if (path := home.rows / f"{digest}.parquet").exists()}
    for digest in there.keys() - (_rows_needed(registry) if there else set()) - set(histories):
        freed, rows = freed + there[digest].stat().st_size, rows + 1
        there[digest].unlink(missing_ok=True)
    return Freed(rows, freed)


def delete_unregistered(home: Home, model: str, names: Collection[str], before: datetime) -> list[str]:
    """Delete what was written for a version and never registered, as whoever wrote it was killed; return the names of the folders.

    These are folders that were not finished, and whole artifacts that follow a registered version: what somebody trained without a
    registry, or with another one, follows none that this one knows.

    Parameters
    ----------
    names
        All versions of the model that ever were registered.
    before
        Machine time; what is no older stays, for whoever wrote it may be about to register it.

    Raises
    ------
    OSError
        A file cannot be deleted.
    """
    folder, gone = home.artifacts / model, list[str]()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_old = path.name not in names and path.is_dir() and path.stat().st_mtime < before.timestamp()
        if is_old and (path.name.startswith(UNFINISHED) or _parent(path) in names):
            shutil.rmtree(path)
            gone.append(path.name)
    return gone


def _parent(folder: Path) -> str | None:
    """Return which version an artifact says that it follows; None where it says nothing."""
    try:
        content = from_text((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    parent = content.get("parent") if isinstance(content, dict) else None
    return parent if isinstance(parent, str) else None


def _rows_needed(registry: Registry) -> set[str]:
    """Return the digests of the rows that a version was trained on, or a retraining of one would continue."""
    needed, known = set[str](), Remembered(registry)
    for model in registry.models():
        for record in registry.versions(model.name):
            with suppress(KeyError):
                needed.add(record.manifest["rows_digest"])
            root = history_of(known, record)
            if root is not None:
                needed.add(root.manifest["rows_digest"])
    return needed
