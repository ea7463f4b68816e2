"""A run of a training on small rows, that several tests look at."""

from dataclasses import dataclass
from datetime import UTC, datetime

from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.signing import load_or_make_key
from training.model_file.model_spec import ModelSpec
from training.result import TrainingResult
from training.schema.rows import Rows
from training.settings import Home

NOW = datetime(2024, 6, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run on small rows; only to be looked at."""

    spec: ModelSpec
    rows: Rows
    home: Home
    result: TrainingResult

    def loaded(self) -> LoadedArtifact:
        """Return its version, verified."""
        return load_verified(self.result.artifact.path, self.home.cache, load_or_make_key(self.home.signing_key))
