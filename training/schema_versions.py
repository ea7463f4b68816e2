"""Which version a component's tables have, and the way from there to the one this code knows."""

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from training.errors import SchemaVersionError

Migration = Callable[[sa.Connection], None]

_PREPARE_LOCK = 0x45564752  # any constant: the advisory lock under which PostgreSQL tables are made
_metadata = sa.MetaData()
_table = sa.Table(
    "evergreen_schema",
    _metadata,
    sa.Column("component", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


def version_of(connection: sa.Connection, component: str) -> int | None:
    """Return the version of a component's tables, or None when there are none."""
    if not sa.inspect(connection).has_table(_table.name):
        return None
    return connection.execute(_select(component)).scalar_one_or_none()


def bring_to(connection: sa.Connection, component: str, metadata: sa.MetaData, version: int, migrations: Mapping[int, Migration]) -> None:
    """Make a component's tables, or migrate them step by step, within a write transaction; see `Database.prepare`."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PREPARE_LOCK)))
    _metadata.create_all(connection)
    found = connection.execute(_select(component)).scalar_one_or_none()
    if found is None:
        metadata.create_all(connection)
        connection.execute(_table.insert().values(component=component, version=version))
        return
    _refuse_unknown(component, found, version, migrations)
    for step in range(found + 1, version + 1):
        migrations[step](connection)
    metadata.create_all(connection)
    connection.execute(_table.update().where(_table.c.component == component).values(version=version))


def _select(component: str) -> sa.Select[int]:
    return sa.select(_table.c.version).where(_table.c.component == component)


def _refuse_unknown(component: str, found: int, version: int, migrations: Mapping[int, Migration]) -> None:
    if found > version:
        raise SchemaVersionError(
            f"the {component} tables are at version {found}, this Evergreen knows them up to version {version}: "
            "upgrade Evergreen, or restore a backup made before the tables were migrated"
        )
    missing = [step for step in range(found + 1, version + 1) if step not in migrations]
    if missing:
        raise SchemaVersionError(
            f"the {component} tables are at version {found} and cannot be brought to version {version}: no step to {missing[0]}"
        )
