"""Which version a component's tables have, and the way from there to the one this code knows."""

from collections.abc import Callable, Mapping
from typing import Any

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


def versions_in(connection: sa.Connection) -> dict[str, int]:
    """Return the versions of all components that have tables."""
    if not sa.inspect(connection).has_table(_table.name):
        return {}
    rows = connection.execute(sa.select(_table.c.component, _table.c.version).order_by(_table.c.component))
    return {row.component: row.version for row in rows}


def refuse_newer(present: Mapping[str, int], known: Mapping[str, int]) -> None:
    """Refuse tables that a newer Evergreen made; raises SchemaVersionError."""
    for component, version in known.items():
        if present.get(component, 0) > version:
            raise SchemaVersionError(
                f"the {component} tables are at version {present[component]}, this Evergreen knows them up to version {version}: "
                "upgrade Evergreen, or restore a backup made before the tables were migrated"
            )


def hold_version(connection: sa.Connection, component: str, version: int) -> None:
    """Keep a component's tables at their version until a write transaction ends; raises SchemaVersionError where that is a newer one."""
    present = connection.execute(_select(component).with_for_update(read=True)).scalar_one_or_none()
    refuse_newer({component: present or 0}, {component: version})


def bring_to(connection: sa.Connection, component: str, metadata: sa.MetaData, version: int, migrations: Mapping[int, Migration]) -> None:
    """Make a component's tables, or migrate them step by step, within a write transaction; see `Database.prepare`."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PREPARE_LOCK)))
    _metadata.create_all(connection)
    present = connection.execute(_select(component).with_for_update()).scalar_one_or_none()
    if present is None:
        metadata.create_all(connection)
        connection.execute(_table.insert().values(component=component, version=version))
        return
    _refuse_unknown(component, present, version, migrations)
    for step in range(present + 1, version + 1):
        migrations[step](connection)
    metadata.create_all(connection)
    connection.execute(_table.update().where(_table.c.component == component).values(version=version))


def add_columns(connection: sa.Connection, *columns: sa.Column[Any]) -> None:
    """Add columns that a migration brings to their tables, where they are not there yet."""
    for column in columns:
        present = {each["name"] for each in sa.inspect(connection).get_columns(column.table.name)}
        if column.name not in present:
            kind = column.type.compile(dialect=connection.dialect)
            connection.execute(sa.text(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}"))


def _select(component: str) -> sa.Select[int]:
    return sa.select(_table.c.version).where(_table.c.component == component)


def _refuse_unknown(component: str, present: int, version: int, migrations: Mapping[int, Migration]) -> None:
    refuse_newer({component: present}, {component: version})
    missing = [step for step in range(present + 1, version + 1) if step not in migrations]
    if missing:
        raise SchemaVersionError(
            f"the {component} tables are at version {present} and cannot be brought to version {version}: no step to {missing[0]}"
        )
