"""What is usual for a column, measured on the reference's own buckets; every figure by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitoring.judging.usual_ranges import count_varying, grouped, is_constant_in, is_discrete, outside_of, usual
from training.profiles.bins import Bins, ColumnBins, Profile
from training.profiles.measures import Measures
from training.profiles.reference import Reference

NUMBER = ColumnBins("x", "numeric", edges=(0.0, 1.0, 3.0))  # two bins, then below, above, missing
PLACE = ColumnBins("place", "categorical", categories=("a", "b"))  # two bins, then other, missing
SCORE = ColumnBins("@score", "numeric", edges=(0.0, 1.0))
BINS = Bins((NUMBER, PLACE, SCORE))


def profile(x: list[int], place: list[int] | None = None, low: float = 0.0, high: float = 1.5) -> Profile:
    places = place or [sum(x) // 2, sum(x) - sum(x) // 2, 0, 0]
    counts = {"x": np.array(x), "place": np.array(places), "@score": np.array([sum(x), 0, 0, 0])}
    return Profile(BINS.id, sum(x), counts, {"x": low, "@score": 0.5}, {"x": high, "@score": 0.5})


def reference(*blocks: Profile) -> Reference:
    total = BINS.empty()
    for block in blocks:
        total = total.merge(block)
    return Reference(Measures(BINS), total, blocks, (), timedelta(days=1), timedelta(days=14))


def test_the_worst_bucket_of_each_column_is_measured() -> None:
    known = usual(
        reference(
            profile([60, 20, 10, 5, 5], [90, 10, 0, 0], low=-3.0),
            profile([10, 70, 0, 0, 20], [40, 40, 15, 5], high=9.0),
            profile([40, 40, 0, 10, 10], [50, 40, 10, 0]),
        )
    )

    assert set(known) == {"x", "place"}
    x, place = known["x"], known["place"]
    assert (x.bins, place.bins) == (NUMBER, PLACE)
    assert (x.missing, place.missing) == (0.2, 0.05)
    assert (x.outside, place.outside) == pytest.approx((0.15, 0.15))
    assert x.shares.tolist() == pytest.approx([110 / 300, 130 / 300, 10 / 300, 15 / 300, 35 / 300])
    assert x.most.tolist() == [0.6, 0.7, 0.1, 0.1, 0.2]
    assert x.variability == pytest.approx((80 + 80 + 10 + 15 + 25) / 600)
    assert place.variability == pytest.approx((90 + 60 + 25 + 5) / 600)
    assert (x.is_constant, place.is_constant) == (False, False)
    assert (x.is_discrete, place.is_discrete) == (False, True)
    assert (x.low, x.high, place.low, place.high) == (-3.0, 9.0, 0.0, 0.0)
    assert (x.spread, place.spread) == (3.0, 3.0)
    assert (x.constant_among, x.others_varying) == (0, 1)


def test_a_column_that_stands_still_in_some_buckets_is_known_for_it() -> None:
    varies, still = profile([20, 20, 0, 0, 0]), profile([40, 0, 0, 0, 0], [40, 0, 0, 0], high=0.0)
    x_alone_stands_still = profile([40, 0, 0, 0, 0], [20, 20, 0, 0], high=0.0)

    known = usual(reference(varies, still, x_alone_stands_still))
    all_alike = usual(reference(still, still))

    assert (known["x"].constant_among, known["x"].others_varying) == (1, 1)
    assert (known["place"].constant_among, known["place"].others_varying) == (0, 1)
    assert (known["x"].is_constant, known["place"].is_constant) == (False, False)
    assert (all_alike["x"].is_constant, all_alike["place"].is_constant) == (True, True)
    assert (all_alike["x"].constant_among, all_alike["x"].others_varying) == (0, 0)


def test_a_column_that_nobody_else_varies_beside_has_no_others() -> None:
    known = usual(reference(profile([20, 20, 0, 0, 0], [40, 0, 0, 0])))

    assert (known["x"].others_varying, known["place"].others_varying) == (0, 1)
    assert known["place"].constant_among == 1


def test_buckets_are_joined_until_they_can_be_judged() -> None:
    small, large = profile([10, 0, 0, 0, 0]), profile([0, 0, 0, 0, 20])

    apart = usual(reference(small, small, large), minimum_rows=20)
    by_default = usual(reference(small, small, large))
    too_few = usual(reference(profile([9, 0, 0, 0, 10])))
    last = usual(reference(large, profile([19, 0, 0, 0, 0])))
    enough = usual(reference(large, profile([20, 0, 0, 0, 0])))

    assert apart["x"].most.tolist() == by_default["x"].most.tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert too_few["x"].missing == pytest.approx(10 / 19), "no bucket has 20 rows: the whole is what is usual"
    assert last["x"].most[0] == 0.0
    assert enough["x"].most[0] == 1.0


@pytest.mark.parametrize(
    ("rows", "least", "groups"),
    [
        ([30, 30], 30, [(0, 10, 30), (10, 20, 30)]),
        ([29, 1, 30], 30, [(0, 20, 30), (20, 30, 30)]),
        ([30, 29], 30, [(0, 10, 30), (10, 20, 29)]),
        ([10, 10], 30, [(0, 20, 20)]),
        ([], 30, []),
    ],
    ids=["each alone", "two joined", "a rest", "all joined", "none"],
)
def test_consecutive_buckets_are_joined(rows: list[int], least: int, groups: list[tuple[int, int, int]]) -> None:
    buckets = [(number * 10, profile([n, 0, 0, 0, 0])) for number, n in enumerate(rows)]

    joined = [(start, end, one.rows) for start, end, one in grouped(buckets, 10, least)]

    assert joined == groups


def test_a_joined_group_begins_at_its_first_bucket_wherever_that_is() -> None:
    buckets = [(start, profile([10, 0, 0, 0, 0])) for start in (70, 90, 200)]

    joined = [(start, end, one.counts["x"][0]) for start, end, one in grouped(buckets, 10, 20)]

    assert joined == [(70, 100, 20), (200, 210, 10)]


@pytest.mark.parametrize(
    ("edges", "is_one_a_bin"),
    [
        ((), False),
        ((1.0,), False),
        ((1.0, float(np.nextafter(1.0, 2.0))), True),
        ((0.0, 0.5, 1.0), True),
        ((0.0, 0.5, 1.0 + 1e-8), False),
        ((0.0, 0.5, 1.5, 2.0), True),
        ((0.0, 0.7, 1.5, 2.0), False),
        ((1e-14, 2e-14, 5e-12), False),
        ((0.0, 1e-14, 9e-13), True),
        ((0.0, 1.0, 1.5, 1.0), False),
        ((0.0, 1.0, 3.0, 4.0), True),
        ((0.0, 1.0, 1.0, 0.0), False),
    ],
)
def test_bins_of_one_value_are_told_by_their_edges(edges: tuple[float, ...], is_one_a_bin: bool) -> None:
    assert is_discrete(ColumnBins("x", "numeric", edges=edges)) is is_one_a_bin


def test_categories_are_values() -> None:
    assert is_discrete(PLACE)


def test_outside_is_below_above_or_no_known_category() -> None:
    assert outside_of(NUMBER, np.array([1, 2, 30, 400, 5000])) == 430
    assert outside_of(PLACE, np.array([1, 2, 30, 400])) == 30


@pytest.mark.parametrize(
    ("x", "low", "high", "is_constant"),
    [
        pytest.param([5, 0, 0, 0, 0], 0.5, 0.5, True, id="one value"),
        pytest.param([5, 0, 0, 0, 0], 0.5, 0.6, False, id="one bin, two values"),
        pytest.param([5, 0, 0, 0, 9], 0.5, 0.5, True, id="one value or missing"),
        pytest.param([0, 0, 0, 0, 9], 1.0, 1.0, False, id="all missing"),
    ],
)
def test_a_number_is_constant_when_its_extremes_are_one(x: list[int], low: float, high: float, is_constant: bool) -> None:
    assert is_constant_in(profile(x, low=low, high=high), "x") is is_constant


@pytest.mark.parametrize(
    ("place", "is_constant"),
    [
        pytest.param([5, 0, 0, 0], True, id="the first"),
        pytest.param([0, 5, 0, 3], True, id="the second or missing"),
        pytest.param([4, 1, 0, 0], False, id="two"),
        pytest.param([0, 0, 5, 0], False, id="unknown ones"),
        pytest.param([4, 0, 1, 0], False, id="one and unknown ones"),
        pytest.param([0, 0, 0, 5], False, id="all missing"),
    ],
)
def test_a_category_is_constant_when_one_known_one_is_all(place: list[int], is_constant: bool) -> None:
    assert is_constant_in(profile([5, 0, 0, 0, 0], place), "place") is is_constant


@pytest.mark.parametrize("extremes", [({}, {"x": 1.0}), ({"x": 1.0}, {})], ids=["no minimum", "no maximum"])
def test_without_both_extremes_the_bins_decide(extremes: tuple[dict[str, float], dict[str, float]]) -> None:
    counts = {"x": np.array([5, 0, 0, 0, 0])}

    assert is_constant_in(Profile("b", 5, counts, *extremes), "x")


def test_the_columns_that_vary_are_counted_without_the_models_answers() -> None:
    assert count_varying(profile([5, 5, 0, 0, 0])) == 2
    assert count_varying(profile([5, 5, 0, 0, 0], [10, 0, 0, 0])) == 1
    assert count_varying(profile([0, 0, 0, 0, 10])) == 2
    varying_answers = replace(profile([5, 5, 0, 0, 0]), maximum={"x": 1.5, "@score": 0.75})
    assert count_varying(varying_answers) == 2
