"""Inputs that broke, and inputs that only look odd."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.judging.data_faults import Fault, Refused, Span, faults, quarantine, without_released
from training.policies import FaultPolicy, WatchingPolicy
from training.profiles.bins import Bins, ColumnBins, Profile
from training.profiles.measures import Measures
from training.profiles.reference import Reference, build_reference
from training.schema.feature import Feature
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema

DAY_US = 86_400_000_000
A_DAY = 56
POLICY = FaultPolicy()
SCHEMA = Schema(
    (
        Feature("temperature", "numeric", nullable=True),
        Feature("flag", "boolean"),
        Feature("zero", "numeric"),
        Feature("season", "integer"),
        Feature("place", "categorical"),
    ),
    "y",
    "regression",
)


def columns(seed: int, days: int, first_day: int = 0) -> Columns:
    rng = np.random.default_rng(seed)
    n = days * A_DAY
    day = first_day + np.arange(n) // A_DAY
    warm = 10 * np.sin(2 * np.pi * day / 365)
    return {
        "temperature": np.where(rng.random(n) < 0.03, np.nan, np.round(warm + rng.normal(0, 3, n), 1)),
        "flag": (rng.random(365)[day % 365] < 0.03).astype(float),
        "zero": np.zeros(n),
        "season": (day // 91 % 4).astype(float),
        "place": rng.choice(np.array(["x", "y", "z"], dtype=object), n, p=[0.5, 0.3, 0.2]),
    }


def reference(days: int = 365) -> Reference:
    known = columns(0, days)
    return build_reference(
        Rows(known, None, np.arange(days * A_DAY) * (DAY_US // A_DAY)),
        SCHEMA,
        WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=14)),
    )


def buckets(known: Reference, live: Columns) -> list[tuple[int, Profile]]:
    days = len(live["zero"]) // A_DAY
    return [(d * DAY_US, known.bins.count({n: v[d * A_DAY : (d + 1) * A_DAY] for n, v in live.items()})) for d in range(days)]


def broken(live: Columns, known: Reference | None = None, rejects: Refused | None = None) -> list[tuple[str, str, int]]:
    against = known or reference()
    return [(f.kind, f.column, f.start_us // DAY_US) for f in faults(against, buckets(against, live), DAY_US, POLICY, rejects)]


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_clean_seasonal_year_has_no_fault(seed: int) -> None:
    assert broken(columns(seed, 365)) == []


def ozone(levels: list[float], share_in_other_unit: list[float] | None = None, factor: float = 10.0) -> Columns:
    """A number with a level a day, of which a share of the rows is in another unit."""
    rng = np.random.default_rng(3)
    n = len(levels) * A_DAY
    values = np.repeat(levels, A_DAY) * np.exp(rng.normal(0, 1.0, n))
    other = rng.random(n) < np.repeat(share_in_other_unit or [0.0] * len(levels), A_DAY)
    return {**columns(9, len(levels)), "temperature": np.where(other, values / factor, values)}


@pytest.fixture(scope="module")
def summer() -> Reference:
    """Two months in which ozone is high."""
    known = ozone([60.0 + 15 * np.sin(day / 5) for day in range(60)])
    times = np.arange(60 * A_DAY) * (DAY_US // A_DAY)
    return build_reference(Rows(known, None, times), SCHEMA, WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=14)))


def units(live: Columns, known: Reference) -> list[int]:
    """The days on which the number is called one in another unit."""
    return [day for kind, column, day in broken(live, known) if (kind, column) == ("unit_change", "temperature")]


def test_a_winter_the_history_did_not_see_is_no_other_unit(summer: Reference) -> None:
    falling = np.geomspace(60, 6, 14).tolist() + [6.0] * 6

    assert units(ozone(falling), summer) == []
    assert units(ozone([60.0] * 3 + [6.0] * 4), summer) == [3, 4, 5, 6]


def test_what_jumps_in_a_winter_is_another_unit_whatever_the_history_saw(summer: Reference) -> None:
    falling = np.geomspace(60, 45, 8).tolist() + [45.0] * 8

    assert units(ozone(falling, [0.0] * 13 + [1.0] * 3, factor=3.6), summer) == [13, 14, 15]


def test_rows_that_come_in_another_unit_one_client_after_the_other_are_told_when_all_do(summer: Reference) -> None:
    shares = [0.0, 0.0, 0.1, 0.25, 0.45, 0.65, 0.85, 1.0, 1.0]

    assert {7, 8} <= set(units(ozone([60.0] * len(shares), shares), summer))


def test_a_season_that_was_not_in_the_history_is_no_fault() -> None:
    assert broken(columns(1, 120, first_day=240), reference(240)) == []


def test_a_stuck_sensor_is_a_fault() -> None:
    live = columns(1, 3)
    live["temperature"][A_DAY : 2 * A_DAY] = 1.0

    assert broken(live) == [("constant", "temperature", 1)]


def test_a_burst_of_missing_values_is_a_fault() -> None:
    live = columns(1, 3)
    live["temperature"][A_DAY : 2 * A_DAY : 2] = np.nan

    assert broken(live) == [("null_burst", "temperature", 1)]


def test_values_outside_of_everything_known_are_a_fault() -> None:
    live = columns(1, 3)
    live["temperature"][A_DAY : 2 * A_DAY] += 1000

    assert broken(live) == [("out_of_range", "temperature", 1)]


def test_a_column_that_turns_into_something_unknown_is_a_fault() -> None:
    live = columns(1, 3)
    live["place"][A_DAY : 2 * A_DAY] = "n/a"

    assert broken(live) == [("new_category", "place", 1)]


@pytest.mark.parametrize("share", [0.08, 0.15, 0.3])
def test_a_new_district_is_no_fault(share: float) -> None:
    live = columns(1, 30)
    live["place"][np.random.default_rng(2).random(30 * A_DAY) < share] = "harbour"

    assert broken(live) == []


def test_a_column_that_was_always_constant_may_begin_to_vary() -> None:
    live = columns(1, 3)
    live["zero"][:] = np.arange(3 * A_DAY)

    assert broken(live) == []


def test_a_recalibrated_sensor_is_no_fault() -> None:
    live = columns(1, 60, first_day=20)
    live["temperature"] += 5.0

    assert broken(live) == []


def test_many_refused_rows_are_a_fault_of_their_bucket() -> None:
    live = columns(1, 2)

    assert broken(live, rejects={DAY_US: {("temperature", "type"): 150, ("temperature", "missing"): 50}}) == [("rejects", "temperature", 1)]
    assert broken(live, rejects={DAY_US: {("temperature", "type"): 5}}) == []


def test_few_rows_a_day_are_judged_together() -> None:
    known = reference()
    live = columns(1, 1)
    live["temperature"][:] = 1.0
    thin = [(d * DAY_US, known.bins.count({n: v[d * 14 : (d + 1) * 14] for n, v in live.items()})) for d in range(4)]

    stuck = [(f.kind, f.start_us, f.end_us) for f in faults(known, thin, DAY_US, POLICY)]

    assert stuck == [("constant", 0, 3 * DAY_US)]


def test_long_identical_bursts_are_no_fault_where_the_reference_has_them() -> None:
    rng = np.random.default_rng(0)
    names = ["a", "b", "c", "d"]
    schema = Schema(tuple(Feature(n, "numeric") for n in names), "y", "regression")
    burst = np.repeat(rng.random(40) < 0.3, 100)
    table = {n: np.where(burst, 7.0, rng.normal(0, 1, 4000)) for n in names}
    times = np.arange(4000) * 1_000_000
    known = build_reference(Rows(table, None, times), schema, WatchingPolicy(bucket=timedelta(seconds=100), window=timedelta(seconds=500)))
    again = [(0, known.bins.count({n: np.full(100, 3.0) for n in names}))]
    stuck = [(0, known.bins.count({**{n: rng.normal(0, 1, 100) for n in names}, "b": np.full(100, 0.5)}))]

    assert faults(known, again, 100_000_000, POLICY) == ()
    assert [f.column for f in faults(known, stuck, 100_000_000, POLICY)] == ["b"]


def test_a_faulty_range_takes_a_guard_bucket_on_either_side() -> None:
    two = [Fault("constant", "a", 50, 60, 99, 1.0, 0.0), Fault("null_burst", "b", 70, 80, 99, 1.0, 0.0)]

    spans = quarantine(two, 10)

    assert [(s.start_us, s.end_us) for s in spans] == [(40, 90)]
    assert spans[0].reason == "constant a, null_burst b"


@given(st.lists(st.integers(0, 200), max_size=12))
def test_quarantined_ranges_are_disjoint_and_cover_every_fault(starts: list[int]) -> None:
    broken = [Fault("constant", "a", s * 10, s * 10 + 10, 99, 1.0, 0.0) for s in starts]

    spans = quarantine(broken, 10)

    assert all(a.end_us < b.start_us for a, b in pairwise(spans))
    assert all(any(s.start_us <= f.start_us - 10 and f.end_us + 10 <= s.end_us for s in spans) for f in broken)


# exact, on profiles by hand

NUMBER = ColumnBins("x", "numeric", edges=(0.0, 1.0, 3.0))  # two bins that are no single values, then below, above, missing
TOWN = ColumnBins("town", "categorical", categories=("a", "b"))  # two bins, then other, missing
OTHERS = tuple(ColumnBins(name, "categorical", categories=("a", "b")) for name in "pqr")
SCORE = ColumnBins("@score", "numeric", edges=(0.0, 1.0))
BINS = Bins((NUMBER, TOWN, *OTHERS, SCORE))


def profile(x: list[int], town: list[int] | None = None, *, low: float = 0.0, high: float = 2.5, others: int = 3) -> Profile:
    """Counts of as many rows as `x` has; the town varies calmly unless given, and so do as many of the three others."""
    n = sum(x)
    calm, still = [n // 2, n - n // 2, 0, 0], [n, 0, 0, 0]
    counts = {"x": x, "town": town or calm, "@score": [0, n, 0, 0]}
    counts |= {bins.name: calm if place < others else still for place, bins in enumerate(OTHERS)}
    return Profile(BINS.id, n, {name: np.array(c) for name, c in counts.items()}, {"x": low, "@score": 0.5}, {"x": high, "@score": 0.5})


def known_by(*blocks: Profile) -> Reference:
    total = BINS.empty()
    for block in blocks:
        total = total.merge(block)
    return Reference(Measures(BINS), total, blocks, (), timedelta(days=1), timedelta(days=14))


CALM = profile([500, 500, 0, 0, 0])
CALM_REFERENCE = known_by(CALM)
EIGHTH = replace(POLICY, out_of_range_share=0.125)


def kinds(known: Reference, live: Profile, policy: FaultPolicy = POLICY) -> list[tuple[str, str]]:
    return [(f.kind, f.column) for f in faults(known, [(0, live)], 10, policy)]


@pytest.mark.parametrize(
    ("usual_missing", "rows", "missing", "is_fault"),
    [
        pytest.param(0, 100, 24, False, id="less than a quarter"),
        pytest.param(0, 100, 25, True, id="a quarter"),
        pytest.param(250, 1000, 449, False, id="less than a fifth more than usual"),
        pytest.param(250, 1000, 450, True, id="a fifth more than usual"),
        pytest.param(0, 20, 6, False, id="by chance in few rows"),
        pytest.param(0, 20, 7, True, id="not by chance"),
        pytest.param(100, 21, 12, True, id="by chance once in 1.1 million"),
        pytest.param(100, 22, 12, False, id="by chance once in 560,000"),
    ],
)
def test_a_burst_of_missing_values_has_its_bounds(usual_missing: int, rows: int, missing: int, is_fault: bool) -> None:
    known = known_by(profile([500, 500 - usual_missing, 0, 0, usual_missing]))
    live = profile([rows - missing - 5, 5, 0, 0, missing])

    (*broken,) = faults(known, [(40, live)], 10, replace(POLICY, minimum_rows=20))

    expected = Fault("null_burst", "x", 40, 50, rows, missing / rows, usual_missing / 1000)
    assert broken == ([expected] if is_fault else [])


def test_the_missing_share_is_the_policys() -> None:
    assert kinds(CALM_REFERENCE, profile([60, 0, 0, 0, 40]), replace(POLICY, null_share=0.4)) == [("null_burst", "x")]
    assert kinds(CALM_REFERENCE, profile([61, 0, 0, 0, 39]), replace(POLICY, null_share=0.4)) == []


@pytest.mark.parametrize(
    ("known", "live", "policy", "share"),
    [
        pytest.param(CALM, profile([10, 10, 40, 40, 0]), POLICY, 0, id="four fifths outside"),
        pytest.param(CALM, profile([10, 9, 40, 41, 0]), POLICY, 0.81, id="more"),
        pytest.param(CALM, profile([100, 100, 0, 801, 0]), POLICY, 801 / 1001, id="all above"),
        pytest.param(profile([150, 100, 350, 400, 0]), profile([125, 0, 475, 400, 0]), EIGHTH, 0, id="an eighth more than usual"),
        pytest.param(profile([150, 100, 350, 400, 0]), profile([124, 0, 476, 400, 0]), EIGHTH, 0.876, id="more than that"),
        pytest.param(CALM, profile([5, 5, 45, 45, 0]), replace(POLICY, out_of_range_share=0.9), 0, id="the policy's share"),
        pytest.param(CALM, profile([5, 4, 46, 45, 0]), replace(POLICY, out_of_range_share=0.9), 0.91, id="more than the policy's share"),
    ],
)
def test_a_burst_of_numbers_outside_has_its_bounds(known: Profile, live: Profile, policy: FaultPolicy, share: float) -> None:
    reference = known_by(known)
    outside = float(known.counts["x"][2:4].sum() / 1000)

    burst = [f for f in faults(reference, [(40, live)], 10, policy) if f.column == "x"]

    assert burst == ([Fault("out_of_range", "x", 40, 50, live.rows, share, outside)] if share else [])


@pytest.mark.parametrize(
    ("known", "live", "policy", "share"),
    [
        pytest.param([600, 400, 0, 0], [30, 20, 50, 0], POLICY, 0, id="half of them unknown"),
        pytest.param([600, 400, 0, 0], [30, 19, 51, 0], POLICY, 0.51, id="more"),
        pytest.param([300, 200, 500, 0], [200, 100, 700, 0], POLICY, 0, id="a fifth more than usual"),
        pytest.param([300, 200, 500, 0], [200, 99, 701, 0], POLICY, 0.701, id="more than that"),
        pytest.param([600, 400, 0, 0], [20, 20, 60, 0], replace(POLICY, new_category_share=0.6), 0, id="the policy's share"),
        pytest.param([600, 400, 0, 0], [20, 19, 61, 0], replace(POLICY, new_category_share=0.6), 0.61, id="more than the policy's share"),
    ],
)
def test_a_burst_of_unknown_categories_has_its_bounds(known: list[int], live: list[int], policy: FaultPolicy, share: float) -> None:
    reference = known_by(profile([500, 500, 0, 0, 0], known))
    n = sum(live)

    burst = faults(reference, [(40, profile([n // 2, n - n // 2, 0, 0, 0], live))], 10, policy)

    assert list(burst) == ([Fault("new_category", "town", 40, 50, n, share, known[2] / 1000)] if share else [])


def test_a_few_unknown_ones_may_be_chance() -> None:
    small = replace(POLICY, minimum_rows=20)
    known = known_by(profile([500, 500, 0, 0, 0], [200, 400, 400, 0]))

    assert kinds(known, profile([10, 10, 0, 0, 0], [0, 2, 18, 0]), small) == []
    assert kinds(known, profile([100, 100, 0, 0, 0], [0, 20, 180, 0]), small) == [("new_category", "town")]


@pytest.mark.parametrize(
    ("known", "is_burst"),
    [
        pytest.param([CALM], True, id="calm"),
        pytest.param([profile([1000, 0, 0, 0, 0], high=0.0)], False, id="always constant"),
        pytest.param([profile([750, 250, 0, 0, 0]), profile([0, 1000, 0, 0, 0]), profile([750, 250, 0, 0, 0])], True, id="half restless"),
        pytest.param([profile([751, 249, 0, 0, 0]), profile([0, 1000, 0, 0, 0]), profile([752, 248, 0, 0, 0])], False, id="restless"),
    ],
)
def test_no_burst_is_called_in_a_column_that_jumps_or_never_moved(known: list[Profile], is_burst: bool) -> None:
    live = profile([5, 5, 0, 90, 0], high=5.0)

    assert kinds(known_by(*known), live) == ([("out_of_range", "x")] if is_burst else [])


WANDERS = [profile([334, 0, 333, 333, 0], low=1.0, high=3.0), profile([0, 800, 100, 100, 0]), profile([334, 0, 333, 333, 0], low=1.0)]


@pytest.mark.parametrize(
    ("low", "high", "is_burst"),
    [(0.0, 5.0, False), (-3.0, 6.0, False), (-3.0001, 5.0, True), (0.0, 6.0001, True)],
    ids=["near", "a width away", "farther below", "farther above"],
)
def test_a_number_that_wanders_is_out_of_range_when_it_leaves_by_its_own_width(low: float, high: float, is_burst: bool) -> None:
    live = profile([0, 2, 0, 98, 0], low=low, high=high)
    steps = [profile([1000, 0, 0, 0, 0], low=0.0, high=3.0), profile([0, 600, 400, 0, 0]), profile([1000, 0, 0, 0, 0])]

    assert kinds(known_by(*WANDERS), live, replace(POLICY, out_of_range_share=0.1)) == ([("out_of_range", "x")] if is_burst else [])
    assert kinds(known_by(*steps), live, replace(POLICY, out_of_range_share=0.1)) == [], "fewer than three bins a bucket are steps"


def test_a_restless_category_is_never_far_out() -> None:
    known = known_by(*(profile([500, 500, 0, 0, 0], town) for town in ([900, 50, 50, 0], [0, 900, 100, 0], [900, 50, 50, 0])))

    assert kinds(known, profile([50, 50, 0, 0, 0], [0, 1, 99, 0])) == []


STUCK = profile([100, 0, 0, 0, 0], high=0.0)
RARE = profile([200, 800, 0, 0, 0])


@pytest.mark.parametrize(
    ("known", "live", "is_stuck"),
    [
        pytest.param([CALM], STUCK, True, id="stuck"),
        pytest.param([CALM], profile([99, 1, 0, 0, 0]), False, id="it varies"),
        pytest.param([RARE], profile([20, 0, 0, 0, 20], high=0.0), True, id="twenty present"),
        pytest.param([RARE], profile([19, 0, 0, 0, 8], high=0.0), False, id="nineteen present"),
        pytest.param([CALM], profile([100, 0, 0, 0, 0], high=0.0, others=1), True, id="half of the others vary"),
        pytest.param([CALM], profile([100, 0, 0, 0, 0], high=0.0, others=0), False, id="less than half of them do"),
        pytest.param([profile([1000, 0, 0, 0, 0], high=0.0)], STUCK, False, id="it always was"),
        pytest.param([CALM, profile([1000, 0, 0, 0, 0], high=0.0)], STUCK, False, id="it was so while all others varied"),
        pytest.param([CALM, profile([1000, 0, 0, 0, 0], high=0.0, others=1)], STUCK, False, id="it was so while half of them varied"),
        pytest.param([CALM, profile([1000, 0, 0, 0, 0], high=0.0, others=0)], STUCK, True, id="it was so while one of them varied"),
        pytest.param(
            [CALM, profile([1000, 0, 0, 0, 0], [1000, 0, 0, 0], high=0.0, others=0)], STUCK, True, id="it was so while none of them varied"
        ),
    ],
)
def test_a_column_is_stuck_when_it_stands_still_as_it_never_did(known: list[Profile], live: Profile, is_stuck: bool) -> None:
    assert (("constant", "x") in kinds(known_by(*known), live, replace(POLICY, minimum_rows=20, null_share=0.9))) is is_stuck


MOSTLY_LOW = [1940, 20, 0, 20, 20]
MOSTLY_MISSING = [20, 20, 0, 0, 1960]


@pytest.mark.parametrize(
    ("usual", "live", "is_stuck"),
    [
        pytest.param(MOSTLY_LOW, [100, 0, 0, 0, 0], False, id="at the usual value"),
        pytest.param(MOSTLY_LOW, [0, 100, 0, 0, 0], True, id="at a rare one"),
        pytest.param(MOSTLY_LOW, [0, 0, 100, 0, 0], True, id="below everything known"),
        pytest.param(MOSTLY_LOW, [0, 0, 0, 100, 0], True, id="above everything known"),
        pytest.param(MOSTLY_MISSING, [0, 20, 0, 0, 980], True, id="at a rare one among missing ones"),
    ],
)
def test_a_value_is_stuck_when_that_very_value_seldom_repeats(usual: list[int], live: list[int], is_stuck: bool) -> None:
    stuck = kinds(known_by(profile(usual)), profile(live, low=2.5))

    assert (("constant", "x") in stuck) is is_stuck


def test_a_stuck_column_is_told_with_how_usual_its_value_was() -> None:
    known = known_by(profile([700, 250, 0, 30, 20]))

    (known_value,) = faults(known, [(40, profile([0, 100, 0, 0, 20], low=2.0, high=2.0))], 10, POLICY)
    *_, unknown_value = faults(known, [(40, profile([0, 0, 0, 100, 20], low=5.0, high=5.0))], 10, POLICY)

    assert known_value == Fault("constant", "x", 40, 50, 120, 1.0, 0.25)
    assert unknown_value == Fault("constant", "x", 40, 50, 120, 1.0, 0.03)


SOLID = ColumnBins("x", "numeric", edges=(0.0, 0.7, 2.0, float(np.nextafter(2.0, 3.0))))  # 2 is a bin of its own, the others are ranges


@pytest.mark.parametrize(
    ("cell", "rows", "is_stuck"),
    [
        pytest.param(2, 69, False, id="one value, by chance in the worst bucket: .82 ** 69"),
        pytest.param(2, 70, True, id="one value, not even there: .82 ** 70"),
        pytest.param(1, 34, False, id="one of many values, by chance: .67 ** 34"),
        pytest.param(1, 35, True, id="one of many values, not by chance: .67 ** 35"),
    ],
)
def test_one_value_of_its_own_may_repeat_as_in_the_worst_bucket(cell: int, rows: int, is_stuck: bool) -> None:
    bins = Bins((SOLID,))

    def counted(others: int, here: int) -> Profile:
        counts = np.array([others, 0, 0, 0, 0, 0])
        counts[cell] = here
        return Profile(bins.id, others + here, {"x": counts}, {"x": 0.0 if others else 2.0}, {"x": 2.0})

    blocks = (counted(500, 500), counted(200, 800))
    known = Reference(Measures(bins), blocks[0].merge(blocks[1]), blocks, (), timedelta(days=1), timedelta(days=14))

    assert kinds(known, counted(0, rows)) == ([("constant", "x")] if is_stuck else [])


@pytest.mark.parametrize(
    ("town", "most", "rows", "is_stuck"),
    [
        pytest.param([500, 500, 0, 0], [500, 500, 0, 0], 21, False, id="by chance: .52 ** 21"),
        pytest.param([500, 500, 0, 0], [500, 500, 0, 0], 22, True, id="not by chance: .52 ** 22"),
        pytest.param([500, 500, 0, 0], [800, 200, 0, 0], 69, False, id="by chance in the worst bucket: .82 ** 69"),
        pytest.param([500, 500, 0, 0], [800, 200, 0, 0], 70, True, id="not even there: .82 ** 70"),
        pytest.param([500, 500, 0, 0], [990, 10, 0, 0], 5000, False, id="it may always repeat"),
    ],
)
def test_a_value_may_repeat_by_chance(town: list[int], most: list[int], rows: int, is_stuck: bool) -> None:
    known = known_by(*(profile([500, 500, 0, 0, 0], counts) for counts in (town, most)))
    half = rows // 2

    stuck = kinds(known, profile([half, rows - half, 0, 0, 0], [rows, 0, 0, 0]), replace(POLICY, minimum_rows=20))

    assert stuck == ([("constant", "town")] if is_stuck else [])


def test_a_value_may_repeat_as_in_the_worst_bucket_but_for_what_chance_adds_there() -> None:
    """Of two hundred buckets of 30 rows, half of them one value, the worst has 22 by chance: that is not how it may always be."""
    shares = np.random.default_rng(0).binomial(30, 0.5, 200).tolist()
    known = known_by(*(profile([15, 15, 0, 0, 0], [n, 30 - n, 0, 0]) for n in shares))
    stuck = profile([20, 20, 0, 0, 0], [40, 0, 0, 0])

    assert max(shares) >= 22
    assert kinds(known, stuck) == [("constant", "town")]


def test_a_category_of_which_the_reference_knows_no_value_is_not_called_stuck() -> None:
    """So is a month after a season that the bins never saw: it may have stood still in the reference as well."""
    known = known_by(*(profile([500, 500, 0, 0, 0], [0, 0, 1000, 0]) for _ in range(3)))

    assert kinds(known, profile([50, 50, 0, 0, 0], [100, 0, 0, 0])) == []


def test_a_discrete_column_that_is_half_restless_can_be_stuck() -> None:
    halves = (profile([500, 500, 0, 0, 0], town) for town in ([500, 500, 0, 0], [0, 0, 1000, 0]))

    assert kinds(known_by(*halves), profile([50, 50, 0, 0, 0], [100, 0, 0, 0])) == [("constant", "town")]


def test_a_discrete_column_that_jumps_is_never_stuck() -> None:
    jumps = [profile([500, 500, 0, 0, 0], town) for town in ([900, 100, 0, 0], [0, 1000, 0, 0], [900, 100, 0, 0])]

    assert kinds(known_by(jumps[0], profile([500, 500, 0, 0, 0], [100, 900, 0, 0])), profile([50, 50, 0, 0, 0], [0, 100, 0, 0])) == []
    assert kinds(known_by(*jumps), profile([200, 200, 0, 0, 0], [400, 0, 0, 0])) == []


@pytest.mark.parametrize(
    ("refused", "rows", "share"),
    [(29, 0, None), (30, 0, (30, 1.0)), (30, 120, None), (30, 119, (149, 30 / 149)), (40, 100, (140, 40 / 140))],
    ids=["too few", "enough", "a fifth", "more than a fifth", "many"],
)
def test_refused_rows_have_their_bounds(refused: int, rows: int, share: tuple[int, float] | None) -> None:
    half = rows // 2
    buckets = [(40, profile([half, rows - half, 0, 0, 0]))] if rows else []

    burst = faults(CALM_REFERENCE, buckets, 10, POLICY, {40: {("x", "type"): refused, ("town", "missing"): 2}})

    assert list(burst) == ([] if share is None else [Fault("rejects", "x", 40, 50, share[0], share[1], 0.0, "type")])


def test_refused_rows_are_told_in_order_and_by_the_policys_share() -> None:
    halves, fifty = replace(POLICY, reject_share=0.5), {("x", "type"): 50}
    buckets = [(40, profile([50, 50, 0, 0, 0]))]

    assert [f.start_us for f in faults(CALM_REFERENCE, [], 10, POLICY, {90: fifty, 40: fifty})] == [40, 90]
    assert faults(CALM_REFERENCE, buckets, 10, halves, {40: {("x", "type"): 100}}) == ()
    assert len(faults(CALM_REFERENCE, buckets, 10, halves, {40: {("x", "type"): 101}})) == 1


@pytest.mark.parametrize(("rows", "is_judged"), [(19, False), (20, True)])
def test_nothing_is_judged_by_fewer_than_twenty_rows(rows: int, is_judged: bool) -> None:
    live = profile([0, 0, 0, 0, rows])

    assert (kinds(CALM_REFERENCE, live, replace(POLICY, minimum_rows=1)) != []) is is_judged
    assert (kinds(CALM_REFERENCE, live) != []) is is_judged, "the rest at the end is judged with fewer than the policy's"


def test_the_reference_is_joined_by_the_policys_rows_too() -> None:
    thin = [profile([10, 10, 0, 0, 0]), profile([0, 0, 0, 0, 20])]
    live = profile([50, 0, 0, 0, 50])

    assert kinds(known_by(*thin), live, replace(POLICY, minimum_rows=20)) == []
    assert kinds(known_by(*thin, *[CALM] * 2), live, replace(POLICY, minimum_rows=1000)) == [("null_burst", "x")]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("null_burst", "x: 41% of 90 rows are missing, at most 12% in the reference"),
        ("constant", "x: the same value in all 90 rows, while the other columns vary"),
        ("out_of_range", "x: 41% of 90 rows lie outside of everything seen in training"),
        ("new_category", "x: 41% of 90 rows have a category never seen in training"),
        ("rejects", "x: 41% of 90 rows sent were refused by the schema (this)"),
        ("off_calendar", "x: 41% of 90 rows differ from what the time of the row says, at most 12% in the reference"),
        ("unit_change", "x: 90 rows as if in another unit: this"),
        (
            "decimals",
            "x: 41% of 90 rows have more decimals than in training (at most 12% in the reference): another unit, or values made up",
        ),
        ("duplicates", "41% of 90 rows came before, at most 12% in the reference"),
        ("rule", "x: 41% of 90 rows break the rule this, 12% may"),
    ],
)
def test_a_fault_is_a_sentence_and_plain_json(kind: str, sentence: str) -> None:
    fault = Fault(kind, "x", 10, 20, 90, 0.4123456, 0.1234567, "this")  # type: ignore[arg-type]

    assert fault.sentence() == sentence
    assert fault.to_dict()["detail"] == "this"
    assert replace(fault, detail="").to_dict() == {
        "kind": kind, "column": "x", "start_us": 10, "end_us": 20, "rows": 90, "share": 0.4123, "usual": 0.1235,
    }  # fmt: skip


def test_what_goes_on_from_a_released_span_is_no_fault_until_there_is_a_gap() -> None:
    released = (Span(40, 70, "constant x, null_burst y"), Span(0, 9, "constant x"))
    going_on = [Fault("constant", "x", start, start + 10, 99, 1.0, 0.0) for start in (60, 70, 80)]
    later, other = Fault("constant", "x", 110, 120, 99, 1.0, 0.0), Fault("constant", "z", 60, 70, 99, 1.0, 0.0)

    left, extended = without_released([later, other, *going_on], released, 10)

    assert left == (other, later)
    assert extended == (Span(40, 100, "constant x, null_burst y"),)
    assert without_released([later], (), 10) == ((later,), ())


def test_a_released_fault_goes_on_whatever_its_column_is_called() -> None:
    first = [Fault("constant", name, 0, 10, 99, 1.0, 0.0) for name in ("length, mm", "a, constant", "length, mm")]
    (span,) = quarantine(first, 10)

    left, _ = without_released([replace(fault, start_us=10, end_us=20) for fault in first], [span], 10)

    assert span.reason == "constant length, mm, constant a, constant"
    assert left == ()


def test_ranges_are_joined_where_they_touch_with_each_reason_once() -> None:
    broken = [
        Fault("constant", "b", 50, 60, 99, 1.0, 0.0),
        Fault("constant", "a", 0, 30, 99, 1.0, 0.0),
        Fault("constant", "a", 10, 20, 99, 1.0, 0.0),
        Fault("constant", "c", 81, 90, 99, 1.0, 0.0),
    ]

    spans = quarantine(broken, 10)

    assert spans == (Span(-10, 70, "constant a, constant b"), Span(71, 100, "constant c"))
