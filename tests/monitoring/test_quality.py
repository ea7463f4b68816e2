"""Inputs that broke, and inputs that only look odd."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.quality import Fault, faults, quarantine
from training.policies import FaultPolicy
from training.profile import Profile, Reference, build_reference
from training.rows import Columns, Rows
from training.schema import Feature, Schema

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
        Rows(known, None, np.arange(days * A_DAY) * (DAY_US // A_DAY)), SCHEMA, bucket=timedelta(days=1), window=timedelta(days=14)
    )


def buckets(known: Reference, live: Columns) -> list[tuple[int, Profile]]:
    days = len(live["zero"]) // A_DAY
    return [(d * DAY_US, known.bins.count({n: v[d * A_DAY : (d + 1) * A_DAY] for n, v in live.items()})) for d in range(days)]


def found(live: Columns, known: Reference | None = None, rejects: dict[int, int] | None = None) -> list[tuple[str, str, int]]:
    against = known or reference()
    return [(f.kind, f.column, f.start_us // DAY_US) for f in faults(against, buckets(against, live), DAY_US, POLICY, rejects)]


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_clean_seasonal_year_has_no_fault(seed: int) -> None:
    assert found(columns(seed, 365)) == []


def test_a_season_that_was_not_in_the_history_is_no_fault() -> None:
    assert found(columns(1, 120, first_day=240), reference(240)) == []


def test_a_stuck_sensor_is_a_fault() -> None:
    live = columns(1, 3)
    live["temperature"][A_DAY : 2 * A_DAY] = 1.0

    assert found(live) == [("constant", "temperature", 1)]


def test_a_burst_of_missing_values_is_a_fault() -> None:
    live = columns(1, 3)
    live["temperature"][A_DAY : 2 * A_DAY : 2] = np.nan

    assert found(live) == [("null_burst", "temperature", 1)]


def test_values_outside_of_everything_known_are_a_fault() -> None:
    live = columns(1, 3)
    live["temperature"][A_DAY : 2 * A_DAY] += 1000

    assert found(live) == [("out_of_range", "temperature", 1)]


def test_a_column_that_turns_into_something_unknown_is_a_fault() -> None:
    live = columns(1, 3)
    live["place"][A_DAY : 2 * A_DAY] = "n/a"

    assert found(live) == [("new_category", "place", 1)]


@pytest.mark.parametrize("share", [0.08, 0.15, 0.3])
def test_a_new_district_is_no_fault(share: float) -> None:
    live = columns(1, 30)
    live["place"][np.random.default_rng(2).random(30 * A_DAY) < share] = "harbour"

    assert found(live) == []


def test_a_column_that_was_always_constant_may_begin_to_vary() -> None:
    live = columns(1, 3)
    live["zero"][:] = np.arange(3 * A_DAY)

    assert found(live) == []


def test_a_recalibrated_sensor_is_no_fault() -> None:
    live = columns(1, 60, first_day=20)
    live["temperature"] += 5.0

    assert found(live) == []


def test_many_refused_rows_are_a_fault_of_their_bucket() -> None:
    live = columns(1, 2)

    assert found(live, rejects={DAY_US: 200}) == [("rejects", "*", 1)]
    assert found(live, rejects={DAY_US: 5}) == []


def test_few_rows_a_day_are_judged_together() -> None:
    known = reference()
    live = columns(1, 1)
    live["temperature"][:] = 1.0
    thin = [(d * DAY_US, known.bins.count({n: v[d * 14 : (d + 1) * 14] for n, v in live.items()})) for d in range(4)]

    kinds = [(f.kind, f.start_us, f.end_us) for f in faults(known, thin, DAY_US, POLICY)]

    assert ("constant", 0, 3 * DAY_US) in kinds


def test_long_identical_bursts_are_no_fault_where_the_reference_has_them() -> None:
    rng = np.random.default_rng(0)
    names = ["a", "b", "c", "d"]
    schema = Schema(tuple(Feature(n, "numeric") for n in names), "y", "regression")
    burst = np.repeat(rng.random(40) < 0.3, 100)
    table = {n: np.where(burst, 7.0, rng.normal(0, 1, 4000)) for n in names}
    times = np.arange(4000) * 1_000_000
    known = build_reference(Rows(table, None, times), schema, bucket=timedelta(seconds=100), window=timedelta(seconds=500))
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
