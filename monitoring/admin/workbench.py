"""What a command works with: home, registry, log and journal, opened when first asked for and closed at its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import DatabaseUnavailableError, SigningKeyError, UnknownModelError
from training.own_code import extend_path
from training.settings import Home, TrainingSettings, from_environment

if TYPE_CHECKING:
    from monitoring.journal.journal import Journal
    from service.prediction_log.prediction_log import PredictionLog
    from training.artifacts.artifact import LoadedArtifact
    from training.model_file.model_spec import ModelSpec
    from training.registry.registry import Registry
    from training.registry.tables import VersionRecord
    from training.storage.database import Database


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
        extend_path(self.settings.code)
        self._may_begin = True

    @cached_property
    def settings(self) -> TrainingSettings:
        """Read the settings, once."""
        return from_environment(self.environment)

    @property
    def home(self) -> Home:
        """Return where everything lies."""
        return self.settings.home

    @cached_property
    def database(self) -> Database:
        """Open the one database of registry, log and journal.

        Raises
        ------
        DatabaseUnavailableError
            There is none, and nothing called `begin`, or what is in the home belonged to one that is gone.
        SchemaVersionError
            A newer Evergreen has migrated it; nothing is written.
        """
        from monitoring.known_tables import KNOWN_TABLES
        from training.storage.database import open_database

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
        database.refuse_newer(KNOWN_TABLES)
        return database

    def is_orphaned(self) -> bool:
        """Return whether the home holds versions or undrained predictions, which only a database gives a meaning."""
        leftovers = (*self.home.artifacts.glob("*/[!.]*"), *self.home.spool.glob("*.spool*"))
        return bool(leftovers)

    @cached_property
    def registry(self) -> Registry:
        """Open versions, aliases, ledger."""
        from training.registry.registry import Registry

        return Registry(self.database)

    @cached_property
    def log(self) -> PredictionLog:
        """Open predictions and labels."""
        from service.prediction_log.prediction_log import PredictionLog

        return PredictionLog(self.database)

    @cached_property
    def journal(self) -> Journal:
        """Open verdicts and runs."""
        from monitoring.journal.journal import Journal

        return Journal(self.database)

    @cached_property
    def key(self) -> bytes:
        """Read the key artifacts are signed with; training makes it."""
        from training.artifacts.signing import load_or_make_key

        if not self.home.signing_key.exists():
            raise SigningKeyError(f"there is no signing key {self.home.signing_key}; is {self.home.path} the right home?")
        return load_or_make_key(self.home.signing_key)

    def load(self, record: VersionRecord) -> LoadedArtifact:
        """Return a registered version, verified; its user's code is found."""
        from training.artifacts.artifact import load_verified

        extend_path(self.settings.code)
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
        from training.model_file.model_spec import parse_spec

        return parse_spec(self.registry.get_model(model).spec_text, Path.cwd(), stored=True)

    @property
    def who(self) -> str:
        """Return who acts, for the ledger."""
        try:
            return f"{getuser()} (command line)"
        except (OSError, KeyError):
            return "command line"

    def now(self) -> datetime:
        """Return machine time."""
        return datetime.now(UTC)

    def close(self) -> None:
        """Close what was opened."""
        while self._open:
            self._open.pop().close()
