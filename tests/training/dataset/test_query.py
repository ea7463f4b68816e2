"""Rows that a database answers a query with, from SQLite and PostgreSQL as from a file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from tests.ports import free_port
from training.dataset import query as queries
from training.dataset.dataset import read_table
from training.errors import DataError
from training.model_file.model_spec import load_spec
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.sources import Query
from training.schema.time_column import TimeColumn

SCHEMA = Schema(
    (
        Feature("x", "numeric", nullable=True),
        Feature("n", "integer"),
        Feature("ok", "boolean"),
        Feature("c", "categorical", nullable=True),
        Feature("big", "categorical"),
    ),
    "y",
    "binary",
    time=TimeColumn("at"),
)
ASKED = "SELECT at, x, n, ok, c, big, y FROM rides WHERE c IS NULL OR c LIKE '%' OR c = ':name' ORDER BY at"


@pytest.fixture
def filled(database_url: str) -> str:
    """The address of a database with a table of three rides, once of each kind."""
    address = sa.make_url(database_url)
    driver = "postgresql+psycopg" if address.get_backend_name() == "postgresql" else "sqlite"
    if driver == "sqlite":
        Path(str(address.database)).parent.mkdir()
    engine = sa.create_engine(address.set(drivername=driver))
    rides = sa.Table(
        "rides",
        sa.MetaData(),
        sa.Column("at", sa.DateTime),
        sa.Column("x", sa.Numeric(12, 2, asdecimal=driver != "sqlite")),
        sa.Column("n", sa.Integer),
        sa.Column("ok", sa.Boolean),
        sa.Column("c", sa.String),
        sa.Column("big", sa.BigInteger),
        sa.Column("y", sa.String),
    )
    names = ("at", "x", "n", "ok", "c", "big", "y")
    values = [
        (datetime(2026, 1, 1), 1.5, 1, True, "é", 2**53 + 1, "no"),  # noqa: DTZ001 - as most databases have times
        (datetime(2026, 1, 2), None, 2, False, None, 2, "yes"),  # noqa: DTZ001
        (datetime(2026, 1, 3), 12345.25, 3, True, "b", 3, "no"),  # noqa: DTZ001
    ]
    with engine.begin() as connection:
        rides.create(connection)
        connection.execute(rides.insert(), [dict(zip(names, row, strict=True)) for row in values])
    engine.dispose()
    return database_url


@pytest.mark.parametrize("part_rows", [1, 2, 10_000])
def test_the_answer_is_read_as_the_file_would_be(filled: str, part_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PART_ROWS", part_rows)

    rows = read_table(Query(ASKED, filled), SCHEMA)

    np.testing.assert_array_equal(rows.columns["x"], [1.5, np.nan, 12345.25])
    assert rows.columns["n"].tolist() == [1, 2, 3]
    assert rows.columns["ok"].tolist() == [1, 0, 1]
    assert rows.columns["c"].tolist() == ["é", None, "b"]
    assert rows.columns["big"].tolist() == ["9007199254740993", "2", "3"]
    assert rows.labels.tolist() == ["no", "yes", "no"]
    assert rows.time_us.tolist() == [1_767_225_600_000_000 + day * 86_400_000_000 for day in range(3)]


def test_a_value_that_does_not_fit_is_named_by_row(filled: str) -> None:
    with pytest.raises(DataError, match=r"row 2, column 'n': got 'odd', wanted a whole number"):
        read_table(Query(ASKED.replace(" n,", " CASE WHEN n = 3 THEN 'odd' ELSE '1' END AS n,"), filled), SCHEMA)


@pytest.mark.parametrize(
    ("sql", "cause"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELEC", "syntax error"),
        ("SELECT n, n FROM rides", "two columns of that name"),
        ("DELETE FROM rides", "cannot be read"),
    ],
)
def test_what_a_database_refuses_is_its_sentence_and_nothing_is_changed(filled: str, sql: str, cause: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(Query(sql, filled), SCHEMA)

    assert cause in str(caught.value)
    assert len(read_table(Query(ASKED, filled), SCHEMA)) == 3


def test_no_rows_are_a_table_without_rows(filled: str) -> None:
    assert len(read_table(Query("SELECT * FROM rides WHERE n > 9", filled), SCHEMA)) == 0


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql://me@127.0.0.1:{port}/db", "127.0.0.1"),
        ("sqlite:////no/such/file.db", "No such file or directory"),
        ("sqlite://", "No such file or directory"),
        ("mysql://me@127.0.0.1/db", "its driver, the package MySQLdb, is not installed"),
        ("klingon://me@127.0.0.1/db", "klingon"),
        ("postgresql://me:secret@127.0.0.1/db", "an address with a password"),
    ],
)
def test_a_database_that_cannot_be_asked_is_one_sentence_without_the_password(url: str, cause: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(Query("SELECT 1", url.format(port=free_port())).with_password("secret"), SCHEMA)

    assert cause in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_is_in_no_text_of_a_query() -> None:
    query = Query("SELECT 1", "postgresql://me@host/db").with_password("secret")

    assert "secret" not in f"{query} {query!r}"
    assert queries._engine(query).url.password == "secret"


def test_a_column_of_several_types_keeps_each_value(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/odd.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (v, y)")
        connection.exec_driver_sql("INSERT INTO t VALUES (1, 'a'), ('2.5', 'b'), (1.5, 'a'), (NULL, 'b')")
    engine.dispose()
    (tmp_path / "m.yaml").write_text(
        "model: m\ndata: {sql: SELECT v AS x FROM t, url: 'sqlite:///odd.db'}\n"
        "schema: {target: y, task: binary, features: {x: {kind: numeric, nullable: true}}}\n"
    )
    spec = load_spec(tmp_path / "m.yaml")

    np.testing.assert_array_equal(read_table(spec.data, spec.schema).columns["x"], [1, 2.5, 1.5, np.nan])
