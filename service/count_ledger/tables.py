"""The tables of the counts; part of the component `log`, which `service.prediction_log.tables` prepares."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
FORMER_COUNTS = "profile_counts"

bucket_counts = sa.Table(
    "bucket_counts",
    metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("bins_id", sa.String(64), primary_key=True),
    sa.Column("bucket_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("segment", sa.Text, primary_key=True),
    sa.Column("width_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("known_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Index("bucket_counts_by_known", "model", "bins_id", "known_us"),
)
"""The mergeable counts of some rows of one version in one bucket of model time.

`segment` is empty for all rows. `width_us` is the width of the bucket, 0 in what was counted before version 4, which did not note it.
`known_us` is the later of the bucket and the bucket of model time in which the rows came in: as of a slot, they are there when it is below.
"""

profile_bins = sa.Table(
    "profile_bins",
    metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("bins_id", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("width_us", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)
"""What the rows of a model are counted under: `active` measures, new ones that are `counting` beside them, and `retired` ones."""


def take_over_counts(connection: sa.Connection) -> None:
    """Move the counts of version 3, and leave a view where they were.

    A drain of an older process that goes on beside this one may not add counts without segment, width and moment. To write into a view
    is, in both databases, an error that it takes for a database out of reach: what it has stays in its spool, for a newer drain.
    """
    if not sa.inspect(connection).has_table(FORMER_COUNTS):
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {FORMER_COUNTS} IN ACCESS EXCLUSIVE MODE")  # what a drain is adding now comes along
    for table in (bucket_counts, profile_bins):
        table.create(connection, checkfirst=True)
    former = sa.table(FORMER_COUNTS, *(sa.column(name) for name in ("model", "bins_id", "bucket_us", "version", "rows", "profile")))
    f = former.c
    moved = sa.select(f.model, f.bins_id, f.bucket_us, sa.literal(""), sa.literal(0), f.bucket_us, f.version, f.rows, f.profile)
    connection.execute(bucket_counts.insert().from_select([column.name for column in bucket_counts.columns], moved))
    connection.exec_driver_sql(f"DROP TABLE {FORMER_COUNTS}")
    connection.exec_driver_sql(
        f"CREATE VIEW {FORMER_COUNTS} AS SELECT DISTINCT model, bins_id, bucket_us, version, rows, profile, width_us, known_us"
        f" FROM {bucket_counts.name} WHERE segment = ''"
    )
