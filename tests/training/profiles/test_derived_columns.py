import json

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from training.policies import ColumnRule
from training.profiles.bins import ROW
from training.profiles.derived_columns import DerivedColumns
from training.profiles.main_directions import MOST, MainDirections
from training.schema.feature import Feature
from training.schema.rows import Columns
from training.schema.schema import Schema


def numbers(n: int, d: int, seed: int = 0, rho: float = 0.7) -> Columns:
    """Pairs of standard normals that are correlated by rho."""
    z = np.random.default_rng(seed).normal(size=(d, n))
    z[1::2] = rho * z[: d - d % 2 : 2] + np.sqrt(1 - rho**2) * z[1::2]
    return {f"x{place}": row for place, row in enumerate(z)}


def times(columns: Columns) -> npt.NDArray[np.int64]:
    return np.zeros(len(next(iter(columns.values()))), np.int64)


def learned(columns: Columns) -> DerivedColumns:
    schema = Schema(tuple(Feature(name, "numeric") for name in columns), "target", "regression")
    return DerivedColumns.learn(columns, times(columns), schema, columns, {}, has_hour=False)


def computed(derived: DerivedColumns, columns: Columns) -> Columns:
    return derived.compute(columns, times(columns))


def test_the_distance_is_that_of_mahalanobis() -> None:
    columns = numbers(5000, 6)
    derived = learned(columns)

    distance = computed(derived, columns)["@distance"]

    z = (np.array(list(columns.values())).T - np.array(derived.mean)) / np.array(derived.scale)
    wanted = np.einsum("ij,jk,ik->i", z, np.linalg.inv(np.corrcoef(z.T)), z)
    assert distance == pytest.approx(wanted, rel=1e-6)
    assert stats.kstest(distance, "chi2", args=(6,)).pvalue > 0.01


def test_the_residual_is_what_lies_off_the_components_that_explain_two_thirds() -> None:
    columns = numbers(5000, 6)
    derived = learned(columns)

    residual = computed(derived, columns)["@residual"]

    z = (np.array(list(columns.values())).T - np.array(derived.mean)) / np.array(derived.scale)
    variances, vectors = np.linalg.eigh(np.corrcoef(z.T))
    n = int(np.searchsorted(np.cumsum(variances[::-1]) / 6, 0.65)) + 1
    off = z - z @ vectors[:, ::-1][:, :n] @ vectors[:, ::-1][:, :n].T
    assert derived.directions is not None
    assert derived.directions.n_residual == n == 3
    assert residual == pytest.approx((off**2).sum(axis=1), rel=1e-5, abs=1e-6)


def test_of_many_numbers_sixteen_directions_are_kept_and_the_rest_is_taken_to_vary_alike() -> None:
    columns = numbers(4000, 60)
    derived = learned(columns)

    distance = computed(derived, columns)["@distance"]

    assert derived.directions is not None
    assert len(derived.directions.directions) == MOST
    z = (np.array(list(columns.values())).T - np.array(derived.mean)) / np.array(derived.scale)
    variances, vectors = np.linalg.eigh(np.corrcoef(z.T))
    covariance = (
        variances[:-MOST].mean() * np.eye(60)
        + (vectors * np.append(np.zeros(44), variances[-MOST:] - variances[:-MOST].mean())) @ vectors.T
    )
    assert distance == pytest.approx(np.einsum("ij,jk,ik->i", z, np.linalg.inv(covariance), z), rel=1e-5)


def test_the_products_are_of_the_ten_most_correlated_pairs() -> None:
    columns = numbers(5000, 24)

    derived = learned(columns)

    assert len(derived.pairs) == 10
    assert set(derived.pairs) <= {(f"x{place}", f"x{place + 1}") for place in range(0, 24, 2)}
    product = computed(derived, columns)["@product:" + "*".join(derived.pairs[0])]
    assert product.mean() == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(("rho", "n_products"), [(0.0, 0), (0.3, 3)])
def test_a_pair_that_is_not_correlated_has_no_product(rho: float, n_products: int) -> None:
    assert len(learned(numbers(5000, 6, rho=rho)).pairs) == n_products


def test_two_pairs_whose_products_have_one_name_are_one_product() -> None:
    columns = dict(zip(["a", "b*c", "a*b", "c"], numbers(5000, 4).values(), strict=True))

    derived = learned(columns)

    assert derived.pairs == (("a*b", "c"),) or derived.pairs == (("a", "b*c"),)
    assert [name for name in derived.names if name.startswith("@product:")] == ["@product:a*b*c"]
    assert computed(derived, columns).keys() == set(derived.names)


def test_a_change_of_correlation_alone_moves_them_all() -> None:
    derived = learned(numbers(20_000, 12, rho=0.5))

    before, after = computed(derived, numbers(1000, 12, 1, rho=0.5)), computed(derived, numbers(1000, 12, 2, rho=0.25))

    assert min(stats.ks_2samp(before[name], after[name]).pvalue for name in ("@residual", "@distance")) < 1e-4
    assert [stats.ks_2samp(values, computed(derived, numbers(1000, 12, 3, rho=0.5))[name]).pvalue > 1e-4 for name, values in before.items()]


def test_values_beyond_measure_and_missing_ones_are_taken_as_far_and_as_the_mean() -> None:
    columns = numbers(500, 2)
    derived = learned(columns)

    out = computed(derived, {"x0": np.array([np.nan, np.inf, 1e308, 0.0]), "x1": np.array([np.nan, -np.inf, np.nan, 1e300])})

    assert out["@product:x0*x1"].tolist()[:3] == [0.0, -100.0, 0.0]
    assert all(np.isfinite(values).all() for values in out.values())
    assert [values[0] for name, values in out.items() if name != ROW] == [0.0, 0.0, 0.0]


