"""Inputs that moved, and inputs that did not."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitoring.drift.classic import ColumnDrift, DriftReport, benjamini_hochberg, chi_squared, drift, floors, psi
from training.errors import BinsMismatchError
from training.policies import WatchingPolicy
from training.profiles.bins import Bins, ColumnBins, Profile
from training.profiles.measures import Measures
from training.profiles.reference import Reference, build_reference
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema

DAY_US = 86_400_000_000
SCHEMA = Schema((Feature("a", "numeric"), Feature("b", "numeric"), Feature("place", "categorical")), "y", "regression")
counts = st.lists(st.integers(0, 1000), min_size=4, max_size=4).map(np.array)


def rows(seed: int, days: int, *, shift: float = 0.0, wave: float = 0.0, new: float = 0.0, a_day: int = 60) -> Rows:
    rng = np.random.default_rng(seed)
    n = days * a_day
    day = np.arange(n) // a_day
    place = np.where(rng.random(n) < new, "harbour", rng.choice(np.array(["x", "y", "z"], dtype=object), n))
    columns = {
        "a": rng.normal(shift + wave * np.sin(2 * np.pi * day / 90), 1.0, n),
        "b": np.where(rng.random(n) < 0.05, np.nan, rng.gamma(2.0, 1.0, n)),
        "place": place.astype(object),
    }
    return Rows(columns, None, np.arange(n) * (DAY_US // a_day))


def reference(wave: float = 0.0) -> Reference:
    return build_reference(rows(0, 180, wave=wave), SCHEMA, WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=14)))


def windows(against: Reference, **kind: float) -> tuple[Profile, Profile]:
    live = rows(1, 28, **kind)
    return against.bins.count(live.between(14 * DAY_US, 28 * DAY_US).columns), against.bins.count(live.between(0, 14 * DAY_US).columns)


@pytest.mark.parametrize("seed", range(5))
def test_the_test_rejects_about_as_often_as_its_level_when_nothing_moved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = np.array([0.4, 0.3, 0.2, 0.08, 0.02])

    p = [chi_squared(rng.multinomial(500, shares), rng.multinomial(5000, shares))[1] for _ in range(400)]

    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


@given(counts, counts)
def test_the_test_does_not_care_which_sample_comes_first(a: np.ndarray, b: np.ndarray) -> None:
    one, other = chi_squared(a, b), chi_squared(b, a)

    assert one == pytest.approx(other, abs=1e-9)


@given(counts)
def test_a_window_equal_to_the_reference_is_never_far(a: np.ndarray) -> None:
    assert psi(a, a) <= 1e-12


def test_the_debiased_index_is_about_zero_on_average_when_nothing_moved() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)

    indices = [psi(rng.multinomial(300, shares), rng.multinomial(3000, shares)) for _ in range(300)]

    assert abs(np.mean(indices)) < 0.003


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50)
def test_q_values_are_never_below_p_values_and_keep_their_order(p: list[float]) -> None:
    q = benjamini_hochberg(p)

    assert (q >= np.array(p) - 1e-12).all()
    assert (np.diff(q[np.argsort(p, kind="stable")]) >= -1e-12).all()


def test_nothing_drifts_in_a_stream_that_does_not_move() -> None:
    known = reference()

    report = drift(known, *windows(known), level=0.01, psi_floor=0.1)

    assert report.drifting == ()


def test_a_recalibrated_sensor_drifts_and_is_named() -> None:
    known = reference()

    report = drift(known, *windows(known, shift=1.0), level=0.01, psi_floor=0.1)

    assert report.drifting == ("a",)


def test_a_new_district_drifts_with_its_share() -> None:
    known = reference()

    report = drift(known, *windows(known, new=0.3), level=0.01, psi_floor=0.1)

    assert report.drifting == ("place",)
    assert next(c for c in report.columns if c.column == "place").new_share == pytest.approx(0.3, abs=0.05)


def test_seasons_that_the_reference_knows_are_not_drift() -> None:
    known = reference(wave=1.5)

    report = drift(known, *windows(known, shift=1.2), level=0.01, psi_floor=0.1)

    assert "a" not in report.drifting
    assert floors(known, 0.1)["a"] > 0.5


def test_one_window_alone_is_not_drift() -> None:
    known = reference()
    moved, _ = windows(known, shift=1.0)
    still, _ = windows(known)

    report = drift(known, moved, still, level=0.01, psi_floor=0.1)

    assert report.drifting == ()


def test_an_almost_empty_window_is_not_judged() -> None:
    known = reference()
    few = known.bins.count(rows(3, 1, a_day=10).columns)

    report = drift(known, few, few, level=0.01, psi_floor=0.1)

    assert report.columns == ()
    assert "10 rows" in report.note


def test_counts_under_other_bins_are_refused() -> None:
    known = reference()
    other = build_reference(rows(7, 30), SCHEMA, WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=14)))

    with pytest.raises(BinsMismatchError):
        drift(known, other.total, other.total, level=0.01, psi_floor=0.1)


# exact


@pytest.mark.parametrize(
    ("a", "b", "cells"),
    [
        pytest.param([50, 30, 20], [40, 35, 25], [[50, 30, 20], [40, 35, 25]], id="nothing to pool"),
        pytest.param([30, 15, 5], [120, 15, 15], [[30, 15, 5], [120, 15, 15]], id="the least expected is five"),
        pytest.param([31, 15, 4], [120, 15, 15], [[31, 19], [120, 30]], id="less than five joins the smallest"),
        pytest.param([60, 34, 3, 3], [60, 32, 4, 4], [[60, 34, 6], [60, 32, 8]], id="two small ones are a cell"),
        pytest.param([60, 36, 2, 2], [60, 34, 3, 3], [[60, 36, 4], [60, 34, 6]], id="two small ones of five together"),
        pytest.param([70, 28, 1, 1], [55, 42, 2, 1], [[70, 30], [55, 45]], id="two too small ones join the smallest"),
        pytest.param([28, 70, 2], [42, 55, 3], [[30, 70], [45, 55]], id="the smallest wherever it stands"),
        pytest.param([50, 0, 50], [40, 0, 60], [[50, 50], [40, 60]], id="an empty bin"),
    ],
)
def test_small_cells_are_pooled_before_the_test(a: list[int], b: list[int], cells: list[list[int]]) -> None:
    expected = stats.chi2_contingency(cells, correction=False)

    assert chi_squared(np.array(a), np.array(b)) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b"),
    [([0, 0], [0, 0]), ([0, 0], [5, 90]), ([5, 90], [0, 0]), ([100, 0], [90, 0]), ([2, 2], [2, 2]), ([1, 0], [0, 1])],
    ids=["no rows", "no rows here", "no rows there", "one cell", "one cell of too small ones", "next to nothing"],
)
def test_without_two_cells_there_is_no_test(a: list[int], b: list[int]) -> None:
    assert chi_squared(np.array(a), np.array(b)) == (0.0, 1.0)


def test_the_index_by_hand() -> None:
    p, q = (8.5 / 11, 2.5 / 11), (60.5 / 101, 40.5 / 101)
    plain = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))

    assert psi(np.array([8, 2]), np.array([60, 40])) == pytest.approx(plain - (1 / 10 + 1 / 100))
    assert psi(np.array([8, 2, 0]), np.array([60, 40, 0])) == pytest.approx(plain - (1 / 10 + 1 / 100))


def test_a_bin_that_only_one_side_has_counts_in_the_index() -> None:
    p, q = (8.5 / 11.5, 2.5 / 11.5, 0.5 / 11.5), (0.5 / 101.5, 60.5 / 101.5, 40.5 / 101.5)
    plain = sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))

    assert psi(np.array([8, 2, 0]), np.array([0, 60, 40])) == pytest.approx(plain - 2 * (1 / 10 + 1 / 100))


@pytest.mark.parametrize(("a", "b"), [([1, 0], [3, 5]), ([3, 5], [0, 1])], ids=["here", "there"])
def test_one_row_has_an_index(a: list[int], b: list[int]) -> None:
    shares = [[(count + 0.5) / (sum(counts) + 1) for count in counts] for counts in (a, b)]
    plain = sum((p - q) * math.log(p / q) for p, q in zip(*shares, strict=True))

    assert psi(np.array(a), np.array(b)) == pytest.approx(plain - (1 / 1 + 1 / 8))


@pytest.mark.parametrize(("a", "b"), [([0, 0], [5, 9]), ([5, 9], [0, 0]), ([5, 0], [7, 0])], ids=["none here", "none there", "one bin"])
def test_without_two_bins_the_index_is_zero(a: list[int], b: list[int]) -> None:
    assert psi(np.array(a), np.array(b)) == 0.0


@pytest.mark.parametrize("p", [[0.04, 0.01, 0.03, 0.9], [0.5], [0.9, 0.8, 0.7], [0.01, 0.01, 0.02], [1.0, 1.0]])
def test_q_values_are_benjamini_and_hochbergs(p: list[float]) -> None:
    assert benjamini_hochberg(p).tolist() == pytest.approx(stats.false_discovery_control(p).tolist())


NUMBER = ColumnBins("x", "numeric", edges=(0.0, 1.0, 2.0))
TOWN = ColumnBins("town", "categorical", categories=("a", "b"))
TWO = Bins((NUMBER, TOWN))
TOTAL = {"x": [500, 500], "town": [700, 250, 30, 20]}


def profile(x: list[int], town: list[int] | None = None) -> Profile:
    towns = {} if town is None else {"town": np.array(town)}
    return Profile(TWO.id, sum(x), {"x": np.array([*x, 0, 0, 0])} | towns, {}, {})


def known(*windows: Profile, buckets: tuple[Profile, ...] = ()) -> Reference:
    return Reference(Measures(TWO), profile(**TOTAL), buckets, windows, timedelta(days=1), timedelta(days=14))


def index(x: list[int]) -> float:
    return psi(np.array(x), np.array([500, 500]))


CALM, RESTLESS = profile([50, 50]), profile([20, 80])


@pytest.mark.parametrize(
    ("windows", "buckets", "floor"),
    [
        pytest.param([CALM] * 4, [RESTLESS], 0.1, id="calm windows"),
        pytest.param([CALM, CALM, RESTLESS, CALM], [], 1.5 * index([20, 80]), id="the farthest window, with a margin"),
        pytest.param([CALM] * 3, [RESTLESS], 1.5 * index([20, 80]), id="of three windows the buckets are asked too"),
        pytest.param([RESTLESS] * 3, [CALM], 1.5 * index([20, 80]), id="and the windows still"),
        pytest.param([*[CALM] * 4, profile([9, 40])], [], 0.1, id="a window of 49 rows says nothing"),
        pytest.param([*[CALM] * 4, profile([10, 40])], [], 1.5 * index([10, 40]), id="one of 50 does"),
        pytest.param([CALM], [profile([9, 40])], 0.1, id="a bucket of 49 rows says nothing"),
        pytest.param([CALM], [profile([10, 40])], 1.5 * index([10, 40]), id="one of 50 does as well"),
    ],
)
def test_the_floor_is_the_references_own_wobble(windows: list[Profile], buckets: list[Profile], floor: float) -> None:
    assert floors(known(*windows, buckets=tuple(buckets)), 0.1) == {"x": pytest.approx(floor), "town": 0.1}


def test_the_margin_of_the_floor_may_be_another() -> None:
    restless = known(*[RESTLESS] * 4)

    (x,) = drift(restless, CALM, CALM, level=0.01, psi_floor=0.1, margin=3.0).columns

    assert x.floor == pytest.approx(3 * index([20, 80]))


NOW, BEFORE = profile([160, 40], [120, 60, 18, 2]), profile([70, 30], [70, 25, 3, 2])


def test_every_figure_of_a_column_by_hand() -> None:
    report = drift(known(), NOW, BEFORE, level=0.01, psi_floor=0.1)

    x, town = report.columns
    (p, now), (_, before) = p_and_q(NOW), p_and_q(BEFORE)
    assert (x.column, town.column) == ("x", "town")
    assert (x.psi, x.previous_psi, x.floor) == (pytest.approx(index([160, 40])), pytest.approx(index([70, 30])), 0.1)
    assert (x.p, town.p) == pytest.approx(p)
    assert (x.q, town.q) == pytest.approx(now)
    assert (x.previous_q, town.previous_q) == pytest.approx(before)
    assert (x.new_share, town.new_share) == (0.0, pytest.approx(18 / 200 - 30 / 1000))
    assert (x.missing_share, town.missing_share) == (0.0, 0.01)
    assert (report.rows, report.previous_rows, report.bins_id, report.note) == (200, 100, TWO.id, "")
    assert (x.is_drifting, town.is_drifting) == (True, False)


def p_and_q(window: Profile) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """P-values and q-values of both columns."""
    p = [chi_squared(window.counts[name], profile(**TOTAL).counts[name])[1] for name in ("x", "town")]
    return tuple(p), tuple(stats.false_discovery_control(p).tolist())


def test_fewer_unknown_categories_than_before_are_none() -> None:
    report = drift(known(), profile([100, 100], [140, 60, 0, 0]), BEFORE, level=0.01, psi_floor=0.1)

    assert [c.new_share for c in report.columns] == [0.0, 0.0]


NEAR, FAR = NOW, profile([190, 10], [140, 50, 6, 4])


@pytest.mark.parametrize(("now", "before"), [(NEAR, FAR), (FAR, NEAR)], ids=["now", "before"])
def test_in_each_window_index_and_test_must_exceed_their_bounds(now: Profile, before: Profile) -> None:
    def is_drifting(level: float, floor: float) -> bool:
        return drift(known(), now, before, level=level, psi_floor=floor).columns[0].is_drifting

    near_psi, near_q = index([160, 40]), p_and_q(NEAR)[1][0]

    assert (is_drifting(1.0, math.nextafter(near_psi, 0)), is_drifting(1.0, near_psi)) == (True, False)
    assert (is_drifting(near_q * (1 + 1e-9), 0.0), is_drifting(near_q * (1 - 1e-9), 0.0)) == (True, False)


def test_a_q_value_at_the_level_is_not_below_it() -> None:
    (x, _) = drift(known(), NEAR, NEAR, level=0.01, psi_floor=0.1).columns

    assert drift(known(), NEAR, NEAR, level=math.nextafter(x.q, 1), psi_floor=0.1).drifting == ("x",)
    assert drift(known(), NEAR, FAR, level=x.q, psi_floor=0.1).drifting == ()
    assert drift(known(), FAR, NEAR, level=x.q, psi_floor=0.1).drifting == ()


@pytest.mark.parametrize(
    ("rows", "now_note", "before_note", "drifting"),
    [
        (49, "only 49 rows under these bins, 50 needed", "the window before has 49 rows under these bins: nothing is called drift yet", ()),
        (50, "", "", ("x",)),
    ],
)
def test_a_window_is_judged_from_fifty_rows_on(rows: int, now_note: str, before_note: str, drifting: tuple[str, ...]) -> None:
    few = replace(NOW, rows=rows)

    now, before = drift(known(), few, NOW, level=0.01, psi_floor=0.1), drift(known(), NOW, few, level=0.01, psi_floor=0.1)

    assert (now.note, now.rows, now.previous_rows, now.bins_id, now.drifting) == (now_note, rows, 200, TWO.id, drifting)
    assert len(now.columns) == 2 * len(drifting)
    assert (before.note, before.rows, before.previous_rows, before.drifting) == (before_note, 200, rows, drifting)


def test_without_a_window_before_its_figures_are_not_numbers() -> None:
    report = drift(known(), NOW, replace(NOW, rows=49), level=0.01, psi_floor=0.1)

    assert [math.isnan(figure) for c in report.columns for figure in (c.previous_psi, c.previous_q)] == [True] * 4


@pytest.mark.parametrize(("town", "columns"), [(None, ["x"]), ([0, 0, 0, 0], ["x"]), ([0, 0, 0, 1], ["x", "town"])])
def test_columns_that_were_not_counted_are_not_judged(town: list[int] | None, columns: list[str]) -> None:
    report = drift(known(), profile([160, 40], town), BEFORE, level=0.01, psi_floor=0.1)

    assert [c.column for c in report.columns] == columns


def test_windows_under_other_bins_are_named() -> None:
    other = replace(NOW, bins_id="other")

    with pytest.raises(BinsMismatchError, match=f"^a window counted under bins other cannot be compared with bins {TWO.id}$"):
        drift(known(), NOW, other, level=0.01, psi_floor=0.1)


def test_a_report_is_plain_json_the_farthest_column_first() -> None:
    near = ColumnDrift("near", 0.20000049, 0.1, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0, True)
    columns = (near, replace(near, column="far", psi=0.3, previous_q=math.nan), replace(near, column="calm", is_drifting=False))
    report = DriftReport(columns, 9, 8, "b", "n")

    stored = report.to_dict()

    assert report.drifting == ("far", "near")
    assert {**stored, "columns": []} == {
        "rows": 9, "previous_rows": 8, "bins_id": "b", "note": "n", "drifting": ["far", "near"], "columns": [],
    }  # fmt: skip
    assert [c["column"] for c in stored["columns"]] == ["near", "far", "calm"]
    assert stored["columns"][0]["psi"] == 0.2
    assert stored["columns"][1] == {
        "column": "far", "psi": 0.3, "floor": 0.1, "p": 0.0, "q": 0.0, "previous_psi": 0.2, "previous_q": None,
        "new_share": 0.0, "missing_share": 0.0, "is_drifting": True,
    }  # fmt: skip
