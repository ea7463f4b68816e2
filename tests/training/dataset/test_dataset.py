import gzip
import socket
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from training.dataset.dataset import fingerprint, read_rows, read_table, rows_from_columns, split_by_time, tie_boundary, write_rows
from training.errors import DataError, TooFewRowsError
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

SCHEMA = Schema(
    (
        Feature("x", "numeric", nullable=True),
        Feature("n", "integer", minimum=0, maximum=9, out_of_range="error"),
        Feature("ok", "boolean"),
        Feature("c", "categorical", nullable=True),
        Feature("when", "datetime", nullable=True),
    ),
    target="y",
    task="binary",
    classes=("no", "yes"),
    time=TimeColumn("t", "ordinal"),
)
CSV = """t,x,n,ok,c,when,y
2,1.5,1,true,NA,2024-01-01T00:00:00Z,yes
1,,2,False,,2024-01-01T02:00:00+02:00,no
1,3,3,1,None,,no
"""


def table(**columns: list[object]) -> pd.DataFrame:
    good: dict[str, list[object]] = {
        "t": [0, 1],
        "x": [1.0, 2.0],
        "n": [1, 2],
        "ok": [True, False],
        "c": ["a", "b"],
        "when": [0, 1],
        "y": ["no", "yes"],
    }
    return pd.DataFrame({**good, **columns})


