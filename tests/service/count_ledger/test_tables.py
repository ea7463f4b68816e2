"""The counts of the version before are taken over, and nobody of another version writes into them."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from service.count_ledger.tables import FORMER_COUNTS, bucket_counts, metadata, profile_bins
from service.prediction_log.labels import LabelItem
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import Record
from service.prediction_log.tables import COMPONENT, SCHEMA_VERSION, label_arrivals, label_conflicts, predictions
from service.prediction_log.writing import DrainedBatch
from tests.databases import migrate_further
from tests.service.counting import counted_rows
from training.errors import DatabaseUnavailableError, SchemaVersionError
from training.profiles.bins import Bins, ColumnBins
from training.storage.database import Database, open_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BINS = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0, 10.0)),))
PROFILE = BINS.count({"x": np.array([1.0, 6.0])})


def tables_of_version_3() -> tuple[sa.MetaData, sa.Table]:
    """Return the tables as version 3 had them, and that of the counts."""
    former = sa.MetaData()
    for table in metadata.sorted_tables:
        if table not in (predictions, bucket_counts, profile_bins, label_arrivals, label_conflicts):
            table.to_metadata(former)
    columns = [
        sa.Column(column.name, column.type, primary_key=column.primary_key, nullable=column.nullable)
        for column in predictions.columns
        if column.name != "late_us"
    ]
    sa.Table("predictions", former, *columns)
    dated = [column.name for column in label_conflicts.columns if column.name != "known_us"]
    sa.Table("label_conflicts", former, *(sa.Column(name, label_conflicts.c[name].type, primary_key=name == "number") for name in dated))
    keys = {"model": sa.String(64), "bins_id": sa.String(64), "bucket_us": sa.BigInteger(), "version": sa.String(64)}
    counts = sa.Table(
        FORMER_COUNTS,
        former,
        *(sa.Column(name, kind, primary_key=True) for name, kind in keys.items()),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
    )
    return former, counts


def counted(version: str, bucket_us: int) -> dict[str, object]:
    key = {"model": "bikes", "bins_id": BINS.id, "bucket_us": bucket_us, "version": version}
    return key | {"rows": PROFILE.rows, "profile": PROFILE.to_json().decode()}


@pytest.fixture
def former(database: Database) -> sa.Table:
    """The counts of version 3: two buckets, one of them with rows of two versions."""
    tables, counts = tables_of_version_3()
    database.prepare(COMPONENT, tables, 3)
    with database.write() as connection:
        connection.execute(sa.insert(counts), [counted("v1", 0), counted("v2", 0), counted("v1", 100)])
    return counts


def test_counts_of_version_3_are_read_as_before_and_added_to(former: sa.Table, database: Database) -> None:
    log = PredictionLog(database)

    buckets = log.buckets("bikes", BINS.id, 0, 1000)

    assert [(at, profile.counts["x"].tolist()) for at, profile in buckets] == [(0, [2, 2, 0, 0, 0]), (100, [1, 1, 0, 0, 0])]
    assert [(row.bucket_us, row.profile.rows) for row in log.ledger("bikes", BINS.id, None, 101)] == [(0, 4), (100, 2)]
    assert [at for at, _ in log.buckets("bikes", BINS.id, 0, 1000, known_before_us=100)] == [0]


def test_what_becomes_of_labels_is_counted_from_the_version_on_that_counts_it(former: sa.Table, database: Database) -> None:
    log = PredictionLog(database)

    log.label("bikes", [LabelItem("yes")], NOW)

    assert [(one.result, one.labels) for one in log.arrivals("bikes", None, 1)] == [("unknown", 1)]
    assert log.conflicts("bikes", 0, 1) == {}


def test_who_goes_on_with_version_3_is_told_that_the_database_is_out_of_reach_and_changes_nothing(
    former: sa.Table, database: Database
) -> None:
    log = PredictionLog(database)
    log.prepare()

    for statement in (
        sa.insert(former).values(counted("v9", 0)),
        sa.update(former).where(former.c.bucket_us == 0).values(rows=1),
        sa.delete(former),
    ):
        with pytest.raises(DatabaseUnavailableError, match="view"), database.write() as connection:
            connection.execute(statement)

    with database.read() as connection:
        seen = connection.execute(sa.select(former.c.version, former.c.rows).where(former.c.bucket_us == 0)).all()
    assert sorted(seen) == [("v1", 2), ("v2", 2)]
    assert counted_rows(log, "bikes") == 6


def test_counts_that_are_being_added_when_the_tables_are_migrated_come_along(postgresql_url: str) -> None:
    tables, counts = tables_of_version_3()
    with closing(open_database(postgresql_url)) as older, closing(open_database(postgresql_url)) as newer:
        older.prepare(COMPONENT, tables, 3)
        waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")

        with older.write() as connection:
            connection.execute(sa.insert(counts), [counted("v1", 0)])
            migrating = threading.Thread(target=PredictionLog(newer).prepare)
            migrating.start()
            with older.read() as aside:
                while not aside.scalar(waiting):
                    assert migrating.is_alive()
        migrating.join()

        assert counted_rows(PredictionLog(newer), "bikes") == 2


def test_a_drain_that_prepared_before_a_newer_evergreen_migrated_writes_nothing(database_url: str) -> None:
    with closing(open_database(database_url)) as database:
        log = PredictionLog(database)
        log.prepare()
        migrate_further(database_url, COMPONENT)
        record = Record("p", "bikes", "v1", BINS.id, 1, [1], None, {"x": [1.0]}, [2.5], None, None)

        with pytest.raises(SchemaVersionError, match=f"version 99, this Evergreen knows them up to version {SCHEMA_VERSION}"):
            log.commit_drained(DrainedBatch("0000000000", 0, 10, 0, [record]), machine_now=NOW)

        with database.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(predictions)) == 0
