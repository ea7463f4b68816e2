from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.dataset import read_table
from training.errors import DataError
from training.guess import init_spec
from training.spec import parse_spec

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


@pytest.fixture(params=["rides.csv", "rides.csv.gz", "rides.parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    write: Callable[..., object] = TABLE.to_parquet if path.suffix == ".parquet" else TABLE.to_csv
    write(path, index=False)
    return path


def test_the_guess_is_a_valid_model_file_that_reads_its_own_table(path: Path) -> None:
    spec = parse_spec(init_spec(path, "late", "departed"))

    assert spec.data is not None
    assert len(read_table(spec.data, spec.schema)) == N


def test_kinds_missing_values_task_and_time_are_guessed(path: Path) -> None:
    schema = parse_spec(init_spec(path, "late", "departed")).schema

    kinds = {f.name: f.kind for f in schema.features}

    assert kinds == {"departed": "datetime", "km": "numeric", "stops": "integer", "city: name": "categorical", "rain": "boolean"}
    assert [f.name for f in schema.features if f.nullable] == ["km"]
    assert (schema.task, schema.positive, schema.time and schema.time.kind) == ("binary", "yes", "timestamp")


def test_what_is_left_out_and_what_was_seen_stand_in_comments(path: Path) -> None:
    text = init_spec(path, "late", "departed")

    assert '# "ride id" is left out' in text
    assert "# empty is left out" in text
    assert "seen 1 to 8" in text


@pytest.mark.parametrize(("target", "task"), [("km", "regression"), ("rain", "binary"), ("city: name", "multiclass")])
def test_the_task_follows_from_the_target(target: str, task: str, tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    assert parse_spec(init_spec(tmp_path / "t.csv", target)).schema.task == task


def test_a_number_as_time_is_an_ordinal(tmp_path: Path) -> None:
    TABLE.assign(row=range(N)).to_csv(tmp_path / "t.csv", index=False)

    time = parse_spec(init_spec(tmp_path / "t.csv", "late", "row")).schema.time

    assert time is not None
    assert time.kind == "ordinal"


def test_a_target_of_many_words_is_refused_with_one_of_them(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="'ride id': got 300 different values that are not all numbers, such as 'r0'"):
        init_spec(tmp_path / "t.csv", "ride id")


def test_a_target_of_a_few_dozen_words_has_classes(tmp_path: Path) -> None:
    TABLE.assign(line=[f"line {i % 40}" for i in range(N)]).to_csv(tmp_path / "t.csv", index=False)

    schema = parse_spec(init_spec(tmp_path / "t.csv", "line")).schema

    assert (schema.task, len(schema.classes or ())) == ("multiclass", 40)


def test_a_target_of_many_decimals_is_a_regression(tmp_path: Path) -> None:
    TABLE.assign(price=[Decimal(i) / 4 for i in range(N)]).to_parquet(tmp_path / "t.parquet", index=False)

    assert parse_spec(init_spec(tmp_path / "t.parquet", "price")).schema.task == "regression"


def test_a_target_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="'empty': got no value in any row"):
        init_spec(tmp_path / "t.csv", "empty")


@pytest.mark.parametrize(("time", "sample"), [("city: name", "such as '"), ("km", "such as nothing")])
def test_a_time_that_cannot_be_read_is_refused_with_a_sample(time: str, sample: str, tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match=f"column '{time}': got .* values that are no time, {sample}"):
        init_spec(tmp_path / "t.csv", "late", time)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    TABLE.head(0).to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="'late': got no rows"):
        init_spec(tmp_path / "t.csv", "late")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)

    with pytest.raises(DataError, match="wanted one of departed"):
        init_spec(tmp_path / "t.csv", "lateness")
