"""What the drain must know of a version to count its rows: its measures, the width of a bucket, the rule of its clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.prediction_log.watermark import ClockRule
from training.artifacts.manifest import Manifest
from training.clock import duration_us, to_us
from training.model_file.model_spec import ModelSpec
from training.profiles.measures import Measures
from training.profiles.reference import Reference


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """How rows of one version are counted."""

    measures: Measures
    bucket_us: int
    rule: ClockRule


def facts_of(manifest: Manifest, reference: Reference, spec: ModelSpec) -> VersionFacts:
    """Gather the facts from a verified artifact and its model file."""
    time = spec.schema.time
    is_ordinal = time is not None and time.is_ordinal_clock
    rule = ClockRule(duration_us(spec.watching.clock_bound), to_us(manifest.data_end), is_ordinal)
    return VersionFacts(reference.measures, duration_us(reference.bucket), rule)


class VersionCache:
    """Remember the facts of versions; ask `find` for others (of a dead worker's file, for instance).

    Examples
    --------
    >>> versions = VersionCache(lambda model, version: None)
    >>> versions.facts("bikes", "v1") is None
    True
    """

    def __init__(self, find: Callable[[str, str], VersionFacts | None]) -> None:
        self._find = find
        self._known: dict[tuple[str, str], VersionFacts] = {}
        self._measures: dict[str, Measures] = {}
        self._bucket_us: dict[str, int] = {}
        self._lock = threading.Lock()

    def bucket_us(self, model: str) -> int:
        """Return the width of a model's buckets, as of the version put last; a day before the first."""
        return self._bucket_us.get(model, 86_400_000_000)

    def put(self, model: str, version: str, facts: VersionFacts) -> None:
        """Remember the facts of a version that was loaded here; versions of the same members share their measures."""
        with self._lock:
            facts = replace(facts, measures=self._measures.setdefault(facts.measures.id, facts.measures))
            self._known[model, version] = facts
            self._bucket_us[model] = facts.bucket_us

    def facts(self, model: str, version: str) -> VersionFacts | None:
        """Return the facts; None when the artifact is gone or may not be trusted."""
        known = self._known.get((model, version))
        if known is None:
            known = self._find(model, version)
            if known is not None:
                self.put(model, version, known)
        return known
