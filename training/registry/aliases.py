"""How aliases move and what the ledger says of it, within a transaction that somebody else opened."""

from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from training.clock import from_us, to_us
from training.errors import (
    ContractChangedError,
    RegistryError,
    StalePromotionError,
    UnknownModelError,
    UnknownVersionError,
    VersionExistsError,
)
from training.json_text import from_text, to_text
from training.registry import tables
from training.registry.tables import AliasRecord, Cause, ModelRecord, VersionRecord
from training.storage.database import upsert

if TYPE_CHECKING:
    from training.artifacts.artifact import Artifact

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
PROMOTE, ROLL_BACK, REWEIGH, REFUSE, REMOVE, EXPIRE = "promote", "rollback", "reweigh", "refuse", "remove", "expire"
CHANGES = (PROMOTE, ROLL_BACK)
"""The moves of the champion to other members, or to a version by hand."""
MOVES = (*CHANGES, REWEIGH)
ROUTINE = (REWEIGH, EXPIRE)
"""What comes as often as slots and hours do: whoever looks for something else among the newest lines passes it over."""


def promote(
    connection: sa.Connection, model: str, version: str, expected: str | None, cause: Cause, at_us: int, *, force: bool
) -> AliasRecord:
    """Move the champion from `expected` to `version` and write it into the ledger; see `Registry.promote`."""
    record = present_version(connection, model, version)
    if version == expected:
        raise RegistryError(f"{version} is the champion of {model} already")
    if not force:
        _refuse_other_contract(connection, record, expected)
    _swap(connection, model, version, expected, at_us)
    point(connection, model, PREVIOUS, expected, at_us)
    challenger = find_alias(connection, model, CHALLENGER)
    if challenger is not None and challenger.version == version:
        point(connection, model, CHALLENGER, None, at_us)
    write_line(connection, model, PROMOTE, version, expected, cause.with_evidence(forced=True) if force else cause, at_us)
    return _champion(connection, model)


def roll_back(connection: sa.Connection, model: str, expected: str | None, cause: Cause, at_us: int) -> AliasRecord:
    """Undo the last promotion and write it into the ledger; see `Registry.roll_back`."""
    stack = champions(connection.execute(select_moves(model).order_by(tables.ledger.c.seq)), removed_versions(connection, model))
    champion = stack[-1] if stack else None
    if champion != expected:
        raise StalePromotionError(_stale(model, expected, champion))
    if expected is None or len(stack) < 2 or find_alias(connection, model, PREVIOUS) is None:
        raise UnknownVersionError(f"{model} has no previous champion to roll back to")
    _swap(connection, model, stack[-2], expected, at_us)
    point(connection, model, PREVIOUS, stack[-3] if len(stack) > 2 else None, at_us)
    write_line(connection, model, ROLL_BACK, stack[-2], expected, cause, at_us)
    return _champion(connection, model)


def reweigh(connection: sa.Connection, model: str, version: str, expected: str, cause: Cause, at_us: int) -> AliasRecord:
    """Move the champion from `expected` to a version of its generation and write it into the ledger; see `Registry.reweigh`."""
    record = present_version(connection, model, version)
    if version == expected:
        raise RegistryError(f"{version} is the champion of {model} already")
    before = known_version(connection, model, expected)
    if record.generation != before.generation or record.member_digests != before.member_digests:
        raise RegistryError(
            f"{version} of {model} has other members than {expected}: its generation is {record.generation}, not {before.generation}; "
            "that is a promotion, and no reweigh"
        )
    if record.contract_hash != before.contract_hash:
        raise ContractChangedError(f"version {version} of {model} has another request contract than the champion {expected}")
    _swap(connection, model, version, expected, at_us)
    write_line(connection, model, REWEIGH, version, expected, cause, at_us)
    return _champion(connection, model)


def last_promotion(connection: sa.Connection, model: str, version: str) -> sa.Row[Any] | None:
    """Return the last ledger line that promoted a version of the same generation as a version; None where there is none."""
    generation = known_version(connection, model, version).generation
    line = tables.ledger.c
    lines = sa.select(tables.ledger).where(line.model == model, line.action == PROMOTE).order_by(line.seq.desc())
    for row in connection.execute(lines).all():
        if row.version == version or known_version(connection, model, row.version).generation == generation:
            return row
    return None


def champions(moves: Iterable[Any], removed: Container[str] = ()) -> list[str]:
    """Return the stack of champions after some moves, the present one last, without those that were removed since.

    A reweigh takes the place of the version it moves the champion from: what is below it is of the generation before.

    Parameters
    ----------
    moves
        Ledger lines with `action` and `version`, the oldest first.

    Examples
    --------
    >>> from types import SimpleNamespace as Line
    >>> champions([Line(action="promote", version="a"), Line(action="promote", version="b"), Line(action="rollback", version="a")])
    ['a']
    >>> champions([Line(action="promote", version=version) for version in "abc"], {"b"})
    ['a', 'c']
    >>> champions([Line(action=action, version=version) for action, version in [("promote", "a"), ("reweigh", "b"), ("promote", "c")]])
    ['b', 'c']
    """
    stack: list[str] = []
    for move in moves:
        if move.action != PROMOTE:
            stack.pop()
        if move.action != ROLL_BACK:
            stack.append(move.version)
    left = [version for version in stack if version not in removed]
    return [version for place, version in enumerate(left) if place == 0 or version != left[place - 1]]


def select_moves(model: str) -> sa.Select[Any]:
    """Select the ledger lines that moved the champion of a model."""
    return sa.select(tables.ledger).where(tables.ledger.c.model == model, tables.ledger.c.action.in_(MOVES))


