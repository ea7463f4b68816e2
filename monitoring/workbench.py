"""What a command works with: home, registry, log and journal, opened when first asked for and closed at its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import DatabaseUnavailableError, SigningKeyError, UnknownModelError
from training.settings import Home, TrainingSettings, from_environment

if TYPE_CHECKING:
    from monitoring.journal import Journal
    from service.prediction_log import PredictionLog
    from training.artifact import LoadedArtifact
    from training.database import Database
    from training.registry import Registry
    from training.registry_tables import VersionRecord
    from training.spec import ModelSpec


class Workbench:
    """Open what a command asks for, once.

    Parameters
    ----------
    environment
        The variables the settings are read from.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._open: list[Database] = []
        self._may_begin = False

    def begin(self) -> None:
        """Let a home without a database get one: for what makes a first version, not for what looks."""
        self._may_begin = True

    @cached_property
    def settings(self) -> TrainingSettings:
        """The settings, read once."""
        return from_environment(self.environment)

    @property
    def home(self) -> Home:
        """Where everything lies."""
        return self.settings.home

    @cached_property
    def database(self) -> Database:
        """The one database of registry, log and journal.

        Raises
        ------
        DatabaseUnavailableError
            There is none, and nothing called `begin`, or what is in the home belonged to one that is gone.
        """
        from training.database import open_database

        database = open_database(self.settings.database_url, create=self._may_begin)
        missing = database.missing_file
        if missing is not None and self.is_orphaned():
            raise DatabaseUnavailableError(
                f"the database {missing} is gone, but {self.home.path} holds versions or predictions that belong to it; "
                "restore it from a backup, or start anew in another home (--home)"
            )
        if missing is not None and not self._may_begin:
            raise DatabaseUnavailableError(
                f"there is no database {missing}; name the right home (--home or EVERGREEN_HOME), or start with "
                "`evergreen train model.yaml`"
            )
        if self._may_begin:
            self.home.ensure()
        self._open.append(database)
        return database

    def is_orphaned(self) -> bool:
        """Whether the home holds versions or undrained predictions, which only a database gives a meaning."""
        found = (*self.home.artifacts.glob("*/[!.]*"), *self.home.spool.glob("*.spool"))
        return bool(found)

    @cached_property
    def registry(self) -> Registry:
        """Versions, aliases, ledger."""
        from training.registry import Registry

        return Registry(self.database)

    @cached_property
    def log(self) -> PredictionLog:
        """Predictions and labels."""
        from service.prediction_log import PredictionLog

        return PredictionLog(self.database)

    @cached_property
    def journal(self) -> Journal:
        """Verdicts and runs."""
        from monitoring.journal import Journal

        return Journal(self.database)

    @cached_property
    def key(self) -> bytes:
        """The key artifacts are signed with; training makes it."""
        from training.signing import load_or_make_key

        if not self.home.signing_key.exists():
            raise SigningKeyError(f"there is no signing key {self.home.signing_key}; is {self.home.path} the right home?")
        return load_or_make_key(self.home.signing_key)

    def load(self, record: VersionRecord) -> LoadedArtifact:
        """Return a registered version, verified."""
        from training.artifact import load_verified

        return load_verified(self.home.artifacts / record.path, self.home.cache, self.key, expected_digest=record.digest)

    def model_named(self, name: str | None) -> str:
        """Return `name`, or the only model there is.

        Raises
        ------
        UnknownModelError
            When there is no such model, none at all, or several and no name.
        """
        names = [record.name for record in self.registry.models()]
        if name in names:
            return str(name)
        if name is not None:
            raise UnknownModelError(f"there is no model {name!r}; there is {', '.join(names) or 'none yet'}")
        if len(names) == 1:
            return names[0]
        if not names:
            raise UnknownModelError("there is no model yet; start with `evergreen train model.yaml`")
        raise UnknownModelError(f"which model? Say --model, one of {', '.join(names)}")

    def spec(self, model: str) -> ModelSpec:
        """Return the registered model file of `model`."""
        from training.spec import parse_spec

        return parse_spec(self.registry.get_model(model).spec_text, Path.cwd())

    @property
    def who(self) -> str:
        """Who acts, for the ledger."""
        try:
            return f"{getuser()} (command line)"
        except (OSError, KeyError):
            return "command line"

    def now(self) -> datetime:
        """Machine time."""
        return datetime.now(UTC)

    def close(self) -> None:
        """Close what was opened."""
        while self._open:
            self._open.pop().close()
