"""What a watching process works with: registry, log, journal and verified versions, opened once."""

from __future__ import annotations

from dataclasses import dataclass, field

from monitoring.journal.journal import Journal
from monitoring.journal.outcomes import KeptAnswered, KeptSums
from monitoring.judging.data_faults import Known
from monitoring.judging.estimating.class_estimator import ClassEstimator
from monitoring.judging.estimating.value_estimator import ValueEstimator
from monitoring.judging.labels.counts import CountedLabels
from monitoring.judging.labels.faults import Group
from monitoring.log_windows import Range, Windows
from service.prediction_log.prediction_log import PredictionLog
from service.recording.failpoints import Failpoint, never
from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.signing import load_or_make_key
from training.model_file.model_spec import ModelSpec
from training.policies import MOST_MEMBERS
from training.profiles.reference import Reference
from training.registry.registry import Registry
from training.settings import Home
from training.storage.database import Database, open_database

KEPT_VERSIONS = 2 * MOST_MEMBERS + 8  # the members of the champion and of the one before it, whole, and some others


@dataclass(frozen=True, slots=True)
class Stores:
    """The handles of one process; made by `open_stores`, after the fork.

    Attributes
    ----------
    failpoint
        Told of each step of a verdict's way, so that a test can end the process there.
    """

    home: Home
    database: Database
    registry: Registry
    log: PredictionLog
    journal: Journal
    failpoint: Failpoint = never
    loaded: dict[tuple[str, str], LoadedArtifact] = field(default_factory=dict)
    references: dict[tuple[str, int, int], Reference] = field(default_factory=dict)
    known_faults: dict[str, tuple[Reference, Known]] = field(default_factory=dict)
    label_counts: dict[str, CountedLabels] = field(default_factory=dict)
    taught: dict[object, tuple[Group, ...]] = field(default_factory=dict)
    outcome_sums: dict[tuple[str, str], KeptSums] = field(default_factory=dict)
    learned: dict[tuple[object, ...], float | None] = field(default_factory=dict)
    answered: dict[str, KeptAnswered] = field(default_factory=dict)
    estimators: dict[str, tuple[object, ClassEstimator | ValueEstimator | str]] = field(default_factory=dict)

    def windows(self, spec: ModelSpec) -> Windows:
        """Return the reader of one model's windows."""
        return Windows(self.database, self.log, spec.model, spec.schema, spec.labels)

    def load(self, model: str, version: str) -> LoadedArtifact:
        """Return a verified version; the last few are kept. A plain pipeline answers in a process of its own.

        Raises
        ------
        ArtifactError
            It was tampered with, or does not answer as it did.
        UnknownVersionError
            There is no such version.
        """
        if (model, version) not in self.loaded:
            record = self.registry.version(model, version)
            key = load_or_make_key(self.home.signing_key)
            loaded = load_verified(
                self.home.artifacts / record.path,
                self.home.cache,
                key,
                expected_digest=record.digest,
                asks_in_child=True,
                known={each.digest: each for kept in self.loaded.values() for each in kept.members or (kept,)},
            )
            while len(self.loaded) >= KEPT_VERSIONS:
                self.loaded.pop(next(iter(self.loaded)))
            self.loaded[model, version] = loaded
        return self.loaded[model, version]

    def quarantined(self, model: str) -> tuple[Range, ...]:
        """Return the ranges of model time that are quarantined."""
        return tuple(Range(q.start_us, q.end_us) for q in self.journal.quarantines(model))

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_stores(home: Home, database_url: str, failpoint: Failpoint = never) -> Stores:
    """Open everything; the database is not touched before it is asked something."""
    database = open_database(database_url)
    return Stores(home.ensure(), database, Registry(database), PredictionLog(database), Journal(database), failpoint)