@pytest.fixture(params=["plain", "gzip", "parquet"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    paths = {"plain": tmp_path / "t.csv", "gzip": tmp_path / "t.csv.gz", "parquet": tmp_path / "t.parquet"}
    paths["plain"].write_text(CSV)
    paths["gzip"].write_bytes(gzip.compress(CSV.encode()))
    pd.read_csv(paths["plain"], keep_default_na=False, na_values={"x": [""], "c": [""], "when": [""]}, dtype={"ok": str}).to_parquet(
        paths["parquet"]
    )
    return paths[request.param]


@pytest.mark.parametrize("time", ["2024-05-17T12:00:00Z", "2024-05-17T14:00:00+02:00", "2024-05-17 12:00"])
def test_a_time_is_read_in_any_iso_spelling_beside_any_other(time: str) -> None:
    rows = rows_from_columns(table(t=["2024-05-17", time]), replace(SCHEMA, time=TimeColumn("t")))

    assert rows.time_us.tolist() == [1_715_904_000_000_000, 1_715_947_200_000_000]


def test_numbers_in_a_time_column_are_epoch_seconds() -> None:
    rows = rows_from_columns(table(t=[0, 1_715_947_200.5]), replace(SCHEMA, time=TimeColumn("t")))

    assert rows.time_us.tolist() == [0, 1_715_947_200_500_000]


def test_a_table_is_read_into_time_order_with_ties_in_file_order(stored: Path) -> None:
    rows = read_table(stored, SCHEMA)

    assert rows.columns["n"].tolist() == [2, 3, 1]
    assert rows.labels.tolist() == ["no", "no", "yes"]


def test_each_kind_of_column_is_converted(stored: Path) -> None:
    columns = read_table(stored, SCHEMA).columns

    assert np.isnan(columns["x"][0])
    assert columns["ok"].tolist() == [0.0, 1.0, 1.0]
    assert columns["c"].tolist() == [None, "None", "NA"]
    assert columns["when"][[0, 2]].tolist() == [1704067200.0, 1704067200.0]


@pytest.mark.parametrize(
    ("columns", "column", "row", "wanted"),
    [
        ({"x": ["1", "many"]}, "x", 1, "a number"),
        ({"x": [1.0, np.inf]}, "x", 1, "a number"),
        ({"n": [1.5, 2]}, "n", 0, "a whole number"),
        ({"n": [1, 10]}, "n", 1, "between 0 and 9"),
        ({"n": [1, None]}, "n", 1, "a whole number"),
        ({"ok": ["true", "perhaps"]}, "ok", 1, "true or false"),
        ({"when": ["2024-01-01", "soon"]}, "when", 1, "a time"),
        ({"y": ["no", "never"]}, "y", 1, "one of no, yes"),
        ({"t": [0, None]}, "t", 1, "a time (ordinal)"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_row_and_column(
    columns: dict[str, list[object]], column: str, row: int, wanted: str
) -> None:
    with pytest.raises(DataError) as caught:
        rows_from_columns(table(**columns), SCHEMA)

    (problem,) = caught.value.problems
    assert (problem.column, problem.row) == (column, row)
    assert wanted in problem.wanted


def test_all_problems_are_told_at_once_and_fifty_are_shown() -> None:
    many = pd.DataFrame({"t": range(200), "x": 1.0, "n": 77, "ok": True, "c": "a", "when": 0, "y": "no"})

    with pytest.raises(DataError, match="and 150 more") as caught:
        rows_from_columns(many, SCHEMA)

    assert (caught.value.total, len(caught.value.problems)) == (200, 50)


def test_a_required_column_that_is_not_there_is_named_and_a_nullable_one_is_missing() -> None:
    with pytest.raises(DataError, match="column 'n': got no such column"):
        rows_from_columns(table().drop(columns="n"), SCHEMA)

    assert np.isnan(rows_from_columns(table().drop(columns="x"), SCHEMA).columns["x"]).all()


def test_a_table_without_a_target_gives_rows_without_labels() -> None:
    assert rows_from_columns(table().drop(columns="y"), SCHEMA).target is None


def test_what_lies_at_an_address_is_read_by_the_driver_for_it() -> None:
    address = "memory://bucket/rides.csv.gz"
    with fsspec.open(address, "wb") as there:
        there.write(gzip.compress(table().to_csv(index=False).encode()))

    assert fingerprint(read_table(address, SCHEMA)) == fingerprint(rows_from_columns(table(), SCHEMA))
    with fsspec.open(address, "wb") as there:
        there.write(b"<html>secret")
    with pytest.raises(DataError, match=r"^the table memory://bucket/rides\.csv\.gz cannot be read: a page of HTML"):
        read_table(address, SCHEMA)


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("memory://no/such.csv", "No such file or directory"),
        ("s3://bucket/rides.csv", "no driver for 's3' is installed (Install s3fs"),
        ("klingon://bucket/rides.csv", "Protocol not known: klingon"),
        ("memory://bucket/*.csv", "an address with a pattern"),
        ("simplecache::http://127.0.0.1:9/rides.csv", "is not fetched"),
        ("sftp://me:secret@host/rides.csv", "an address with a password"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_sentence(address: str, cause: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(address, SCHEMA)

    assert cause in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "s3", "file"])
def test_an_address_is_refused_and_nothing_is_fetched(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/rows.csv"

        with pytest.raises(DataError, match="cannot be read"):
            read_table(address, SCHEMA)

        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("name", ["no.csv", "no.parquet"])
def test_a_file_that_is_not_there_is_a_data_error_of_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name, SCHEMA)

    assert str(caught.value) == f"the table {tmp_path / name} cannot be read: No such file or directory"


def test_a_file_that_is_something_else_is_a_data_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "odd.parquet").write_bytes(b"no parquet, and too short")

    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "odd.parquet", SCHEMA)

    assert str(caught.value).startswith(f"the table {tmp_path / 'odd.parquet'} cannot be read: ArrowInvalid: ")
    assert "\n" not in str(caught.value)


def times(*values: int) -> Rows:
    return Rows({"x": np.arange(len(values), dtype=float)}, None, np.array(values, np.int64))


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3, 0.5])
def test_a_split_never_falls_inside_a_tie(fraction: float) -> None:
    older, newer = split_by_time(times(1, 1, 1, 2, 2, 2, 2, 3, 3, 4), fraction)

    assert older.time_us[-1] < newer.time_us[0]


def test_rows_of_one_time_cannot_be_split() -> None:
    with pytest.raises(TooFewRowsError, match="cannot be split"):
        split_by_time(times(1, 1, 1), 0.5)


def test_the_boundary_is_the_nearest_end_of_the_tie() -> None:
    ties = np.array([1, 2, 2, 2, 2, 3])

    assert [tie_boundary(ties, p) for p in range(7)] == [0, 1, 1, 1, 5, 5, 6]


def test_rows_are_kept_once_under_their_fingerprint_and_read_back_equal(tmp_path: Path) -> None:
    rows = rows_from_columns(table(x=[np.nan, 1.0], c=[None, "b"]), SCHEMA)

    digest, path = write_rows(rows, SCHEMA, tmp_path)
    again, _ = write_rows(rows, SCHEMA, tmp_path)

    assert (digest, path.name) == (again, f"{digest}.parquet")
    assert fingerprint(read_rows(tmp_path, digest, SCHEMA)) == digest == fingerprint(rows)


def test_other_rows_under_the_same_name_are_refused(tmp_path: Path) -> None:
    digest, path = write_rows(rows_from_columns(table(), SCHEMA), SCHEMA, tmp_path)
    _, other = write_rows(rows_from_columns(table(x=[5.0, 6.0]), SCHEMA), SCHEMA, tmp_path)
    other.replace(path)

    with pytest.raises(DataError, match="the rows that were written"):
        read_rows(tmp_path, digest, SCHEMA)


def test_a_changed_value_changes_the_fingerprint() -> None:
    assert fingerprint(rows_from_columns(table(), SCHEMA)) != fingerprint(rows_from_columns(table(c=["a", "c"]), SCHEMA))
