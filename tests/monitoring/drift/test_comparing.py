"""Two samples under the same bins: what is called moved, in which order, in which words."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from monitoring.drift.classic import benjamini_hochberg, chi_squared
from monitoring.drift.comparing import compare_profiles
from training.errors import BinsMismatchError
from training.profiles.bin_edges import numeric_edges
from training.profiles.bins import Bins, ColumnBins

TOWNS = np.array(["Bonn", "Köln", "Trier"], dtype=object)


def sample(seed: int, n: int, *, shift: float = 0.0, spread: float = 1.0, missing: float = 0.0, more_bonn: float = 0.0) -> dict:
    rng = np.random.default_rng(seed)
    wind = rng.normal(shift, spread, n)
    wind[rng.random(n) < missing] = np.nan
    town = TOWNS[rng.choice(3, n, p=[0.5 + more_bonn, 0.3 - more_bonn, 0.2])]
    return {"wind": wind, "town": town, "open": (rng.random(n) < 0.3).astype(float)} | {f"x{i}": rng.normal(size=n) for i in range(5)}


def bins_of(columns: dict) -> Bins:
    return Bins(
        tuple(
            ColumnBins(name, "categorical", categories=tuple(TOWNS))
            if name == "town"
            else ColumnBins(name, "numeric", edges=numeric_edges(v))
            for name, v in columns.items()
        )
    )


A = sample(0, 20_000)
BINS = bins_of(A)


def against_a(**changed: float):
    return compare_profiles(BINS, BINS.count(A), BINS.count(sample(1, 2_000, **changed)))


@pytest.mark.parametrize(
    ("changed", "column", "words"),
    [
        ({"shift": 0.25}, "wind", "higher, median "),
        ({"shift": -0.25}, "wind", "lower, median "),
        ({"spread": 1.5}, "wind", "wider, middle half "),
        ({"spread": 0.7}, "wind", "narrower, middle half "),
        ({"missing": 0.05}, "wind", "missing: 0.0 → "),
        ({"more_bonn": 0.1}, "town", "'Köln': 29"),
    ],
    ids=str,
)
def test_what_moved_is_named_alone_and_in_words(changed: dict, column: str, words: str) -> None:
    compared = against_a(**changed)

    assert compared.moved == (column,)
    assert compared.columns[0].what.startswith(words)
    assert "1 of 8 columns moved from A to B (A 20,000 rows, B 2,000)" in compared.sentence
    assert column in str(compared).splitlines()[1]


def test_nothing_moved_is_a_sentence() -> None:
    compared = against_a()

    assert compared.moved == ()
    assert compared.sentence == "No column of 8 moved by more than chance explains (A 20,000 rows, B 2,000)."
    assert {c.what for c in compared.columns} == {""}


def test_the_farthest_comes_first() -> None:
    compared = against_a(shift=0.3, more_bonn=0.25)

    assert compared.moved == ("town", "wind")
    assert [c.psi for c in compared.columns[:2]] == sorted((c.psi for c in compared.columns[:2]), reverse=True)
    assert "1 of them far" in compared.sentence


def test_the_rank_test_sees_what_bins_alone_do_not() -> None:
    pairs = [
        (column.chi_squared, column.location)
        for seed in range(30)
        for column in compare_profiles(BINS, BINS.count(A), BINS.count(sample(100 + seed, 400, shift=0.12))).columns
        if column.column == "wind"
    ]

    by_bins, by_rank = (sum(p < 0.01 for p in column) for column in zip(*pairs, strict=True))
    assert by_rank > by_bins + 4


def test_a_clean_pair_is_seldom_called_moved() -> None:
    n_called = sum(bool(compare_profiles(BINS, BINS.count(A), BINS.count(sample(500 + seed, 300))).moved) for seed in range(60))

    assert n_called <= 9  # 5 % are promised; ten or more of sixty have a chance of .0009


def test_the_missing_share_is_the_plain_test_of_two_shares() -> None:
    a, b = A | {"wind": np.where(np.arange(20_000) < 300, np.nan, A["wind"])}, sample(1, 2_000, missing=0.03)

    column = next(c for c in compare_profiles(BINS, BINS.count(a), BINS.count(b)).columns if c.column == "wind")

    missing = int(np.isnan(b["wind"]).sum())
    there = stats.chi2_contingency([[19_700, 300], [2_000 - missing, missing]], correction=False)
    assert column.missing == pytest.approx(there.pvalue)


def test_chi_squared_is_that_of_scipy() -> None:
    a, b = np.array([500, 300, 200]), np.array([40, 40, 20])

    there = stats.chi2_contingency([a, b], correction=False)

    assert chi_squared(a, b) == pytest.approx((there.statistic, there.pvalue))


def test_q_values_are_those_of_benjamini_and_hochberg_in_their_own_example() -> None:
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]

    q = benjamini_hochberg(p)

    assert (q <= 0.05).tolist() == [True] * 4 + [False] * 11
    assert q == pytest.approx(stats.false_discovery_control(p))


def test_a_value_the_first_never_had_is_said_so() -> None:
    bins = Bins((ColumnBins("x", "numeric", edges=numeric_edges(np.array([0.0, 1.0]))),))
    a, b = bins.count({"x": np.array([0.0, 1.0] * 100)}), bins.count({"x": np.array([0.0, 0.0, 1.0, 5.0] * 50)})

    compared = compare_profiles(bins, a, b)

    assert compared.columns[0].what == "above all of A: 0.0 → 25.0 %"
    assert compared.columns[0].wasserstein == pytest.approx(0.5)  # those above are taken for halfway to the largest, 3


def test_a_column_without_values_on_one_side_has_moved() -> None:
    bins = Bins((ColumnBins("x", "numeric", edges=numeric_edges(np.arange(100.0))),))
    a, b = bins.count({"x": np.arange(100.0)}), bins.count({"x": np.full(80, np.nan)})

    compared = compare_profiles(bins, a, b)

    assert compared.columns[0].what == "missing: 0.0 → 100.0 %"
    assert compared.columns[0].ks is None


def test_it_is_json_and_html_and_says_what_was_left_out() -> None:
    compared = compare_profiles(BINS, BINS.count(A), BINS.count(sample(1, 30, shift=3.0)), notes=("id is no column <to> compare",))

    stored = json.loads(json.dumps(compared.to_dict()))
    assert stored["moved"] == ["wind"]
    assert stored["columns"][0]["psi_band"] > 0
    assert stored["notes"] == ["id is no column <to> compare", "B has 30 rows; below 50 the p-values are rough"]
    assert "&lt;to&gt;" in compared._repr_html_()
    assert "<td>wind</td><td>yes</td>" in compared._repr_html_()


def test_other_bins_are_refused() -> None:
    other = Bins((ColumnBins("wind", "numeric", edges=(0.0, 1.0)),))

    with pytest.raises(BinsMismatchError, match="cannot be compared"):
        compare_profiles(BINS, BINS.count(A), other.count({"wind": np.zeros(3)}))


def test_a_value_that_many_rows_have_ends_its_neighbours() -> None:
    a, b = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)]), np.concatenate([np.zeros(800), np.linspace(1.0, 100.0, 200)])
    bins = Bins((ColumnBins("rain", "numeric", edges=numeric_edges(a)),))

    column = compare_profiles(bins, bins.count({"rain": a}), bins.count({"rain": b})).columns[0]

    assert column.what == "rows from 0 to 100: 10.0 → 20.0 %"


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["above all bins", "below all bins"])
def test_no_quantile_lies_beyond_the_values_of_its_own_sample(sign: float) -> None:
    bins = Bins((ColumnBins("x", "numeric", edges=tuple(sorted(sign * edge for edge in (0.0, 1.0, 5.0)))),))
    near = sign * np.concatenate([np.full(50, 0.5), np.full(60, 3.0), np.linspace(10.0, 12.0, 190)])
    far = sign * np.concatenate([np.full(5, 0.5), np.full(15, 3.0), np.linspace(50.0, 90.0, 280)])

    (column,) = compare_profiles(bins, bins.count({"x": near}), bins.count({"x": far})).columns

    # 40 of the 190 rows from 5 to A's largest, 12; 130 of the 280 from 5 to B's, 90
    medians = [f"{sign * (5 + share * reach):.4g}" for share, reach in ((40 / 190, 7), (130 / 280, 85))]
    assert column.what == f"{'higher' if sign > 0 else 'lower'}, median {medians[0]} → {medians[1]}"
