from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from training.profiles.bins import ROW, ColumnBins, Profile
from training.profiles.decimals import count_finer, is_finer, learn_decimals
from training.profiles.derived_columns import DerivedColumns
from training.profiles.row_cells import CELLS, TIME, cells_of, learn_identity
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn


def schema(**kinds: str) -> Schema:
    return Schema(tuple(Feature(name, kind) for name, kind in kinds.items()), "y", "regression")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "digits"), [(1.0, 0), (0.1, 1), (0.25, 2), (1e-6, 6), (100.0, -2), (5.0, 0), (1e-7, None)], ids=lambda value: str(value)
)
def test_the_decimals_of_a_column_are_the_fewest_that_write_it(step: float, digits: int | None) -> None:
    values = np.append(np.random.default_rng(0).integers(1, 10_000, 2000) * step, [np.nan, np.inf])

    assert learn_decimals({"x": values}, schema(x="numeric"), ["x"]) == (() if digits is None else (("x", digits),))
    assert learn_decimals({"x": values}, schema(x="numeric"), []) == ()
    assert learn_decimals({"x": values}, schema(x="datetime"), ["x"]) == ()


def test_few_rows_and_one_value_say_nothing_of_decimals() -> None:
    assert learn_decimals({"x": np.arange(80.0)}, schema(x="integer"), ["x"]) == ()  # the newer half is 40
    assert learn_decimals({"x": np.full(500, 3.0)}, schema(x="integer"), ["x"]) == ()


def test_a_few_odd_values_do_not_change_the_decimals() -> None:
    values = np.round(np.random.default_rng(0).normal(0, 10, 10_000), 1)
    values[-4:] += 0.05

    assert learn_decimals({"x": values}, schema(x="numeric"), ["x"]) == (("x", 1),)


@pytest.mark.parametrize(
    ("straying", "digits"), [(slice(4000, 4200), 0), (slice(4010, 4210), 0), (slice(4000, 4400), 3), (slice(0, None, 50), 3)]
)
def test_how_a_feed_once_came_for_a_while_is_not_how_a_column_is_written(straying: slice, digits: int) -> None:
    """A twentieth of the newer half at a stretch, more than that, and one row in fifty all along."""
    values = np.random.default_rng(0).integers(1, 100, 10_000).astype(float)
    values[5000:][straying] += 0.125

    assert learn_decimals({"x": values}, schema(x="numeric"), ["x"]) == (("x", digits),)


def test_a_zero_is_written_with_any_number_of_decimals() -> None:
    flag = np.zeros(10_000)
    flag[::20] = 1.0

    assert learn_decimals({"x": flag}, schema(x="integer"), ["x"]) == (("x", 0),), "not whole thousands"
    assert learn_decimals({"x": flag * (np.arange(10_000) < 5500)}, schema(x="integer"), ["x"]) == (), "of 25 nobody knows"


def test_of_a_row_the_values_that_are_finer_are_counted() -> None:
    columns = {"a": np.array([0.1, 0.25, np.nan]), "b": np.array([0.5, 1.5, 2.0])}

    assert count_finer(columns, (("a", 1), ("b", 0))).tolist() == [1.0, 2.0, 0.0]
    assert is_finer(np.array([0.1 + 0.2, 3e10, 1e-17]), 1).tolist() == [False, False, False]


def test_rows_fall_evenly_into_cells_and_equal_ones_into_one() -> None:
    rng = np.random.default_rng(0)
    numbers = [rng.normal(0, 1, 50_000), rng.integers(0, 50, 50_000).astype(float)]
    texts = rng.choice(np.array(["a", "b", None], dtype=object), 50_000)
    cells = cells_of([*numbers, texts])

    assert stats.chisquare(np.bincount(cells.astype(int), minlength=CELLS)).pvalue > 1e-3
    assert (cells_of([v[7:8] for v in (*numbers, texts)]) == cells[7]).all()
    assert (cells_of([*numbers, np.where(texts == "a", "c", texts)])[texts == "a"] != cells[texts == "a"]).mean() > 0.99


def test_rows_are_told_apart_by_numbers_and_by_texts_where_these_are_not_enough() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.integers(0, 5, 500).astype(float),
        "few": rng.choice(np.array(["a", "b"], dtype=object), 500),
        "many": np.array([str(i) for i in range(500)], dtype=object),
        "some": np.array([str(i % 9) for i in range(500)], dtype=object),
    }
    kinds = schema(x="integer", few="categorical", many="categorical", some="categorical")

    times = np.arange(500)

    assert learn_identity(columns, times, kinds) == ("x", "many", "some")
    assert learn_identity({**columns, "x": np.arange(500.0)}, times, kinds) == ("x",)
    assert learn_identity({name: values[:49] for name, values in columns.items()}, times[:49], kinds) == ()
    assert learn_identity({"many": columns["many"]}, times, schema(many="categorical")) == ()


def test_where_rows_bring_their_time_they_are_told_apart_by_it_before_texts() -> None:
    columns = {"x": np.arange(500.0) % 5, "many": np.array([str(i) for i in range(500)], dtype=object)}
    kinds = schema(x="integer", many="categorical")
    timed = replace(kinds, time=TimeColumn("at"))
    times = np.arange(500) * 1_000_000

    assert learn_identity(columns, times, timed) == ("x", TIME)
    assert learn_identity({**columns, "x": np.arange(500.0)}, times, timed) == ("x",)
    assert learn_identity(columns, times // 100_000_000, timed) == ("x", TIME, "many"), "of a hundred rows at a time"
    assert learn_identity(columns, times, replace(kinds, time=TimeColumn("at", clock="arrival"))) == ("x", "many")
    assert learn_identity({"many": columns["many"]}, times, replace(schema(many="categorical"), time=TimeColumn("at"))) == (TIME,)

    cells = DerivedColumns(identity=("x", TIME)).compute(columns, times)[ROW]
    assert (cells == cells_of([columns["x"], times.astype(float)])).all()


def test_cells_are_counted_in_any_number_and_stored_without_their_zeros() -> None:
    bins = ColumnBins(ROW, "numeric", edges=tuple(float(cell) for cell in range(CELLS + 1)))
    cells = np.array([0.0, 5.0, 5.0, CELLS - 1.0])
    profile = Profile("b", 4, {ROW: bins.count(cells)}, {}, {})

    assert np.flatnonzero(profile.counts[ROW]).tolist() == [0, 5, CELLS - 1]
    assert (bins.count(np.tile(cells, 100)) == 100 * profile.counts[ROW]).all()
    assert len(profile.to_json()) < 120
    assert (Profile.from_json(profile.to_json()).counts[ROW] == profile.counts[ROW]).all()
