"""Versions, their aliases and the ledger: the mailbox through which the loop tells the service which version answers."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from training import moves
from training import registry_tables as tables
from training.clock import to_us
from training.database import Database, upsert
from training.documents import to_text
from training.errors import RegistryError, VersionExistsError
from training.moves import CHAMPION, MOVES, PREVIOUS, Cause, find_alias, known_model, known_version, point, write_line
from training.registry_tables import AliasRecord, Guard, LedgerEntry, ModelRecord, VersionRecord

if TYPE_CHECKING:
    from training.artifact import Artifact
    from training.spec import ModelSpec


class Registry:
    """Keep models, versions, aliases and the ledger in the database.

    Every move and its ledger line share one transaction. A `guard` is called first in that transaction and stops it by
    raising: that is how a watcher that lost its lease is kept from acting.

    Parameters
    ----------
    database : Database
        Its tables are made or migrated at the first use, so that a registry can be made while the database is gone.

    Notes
    -----
    All times are machine time; `now` defaults to the clock of the machine.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self) -> None:
        """Make or migrate the tables; every other method does it when needed."""
        self._database.prepare(tables.COMPONENT, tables.metadata, tables.VERSION)

    def put_model(self, spec: "ModelSpec", *, who: str = "person", now: datetime | None = None) -> ModelRecord:
        """Store a model file; a model that is there keeps its versions and its pause. A changed contract goes into the ledger."""
        contract, at_us = spec.schema.contract_hash, _us(now)
        values = {"spec_text": spec.text, "contract_hash": contract}
        with self._writing() as connection:
            before = connection.scalar(sa.select(tables.models.c.contract_hash).where(tables.models.c.model == spec.model))
            row = {"model": spec.model, "paused": False, "created_us": at_us, **values}
            upsert(connection, tables.models, row, ["model"], values)
            if before != contract:
                action, why = ("model", "first seen") if before is None else ("contract", "the model file changed the contract")
                write_line(connection, spec.model, action, None, None, Cause(who, why, at_us, {"contract": contract, "before": before}))
            return known_model(connection, spec.model)

    def get_model(self, name: str) -> ModelRecord:
        """Return one model; raises `UnknownModelError`."""
        with self._reading() as connection:
            return known_model(connection, name)

    def models(self) -> list[ModelRecord]:
        """Return all models by name."""
        with self._reading() as connection:
            return [ModelRecord.of(row) for row in connection.execute(sa.select(tables.models).order_by(tables.models.c.model))]

    def set_paused(self, name: str, paused: bool, who: str, why: str, *, now: datetime | None = None) -> None:
        """Pause or resume the loop of a model."""
        with self._writing() as connection:
            known_model(connection, name)
            connection.execute(tables.models.update().where(tables.models.c.model == name).values(paused=paused))
            write_line(connection, name, "pause" if paused else "resume", None, None, Cause(who, why, _us(now)))

    def register(
        self,
        artifact: "Artifact",
        *,
        who: str,
        why: str,
        run_id: str | None = None,
        now: datetime | None = None,
        guard: Guard | None = None,
    ) -> VersionRecord:
        """Make an artifact known; registering the same one again changes nothing.

        Raises
        ------
        UnknownModelError
            The model was never put.
        VersionExistsError
            The version is known with another digest.
        """
        manifest = artifact.manifest
        row = {
            "model": manifest.model,
            "version": artifact.version,
            "digest": artifact.digest,
            "path": str(Path(manifest.model) / artifact.version),
            "parent": manifest.parent,
            "contract_hash": manifest.contract_hash,
            "created_us": to_us(manifest.created),
            "run_id": run_id,
            "manifest": to_text(manifest.to_dict()),
        }
        with self._writing(guard) as connection:
            known_model(connection, manifest.model)
            is_new = upsert(connection, tables.versions, row, ["model", "version"], None) > 0
            known = known_version(connection, manifest.model, artifact.version)
            if known.digest != artifact.digest:
                raise VersionExistsError(f"version {known.version} of {known.model} is registered with digest {known.digest[:12]}…")
            if is_new:
                evidence = {"digest": artifact.digest, "parent": manifest.parent, "run": run_id}
                write_line(connection, manifest.model, "register", artifact.version, None, Cause(who, why, _us(now), evidence))
            return known

    def versions(self, model: str) -> list[VersionRecord]:
        """Return the versions of a model, the oldest first."""
        statement = sa.select(tables.versions).where(tables.versions.c.model == model).order_by(tables.versions.c.version)
        with self._reading() as connection:
            return [VersionRecord.of(row) for row in connection.execute(statement)]

    def version(self, model: str, version: str) -> VersionRecord:
        """Return one version; raises `UnknownVersionError`."""
        with self._reading() as connection:
            return known_version(connection, model, version)

    def alias(self, model: str, alias: str) -> AliasRecord | None:
        """Return where an alias points, or None."""
        with self._reading() as connection:
            return find_alias(connection, model, alias)

    def aliases(self) -> list[AliasRecord]:
        """Return all aliases of all models: one query, cheap enough to ask twice a second."""
        statement = (
            sa.select(tables.aliases).where(tables.aliases.c.version.is_not(None)).order_by(tables.aliases.c.model, tables.aliases.c.alias)
        )
        with self._reading() as connection:
            return [AliasRecord.of(row) for row in connection.execute(statement)]

    def promote(
        self,
        model: str,
        version: str,
        *,
        expected: str | None,
        who: str,
        why: str,
        evidence: Mapping[str, Any] | None = None,
        now: datetime | None = None,
        guard: Guard | None = None,
        force: bool = False,
    ) -> AliasRecord:
        """Make a version the champion, if the champion is still the one that was judged.

        `previous` becomes the old champion; a `challenger` alias on the version is cleared.

        Parameters
        ----------
        expected : str or None
            The champion the decision was made against; None when there was none.
        evidence : mapping, optional
            What the decision rests on; goes into the ledger.
        force : bool
            Promote in spite of a changed contract; the ledger says so.

        Raises
        ------
        StalePromotionError
            The champion is another one by now.
        ContractChangedError
            The version answers other requests than the champion or the model file says.
        UnknownVersionError
            The version is not registered.
        RegistryError
            The version is the champion already.
        """
        with self._writing(guard) as connection:
            return moves.promote(connection, model, version, expected, Cause(who, why, _us(now), evidence or {}), force=force)

    def roll_back(
        self,
        model: str,
        *,
        expected: str | None,
        who: str,
        why: str,
        evidence: Mapping[str, Any] | None = None,
        now: datetime | None = None,
        guard: Guard | None = None,
    ) -> AliasRecord:
        """Undo the last promotion: the version before it is the champion again.

        Promotions are a stack: after A, B, C were promoted, rolling back gives champion B with previous A, rolling back
        again gives champion A with no previous. The version rolled back from is never `previous`, so that a second roll
        back cannot bring it back.

        Raises
        ------
        StalePromotionError
            The champion is not `expected` any more.
        UnknownVersionError
            There is nothing to go back to.
        """
        with self._writing(guard) as connection:
            return moves.roll_back(connection, model, expected, Cause(who, why, _us(now), evidence or {}))

    def set_alias(
        self,
        model: str,
        alias: str,
        version: str | None,
        *,
        who: str,
        why: str,
        evidence: Mapping[str, Any] | None = None,
        now: datetime | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Point an alias such as `challenger` at a version, or at nothing.

        Raises
        ------
        RegistryError
            `champion` and `previous` move by `promote` and `roll_back` only.
        """
        if alias in (CHAMPION, PREVIOUS):
            raise RegistryError(f"the alias {alias} moves by promote and roll_back only")
        with self._writing(guard) as connection:
            known_model(connection, model)
            if version is not None:
                known_version(connection, model, version)
            before = find_alias(connection, model, alias)
            point(connection, model, alias, version, _us(now))
            cause = Cause(who, why, _us(now), evidence or {})
            write_line(connection, model, alias, version, before.version if before else None, cause)

    def record(
        self,
        model: str,
        action: str,
        *,
        version: str | None = None,
        previous: str | None = None,
        who: str,
        why: str,
        evidence: Mapping[str, Any] | None = None,
        now: datetime | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Write a ledger line that moves nothing, such as a refusal at the gate.

        Raises
        ------
        RegistryError
            The action is one that only a move may write.
        """
        if action in MOVES:
            raise RegistryError(f"a {action} is written by the move itself")
        with self._writing(guard) as connection:
            write_line(connection, model, action, version, previous, Cause(who, why, _us(now), evidence or {}))

    def ledger(self, model: str | None = None, limit: int | None = 100) -> list[LedgerEntry]:
        """Return the last lines of the ledger, the newest first; of one model or of all."""
        statement = sa.select(tables.ledger).order_by(tables.ledger.c.seq.desc()).limit(limit)
        if model is not None:
            statement = statement.where(tables.ledger.c.model == model)
        with self._reading() as connection:
            return [LedgerEntry.of(row) for row in connection.execute(statement)]

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        self.prepare()
        return self._database.read()

    @contextmanager
    def _writing(self, guard: Guard | None = None) -> Iterator[sa.Connection]:
        self.prepare()
        with self._database.write() as connection:
            if guard is not None:
                guard(connection)
            yield connection


def _us(now: datetime | None) -> int:
    return to_us(datetime.now(UTC) if now is None else now)
