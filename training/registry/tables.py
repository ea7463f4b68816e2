"""The registry's tables, and the records that are read from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from training.artifacts.manifest import generation_of
from training.artifacts.members import Member
from training.clock import from_us
from training.json_text import from_text

COMPONENT = "registry"
VERSION = 1
Guard = Callable[[sa.Connection], None]


def _nobody(step: str) -> None:
    """Take no notice of a step."""


metadata = sa.MetaData()
_name = sa.String(64)
_version_name = sa.String(64)
_sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")

models = sa.Table(
    "registry_models",
    metadata,
    sa.Column("model", _name, primary_key=True),
    sa.Column("spec_text", sa.Text, nullable=False),
    sa.Column("contract_hash", sa.String(64), nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)
versions = sa.Table(
    "registry_versions",
    metadata,
    sa.Column("model", _name, sa.ForeignKey("registry_models.model"), primary_key=True),
    sa.Column("version", _version_name, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("parent", _version_name),
    sa.Column("contract_hash", sa.String(64), nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(128)),
    sa.Column("manifest", sa.Text, nullable=False),
)
aliases = sa.Table(
    "registry_aliases",
    metadata,
    sa.Column("model", _name, sa.ForeignKey("registry_models.model"), primary_key=True),
    sa.Column("alias", sa.String(32), primary_key=True),
    sa.Column("version", _version_name),
    sa.Column("changed_us", sa.BigInteger, nullable=False),
    sa.Column("move", sa.BigInteger, nullable=False),
)
ledger = sa.Table(
    "registry_ledger",
    metadata,
    sa.Column("seq", _sequence, primary_key=True, autoincrement=True),
    sa.Column("at_us", sa.BigInteger, nullable=False),
    sa.Column("model", _name, nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("version", _version_name),
    sa.Column("previous", _version_name),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Index("registry_ledger_by_model", "model", "seq"),
    sqlite_autoincrement=True,
)

_REFUSAL = "the ledger is append-only"
_APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER registry_ledger_no_{verb.lower()} BEFORE {verb} ON registry_ledger BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        for verb in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION registry_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$",
        "CREATE TRIGGER registry_ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON registry_ledger "
        "FOR EACH STATEMENT EXECUTE FUNCTION registry_ledger_refuse()",
    ),
}
for _dialect, _statements in _APPEND_ONLY.items():
    for _statement in _statements:
        sa.event.listen(ledger, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One model: its file as the user wrote it, the contract its requests follow, whether its loop is paused."""

    name: str
    spec_text: str
    contract_hash: str
    paused: bool
    created: datetime

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `registry_models`."""
        return cls(row.model, row.spec_text, row.contract_hash, bool(row.paused), from_us(row.created_us))


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One registered version.

    Attributes
    ----------
    path
        Where the artifact lies, relative to the home's `artifacts` folder: a home can be moved and restored elsewhere.
    created
        When it was trained (machine time).
    manifest
        The whole manifest as plain JSON values.
    """

    model: str
    version: str
    digest: str
    path: Path
    parent: str | None
    contract_hash: str
    created: datetime
    run_id: str | None
    manifest: Mapping[str, Any]

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `registry_versions`."""
        document = from_text(row.manifest)
        created = from_us(row.created_us)
        return cls(row.model, row.version, row.digest, Path(row.path), row.parent, row.contract_hash, created, row.run_id, document)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The hold-out metrics of the manifest, name to {value, low, high, n}."""
        metrics: Mapping[str, Any] = self.manifest.get("metrics", {})
        return metrics

    @property
    def members(self) -> tuple[Member, ...]:
        """Which artifacts answer in this version; none where it has a fitted model of its own."""
        return tuple(map(Member.from_dict, self.manifest.get("members") or ()))

    @property
    def member_digests(self) -> frozenset[str]:
        """The digests of what answers: of its members, or its own."""
        return frozenset(member["digest"] for member in self.manifest.get("members") or ()) or frozenset({self.digest})

    @property
    def generation(self) -> str:
        """The first version with the same members; a reweigh makes another version of the same generation."""
        return generation_of(self.version)


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """Where an alias points; `move` counts its moves, so that coming back to a version is a change too."""

    model: str
    alias: str
    version: str
    changed_at: datetime
    move: int

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `registry_aliases`."""
        return cls(row.model, row.alias, row.version, from_us(row.changed_us), int(row.move))


@dataclass(frozen=True, slots=True)
class Cause:
    """Who acts, why, and on which evidence: what the ledger keeps of every move."""

    who: str
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def with_evidence(self, **more: Any) -> Self:
        """Return the same cause with more evidence."""
        return replace(self, evidence={**self.evidence, **more})


@dataclass(frozen=True, slots=True)
class Right:
    """By which right a run of the loop writes what it made.

    Attributes
    ----------
    guard
        Called first in each transaction; it raises once the run may not write any more.
    fencing
        What makes this one attempt at the run known in the ledger.
    reached
        Told of each step by its name.
    """

    run_id: str
    guard: Guard
    fencing: Mapping[str, int]
    reached: Callable[[str], None] = _nobody


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the ledger: who did what to which version, when, why, on which evidence."""

    seq: int
    at: datetime
    model: str
    action: str
    version: str | None
    previous: str | None
    who: str
    why: str
    evidence: Mapping[str, Any]

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `registry_ledger`."""
        evidence = from_text(row.evidence)
        return cls(int(row.seq), from_us(row.at_us), row.model, row.action, row.version, row.previous, row.who, row.why, evidence)
