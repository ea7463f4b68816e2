"""Two tables or two windows of a log: read as one, compared, told in words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring import Window, compare
from monitoring.errors import InputError
from tests.monitoring.world import World, weather
from tests.patience import PATIENCE_SECONDS
from training.errors import DataError
from training.schema.rows import Rows


def table(seed: int, n: int = 3000, *, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "wind": rng.normal(8 + shift, 2, n).round(2),
            "place": rng.choice(["Bonn", "Köln", "Trier"], n),
            "gears": rng.integers(1, 6, n),
            "open": rng.choice(["yes", "no"], n),
            "seen": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 86_400 * 20, n), unit="s"),
        }
    )


def write_csv(rows: pd.DataFrame, path: Path) -> Path:
    rows.to_csv(path, index=False)
    return path


def write_german_csv(rows: pd.DataFrame, path: Path) -> Path:
    rows.to_csv(path, index=False, sep=";", decimal=",", encoding="cp1252")
    return path


def write_parquet(rows: pd.DataFrame, path: Path) -> Path:
    rows.to_parquet(path)
    return path


def as_it_is(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    return rows


@pytest.mark.parametrize("write_a", [as_it_is, write_csv, write_parquet])
@pytest.mark.parametrize("write_b", [as_it_is, write_german_csv, write_parquet])
def test_tables_are_compared_however_they_are_written(tmp_path: Path, write_a: Callable, write_b: Callable) -> None:
    a, b = (
        write_a(table(1), tmp_path / "a"),
        write_b(table(2, shift=0.5), tmp_path / "b.parquet" if write_b is write_parquet else tmp_path / "b"),
    )

    compared = compare(a, b)

    assert compared.moved == ("wind",)
    assert {column.column for column in compared.columns} == {"wind", "place", "gears", "open", "seen"}
    assert compared.columns[0].what.startswith("higher, median 8")
    assert compared.notes == ()


def test_what_cannot_be_compared_is_noted_with_the_reason() -> None:
    a, b = table(1), table(2)
    a["key"], b["key"] = range(3000), range(3000, 6000)
    a["code"], b["code"] = 1.5, "x"
    a["gone"], b["new"] = 1, 2
    a["lists"], b["lists"] = [[1]] * 3000, [[2]] * 3000
    a["empty"], b["empty"] = None, None

    notes = compare(a, b).notes

    assert notes == (
        "gone is in A only",
        "new is in B only",
        "key is not compared: every value is different, as in an id (seen 0 to 2999)",
        "code is not compared: it holds numbers in A and texts in B",
        "lists is not compared: it holds lists or structs in A and it holds lists or structs in B",
        "empty is not compared: it holds nothing",
    )


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        pytest.param(["yes"] * 200, ["yes", "no"] * 100, "'yes': 100.0 → 50.0 %", id="one word, then two"),
        pytest.param([True, False] * 100, [1] * 150 + [0] * 50, "0: 50.0 → 25.0 %", id="true and false, then one and nought"),
        pytest.param([True, False] * 100, ["yes"] * 150 + ["no"] * 50, "0: 50.0 → 25.0 %", id="true and false, then words for it"),
        pytest.param(
            [True, False] * 100, ["yes"] * 150 + ["perhaps"] * 50, "new values: 0.0 → 100.0 %", id="true and false, then other words"
        ),
        pytest.param([1] * 200, [1.5] * 100 + [1] * 100, "1: 100.0 → 50.0 %", id="whole numbers, then others"),
        pytest.param([5.0] * 200, [None] * 200, "missing: 0.0 → 100.0 %", id="a number, then nothing"),
        pytest.param([0.1] * 100 + [0.2] * 100, [np.inf] * 40 + [0.1] * 80 + [0.2] * 80, "missing: 0.0 → 20.0 %", id="infinite ones"),
        pytest.param([7] * 200, [8] * 200, "7: 100.0 → 0.0 %", id="one value, then another"),
        pytest.param(["a"] * 190 + ["b"] * 10, ["a"] * 150 + ["c"] * 50, "new values: 0.0 → 25.0 %", id="a new category"),
    ],
)
def test_a_column_has_the_kind_that_fits_both(a: list, b: list, what: str) -> None:
    compared = compare({"x": a}, {"x": b})

    assert [(column.column, column.what) for column in compared.columns] == [("x", what)]


@pytest.mark.parametrize(("n_a", "n_b"), [(1, 1000), (3, 1000), (20, 20)])
def test_few_rows_of_one_distribution_have_seldom_moved(n_a: int, n_b: int) -> None:
    draws = [np.random.default_rng(seed).normal(size=n_a + n_b) for seed in range(60)]

    moved = [bool(compare({"x": one[:n_a]}, {"x": one[n_a:]}).moved) for one in draws]

    assert sum(moved) <= 7  # of sixty, at a level of .05: 99 % of chance


def test_a_rare_text_in_a_long_column_decides_its_kind() -> None:
    cells = [str(i % 9) for i in range(20_001)]

    compared = compare({"x": cells, "y": [0.0, 1.0] * 10_000 + [0.0]}, {"x": [*cells[:-1], "broken"], "y": [0.0, 1.0] * 10_000 + [1.0]})

    assert compared.notes == ("x is not compared: it holds numbers in A and texts in B",)


def test_a_rare_number_in_a_long_column_is_one_and_a_rare_infinite_one_is_missing() -> None:
    sparse, endless = np.full(40_001, np.nan), np.arange(40_001.0) % 7
    sparse[17], endless[19] = 1.0, np.inf

    compared = compare({"sparse": sparse, "endless": endless}, {"sparse": sparse, "endless": endless})

    assert {column.column: round(column.missing_a * 40_001) for column in compared.columns} == {"sparse": 40_000, "endless": 1}
    assert compared.moved == compared.notes == ()


def test_a_model_file_says_what_the_columns_are(tmp_path: Path) -> None:
    model = tmp_path / "model.yaml"
    model.write_text(
        "model: wind\ndata: a.csv\nschema:\n  target: wind\n  task: regression\n  time: {column: seen}\n"
        "  features:\n    gears: categorical\n    place: categorical\n"
    )

    compared = compare(table(1), table(2), spec=model)

    assert {(column.column, column.ks) for column in compared.columns} == {("gears", None), ("place", None)}
    with pytest.raises(DataError, match="no such column"):
        compare(table(1), table(2).drop(columns="place"), spec=model)


def test_rows_are_taken_as_they_are() -> None:
    rows = weather(1, 0, 30)

    compared = compare(rows, pd.DataFrame(weather(2, 0, 30).columns).assign(wind=20.0))

    assert compared.moved == ("wind",)


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        pytest.param({"x": []}, {"x": [1]}, "A has no rows", id="no rows"),
        pytest.param({"x": [1]}, {"y": [1]}, "there is no column to compare (x is in A only; y is in B only)", id="nothing in common"),
        pytest.param(Rows({"x": np.zeros(0)}, None, np.zeros(0, np.int64)), {"x": [1.0]}, "A has no rows", id="rows that are none"),
        pytest.param({"x": []}, {"x": []}, "A has no rows", id="no rows on either side"),
        pytest.param(None, {"x": [1]}, "a window is compared with a window, a table with a table", id="a table with no table"),
        pytest.param(
            {"x": [1]}, Window("m", "2026-01-01", "2026-01-02"), "a window of m is compared with another", id="a table with a window"
        ),
    ],
)
def test_what_cannot_be_compared_at_all_is_one_sentence(a: object, b: object, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        compare(a, b)  # type: ignore[arg-type]

    assert sentence in str(refused.value)


def test_a_level_is_a_share() -> None:
    with pytest.raises(InputError, match="the level 5 is no share"):
        compare({"x": [1]}, {"x": [2]}, level=5)


def test_a_file_that_may_be_read_in_two_ways_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x;y\n" + "1,234;5\n2,345;6\n" * 30)

    with pytest.raises(InputError, match=r"more than one reading fits all cells of .*a\.csv"):
        compare(tmp_path / "a.csv", {"x": [1]})


def test_two_windows_of_a_log_are_compared_by_their_counts(make: Callable[..., World]) -> None:
    world = make()
    calm, windy = weather(3, 60, 7), weather(4, 67, 7)
    world.log(calm)
    world.log(Rows(windy.columns | {"wind": windy.columns["wind"] + 10}, windy.target, windy.time_us))
    home = {"EVERGREEN_HOME": str(world.stores.home.path)}

    def day(n: int) -> str:
        return f"{np.datetime64('1970-01-01') + np.timedelta64(n, 'D')}"

    first, second = Window("rain", day(60), day(67)), Window("rain", day(67), day(74))
    compared, with_training = compare(first, second, environment=home), compare(None, first, environment=home)

    assert compared.rows_a == len(calm)
    assert "wind" in compared.moved
    assert "wind" not in with_training.moved
    assert compared.notes[0].startswith("A is 1970-03-02 00:00 to 1970-03-09 00:00")
    with pytest.raises(InputError, match="no row of rain is counted from"):
        compare(first, Window("rain", day(100), day(101)), environment=home)
    with pytest.raises(InputError, match="a window ends after it begins"):
        compare(first, Window("rain", day(9), day(9)), environment=home)


def test_importing_it_does_not_load_the_rest() -> None:
    code = "import sys, monitoring; assert 'pandas' not in sys.modules; from monitoring import compare; assert 'flask' not in sys.modules"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)

    assert done.stderr == ""
    assert not hasattr(sys.modules["monitoring"], "nothing")
