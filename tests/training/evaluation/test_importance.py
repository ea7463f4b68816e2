"""What a model goes by: against scikit-learn's, with intervals that hold, bounded in rows and time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from training.evaluation.importance import FEW, MOST_COLUMNS, SIZES, importances_of, likeness
from training.evaluation.losses import METRICS
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows, object_column

MAE = METRICS["mae"]
Clock = Callable[[], float]


def still() -> float:
    return 0.0


def ticking(*times: float) -> Clock:
    """A clock that says these times."""
    left = iter(times)
    return lambda: next(left)


def made(n: int = 1000, columns: int = 4, seed: int = 0) -> Rows:
    """Rows whose target is three times the first column, the second, and noise; the others say nothing."""
    rng = np.random.default_rng(seed)
    values = {f"x{place}": rng.normal(size=n) for place in range(columns)}
    return Rows(values, 3 * values["x0"] + values["x1"] + rng.normal(size=n), np.arange(n))


def linear(columns: Columns) -> Prediction:
    return Prediction(3 * columns["x0"] + columns["x1"])


def test_they_are_those_of_scikit_learn_within_their_intervals() -> None:
    older, newest = made(seed=1), made(seed=2)
    forest = RandomForestRegressor(30, random_state=0, n_jobs=1).fit(np.column_stack(list(older.columns.values())), older.labels)

    def predict(columns: Columns) -> Prediction:
        return Prediction(forest.predict(np.column_stack(list(columns.values()))))

    known = importances_of(predict, newest, MAE, seed=0, seconds=1.0, clock=still)
    theirs = permutation_importance(
        forest,
        np.column_stack(list(newest.columns.values())),
        newest.labels,
        scoring="neg_mean_absolute_error",
        n_repeats=10,
        random_state=0,
    )

    expected = dict(zip(newest.columns, theirs.importances_mean.tolist(), strict=True))
    assert [one.column for one in known.columns][:2] == ["x0", "x1"]
    assert {one.column: one.value for one in known.columns} == pytest.approx(expected, abs=0.12)
    assert all(one.low <= expected[one.column] <= one.high for one in known.columns)
    assert (known.rows, known.of) == (1000, 4)


def test_the_intervals_hold_what_is_so_on_fresh_rows() -> None:
    """Shuffling x0 makes the answer off by 3 (x - x') + noise: mean absolute value of a normal with variance 9 + 9 + 1."""
    worse = np.sqrt(2 / np.pi) * (np.sqrt(19.0) - 1.0)

    known = [importances_of(linear, made(500, 2, seed), MAE, seed=seed, seconds=1.0, clock=still) for seed in range(60)]

    held = [one.columns[0].low <= worse <= one.columns[0].high for one in known]
    assert {one.columns[0].column for one in known} == {"x0"}
    assert 53 <= sum(held) <= 60


def test_a_column_that_is_not_asked_is_worth_nothing_and_the_same_seed_says_the_same() -> None:
    rows = made()

    first, second = (importances_of(linear, rows, MAE, seed=3, seconds=1.0, clock=still) for _ in range(2))

    assert first == second
    assert {one.column: (one.value, one.low, one.high) for one in first.columns if one.column in ("x2", "x3")} == {
        "x2": (0.0, 0.0, 0.0), "x3": (0.0, 0.0, 0.0),
    }  # fmt: skip


def test_of_hundreds_of_columns_the_strongest_are_known() -> None:
    asked: list[int] = []

    def predict(columns: Columns) -> Prediction:
        asked.append(len(columns["x0"]))
        return linear(columns)

    known = importances_of(predict, made(5000, 300), MAE, seed=0, seconds=1.0, clock=still)

    assert [one.column for one in known.columns][:2] == ["x0", "x1"]
    assert (len(known.columns), known.of, known.rows) == (MOST_COLUMNS, 300, SIZES[0])
    assert sum(asked) == 2 * FEW + SIZES[0] + 300 * SIZES[0] // 4 + MOST_COLUMNS * SIZES[0]


@pytest.mark.parametrize(("a_row", "rows"), [(1e-5, 1000), (6e-4, 250), (3e-3, 0)], ids=["fast", "slow", "too slow"])
def test_a_slow_model_is_asked_of_fewer_rows_and_one_that_takes_too_long_of_none(a_row: float, rows: int) -> None:
    known = importances_of(linear, made(), MAE, seed=0, seconds=1.0, clock=ticking(0.0, 5.0, 5.01, 5.02 + 992 * a_row))

    assert known.rows == rows
    assert known.missing == (None if rows else "to ask again would take about 1.5 s, and 1.0 s are the most")


def test_columns_that_share_what_they_say_are_named() -> None:
    rng, rows = np.random.default_rng(0), made()
    place = rng.choice(["hill", "lake", "town"], 1000).astype(object)
    more = {
        "like x0": np.exp(rows.columns["x0"]) + rng.normal(0, 0.1, 1000),
        "place": place,
        "region": object_column([{"hill": "up", "lake": "low", "town": "low"}[name] for name in place.tolist()]),
        "height": np.where(place == "hill", 500.0, 20.0) + rng.normal(0, 1, 1000),
        "none": np.full(1000, np.nan),
    }

    known = importances_of(linear, Rows({**rows.columns, **more}, rows.target, rows.time_us), MAE, seed=0, seconds=9.0, clock=still)

    assert {frozenset(names) for names in known.alike} == {frozenset({"x0", "like x0"}), frozenset({"place", "region", "height"})}


def test_categories_by_chance_are_not_alike() -> None:
    rng = np.random.default_rng(0)

    drawn = [np.unique(rng.integers(0, 60, 400), return_inverse=True)[1] for _ in range(40)]
    chance = [likeness(one, other) for one, other in zip(drawn[::2], drawn[1::2], strict=True)]

    assert max(chance) < 0.2
