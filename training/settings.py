"""Settings of a training run, and where things lie in Evergreen's home directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.errors import SettingsError

Backend = Literal["sequential", "loky", "threading"]


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of Evergreen's home directory; nothing is created until :meth:`ensure`."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file of registry, log and journal."""
        return self.path / "evergreen.db"

    @property
    def artifacts(self) -> Path:
        """One directory a model, in it one a version."""
        return self.path / "artifacts"

    @property
    def rows(self) -> Path:
        """Training rows, content-addressed Parquet."""
        return self.path / "rows"

    @property
    def keys(self) -> Path:
        """The private keys."""
        return self.path / "keys"

    @property
    def signing_key(self) -> Path:
        """The key artifacts are signed with."""
        return self.keys / "signing.key"

    @property
    def ids_key(self) -> Path:
        """The key prediction ids are tagged with."""
        return self.keys / "ids.key"

    @property
    def api_keys(self) -> Path:
        """The hashes of the API keys (optional)."""
        return self.keys / "api_keys.json"

    @property
    def spool(self) -> Path:
        """Predictions not yet in the log."""
        return self.path / "spool"

    @property
    def cache(self) -> Path:
        """Verified copies of artifacts, by digest."""
        return self.path / "cache"

    @property
    def champions(self) -> Path:
        """The last verified champion of each model."""
        return self.cache / "champions"

    @property
    def metrics(self) -> Path:
        """Files of the multiprocess metrics."""
        return self.path / "metrics"

    def ensure(self) -> Home:
        """Create the directory and what lies in it, readable by its owner only."""
        inside = (self.artifacts, self.rows, self.keys, self.spool, self.cache, self.champions, self.metrics)
        for folder in (self.path, *inside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a training process reads from the environment, once.

    Parameters
    ----------
    home
        ``EVERGREEN_HOME``, default ``.evergreen``.
    database_url
        ``EVERGREEN_DATABASE_URL``, default the SQLite file in the home directory.
    backend
        ``EVERGREEN_TRAINING_BACKEND``: the joblib backend of the search.
    jobs
        ``EVERGREEN_TRAINING_JOBS``: fits at the same time.
    """

    home: Home
    database_url: str
    backend: Backend = "sequential"
    jobs: int = 1


def from_environment(environment: Mapping[str, str]) -> TrainingSettings:
    """Read the settings; raises SettingsError naming the variable.

    Examples
    --------
    >>> from_environment({"EVERGREEN_HOME": "/srv/e"}).database_url
    'sqlite:////srv/e/evergreen.db'
    """
    home = Home(Path(environment.get("EVERGREEN_HOME") or ".evergreen").absolute())
    url = environment.get("EVERGREEN_DATABASE_URL") or f"sqlite:///{home.database}"
    backend = environment.get("EVERGREEN_TRAINING_BACKEND") or "sequential"
    if backend not in ("sequential", "loky", "threading"):
        raise SettingsError(f"EVERGREEN_TRAINING_BACKEND is {backend!r}; it must be sequential, loky or threading")
    jobs = environment.get("EVERGREEN_TRAINING_JOBS") or "1"
    if not jobs.isdigit() or int(jobs) < 1:
        raise SettingsError(f"EVERGREEN_TRAINING_JOBS is {jobs!r}; it must be a whole number of at least 1")
    return TrainingSettings(home, url, backend, int(jobs))  # type: ignore[arg-type]