def write_line(
    connection: sa.Connection, model: str, action: str, version: str | None, previous: str | None, cause: Cause, at_us: int
) -> None:
    """Append a line to the ledger."""
    line = {"at_us": at_us, "model": model, "action": action, "version": version, "previous": previous}
    connection.execute(tables.ledger.insert().values(**line, who=cause.who, why=cause.why, evidence=to_text(cause.evidence)))


def find_alias(connection: sa.Connection, model: str, alias: str) -> AliasRecord | None:
    """Return where an alias points, or None."""
    row = connection.execute(sa.select(tables.aliases).where(*_is(model, alias))).one_or_none()
    return None if row is None or row.version is None else AliasRecord.of(row)


def point(connection: sa.Connection, model: str, alias: str, version: str | None, at_us: int) -> None:
    """Point an alias somewhere else, or nowhere, without comparing."""
    row = {"model": model, "alias": alias, "version": version, "changed_us": at_us, "move": 1}
    change = {"version": version, "changed_us": at_us, "move": tables.aliases.c.move + 1}
    upsert(connection, tables.aliases, row, ["model", "alias"], change)


def known_model(connection: sa.Connection, name: str) -> ModelRecord:
    """Return a model or raise `UnknownModelError`."""
    row = connection.execute(sa.select(tables.models).where(tables.models.c.model == name)).one_or_none()
    if row is None:
        raise UnknownModelError(f"there is no model {name!r}")
    return ModelRecord.of(row)


def known_version(connection: sa.Connection, model: str, version: str) -> VersionRecord:
    """Return a version or raise `UnknownVersionError`."""
    statement = sa.select(tables.versions).where(tables.versions.c.model == model, tables.versions.c.version == version)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise UnknownVersionError(f"{model} has no version {version!r}")
    return VersionRecord.of(row)


def removed_versions(connection: sa.Connection, model: str) -> set[str]:
    """Return the versions of a model that were removed, or went by retention: their names are never used again."""
    line = tables.ledger.c
    by_hand = connection.scalars(sa.select(line.version).where(line.model == model, line.action == REMOVE, line.version.is_not(None)))
    return {*by_hand, *expired_versions(connection, model)}


def expired_versions(connection: sa.Connection, model: str, only: str | None = None) -> dict[str, int]:
    """Return the versions of a model that went by retention, the first that went first, and when (machine time, microseconds).

    Parameters
    ----------
    only
        Read no lines but those that name this version.
    """
    line = tables.ledger.c
    wanted = [line.model == model, line.action == EXPIRE, *([] if only is None else [line.evidence.contains(only, autoescape=True)])]
    lines = connection.execute(sa.select(line.at_us, line.evidence).where(*wanted).order_by(line.seq))
    return {version: row.at_us for row in lines for version in from_text(row.evidence)["versions"]}


def put_version(connection: sa.Connection, artifact: "Artifact", run_id: str | None) -> tuple[VersionRecord, bool]:
    """Make an artifact known; return it, and whether it was not; see `Registry.register`."""
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
    known_model(connection, manifest.model)
    is_new = upsert(connection, tables.versions, row, ["model", "version"], None) > 0
    known = known_version(connection, manifest.model, artifact.version)
    if known.digest != artifact.digest:
        raise VersionExistsError(f"version {known.version} of {known.model} is registered with digest {known.digest[:12]}…")
    return known, is_new


def present_version(connection: sa.Connection, model: str, version: str) -> VersionRecord:
    """Return a version that is there, not removed and not gone by retention, or raise `UnknownVersionError`."""
    record = known_version(connection, model, version)
    expired_us = expired_versions(connection, model, version).get(version)
    if expired_us is not None:
        raise UnknownVersionError(
            f"the files of the version {version} of {model} went by retention on {from_us(expired_us):%Y-%m-%d} "
            f"(`retention.versions` of its model file says what stays): its manifest is left, it cannot answer any more"
        )
    if version in removed_versions(connection, model):
        raise UnknownVersionError(f"the version {version} of {model} was removed")
    return record


def _champion(connection: sa.Connection, model: str) -> AliasRecord:
    return AliasRecord.of(connection.execute(sa.select(tables.aliases).where(*_is(model, CHAMPION))).one())


def _is(model: str, alias: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return tables.aliases.c.model == model, tables.aliases.c.alias == alias


def _swap(connection: sa.Connection, model: str, version: str, expected: str | None, at_us: int) -> None:
    """Move the champion from `expected` to `version` in one statement, or not at all."""
    if expected is None:
        row = {"model": model, "alias": CHAMPION, "version": version, "changed_us": at_us, "move": 1}
        moved = upsert(connection, tables.aliases, row, ["model", "alias"], None)
    else:
        change = {"version": version, "changed_us": at_us, "move": tables.aliases.c.move + 1}
        statement = tables.aliases.update().where(*_is(model, CHAMPION), tables.aliases.c.version == expected).values(change)
        moved = connection.execute(statement).rowcount
    if moved != 1:
        champion = find_alias(connection, model, CHAMPION)
        raise StalePromotionError(_stale(model, expected, champion.version if champion else None))


def _stale(model: str, expected: str | None, champion: str | None) -> str:
    return f"the champion of {model} is {champion or 'nobody'}, the decision was made against {expected or 'nobody'}: nothing was moved"


def _refuse_other_contract(connection: sa.Connection, record: VersionRecord, expected: str | None) -> None:
    wanted = {"the model file": known_model(connection, record.model).contract_hash}
    if expected is not None:
        wanted["the champion"] = known_version(connection, record.model, expected).contract_hash
    other = [name for name, contract in wanted.items() if contract != record.contract_hash]
    if other:
        raise ContractChangedError(
            f"version {record.version} of {record.model} has another request contract than {' and '.join(other)}: "
            "requests that work today could break; promote it by hand with --force if that is meant"
        )
