"""Settings of a training run, and where things lie in Evergreen's home directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from training.errors import SettingsError
from training.own_code import folder_in

Backend = Literal["sequential", "loky", "threading"]


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of Evergreen's home directory; nothing is created until `ensure`."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file of registry, log and journal."""
        return self.path / "evergreen.db"

    @property
    def database_url(self) -> str:
        """The address of the SQLite file, in which `%` and `?` of the path must not mean what they mean in addresses.

        Examples
        --------
        >>> Home(Path("/srv/100%?")).database_url
        'sqlite:////srv/100%25%3F/evergreen.db'
        """
        return "sqlite:///" + str(self.database).replace("%", "%25").replace("?", "%3F")

    @property
    def former_database(self) -> Path | None:
        """Where earlier versions put the database of a home with `%` or `?` in its path; None unless it is there, and none here."""
        former = Path(unquote(str(self.database).partition("?")[0]))
        is_used = self.signing_key.exists() or self.ids_key.exists()
        return former if former != self.database and is_used and not self.database.exists() and former.is_file() else None

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
    def loading(self) -> Path:
        """Which version each process is loading, and on which ones processes died."""
        return self.cache / "loading"

    @property
    def reports(self) -> Path:
        """What is known of rows that nothing could be learned from."""
        return self.path / "reports"

    @property
    def metrics(self) -> Path:
        """Files of the multiprocess metrics."""
        return self.path / "metrics"

    def ensure(self) -> Home:
        """Create the directory and what lies in it, readable by its owner only."""
        inside = (self.artifacts, self.rows, self.keys, self.spool, self.cache, self.champions, self.loading, self.metrics)
        for folder in (self.path, *inside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def refuse_lost(self) -> None:
        """Refuse a home that was made once and is not there: to make it anew would begin another one, with other keys.

        Raises
        ------
        SettingsError
            A folder is missing whose content nothing can bring back.
        """
        lost = [folder for folder in (self.artifacts, self.keys, self.spool) if not folder.is_dir()]
        if lost:
            raise SettingsError(f"the home {self.path} is not there any more, {lost[0]} is missing: is its disk mounted?")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a training process reads from the environment, once.

    Attributes
    ----------
    home
        ``EVERGREEN_HOME``, default ``.evergreen``.
    database_url
        ``EVERGREEN_DATABASE_URL``, default the SQLite file in the home directory.
    backend
        ``EVERGREEN_TRAINING_BACKEND``: the joblib backend of the search.
    jobs
        ``EVERGREEN_TRAINING_JOBS``: fits at the same time.
    code
        ``EVERGREEN_CODE``: the folder of the user's own modules.
    data_password
        ``EVERGREEN_DATA_PASSWORD``: what the database asks for that ``data: {sql:, url:}`` of a model file names.
    """

    home: Home
    database_url: str
    backend: Backend = "sequential"
    jobs: int = 1
    code: Path | None = None
    data_password: str | None = field(default=None, repr=False)


def default_database_url(home: Home) -> str:
    """Return the address of the database of a home, where no other is named.

    Raises
    ------
    SettingsError
        It lies where an earlier version put it.
    """
    if home.former_database is not None:
        raise SettingsError(
            f"the database of {home.path} lies at {home.former_database}, where earlier versions put it because of the % or ? in it, "
            f"and other homes may share it: stop what uses it and move it (with its -wal) to {home.database}, or set EVERGREEN_DATABASE_URL"
        )
    return home.database_url


def from_environment(environment: Mapping[str, str]) -> TrainingSettings:
    """Read the settings; raises SettingsError naming the variable.

    Examples
    --------
    >>> from_environment({"EVERGREEN_HOME": "/srv/e"}).database_url
    'sqlite:////srv/e/evergreen.db'
    """
    home = Home(Path(environment.get("EVERGREEN_HOME") or ".evergreen").absolute())
    url = environment.get("EVERGREEN_DATABASE_URL") or default_database_url(home)
    backend = environment.get("EVERGREEN_TRAINING_BACKEND") or "sequential"
    if backend not in ("sequential", "loky", "threading"):
        raise SettingsError(f"EVERGREEN_TRAINING_BACKEND is {backend!r}; it must be sequential, loky or threading")
    jobs = environment.get("EVERGREEN_TRAINING_JOBS") or "1"
    if not jobs.isdigit() or int(jobs) < 1:
        raise SettingsError(f"EVERGREEN_TRAINING_JOBS is {jobs!r}; it must be a whole number of at least 1")
    return TrainingSettings(home, url, backend, int(jobs), code_folder(environment), environment.get("EVERGREEN_DATA_PASSWORD") or None)  # type: ignore[arg-type]


def code_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder ``EVERGREEN_CODE`` names; raises SettingsError where it is none."""
    folder = folder_in(environment)
    if folder is not None and not folder.is_dir():
        raise SettingsError(f"EVERGREEN_CODE is {environment['EVERGREEN_CODE']!r}; it must be a folder with modules of yours")
    return folder
