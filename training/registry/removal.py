"""Versions and models leave the registry, within a transaction that somebody else opened: the ledger says so, manifests stay."""

from collections.abc import Collection

import sqlalchemy as sa

from training.errors import RegistryError
from training.json_text import from_text
from training.registry import tables
from training.registry.aliases import (
    CHAMPION,
    EXPIRE,
    REFUSE,
    REMOVE,
    find_alias,
    known_version,
    point,
    present_version,
    removed_versions,
    select_moves,
    write_line,
)
from training.registry.tables import Cause, VersionRecord
from training.registry.version_retention import Inventory


def remove_version(connection: sa.Connection, model: str, version: str, cause: Cause, at_us: int) -> VersionRecord:
    """Remove a version that is not the champion and no member of another; other aliases that point at it point nowhere afterwards."""
    record = present_version(connection, model, version)
    champion = find_alias(connection, model, CHAMPION)
    if champion is not None and champion.version == version:
        raise RegistryError(f"{version} is the champion of {model}: promote another version first, or remove the model")
    of = [other.version for other in _present(connection, model) if record.digest in {member.digest for member in other.members}]
    if of:
        more = f" and {len(of) - 1} more" if len(of) > 1 else ""
        raise RegistryError(f"{version} is a member of {of[-1]}{more} of {model}: remove what it answers in first")
    pointing = sa.select(tables.aliases.c.alias).where(tables.aliases.c.model == model, tables.aliases.c.version == version)
    cleared = sorted(connection.scalars(pointing))
    for alias in cleared:
        point(connection, model, alias, None, at_us)
    write_line(connection, model, REMOVE, version, None, cause.with_evidence(aliases_cleared=cleared), at_us)
    return record


def remove_model(connection: sa.Connection, model: str, cause: Cause, at_us: int) -> list[VersionRecord]:
    """Remove a model with all its versions and aliases; the same name may be used again, as if for the first time."""
    left = _present(connection, model)
    for record in left:
        write_line(connection, model, REMOVE, record.version, None, cause, at_us)
    connection.execute(sa.delete(tables.aliases).where(tables.aliases.c.model == model))
    write_line(connection, model, REMOVE, None, None, cause.with_evidence(versions=[record.version for record in left]), at_us)
    return left


def inventory(connection: sa.Connection, model: str) -> Inventory:
    """Return what there is of a model, for retention."""
    line = tables.ledger.c
    moves = connection.execute(select_moves(model).with_only_columns(line.action, line.version).order_by(line.seq)).all()
    refusals = sa.select(line.version).where(line.model == model, line.action == REFUSE).order_by(line.seq.desc()).limit(1)
    return Inventory(_present(connection, model), moves, _aliased(connection, model), connection.scalar(refusals))


def expire_versions(connection: sa.Connection, model: str, versions: Collection[str], cause: Cause, at_us: int) -> list[VersionRecord]:
    """Remove versions that nothing needs any more, by one line for all; return those that went.

    What an alias points at by now stays, and so does a member of what stays.
    """
    present = _present(connection, model)
    going = set(versions) - _aliased(connection, model)
    members = {member.digest for record in present if record.version not in going for member in record.members}
    gone = [record for record in present if record.version in going and record.digest not in members]
    if gone:
        write_line(connection, model, EXPIRE, None, None, cause.with_evidence(versions=[record.version for record in gone]), at_us)
    return gone


def last_expired(connection: sa.Connection, model: str) -> list[VersionRecord]:
    """Return the versions that went last by retention: whoever wrote that may not have come to delete their files."""
    line = tables.ledger.c
    statement = sa.select(line.evidence).where(line.model == model, line.action == EXPIRE).order_by(line.seq.desc()).limit(1)
    evidence = connection.scalar(statement)
    return [] if evidence is None else [known_version(connection, model, version) for version in from_text(evidence)["versions"]]


def _aliased(connection: sa.Connection, model: str) -> set[str]:
    alias = tables.aliases.c
    return set(connection.scalars(sa.select(alias.version).where(alias.model == model, alias.version.is_not(None))))


def _present(connection: sa.Connection, model: str) -> list[VersionRecord]:
    """Return the versions of a model that were not removed, the oldest first."""
    gone = removed_versions(connection, model)
    rows = connection.execute(sa.select(tables.versions).where(tables.versions.c.model == model).order_by(tables.versions.c.version))
    return [record for record in map(VersionRecord.of, rows) if record.version not in gone]


def removed_models(connection: sa.Connection) -> set[str]:
    """Return the models that were removed and not put again since."""
    line = tables.ledger.c
    lines = sa.or_(line.action == "model", sa.and_(line.action == REMOVE, line.version.is_(None)))
    last = {row.model: row.action for row in connection.execute(sa.select(line.model, line.action).where(lines).order_by(line.seq))}
    return {model for model, action in last.items() if action == REMOVE}
