"""What is in a database of either kind, and the registry of one home on another database."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import sqlalchemy as sa

from training.registry import tables as registry_tables
from training.registry.registry import Registry
from training.storage.database import open_database


def dump(url: str) -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    with closing(open_database(url)) as database, database.read() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        return {table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in metadata.sorted_tables}


def copy_registry(source_url: str, target_url: str) -> None:
    """Bring models, versions, aliases and the ledger of one database to a fresh one."""
    with closing(open_database(source_url)) as source, closing(open_database(target_url)) as target:
        Registry(target).prepare()
        with source.read() as old, target.write() as new:
            for table in registry_tables.metadata.sorted_tables:
                rows = [dict(row._mapping) for row in old.execute(sa.select(table))]
                new.execute(table.insert(), rows)
        with target.write() as connection:
            if target.dialect == "postgresql":
                connection.exec_driver_sql(
                    "SELECT setval(pg_get_serial_sequence('registry_ledger', 'seq'), (SELECT max(seq) FROM registry_ledger))"
                )


def migrate_further(url: str, component: str, version: int = 99) -> None:
    """Note in a database that a newer Evergreen has migrated a component of it."""
    with closing(open_database(url)) as database, database.write() as connection:
        connection.execute(sa.text("DELETE FROM evergreen_schema WHERE component = :component"), {"component": component})
        insert = sa.text("INSERT INTO evergreen_schema (component, version) VALUES (:component, :version)")
        connection.execute(insert, {"component": component, "version": version})
