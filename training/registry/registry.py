"""Versions, their aliases and the ledger: the mailbox through which the loop tells the service which version answers."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from training.clock import to_us
from training.errors import RegistryError
from training.registry import aliases, removal, tables
from training.registry.aliases import (
    CHAMPION,
    EXPIRE,
    MOVES,
    PREVIOUS,
    REMOVE,
    expired_versions,
    find_alias,
    known_model,
    known_version,
    point,
    present_version,
    put_version,
    removed_versions,
    write_line,
)
from training.registry.tables import AliasRecord, Cause, Guard, LedgerEntry, ModelRecord, VersionRecord
from training.registry.version_retention import Inventory
from training.storage.database import Database, upsert

if TYPE_CHECKING:
    from training.artifacts.artifact import Artifact
    from training.model_file.model_spec import ModelSpec


class Registry:
    """Keep models, versions, aliases and the ledger in the database.

    Every move and its ledger line share one transaction. A `guard` is called first in that transaction and stops it by
    raising: that is how a watcher that lost its lease is kept from acting.

    Parameters
    ----------
    database
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
            if spec.model in removal.removed_models(connection):
                before = None
            row = {"model": spec.model, "paused": False, "created_us": at_us, **values}
            upsert(connection, tables.models, row, ["model"], values)
            if before != contract:
                action, why = ("model", "first seen") if before is None else ("contract", "the model file changed the contract")
                cause = Cause(who, why, {"contract": contract, "before": before})
                write_line(connection, spec.model, action, None, None, cause, at_us)
            return known_model(connection, spec.model)

    def get_model(self, name: str) -> ModelRecord:
        """Return one model; raises `UnknownModelError`."""
        with self._reading() as connection:
            return known_model(connection, name)

    def models(self) -> list[ModelRecord]:
        """Return all models by name."""
        with self._reading() as connection:
            gone = removal.removed_models(connection)
            rows = connection.execute(sa.select(tables.models).order_by(tables.models.c.model))
            return [ModelRecord.of(row) for row in rows if row.model not in gone]

    def set_paused(self, name: str, paused: bool, cause: Cause, *, now: datetime | None = None) -> None:
        """Pause or resume the loop of a model."""
        with self._writing() as connection:
            known_model(connection, name)
            connection.execute(tables.models.update().where(tables.models.c.model == name).values(paused=paused))
            write_line(connection, name, "pause" if paused else "resume", None, None, cause, _us(now))

    def register(
        self,
        artifact: "Artifact",
        *,
        cause: Cause,
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
        with self._writing(guard) as connection:
            record, is_new = put_version(connection, artifact, run_id)
            if is_new:
                cause = cause.with_evidence(digest=record.digest, parent=record.parent, run=run_id)
                write_line(connection, record.model, "register", record.version, None, cause, _us(now))
            return record

    def check(self, guard: Guard) -> None:
        """Ask a guard whether its holder may still write, before anything is done that no transaction can undo."""
        with self._reading() as connection:
            guard(connection)

    def versions(self, model: str) -> list[VersionRecord]:
        """Return the versions of a model that were not removed, the oldest first."""
        statement = sa.select(tables.versions).where(tables.versions.c.model == model).order_by(tables.versions.c.version)
        with self._reading() as connection:
            gone = removed_versions(connection, model)
            return [VersionRecord.of(row) for row in connection.execute(statement) if row.version not in gone]

    def names(self, model: str) -> set[str]:
        """Return the names of all versions of a model that ever were registered, of those that are gone too."""
        with self._reading() as connection:
            return set(connection.scalars(sa.select(tables.versions.c.version).where(tables.versions.c.model == model)))

    def version(self, model: str, version: str, *, is_present: bool = False) -> VersionRecord:
        """Return one version, also one that was removed since: of that the manifest is left; raises `UnknownVersionError`.

        Parameters
        ----------
        is_present
            Refuse one that was removed, or went by retention.
        """
        with self._reading() as connection:
            return (present_version if is_present else known_version)(connection, model, version)

    def remove_version(self, model: str, version: str, *, cause: Cause, now: datetime | None = None) -> VersionRecord:
        """Remove a version; an alias that points at it is cleared. Files are the caller's to delete.

        Raises
        ------
        RegistryError
            It is the champion.
        UnknownVersionError
            It is not there, or was removed before.
        """
        with self._writing() as connection:
            return removal.remove_version(connection, model, version, cause, _us(now))

    def remove_model(self, model: str, *, cause: Cause, now: datetime | None = None) -> list[VersionRecord]:
        """Remove a model, its aliases and its versions, and return those; raises `UnknownModelError`."""
        with self._writing() as connection:
            known_model(connection, model)
            return removal.remove_model(connection, model, cause, _us(now))

    def inventory(self, model: str) -> Inventory:
        """Return what there is of a model, from which `needed` tells what may go."""
        with self._reading() as connection:
            return removal.inventory(connection, model)

    def expire(
        self, model: str, versions: Collection[str], *, cause: Cause, now: datetime | None = None, guard: Guard | None = None
    ) -> list[VersionRecord]:
        """Remove versions that nothing needs any more, by one line of the ledger, and return those that went.

        What an alias points at by now stays, and so do its members. Files are the caller's to delete.
        """
        with self._writing(guard) as connection:
            return removal.expire_versions(connection, model, versions, cause, _us(now))

    def expired(self, model: str) -> list[str]:
        """Return the versions of a model that went by retention, the first that went first."""
        with self._reading() as connection:
            return list(expired_versions(connection, model))

    def last_expired(self, model: str) -> list[VersionRecord]:
        """Return the versions that went by retention at its last time."""
        with self._reading() as connection:
            return removal.last_expired(connection, model)

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
        cause: Cause,
        now: datetime | None = None,
        guard: Guard | None = None,
        force: bool = False,
    ) -> AliasRecord:
        """Make a version the champion, if the champion is still the one that was judged.

        `previous` becomes the old champion; a `challenger` alias on the version is cleared.

        Parameters
        ----------
        expected
            The champion the decision was made against; None when there was none.
        cause
            Who promotes, why, and what the decision rests on; goes into the ledger.
        force
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
            return aliases.promote(connection, model, version, expected, cause, _us(now), force=force)

    def reweigh(
        self, artifact: "Artifact", *, expected: str, cause: Cause, now: datetime | None = None, guard: Guard | None = None
    ) -> AliasRecord:
        """Register a version with other weights or maps of the same members, and make it the champion, in place of the one weighed.

        `previous` stays, and so does what `roll_back` goes back to: the version before this generation.

        Parameters
        ----------
        expected
            The champion the weights were fitted against; of the same generation.

        Raises
        ------
        StalePromotionError
            The champion is another one by now.
        ContractChangedError
            The version answers other requests than the champion.
        UnknownVersionError
            The champion is not registered.
        VersionExistsError
            The version is known with another digest.
        RegistryError
            The version is of another generation, or the champion already.
        """
        with self._writing(guard) as connection:
            record, _ = put_version(connection, artifact, None)
            cause = cause.with_evidence(digest=record.digest)
            return aliases.reweigh(connection, record.model, record.version, expected, cause, _us(now))

    def roll_back(
        self,
        model: str,
        *,
        expected: str | None,
        cause: Cause,
        now: datetime | None = None,
        guard: Guard | None = None,
    ) -> AliasRecord:
        """Undo the last promotion: the version before it is the champion again, as it was weighed last.

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
            return aliases.roll_back(connection, model, expected, cause, _us(now))

    def set_alias(
        self,
        model: str,
        alias: str,
        version: str | None,
        *,
        cause: Cause,
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
                present_version(connection, model, version)
            before = find_alias(connection, model, alias)
            at_us = _us(now)
            point(connection, model, alias, version, at_us)
            write_line(connection, model, alias, version, before.version if before else None, cause, at_us)

    def record(
        self,
        model: str,
        action: str,
        *,
        version: str | None = None,
        previous: str | None = None,
        cause: Cause,
        now: datetime | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Write a ledger line that moves nothing, such as a refusal at the gate.

        Raises
        ------
        RegistryError
            The action is one that only a move may write.
        """
        if action in (*MOVES, REMOVE, EXPIRE):
            raise RegistryError(f"a {action} is written by the move itself")
        with self._writing(guard) as connection:
            write_line(connection, model, action, version, previous, cause, _us(now))

    def ledger(
        self, model: str | None = None, limit: int | None = 100, *, only: Sequence[str] = (), but: Sequence[str] = ()
    ) -> list[LedgerEntry]:
        """Return the last lines of the ledger, the newest first; of one model or of all.

        Parameters
        ----------
        only
            The actions that are asked for; all where none is named.
        but
            Actions that are passed over, such as those of which there is one a slot: they neither come nor count.
        """
        wanted = [] if model is None else [tables.ledger.c.model == model]
        wanted += [tables.ledger.c.action.in_(only)] if only else []
        wanted += [tables.ledger.c.action.not_in(but)] if but else []
        statement = sa.select(tables.ledger).where(*wanted).order_by(tables.ledger.c.seq.desc()).limit(limit)
        with self._reading() as connection:
            return [LedgerEntry.of(row) for row in connection.execute(statement)]

    def last_promotion(self, model: str, version: str) -> LedgerEntry | None:
        """Return the line of the last promotion of a version, or of one of its generation, with the evidence it stood on; None without."""
        with self._reading() as connection:
            row = aliases.last_promotion(connection, model, version)
        return None if row is None else LedgerEntry.of(row)

    def last_line(self, model: str, action: str, version: str | None = None) -> LedgerEntry | None:
        """Return the newest line of an action, also of one version only; None where there is none."""
        wanted = [tables.ledger.c.model == model, tables.ledger.c.action == action]
        wanted += [] if version is None else [tables.ledger.c.version == version]
        statement = sa.select(tables.ledger).where(*wanted).order_by(tables.ledger.c.seq.desc()).limit(1)
        with self._reading() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else LedgerEntry.of(row)

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
