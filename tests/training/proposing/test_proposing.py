from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.dataset.dataset import read_table
from training.errors import DataError
from training.model_file.model_spec import parse_spec
from training.proposing.proposing import propose

N = 300
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "departed": pd.date_range("2024-01-01", periods=N, freq="h").strftime("%Y-%m-%dT%H:%M:%S"),
        "ride id": [f"r{i}" for i in range(N)],
        "km": np.where(RNG.random(N) < 0.1, np.nan, RNG.gamma(2, 3, N)),
        "stops": RNG.integers(1, 9, N),
        "city: name": RNG.choice(["no", "Paris, FR", 'the "best"'], N),
        "rain": RNG.random(N) < 0.3,
        "empty": np.nan,
        "late": RNG.choice(["yes", "no"], N),
    }
)


def text_of(table: Path, target: str, time: str | None = None) -> str:
    return propose(table, target, time).text


@pytest.fixture(params=["rides.csv", "rides.csv.gz", "rides.parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    write: Callable[..., object] = TABLE.to_parquet if path.suffix == ".parquet" else TABLE.to_csv
    write(path, index=False)
    return path


def test_the_guess_is_a_valid_model_file_that_reads_its_own_table(path: Path) -> None:
    spec = parse_spec(text_of(path, "late", "departed"))

    assert spec.data is not None
    assert len(read_table(spec.data, spec.schema)) == N


def test_kinds_missing_values_task_and_time_are_guessed(path: Path) -> None:
    schema = parse_spec(text_of(path, "late", "departed")).schema

    kinds = {f.name: f.kind for f in schema.features}

    assert kinds == {"departed": "datetime", "km": "numeric", "stops": "integer", "city: name": "categorical", "rain": "boolean"}
    assert [f.name for f in schema.features if f.nullable] == ["km"]
    assert (schema.task, schema.positive, schema.time and schema.time.kind) == ("binary", "yes", "timestamp")


def test_what_is_left_out_and_what_was_seen_stand_in_comments(path: Path) -> None:
    text = text_of(path, "late", "departed")

    assert '# "ride id" is left out' in text
    assert "# empty is left out" in text
    assert "seen 1 to 8" in text


@pytest.mark.parametrize(("target", "task"), [("km", "regression"), ("rain", "binary"), ("city: name", "multiclass")])
def test_the_task_follows_from_the_target(target: str, task: str, tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    assert parse_spec(text_of(tmp_path / "t.csv", target)).schema.task == task


def test_a_number_as_time_is_an_ordinal(tmp_path: Path) -> None:
    TABLE.assign(row=range(N)).to_csv(tmp_path / "t.csv", index=False)

    time = parse_spec(text_of(tmp_path / "t.csv", "late", "row")).schema.time

    assert time is not None
    assert time.kind == "ordinal"


def test_a_target_of_many_words_is_refused_with_one_of_them(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="'ride id': got 300 different values that are not all numbers, such as 'r0'"):
        text_of(tmp_path / "t.csv", "ride id")


def test_a_target_of_a_few_dozen_words_has_classes(tmp_path: Path) -> None:
    TABLE.assign(line=[f"line {i % 40}" for i in range(N)]).to_csv(tmp_path / "t.csv", index=False)

    schema = parse_spec(text_of(tmp_path / "t.csv", "line")).schema

    assert (schema.task, len(schema.classes or ())) == ("multiclass", 40)


def test_a_target_of_many_decimals_is_a_regression(tmp_path: Path) -> None:
    TABLE.assign(price=[Decimal(i) / 4 for i in range(N)]).to_parquet(tmp_path / "t.parquet", index=False)

    assert parse_spec(text_of(tmp_path / "t.parquet", "price")).schema.task == "regression"


def test_a_target_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="'empty': got no value in any row"):
        text_of(tmp_path / "t.csv", "empty")


@pytest.mark.parametrize(("time", "sample"), [("city: name", "such as '"), ("km", "such as nothing")])
def test_a_time_that_cannot_be_read_is_refused_with_a_sample(time: str, sample: str, tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match=f"column '{time}': got values that are no time in .*, {sample}"):
        text_of(tmp_path / "t.csv", "late", time)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    TABLE.head(0).to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="'late': got no rows"):
        text_of(tmp_path / "t.csv", "late")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="wanted one of departed"):
        text_of(tmp_path / "t.csv", "lateness")


def test_whole_decimals_of_databases_are_whole_numbers(tmp_path: Path) -> None:
    whole = pa.decimal128(38, 0)
    columns = {
        "flag": pa.array([Decimal(i % 2) for i in range(200)], whole),
        "seen": pa.array([Decimal(1767225600000 + i * 10**7) for i in range(200)], whole),
        "account": pa.array([Decimal(10**22 + i % 7) for i in range(200)], whole),
        "row": pa.array([Decimal(10**17 + i) for i in range(200)], whole),
        "y": pa.array([Decimal(i % 2) for i in range(200)], whole),
    }
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")

    spec = parse_spec(propose(tmp_path / "table.parquet", "y").text)
    rows = read_table(tmp_path / "table.parquet", spec.schema)

    assert {f.name: f.kind for f in spec.schema.features} == {"flag": "integer", "seen": "datetime", "account": "categorical"}
    assert set(rows.columns["account"]) == {str(10**22 + i) for i in range(7)}