def test_small_numbers_that_come_huge_lie_farthest() -> None:
    derived = learned({name: values * 1e-6 for name, values in numbers(500, 2).items()})

    out = computed(derived, {"x0": np.array([1e308, -1e308]), "x1": np.array([1e308, np.nan])})

    assert out["@product:x0*x1"].tolist() == [100.0, 0.0]


def test_what_does_not_vary_moves_by_itself_or_is_no_number_is_left_out() -> None:
    n = 500
    columns = {
        **numbers(n, 3),
        "same": np.ones(n),
        "empty": np.full(n, np.nan),
        "c": np.array(["a", None] * (n // 2), object),
        "t": np.arange(n) * 1.0,
    }
    kinds = {"c": "categorical", "t": "datetime"}
    schema = Schema(
        tuple(Feature(name, kinds.get(name, "numeric"), nullable=name in ("empty", "c")) for name in columns), "y", "regression"
    )

    derived = DerivedColumns.learn(
        columns, times(columns), schema, [name for name in columns if name != "x2"], {"x2": ColumnRule((0.0, 1.0))}, has_hour=True
    )

    assert (derived.numbers, derived.nullable) == (("x0", "x1"), ("empty", "c"))
    assert derived.names == ("@missing", "@residual", "@distance", "@product:x0*x1", "@rule:x2", "@hour", "@row")
    out = derived.compute({**columns, "x2": np.array([0.0, 1.0, 1.5, np.nan, -1e-9] * (n // 5))}, np.full(n, 25 * 3_600_000_000))
    assert out["@missing"][:2].tolist() == [1.0, 2.0]
    assert (out["@hour"] == 1).all()
    assert [None if v != v else v for v in out["@rule:x2"][:5].tolist()] == [0, 0, 1, None, 1]


@pytest.mark.parametrize(
    "columns", [numbers(40, 4), numbers(500, 1), {"x": np.ones(500), "y": np.full(500, np.inf)}], ids=["few rows", "one", "same"]
)
def test_what_cannot_be_learned_is_left_out(columns: Columns) -> None:
    assert set(learned(columns).names) <= {ROW}


@pytest.mark.parametrize("d", [2, 20])
def test_derived_columns_survive_json(d: int) -> None:
    columns = numbers(300, d)
    derived = DerivedColumns.learn(
        columns,
        times(columns),
        Schema(tuple(Feature(name, "numeric", nullable=True) for name in columns), "y", "regression"),
        columns,
        {"x1": ColumnRule((0.0, 1.0))},
        has_hour=True,
    )

    read = DerivedColumns.from_dict(json.loads(json.dumps(derived.to_dict())))

    assert read == derived
    assert {name: values.tobytes() for name, values in computed(read, columns).items()} == {
        name: values.tobytes() for name, values in computed(derived, columns).items()
    }
    assert DerivedColumns.from_dict({}) == DerivedColumns()
    assert DerivedColumns().to_dict() == {}


@pytest.mark.parametrize("d", [2, 12, 60, 500])
def test_a_row_is_measured_alike_wherever_it_stands(d: int) -> None:
    z = np.random.default_rng(0).normal(size=(d, 9000))
    main = MainDirections.learn(np.corrcoef(z[:, :2000]))
    places = np.array([0, 1, 5, 100, 777, 4095, 8191, 8999])
    z[:, places] = z[:, :1]

    residual, distance = main.measure(z)
    alone = main.measure(z[:, :1].copy())

    assert len(set(residual[places].tolist()) | set(alone[0].tolist())) == 1
    assert len(set(distance[places].tolist()) | set(alone[1].tolist())) == 1


def test_numbers_that_follow_from_each_other_have_a_distance_too() -> None:
    main = MainDirections.learn(np.ones((3, 3)))

    residual, distance = main.measure(np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]).T)

    assert residual.round(6).tolist() == [0.0, 0.666667]
    assert distance[1] > 100 * distance[0]


@pytest.mark.parametrize(("n", "d", "rho"), [(500, 20, 0.0), (500, 20, 0.6), (1000, 100, 0.3)], ids=["alike", "correlated", "many"])
def test_rows_that_taught_are_measured_as_later_ones_are(n: int, d: int, rho: float) -> None:
    columns, later = numbers(n, d, 1, rho), numbers(20_000, d, 2, rho)
    derived = learned(columns)

    held, live = dict(derived.held_out(columns, np.zeros(n, np.int64))), computed(derived, later)

    assert tuple(held) == derived.names == tuple(live)
    own = computed(derived, columns)
    assert all(held[name].tobytes() == own[name].tobytes() for name in derived.names if name not in ("@residual", "@distance"))
    for name in ("@residual", "@distance"):
        assert abs(held[name].mean() - live[name].mean()) < 4 * live[name].std() / np.sqrt(n)
    taught = computed(derived, columns)["@residual"]
    assert live["@residual"].mean() - taught.mean() > 4 * taught.std() / np.sqrt(n)  # what the rows of the reference were measured by


def test_pairs_that_are_correlated_by_chance_have_no_product() -> None:
    assert learned(numbers(200, 30, rho=0.0)).pairs == ()
    assert len(learned(numbers(200, 30, rho=0.6)).pairs) == 10
