"""What a version comes from: the member that was trained last, and the version trained by hand at the beginning."""

from typing import Protocol

from training.artifacts.manifest import generation_of
from training.registry.tables import VersionRecord


class Known(Protocol):
    """What knows every version there ever was, such as a registry."""

    def version(self, model: str, version: str) -> VersionRecord:
        """Return a version; raises `UnknownVersionError`."""
        ...


class Remembered:
    """Asks for each version once: forebears are many, and most have them in common."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._records: dict[tuple[str, str], VersionRecord] = {}

    def version(self, model: str, version: str) -> VersionRecord:
        """Return a version; raises `UnknownVersionError`."""
        key = model, version
        if key not in self._records:
            self._records[key] = self._known.version(model, version)
        return self._records[key]


def newest_member(known: Known, record: VersionRecord) -> VersionRecord:
    """Return the member of a version that was trained last, which says how it was made: itself where it is no mixture."""
    members = record.manifest.get("members")
    if not members:
        return record
    return known.version(record.model, max(members, key=lambda member: int(member["trained_through_us"]))["version"])


def pool_of(known: Known, record: VersionRecord) -> list[VersionRecord]:
    """Return the generations a version grew through, newest first: the last is the one it began with, which is no mixture.

    A version that replaced another one, as a challenger does, is the beginning of its own.
    """
    record = known.version(record.model, generation_of(record.version))
    pool = [record]
    while record.manifest.get("members") and record.parent is not None:
        record = known.version(record.model, generation_of(record.parent))
        if record in pool:
            break
        pool.append(record)
    return pool


def history_of(known: Known, record: VersionRecord) -> VersionRecord | None:
    """Return the forebear that was trained by hand, from a table: its stored rows are the history the log continues."""
    seen, record = set(), newest_member(known, record)
    while record.run_id is not None and record.parent is not None and record.version not in seen:
        seen.add(record.version)
        record = newest_member(known, known.version(record.model, record.parent))
    return record if record.run_id is None and record.manifest.get("rows_digest") else None
