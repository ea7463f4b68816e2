"""The tables of the prediction log, their version, and the rows in them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from service.count_ledger.tables import metadata, take_over_counts
from training.storage.database import Database, upsert
from training.storage.migrations import add_columns, hold_version

COMPONENT = "log"
SCHEMA_VERSION = 7
REQUEST_ID_LETTERS, TRACE_ID_LETTERS, KEY_LETTERS = 64, 32, 64

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("id_prefix", sa.String(64), primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("bins_id", sa.String(64), nullable=False),
    sa.Column("layout", sa.String(16), nullable=False),
    sa.Column("arrived_us", sa.BigInteger, nullable=False),
    sa.Column("event_us", sa.BigInteger, nullable=False),
    sa.Column("own_id", sa.Text),
    sa.Column("features", sa.Text, nullable=False),
    sa.Column("label", sa.Text),
    sa.Column("value", sa.Double),
    sa.Column("probabilities", sa.Text),
    sa.Column("label_true", sa.Text),
    sa.Column("labelled_us", sa.BigInteger),
    sa.Column("label_received_us", sa.BigInteger),
    sa.Column("request_id", sa.String(REQUEST_ID_LETTERS)),
    sa.Column("trace_id", sa.String(TRACE_ID_LETTERS)),
    sa.Column("key_name", sa.String(KEY_LETTERS)),
    sa.Column("late_us", sa.BigInteger),
    sa.Index("predictions_by_event", "model", "event_us"),
    sa.Index("predictions_by_own_id", "model", "own_id"),
    sa.Index("predictions_by_label", "model", "labelled_us"),
)
"""One row a predicted row. `features` and `probabilities` are JSON arrays in the order of their `layout`.

Request and trace id came with version 2, the name of the key with version 3: rows drained before, or from spool files written before,
have none. `late_us` is the model time at which a row came in that was late for its bucket; null in the others, and in rows drained before
version 4. All rows of a model with the same `own_id` that have a key have the same one.
"""

layouts = sa.Table(
    "layouts",
    metadata,
    sa.Column("layout", sa.String(16), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)
"""What the arrays of `predictions` mean: ``{"names": [...], "classes": [...] | null}``."""

label_conflicts = sa.Table(
    "label_conflicts",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id_prefix", sa.String(64), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("received_us", sa.BigInteger, nullable=False),
    sa.Column("known_us", sa.BigInteger),
    sa.Index("label_conflicts_by_row", "id_prefix", "row"),
)
"""Labels of rows that have another; `received_us` is the machine's time, `known_us` model time, null in those from before version 7."""

