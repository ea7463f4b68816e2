"""The files of versions that left the registry are deleted: all but the manifest with its signature."""

import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from training.artifacts.verification import MANIFEST, SIGNATURE
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
