"""Every exception of the core.

::

    EvergreenError
    ├── SpecError                  the model file is wrong: line, field, message of every mistake
    ├── SettingsError              an environment variable is wrong
    ├── SchemaError                a schema or a stored form of one makes no sense
    ├── DurationError              a duration cannot be read
    ├── DataError                  rows do not fit the schema
    │   ├── UnreadableTableError   a table's file is not there, or is something else
    │   └── TooFewRowsError        not enough rows, or not enough classes, to learn from
    ├── BinsMismatchError          counts made under different bins were about to be added
    ├── NothingBeatsBaselineError  no candidate was better than a constant guess
    ├── CandidateError             an estimator, metric or search that is not ours cannot be found, fails, or changed since the champion
    ├── DatabaseUnavailableError   the database is gone, unreadable, full or too busy: try again later
    │   └── DatabaseDamagedError       it is there and its content is broken: trying again does not help
    ├── SchemaVersionError         the tables were made by another Evergreen and cannot be migrated
    ├── SigningKeyError            the signing key is missing, readable by others, or not a key
    ├── ArtifactError              an artifact may not be loaded
    │   ├── MissingArtifactError       it, or the key it was signed with, is not in this home
    │   ├── UnsignedArtifactError      there is no signature
    │   ├── TamperedArtifactError      signed by another key, truncated, changed, files missing or added
    │   ├── IncompatibleArtifactError  made with other library versions, and they answer differently
    │   ├── OtherCodeError             this process has other code than the version was made with
    │   └── GoldenRowsError            the model does not reproduce its golden rows
    └── RegistryError              the registry refuses a move
        ├── UnknownModelError          no model has this name
        ├── UnknownVersionError        no version of the model has this name, or an alias points nowhere
        ├── VersionExistsError         the version is registered already, with other content
        ├── StalePromotionError        the champion moved since the promotion was decided
        └── ContractChangedError       the version answers other requests than the model's contract
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class EvergreenError(Exception):
    """Anything Evergreen refuses, with a sentence a person can act on."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled by its arguments: here that is the sentence, which is not what `__init__` of a subclass takes.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[EvergreenError], args: tuple[Any, ...], state: Mapping[str, Any]) -> EvergreenError:
    """Return an error as it was in another process."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """One mistake in a model file: where (line from 1, dotted field) and what."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.field or 'file'}: {self.message}"


class SpecError(EvergreenError):
    """Say everything that is wrong with a model file at once."""

    def __init__(self, problems: Sequence[SpecProblem], source: str = "model file") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(f"{source}: {len(self.problems)} problem(s)\n" + "\n".join(f"  {p}" for p in self.problems))


class SettingsError(EvergreenError):
    """An environment variable has a value that cannot be used."""


class SchemaError(EvergreenError):
    """A schema, or the stored form of one, makes no sense."""


class DurationError(EvergreenError):
    """A duration such as ``14d`` cannot be read."""


@dataclass(frozen=True, slots=True)
class DataProblem:
    """One value that does not fit: row (from 0 in file order, None for a whole column), column, got, wanted; of several files, which."""

    row: int | None
    column: str
    got: str
    wanted: str
    file: str | None = None

    def __str__(self) -> str:
        where = f"column {self.column!r}" if self.row is None else f"row {self.row}, column {self.column!r}"
        return f"{'' if self.file is None else f'{self.file}, '}{where}: got {self.got}, wanted {self.wanted}"


class DataError(EvergreenError):
    """Rows do not fit the schema; the first 50 problems are shown, ``total`` says how many there are."""

    SHOWN = 50

    def __init__(self, problems: Sequence[DataProblem], source: str = "rows", total: int | None = None) -> None:
        self.total = len(problems) if total is None else total
        self.problems = tuple(problems[: self.SHOWN])
        rest = f"\n  ... and {self.total - len(self.problems)} more" if self.total > len(self.problems) else ""
        lines = "\n".join(f"  {p}" for p in self.problems)
        super().__init__(f"{source}: {self.total} value(s) do not fit the schema\n{lines}{rest}")


class UnreadableTableError(DataError):
    """The file of a table is not there, is something else, or is written in another way than its model file says."""

    def __init__(self, source: str, reason: str | Exception, wanted: str | None = None) -> None:
        if isinstance(reason, OSError) and reason.strerror:
            reason = reason.strerror
        if isinstance(reason, FileNotFoundError):  # of pyarrow it has no strerror
            reason = "No such file or directory"
        got = reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
        super().__init__([DataProblem(None, source, got, wanted or "a readable CSV, JSON lines, Excel or Parquet file")], source)
        self.args = (f"the table {source} cannot be read: {' '.join(got.split())}{f'; wanted {wanted}' if wanted else ''}",)


class TooFewRowsError(DataError):
    """There are not enough rows, or not enough classes, to learn from."""

    def __init__(self, message: str) -> None:
        super().__init__([])
        self.args = (message,)


class BinsMismatchError(EvergreenError):
    """Counts made under different bins were about to be added."""


class NothingBeatsBaselineError(EvergreenError):
    """No candidate was better than a constant guess; nothing was registered and the champion is untouched."""


class CandidateError(EvergreenError):
    """An estimator, metric or search that is not ours cannot be found, fails, or changed since the champion was made."""


class DatabaseUnavailableError(EvergreenError):
    """The database is gone, unreadable, full or too busy: try again later."""


class DatabaseDamagedError(DatabaseUnavailableError):
    """The database is there, and its content is broken: trying again does not help."""


class SchemaVersionError(EvergreenError):
    """The tables were made by another Evergreen and cannot be migrated."""


class SigningKeyError(EvergreenError):
    """The signing key is missing, readable by others, or not a key."""


class ArtifactError(EvergreenError):
    """An artifact may not be loaded."""


class MissingArtifactError(ArtifactError):
    """The registry names the version, and it, or the key it was signed with, is not in this home."""


class UnsignedArtifactError(ArtifactError):
    """There is no signature."""


class TamperedArtifactError(ArtifactError):
    """The artifact was signed by another key, truncated or changed, or files are missing or added."""


class IncompatibleArtifactError(ArtifactError):
    """The artifact was made with other library versions, and under ours it answers differently or not at all."""


class OtherCodeError(ArtifactError):
    """This process has other code of a user's package than the version was made with."""


class GoldenRowsError(ArtifactError):
    """The model does not reproduce its golden rows."""


class RegistryError(EvergreenError):
    """The registry refuses a move."""


class UnknownModelError(RegistryError):
    """No model has this name."""


class UnknownVersionError(RegistryError):
    """No version of the model has this name, or the alias points nowhere."""


class VersionExistsError(RegistryError):
    """The version is registered already, with other content."""


class StalePromotionError(RegistryError):
    """The champion moved since the promotion was decided; nothing was changed."""


class ContractChangedError(RegistryError):
    """The version answers other requests than the model's contract; only a person may force it."""