def test_a_column_that_moves_by_itself_is_remarked_on(tmp_path: Path) -> None:
    moments = pd.date_range("2024-01-01", periods=N, freq="h")
    TABLE.assign(hour=moments.hour, counter=np.arange(N) // 3).to_csv(tmp_path / "rides.csv", index=False)

    lines = text_of(tmp_path / "rides.csv", "late", "departed").splitlines()

    remarks = [line.split("# ")[1].split("; ")[-1] for line in lines if line.strip().startswith(("hour:", "counter:", "stops:"))]
    assert remarks[0].startswith("bounds: ")
    assert remarks[1:] == [
        "follows from the hour of a row's time: watched by the rows that differ from it",
        "runs with time: counted, but not watched",
    ]


DIGITS = {
    "%Y%m": [(2010 + i // 12) * 100 + i % 12 + 1 for i in range(N)],
    "%Y": [1950 + i // 2 for i in range(N)],
    "%Y%j": [2024001 + i for i in range(N)],
}


@pytest.mark.parametrize("written", DIGITS)
@pytest.mark.parametrize("kind", ["int64", "float64", "str"])
def test_times_in_few_digits_are_told_from_an_order(written: str, kind: str, tmp_path: Path) -> None:
    pd.DataFrame({"t": pd.Series(DIGITS[written]).astype(kind), "x": TABLE["stops"], "y": TABLE["late"]}).to_parquet(tmp_path / "t.parquet")

    text = text_of(tmp_path / "t.parquet", "y", "t")
    spec = parse_spec(text)
    rows = read_table(tmp_path / "t.parquet", spec.schema)

    assert f'time: {{column: t, format: "{written}", clock: event}}   # years' in text
    assert (
        str(rows.time_us.astype("datetime64[us]")[-1]) == pd.to_datetime(str(DIGITS[written][-1]), format=written).isoformat() + ".000000"
    )


@pytest.mark.parametrize("cells", [[(2010 + i // 52) * 100 + i % 52 + 1 for i in range(N)], [2000 + 10 * i for i in range(N)]])
def test_other_numbers_that_begin_like_years_are_an_order(cells: list[int], tmp_path: Path) -> None:
    TABLE.assign(row=cells).to_csv(tmp_path / "t.csv", index=False)

    time = parse_spec(text_of(tmp_path / "t.csv", "late", "row")).schema.time

    assert time is not None
    assert time.kind == "ordinal"


def test_what_json_requests_send_otherwise_than_a_typed_file_is_told(tmp_path: Path) -> None:
    columns = {
        "n": [f"{i % 7}.5" for i in range(N)],
        "b": ["Yes", "no", "yes"] * (N // 3),
        "zip": [f"0{i % 7}" for i in range(N)],
        "c": ["a", "b", "c"] * (N // 3),
    }
    frame = pd.DataFrame({**columns, "x": TABLE["stops"], "y": TABLE["late"]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.assign(n=frame["n"].str.replace(".", ",")).to_json(tmp_path / "t.jsonl", orient="records", lines=True)

    of_parquet, of_csv, of_commas = (propose(tmp_path / f"t.{kind}", "y").notes for kind in ("parquet", "csv", "jsonl"))

    may = "those in CSV, Arrow and Parquet may send what the file has"
    assert of_parquet == (
        f"numbers written as text: n; requests in JSON send numbers, {may}",
        f"true and false written as text: b; requests in JSON send true or false, {may}",
        f"categories that look like numbers: zip; requests in JSON send text, {may}",
    )
    assert of_csv == ()
    assert of_commas[1] == "numbers written as text: n; requests send numbers"


def with_classes(folder: Path, **counts: int) -> Path:
    names = [name for name, count in counts.items() for _ in range(count)]
    path = folder / "few.csv"
    pd.DataFrame({"x": RNG.normal(size=len(names)), "y": names}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("counts", "got"),
    [
        ({"no": 99, "yes": 1}, "class 'yes' (1 row) among 100 rows"),
        ({"a": 98, "b": 1, "c": 1}, "class 'b' (1 row), class 'c' (1 row) among 100 rows"),
    ],
)
def test_two_classes_of_which_one_has_one_row_are_refused_by_init_as_train_would(counts: dict[str, int], got: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        propose(with_classes(tmp_path, **counts), "y")

    assert [problem.got for problem in refused.value.problems] == [got]
    assert "two classes of two rows or more" in refused.value.problems[0].wanted
    assert "add rows, or name another target" in refused.value.problems[0].wanted


def test_a_class_of_few_rows_is_named_in_the_file_and_in_a_note(tmp_path: Path) -> None:
    proposed = propose(with_classes(tmp_path, a=90, b=80, rare=1, odd=9, enough=10), "y")

    few = "little can be learned of class 'rare' (1 row), class 'odd' (9 rows): add rows, leave them out, or give them another class"
    assert f"# {few}" in proposed.text
    assert f"y: {few}" in proposed.notes
    assert parse_spec(proposed.text).schema.classes == ("a", "b", "enough", "odd", "rare")


def test_where_all_rows_are_few_no_class_is_named_for_it(tmp_path: Path) -> None:
    proposed = propose(with_classes(tmp_path, no=9, yes=1), "y")

    assert "little can be learned" not in proposed.text
    assert any("10 labelled rows are too few" in note for note in proposed.notes)