label_requests = sa.Table(
    "label_requests",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("k", sa.Integer, nullable=False),
    sa.Column("sent_from_us", sa.BigInteger),
    sa.Column("sent_to_us", sa.BigInteger),
    sa.Column("start_us", sa.BigInteger, nullable=False),
    sa.Column("end_us", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("eligible", sa.BigInteger, nullable=False),
    sa.Column("drawn", sa.Integer, nullable=False),
    sa.Column("drawn_us", sa.BigInteger, nullable=False),
    sa.Column("received_us", sa.BigInteger, nullable=False),
    sa.Index("label_requests_by_key", "model", "key", unique=True),
)
"""One draw each: what was asked (`k`, and the window as it was sent) and what came of it. `rows` were in the window [start_us, end_us) when
it was drawn, `eligible` of them had no label and were not drawn before, `drawn` of these were drawn, each with the same probability.
`drawn_us` is model time, `received_us` the machine's.
"""

label_request_rows = sa.Table(
    "label_request_rows",
    metadata,
    sa.Column("id_prefix", sa.String(64), primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("request", sa.Integer, nullable=False),
    sa.Index("label_request_rows_by_request", "request"),
)
"""The predictions that were drawn, each once; `request` is the number of the draw; since version 6."""

spool_offsets = sa.Table(
    "spool_offsets",
    metadata,
    sa.Column("spool", sa.String(32), primary_key=True),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Column("updated_us", sa.BigInteger, nullable=False),
)
"""How far each spool file is committed; `closed` when it will never grow again and all of it is here."""

clocks = sa.Table(
    "clocks",
    metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("watermark_us", sa.BigInteger),
    sa.Column("ahead_rows", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
)
"""Model time, and the row that writers of one model lock; `rows` counts what is in `predictions`."""

rejects = sa.Table(
    "rejects",
    metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("bucket_us", sa.BigInteger, primary_key=True),
    sa.Column("field", sa.String(128), primary_key=True),
    sa.Column("code", sa.String(64), primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
)

label_arrivals = sa.Table(
    "label_arrivals",
    metadata,
    sa.Column("model", sa.String(64), primary_key=True),
    sa.Column("bucket_us", sa.BigInteger, primary_key=True),
    sa.Column("result", sa.String(16), primary_key=True),
    sa.Column("age", sa.Integer, primary_key=True),
    sa.Column("labels", sa.BigInteger, nullable=False),
)
"""How many labels came, by bucket of the model time at which they did and by what became of them; since version 5.

`age` says how old the rows of those too late were, in the bins of `service.prediction_log.labels.age_bin`; 0 of all others. Those that
are pending are sent again, and counted then.
"""


_LOCKED = (
    sa.select(clocks.c.watermark_us, clocks.c.ahead_rows, clocks.c.rows).where(clocks.c.model == sa.bindparam("of_model")).with_for_update()
)


class Clock(NamedTuple):
    """Model time of one model, rows that were too far ahead of it, and rows in the log."""

    watermark_us: int | None
    ahead_rows: int
    rows: int


def prepare(database: Database) -> None:
    """Make or migrate the tables; cheap when done before."""
    database.prepare(COMPONENT, metadata, SCHEMA_VERSION, _STEPS)


def hold_tables(connection: sa.Connection) -> None:
    """Keep others from migrating the tables until the transaction ends; raises SchemaVersionError where a newer Evergreen has.

    What prepared the tables long ago would otherwise go on writing into others than it knows.
    """
    hold_version(connection, COMPONENT, SCHEMA_VERSION)


def _add_request_and_trace(connection: sa.Connection) -> None:
    """Go from version 1 to 2 while others read and write: columns that may be null are added without touching a row."""
    add_columns(connection, predictions.c.request_id, predictions.c.trace_id)


def _add_key_name(connection: sa.Connection) -> None:
    add_columns(connection, predictions.c.key_name)


def _count_by_known(connection: sa.Connection) -> None:
    add_columns(connection, predictions.c.late_us)
    take_over_counts(connection)


def _count_labels(connection: sa.Connection) -> None:
    """Go from version 4 to 5: what became of labels before nobody knows."""
    label_arrivals.create(connection, checkfirst=True)


def _add_label_requests(connection: sa.Connection) -> None:
    """Go from version 5 to 6: two tables more, which are made where they are missing."""


def _date_conflicts(connection: sa.Connection) -> None:
    add_columns(connection, label_conflicts.c.known_us)


_STEPS = {
    2: _add_request_and_trace,
    3: _add_key_name,
    4: _count_by_known,
    5: _count_labels,
    6: _add_label_requests,
    7: _date_conflicts,
}


def lock_clock(connection: sa.Connection, model: str) -> Clock:
    """Take the writers' lock of one model and return its clock."""
    row = connection.execute(_LOCKED, {"of_model": model}).one_or_none()
    if row is None:
        upsert(connection, clocks, {"model": model, "watermark_us": None, "ahead_rows": 0, "rows": 0}, ["model"], None)
        row = connection.execute(_LOCKED, {"of_model": model}).one()
    return Clock(*row)


@lru_cache(maxsize=256)
def layout_content(names: tuple[str, ...], classes: tuple[str, ...] | None) -> tuple[str, str]:
    """Name a layout by its content.

    Examples
    --------
    >>> layout_content(("x",), None)[1]
    '{"names":["x"],"classes":null}'
    """
    content = orjson.dumps({"names": list(names), "classes": None if classes is None else list(classes)})
    return hashlib.sha256(content).hexdigest()[:16], content.decode()
