"""What the drain must know of a version to count its rows: its bins, the width of a bucket, the rule of its clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from service.watermark import ClockRule
from training.bins import Bins
from training.clock import duration_us, to_us
from training.manifest import Manifest
from training.profile import Reference


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """How rows of one version are counted."""

    bins: Bins
    bucket_us: int
    rule: ClockRule


def facts_of(manifest: Manifest, reference: Reference, clock_bound: timedelta) -> VersionFacts:
    """Gather the facts from a verified artifact and its model file."""
    rule = ClockRule(bound_us=duration_us(clock_bound), start_us=to_us(manifest.data_end))
    return VersionFacts(reference.bins, duration_us(reference.bucket), rule)


class VersionBook:
    """Remembers the facts of versions; asks `find` for those it never saw (of a dead worker's file, for instance).

    Examples
    --------
    >>> book = VersionBook(lambda model, version: None)
    >>> book.facts("bikes", "v1") is None
    True
    """

    def __init__(self, find: Callable[[str, str], VersionFacts | None]) -> None:
        self._find = find
        self._known: dict[tuple[str, str], VersionFacts] = {}
        self._bucket_us: dict[str, int] = {}
        self._lock = threading.Lock()

    def bucket_us(self, model: str) -> int:
        """Give the width of a model's buckets, as of the version seen last; a day before the first."""
        return self._bucket_us.get(model, 86_400_000_000)

    def put(self, model: str, version: str, facts: VersionFacts) -> None:
        """Remember the facts of a version that was loaded here."""
        with self._lock:
            self._known[model, version] = facts
            self._bucket_us[model] = facts.bucket_us

    def facts(self, model: str, version: str) -> VersionFacts | None:
        """Give the facts; None when the artifact is gone or may not be trusted."""
        known = self._known.get((model, version))
        if known is None:
            known = self._find(model, version)
            if known is not None:
                self.put(model, version, known)
        return known
